//! Events of AWS EventBridge by an API destination: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;

use super::aws_sns;
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "aws-eventbridge",
    title: ("AWS EventBridge", "AWS EventBridge 事件"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

/// The one type that is an alarm.
const ALARM: &str = "CloudWatch Alarm State Change";

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    ["detail-type", "source", "detail"]
        .iter()
        .all(|name| body.get(name).exists())
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    let source = body.need("source")?;
    let kind = body.need("detail-type")?;
    let detail = body.get("detail");
    let subject = body.get("resources").first().text();
    let name = detail.get("alarmName").text();
    let resource = subject.as_deref().unwrap_or_default();
    let alarm = kind == ALARM;
    let key = if alarm {
        // The same as by SNS.
        AlarmKey::of(["aws.cloudwatch", resource])
    } else {
        AlarmKey::of([source.as_str(), &kind, resource])
    };
    let state = detail.get("state");
    Ok(request.event(Draft {
        id: body
            .get("id")
            .text()
            .unwrap_or_else(|| request.hash_id("aws")),
        time_ms: request.time(body.get("time")),
        status: if alarm {
            aws_sns::state(state.get("value").text().as_deref())
        } else {
            AlarmState::Stateless
        },
        severity: if alarm {
            aws_sns::severity(name.as_deref().unwrap_or_default())
        } else {
            Severity::Info
        },
        region: body.get("region").text(),
        key,
        facts: Facts {
            title: name.or_else(|| Some(kind.clone())),
            summary: state.get("reason").text(),
            labels: body
                .get("account")
                .text()
                .map(|account| ("account".to_owned(), account))
                .into_iter()
                .collect(),
            ..Facts::default()
        },
        source,
        kind,
        subject,
        raw: None,
    }))
}
