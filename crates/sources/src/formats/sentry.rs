//! Webhooks of Sentry's integration platform: <https://docs.sentry.io/organization/integrations/integration-platform/webhooks/>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;
use serde_json::{Value, json};

use crate::body::{Node, visible};
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::moment;
use crate::signature::hmac;
use crate::source::{Outcome, Request};
use chrono_tz::Tz;

pub(crate) static FORMAT: Format = Format {
    name: "sentry",
    title: ("Sentry", "Sentry 告警"),
    signed_by: SignedBy::Secret,
    proof: |request| hmac(request, "sentry-hook-signature", "", &[request.bytes()]),
    read,
};

const RESOURCE: &str = "sentry-hook-resource";

pub(crate) fn in_headers(request: &Request<'_>) -> bool {
    request.header(RESOURCE).is_some()
}

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    ["installation", "action", "data"]
        .iter()
        .all(|name| body.get(name).exists())
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    let action = body.need("action")?;
    let data = body.get("data");
    let has = |name: &&str| data.get(name).exists();
    let resource = match request.header(RESOURCE).and_then(visible) {
        Some(resource) => resource,
        // Without the header, by what is in it.
        None => [
            "metric_alert",
            "issue",
            "error",
            "event",
            "comment",
            "installation",
        ]
        .into_iter()
        .find(has)
        .map_or("unknown", |name| {
            if name == "event" { "event_alert" } else { name }
        })
        .to_owned(),
    };
    if resource == "installation" {
        return Ok(Outcome::Answered(json!({ "installation": action })));
    }
    let what = match resource.as_str() {
        "event_alert" => data.get("event"),
        "comment" => data,
        name => data.get(name),
    };
    let subject = match resource.as_str() {
        "event_alert" | "error" => what
            .get("issue_id")
            .text()
            .or_else(|| what.get("event_id").text()),
        "comment" => what.get("issue_id").text(),
        _ => what.get("id").text(),
    };
    let status = match action.as_str() {
        "triggered" | "critical" | "warning" | "created" | "unresolved"
            if resource != "comment" =>
        {
            AlarmState::Firing
        }
        "resolved" => AlarmState::Recovered,
        _ => AlarmState::Stateless,
    };
    let word = match action.as_str() {
        "critical" | "warning" => Some(action.clone()),
        _ => what.get("level").text(),
    };
    let quiet = if resource == "comment" {
        Severity::Info
    } else {
        Severity::Warning
    };
    let time = time(request, &resource, what);
    let parts = ["sentry", &resource, subject.as_deref().unwrap_or_default()];
    let key = AlarmKey::of(parts);
    let text = |node: Node<'_>, name: &str| node.get(name).text();
    let labels = [
        ("project", what.get("project").get("slug").text()),
        ("platform", text(what, "platform")),
        ("shortId", text(what, "shortId")),
        ("rule", text(data, "triggered_rule")),
        ("environment", text(what, "environment")),
    ];
    Ok(request.event(Draft {
        id: request.header_id("request-id", "sentry"),
        source: "sentry".to_owned(),
        kind: format!("sentry:{resource}:{action}"),
        subject,
        time_ms: time,
        status,
        severity: word
            .and_then(|word| Severity::parse(&word))
            .unwrap_or(quiet),
        region: None,
        key,
        facts: Facts {
            title: text(what, "title").or_else(|| text(data, "description_title")),
            summary: text(data, "description_text")
                .or_else(|| text(data, "comment"))
                .or_else(|| text(what, "culprit")),
            started_at_ms: request
                .time(what.get("firstSeen"))
                .or_else(|| request.time(what.get("date_started"))),
            links: vec![
                (
                    "sentry",
                    text(data, "web_url").or_else(|| text(what, "web_url")),
                ),
                ("permalink", text(what, "permalink")),
            ],
            labels: labels
                .into_iter()
                .filter_map(|(name, text)| Some((name.to_owned(), text?)))
                .collect(),
            ..Facts::default()
        },
        raw: None,
    }))
}

fn time(request: &Request<'_>, resource: &str, what: Node<'_>) -> Option<i64> {
    let names: &[&str] = match resource {
        "metric_alert" => &["date_closed", "date_started"],
        _ => &["lastSeen", "datetime", "timestamp", "firstSeen"],
    };
    let own = names.iter().find_map(|name| request.time(what.get(name)));
    own.or_else(|| {
        let sent = request.header("sentry-hook-timestamp")?;
        moment::of(&Value::from(sent), Tz::UTC)
    })
}
