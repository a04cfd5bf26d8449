//! Webhooks of Prometheus Alertmanager and of Grafana, which has the same shape and more: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>, <https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>.

use std::fmt::Write;

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;
use belfry_model::event::timestamp;
use serde_json::Value;

use crate::body::Node;
use crate::draft::{Draft, Facts, hash};
use crate::format::{Format, SignedBy};
use crate::moment;
use crate::signature::{Proof, hmac, unsigned};
use crate::source::{EVENTS_MAX, Outcome, Request};
use chrono_tz::Tz;

pub(crate) static FORMAT: Format = Format {
    name: "alertmanager",
    title: ("Prometheus Alertmanager", "Prometheus Alertmanager 告警"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read: |request| read(request, "prometheus.alertmanager", "prometheus"),
};

pub(crate) static GRAFANA: Format = Format {
    name: "grafana",
    title: ("Grafana alerting", "Grafana 告警"),
    signed_by: SignedBy::Secret,
    proof: grafana_proof,
    read: |request| read(request, "grafana.alerting", "grafana"),
};

/// How far the signed time of a request may be from ours.
const SKEW_MS: i64 = 5 * 60 * 1000;
/// Most bytes of what is around the alerts that are kept with each.
const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
/// Labels that name what the alert is about, the best first.
const SUBJECTS: [&str; 5] = ["instance", "pod", "node", "service", "job"];

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    body.get("alerts").0.is_array() && body.get("groupLabels").exists()
}

pub(crate) fn seen_grafana(request: &Request<'_>) -> bool {
    seen(request) && request.node().get("orgId").exists()
}

fn grafana_proof(request: &Request<'_>) -> Result<Proof, FieldError> {
    let signing = request.source.spec().signing.as_ref();
    let named = |name: Option<&String>| name.map(|name| name.to_ascii_lowercase());
    let header = named(signing.and_then(|signing| signing.header.as_ref()));
    let header = header.as_deref().unwrap_or("x-grafana-alerting-signature");
    // Grafana signs only if it is told to. A source that takes any format takes unsigned requests anyway.
    if request.header(header).is_none() && !request.source.is_fixed() {
        return Ok(Proof::Unsigned);
    }
    let Some(stamp) = named(signing.and_then(|signing| signing.timestamp_header.as_ref())) else {
        return hmac(request, header, "", &[request.bytes()]);
    };
    let time = request.header(&stamp).unwrap_or_default();
    let proof = hmac(
        request,
        header,
        "",
        &[time.as_bytes(), b":", request.bytes()],
    )?;
    let ms = moment::of_text(time, Tz::UTC);
    let fresh =
        ms.is_some_and(|ms| ms.abs_diff(request.incoming.received_at_ms) <= SKEW_MS.unsigned_abs());
    if proof == Proof::Good && !fresh {
        let detail = "the signed time is more than five minutes from the time of this server";
        return Err(FieldError::new(format!("header:{stamp}"), detail));
    }
    Ok(proof)
}

fn read(request: &Request<'_>, source: &str, prefix: &str) -> Result<Outcome, FieldError> {
    let body = request.node();
    let alerts = body.get("alerts").list();
    if alerts.is_empty() {
        let detail = "expected a list of at least one alert";
        return Err(FieldError::new("/alerts", detail));
    }
    if alerts.len() > EVENTS_MAX {
        let detail = format!("a request has at most {EVENTS_MAX} alerts");
        return Err(FieldError::new("/alerts", detail));
    }
    let envelope = envelope(body);
    // The sender left some out: whoever reads of these should know.
    let left_out = body
        .get("truncatedAlerts")
        .text()
        .filter(|count| count != "0");
    let mut drafts = Vec::with_capacity(alerts.len());
    for (n, alert) in alerts.iter().enumerate() {
        if !alert.is_object() {
            return Err(FieldError::new(
                format!("/alerts/{n}"),
                "expected an object",
            ));
        }
        let mut draft = draft(request, Node(alert), source, prefix);
        if let Some(count) = &left_out {
            let label = ("truncatedAlerts".to_owned(), count.clone());
            draft.facts.labels.push(label);
        }
        if alerts.len() > 1 {
            draft.raw = Some(format!("{{{envelope}\"alerts\":[{alert}]}}"));
        }
        drafts.push(draft);
    }
    Ok(request.events(drafts))
}

