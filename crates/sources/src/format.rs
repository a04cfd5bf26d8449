//! What a format is, the order of detection, and the list of all of them.

use std::fmt;

use belfry_model::FieldError;
use belfry_model::json::nearest;

use crate::formats as f;
use crate::signature::Proof;
use crate::source::{Outcome, Request};

/// A format that a vendor sends: one static in a file of its own.
pub(crate) struct Format {
    /// The name in a source's `format`.
    pub(crate) name: &'static str,
    /// What it is, in English and in Chinese.
    pub(crate) title: (&'static str, &'static str),
    /// What a sender signs with.
    pub(crate) signed_by: SignedBy,
    /// Whether the sender is who it says, as far as the vendor signs.
    pub(crate) proof: fn(&Request<'_>) -> Result<Proof, FieldError>,
    /// What the request says.
    pub(crate) read: fn(&Request<'_>) -> Result<Outcome, FieldError>,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a sender signs its requests with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedBy {
    /// It does not.
    Nothing,
    /// A secret that both know.
    Secret,
    /// The key of a certificate of the vendor's.
    Certificate,
}

/// What is told of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatInfo {
    /// The name in a source's `format`.
    pub name: &'static str,
    /// What it is, in English and in Chinese.
    pub title: (&'static str, &'static str),
    /// What its sender signs with.
    pub signed_by: SignedBy,
}

type Clue = fn(&Request<'_>) -> bool;

/// By what each format is known. The first that fits counts; a format may stand here twice.
static DETECTION: &[(Clue, &Format)] = &[
    (f::alibaba_threshold::in_form, &f::alibaba_threshold::FORMAT),
    (
        f::alibaba_subscription::in_form,
        &f::alibaba_subscription::FORMAT,
    ),
    (f::github::seen, &f::github::FORMAT),
    (f::sentry::in_headers, &f::sentry::FORMAT),
    (f::aws_sns::seen, &f::aws_sns::FORMAT),
    (f::huawei_smn::seen, &f::huawei_smn::FORMAT),
    (f::tencent_eb::seen, &f::tencent_eb::FORMAT),
    (
        f::alibaba_eventbridge::seen,
        &f::alibaba_eventbridge::FORMAT,
    ),
    (f::cloudevents::seen, &f::cloudevents::FORMAT),
    (f::tencent_tcop::seen, &f::tencent_tcop::FORMAT),
    (f::aws_eventbridge::seen, &f::aws_eventbridge::FORMAT),
    (f::jdcloud::seen, &f::jdcloud::FORMAT),
    (f::jdcloud::seen_detail, &f::jdcloud::DETAIL),
    (f::azure_common::seen, &f::azure_common::FORMAT),
    (f::gcp_monitoring::seen, &f::gcp_monitoring::FORMAT),
    (f::alertmanager::seen_grafana, &f::alertmanager::GRAFANA),
    (f::alertmanager::seen, &f::alertmanager::FORMAT),
    (
        f::alibaba_subscription::seen,
        &f::alibaba_subscription::FORMAT,
    ),
    (f::alibaba_threshold::seen, &f::alibaba_threshold::FORMAT),
    (f::alibaba_event::seen, &f::alibaba_event::FORMAT),
    (f::zabbix::seen, &f::zabbix::FORMAT),
    (f::datadog::seen, &f::datadog::FORMAT),
    (f::sentry::seen, &f::sentry::FORMAT),
    (f::generic::seen, &f::generic::FORMAT),
];

/// Every format there is.
pub fn formats() -> impl Iterator<Item = FormatInfo> {
    let first = |at: usize, format: &Format| {
        let mut before = DETECTION.iter().take(at);
        before.all(|(_, other)| other.name != format.name)
    };
    DETECTION
        .iter()
        .enumerate()
        .filter(move |(at, (_, format))| first(*at, format))
        .map(|(_, (_, format))| FormatInfo {
            name: format.name,
            title: format.title,
            signed_by: format.signed_by,
        })
}

/// The format of a request.
pub(crate) fn detect(request: &Request<'_>) -> &'static Format {
    DETECTION
        .iter()
        .find(|(clue, _)| clue(request))
        .map_or(&f::generic::FORMAT, |(_, format)| *format)
}

/// The format of that name; else what is wrong with it, to be said at `pointer`.
pub(crate) fn find(name: &str, pointer: &str) -> Result<&'static Format, FieldError> {
    let mut all = DETECTION.iter().map(|(_, format)| *format);
    if let Some(format) = all.find(|format| format.name == name) {
        return Ok(format);
    }
    let names: Vec<&str> = formats().map(|format| format.name).collect();
    let shown: String = name.chars().take(64).collect();
    let mut detail = format!(
        "expected auto or one of {}, got {shown:?}",
        names.join(", ")
    );
    if let Some(near) = nearest(name, names) {
        detail.push_str("; did you mean ");
        detail.push_str(near);
        detail.push('?');
    }
    Err(FieldError::new(pointer, detail))
}
