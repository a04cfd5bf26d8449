//! Deliveries in order: of those with the same target and key one goes at a time.

use belfry_model::delivery::DeliveryStatus::{Dead, Delivered, Queued};
use belfry_model::{DeliveryId, OrderKey, TargetId};

use super::fixtures::*;
use crate::{Batch, Claim, Claimed, Release, Store};

const LEASE: i64 = 60_000;

fn ids(claimed: &[Claimed]) -> Vec<DeliveryId> {
    claimed.iter().map(|item| item.pending.delivery).collect()
}

fn steps(list: &[i64]) -> Vec<DeliveryId> {
    list.iter().map(|step| delivery(*step, 10)).collect()
}

fn release(key: i64, due_at_ms: i64) -> Release {
    Release {
        target: TargetId(10),
        key: OrderKey(key),
        due_at_ms,
    }
}

/// Accepts events for target 10: step and key, all due at [`T0`].
async fn accept(store: &dyn Store, list: &[(i64, i64)]) {
    let mut batch = Batch::default();
    for (step, key) in list {
        batch.events.push(new_event(*step, &[10]));
        let delivery = delivery(*step, 10);
        batch.pending.push(in_order(delivery, T0, *key));
        batch.outcomes.push(outcome(delivery, Queued));
    }
    store.commit(&batch).await.unwrap();
}