/// The body without its alerts, for each of them to stand in: members, ready for one more. Nothing of one so large that
/// many copies of it would be too much.
fn envelope(body: Node<'_>) -> String {
    let mut members = String::new();
    for (name, value) in body.members().filter(|(name, _)| *name != "alerts") {
        // Writing to a string cannot fail.
        write!(members, "{}:{},", Value::from(name), value.0).ok();
    }
    if members.len() > ENVELOPE_BYTES_MAX {
        members.clear();
    }
    members
}

fn draft(request: &Request<'_>, alert: Node<'_>, source: &str, prefix: &str) -> Draft {
    let labels = alert.get("labels");
    let notes = alert.get("annotations");
    let label = |name: &str| labels.get(name).text();
    let name = label("alertname").unwrap_or_else(|| "unknown".to_owned());
    let state = alert.get("status").text().unwrap_or_default();
    let status = match state.as_str() {
        "firing" => AlarmState::Firing,
        "resolved" => AlarmState::Recovered,
        _ => AlarmState::Stateless,
    };
    let over = status == AlarmState::Recovered;
    let started = request.time(alert.get("startsAt"));
    let ended = request.time(alert.get("endsAt"));
    let told: Vec<(String, String)> = labels
        .members()
        .filter_map(|(name, value)| Some((name.to_owned(), value.text()?)))
        .collect();
    let print = alert.get("fingerprint").text().unwrap_or_else(|| {
        let mut lines: Vec<String> = told
            .iter()
            .map(|(name, is)| format!("{name}={is}"))
            .collect();
        lines.sort();
        hash(lines.join("\n").as_bytes()).chars().take(16).collect()
    });
    let summary: Vec<String> = ["summary", "description", "message"]
        .iter()
        .filter_map(|name| notes.get(name).text())
        .collect();
    let values = alert.get("values").members().filter_map(|(name, value)| {
        let value = value.text()?;
        Some(format!("{name}={value}"))
    });
    let values = values.collect::<Vec<_>>().join(", ");
    let link = |name: &str| alert.get(name).text();
    Draft {
        // A repeat has the same id, and is known as one.
        id: format!(
            "{print}-{state}-{}",
            started.and_then(timestamp).unwrap_or_default()
        ),
        source: source.to_owned(),
        kind: format!("{prefix}:Alert:{name}"),
        subject: SUBJECTS
            .iter()
            .find_map(|name| label(name))
            .or_else(|| Some(print.clone())),
        time_ms: if over { ended.or(started) } else { started },
        status,
        severity: ["severity", "priority", "level"]
            .iter()
            .find_map(|name| label(name))
            .and_then(|word| Severity::parse(&word))
            .unwrap_or(Severity::Warning),
        region: label("region"),
        key: AlarmKey::of([source, &print]),
        facts: Facts {
            // Grafana's own alerts about an alert say which one it is.
            title: Some(match label("rulename") {
                Some(rule) => format!("{name}: {rule}"),
                None => name,
            }),
            summary: Some(summary.join("\n")),
            value: notes.get("value").text().or(Some(values)),
            started_at_ms: started,
            ended_at_ms: ended.filter(|_| over),
            links: vec![
                ("source", link("generatorURL")),
                ("runbook", notes.get("runbook_url").text()),
                ("dashboard", link("dashboardURL")),
                ("panel", link("panelURL")),
                ("silence", link("silenceURL")),
            ],
            labels: told,
            ..Facts::default()
        },
        raw: None,
    }
}
