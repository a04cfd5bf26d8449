use belfry_model::config::{BusSpec, RuleSpec};
use belfry_model::json::JsonText;
use belfry_store::Expect::{Absent, Revision};
use belfry_store::{Change, ConfigStore, DocumentPlace, SqliteOptions, SqliteStore};

use super::*;

fn note(bus: BusName, name: &TargetName) -> DocumentPlace {
    DocumentPlace {
        kind: "notes".to_owned(),
        bus: Some(bus),
        name: name.as_str().parse().unwrap(),
    }
}

/// A change at random, which may be refused. The numbers that come out of `next` are below what it is given.
fn any_change(next: &mut impl FnMut(usize) -> usize) -> Change {
    let bus: BusName = ["b", "c"][next(2)].parse().unwrap();
    let rule: RuleName = ["r", "s"][next(2)].parse().unwrap();
    let name: TargetName = ["t", "u"][next(2)].parse().unwrap();
    let revision = [0, 0, 1, 1, 2][next(5)];
    let expect = if revision == 0 {
        Absent
    } else {
        Revision(revision)
    };
    match next(16) {
        12..15 => Change::PutDocument {
            place: note(bus, &name),
            spec: serde_json::json!({}),
            expect,
        },
        15 => Change::DeleteDocument {
            place: note(bus, &name),
            revision,
        },
        0 => Change::PutBus {
            name: bus,
            spec: BusSpec::default(),
            expect,
        },
        1..4 => Change::PutRule {
            bus,
            name: rule,
            spec: RuleSpec {
                description: String::new(),
                enabled: true,
                pattern: JsonText::parse(r#"{"source":["x"]}"#).unwrap(),
            },
            expect,
        },
        4..8 => Change::PutTarget {
            bus,
            rule,
            name,
            spec: serde_json::from_str(r#"{"type":"log","settings":{"log":"lines"}}"#).unwrap(),
            expect,
        },
        8 | 9 => Change::DeleteTarget {
            bus,
            rule,
            name,
            revision,
        },
        10 => Change::DeleteRule {
            bus,
            name: rule,
            revision,
        },
        _ => Change::DeleteBus {
            name: bus,
            revision,
        },
    }
}

/// However many changes lie between two looks, and whoever still holds an earlier index.
#[tokio::test]
async fn an_index_that_follows_is_the_same_as_a_new_one() {
    let store = SqliteStore::open(SqliteOptions::memory()).await.unwrap();
    let mut seed = 11_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut follows = Arc::new(Index::default());
    let (mut made, mut held) = (0, None);
    for _ in 0..2000 {
        made += u32::from(
            store
                .apply(&[any_change(&mut next)], &[], None, 1)
                .await
                .is_ok(),
        );
        if next(3) > 0 {
            continue;
        }
        let diff = store.load_config_since(follows.version).await.unwrap();
        let before = format!("{follows:?}");
        if next(2) == 0 {
            held = Some((Arc::clone(&follows), before));
        }
        Arc::make_mut(&mut follows).take(diff).unwrap();
        let mut anew = Index::default();
        anew.take(store.load_config_since(0).await.unwrap())
            .unwrap();
        assert_eq!(follows.version, anew.version);
        assert_eq!(format!("{:?}", follows.buses), format!("{:?}", anew.buses));
        assert_eq!(follows.names, anew.names);
        let documents = |index: &Index| {
            let kinds = index.documents.values().flat_map(HashMap::values);
            let mut all: Vec<_> = kinds.flat_map(|named| named.values().cloned()).collect();
            all.sort_by_key(|document| document.id);
            all
        };
        assert_eq!(documents(&follows), documents(&anew));
        if let Some((index, text)) = &held {
            assert_eq!(
                format!("{index:?}"),
                *text,
                "who holds an index sees no change"
            );
        }
    }
    assert!(made > 60, "too few of the changes could be made: {made}");
}
