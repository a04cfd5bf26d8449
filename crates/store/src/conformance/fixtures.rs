//! Small values for the cases.

use belfry_model::config::{BusSpec, RuleSpec, TargetSpec};
use belfry_model::delivery::{DeliveryStatus, Reason, Trigger};
use belfry_model::json::JsonText;
use belfry_model::{BusId, DeliveryId, Event, EventId, NodeId, OrderKey, TargetId};
use bytes::Bytes;

use crate::{
    Attempt, AuditEntry, Batch, Change, Claim, DeliveryQuery, EventFacts, EventQuery, Expect,
    IdempotencyRecord, LogQuery, NewEvent, NewLogEntry, Outcome, Pending, Recovered, Store,
};

pub(crate) const NODE: NodeId = NodeId(3);
pub(crate) const BUS: BusId = BusId(1);
/// An ordinary moment: 2025-11-21.
pub(crate) const T0: i64 = 1_763_700_000_000;

/// The event accepted `step` milliseconds after [`T0`] by [`NODE`].
pub(crate) fn id(step: i64) -> EventId {
    id_of(NODE, step)
}

pub(crate) fn id_of(node: NodeId, step: i64) -> EventId {
    EventId::from_stored(EventId::first_at(T0 + step).get() | (i64::from(node.0) << 14))
}

pub(crate) fn delivery(step: i64, target: i32) -> DeliveryId {
    DeliveryId {
        event: id(step),
        target: TargetId(target),
    }
}

pub(crate) fn event(facts: &EventFacts) -> Event {
    let mut doc = serde_json::json!({
        "specversion": "1.0", "id": facts.id, "source": facts.source, "type": facts.kind, "data": {"free": 7},
    });
    if let Some(subject) = &facts.subject {
        doc["subject"] = subject.as_str().into();
    }
    Event::from_stored(Bytes::from(doc.to_string())).unwrap()
}

pub(crate) fn facts(step: i64) -> EventFacts {
    EventFacts {
        id: format!("ce-{step}"),
        source: "/disk/1".to_owned(),
        kind: "disk.full".to_owned(),
        subject: Some("sda".to_owned()),
    }
}

pub(crate) fn new_event(step: i64, fan: &[i32]) -> NewEvent {
    NewEvent {
        id: id(step),
        bus: BUS,
        event: event(&facts(step)),
        fan: fan.iter().copied().map(TargetId).collect(),
        archives: vec![],
        trace_id: Some(TRACE.to_owned()),
        key: None,
        strict: false,
        replay: None,
    }
}

pub(crate) fn events(list: &[(i64, &[i32])]) -> Batch {
    Batch {
        events: list
            .iter()
            .map(|(step, fan)| new_event(*step, fan))
            .collect(),
        ..Batch::default()
    }
}

pub(crate) fn outcome(delivery: DeliveryId, status: DeliveryStatus) -> Outcome {
    let delivered = status == DeliveryStatus::Delivered;
    Outcome {
        delivery,
        status,
        attempts: 1,
        status_code: Some(if delivered { 200 } else { 503 }),
        duration_ms: 12,
        at_ms: T0 + 5,
        reason: (!delivered).then_some(Reason::Http5xx),
        detail: (!delivered).then(|| "503 Service Unavailable".to_owned()),
    }
}

pub(crate) fn outcomes(list: Vec<Outcome>) -> Batch {
    Batch {
        outcomes: list,
        ..Batch::default()
    }
}

pub(crate) fn pending(delivery: DeliveryId, due_at_ms: i64) -> Pending {
    Pending {
        delivery,
        due_at_ms,
        attempts: 1,
        attempts_before: 0,
        since_ms: delivery.event.time_ms(),
        trigger: Trigger::Retry,
        owner: None,
        order: None,
        progress: None,
    }
}

/// Work in the order of `key`.
pub(crate) fn in_order(delivery: DeliveryId, due_at_ms: i64, key: i64) -> Pending {
    Pending {
        order: Some(OrderKey(key)),
        ..pending(delivery, due_at_ms)
    }
}

pub(crate) fn pendings(list: Vec<Pending>) -> Batch {
    Batch {
        pending: list,
        ..Batch::default()
    }
}

/// The trace of every event here.
pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