/// Ends a delivery and sets its key free.
async fn end(store: &dyn Store, step: i64, key: i64, due_at_ms: i64) {
    let batch = Batch {
        outcomes: vec![outcome(delivery(step, 10), Delivered)],
        done: vec![delivery(step, 10)],
        release: vec![release(key, due_at_ms)],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
}

async fn claimed(store: &dyn Store, now_ms: i64) -> Vec<DeliveryId> {
    ids(&store.claim_due(&claim(10, now_ms)).await.unwrap())
}

pub(crate) async fn a_claim_takes_the_first_of_a_key_with_those_behind_it(store: &dyn Store) {
    accept(store, &[(1, 7), (2, 8), (3, 7)]).await;
    accept(store, &[(4, 7), (5, 8)]).await;
    let work = store.claim_due(&claim(10, T0)).await.unwrap();
    assert_eq!(
        ids(&work),
        steps(&[1, 3, 4, 2, 5]),
        "key after key, each in order"
    );
    assert_eq!(work[0].pending.order, Some(OrderKey(7)));
    assert_eq!(work[0].event.doc(), new_event(1, &[]).event.doc());
    assert!(work.iter().all(|one| one.pending.due_at_ms == T0 + LEASE));
    // What comes while the run is held waits behind it.
    accept(store, &[(6, 7)]).await;
    assert!(claimed(store, T0 + LEASE - 1).await.is_empty());
    for step in [1, 3] {
        end(store, step, 7, T0 + 5).await;
        assert!(claimed(store, T0 + 5).await.is_empty(), "4 is held");
    }
    end(store, 4, 7, T0 + 5).await;
    assert_eq!(claimed(store, T0 + 5).await, steps(&[6]));
}

pub(crate) async fn a_run_is_bounded_and_leaves_room_for_other_keys(store: &dyn Store) {
    let many: Vec<_> = (1..=6)
        .map(|step| (step, 7))
        .chain([(7, 8), (8, 9)])
        .collect();
    accept(store, &many).await;
    let small = Claim {
        limit: 6,
        ..claim(10, T0)
    };
    let work = ids(&store.claim_due(&small).await.unwrap());
    assert_eq!(
        work,
        steps(&[1, 2, 7, 8]),
        "two of the long one, for there are three keys"
    );
    accept(store, &(10..20).map(|step| (step, 1)).collect::<Vec<_>>()).await;
    let short = Claim {
        run_max: 3,
        ..claim(10, T0)
    };
    assert_eq!(
        ids(&store.claim_due(&short).await.unwrap()),
        steps(&[10, 11, 12])
    );
    accept(store, &(20..24).map(|step| (step, 2)).collect::<Vec<_>>()).await;
    let bytes = u64::try_from(new_event(20, &[]).event.doc().len()).unwrap() * 2 + 1;
    let light = Claim {
        bytes_max: bytes,
        ..claim(10, T0)
    };
    assert_eq!(
        ids(&store.claim_due(&light).await.unwrap()),
        steps(&[20, 21])
    );
    let one = Claim {
        limit: 1,
        ..claim(10, T0)
    };
    assert!(
        store.claim_due(&one).await.unwrap().is_empty(),
        "every key is held"
    );
}

pub(crate) async fn a_failed_delivery_keeps_its_key_waiting_and_no_other(store: &dyn Store) {
    accept(store, &[(1, 7), (2, 7), (3, 8)]).await;
    claimed(store, T0).await;
    let batch = Batch {
        pending: vec![in_order(delivery(1, 10), T0 + 500, 7)],
        unclaimed: vec![(delivery(2, 10), T0 + LEASE)],
        done: vec![delivery(3, 10)],
        release: vec![release(7, T0 + 1), release(8, T0 + 1)],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    accept(store, &[(4, 8), (5, 7)]).await;
    assert_eq!(claimed(store, T0 + 499).await, steps(&[4]));
    assert_eq!(claimed(store, T0 + 500).await, steps(&[1, 2, 5]));
}

pub(crate) async fn a_delivery_given_up_lets_its_key_go_on(store: &dyn Store) {
    accept(store, &[(1, 7), (2, 7), (3, 7)]).await;
    let one = Claim {
        limit: 1,
        ..claim(10, T0)
    };
    assert_eq!(ids(&store.claim_due(&one).await.unwrap()), steps(&[1]));
    assert_eq!(
        store.next_due(&[TargetId(10)]).await.unwrap(),
        [(TargetId(10), T0 + LEASE)]
    );
    let batch = Batch {
        outcomes: vec![outcome(delivery(1, 10), Dead)],
        done: vec![delivery(1, 10)],
        release: vec![release(7, T0 + 9), release(7, T0 + 9), release(99, T0)],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    assert_eq!(
        store.next_due(&[TargetId(10)]).await.unwrap(),
        [(TargetId(10), T0 + 9)]
    );
    assert_eq!(claimed(store, T0 + 9).await, steps(&[2, 3]));
    // Redriven, it has no order: what came after it may be on its way.
    store
        .redrive(&steps(&[1]), &[], T0 + 10, &[], None)
        .await
        .unwrap();
    let again = store.claim_due(&claim(10, T0 + 10)).await.unwrap();
    assert_eq!((ids(&again), again[0].pending.order), (steps(&[1]), None));
}

pub(crate) async fn a_claim_given_back_late_is_no_concern_of_the_new_holder(store: &dyn Store) {
    accept(store, &[(1, 7), (2, 7)]).await;
    assert_eq!(claimed(store, T0).await.len(), 2);
    // The lease runs out, somebody else claims both.
    assert_eq!(claimed(store, T0 + LEASE).await, steps(&[1, 2]));
    let late = Batch {
        unclaimed: vec![(delivery(1, 10), T0 + LEASE), (delivery(2, 10), T0 + LEASE)],
        release: vec![release(7, T0 + LEASE)],
        ..Batch::default()
    };
    store.commit(&late).await.unwrap();
    assert!(claimed(store, T0 + LEASE + 1).await.is_empty());
}

pub(crate) async fn a_run_of_a_lost_holder_comes_back_in_order(store: &dyn Store) {
    accept(store, &[(1, 7), (2, 7), (3, 7)]).await;
    claimed(store, T0).await;
    end(store, 1, 7, T0).await;
    let one = Claim {
        limit: 1,
        ..claim(10, T0 + LEASE)
    };
    assert_eq!(ids(&store.claim_due(&one).await.unwrap()), steps(&[2]));
    assert!(
        claimed(store, T0 + LEASE).await.is_empty(),
        "3 waits behind 2"
    );
    recover(store, NODE, T0 + LEASE).await;
    assert_eq!(claimed(store, T0 + LEASE).await, steps(&[2, 3]));
}

pub(crate) async fn a_removed_event_lets_its_key_go_on(store: &dyn Store) {
    accept(store, &[(1, 7), (2, 7), (3, 7), (4, 7)]).await;
    store.purge_events(id(2), 100).await.unwrap();
    assert_eq!(claimed(store, T0 + 10).await, steps(&[2, 3, 4]));
}

pub(crate) async fn what_waits_behind_nothing_is_found_and_set_free(store: &dyn Store) {
    accept(store, &[(1, 7), (2, 7), (3, 8), (4, 8), (5, 9), (6, 9)]).await;
    // Ended without a word to those behind: what a crash between two nodes' commits may leave.
    let batch = Batch {
        done: steps(&[1, 5]),
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    let (mut after, mut targets, mut turns) = (None, Vec::new(), 0);
    loop {
        let freed = store.free_stuck(after, 1, T0 + 1).await.unwrap();
        targets.extend(freed.targets);
        after = freed.next;
        turns += 1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((targets, turns), (vec![TargetId(10); 2], 4));
    assert_eq!(claimed(store, T0 + 1).await, steps(&[3, 4, 2, 6]));
}

pub(crate) async fn what_is_blocked_is_told(store: &dyn Store) {
    accept(store, &[(1, 7), (2, 7), (3, 7), (4, 8)]).await;
    let backlog = store.backlog(100).await.unwrap();
    assert_eq!((backlog[0].count, backlog[0].blocked), (4, 2));
    assert_eq!(store.backlog(1).await.unwrap()[0].blocked, 1);
    for (step, first) in [(1, None), (2, Some(1)), (3, Some(1)), (4, None)] {
        let told = store.find_predecessor(delivery(step, 10)).await.unwrap();
        assert_eq!(told, first.map(|first| delivery(first, 10)));
        let record = store
            .find_delivery(delivery(step, 10))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(record.due_at_ms, first.is_none().then_some(T0));
    }
    assert_eq!(store.find_predecessor(delivery(9, 10)).await.unwrap(), None);
    // An earlier one that is stored late goes first, and what was due behind it waits.
    accept(store, &[(0, 8)]).await;
    assert_eq!(claimed(store, T0).await, steps(&[0, 4, 1, 2, 3]));
}
