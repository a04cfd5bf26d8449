//! History as clients read it.

use belfry_engine::DeliveryNotice;
use belfry_model::delivery::{DeliveryStatus, Reason, Trigger};
use belfry_model::json::JsonText;
use belfry_model::{AttemptId, DeliveryId, EventId, ReplayId};
use belfry_store::{Attempt, DeliveryRecord, EventFacts, EventRecord};
use serde::Serialize;
use utoipa::ToSchema;

use super::names::Names;
use crate::time::Stamp;

/// The members of an event that lists show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventSummary {
    /// The sender's id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub subject: Option<String>,
}

impl From<EventFacts> for EventSummary {
    fn from(facts: EventFacts) -> Self {
        Self {
            id: facts.id,
            source: facts.source,
            kind: facts.kind,
            subject: facts.subject,
        }
    }
}

/// A target that an event went to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchView {
    /// The delivery.
    #[schema(value_type = String, examples("dlv_01jd0c4z8k0000000001"))]
    pub delivery: DeliveryId,
    /// The rule that matched.
    pub rule: String,
    /// The target.
    pub target: String,
    /// Whether the target is there no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub deleted: bool,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventListItem)]
pub struct EventView {
    /// The server's id.
    #[schema(value_type = String, examples("evt_01jd0c4z8k000"))]
    pub event_uid: EventId,
    /// The bus it was posted to.
    pub bus: String,
    /// When it was accepted.
    pub accepted_at: Stamp,
    /// Its members.
    pub event: EventSummary,
    /// Size of the whole document in bytes.
    pub bytes: u64,
    /// The trace it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub trace_id: Option<String>,
    /// The replay that has put the event back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, examples("rpl_0000001"))]
    pub replay: Option<ReplayId>,
    /// The event that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, examples("evt_01jd0c4z8k000"))]
    pub replay_of: Option<EventId>,
    /// The targets that matched when it was accepted.
    pub matches: Vec<MatchView>,
}

/// A stored event with its document and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventDetail)]
pub struct EventDetail {
    /// The server's id.
    #[schema(value_type = String, examples("evt_01jd0c4z8k000"))]
    pub event_uid: EventId,
    /// The bus it was posted to.
    pub bus: String,
    /// When it was accepted.
    pub accepted_at: Stamp,
    /// Size of the document in bytes.
    pub bytes: u64,
    /// The trace it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub trace_id: Option<String>,
    /// The replay that has put the event back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, examples("rpl_0000001"))]
    pub replay: Option<ReplayId>,
    /// The event that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, examples("evt_01jd0c4z8k000"))]
    pub replay_of: Option<EventId>,
    /// The event, byte for byte as it was stored.
    #[schema(value_type = Object)]
    pub event: JsonText,
    /// Its deliveries, one for each target that matched when it was accepted.
    pub deliveries: Vec<DeliveryView>,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// Its id; the receiver sees it as `webhook-id`.
    #[schema(value_type = String, examples("dlv_01jd0c4z8k0000000001"))]
    pub id: DeliveryId,
    /// The server's id of its event.
    #[schema(value_type = String, examples("evt_01jd0c4z8k000"))]
    pub event_uid: EventId,
    /// The event's bus.
    pub bus: String,
    /// The rule that matched.
    pub rule: String,
    /// The target.
    pub target: String,
    /// The target's kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether the target is there no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub deleted: bool,
    /// Its state: `queued`, `delivered`, `retrying`, `dead`, `expired` or `skipped`.
    #[schema(value_type = String, examples("delivered"))]
    pub status: DeliveryStatus,
    /// Attempts made so far.
    pub attempts: u32,
    /// The last answer's status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub status_code: Option<u16>,
    /// How long the last attempt took.
    pub duration_ms: u32,
    /// Why, for programs; absent when delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, examples("http_5xx"))]
    pub reason: Option<Reason>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub detail: Option<String>,
    /// When its event was accepted.
    pub accepted_at: Stamp,
    /// When its state changed last.
    pub updated_at: Stamp,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub next_attempt_at: Option<Stamp>,
    /// The trace it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub trace_id: Option<String>,
    /// The replay that has put the event back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, examples("rpl_0000001"))]
    pub replay: Option<ReplayId>,
    /// The event that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, examples("evt_01jd0c4z8k000"))]
    pub replay_of: Option<EventId>,
    /// The event's members.
    pub event: EventSummary,
}

/// A delivery with its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryDetail {
    /// The delivery.
    pub delivery: DeliveryView,
    /// The delivery that must end before this one may go, where the target keeps order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, examples("dlv_01jd0c4z8k0000000001"))]
    pub waits_for: Option<DeliveryId>,
    /// Its attempts, first to last, over all redrives.
    pub attempts: Vec<AttemptView>,
}

