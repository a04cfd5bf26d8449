//! Messages of Huawei Cloud's SMN, with alarms of its CES in them: <https://support.huaweicloud.com/intl/en-us/usermanual-smn/smn_ug_a9003.html>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;
use serde_json::json;

use crate::body::Node;
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::{Notice, Proof, regional, vendor_url};
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "huawei-smn",
    title: ("Huawei Cloud SMN and CES", "华为云 SMN 与云监控告警"),
    signed_by: SignedBy::Certificate,
    proof,
    read,
};

const NOTIFICATION: &[&str] = &[
    "message",
    "message_id",
    "subject",
    "timestamp",
    "topic_urn",
    "type",
];
const CONFIRMATION: &[&str] = &[
    "message",
    "message_id",
    "subscribe_url",
    "timestamp",
    "topic_urn",
    "type",
];

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    request.header("x-smn-message-type").is_some()
        || (body.get("signature_version").exists() && body.get("topic_urn").exists())
}

/// Hosts with certificates. Only those of SMN itself: under the same domain customers have buckets of their own.
fn host(host: &str) -> bool {
    regional(host, "smn", &[".myhuaweicloud.com", ".myhuaweicloud.eu"])
}

/// Hosts that confirm a subscription; which one it is, is signed.
fn console(name: &str) -> bool {
    host(name)
        || matches!(
            name,
            "console.huaweicloud.com" | "console-intl.huaweicloud.com" | "console.huaweicloud.eu"
        )
}

fn proof(request: &Request<'_>) -> Result<Proof, FieldError> {
    let body = request.node();
    if body.need("signature_version")? != "v1" {
        return Err(FieldError::new("/signature_version", "expected \"v1\""));
    }
    let notice = Notice {
        body,
        signed: if body.need("type")? == "Notification" {
            NOTIFICATION
        } else {
            CONFIRMATION
        },
        signature: "signature",
        certificate: "signing_cert_url",
        topic: "topic_urn",
        host,
        sha1: false,
    };
    notice.proof(request)
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    let topic = body.need("topic_urn")?;
    match body.need("type")?.as_str() {
        "SubscriptionConfirmation" => {
            let url = vendor_url(&body.need("subscribe_url")?, console).ok_or_else(|| {
                let detail = "the address to confirm at is not one of Huawei Cloud";
                FieldError::new("/subscribe_url", detail)
            })?;
            Ok(Outcome::Handshake {
                confirm_url: url.into(),
                topic,
            })
        }
        "UnsubscribeConfirmation" => Ok(Outcome::Answered(json!({ "unsubscribed": topic }))),
        "Notification" => {
            let id = body.need("message_id")?;
            let message = body.get("message").json().unwrap_or_default();
            let message = Node(&message);
            let is_alarm = message.get("alarm_id").exists() && message.get("alarm_status").exists();
            Ok(request.event(if is_alarm {
                alarm(request, message, id, &topic)
            } else {
                other(request, body, id, topic)
            }))
        }
        _ => {
            let detail =
                "expected Notification, SubscriptionConfirmation or UnsubscribeConfirmation";
            Err(FieldError::new("/type", detail))
        }
    }
}

fn region(topic: &str) -> Option<String> {
    topic.split(':').nth(2).map(str::to_owned)
}

fn alarm(request: &Request<'_>, message: Node<'_>, id: String, topic: &str) -> Draft {
    let word = |name: &str| message.get(name).text();
    let more = message.get("template_variable");
    let alarm_id = word("alarm_id").unwrap_or_default();
    let dimension = word("dimension").unwrap_or_default();
    let status = match word("alarm_status").as_deref() {
        Some("alarm") => AlarmState::Firing,
        Some("ok") => AlarmState::Recovered,
        _ => AlarmState::Stateless,
    };
    let level = more.get("AlarmLevel").text();
    let time = request.beijing(message.get("time"));
    let resource = dimension.rsplit(':').next().map(str::to_owned);
    let unit = word("unit").unwrap_or_default();
    let limit = word("value").map(|limit| {
        let sign = word("comparison_operator").unwrap_or_default();
        format!("{sign} {limit}{unit}").trim().to_owned()
    });
    let value = more.get("CurrentData").text().or_else(|| {
        let value = message.get("alarmValue").first().get("value").text()?;
        Some(format!("{value}{unit}"))
    });
    let labels = [
        "AccountName",
        "Namespace",
        "MetricName",
        "Region",
        "PrivateIp",
        "PublicIp",
    ];
    Draft {
        id,
        source: "huawei.ces".to_owned(),
        kind: format!(
            "ces:MetricAlarm:{}/{}",
            word("namespace").unwrap_or_default(),
            word("metric_name").unwrap_or_default()
        ),
        subject: resource
            .filter(|id| !id.is_empty())
            .or_else(|| more.get("ResourceId").text()),
        time_ms: time,
        status,
        severity: level
            .and_then(|level| Severity::parse(&level))
            .unwrap_or(Severity::Warning),
        region: region(topic),
        key: AlarmKey::of(["huawei.ces", &alarm_id, &dimension]),
        facts: Facts {
            title: word("alarm_name").or_else(|| more.get("AlarmRuleName").text()),
            summary: word("sms_content"),
            resource_name: more.get("ResourceName").text(),
            value,
            threshold: limit,
            started_at_ms: time.filter(|_| status == AlarmState::Firing),
            links: vec![("console", more.get("Link").text())],
            labels: labels
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), more.get(name).text()?)))
                .collect(),
            ..Facts::default()
        },
        raw: None,
    }
}

/// A message that is no alarm of CES.
fn other(request: &Request<'_>, body: Node<'_>, id: String, topic: String) -> Draft {
    Draft {
        id,
        source: "huawei.smn".to_owned(),
        kind: "smn:Notification".to_owned(),
        time_ms: request.time(body.get("timestamp")),
        status: AlarmState::Stateless,
        severity: Severity::Info,
        region: region(&topic),
        key: AlarmKey::of(["huawei.smn", &topic]),
        subject: Some(topic),
        facts: Facts {
            title: body.get("subject").text(),
            summary: body.get("message").text(),
            ..Facts::default()
        },
        raw: None,
    }
}