pub(crate) fn attempt(delivery: DeliveryId, number: u32) -> Attempt {
    Attempt {
        delivery,
        number,
        trace_id: Some(TRACE.to_owned()),
        trigger: Trigger::Initial,
        started_at_ms: T0 + 1,
        duration_ms: 11,
        status_code: Some(503),
        reason: Some(Reason::Http5xx),
        detail: Some("busy".to_owned()),
        next_at_ms: Some(T0 + 5000),
        record: Some(r#"{"request":{}}"#.to_owned()),
    }
}

/// A first attempt that delivered, as [`outcome`] tells it.
pub(crate) fn first_try(delivery: DeliveryId) -> Attempt {
    Attempt {
        duration_ms: 12,
        status_code: Some(200),
        reason: None,
        detail: None,
        next_at_ms: None,
        started_at_ms: delivery.event.time_ms() + 3,
        ..attempt(delivery, 1)
    }
}

pub(crate) fn log_entry(log: &str, delivery: DeliveryId, text: &str) -> NewLogEntry {
    NewLogEntry {
        log: log.parse().unwrap(),
        delivery,
        event: facts(delivery.event.time_ms() - T0),
        text: text.to_owned(),
    }
}

pub(crate) fn idempotency(scope: u8, at_ms: i64) -> IdempotencyRecord {
    IdempotencyRecord {
        scope: [scope; 32],
        fingerprint: [7; 32],
        at_ms,
        answer: vec![1, 2, 3],
    }
}

pub(crate) fn claim(target: i32, now_ms: i64) -> Claim {
    Claim {
        target: TargetId(target),
        now_ms,
        lease_until_ms: now_ms + 60_000,
        owner: NODE,
        limit: 100,
        bytes_max: 1 << 20,
        run_max: 64,
        early: false,
    }
}

pub(crate) fn event_query() -> EventQuery {
    EventQuery {
        limit: 50,
        scan_max: 5000,
        ..EventQuery::default()
    }
}

pub(crate) fn delivery_query() -> DeliveryQuery {
    DeliveryQuery {
        limit: 50,
        scan_max: 5000,
        ..DeliveryQuery::default()
    }
}

pub(crate) fn log_query() -> LogQuery {
    LogQuery {
        limit: 50,
        scan_max: 5000,
        ..LogQuery::default()
    }
}

pub(crate) fn audit(resource: &str, at_ms: i64) -> AuditEntry {
    AuditEntry {
        at_ms,
        actor: "cli".to_owned(),
        action: "rule.put".to_owned(),
        resource: resource.to_owned(),
        before: None,
        after: Some("{}".to_owned()),
        request_id: Some("req-1".to_owned()),
    }
}

pub(crate) fn rule_spec() -> RuleSpec {
    RuleSpec {
        description: "full disks".to_owned(),
        enabled: true,
        pattern: JsonText::parse(r#"{"type": ["disk.full"]}"#).unwrap(),
    }
}

pub(crate) fn target_spec(url: &str) -> TargetSpec {
    serde_json::from_value(serde_json::json!({"type": "webhook", "settings": {"url": url}}))
        .unwrap()
}

pub(crate) fn put_bus(name: &str, expect: Expect) -> Change {
    Change::PutBus {
        name: name.parse().unwrap(),
        spec: BusSpec::default(),
        expect,
    }
}

pub(crate) fn put_rule(bus: &str, name: &str, expect: Expect) -> Change {
    Change::PutRule {
        bus: bus.parse().unwrap(),
        name: name.parse().unwrap(),
        spec: rule_spec(),
        expect,
    }
}

pub(crate) fn put_target(bus: &str, rule: &str, name: &str, expect: Expect) -> Change {
    Change::PutTarget {
        bus: bus.parse().unwrap(),
        rule: rule.parse().unwrap(),
        name: name.parse().unwrap(),
        spec: Box::new(target_spec("https://example.com/")),
        expect,
    }
}

/// Takes over what a node left whose lease has run out, or that never had one.
pub(crate) async fn recover(store: &dyn Store, node: NodeId, now_ms: i64) -> Recovered {
    let row = Batch {
        watermark: Some((node, EventId::from_stored(0))),
        ..Batch::default()
    };
    store.commit(&row).await.unwrap();
    let nodes = store.list_nodes(now_ms).await.unwrap();
    let found = nodes.into_iter().find(|one| one.member.node == node);
    let member = found.unwrap().member;
    store.take_over(member, now_ms).await.unwrap().unwrap()
}