/// One request, or why it did not get onto the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt)]
pub struct AttemptView {
    /// Its id.
    #[schema(value_type = String, examples("att_01jd0c4z8k0000000001_1"))]
    pub id: AttemptId,
    /// From 1.
    pub number: u32,
    /// What set it off: `initial`, `retry` or `redrive`.
    #[schema(value_type = String)]
    pub trigger: Trigger,
    /// When it started.
    pub started_at: Stamp,
    /// How long it took.
    pub duration_ms: u32,
    /// The answer's status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub status_code: Option<u16>,
    /// Why it failed, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false)]
    pub reason: Option<Reason>,
    /// Why it failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub detail: Option<String>,
    /// When the next attempt was to be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub next_attempt_at: Option<Stamp>,
    /// Request and response, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub record: Option<JsonText>,
}

/// Something happened to a delivery just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Notice)]
pub struct NoticeView {
    /// The delivery.
    #[schema(value_type = String, examples("dlv_01jd0c4z8k0000000001"))]
    pub id: DeliveryId,
    /// The server's id of its event.
    #[schema(value_type = String, examples("evt_01jd0c4z8k000"))]
    pub event_uid: EventId,
    /// The rule's bus; absent, like the two that follow, when the target was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub bus: Option<String>,
    /// The rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub rule: Option<String>,
    /// The target.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub target: Option<String>,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event's source.
    pub source: String,
    /// The event's subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub subject: Option<String>,
    /// Its state now.
    #[schema(value_type = String, examples("delivered"))]
    pub status: DeliveryStatus,
    /// Attempts made so far.
    pub attempts: u32,
    /// The last answer's status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub status_code: Option<u16>,
    /// How long the last attempt took.
    pub duration_ms: u32,
    /// Why, for programs; absent when delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false)]
    pub reason: Option<Reason>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub detail: Option<String>,
    /// When.
    pub at: Stamp,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub next_attempt_at: Option<Stamp>,
}

impl From<DeliveryNotice> for NoticeView {
    fn from(notice: DeliveryNotice) -> Self {
        Self {
            id: notice.id,
            event_uid: notice.event_uid,
            bus: notice.bus.map(|bus| bus.to_string()),
            rule: notice.rule,
            target: notice.target,
            kind: notice.kind,
            source: notice.source,
            subject: notice.subject,
            status: notice.status,
            attempts: notice.attempts,
            status_code: notice.status_code,
            duration_ms: notice.duration_ms,
            reason: notice.reason,
            detail: notice.detail,
            at: Stamp(notice.at_ms),
            next_attempt_at: notice.next_at_ms.map(Stamp),
        }
    }
}

impl EventView {
    pub(super) fn new(record: EventRecord, names: &Names) -> Self {
        let matches = record
            .fan
            .iter()
            .map(|target| {
                let path = names.target(*target);
                MatchView {
                    delivery: DeliveryId {
                        event: record.id,
                        target: *target,
                    },
                    rule: path.map(|path| path.rule.to_string()).unwrap_or_default(),
                    target: path.map(|path| path.target.to_string()).unwrap_or_default(),
                    deleted: path.is_none_or(|path| path.deleted),
                }
            })
            .collect();
        Self {
            event_uid: record.id,
            bus: names.bus(record.bus),
            accepted_at: Stamp(record.id.time_ms()),
            event: record.facts.into(),
            bytes: record.bytes,
            trace_id: record.trace_id,
            replay: record.replay.map(|mark| mark.replay),
            replay_of: record.replay.map(|mark| mark.of),
            matches,
        }
    }
}

impl DeliveryView {
    pub(super) fn new(record: DeliveryRecord, names: &Names) -> Self {
        let outcome = record.outcome;
        let id = outcome.delivery;
        let path = names.target(id.target);
        Self {
            id,
            event_uid: id.event,
            bus: names.bus(record.bus),
            rule: path.map(|path| path.rule.to_string()).unwrap_or_default(),
            target: path.map(|path| path.target.to_string()).unwrap_or_default(),
            kind: path.map(|path| path.kind.clone()).unwrap_or_default(),
            deleted: path.is_none_or(|path| path.deleted),
            status: outcome.status,
            attempts: outcome.attempts,
            status_code: outcome.status_code,
            duration_ms: outcome.duration_ms,
            reason: outcome.reason,
            detail: outcome.detail,
            accepted_at: Stamp(id.event.time_ms()),
            updated_at: Stamp(outcome.at_ms),
            next_attempt_at: record.due_at_ms.map(Stamp),
            trace_id: record.trace_id,
            replay: record.replay.map(|mark| mark.replay),
            replay_of: record.replay.map(|mark| mark.of),
            event: record.event.into(),
        }
    }
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            id: AttemptId {
                delivery: attempt.delivery,
                number: attempt.number,
            },
            number: attempt.number,
            trigger: attempt.trigger,
            started_at: Stamp(attempt.started_at_ms),
            duration_ms: attempt.duration_ms,
            status_code: attempt.status_code,
            reason: attempt.reason,
            detail: attempt.detail,
            next_attempt_at: attempt.next_at_ms.map(Stamp),
            record: attempt
                .record
                .and_then(|record| JsonText::parse(&record).ok()),
        }
    }
}
