//! The webhook of Datadog, with the payload named after its variables: <https://docs.datadoghq.com/integrations/webhooks/>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;

use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "datadog",
    title: ("Datadog", "Datadog 告警"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

/// Words for an alarm that fires, in lower case.
const FIRING: [&str; 6] = [
    "triggered",
    "re-triggered",
    "warn",
    "re-warn",
    "no data",
    "renotify",
];

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    body.get("alert_transition").exists() && body.get("alert_id").exists()
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    // A variable that Datadog does not know stays as it is.
    let unresolved = |text: &String| {
        let name = text.strip_prefix('$').unwrap_or_default();
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let word = |name: &str| body.get(name).text().filter(|text| !unresolved(text));
    let monitor = body.need("alert_id")?;
    let transition = word("alert_transition").unwrap_or_default().to_lowercase();
    let status = if transition.contains("recovered") {
        AlarmState::Recovered
    } else if FIRING.iter().any(|known| transition.starts_with(known)) {
        AlarmState::Firing
    } else {
        AlarmState::Stateless
    };
    let scope = word("alert_scope");
    let priority = word("alert_priority").and_then(|word| Severity::parse(&word));
    let severity = priority.unwrap_or_else(|| {
        let weak = ["warn", "re-warn", "no data"].contains(&transition.as_str());
        if !weak && word("alert_type").as_deref() == Some("error") {
            Severity::Error
        } else {
            Severity::Warning
        }
    });
    let cycle = word("alert_cycle_key")
        .unwrap_or_else(|| format!("{monitor}/{}", scope.as_deref().unwrap_or_default()));
    let time = request.time(body.get("date"));
    let labels = word("tags").unwrap_or_default();
    let labels = labels.split(',').filter_map(|tag| {
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value.trim().to_owned()))
    });
    Ok(request.event(Draft {
        id: word("id").unwrap_or_else(|| request.hash_id("datadog")),
        source: "datadog".to_owned(),
        kind: format!("datadog:Monitor:{monitor}"),
        subject: scope.or_else(|| word("hostname")),
        time_ms: time,
        status,
        severity,
        region: None,
        key: AlarmKey::of(["datadog", &cycle]),
        facts: Facts {
            title: word("title"),
            // The marks say that what is between them is Markdown.
            summary: word("body").map(|text| text.replace("%%%", "")),
            resource_name: word("hostname"),
            started_at_ms: time.filter(|_| status == AlarmState::Firing),
            links: vec![("monitor", word("link"))],
            labels: labels.collect(),
            ..Facts::default()
        },
        raw: None,
    }))
}
