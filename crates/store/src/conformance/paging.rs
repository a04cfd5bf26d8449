//! Pages against a plain filter over the same rows: whatever the filter, page size and scan limit, following the cursor
//! gives every row once, newest first.

use belfry_model::delivery::{DeliveryStatus, Reason};
use belfry_model::{BusId, DeliveryId, EventId, TargetId};

use super::fixtures::*;
use crate::{Batch, DeliveryQuery, EventFacts, EventQuery, NewEvent, Outcome, Store};

const EVENTS: i64 = 700;
const TARGETS: i32 = 6;

/// A small generator of its own, so that a failure can be repeated from the round that is named.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.below(u64::try_from(from.len()).unwrap());
        from[usize::try_from(index).unwrap()].clone()
    }

    /// Sometimes one of them.
    fn maybe<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (self.below(3) == 0).then(|| self.pick(from))
    }

    fn small(&mut self, end: u64) -> i64 {
        i64::try_from(self.below(end)).unwrap()
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().copied().map(str::to_owned).collect()
}

fn kinds() -> Vec<String> {
    texts(&["disk.full", "disk.ok", "cpu.hot", "none"])
}

async fn fill(store: &dyn Store, dice: &mut Dice) -> Batch {
    let mut batch = Batch::default();
    for step in 0..EVENTS {
        let facts = EventFacts {
            id: format!("ce-{}", step % 50),
            source: dice.pick(&texts(&["/a", "/b"])),
            // `none` stays rare; `never` below never occurs.
            kind: if step == 3 {
                "none".to_owned()
            } else {
                dice.pick(&kinds()[..3])
            },
            subject: dice.maybe(&texts(&["sda", "sdb"])),
        };
        let fan: Vec<_> = (1..=TARGETS)
            .filter(|_| dice.below(2) == 0)
            .map(TargetId)
            .collect();
        for target in &fan {
            let id = DeliveryId {
                event: id(step),
                target: *target,
            };
            // One target never fails, one always does.
            let status = match target.0 {
                1 => DeliveryStatus::Delivered,
                2 => DeliveryStatus::Dead,
                _ => dice.pick(DeliveryStatus::ALL),
            };
            if dice.below(10) > 0 {
                let mut outcome = outcome(id, status);
                if outcome.reason.is_some() && dice.below(2) == 0 {
                    outcome.reason = Some(Reason::Timeout);
                    outcome.detail = Some("no answer".to_owned());
                }
                batch.outcomes.push(outcome);
            }
        }
        batch.events.push(NewEvent {
            bus: BusId(1 + i32::from(dice.below(3) == 0)),
            event: event(&facts),
            fan,
            ..new_event(step, &[])
        });
    }
    store.commit(&batch).await.unwrap();
    batch
}

fn times(dice: &mut Dice) -> (Option<i64>, Option<i64>) {
    let since = (dice.below(3) == 0).then(|| T0 + dice.small(700));
    let until = (dice.below(3) == 0).then(|| T0 + dice.small(700));
    (since, until)
}

fn in_time(id: EventId, since_ms: Option<i64>, until_ms: Option<i64>) -> bool {
    since_ms.is_none_or(|ms| id.time_ms() >= ms) && until_ms.is_none_or(|ms| id.time_ms() < ms)
}

fn event_matches(new: &NewEvent, query: &EventQuery) -> bool {
    let event = &new.event;
    let holds = |text: &String| {
        std::str::from_utf8(event.doc())
            .unwrap()
            .contains(text.as_str())
    };
    in_time(new.id, query.since_ms, query.until_ms)
        && query.bus.is_none_or(|bus| bus == new.bus)
        && query
            .kind
            .as_deref()
            .is_none_or(|kind| kind == event.kind())
        && query
            .source
            .as_deref()
            .is_none_or(|source| source == event.source())
        && query
            .subject
            .as_deref()
            .is_none_or(|subject| Some(subject) == event.subject())
        && query.ce_id.as_deref().is_none_or(|id| id == event.id())
        && query
            .matched
            .is_none_or(|matched| matched != new.fan.is_empty())
        && query.text.as_ref().is_none_or(holds)
}

