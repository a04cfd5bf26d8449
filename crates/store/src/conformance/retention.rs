//! Removing what is too old.

use belfry_model::delivery::DeliveryStatus::{Dead, Delivered, Retrying};
use belfry_model::replay::ReplayMark;
use belfry_model::{BusId, EventId, NodeId, ReplayId};

use super::fixtures::*;
use crate::{Batch, BusPurge, BusSize, NewEvent, Purged, Store};

const DAY_MS: i64 = 86_400_000;

pub(crate) async fn old_events_go_with_everything_about_them(store: &dyn Store) {
    let mut batch = events(&[(1, &[10]), (2, &[10]), (3, &[10])]);
    batch.events[0].key = Some([1; 16]);
    batch.events[0].strict = true;
    batch.events[2].key = Some([3; 16]);
    batch.events[2].strict = true;
    for step in 1..4 {
        batch.outcomes.push(outcome(delivery(step, 10), Dead));
        batch.attempts.push(attempt(delivery(step, 10), 1));
    }
    store.commit(&batch).await.unwrap();
    let purged = store.purge_events(id(3), 100).await.unwrap();
    assert_eq!(
        purged,
        Purged {
            events: 2,
            unfinished: vec![],
            unfinished_count: 0
        }
    );
    for step in 1..3 {
        assert!(store.find_event(id(step)).await.unwrap().is_none());
        assert!(
            store
                .find_delivery(delivery(step, 10))
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            store
                .list_attempts(delivery(step, 10))
                .await
                .unwrap()
                .is_empty()
        );
    }
    let keys = [(BusId(1), [1; 16]), (BusId(1), [3; 16])];
    assert_eq!(store.find_strict(&keys).await.unwrap(), [None, Some(id(3))]);
    assert!(
        store
            .find_delivery(delivery(3, 10))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(store.usage().await.unwrap().oldest_event, Some(id(3)));
    assert_eq!(
        store.purge_events(id(3), 100).await.unwrap(),
        Purged::default()
    );
}

pub(crate) async fn a_purge_is_bounded_and_names_what_had_not_ended(store: &dyn Store) {
    let mut batch = events(&[(1, &[10, 11]), (2, &[10]), (3, &[10]), (4, &[])]);
    batch.outcomes = vec![
        outcome(delivery(1, 10), Delivered),
        outcome(delivery(2, 10), Retrying),
    ];
    batch.pending = vec![pending(delivery(2, 10), T0)];
    store.commit(&batch).await.unwrap();
    let first = store.purge_events(id(100), 2).await.unwrap();
    let unfinished = vec![delivery(1, 11), delivery(2, 10)];
    assert_eq!(
        first,
        Purged {
            events: 2,
            unfinished,
            unfinished_count: 2
        }
    );
    assert!(store.targets_with_pending().await.unwrap().is_empty());
    let second = store.purge_events(id(100), 2).await.unwrap();
    assert_eq!(
        (second.events, second.unfinished),
        (2, vec![delivery(3, 10)])
    );
    assert_eq!(store.purge_events(id(100), 2).await.unwrap().events, 0);
    // Rows written for an event that is gone go with the next ones.
    let mut late = events(&[(50, &[])]);
    late.outcomes = vec![outcome(delivery(3, 10), Delivered)];
    store.commit(&late).await.unwrap();
    store.purge_events(id(100), 2).await.unwrap();
    let counts = store.stats().await.unwrap();
    assert!(counts.contains(&("delivery".to_owned(), 0)), "{counts:?}");
}

pub(crate) async fn many_unfinished_are_counted_and_some_are_named(store: &dyn Store) {
    let batch = Batch {
        events: (0..250).map(|step| new_event(step, &[10])).collect(),
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    let purged = store.purge_events(id(1000), 1000).await.unwrap();
    assert_eq!((purged.events, purged.unfinished_count), (250, 250));
    assert_eq!(
        purged.unfinished,
        (0..100).map(|step| delivery(step, 10)).collect::<Vec<_>>()
    );
}

pub(crate) async fn log_entries_go_by_the_retention_of_their_log(store: &dyn Store) {
    store
        .put_log(&"short".parse().unwrap(), 1, &[])
        .await
        .unwrap();
    store
        .put_log(&"long".parse().unwrap(), 3, &[])
        .await
        .unwrap();
    let mut batch = Batch::default();
    for day in 0..5 {
        for log in ["short", "long"] {
            batch
                .log_entries
                .push(log_entry(log, delivery(day * DAY_MS, 10), "entry"));
        }
    }
    store.commit(&batch).await.unwrap();
    let now = T0 + 5 * DAY_MS;
    // short keeps day 4; long keeps days 2, 3, 4: 4 + 2 entries go, three at a time.
    assert_eq!(store.purge_logs(now, 0, 3).await.unwrap(), 3);
    assert_eq!(store.purge_logs(now, 0, 3).await.unwrap(), 3);
    assert_eq!(store.purge_logs(now, 0, 3).await.unwrap(), 0);
    for (log, kept) in [("short", 1), ("long", 3)] {
        let page = store
            .list_log_entries(&log.parse().unwrap(), &log_query())
            .await
            .unwrap();
        assert_eq!(page.unwrap().items.len(), kept, "{log}");
    }
}

pub(crate) async fn old_idempotency_records_go(store: &dyn Store) {
    let idempotency = (0..5)
        .map(|scope| idempotency(scope, T0 + i64::from(scope)))
        .collect::<Vec<_>>();
    store
        .commit(&Batch {
            idempotency,
            ..Batch::default()
        })
        .await
        .unwrap();
    assert_eq!(store.purge_logs(T0, T0 + 3, 2).await.unwrap(), 2);
    assert_eq!(store.purge_logs(T0, T0 + 3, 2).await.unwrap(), 1);
    assert!(store.find_idempotency(&[2; 32]).await.unwrap().is_none());
    assert!(store.find_idempotency(&[3; 32]).await.unwrap().is_some());
    assert_eq!(
        store
            .purge_events(EventId::from_stored(0), 10)
            .await
            .unwrap(),
        Purged::default()
    );
}

const HOUR_MS: i64 = 3_600_000;

fn on(bus: BusId, step: i64) -> NewEvent {
    NewEvent {
        bus,
        ..new_event(step, &[])
    }
}

fn bytes(events: &[&NewEvent]) -> u64 {
    events.iter().map(|new| new.event.doc().len() as u64).sum()
}

/// The hour that a moment lies in.
fn hour(step: i64) -> EventId {
    EventId::first_at((T0 + step) / HOUR_MS * HOUR_MS)
}

pub(crate) async fn events_and_bytes_are_counted_by_bus_and_taken_down(store: &dyn Store) {
    let (one, two) = (BusId(1), BusId(2));
    let mut replayed = on(two, 2);
    replayed.replay = Some(ReplayMark {
        replay: ReplayId(1),
        of: id(1),
    });
    let of_another = NewEvent {
        id: id_of(NodeId(9), 5),
        ..on(one, 5)
    };
    let batches = [
        vec![on(one, 1), replayed, on(one, 3)],
        vec![of_another, on(one, HOUR_MS + 1)],
    ];
    for events in batches.clone() {
        let batch = Batch {
            events,
            ..Batch::default()
        };
        store.commit(&batch).await.unwrap();
    }
    let [first, second] = &batches;
    let sizes = store.bus_sizes().await.unwrap();
    let expected = [
        BusSize {
            bus: one,
            events: 4,
            bytes: bytes(&[&first[0], &first[2], &second[0], &second[1]]),
            from: hour(1),
        },
        BusSize {
            bus: two,
            events: 1,
            bytes: bytes(&[&first[1]]),
            from: hour(2),
        },
    ];
    assert_eq!(sizes, expected);
    store.purge_events(id(4), 100).await.unwrap();
    let sizes = store.bus_sizes().await.unwrap();
    let left = BusSize {
        events: 2,
        bytes: bytes(&[&second[0], &second[1]]),
        ..expected[0]
    };
    assert_eq!(sizes, [left]);
    store.purge_events(id(HOUR_MS), 100).await.unwrap();
    let sizes = store.bus_sizes().await.unwrap();
    let left = BusSize {
        events: 1,
        bytes: bytes(&[&second[1]]),
        bus: one,
        from: hour(HOUR_MS + 1),
    };
    assert_eq!(sizes, [left]);
}

pub(crate) async fn events_of_some_buses_go_in_bounded_steps(store: &dyn Store) {
    let mut batch = Batch {
        events: (1..=30)
            .map(|step| on(BusId(1 + i32::try_from(step % 3).unwrap()), step))
            .collect(),
        ..Batch::default()
    };
    // Bus 1 has 3, 6, ..., bus 2 has 1, 4, ..., bus 3 has 2, 5, ...
    batch.events[3].fan = vec![belfry_model::TargetId(10)];
    batch.pending = vec![pending(delivery(4, 10), T0)];
    store.commit(&batch).await.unwrap();
    let mut what = BusPurge {
        buses: vec![BusId(2)],
        others: false,
        after: id(0),
        before: id(20),
        scan_max: 5,
        events_max: 100,
        bytes_max: u64::MAX,
    };
    let step = store.purge_buses(&what).await.unwrap();
    assert_eq!(
        (step.purged.events, step.reached, step.ended),
        (2, id(5), false)
    );
    assert_eq!(step.purged.unfinished, [delivery(4, 10)]);
    assert!(store.targets_with_pending().await.unwrap().is_empty());
    what.after = step.reached;
    what.scan_max = 100;
    what.events_max = 2;
    let step = store.purge_buses(&what).await.unwrap();
    assert_eq!(
        (step.purged.events, step.reached, step.ended),
        (2, id(10), false)
    );
    what.after = step.reached;
    what.events_max = 100;
    let step = store.purge_buses(&what).await.unwrap();
    assert_eq!((step.purged.events, step.ended), (3, true));
    assert!(step.reached < id(20) && step.reached >= id(19));
    let left = store.bus_sizes().await.unwrap();
    assert_eq!(
        left.iter().map(|size| size.events).collect::<Vec<_>>(),
        [10, 3, 10]
    );
    // All others.
    what.others = true;
    what.after = id(0);
    let step = store.purge_buses(&what).await.unwrap();
    assert_eq!((step.purged.events, step.ended), (12, true));
    let left = store.bus_sizes().await.unwrap();
    assert_eq!(
        left.iter().map(|size| size.events).collect::<Vec<_>>(),
        [4, 3, 4]
    );
}

pub(crate) async fn a_bus_loses_its_oldest_by_size(store: &dyn Store) {
    let batch = Batch {
        events: (11..=19).map(|step| on(BusId(1), step)).collect(),
        ..Batch::default()
    };
    let each = bytes(&[&batch.events[0]]);
    store.commit(&batch).await.unwrap();
    let size = store.bus_sizes().await.unwrap()[0];
    let what = BusPurge {
        buses: vec![BusId(1)],
        others: false,
        after: EventId::from_stored(size.from.get() - 1),
        before: id(1000),
        scan_max: 100,
        events_max: 100,
        bytes_max: 2 * each + 1,
    };
    let step = store.purge_buses(&what).await.unwrap();
    assert_eq!(
        (step.bytes, step.reached, step.ended),
        (3 * each, id(13), false)
    );
    assert_eq!(
        store.bus_sizes().await.unwrap()[0].bytes,
        size.bytes - 3 * each
    );
    assert_eq!(store.usage().await.unwrap().oldest_event, Some(id(14)));
}
