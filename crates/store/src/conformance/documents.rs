//! Named documents: all kinds alike, on a bus or of the whole server.

use serde_json::json;

use super::fixtures::*;
use crate::Expect::{Absent, Revision};
use crate::{Change, DocumentPlace, Expect, Store, StoreError, Unparsed};

fn place(kind: &str, bus: Option<&str>, name: &str) -> DocumentPlace {
    DocumentPlace {
        kind: kind.to_owned(),
        bus: bus.map(|bus| bus.parse().unwrap()),
        name: name.parse().unwrap(),
    }
}

pub(super) fn put(kind: &str, bus: Option<&str>, name: &str, expect: Expect) -> Change {
    Change::PutDocument {
        place: place(kind, bus, name),
        spec: json!({ "comment": "中", "list": [1, null] }),
        expect,
    }
}

pub(super) fn delete(kind: &str, bus: Option<&str>, name: &str, revision: i64) -> Change {
    Change::DeleteDocument {
        place: place(kind, bus, name),
        revision,
    }
}

async fn apply(store: &dyn Store, changes: &[Change]) -> crate::Result<i64> {
    store.apply(changes, &[], None, T0).await
}

/// Kind, whether on a bus, name and revision of all.
async fn all(store: &dyn Store) -> Vec<(String, bool, String, i64)> {
    let found = store.load_config().await.unwrap().documents;
    found
        .into_iter()
        .map(|one| {
            (
                one.kind,
                one.bus.is_some(),
                one.name.to_string(),
                one.revision,
            )
        })
        .collect()
}

fn is(kind: &str, on_bus: bool, name: &str, revision: i64) -> (String, bool, String, i64) {
    (kind.to_owned(), on_bus, name.to_owned(), revision)
}

pub(crate) async fn documents_are_made_changed_and_deleted_with_their_bus(store: &dyn Store) {
    let bus = Some("default");
    let changes = [
        put_bus("default", Absent),
        put("silences", bus, "night", Absent),
        put("contacts", None, "ann", Absent),
    ];
    let start = apply(store, &changes).await.unwrap();
    let made = store.load_config().await.unwrap();
    let (night, ann) = (&made.documents[0], &made.documents[1]);
    assert_eq!((night.bus, ann.bus), (Some(made.buses[0].id), None));
    assert_eq!(night.spec, json!({ "comment": "中", "list": [1, null] }));
    assert_eq!((night.revision, night.created_at_ms), (1, T0));

    for bad in [
        put("silences", bus, "night", Absent),
        put("silences", bus, "night", Revision(2)),
        put("silences", bus, "day", Revision(1)),
        put("silences", None, "night", Revision(1)),
        delete("silences", bus, "night", 2),
        delete("contacts", bus, "ann", 1),
    ] {
        let refused = apply(store, &[put("silences", bus, "more", Absent), bad]).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    }
    let refused = apply(store, &[put("silences", Some("x"), "night", Absent)]).await;
    assert!(matches!(refused, Err(StoreError::NotFound("bus"))));

    let changes = [
        put("silences", bus, "night", Revision(1)),
        delete("contacts", None, "ann", 1),
    ];
    apply(store, &changes).await.unwrap();
    assert_eq!(all(store).await, [is("silences", true, "night", 2)]);
    let diff = store.load_config_since(start).await.unwrap();
    assert_eq!(
        (diff.made.documents.len(), diff.gone.documents.len()),
        (1, 1)
    );
    // A name is free again, a number is not.
    apply(store, &[put("contacts", None, "ann", Absent)])
        .await
        .unwrap();
    let again = store.load_config().await.unwrap().documents;
    assert!(again[1].id > ann.id);
    let gone = Change::DeleteBus {
        name: "default".parse().unwrap(),
        revision: 1,
    };
    apply(store, &[gone]).await.unwrap();
    assert_eq!(all(store).await, [is("contacts", false, "ann", 1)]);
}

pub(crate) async fn a_name_is_taken_once_in_each_kind_and_bus(store: &dyn Store) {
    let changes = [
        put_bus("b", Absent),
        put_bus("c", Absent),
        put("sources", Some("b"), "x", Absent),
        put("sources", Some("c"), "x", Absent),
        put("silences", Some("b"), "x", Absent),
        put("contacts", None, "x", Absent),
        put("contact-groups", None, "x", Absent),
    ];
    apply(store, &changes).await.unwrap();
    assert_eq!(all(store).await.len(), 5);
    for (kind, bus) in [("sources", Some("b")), ("contacts", None)] {
        let refused = apply(store, &[put(kind, bus, "x", Absent)]).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    }
}

pub(crate) async fn what_a_source_could_not_read_is_kept_while_it_is_new_and_the_source_is_there(
    store: &dyn Store,
) {
    let changes = [
        put_bus("b", Absent),
        put("sources", Some("b"), "x", Absent),
        put("sources", Some("b"), "y", Absent),
    ];
    apply(store, &changes).await.unwrap();
    let made = store.load_config().await.unwrap().documents;
    let (x, y) = (made[0].id, made[1].id);
    let unparsed = |source, step: i64| Unparsed {
        number: 0,
        source,
        at_ms: T0 + step,
        format: (step % 2 == 0).then(|| "grafana".to_owned()),
        reason: "/alerts: missing".to_owned(),
        content_type: None,
        bytes: 100_000,
        body: vec![0xff, b'{'],
    };
    for step in 0..5 {
        store.keep_unparsed(&unparsed(x, step), 3).await.unwrap();
        store.keep_unparsed(&unparsed(y, step), 9).await.unwrap();
    }
    let found = store.list_unparsed(x, None, 2).await.unwrap();
    assert_eq!(
        found.iter().map(|one| one.at_ms - T0).collect::<Vec<_>>(),
        [4, 3]
    );
    let as_new = |one: &Unparsed| Unparsed {
        number: 0,
        ..one.clone()
    };
    assert_eq!(as_new(&found[0]), unparsed(x, 4));
    let rest = store
        .list_unparsed(x, Some(found[1].number), 9)
        .await
        .unwrap();
    assert_eq!(
        rest.iter().map(as_new).collect::<Vec<_>>(),
        [unparsed(x, 2)]
    );
    assert_eq!(store.list_unparsed(y, None, 9).await.unwrap().len(), 5);

    apply(store, &[delete("sources", Some("b"), "x", 1)])
        .await
        .unwrap();
    assert_eq!(store.list_unparsed(x, None, 9).await.unwrap(), []);
    let gone = Change::DeleteBus {
        name: "b".parse().unwrap(),
        revision: 1,
    };
    apply(store, &[gone]).await.unwrap();
    assert_eq!(store.list_unparsed(y, None, 9).await.unwrap(), []);
}
