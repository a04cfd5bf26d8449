//! Numbers under leases, and who may write under them.

use belfry_model::{NodeId, TargetId};

use super::fixtures::*;
use crate::{
    Batch, CircuitNote, Joined, Membership, NodeIdentity, NodeInfo, NodeState, Store, StoreError,
};

/// Long enough for a test, short enough for nobody.
const LEASE_MS: i64 = 600_000;

fn named(name: &str, lease_ms: i64) -> NodeIdentity {
    NodeIdentity {
        name: name.to_owned(),
        version: "1.2.3".to_owned(),
        lease_ms,
    }
}

async fn join(store: &dyn Store, name: &str, lease_ms: i64) -> Joined {
    store.join(&named(name, lease_ms), T0).await.unwrap()
}

async fn info(store: &dyn Store, node: NodeId) -> NodeInfo {
    let nodes = store.list_nodes(T0).await.unwrap();
    nodes
        .into_iter()
        .find(|one| one.member.node == node)
        .unwrap()
}

/// Events of this node, committed by it.
fn by(member: Membership, steps: &[(i64, &[i32])]) -> Batch {
    let mut batch = events(steps);
    for (new, (step, _)) in batch.events.iter_mut().zip(steps) {
        new.id = id_of(member.node, *step);
    }
    batch.by = Some(member);
    batch
}

pub(crate) async fn a_number_is_held_until_it_is_given_back(store: &dyn Store) {
    let first = join(store, "a", LEASE_MS).await;
    let second = join(store, "b", LEASE_MS).await;
    assert_eq!(
        (first.member.node, second.member.node),
        (NodeId(0), NodeId(1))
    );
    let node = info(store, NodeId(0)).await;
    assert_eq!(
        (node.name.as_str(), node.version.as_str(), node.state),
        ("a", "1.2.3", NodeState::Live)
    );
    assert!((1..=LEASE_MS).contains(&node.lease_left_ms), "{node:?}");
    assert!(store.renew(first.member, true, LEASE_MS, T0).await.unwrap());
    assert_eq!(info(store, NodeId(0)).await.state, NodeState::Leaving);
    assert!(store.leave(first.member, T0).await.unwrap().is_some());
    assert_eq!(info(store, NodeId(0)).await.state, NodeState::Left);
    let third = join(store, "c", LEASE_MS).await;
    assert_eq!(third.member.node, NodeId(0));
    assert!(third.member.epoch > first.member.epoch);
    assert_eq!(join(store, "d", LEASE_MS).await.member.node, NodeId(2));
}

pub(crate) async fn a_lease_that_has_run_out_is_renewed_unless_somebody_took_over(
    store: &dyn Store,
) {
    let member = join(store, "a", 0).await.member;
    assert!(info(store, member.node).await.lease_left_ms <= 0);
    assert!(store.renew(member, false, LEASE_MS, T0).await.unwrap());
    assert_eq!(
        store.take_over(member, T0).await.unwrap(),
        None,
        "it has renewed"
    );
    assert!(store.renew(member, false, 0, T0).await.unwrap());
    assert!(store.take_over(member, T0).await.unwrap().is_some());
    assert!(!store.renew(member, false, LEASE_MS, T0).await.unwrap());
    assert_eq!(store.leave(member, T0).await.unwrap(), None);
    assert_eq!(info(store, member.node).await.state, NodeState::Dead);
}

pub(crate) async fn of_several_that_take_a_node_over_one_does(store: &dyn Store) {
    let member = join(store, "a", 0).await.member;
    store
        .commit(&by(member, &[(1, &[10, 11]), (2, &[10])]))
        .await
        .unwrap();
    let tries = futures_util::future::join_all((0..5).map(|_| store.take_over(member, T0))).await;
    let won: Vec<_> = tries
        .into_iter()
        .filter_map(|tried| tried.unwrap())
        .collect();
    assert_eq!(won.len(), 1);
    assert_eq!(won[0].unfinished, 3);
    let claimed = store.claim_due(&claim(10, T0 + 1)).await.unwrap();
    assert_eq!(claimed.len(), 2);
}

