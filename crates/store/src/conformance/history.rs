//! Reading single things and plain lists.

use belfry_model::delivery::DeliveryStatus::{Delivered, Queued, Retrying};
use belfry_model::{BusId, EventId, TargetId};

use super::fixtures::*;
use crate::{Batch, DeliveryQuery, EventFacts, EventQuery, LogQuery, RecentKey, Store};

pub(crate) async fn an_event_and_its_deliveries_are_found(store: &dyn Store) {
    let mut batch = events(&[(1, &[12, 10, 11])]);
    batch.outcomes = vec![
        outcome(delivery(1, 12), Delivered),
        outcome(delivery(1, 10), Retrying),
    ];
    store.commit(&batch).await.unwrap();
    let listed = store.list_events(&event_query()).await.unwrap();
    assert!(listed.next.is_none());
    let record = &listed.items[0];
    assert!(record.doc.is_empty());
    assert_eq!(
        record.bytes,
        u64::try_from(batch.events[0].event.doc().len()).unwrap()
    );
    assert_eq!(record.fan, [12, 10, 11].map(TargetId));
    let targets: Vec<_> = store
        .list_event_deliveries(id(1))
        .await
        .unwrap()
        .iter()
        .map(|record| record.outcome.delivery.target.0)
        .collect();
    assert_eq!(targets, [10, 12]);
    assert!(store.list_event_deliveries(id(2)).await.unwrap().is_empty());
    // An outcome whose event is gone is not shown.
    store
        .commit(&Batch {
            outcomes: vec![outcome(delivery(9, 10), Delivered)],
            ..Batch::default()
        })
        .await
        .unwrap();
    assert!(
        store
            .find_delivery(delivery(9, 10))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        store
            .list_deliveries(&delivery_query())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
}

pub(crate) async fn a_delivery_still_in_memory_is_queued(store: &dyn Store) {
    let mut batch = events(&[(1, &[10, 11])]);
    batch.pending = vec![pending(delivery(1, 11), T0 + 77)];
    store.commit(&batch).await.unwrap();
    let found = store.find_delivery(delivery(1, 10)).await.unwrap().unwrap();
    assert_eq!((found.outcome.status, found.outcome.attempts), (Queued, 0));
    assert_eq!(
        (found.due_at_ms, found.bus, found.event),
        (None, BUS, facts(1))
    );
    let waiting = store.find_delivery(delivery(1, 11)).await.unwrap().unwrap();
    assert_eq!(
        (waiting.outcome.attempts, waiting.due_at_ms),
        (1, Some(T0 + 77))
    );
    assert!(
        store
            .find_delivery(delivery(1, 12))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .find_delivery(delivery(2, 10))
            .await
            .unwrap()
            .is_none()
    );
}

pub(crate) async fn texts_are_found_as_they_are(store: &dyn Store) {
    let odd = EventFacts {
        id: "磁盘-1".to_owned(),
        source: "/机房/%_'\"".to_owned(),
        kind: "磁盘.满".to_owned(),
        subject: None,
    };
    let mut batch = events(&[(1, &[10])]);
    let mut new = new_event(2, &[10]);
    new.event = event(&odd);
    new.trace_id = None;
    batch.events.push(new);
    batch.outcomes = vec![outcome(delivery(2, 10), Retrying)];
    store.commit(&batch).await.unwrap();
    let find = async |query: EventQuery| {
        let page = store.list_events(&query).await.unwrap();
        page.items
            .into_iter()
            .map(|record| record.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        find(EventQuery {
            text: Some("盘-1".to_owned()),
            ..event_query()
        })
        .await,
        [id(2)]
    );
    assert!(
        find(EventQuery {
            text: Some("DISK".to_owned()),
            ..event_query()
        })
        .await
        .is_empty()
    );
    assert_eq!(
        find(EventQuery {
            text: Some("disk".to_owned()),
            ..event_query()
        })
        .await,
        [id(1)]
    );
    assert!(
        find(EventQuery {
            text: Some("%".to_owned() + "x"),
            ..event_query()
        })
        .await
        .is_empty()
    );
    assert_eq!(
        find(EventQuery {
            source: Some(odd.source.clone()),
            ..event_query()
        })
        .await,
        [id(2)]
    );
    assert!(
        find(EventQuery {
            bus: Some(BusId(2)),
            ..event_query()
        })
        .await
        .is_empty()
    );
    let found = store.find_event(id(2)).await.unwrap().unwrap();
    assert_eq!((found.facts, found.trace_id), (odd, None));
    // Text of a delivery: the event's or its own.
    for text in ["盘-1", "Unavailable"] {
        let query = DeliveryQuery {
            text: Some(text.to_owned()),
            ..delivery_query()
        };
        assert_eq!(
            store.list_deliveries(&query).await.unwrap().items.len(),
            1,
            "{text}"
        );
    }
}

pub(crate) async fn log_entries_are_listed_newest_first(store: &dyn Store) {
    let mut batch = Batch::default();
    for step in 0..10 {
        for target in [10, 11] {
            let text = format!("line {step} of {target}");
            batch
                .log_entries
                .push(log_entry("ops", delivery(step, target), &text));
        }
    }
    store.commit(&batch).await.unwrap();
    let log = "ops".parse().unwrap();
    assert!(
        store
            .list_log_entries(&"none".parse().unwrap(), &log_query())
            .await
            .unwrap()
            .is_none()
    );
    for (scan_max, text, expected) in [
        (5000, None, 20),
        (3, None, 20),
        (5000, Some("of 11"), 10),
        (3, Some("of 11"), 10),
    ] {
        let mut query = LogQuery {
            limit: 3,
            scan_max,
            ..log_query()
        };
        query.text = text.map(str::to_owned);
        let mut seen = Vec::new();
        loop {
            let page = store.list_log_entries(&log, &query).await.unwrap().unwrap();
            assert!(page.items.len() <= 3);
            seen.extend(page.items.iter().map(|entry| entry.delivery));
            let Some(next) = page.next else { break };
            assert!(query.before.is_none_or(|before| next < before));
            query.before = Some(next);
        }
        assert_eq!(seen.len(), expected);
        assert!(seen.is_sorted_by(|a, b| a > b));
    }
    let query = LogQuery {
        since_ms: Some(T0 + 8),
        until_ms: Some(T0 + 9),
        ..log_query()
    };
    assert_eq!(
        store
            .list_log_entries(&log, &query)
            .await
            .unwrap()
            .unwrap()
            .items
            .len(),
        2
    );
    let query = LogQuery {
        kind: Some("other".to_owned()),
        ..log_query()
    };
    assert!(
        store
            .list_log_entries(&log, &query)
            .await
            .unwrap()
            .unwrap()
            .items
            .is_empty()
    );
}

pub(crate) async fn event_ids_are_read_in_order(store: &dyn Store) {
    store
        .commit(&events(&[(1, &[]), (2, &[10]), (3, &[])]))
        .await
        .unwrap();
    let after = async |step, limit| store.event_ids_after(id(step), limit).await.unwrap();
    assert_eq!(after(1, 1).await, [id(2)]);
    assert_eq!(after(1, 10).await, [id(2), id(3)]);
    assert!(after(3, 10).await.is_empty());
}

pub(crate) async fn keys_of_the_last_minutes_are_told_and_forgotten(store: &dyn Store) {
    let recent = |step: i64| RecentKey {
        id: id(step),
        bus: BUS,
        key: [u8::try_from(step).unwrap(); 16],
    };
    // Commits of two events, the second of which says nothing about what senders have sent.
    for first in [1, 3, 5] {
        let mut batch = events(&[(first, &[]), (first + 1, &[])]);
        batch.events[0].key = Some(recent(first).key);
        store.commit(&batch).await.unwrap();
    }
    let all = EventId::from_stored(i64::MAX);
    let page = store.recent_keys(id(0), all, 2).await.unwrap();
    assert_eq!(page.keys, [recent(5), recent(3)]);
    let rest = store
        .recent_keys(id(0), page.next.unwrap(), 2)
        .await
        .unwrap();
    assert_eq!((rest.keys, rest.next), (vec![recent(1)], None));
    let later = store.recent_keys(id(3), all, 10).await.unwrap();
    assert_eq!(later.keys, [recent(5)]);

    assert_eq!(store.purge_keys(id(5), 1).await.unwrap(), 1);
    assert_eq!(store.purge_keys(id(5), 10).await.unwrap(), 1);
    assert_eq!(store.purge_keys(id(5), 10).await.unwrap(), 0);
    let left = store.recent_keys(id(0), all, 10).await.unwrap();
    assert_eq!(left.keys, [recent(5)]);
}
