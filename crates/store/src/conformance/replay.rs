//! Replays: their states, their progress, what they read.

use belfry_model::replay::{ReplayMark, ReplayPlan, ReplayState};
use belfry_model::{BusId, EventId, NodeId, ReplayId};

use super::fixtures::*;
use crate::{Batch, NewReplay, ReplayProgress, ReplayRead, Store, StoreError};

fn new_replay() -> NewReplay {
    NewReplay {
        plan: ReplayPlan {
            description: "again".to_owned(),
            bus: BUS,
            bus_name: "default".parse().unwrap(),
            archive: None,
            low: id(0),
            high: id(100),
            events: None,
            pattern: None,
            rules: None,
            to: None,
            rate_per_second: 100,
        },
        cursor: id(0),
        created_by: "cli".to_owned(),
        at_ms: T0,
    }
}

fn progress(replay: ReplayId, from: EventId, to: EventId) -> ReplayProgress {
    ReplayProgress {
        replay,
        owner: NODE,
        from,
        to,
        looked_at: 3,
        replayed: 1,
        completed: false,
        at_ms: T0 + 9,
        lease_until_ms: T0 + 15_000,
    }
}

/// The event that `replay` puts back at `step` for the one at `of`.
fn repeat(replay: ReplayId, step: i64, of: i64) -> crate::NewEvent {
    crate::NewEvent {
        replay: Some(ReplayMark { replay, of: id(of) }),
        ..new_event(step, &[10])
    }
}

fn read(after: EventId) -> ReplayRead<'static> {
    ReplayRead {
        bus: BUS,
        archive: None,
        events: None,
        after,
        before: id(100),
        scan_max: 100,
        bytes_max: 1 << 20,
    }
}

async fn started(store: &dyn Store) -> ReplayId {
    let audit = audit("replays", T0);
    store
        .add_replay(&new_replay(), &[audit], None)
        .await
        .unwrap()
}

pub(crate) async fn a_replay_moves_in_the_commit_of_its_events(store: &dyn Store) {
    let replay = started(store).await;
    let mark = ReplayMark { replay, of: id(1) };
    let mut batch = Batch {
        events: vec![
            new_event(20, &[10]),
            repeat(replay, 21, 1),
            new_event(22, &[]),
        ],
        pending: vec![pending(delivery(21, 10), T0)],
        replays: vec![progress(replay, id(0), id(5))],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    let found = store.find_replay(replay).await.unwrap().unwrap();
    assert_eq!(found.plan, new_replay().plan);
    assert_eq!(
        (found.cursor, found.looked_at, found.replayed, found.state),
        (id(5), 3, 1, ReplayState::Running)
    );
    let event = store.find_event(id(21)).await.unwrap().unwrap();
    assert_eq!(event.replay, Some(mark));
    assert_eq!(
        store.find_event(id(20)).await.unwrap().unwrap().replay,
        None
    );
    let queued = store.find_delivery(delivery(21, 10)).await.unwrap();
    assert_eq!(queued.unwrap().replay, Some(mark));
    let claimed = store.claim_due(&claim(10, T0)).await.unwrap();
    assert_eq!(claimed[0].replay, Some(mark));

    // The same step once more: somebody else has taken it, so nothing of the commit may stay.
    batch.events = vec![repeat(replay, 30, 1)];
    batch.pending.clear();
    let again = store.commit(&batch).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
    assert!(store.find_event(id(30)).await.unwrap().is_none());

    batch.events.clear();
    batch.replays = vec![ReplayProgress {
        completed: true,
        ..progress(replay, id(5), id(99))
    }];
    store.commit(&batch).await.unwrap();
    let found = store.find_replay(replay).await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.ended_at_ms, found.looked_at),
        (ReplayState::Completed, Some(T0 + 9), 6)
    );
}

pub(crate) async fn one_node_at_a_time_works_on_a_replay(store: &dyn Store) {
    let replay = started(store).await;
    let other = NodeId(7);
    let until = T0 + 15_000;
    let take = |node, now| store.claim_replay(replay, node, now, now + 15_000);
    assert!(take(NODE, T0).await.unwrap());
    assert!(take(NODE, T0).await.unwrap());
    assert!(!take(other, T0 + 1).await.unwrap());
    assert!(take(other, until).await.unwrap());
    let late = Batch {
        replays: vec![progress(replay, id(0), id(5))],
        ..Batch::default()
    };
    let late = store.commit(&late).await;
    assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
    assert_eq!(store.running_replays(10).await.unwrap().len(), 1);
}

