//! Archives: copies in the commit, what they hold, removing them.

use belfry_model::config::{ArchiveSpec, Retention};
use belfry_model::json::JsonText;
use belfry_model::{ArchiveId, EventId};

use super::fixtures::*;
use crate::Expect::{Absent, Revision};
use crate::{ArchivePurge, ArchiveSize, Batch, Change, NewEvent, ReplayRead, Store, StoreError};

const A: ArchiveId = ArchiveId(1);
const B: ArchiveId = ArchiveId(2);

fn spec() -> ArchiveSpec {
    ArchiveSpec {
        description: "kept".to_owned(),
        enabled: true,
        pattern: Some(JsonText::parse(r#"{"type": ["disk.full"]}"#).unwrap()),
        retention: Some(Retention {
            age_seconds: Some(60),
            bytes: None,
        }),
    }
}

fn put(name: &str, expect: crate::Expect) -> Change {
    Change::PutArchive {
        bus: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        spec: spec(),
        expect,
    }
}

fn delete(name: &str, revision: i64) -> Change {
    Change::DeleteArchive {
        bus: "default".parse().unwrap(),
        name: name.parse().unwrap(),
        revision,
    }
}

async fn apply(store: &dyn Store, changes: &[Change]) -> crate::Result<i64> {
    store.apply(changes, &[], None, T0).await
}

/// Bus `default` with the archives [`A`] and [`B`].
async fn two(store: &dyn Store) {
    let changes = [
        put_bus("default", Absent),
        put("a", Absent),
        put("b", Absent),
    ];
    apply(store, &changes).await.unwrap();
}

/// An event with copies in these archives.
fn copied(step: i64, archives: &[ArchiveId]) -> NewEvent {
    NewEvent {
        archives: archives.to_vec(),
        ..new_event(step, &[])
    }
}

fn batch(events: Vec<NewEvent>) -> Batch {
    Batch {
        events,
        ..Batch::default()
    }
}

async fn size(store: &dyn Store, archive: ArchiveId) -> Option<ArchiveSize> {
    let sizes = store.archive_sizes().await.unwrap();
    sizes.into_iter().find(|size| size.archive == archive)
}

fn read(archive: ArchiveId, after: EventId) -> ReplayRead<'static> {
    ReplayRead {
        bus: BUS,
        archive: Some(archive),
        events: None,
        after,
        before: id(1_000_000),
        scan_max: 1000,
        bytes_max: 1 << 20,
    }
}

async fn held(store: &dyn Store, archive: ArchiveId) -> Vec<EventId> {
    let page = store.read_for_replay(&read(archive, id(0))).await.unwrap();
    assert!(page.ended);
    page.events.iter().map(|(id, _)| *id).collect()
}

fn bytes(new: &NewEvent) -> u64 {
    new.event.doc().len() as u64
}

pub(crate) async fn archives_are_made_changed_and_deleted_with_their_bus(store: &dyn Store) {
    two(store).await;
    let made = store.load_config().await.unwrap();
    let first = &made.archives[0];
    assert_eq!((first.id, first.name.as_str(), first.revision), (A, "a", 1));
    assert_eq!((&first.spec, first.bus), (&spec(), made.buses[0].id));
    for bad in [
        put("a", Absent),
        put("a", Revision(7)),
        put("x", Revision(1)),
        delete("a", 2),
    ] {
        let refused = apply(store, &[put("more", Absent), bad]).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    }
    apply(store, &[put("a", Revision(1)), delete("b", 1)])
        .await
        .unwrap();
    let later = store.load_config().await.unwrap().archives;
    assert_eq!((later.len(), later[0].revision), (1, 2));
    // A name is free again, a number is not.
    apply(store, &[put("b", Absent)]).await.unwrap();
    assert!(store.load_config().await.unwrap().archives[1].id > B);
    let gone = Change::DeleteBus {
        name: "default".parse().unwrap(),
        revision: 1,
    };
    apply(store, &[gone]).await.unwrap();
    assert_eq!(store.load_config().await.unwrap().archives, []);
}

pub(crate) async fn a_copy_is_made_in_the_commit_of_its_event_or_not_at_all(store: &dyn Store) {
    two(store).await;
    let events = vec![copied(1, &[A, B]), copied(2, &[]), copied(3, &[A])];
    let (one, three) = (bytes(&events[0]), bytes(&events[2]));
    let mut first = batch(events.clone());
    first.idempotency = vec![idempotency(1, T0)];
    store.commit(&first).await.unwrap();
    let expected = ArchiveSize {
        archive: A,
        deleted_at_ms: None,
        events: 2,
        bytes: one + three,
        oldest: Some(id(1)),
        newest: Some(id(3)),
    };
    assert_eq!(size(store, A).await, Some(expected));
    assert_eq!(size(store, B).await.unwrap().bytes, one);
    let page = store.read_for_replay(&read(A, id(0))).await.unwrap();
    let copy = &page.events[1].1;
    assert_eq!(copy.doc(), events[2].event.doc());
    assert_eq!(copy.id(), events[2].event.id());

    // Nothing of a commit that is refused.
    first.events = vec![copied(9, &[A])];
    let refused = store.commit(&first).await;
    assert!(
        matches!(refused, Err(StoreError::IdempotencyConflict)),
        "{refused:?}"
    );
    assert_eq!(size(store, A).await, Some(expected));
    assert_eq!(held(store, B).await, [id(1)]);
}

pub(crate) async fn a_copy_outlives_its_event(store: &dyn Store) {
    two(store).await;
    store
        .commit(&batch(vec![
            copied(1, &[A]),
            copied(2, &[A]),
            copied(3, &[]),
        ]))
        .await
        .unwrap();
    assert_eq!(store.purge_events(id(100), 10).await.unwrap().events, 3);
    assert!(store.find_event(id(1)).await.unwrap().is_none());
    assert_eq!(held(store, A).await, [id(1), id(2)]);
    assert_eq!(
        store.first_for_replay(Some(A), id(2)).await.unwrap(),
        Some(id(2))
    );
    assert_eq!(store.first_for_replay(None, id(0)).await.unwrap(), None);
    let named = [id(2), id(3)];
    let wanted = ReplayRead {
        events: Some(&named),
        ..read(A, id(0))
    };
    let page = store.read_for_replay(&wanted).await.unwrap();
    assert_eq!((page.events.len(), page.ended), (1, true));
}

pub(crate) async fn an_archive_is_read_in_pages_without_gaps(store: &dyn Store) {
    two(store).await;
    let all: Vec<_> = (1..30)
        .map(|step| copied(step, if step % 3 == 0 { &[B] } else { &[A] }))
        .collect();
    store.commit(&batch(all)).await.unwrap();
    let expected: Vec<_> = (1..30).filter(|step| step % 3 != 0).map(id).collect();
    for (scan_max, bytes_max) in [(1, 1 << 20), (7, 1 << 20), (1000, 300), (1000, 1 << 20)] {
        let (mut found, mut after) = (Vec::new(), id(0));
        loop {
            let wanted = ReplayRead {
                scan_max,
                bytes_max,
                ..read(A, after)
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
        before: id(4),
        ..read(A, id(1))
    };
    let page = store.read_for_replay(&bounded).await.unwrap();
    assert_eq!((page.events.len(), page.ended), (1, true));
}

pub(crate) async fn an_archive_loses_its_oldest_by_age_and_by_size(store: &dyn Store) {
    two(store).await;
    let all: Vec<_> = (1..=20).map(|step| copied(step, &[A, B])).collect();
    let each = bytes(&all[10]);
    store.commit(&batch(all)).await.unwrap();
    let of = |before, events_max, bytes_max| ArchivePurge {
        archive: A,
        before,
        events_max,
        bytes_max,
    };
    let by_age = of(id(8), 5, u64::MAX);
    assert_eq!(store.purge_archive(&by_age).await.unwrap().0, 5);
    assert_eq!(store.purge_archive(&by_age).await.unwrap().0, 2);
    assert_eq!(store.purge_archive(&by_age).await.unwrap(), (0, 0));
    let by_size = of(id(1000), 100, each + 1);
    let (events, gone) = store.purge_archive(&by_size).await.unwrap();
    assert!((1..=2).contains(&events) && gone > each, "{events} {gone}");
    let left = size(store, A).await.unwrap();
    assert_eq!(left.events, 20 - 7 - events);
    assert_eq!(left.oldest, Some(id(8 + i64::try_from(events).unwrap())));
    assert_eq!(held(store, B).await.len(), 20);
    // Counts go on from there.
    store.commit(&batch(vec![copied(30, &[A])])).await.unwrap();
    assert_eq!(size(store, A).await.unwrap().events, left.events + 1);
}

pub(crate) async fn a_deleted_archive_is_emptied_and_forgotten(store: &dyn Store) {
    two(store).await;
    let all: Vec<_> = (1..=3).map(|step| copied(step, &[A, B])).collect();
    store.commit(&batch(all)).await.unwrap();
    apply(store, &[delete("a", 1)]).await.unwrap();
    let deleted = size(store, A).await.unwrap();
    assert_eq!((deleted.deleted_at_ms, deleted.events), (Some(T0), 3));
    let all = |archive| ArchivePurge {
        archive,
        before: EventId::from_stored(i64::MAX),
        events_max: 2,
        bytes_max: u64::MAX,
    };
    for expected in [2, 1, 0] {
        let (events, _) = store.purge_archive(&all(A)).await.unwrap();
        assert_eq!(events, expected);
    }
    assert_eq!(size(store, A).await, None);
    // One that is only empty is still there.
    for _ in 0..3 {
        store.purge_archive(&all(B)).await.unwrap();
    }
    let empty = size(store, B).await.unwrap();
    assert_eq!((empty.events, empty.bytes, empty.oldest), (0, 0, None));
}
