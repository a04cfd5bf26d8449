//! Messages of AWS SNS over HTTP(S), with alarms of `CloudWatch` in them: <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;
use serde_json::{Value, json};

use crate::body::Node;
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::{Notice, Proof, regional, vendor_url};
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "aws-sns",
    title: ("AWS SNS and CloudWatch", "AWS SNS 与 CloudWatch 告警"),
    signed_by: SignedBy::Certificate,
    proof,
    read,
};

const TYPE: &str = "x-amz-sns-message-type";
const NOTIFICATION: &[&str] = &[
    "Message",
    "MessageId",
    "Subject",
    "Timestamp",
    "TopicArn",
    "Type",
];
const CONFIRMATION: &[&str] = &[
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
];

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    let known = [
        "Notification",
        "SubscriptionConfirmation",
        "UnsubscribeConfirmation",
    ];
    let kind = body.get("Type").text();
    request.header(TYPE).is_some()
        || (kind.is_some_and(|kind| known.contains(&kind.as_str()))
            && body.get("TopicArn").exists())
}

/// With raw delivery, the body is the message alone, and nothing is signed.
fn is_raw(request: &Request<'_>) -> bool {
    let body = request.node();
    let raw = request.header("x-amz-sns-rawdelivery") == Some("true");
    !body.get("Signature").exists() && (raw || is_alarm(body))
}

fn host(host: &str) -> bool {
    regional(host, "sns", &[".amazonaws.com", ".amazonaws.com.cn"])
}

fn proof(request: &Request<'_>) -> Result<Proof, FieldError> {
    let body = request.node();
    if is_raw(request) {
        // The topic stands in a header that anybody can write.
        if !request.source.spec().topic_arns.is_empty() {
            let detail = "raw message delivery is not signed, so that topicArns cannot be held against it; turn it off for this subscription";
            return Err(FieldError::new("", detail));
        }
        return Ok(Proof::Unsigned);
    }
    let sha1 = match body.need("SignatureVersion")?.as_str() {
        "1" => true,
        "2" => false,
        _ => {
            return Err(FieldError::new(
                "/SignatureVersion",
                "expected \"1\" or \"2\"",
            ));
        }
    };
    let notice = Notice {
        body,
        signed: if body.need("Type")? == "Notification" {
            NOTIFICATION
        } else {
            CONFIRMATION
        },
        signature: "Signature",
        certificate: "SigningCertURL",
        topic: "TopicArn",
        host,
        sha1,
    };
    notice.proof(request)
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    if is_raw(request) {
        if !is_alarm(body) {
            let detail = "with raw message delivery, only alarms of CloudWatch are known";
            return Err(FieldError::new("", detail));
        }
        let id = request.header_id("x-amz-sns-message-id", "sns");
        return Ok(request.event(alarm(request, body, id)));
    }
    let topic = body.need("TopicArn")?;
    match body.need("Type")?.as_str() {
        "SubscriptionConfirmation" => {
            let url = vendor_url(&body.need("SubscribeURL")?, host).ok_or_else(|| {
                let detail = "the address to confirm at is not one of SNS";
                FieldError::new("/SubscribeURL", detail)
            })?;
            Ok(Outcome::Handshake {
                confirm_url: url.into(),
                topic,
            })
        }
        "UnsubscribeConfirmation" => Ok(Outcome::Answered(json!({ "unsubscribed": topic }))),
        "Notification" => {
            let id = body.need("MessageId")?;
            let message = body.get("Message").json().unwrap_or_default();
            let message = Node(&message);
            Ok(request.event(if is_alarm(message) {
                alarm(request, message, id)
            } else {
                other(request, body, id, topic)
            }))
        }
        _ => {
            let detail =
                "expected Notification, SubscriptionConfirmation or UnsubscribeConfirmation";
            Err(FieldError::new("/Type", detail))
        }
    }
}

fn is_alarm(message: Node<'_>) -> bool {
    message.get("AlarmName").exists() && message.get("NewStateValue").exists()
}