pub(crate) async fn a_replay_changes_its_state_only_from_those_named(store: &dyn Store) {
    use ReplayState::{Cancelled, Completed, Failed, Paused, Running};
    let replay = started(store).await;
    let set = |from: Vec<ReplayState>, to, detail| async move {
        let entry = [audit("replays", T0)];
        store
            .set_replay_state(replay, &from, to, detail, T0 + 2, &entry)
            .await
            .unwrap()
    };
    assert!(!set(vec![Paused], Running, None).await);
    assert!(set(vec![Running], Paused, None).await);
    assert!(store.running_replays(10).await.unwrap().is_empty());
    assert!(!store.claim_replay(replay, NODE, T0, T0 + 1).await.unwrap());
    // What was on its way is not put back any more, and is when it goes on.
    let batch = Batch {
        replays: vec![progress(replay, id(0), id(5))],
        ..Batch::default()
    };
    let late = store.commit(&batch).await;
    assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
    let found = store.find_replay(replay).await.unwrap().unwrap();
    assert_eq!((found.state, found.cursor), (Paused, id(0)));
    assert!(set(vec![Paused], Running, None).await);
    store.commit(&batch).await.unwrap();
    let found = store.find_replay(replay).await.unwrap().unwrap();
    assert_eq!((found.state, found.cursor), (Running, id(5)));
    assert!(set(vec![Running, Paused], Failed, Some("no such bus")).await);
    assert!(!set(vec![Running, Paused], Cancelled, None).await);
    let found = store.find_replay(replay).await.unwrap().unwrap();
    assert_eq!(found.detail.as_deref(), Some("no such bus"));
    assert_eq!(found.ended_at_ms, Some(T0 + 2));
    let second = started(store).await;
    let listed = store.list_replays(None, 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|one| one.id).collect::<Vec<_>>(),
        [second, replay]
    );
    assert_eq!(store.list_replays(Some(second), 10).await.unwrap().len(), 1);
    // Started, paused, resumed, failed; started: refused changes leave no trace.
    let trail = store.list_audit(None, "replays", 100).await.unwrap();
    assert_eq!(trail.len(), 5);
    let gone = store
        .set_replay_state(ReplayId(999), &[Running], Completed, None, T0, &[])
        .await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
}

pub(crate) async fn a_replay_reads_its_bus_in_pages_without_repeats(store: &dyn Store) {
    let replay = started(store).await;
    let mut batch = Batch::default();
    for step in 1..40 {
        let mut new = if step % 5 == 0 {
            repeat(replay, step, 1)
        } else {
            new_event(step, &[])
        };
        if step % 3 == 0 {
            new.bus = BusId(2);
        }
        batch.events.push(new);
    }
    store.commit(&batch).await.unwrap();
    let expected: Vec<_> = (1..40)
        .filter(|step| step % 5 != 0 && step % 3 != 0)
        .map(id)
        .collect();
    for (scan_max, bytes_max) in [(1, 1 << 20), (7, 1 << 20), (39, 1 << 20), (100, 300)] {
        let (mut found, mut after) = (Vec::new(), id(0));
        loop {
            let wanted = ReplayRead {
                scan_max,
                bytes_max,
                ..read(after)
            };
            let page = store.read_for_replay(&wanted).await.unwrap();
            assert!(page.reached > after || page.ended);
            after = page.reached;
            found.extend(page.events.iter().map(|(id, _)| *id));
            if page.ended {
                break;
            }
        }
        assert_eq!(found, expected, "{scan_max} {bytes_max}");
    }
    let bounded = ReplayRead {
        before: id(5),
        ..read(id(1))
    };
    let page = store.read_for_replay(&bounded).await.unwrap();
    let ids: Vec<_> = page.events.iter().map(|(id, _)| *id).collect();
    assert_eq!((ids, page.ended), (vec![id(2), id(4)], true));
    assert_eq!(
        store.first_for_replay(None, id(7)).await.unwrap(),
        Some(id(7))
    );
}

pub(crate) async fn a_replay_reads_the_events_it_names(store: &dyn Store) {
    let replay = started(store).await;
    let mut batch = events(&[(1, &[]), (2, &[]), (3, &[]), (4, &[])]);
    batch.events[1].bus = BusId(2);
    batch.events.push(repeat(replay, 5, 1));
    store.commit(&batch).await.unwrap();
    // One of another bus and one that is not there are looked at and not found.
    let names = [id(1), id(2), id(4), id(5), id(77)];
    let wanted = ReplayRead {
        events: Some(&names),
        scan_max: 3,
        ..read(id(0))
    };
    let first = store.read_for_replay(&wanted).await.unwrap();
    let ids = |page: &crate::ReplayPage| page.events.iter().map(|(id, _)| *id).collect::<Vec<_>>();
    assert_eq!((ids(&first), first.reached), (vec![id(1), id(4)], id(4)));
    assert!(!first.ended);
    let wanted = ReplayRead {
        after: first.reached,
        ..wanted
    };
    let second = store.read_for_replay(&wanted).await.unwrap();
    assert_eq!((ids(&second), second.ended), (vec![id(5)], true));
}

pub(crate) async fn replays_that_ended_are_forgotten_in_time(store: &dyn Store) {
    let (early, late, running) = (
        started(store).await,
        started(store).await,
        started(store).await,
    );
    for (replay, at_ms) in [(early, T0 + 10), (late, T0 + 20)] {
        let cancelled = store.set_replay_state(
            replay,
            &[ReplayState::Running],
            ReplayState::Cancelled,
            None,
            at_ms,
            &[],
        );
        assert!(cancelled.await.unwrap());
    }
    assert_eq!(store.purge_replays(T0 + 10, 100).await.unwrap(), 0);
    assert_eq!(store.purge_replays(T0 + 20, 100).await.unwrap(), 1);
    assert!(store.find_replay(early).await.unwrap().is_none());
    assert!(store.find_replay(late).await.unwrap().is_some());
    // One that runs has no age.
    assert_eq!(store.purge_replays(i64::MAX, 100).await.unwrap(), 1);
    assert!(store.find_replay(running).await.unwrap().is_some());
}