pub(crate) async fn a_node_that_was_taken_over_writes_nothing(store: &dyn Store) {
    let member = join(store, "a", 0).await.member;
    store.commit(&by(member, &[(1, &[])])).await.unwrap();
    store.take_over(member, T0).await.unwrap().unwrap();
    let late = store.commit(&by(member, &[(2, &[])])).await;
    assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
    let idle = Batch {
        watermark: Some((member.node, id_of(member.node, 9))),
        by: Some(member),
        ..Batch::default()
    };
    assert!(matches!(store.commit(&idle).await, Err(StoreError::Fenced)));
    let after = store.event_ids_after(id_of(member.node, 0), 10).await;
    assert_eq!(after.unwrap().len(), 1, "only what came before");
    let next = join(store, "a", LEASE_MS).await.member;
    assert_eq!(next.node, member.node);
    store.commit(&by(next, &[(3, &[])])).await.unwrap();
    assert!(matches!(
        store.commit(&by(member, &[(4, &[])])).await,
        Err(StoreError::Fenced)
    ));
}

pub(crate) async fn who_leaves_gives_back_what_is_unfinished(store: &dyn Store) {
    let member = join(store, "a", LEASE_MS).await.member;
    let mut batch = by(member, &[(1, &[10]), (2, &[10])]);
    let second = belfry_model::DeliveryId {
        event: id_of(member.node, 2),
        target: TargetId(10),
    };
    batch.pending = vec![pending(second, T0)];
    store.commit(&batch).await.unwrap();
    let claimed = crate::Claim {
        owner: member.node,
        ..claim(10, T0)
    };
    assert_eq!(store.claim_due(&claimed).await.unwrap().len(), 1);
    let left = store.leave(member, T0 + 5).await.unwrap().unwrap();
    assert_eq!((left.unfinished, left.reclaimed), (1, 1));
    let other = crate::Claim {
        owner: NodeId(7),
        ..claim(10, T0 + 5)
    };
    assert_eq!(store.claim_due(&other).await.unwrap().len(), 2);
    // Nothing is looked through, or taken up, a second time.
    let again = join(store, "a", LEASE_MS).await;
    assert_eq!(
        (again.recovered.unfinished, again.recovered.reclaimed),
        (0, 0)
    );
}

pub(crate) async fn a_new_holder_of_a_number_continues_after_the_newest_event(store: &dyn Store) {
    let first = join(store, "a", LEASE_MS).await.member;
    store
        .commit(&by(first, &[(1, &[]), (50, &[])]))
        .await
        .unwrap();
    let second = join(store, "b", LEASE_MS).await;
    assert_eq!(second.recovered.newest, Some(id_of(first.node, 50)));
    assert_eq!(
        info(store, second.member.node).await.watermark,
        id_of(first.node, 50),
        "a take-over looks through nothing older"
    );
}

pub(crate) async fn a_node_gets_its_own_number_again(store: &dyn Store) {
    for name in ["a", "b", "c"] {
        let member = join(store, name, LEASE_MS).await.member;
        store.leave(member, T0).await.unwrap();
        join(store, name, LEASE_MS).await;
    }
    let nodes = store.list_nodes(T0).await.unwrap();
    for node in nodes {
        store.leave(node.member, T0).await.unwrap();
    }
    assert_eq!(join(store, "c", LEASE_MS).await.member.node, NodeId(2));
    assert_eq!(join(store, "x", LEASE_MS).await.member.node, NodeId(0));
}

pub(crate) async fn what_is_said_about_receivers_is_replaced_and_taken_back(store: &dyn Store) {
    let note = |target: i32, node: u8, open_until_ms| CircuitNote {
        target: TargetId(target),
        node: NodeId(node),
        open_until_ms,
        paused_until_ms: 7,
        failures: 20,
    };
    let first = [note(1, 1, 5), note(2, 1, 6)];
    store.note_circuits(&first, &[], T0).await.unwrap();
    let second = [note(1, 2, 9)];
    store
        .note_circuits(&second, &[TargetId(2), TargetId(3)], T0)
        .await
        .unwrap();
    assert_eq!(store.list_circuits().await.unwrap(), second);
}
