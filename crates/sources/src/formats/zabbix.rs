//! The webhook media type of Zabbix, with the parameters named after its macros: <https://www.zabbix.com/documentation/current/en/manual/config/notifications/media/webhook>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;

use crate::body::{Node, missing};
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "zabbix",
    title: ("Zabbix", "Zabbix 告警"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    body.get("event_id").exists() && body.get("event_value").exists()
}

/// A parameter; macros that Zabbix could not resolve are absent.
fn word(body: Node<'_>, name: &str) -> Option<String> {
    let unresolved =
        |text: &String| text == "*UNKNOWN*" || (text.starts_with('{') && text.ends_with('}'));
    body.get(name).text().filter(|text| !unresolved(text))
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    let word = |name: &str| word(body, name);
    let event_id = word("event_id").ok_or_else(|| missing(&["event_id"]))?;
    let status = match word("event_value").as_deref() {
        Some("1") => AlarmState::Firing,
        Some("0") => AlarmState::Recovered,
        _ => AlarmState::Stateless,
    };
    let over = status == AlarmState::Recovered;
    // A comment or an acknowledgement.
    let update = word("event_update_status").as_deref() == Some("1");
    let id = if update {
        let time = word("event_update_time").unwrap_or_default();
        format!("zabbix-{event_id}-update-{time}")
    } else {
        let what = if over { "recovery" } else { "problem" };
        format!("zabbix-{event_id}-{what}")
    };
    let severity = match word("event_nseverity").as_deref() {
        Some("5") => Some(Severity::Critical),
        Some("4") => Some(Severity::Error),
        Some("3" | "2") => Some(Severity::Warning),
        Some("1" | "0") => Some(Severity::Info),
        _ => word("event_severity").and_then(|word| Severity::parse(&word)),
    };
    let began = request.time(body.get("event_timestamp"));
    let ended = request.time(body.get("event_recovery_timestamp"));
    let name = word("event_name");
    let tags = body.get("event_tags").json().unwrap_or_default();
    let mut labels: Vec<_> = Node(&tags)
        .list()
        .iter()
        .map(Node)
        .filter_map(|tag| {
            Some((
                tag.get("tag").text()?,
                tag.get("value").text().unwrap_or_default(),
            ))
        })
        .collect();
    for name in ["host_ip", "trigger_id", "event_ack_status"] {
        labels.extend(word(name).map(|text| (name.to_owned(), text)));
    }
    let comment = word("event_update_message").filter(|_| update);
    Ok(request.event(Draft {
        id,
        source: "zabbix".to_owned(),
        kind: format!("zabbix:Trigger:{}", name.as_deref().unwrap_or("unknown")),
        subject: word("host_name"),
        time_ms: if over { ended.or(began) } else { began },
        status,
        severity: severity.unwrap_or(Severity::Warning),
        region: None,
        key: AlarmKey::of(["zabbix", &event_id]),
        facts: Facts {
            title: name,
            summary: comment.or_else(|| word("trigger_description")),
            resource_name: word("host_name"),
            value: word("event_opdata"),
            started_at_ms: began,
            ended_at_ms: ended.filter(|_| over),
            links: vec![("zabbix", link(body, &event_id))],
            labels,
            ..Facts::default()
        },
        raw: None,
    }))
}

/// The page of the event in Zabbix.
fn link(body: Node<'_>, event_id: &str) -> Option<String> {
    let base = word(body, "zabbix_url")?;
    let trigger = word(body, "trigger_id")?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (number(event_id) && number(&trigger)).then(|| {
        let base = base.trim_end_matches('/');
        format!("{base}/tr_events.php?triggerid={trigger}&eventid={event_id}")
    })
}
