//! The write of the hot path.

use belfry_model::delivery::DeliveryStatus::{Dead, Delivered, Queued, Retrying};
use belfry_model::delivery::{Reason, Trigger};
use belfry_model::{AttemptId, BusId, DeliveryId, EventId, TargetId};

use super::fixtures::*;
use crate::{Attempt, Batch, Outcome, Store, StoreError};

pub(crate) async fn a_batch_is_read_back_as_it_was_written(store: &dyn Store) {
    let (first, second) = (delivery(1, 10), delivery(1, 11));
    let batch = Batch {
        events: vec![new_event(1, &[10, 11]), new_event(2, &[])],
        outcomes: vec![outcome(first, Delivered), outcome(second, Retrying)],
        attempts: vec![attempt(second, 1)],
        signs: vec![],
        told: vec![],
        invocations: vec![],
        pending: vec![pending(second, T0 + 5000)],
        log_entries: vec![log_entry("ops", first, "disk sda is full")],
        idempotency: vec![idempotency(1, T0)],
        watermark: Some((NODE, id(2))),
        done: vec![],
        unclaimed: Vec::new(),
        release: Vec::new(),
        replays: Vec::new(),
        by: None,
    };
    store.commit(&batch).await.unwrap();

    let found = store.find_event(id(1)).await.unwrap().unwrap();
    assert_eq!((found.id, found.bus, &found.facts), (id(1), BUS, &facts(1)));
    assert_eq!(found.fan, [TargetId(10), TargetId(11)]);
    assert_eq!(
        found.trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    assert_eq!(found.doc, new_event(1, &[]).event.doc());
    assert_eq!(found.bytes, u64::try_from(found.doc.len()).unwrap());
    assert_eq!(store.find_event(id(2)).await.unwrap().unwrap().fan, []);
    assert!(store.find_event(id(3)).await.unwrap().is_none());

    let deliveries = store.list_event_deliveries(id(1)).await.unwrap();
    let states: Vec<_> = deliveries
        .iter()
        .map(|record| record.outcome.clone())
        .collect();
    assert_eq!(states, batch.outcomes);
    assert_eq!(deliveries[0].due_at_ms, None);
    assert_eq!(deliveries[1].due_at_ms, Some(T0 + 5000));
    assert_eq!(deliveries[0].event, facts(1));
    assert_eq!(store.list_attempts(second).await.unwrap(), batch.attempts);
    assert_eq!(store.list_attempts(first).await.unwrap(), []);
    assert_eq!(
        store.find_idempotency(&[1; 32]).await.unwrap(),
        Some(idempotency(1, T0))
    );
    assert_eq!(store.find_idempotency(&[2; 32]).await.unwrap(), None);
    let log = store
        .list_log_entries(&"ops".parse().unwrap(), &log_query())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(log.items[0].text, "disk sda is full");
    assert_eq!(
        (log.items[0].delivery, &log.items[0].event),
        (first, &facts(1))
    );
}

pub(crate) async fn a_failing_row_undoes_the_whole_batch(store: &dyn Store) {
    store.commit(&events(&[(5, &[10])])).await.unwrap();
    let bad = Batch {
        // The last event is there already, so the statement fails after its first rows.
        events: vec![
            new_event(1, &[10]),
            new_event(2, &[10]),
            new_event(5, &[10]),
        ],
        outcomes: vec![outcome(delivery(1, 10), Dead)],
        watermark: Some((NODE, id(5))),
        ..Batch::default()
    };
    assert!(matches!(
        store.commit(&bad).await,
        Err(StoreError::Internal(_))
    ));
    assert!(store.find_event(id(1)).await.unwrap().is_none());
    assert!(store.list_event_deliveries(id(1)).await.unwrap().is_empty());
    // And the store works on.
    store
        .commit(&events(&[(1, &[10]), (2, &[10])]))
        .await
        .unwrap();
    assert_eq!(
        store.list_events(&event_query()).await.unwrap().items.len(),
        3
    );
}

pub(crate) async fn a_later_outcome_replaces_an_earlier_one(store: &dyn Store) {
    let id = delivery(1, 10);
    let mut batch = events(&[(1, &[10])]);
    batch.outcomes = vec![outcome(id, Queued), outcome(id, Retrying)];
    store.commit(&batch).await.unwrap();
    let found = store.find_delivery(id).await.unwrap().unwrap();
    assert_eq!(found.outcome, outcome(id, Retrying));
    store
        .commit(&outcomes(vec![outcome(id, Delivered)]))
        .await
        .unwrap();
    let found = store.find_delivery(id).await.unwrap().unwrap();
    assert_eq!(found.outcome, outcome(id, Delivered));
    assert_eq!(
        store.list_event_deliveries(id.event).await.unwrap().len(),
        1
    );
}

pub(crate) async fn batches_of_every_size_are_written_whole(store: &dyn Store) {
    let mut step = 0;
    for size in [
        1_i64, 2, 3, 5, 8, 17, 31, 32, 33, 64, 65, 127, 200, 256, 257, 700,
    ] {
        let range = step..step + size;
        let batch = Batch {
            events: range.clone().map(|step| new_event(step, &[10])).collect(),
            outcomes: range
                .clone()
                .map(|step| outcome(delivery(step, 10), Delivered))
                .collect(),
            attempts: range
                .clone()
                .map(|step| attempt(delivery(step, 10), 1))
                .collect(),
            pending: range
                .clone()
                .map(|step| pending(delivery(step, 10), T0))
                .collect(),
            ..Batch::default()
        };
        store.commit(&batch).await.unwrap();
        store
            .commit(&Batch {
                done: range.map(|step| delivery(step, 10)).collect(),
                ..Batch::default()
            })
            .await
            .unwrap();
        step += size;
    }
    let stored = store
        .event_ids_after(EventId::from_stored(0), 10_000)
        .await
        .unwrap();
    let expected: Vec<_> = (0..step).map(id).collect();
    assert_eq!(stored, expected);
    assert!(store.targets_with_pending().await.unwrap().is_empty());
    for step in [0, step / 2, step - 1] {
        assert_eq!(
            store.list_attempts(delivery(step, 10)).await.unwrap().len(),
            1
        );
    }
}

pub(crate) async fn pending_work_is_replaced_and_removed(store: &dyn Store) {
    let (kept, removed) = (delivery(1, 10), delivery(2, 10));
    let mut batch = events(&[(1, &[10]), (2, &[10])]);
    batch.pending = vec![
        pending(kept, T0 + 10),
        pending(kept, T0 + 20),
        pending(removed, T0),
    ];
    store.commit(&batch).await.unwrap();
    store
        .commit(&pendings(vec![pending(kept, T0 + 30)]))
        .await
        .unwrap();
    let batch = Batch {
        done: vec![removed, delivery(9, 9), kept],
        // Applied after `done`.
        pending: vec![pending(kept, T0 + 40)],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    assert_eq!(
        store.next_due(&[TargetId(10)]).await.unwrap(),
        [(TargetId(10), T0 + 40)]
    );
    assert_eq!(store.backlog(10).await.unwrap()[0].count, 1);
}

pub(crate) async fn an_attempt_reported_twice_is_kept_once(store: &dyn Store) {
    let id = delivery(1, 10);
    let mut batch = events(&[(1, &[10])]);
    batch.attempts = vec![attempt(id, 1), attempt(id, 2)];
    store.commit(&batch).await.unwrap();
    let mut again = attempt(id, 2);
    again.status_code = Some(200);
    store
        .commit(&Batch {
            attempts: vec![again.clone()],
            ..Batch::default()
        })
        .await
        .unwrap();
    assert_eq!(
        store.list_attempts(id).await.unwrap(),
        [attempt(id, 1), again]
    );
}

pub(crate) async fn an_idempotency_key_in_use_refuses_the_whole_batch(store: &dyn Store) {
    let with_key = |step| Batch {
        events: vec![new_event(step, &[10])],
        idempotency: vec![idempotency(4, T0 + step)],
        ..Batch::default()
    };
    store.commit(&with_key(1)).await.unwrap();
    assert!(matches!(
        store.commit(&with_key(2)).await,
        Err(StoreError::IdempotencyConflict)
    ));
    assert!(store.find_event(id(2)).await.unwrap().is_none());
    assert_eq!(
        store.find_idempotency(&[4; 32]).await.unwrap(),
        Some(idempotency(4, T0 + 1))
    );
}

pub(crate) async fn the_first_event_with_a_strict_key_keeps_it(store: &dyn Store) {
    let strict = |step, bus| {
        let mut new = new_event(step, &[]);
        new.bus = BusId(bus);
        new.key = Some([5; 16]);
        new.strict = true;
        Batch {
            events: vec![new],
            ..Batch::default()
        }
    };
    store.commit(&strict(1, 1)).await.unwrap();
    store.commit(&strict(2, 2)).await.unwrap();
    store.commit(&strict(3, 1)).await.unwrap();
    let keys = [
        (BusId(1), [5; 16]),
        (BusId(2), [5; 16]),
        (BusId(3), [5; 16]),
        (BusId(1), [6; 16]),
    ];
    assert_eq!(
        store.find_strict(&keys).await.unwrap(),
        [Some(id(1)), Some(id(2)), None, None]
    );
    assert!(store.find_strict(&[]).await.unwrap().is_empty());
    assert!(store.find_event(id(3)).await.unwrap().is_some());
}

pub(crate) async fn an_empty_batch_is_nothing(store: &dyn Store) {
    store.commit(&Batch::default()).await.unwrap();
    assert!(
        store
            .list_events(&event_query())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub(crate) async fn a_log_entry_is_written_once(store: &dyn Store) {
    let id = delivery(1, 10);
    let entries = |text: &str| Batch {
        log_entries: vec![log_entry("ops", id, text), log_entry("audit", id, text)],
        ..Batch::default()
    };
    store.commit(&entries("first")).await.unwrap();
    store.commit(&entries("second")).await.unwrap();
    for log in ["ops", "audit"] {
        let page = store
            .list_log_entries(&log.parse().unwrap(), &log_query())
            .await
            .unwrap();
        let texts: Vec<_> = page
            .unwrap()
            .items
            .into_iter()
            .map(|entry| entry.text)
            .collect();
        assert_eq!(texts, ["first"]);
    }
    let logs = store.list_logs().await.unwrap();
    assert_eq!(
        logs.iter().map(|log| log.name.as_str()).collect::<Vec<_>>(),
        ["audit", "ops"]
    );
    assert_eq!(logs[0].newest, Some(id.event));
    assert_eq!(logs[0].retention_days, crate::LOG_RETENTION_DAYS_DEFAULT);
}

pub(crate) async fn a_first_attempt_that_delivered_is_kept_like_any_other(store: &dyn Store) {
    let (kept, bare) = (delivery(1, 10), delivery(1, 11));
    let mut batch = events(&[(1, &[10, 11])]);
    batch.outcomes = vec![outcome(kept, Delivered), outcome(bare, Delivered)];
    let without_record = Attempt {
        record: None,
        ..first_try(bare)
    };
    batch.attempts = vec![first_try(kept), without_record.clone()];
    store.commit(&batch).await.unwrap();
    assert_eq!(store.list_attempts(kept).await.unwrap(), [first_try(kept)]);
    assert_eq!(store.list_attempts(bare).await.unwrap(), [without_record]);
    for id in [kept, bare] {
        let found = store.find_delivery(id).await.unwrap().unwrap();
        assert_eq!(found.outcome, outcome(id, Delivered));
    }

    // Also when the delivery goes on after that.
    let taken = store.redrive(&[kept], &[], T0 + 60, &[], None).await;
    assert_eq!(taken.unwrap(), [kept]);
    let queued = Outcome {
        status: Queued,
        at_ms: T0 + 60,
        reason: Some(Reason::Redriven),
        ..outcome(kept, Delivered)
    };
    let found = store.find_delivery(kept).await.unwrap().unwrap();
    assert_eq!(found.outcome, queued);
    let second = Attempt {
        trigger: Trigger::Redrive,
        ..attempt(kept, 2)
    };
    let failed = Outcome {
        attempts: 2,
        ..outcome(kept, Dead)
    };
    let again = Batch {
        outcomes: vec![failed],
        attempts: vec![second.clone()],
        ..Batch::default()
    };
    store.commit(&again).await.unwrap();
    assert_eq!(
        store.list_attempts(kept).await.unwrap(),
        [first_try(kept), second]
    );

    // Reported a second time because its lease ran out: the later one stays.
    let later = Attempt {
        started_at_ms: T0 + 70,
        ..attempt(kept, 1)
    };
    let again = Batch {
        outcomes: vec![outcome(kept, Retrying)],
        attempts: vec![later.clone()],
        ..Batch::default()
    };
    store.commit(&again).await.unwrap();
    assert_eq!(store.list_attempts(kept).await.unwrap()[0], later);
}

/// As of a delivery that was folded into another's message, or waited between its request and its end.
pub(crate) async fn an_outcome_that_differs_from_its_first_attempt_is_kept(store: &dyn Store) {
    let mut batch = events(&[(1, &[10, 11, 12])]);
    let ids = [10, 11, 12].map(|target| delivery(1, target));
    let differ = [
        Outcome {
            attempts: 0,
            ..outcome(ids[0], Delivered)
        },
        Outcome {
            duration_ms: 0,
            ..outcome(ids[1], Delivered)
        },
        Outcome {
            status_code: None,
            ..outcome(ids[2], Delivered)
        },
    ];
    batch.outcomes = differ.to_vec();
    batch.attempts = ids.map(first_try).to_vec();
    store.commit(&batch).await.unwrap();
    for (id, outcome) in ids.into_iter().zip(differ) {
        let found = store.find_delivery(id).await.unwrap().unwrap();
        assert_eq!(found.outcome, outcome);
        assert_eq!(store.list_attempts(id).await.unwrap(), [first_try(id)]);
    }
}

pub(crate) async fn records_of_attempts_come_back_as_they_were(store: &dyn Store) {
    let own_trace = |delivery: DeliveryId| {
        let first = AttemptId {
            delivery,
            number: 1,
        };
        format!(
            r#"{{"request":{{"headers":[["traceparent","00-{TRACE}-{:016x}-01"]]}}}}"#,
            first.span()
        )
    };
    let record = |step: i64| match step % 5 {
        4 => own_trace(delivery(step, 10)),
        // In a request for several only the first one's stands.
        3 if step % 2 == 0 => own_trace(delivery(step, 11)),
        3 => format!(
            "{{\"kind\":{}}}",
            "\"".repeat(usize::try_from(step).unwrap())
        ),
        kind => format!(
            r#"{{"request":{{"headers":[["webhook-id","{}"],["traceparent","00-{step:032x}-{step:016x}-01"]]}},"response":{{"status":20{kind}}}}}"#,
            delivery(step, 10)
        ),
    };
    let attempt = |step| Attempt {
        record: Some(record(step)),
        ..if step % 2 == 0 {
            first_try(delivery(step, 10))
        } else {
            attempt(delivery(step, 10), 1)
        }
    };
    for from in [1, 101, 102, 150] {
        let steps = from..from + if from == 1 { 100 } else { 1 };
        let mut batch = Batch::default();
        for step in steps {
            let id = delivery(step, 10);
            let status = if step % 2 == 0 { Delivered } else { Retrying };
            batch.events.push(new_event(step, &[10]));
            batch.outcomes.push(outcome(id, status));
            batch.attempts.push(attempt(step));
        }
        store.commit(&batch).await.unwrap();
    }
    for step in (1..=102).chain([150]) {
        let found = store.list_attempts(delivery(step, 10)).await.unwrap();
        assert_eq!(found, [attempt(step)]);
    }
}