async fn all_events(store: &dyn Store, mut query: EventQuery) -> Vec<EventId> {
    let mut seen = Vec::new();
    for _ in 0..20 * EVENTS {
        let page = store.list_events(&query).await.unwrap();
        assert!(page.items.len() <= usize::try_from(query.limit).unwrap());
        seen.extend(page.items.iter().map(|record| record.id));
        let Some(next) = page.next else { return seen };
        assert!(
            query.before.is_none_or(|before| next < before),
            "no progress: {query:?}"
        );
        query.before = Some(next);
    }
    panic!("no end: {query:?}");
}

pub(crate) async fn pages_of_events_have_no_gaps_and_no_repeats(store: &dyn Store) {
    let mut dice = Dice(0x5eed);
    let batch = fill(store, &mut dice).await;
    for round in 0..120 {
        let (since_ms, until_ms) = times(&mut dice);
        let query = EventQuery {
            bus: dice.maybe(&[BusId(1), BusId(2)]),
            since_ms,
            until_ms,
            kind: dice.maybe(&kinds()),
            source: dice.maybe(&texts(&["/a", "/b"])),
            subject: dice.maybe(&texts(&["sda", "never"])),
            ce_id: dice.maybe(&texts(&["ce-7"])),
            text: dice.maybe(&texts(&["sdb", "ce-1"])),
            matched: dice.maybe(&[true, false]),
            before: None,
            limit: dice.pick(&[1, 7, 50, 1000]),
            scan_max: dice.pick(&[40, 300, 5000]),
        };
        let expected: Vec<_> = batch
            .events
            .iter()
            .rev()
            .filter(|new| event_matches(new, &query))
            .map(|new| new.id)
            .collect();
        assert_eq!(
            all_events(store, query.clone()).await,
            expected,
            "round {round}: {query:?}"
        );
    }
}

fn delivery_matches(outcome: &Outcome, batch: &Batch, query: &DeliveryQuery) -> bool {
    let id = outcome.delivery;
    let index = usize::try_from(id.event.time_ms() - T0).unwrap();
    let event = &batch.events[index].event;
    let holds = |text: &String| {
        std::str::from_utf8(event.doc())
            .unwrap()
            .contains(text.as_str())
            || outcome
                .detail
                .as_ref()
                .is_some_and(|detail| detail.contains(text.as_str()))
    };
    in_time(id.event, query.since_ms, query.until_ms)
        && query
            .targets
            .as_ref()
            .is_none_or(|targets| targets.contains(&id.target))
        && (query.statuses.is_empty() || query.statuses.contains(&outcome.status))
        && query
            .reason
            .is_none_or(|reason| outcome.reason == Some(reason))
        && query
            .kind
            .as_deref()
            .is_none_or(|kind| kind == event.kind())
        && query
            .source
            .as_deref()
            .is_none_or(|source| source == event.source())
        && query
            .subject
            .as_deref()
            .is_none_or(|subject| Some(subject) == event.subject())
        && query.text.as_ref().is_none_or(holds)
}

async fn all_deliveries(store: &dyn Store, mut query: DeliveryQuery) -> Vec<DeliveryId> {
    let mut seen = Vec::new();
    for _ in 0..100 * EVENTS {
        let page = store.list_deliveries(&query).await.unwrap();
        assert!(page.items.len() <= usize::try_from(query.limit).unwrap());
        seen.extend(page.items.iter().map(|record| record.outcome.delivery));
        let Some(next) = page.next else { return seen };
        assert!(
            query.before.is_none_or(|before| next < before),
            "no progress: {query:?}"
        );
        query.before = Some(next);
    }
    panic!("no end: {query:?}");
}

fn expected_deliveries(batch: &Batch, query: &DeliveryQuery) -> Vec<DeliveryId> {
    let mut expected: Vec<_> = batch
        .outcomes
        .iter()
        .filter(|outcome| delivery_matches(outcome, batch, query))
        .map(|outcome| outcome.delivery)
        .collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    expected
}

