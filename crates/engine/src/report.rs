//! Events of Belfry's own: reports on bus `system`, and dead letters.

use belfry_model::event::{EventLimits, Fill};
use belfry_model::{BusName, Event};
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::OwnEvent;
use crate::lane::{detail_of, reason_of};
use crate::outcome::Next;
use crate::snapshot::TargetEntry;
use crate::work::Work;

/// The type of a dead letter. Deliveries of such an event make no further dead letter.
pub(crate) const DEAD_LETTER: &str = "belfry.delivery.dead";

struct Filler(i64);

impl Fill for Filler {
    fn id(&mut self) -> String {
        format!("{:032x}", rand::random::<u128>())
    }
    fn now_ms(&mut self) -> i64 {
        self.0
    }
}

/// Twice the ordinary limits: a dead letter holds another event.
fn limits() -> EventLimits {
    let usual = EventLimits::default();
    EventLimits {
        event_bytes: usize::MAX,
        depth: usual.depth + 8,
        ..usual
    }
}

fn event(document: &Value, now_ms: i64) -> Option<Event> {
    let text = serde_json::to_vec(document).ok()?;
    Event::lenient(Bytes::from(text), &mut Filler(now_ms), &limits())
        .inspect_err(|error| tracing::error!(%error, "a report could not be made"))
        .ok()
}

/// An event on bus `system`.
pub(crate) fn on_system(document: &Value, now_ms: i64) -> Option<OwnEvent> {
    let bus: BusName = BusName::SYSTEM.parse().ok()?;
    Some(OwnEvent {
        bus,
        event: event(document, now_ms)?,
    })
}

fn source(entry: &TargetEntry) -> String {
    format!(
        "belfry/buses/{}/rules/{}/targets/{}",
        entry.bus, entry.rule, entry.target.name
    )
}

fn place(entry: &TargetEntry) -> Value {
    json!({"bus": entry.bus, "rule": entry.rule, "target": entry.target.name, "kind": entry.target.spec.kind})
}

/// `belfry.target.circuit.opened` and `.closed`.
pub(crate) fn circuit(
    entry: &TargetEntry,
    what: &str,
    until_ms: Option<i64>,
    now_ms: i64,
) -> Option<OwnEvent> {
    let mut data = place(entry);
    if let (Some(until), Some(members)) = (until_ms, data.as_object_mut()) {
        members.insert("openUntilMs".to_owned(), until.into());
    }
    let document = json!({
        "source": source(entry), "type": format!("belfry.target.circuit.{what}"),
        "subject": entry.target.name, "data": data,
    });
    on_system(&document, now_ms)
}

/// `belfry.target.disabled`.
pub(crate) fn disabled(entry: &TargetEntry, reason: &str, now_ms: i64) -> Option<OwnEvent> {
    let mut data = place(entry);
    if let Some(members) = data.as_object_mut() {
        members.insert("reason".to_owned(), reason.into());
    }
    let document = json!({
        "source": source(entry), "type": "belfry.target.disabled", "subject": entry.target.name, "data": data,
    });
    on_system(&document, now_ms)
}

/// `belfry.retention.unfinished`: retention has removed deliveries that had not ended.
pub(crate) fn unfinished(count: u64, named: &[String], now_ms: i64) -> Option<OwnEvent> {
    let document = json!({
        "source": "belfry/retention", "type": "belfry.retention.unfinished",
        "data": {"count": count, "deliveries": named},
    });
    on_system(&document, now_ms)
}

/// `belfry.disk.low` and `belfry.disk.ok`.
pub(crate) fn disk(problem: Option<&str>, now_ms: i64) -> Option<OwnEvent> {
    let kind = if problem.is_some() {
        "belfry.disk.low"
    } else {
        "belfry.disk.ok"
    };
    let document = json!({"source": "belfry/disk", "type": kind, "data": {"detail": problem}});
    on_system(&document, now_ms)
}

/// The dead letter of a delivery that was given up: the failure, and the event as it was accepted.
pub(crate) fn dead_letter(
    entry: &TargetEntry,
    work: &Work,
    next: &Next,
    now_ms: i64,
) -> Option<Event> {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Letter<'a> {
        delivery: String,
        event_uid: String,
        bus: &'a BusName,
        rule: &'a str,
        target: &'a str,
        status: &'static str,
        reason: Option<&'static str>,
        detail: Option<String>,
        event: &'a RawValue,
    }
    #[derive(serde::Serialize)]
    struct Document<'a> {
        source: String,
        #[serde(rename = "type")]
        kind: &'static str,
        subject: String,
        data: Letter<'a>,
    }
    let original: &RawValue = serde_json::from_slice(work.event.doc()).ok()?;
    let letter = Letter {
        delivery: work.delivery.to_string(),
        event_uid: work.delivery.event.to_string(),
        bus: &entry.bus,
        rule: &entry.rule,
        target: entry.target.name.as_str(),
        status: if matches!(next, Next::Expired { .. }) {
            "expired"
        } else {
            "dead"
        },
        reason: reason_of(next).map(belfry_model::delivery::Reason::as_str),
        detail: detail_of(next),
        event: original,
    };
    let document = Document {
        source: source(entry),
        kind: DEAD_LETTER,
        subject: letter.delivery.clone(),
        data: letter,
    };
    let text = serde_json::to_vec(&document).ok()?;
    Event::lenient(Bytes::from(text), &mut Filler(now_ms), &limits())
        .inspect_err(|error| tracing::error!(%error, "a dead letter could not be made"))
        .ok()
}
