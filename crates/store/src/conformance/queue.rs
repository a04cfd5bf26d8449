//! Work that waits for its time.

use belfry_model::delivery::DeliveryStatus::{
    self, Dead, Delivered, Expired, Queued, Retrying, Skipped,
};
use belfry_model::delivery::{Reason, Trigger};
use belfry_model::{DeliveryId, NodeId, TargetId};

use super::fixtures::*;
use crate::{Backlog, Batch, Claim, Claimed, Store, StoreError};

fn ids(claimed: &[Claimed]) -> Vec<DeliveryId> {
    claimed.iter().map(|item| item.pending.delivery).collect()
}

async fn with_pending(store: &dyn Store, list: &[(i64, i32, i64)]) {
    let mut batch = Batch::default();
    for (step, target, due_at_ms) in list {
        batch.events.push(new_event(*step, &[*target]));
        batch
            .pending
            .push(pending(delivery(*step, *target), *due_at_ms));
    }
    batch.events.sort_by_key(|new| new.id);
    store.commit(&batch).await.unwrap();
}

pub(crate) async fn what_an_attempt_left_behind_is_there_for_the_next(store: &dyn Store) {
    let mut batch = events(&[(1, &[10]), (2, &[10])]);
    let left = |text: &str| Some(text.to_owned());
    batch.pending = vec![
        pending(delivery(1, 10), T0),
        in_order(delivery(2, 10), T0, 5),
    ];
    for (work, text) in batch
        .pending
        .iter_mut()
        .zip(["{\"done\":[\"email\"]}", "2"])
    {
        work.progress = left(text);
    }
    store.commit(&batch).await.unwrap();
    let claimed = store.claim_due(&claim(10, T0)).await.unwrap();
    let found: Vec<_> = claimed
        .iter()
        .map(|item| item.pending.progress.clone())
        .collect();
    assert_eq!(found, [left("{\"done\":[\"email\"]}"), left("2")]);
    // Replaced like everything else about it.
    let mut again = pending(delivery(1, 10), T0 + 1);
    again.progress = None;
    store.commit(&pendings(vec![again])).await.unwrap();
    let claimed = store.claim_due(&claim(10, T0 + 1)).await.unwrap();
    assert_eq!(claimed[0].pending.progress, None);
}

