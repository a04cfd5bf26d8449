//! Removing what is too old.

use belfry_model::delivery::DeliveryStatus::{Dead, Delivered, Retrying};
use belfry_model::{BusId, EventId};

use super::fixtures::*;
use crate::{Batch, Purged, Store};

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
