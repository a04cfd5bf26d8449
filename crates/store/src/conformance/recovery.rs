//! What is taken up of a node that has ended.

use belfry_model::delivery::DeliveryStatus::{Dead, Delivered, Retrying, Skipped};
use belfry_model::delivery::Trigger;
use belfry_model::{DeliveryId, NodeId, TargetId};

use super::fixtures::*;
use crate::{Batch, Recovered, Store};

async fn claimable(store: &dyn Store, target: i32) -> Vec<DeliveryId> {
    let claimed = store
        .claim_due(&claim(target, T0 + 1_000_000))
        .await
        .unwrap();
    claimed
        .into_iter()
        .map(|item| item.pending.delivery)
        .collect()
}

pub(crate) async fn unfinished_deliveries_become_pending_exactly_once(store: &dyn Store) {
    let batch = Batch {
        events: vec![
            new_event(1, &[10, 11]),
            new_event(2, &[10, 11]),
            new_event(3, &[]),
            new_event(4, &[12, 10]),
        ],
        outcomes: vec![
            outcome(delivery(1, 10), Delivered),
            outcome(delivery(2, 10), Dead),
            outcome(delivery(2, 11), Retrying),
            outcome(delivery(4, 12), Skipped),
        ],
        pending: vec![pending(delivery(2, 11), T0 + 7)],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    let now = T0 + 500_000;
    let found = recover(store, NODE, now).await;
    assert_eq!(
        found,
        Recovered {
            newest: Some(id(4)),
            unfinished: 2,
            reclaimed: 0
        }
    );
    // A second start finds nothing left to do.
    let again = recover(store, NODE, now).await;
    assert_eq!(
        again,
        Recovered {
            newest: Some(id(4)),
            unfinished: 0,
            reclaimed: 0
        }
    );
    assert_eq!(claimable(store, 10).await, [delivery(4, 10)]);
    let claimed = store.claim_due(&claim(11, now)).await.unwrap();
    let first = &claimed[0].pending;
    assert_eq!((first.delivery, first.attempts), (delivery(2, 11), 1));
    let second = &claimed[1].pending;
    assert_eq!(
        (second.delivery, second.attempts, second.attempts_before),
        (delivery(1, 11), 0, 0)
    );
    assert_eq!(
        (second.since_ms, second.trigger),
        (T0 + 1, Trigger::Initial)
    );
    assert_eq!(claimed.len(), 2);
    assert_eq!(claimable(store, 12).await, []);
}

pub(crate) async fn nothing_below_the_watermark_or_of_another_node_is_touched(store: &dyn Store) {
    let other = NodeId(9);
    let mut foreign = new_event(0, &[10]);
    foreign.id = id_of(other, 5);
    let mut batch = events(&[(1, &[10]), (2, &[10])]);
    batch.events.push(foreign);
    batch.watermark = Some((NODE, id(1)));
    store.commit(&batch).await.unwrap();
    let found = recover(store, NODE, T0).await;
    assert_eq!((found.newest, found.unfinished), (Some(id_of(other, 5)), 1));
    assert_eq!(claimable(store, 10).await, [delivery(2, 10)]);
    assert_eq!(recover(store, other, T0).await.unfinished, 1);
}

pub(crate) async fn a_watermark_never_goes_back(store: &dyn Store) {
    let mut batch = events(&[(1, &[10]), (2, &[10]), (3, &[10])]);
    batch.watermark = Some((NODE, id(2)));
    store.commit(&batch).await.unwrap();
    store
        .commit(&Batch {
            watermark: Some((NODE, id(0))),
            ..Batch::default()
        })
        .await
        .unwrap();
    assert_eq!(recover(store, NODE, T0).await.unfinished, 1);
}

pub(crate) async fn claims_of_the_earlier_run_are_given_back(store: &dyn Store) {
    let mut batch = events(&[(1, &[10]), (2, &[10])]);
    batch.pending = vec![pending(delivery(1, 10), T0), pending(delivery(2, 10), T0)];
    store.commit(&batch).await.unwrap();
    let mine = store
        .claim_due(&crate::Claim {
            limit: 1,
            ..claim(10, T0 + 10)
        })
        .await
        .unwrap();
    let other = crate::Claim {
        owner: NodeId(9),
        ..claim(10, T0 + 10)
    };
    assert_eq!(store.claim_due(&other).await.unwrap().len(), 1);
    let found = recover(store, NODE, T0 + 20).await;
    assert_eq!((found.reclaimed, found.unfinished), (1, 0));
    let claimed = store.claim_due(&claim(10, T0 + 20)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].pending.delivery, mine[0].pending.delivery);
}

pub(crate) async fn a_failed_delivery_without_work_keeps_its_attempts(store: &dyn Store) {
    let mut batch = events(&[(1, &[10])]);
    batch.outcomes = vec![outcome(delivery(1, 10), Retrying)];
    store.commit(&batch).await.unwrap();
    assert_eq!(recover(store, NODE, T0 + 9).await.unfinished, 1);
    let claimed = store.claim_due(&claim(10, T0 + 9)).await.unwrap();
    assert_eq!(
        (claimed[0].pending.attempts, claimed[0].pending.trigger),
        (1, Trigger::Retry)
    );
}

pub(crate) async fn an_empty_store_recovers_to_nothing(store: &dyn Store) {
    assert_eq!(recover(store, NODE, T0).await, Recovered::default());
    assert_eq!(store.next_due(&[TargetId(1)]).await.unwrap(), []);
}