fn any_delivery_query(dice: &mut Dice) -> DeliveryQuery {
    let (since_ms, until_ms) = times(dice);
    let all: Vec<_> = (1..=TARGETS + 1).map(TargetId).collect();
    let targets = match dice.below(5) {
        0 => Some(all.iter().copied().filter(|_| dice.below(2) == 0).collect()),
        1 => Some(vec![dice.pick(&all)]),
        2 => Some([all.as_slice(), all.as_slice()].concat()),
        _ => None,
    };
    let statuses = match dice.below(4) {
        0 => vec![DeliveryStatus::Dead, DeliveryStatus::Expired],
        1 => DeliveryStatus::ALL
            .iter()
            .copied()
            .filter(|_| dice.below(2) == 0)
            .collect(),
        2 if dice.below(2) == 0 => DeliveryStatus::ALL
            .iter()
            .copied()
            .filter(|status| *status != DeliveryStatus::Delivered)
            .collect(),
        _ => vec![],
    };
    DeliveryQuery {
        targets,
        statuses,
        reason: dice.maybe(&[Reason::Timeout, Reason::Http5xx, Reason::Gone]),
        since_ms,
        until_ms,
        kind: dice.maybe(&kinds()),
        source: dice.maybe(&texts(&["/a"])),
        subject: dice.maybe(&texts(&["sda"])),
        text: dice.maybe(&texts(&["answer", "sdb"])),
        before: None,
        limit: dice.pick(&[1, 7, 50, 1000]),
        scan_max: dice.pick(&[60, 300, 5000]),
    }
}

pub(crate) async fn pages_of_deliveries_have_no_gaps_and_no_repeats(store: &dyn Store) {
    let mut dice = Dice(0xd1ce);
    let batch = fill(store, &mut dice).await;
    for round in 0..150 {
        let query = any_delivery_query(&mut dice);
        let expected = expected_deliveries(&batch, &query);
        assert_eq!(
            all_deliveries(store, query.clone()).await,
            expected,
            "round {round}: {query:?}"
        );
    }
}

pub(crate) async fn a_small_scan_limit_still_gets_to_the_end(store: &dyn Store) {
    let mut dice = Dice(0xf00d);
    let batch = fill(store, &mut dice).await;
    for scan_max in [1, 2, 3, 10] {
        let query = EventQuery {
            kind: Some("none".to_owned()),
            scan_max,
            ..event_query()
        };
        let first = store.list_events(&query).await.unwrap();
        assert!(first.items.is_empty());
        // Looked at no more than so many, and says where it stopped.
        assert_eq!(first.next, Some(id(EVENTS - i64::from(scan_max))));
        assert_eq!(all_events(store, query).await, [id(3)]);
        for targets in [None, Some(vec![TargetId(1), TargetId(3), TargetId(2)])] {
            let statuses = vec![DeliveryStatus::Dead];
            let since_ms = Some(T0 + EVENTS - 60);
            let query = DeliveryQuery {
                targets,
                statuses,
                since_ms,
                scan_max,
                ..delivery_query()
            };
            let expected = expected_deliveries(&batch, &query);
            assert_eq!(all_deliveries(store, query).await, expected);
        }
    }
    let query = EventQuery {
        scan_max: 5,
        ..event_query()
    };
    assert_eq!(store.list_events(&query).await.unwrap().items.len(), 5);
}

pub(crate) async fn many_targets_are_listed_like_few(store: &dyn Store) {
    let mut batch = Batch::default();
    for step in 0..40 {
        let fan: Vec<_> = (0..60)
            .map(|n| n * 3 + i32::try_from(step % 3).unwrap())
            .collect();
        batch.events.push(new_event(step, &fan));
        for target in fan {
            batch
                .outcomes
                .push(outcome(delivery(step, target), DeliveryStatus::Delivered));
        }
    }
    store.commit(&batch).await.unwrap();
    for count in [1, 2, 31, 32, 33, 100, 180] {
        let targets = Some((0..count).map(TargetId).collect());
        let query = DeliveryQuery {
            targets,
            limit: 37,
            ..delivery_query()
        };
        let expected = expected_deliveries(&batch, &query);
        assert_eq!(
            all_deliveries(store, query).await,
            expected,
            "{count} targets"
        );
    }
    let query = DeliveryQuery {
        targets: Some(vec![]),
        ..delivery_query()
    };
    assert!(
        store
            .list_deliveries(&query)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
