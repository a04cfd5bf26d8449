//! One file a format. Each says in its first line where the format comes from.

pub(crate) mod alertmanager;
pub(crate) mod alibaba_event;
pub(crate) mod alibaba_eventbridge;
pub(crate) mod alibaba_subscription;
pub(crate) mod alibaba_threshold;
pub(crate) mod aws_eventbridge;
pub(crate) mod aws_sns;
pub(crate) mod azure_common;
pub(crate) mod cloudevents;
pub(crate) mod datadog;
pub(crate) mod gcp_monitoring;
pub(crate) mod generic;
pub(crate) mod github;
pub(crate) mod huawei_smn;
pub(crate) mod jdcloud;
pub(crate) mod sentry;
pub(crate) mod tencent_eb;
pub(crate) mod tencent_tcop;
pub(crate) mod zabbix;