pub(crate) async fn work_is_claimed_in_order_and_only_when_due(store: &dyn Store) {
    with_pending(
        store,
        &[
            (1, 10, T0 + 30),
            (2, 10, T0 + 10),
            (3, 10, T0 + 99),
            (4, 11, T0),
        ],
    )
    .await;
    let claimed = store.claim_due(&claim(10, T0 + 30)).await.unwrap();
    assert_eq!(ids(&claimed), [delivery(2, 10), delivery(1, 10)]);
    let item = &claimed[0];
    assert_eq!(item.pending.owner, Some(NODE));
    assert_eq!(item.pending.due_at_ms, T0 + 30 + 60_000);
    assert_eq!(
        (item.pending.attempts, item.pending.trigger),
        (1, Trigger::Retry)
    );
    assert_eq!((item.bus, item.event.id()), (BUS, "ce-2"));
    assert_eq!(item.event.doc(), new_event(2, &[]).event.doc());
    assert!(item.trace_id.is_some());
    // Claimed is not due.
    assert!(
        store
            .claim_due(&claim(10, T0 + 30))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .claim_due(&claim(12, T0 + 30))
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn a_claim_is_bounded_in_items_and_bytes(store: &dyn Store) {
    with_pending(store, &[(1, 10, T0), (2, 10, T0), (3, 10, T0), (4, 10, T0)]).await;
    let one = u64::try_from(new_event(1, &[]).event.doc().len()).unwrap();
    let bytes = Claim {
        bytes_max: 2 * one + 1,
        ..claim(10, T0)
    };
    assert_eq!(
        ids(&store.claim_due(&bytes).await.unwrap()),
        [delivery(1, 10), delivery(2, 10)]
    );
    // At least one, however big.
    let tight = Claim {
        bytes_max: 1,
        ..claim(10, T0)
    };
    assert_eq!(
        ids(&store.claim_due(&tight).await.unwrap()),
        [delivery(3, 10)]
    );
    let none = Claim {
        limit: 0,
        ..claim(10, T0)
    };
    assert!(store.claim_due(&none).await.unwrap().is_empty());
    let rest = Claim {
        limit: 1,
        ..claim(10, T0)
    };
    assert_eq!(
        ids(&store.claim_due(&rest).await.unwrap()),
        [delivery(4, 10)]
    );
}

pub(crate) async fn a_claim_before_its_time_leaves_what_another_node_has(store: &dyn Store) {
    let later = T0 + 3_600_000;
    with_pending(store, &[(1, 10, T0), (2, 10, later), (3, 10, later)]).await;
    let mut batch = events(&[(4, &[10]), (5, &[10])]);
    batch.pending = vec![
        in_order(delivery(4, 10), T0, 7),
        in_order(delivery(5, 10), T0, 7),
    ];
    store.commit(&batch).await.unwrap();
    let others = Claim {
        owner: NodeId(7),
        run_max: 1,
        ..claim(10, T0)
    };
    assert_eq!(
        ids(&store.claim_due(&others).await.unwrap()),
        [delivery(1, 10), delivery(4, 10)]
    );
    let early = Claim {
        early: true,
        ..claim(10, T0 + 1)
    };
    assert_eq!(
        ids(&store.claim_due(&early).await.unwrap()),
        [delivery(2, 10), delivery(3, 10)],
        "5 waits behind 4"
    );
    // One's own is no other's, and a lease that has run out is nobody's.
    let own = store.claim_due(&early).await.unwrap();
    assert_eq!(ids(&own), [delivery(2, 10), delivery(3, 10)]);
    let after = Claim {
        now_ms: others.lease_until_ms,
        ..early
    };
    assert_eq!(store.claim_due(&after).await.unwrap().len(), 5);
}

pub(crate) async fn a_claim_runs_out_at_the_end_of_its_lease(store: &dyn Store) {
    with_pending(store, &[(1, 10, T0)]).await;
    assert_eq!(store.claim_due(&claim(10, T0)).await.unwrap().len(), 1);
    assert!(
        store
            .claim_due(&claim(10, T0 + 59_999))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        store.next_due(&[TargetId(10)]).await.unwrap(),
        [(TargetId(10), T0 + 60_000)]
    );
    assert_eq!(
        ids(&store.claim_due(&claim(10, T0 + 60_000)).await.unwrap()),
        [delivery(1, 10)]
    );
}

pub(crate) async fn finished_work_does_not_come_back(store: &dyn Store) {
    with_pending(store, &[(1, 10, T0)]).await;
    store.claim_due(&claim(10, T0)).await.unwrap();
    let batch = Batch {
        outcomes: vec![outcome(delivery(1, 10), Delivered)],
        done: vec![delivery(1, 10)],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    assert!(
        store
            .claim_due(&claim(10, T0 + 100_000))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.targets_with_pending().await.unwrap().is_empty());
}

pub(crate) async fn the_next_due_time_and_the_backlog_are_told_by_target(store: &dyn Store) {
    with_pending(
        store,
        &[
            (5, 10, T0 + 7),
            (3, 10, T0 + 9),
            (4, 10, T0 + 8),
            (6, 12, T0 + 1),
            (7, 300, T0 + 2),
        ],
    )
    .await;
    let asked = [TargetId(10), TargetId(11), TargetId(300)];
    let mut due = store.next_due(&asked).await.unwrap();
    due.sort();
    assert_eq!(due, [(TargetId(10), T0 + 7), (TargetId(300), T0 + 2)]);
    assert_eq!(
        store.targets_with_pending().await.unwrap(),
        [TargetId(10), TargetId(12), TargetId(300)]
    );
    let expected = |count, oldest| Backlog {
        target: TargetId(10),
        count,
        blocked: 0,
        oldest: Some(oldest),
    };
    assert_eq!(store.backlog(100).await.unwrap()[0], expected(3, id(3)));
    // Bounded: the two that are due first.
    assert_eq!(store.backlog(2).await.unwrap()[0], expected(2, id(4)));
    assert_eq!(store.backlog(2).await.unwrap().len(), 3);
}

pub(crate) async fn work_of_a_removed_event_is_forgotten(store: &dyn Store) {
    with_pending(store, &[(2, 10, T0)]).await;
    // A delivery that was in memory while its event was removed.
    store
        .commit(&pendings(vec![pending(delivery(1, 10), T0)]))
        .await
        .unwrap();
    assert_eq!(
        ids(&store.claim_due(&claim(10, T0)).await.unwrap()),
        [delivery(2, 10)]
    );
    assert_eq!(store.backlog(10).await.unwrap()[0].count, 1);
}

async fn in_every_state(store: &dyn Store) {
    let mut batch = Batch::default();
    for (step, status) in (1_i64..).zip(DeliveryStatus::ALL) {
        batch.events.push(new_event(step, &[10]));
        batch.outcomes.push(outcome(delivery(step, 10), *status));
    }
    batch.pending.push(pending(delivery(3, 10), T0 + 500));
    store.commit(&batch).await.unwrap();
}

pub(crate) async fn a_redrive_takes_what_has_ended_and_nothing_else(store: &dyn Store) {
    in_every_state(store).await;
    // 1 queued, 2 delivered, 3 retrying, 4 dead, 5 expired, 6 skipped; 7 unknown. One is named twice.
    let mut asked: Vec<_> = (1..8).rev().map(|step| delivery(step, 10)).collect();
    asked.push(delivery(4, 10));
    let taken = store
        .redrive(&asked, &[], T0 + 100, &[], None)
        .await
        .unwrap();
    assert_eq!(taken, [6, 5, 4, 2].map(|step| delivery(step, 10)));
    let found = store.find_delivery(delivery(4, 10)).await.unwrap().unwrap();
    assert_eq!(
        (found.outcome.status, found.outcome.reason),
        (Queued, Some(Reason::Redriven))
    );
    assert_eq!(
        (found.outcome.attempts, found.due_at_ms),
        (1, Some(T0 + 100))
    );
    let claimed = store.claim_due(&claim(10, T0 + 100)).await.unwrap();
    assert_eq!(ids(&claimed), [2, 4, 5, 6].map(|step| delivery(step, 10)));
    let work = &claimed[0].pending;
    assert_eq!((work.attempts, work.attempts_before), (1, 1));
    assert_eq!((work.since_ms, work.trigger), (T0 + 100, Trigger::Redrive));
    // Under way now: not taken again.
    assert!(
        store
            .redrive(&asked, &[], T0 + 200, &[], None)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn a_redrive_takes_only_the_states_asked_for(store: &dyn Store) {
    in_every_state(store).await;
    let asked: Vec<_> = (1..7).map(|step| delivery(step, 10)).collect();
    let taken = store
        .redrive(&asked, &[Dead, Expired, Retrying], T0, &[], None)
        .await
        .unwrap();
    assert_eq!(taken, [delivery(4, 10), delivery(5, 10)]);
    assert_eq!(
        store
            .redrive(&asked, &[Skipped], T0, &[], None)
            .await
            .unwrap(),
        [delivery(6, 10)]
    );
    assert!(
        store
            .redrive(&asked, &[Retrying], T0, &[], None)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .redrive(&[], &[], T0, &[], None)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn a_redrive_is_written_down_with_its_effect_or_not_at_all(store: &dyn Store) {
    in_every_state(store).await;
    let audit = [audit("deliveries", T0)];
    let record = idempotency(7, T0);
    // 3 is retrying: what the entry says would not be true.
    let asked = [delivery(4, 10), delivery(3, 10)];
    let refused = store.redrive(&asked, &[], T0, &audit, Some(&record)).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
    let dead = store.find_delivery(delivery(4, 10)).await.unwrap().unwrap();
    assert_eq!(dead.outcome.status, Dead);
    assert!(store.list_audit(None, "", 10).await.unwrap().is_empty());
    assert_eq!(store.find_idempotency(&record.scope).await.unwrap(), None);

    let asked = [delivery(4, 10), delivery(4, 10), delivery(2, 10)];
    let taken = store
        .redrive(&asked, &[], T0, &audit, Some(&record))
        .await
        .unwrap();
    assert_eq!(taken, [delivery(4, 10), delivery(2, 10)]);
    assert_eq!(store.list_audit(None, "", 10).await.unwrap().len(), 1);
    let found = store.find_idempotency(&record.scope).await.unwrap();
    assert_eq!(found, Some(record.clone()));
    let again = store
        .redrive(&[delivery(5, 10)], &[], T0, &[], Some(&record))
        .await;
    assert!(matches!(again, Err(StoreError::IdempotencyConflict)));
    let expired = store.find_delivery(delivery(5, 10)).await.unwrap().unwrap();
    assert_eq!(expired.outcome.status, Expired);
}