/// What `CloudWatch` calls the state of an alarm.
pub(crate) fn state(word: Option<&str>) -> AlarmState {
    match word {
        Some("ALARM") => AlarmState::Firing,
        Some("OK") => AlarmState::Recovered,
        _ => AlarmState::Stateless,
    }
}

/// `CloudWatch` has no severities; a word in brackets in the alarm's name counts as one: `[critical] db down`.
pub(crate) fn severity(name: &str) -> Severity {
    let mut bracketed = name.split('[').skip(1);
    bracketed
        .find_map(|rest| Severity::parse(rest.split_once(']')?.0))
        .unwrap_or(Severity::Warning)
}

fn alarm(request: &Request<'_>, message: Node<'_>, id: String) -> Draft {
    let name = message.get("AlarmName").text().unwrap_or_default();
    let arn = message.get("AlarmArn").text();
    let subject = arn.clone().unwrap_or_else(|| name.clone());
    let trigger = message.get("Trigger");
    let metric = trigger.get("MetricName").text();
    let kind = if message.get("AlarmRule").exists() {
        "cloudwatch:CompositeAlarm".to_owned()
    } else {
        let metric = metric.as_deref().unwrap_or("Expression");
        format!("cloudwatch:MetricAlarm:{metric}")
    };
    let status = state(message.get("NewStateValue").text().as_deref());
    let time = request.time(message.get("StateChangeTime"));
    let dimensions = trigger.get("Dimensions").list().iter().map(Node);
    let mut labels: Vec<(String, String)> = dimensions
        .filter_map(|one| Some((one.get("name").text()?, one.get("value").text()?)))
        .collect();
    for name in ["Region", "AWSAccountId", "OldStateValue"] {
        labels.extend(message.get(name).text().map(|text| (name.to_owned(), text)));
    }
    labels.extend(
        trigger
            .get("Namespace")
            .text()
            .map(|text| ("Namespace".to_owned(), text)),
    );
    let summary: Vec<String> = ["AlarmDescription", "NewStateReason"]
        .iter()
        .filter_map(|name| message.get(name).text())
        .collect();
    Draft {
        id,
        source: "aws.cloudwatch".to_owned(),
        kind,
        time_ms: time,
        status,
        severity: severity(&name),
        region: arn
            .as_deref()
            .and_then(|arn| arn.split(':').nth(3))
            .map(str::to_owned),
        key: AlarmKey::of(["aws.cloudwatch", &subject]),
        subject: Some(subject),
        facts: Facts {
            title: Some(name),
            summary: Some(summary.join("\n")),
            threshold: threshold(trigger),
            started_at_ms: time.filter(|_| status == AlarmState::Firing),
            ended_at_ms: time.filter(|_| status == AlarmState::Recovered),
            labels,
            ..Facts::default()
        },
        raw: None,
    }
}

fn threshold(trigger: Node<'_>) -> Option<String> {
    let limit = trigger.get("Threshold").text()?;
    let operator = trigger.get("ComparisonOperator").text().unwrap_or_default();
    let sign = match operator.as_str() {
        "GreaterThanThreshold" => ">",
        "GreaterThanOrEqualToThreshold" => ">=",
        "LessThanThreshold" => "<",
        "LessThanOrEqualToThreshold" => "<=",
        other => other,
    };
    Some(format!("{sign} {limit}").trim().to_owned())
}

/// A message that is no alarm of `CloudWatch`.
fn other(request: &Request<'_>, body: Node<'_>, id: String, topic: String) -> Draft {
    let message = body.get("Message").0;
    Draft {
        id,
        source: "aws.sns".to_owned(),
        kind: "sns:Notification".to_owned(),
        time_ms: request.time(body.get("Timestamp")),
        status: AlarmState::Stateless,
        severity: Severity::Info,
        region: topic.split(':').nth(3).map(str::to_owned),
        key: AlarmKey::of(["aws.sns", &topic]),
        subject: Some(topic),
        facts: Facts {
            title: body.get("Subject").text(),
            summary: message
                .as_str()
                .map(str::to_owned)
                .filter(|text| !is_json(text)),
            ..Facts::default()
        },
        raw: None,
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object())
}
