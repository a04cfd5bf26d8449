//! Incidents of Google Cloud Monitoring by a webhook: <https://cloud.google.com/monitoring/support/notification-options#webhooks>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;

use crate::body::{Node, missing};
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "gcp-monitoring",
    title: ("Google Cloud Monitoring", "Google Cloud 监控告警"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

pub(crate) fn seen(request: &Request<'_>) -> bool {
    request.node().get("incident").get("incident_id").exists()
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let incident = request.node().get("incident");
    let word = |name: &str| incident.get(name).text();
    let id = word("incident_id").ok_or_else(|| missing(&["incident", "incident_id"]))?;
    let state = word("state").unwrap_or_default();
    let status = match state.as_str() {
        "open" => AlarmState::Firing,
        "closed" => AlarmState::Recovered,
        _ => AlarmState::Stateless,
    };
    let over = status == AlarmState::Recovered;
    let started = request.time(incident.get("started_at"));
    let ended = request.time(incident.get("ended_at"));
    let resource = incident.get("resource").get("labels");
    let metric = incident.get("metric").get("labels");
    let policy = word("policy_name");
    let labels = [incident.get("policy_user_labels"), resource, metric]
        .into_iter()
        .flat_map(Node::members)
        .filter_map(|(name, value)| Some((name.to_owned(), value.text()?)))
        .collect();
    Ok(request.event(Draft {
        source: "gcp.monitoring".to_owned(),
        kind: format!("gcp:Incident:{}", policy.as_deref().unwrap_or("unknown")),
        subject: word("resource_name")
            .or_else(|| word("resource_id"))
            .or_else(|| resource.get("instance_id").text()),
        time_ms: if over { ended.or(started) } else { started },
        status,
        // "No Severity" is a warning too.
        severity: word("severity")
            .and_then(|word| Severity::parse(&word))
            .unwrap_or(Severity::Warning),
        region: resource
            .get("zone")
            .text()
            .or_else(|| resource.get("location").text()),
        key: AlarmKey::of(["gcp.monitoring", &id]),
        id: format!("{id}-{state}"),
        facts: Facts {
            title: word("condition_name").or(policy),
            summary: word("summary"),
            resource_name: metric
                .get("instance_name")
                .text()
                .or_else(|| word("resource_display_name")),
            value: word("observed_value"),
            threshold: word("threshold_value"),
            started_at_ms: started,
            ended_at_ms: ended.filter(|_| over),
            links: vec![("incident", word("url"))],
            labels,
        },
        raw: None,
    }))
}
