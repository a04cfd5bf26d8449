//! Buses, rules, targets.

use std::collections::BTreeMap;

use belfry_model::TargetId;
use belfry_model::config::{Archive, Bus, Disabled, Document, Rule, Target};

use super::fixtures::*;
use crate::Expect::{Absent, Revision};
use crate::{Change, Config, ConfigDiff, Expect, Store, StoreError};

async fn apply(store: &dyn Store, changes: &[Change]) -> crate::Result<i64> {
    store.apply(changes, &[], None, T0).await
}

/// One bus `b` with one rule `r` with one target `t`.
async fn one_of_each(store: &dyn Store) -> Config {
    let changes = [
        put_bus("b", Absent),
        put_rule("b", "r", Absent),
        put_target("b", "r", "t", Absent),
    ];
    apply(store, &changes).await.unwrap();
    store.load_config().await.unwrap()
}

fn delete_bus(name: &str, revision: i64) -> Change {
    Change::DeleteBus {
        name: name.parse().unwrap(),
        revision,
    }
}

fn delete_rule(bus: &str, name: &str, revision: i64) -> Change {
    Change::DeleteRule {
        bus: bus.parse().unwrap(),
        name: name.parse().unwrap(),
        revision,
    }
}

fn delete_target(name: &str, revision: i64) -> Change {
    let (bus, rule) = ("b".parse().unwrap(), "r".parse().unwrap());
    Change::DeleteTarget {
        bus,
        rule,
        name: name.parse().unwrap(),
        revision,
    }
}

pub(crate) async fn buses_rules_and_targets_are_made_and_changed(store: &dyn Store) {
    assert_eq!(store.load_config().await.unwrap().buses, []);
    let made = one_of_each(store).await;
    let (bus, rule, target) = (&made.buses[0], &made.rules[0], &made.targets[0]);
    assert_eq!(
        (bus.name.as_str(), bus.revision, bus.created_at_ms),
        ("b", 1, T0)
    );
    assert_eq!(
        (rule.bus, rule.name.as_str(), &rule.spec),
        (bus.id, "r", &rule_spec())
    );
    assert_eq!(
        (target.rule, target.bus, target.name.as_str()),
        (rule.id, bus.id, "t")
    );
    assert_eq!((target.revision, &target.disabled), (1, &None));
    assert_eq!(target.spec, target_spec("https://example.com/"));

    let changes = [
        put_bus("b", Revision(1)),
        put_rule("b", "r", Revision(1)),
        put_target("b", "r", "t", Revision(1)),
    ];
    store.apply(&changes, &[], None, T0 + 9).await.unwrap();
    let later = store.load_config().await.unwrap();
    assert_eq!(later.version, made.version + 1);
    let (bus, rule, target) = (&later.buses[0], &later.rules[0], &later.targets[0]);
    assert_eq!(
        (bus.id, bus.revision, bus.updated_at_ms),
        (made.buses[0].id, 2, T0 + 9)
    );
    assert_eq!(
        (rule.id, rule.revision, rule.created_at_ms),
        (made.rules[0].id, 2, T0)
    );
    assert_eq!(
        (target.id, target.revision, target.updated_at_ms),
        (made.targets[0].id, 2, T0 + 9)
    );
}

pub(crate) async fn an_expectation_that_is_not_met_changes_nothing(store: &dyn Store) {
    let before = one_of_each(store).await;
    let bad = [
        put_bus("b", Absent),
        put_bus("b", Revision(2)),
        put_bus("x", Revision(1)),
        put_rule("b", "r", Absent),
        put_rule("b", "r", Revision(7)),
        put_rule("b", "x", Revision(1)),
        put_target("b", "r", "t", Absent),
        put_target("b", "r", "t", Revision(0)),
        put_target("b", "r", "x", Revision(1)),
        delete_bus("b", 2),
        delete_bus("x", 1),
        delete_rule("b", "r", 2),
        delete_target("t", 2),
    ];
    for change in bad {
        // After one that works: nothing of it may stay.
        let changes = [put_rule("b", "good", Absent), change.clone()];
        let audit = [audit("buses/b", T0)];
        let result = store
            .apply(&changes, &audit, Some(&idempotency(9, T0)), T0)
            .await;
        assert!(matches!(result, Err(StoreError::Conflict)), "{change:?}");
    }
    let after = store.load_config().await.unwrap();
    assert_eq!(after.version, before.version);
    assert_eq!(
        (after.rules, after.buses, after.targets),
        (before.rules, before.buses, before.targets)
    );
    assert!(store.list_audit(None, "", 10).await.unwrap().is_empty());
    assert!(store.find_idempotency(&[9; 32]).await.unwrap().is_none());
}

pub(crate) async fn a_missing_parent_is_named(store: &dyn Store) {
    one_of_each(store).await;
    let cases = [
        (put_rule("x", "r", Absent), "bus"),
        (put_target("x", "r", "t", Absent), "bus"),
        (put_target("b", "x", "t", Absent), "rule"),
        (delete_rule("x", "r", 1), "bus"),
        (
            Change::DisableTarget {
                target: TargetId(99),
                disabled: None,
            },
            "target",
        ),
    ];
    for (change, missing) in cases {
        match apply(store, std::slice::from_ref(&change)).await {
            Err(StoreError::NotFound(what)) => assert_eq!(what, missing),
            other => panic!("{change:?}: {other:?}"),
        }
    }
}

pub(crate) async fn deleting_takes_the_children_along(store: &dyn Store) {
    one_of_each(store).await;
    let more = [
        put_rule("b", "r2", Absent),
        put_target("b", "r2", "t", Absent),
        put_bus("c", Absent),
        put_rule("c", "r", Absent),
        put_target("c", "r", "t", Absent),
    ];
    apply(store, &more).await.unwrap();
    apply(store, &[delete_rule("b", "r2", 1)]).await.unwrap();
    let config = store.load_config().await.unwrap();
    assert_eq!((config.rules.len(), config.targets.len()), (2, 2));
    apply(store, &[delete_bus("b", 1)]).await.unwrap();
    let config = store.load_config().await.unwrap();
    assert_eq!(
        config
            .buses
            .iter()
            .map(|bus| bus.name.as_str())
            .collect::<Vec<_>>(),
        ["c"]
    );
    assert_eq!((config.rules.len(), config.targets.len()), (1, 1));
    // Gone means gone: their names are free, and nothing answers to them.
    assert!(matches!(
        apply(store, &[put_target("b", "r", "t", Revision(1))]).await,
        Err(StoreError::NotFound("bus"))
    ));
    apply(store, &[delete_rule("c", "r", 1)]).await.unwrap();
    assert!(store.load_config().await.unwrap().targets.is_empty());
}

pub(crate) async fn ids_are_never_given_out_again(store: &dyn Store) {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let made = one_of_each(store).await;
        seen.push((made.buses[0].id, made.rules[0].id, made.targets[0].id));
        apply(store, &[delete_bus("b", 1)]).await.unwrap();
    }
    assert!(
        seen.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1 && a.2 < b.2),
        "{seen:?}"
    );
}

pub(crate) async fn a_list_of_changes_can_build_on_itself(store: &dyn Store) {
    let before = one_of_each(store).await;
    let changes = [
        delete_target("t", 1),
        put_target("b", "r", "t", Absent),
        put_target("b", "r", "t", Revision(1)),
        put_bus("d", Absent),
        put_rule("d", "r", Absent),
        delete_rule("d", "r", 1),
    ];
    assert_eq!(apply(store, &changes).await.unwrap(), before.version + 1);
    let after = store.load_config().await.unwrap();
    assert_eq!((after.targets.len(), after.targets[0].revision), (1, 2));
    assert!(after.targets[0].id > before.targets[0].id);
    assert_eq!((after.buses.len(), after.rules.len()), (2, 1));
}

pub(crate) async fn history_can_name_what_was_deleted(store: &dyn Store) {
    let made = one_of_each(store).await;
    apply(
        store,
        &[put_target("b", "r", "t2", Absent), delete_target("t", 1)],
    )
    .await
    .unwrap();
    let (old, new) = (
        made.targets[0].id,
        store.load_config().await.unwrap().targets[0].id,
    );
    let paths = store.target_names(&[new, old, TargetId(77)]).await.unwrap();
    assert_eq!(
        paths.iter().map(|path| path.id).collect::<Vec<_>>(),
        [old, new]
    );
    let path = &paths[0];
    assert_eq!(
        (path.bus.as_str(), path.rule.as_str(), path.target.as_str()),
        ("b", "r", "t")
    );
    assert_eq!(
        (path.rule_id, path.kind.as_str()),
        (made.rules[0].id, "webhook")
    );
    assert!(path.deleted && !paths[1].deleted);
    assert!(store.target_names(&[]).await.unwrap().is_empty());

    let (bus, rule) = ("b".parse().unwrap(), "r".parse().unwrap());
    let target = "t".parse().unwrap();
    assert_eq!(
        store.find_targets(None, None, None).await.unwrap(),
        [old, new]
    );
    assert_eq!(
        store
            .find_targets(Some(&bus), Some(&rule), Some(&target))
            .await
            .unwrap(),
        [old]
    );
    assert!(
        store
            .find_targets(Some(&"x".parse().unwrap()), None, None)
            .await
            .unwrap()
            .is_empty()
    );
    apply(store, &[delete_bus("b", 1)]).await.unwrap();
    assert_eq!(
        store.bus_names(&[made.buses[0].id]).await.unwrap(),
        [(made.buses[0].id, bus)]
    );
    assert!(store.target_names(&[new]).await.unwrap()[0].deleted);
}

pub(crate) async fn belfry_disables_a_target_and_a_change_enables_it(store: &dyn Store) {
    let target = one_of_each(store).await.targets[0].id;
    let disabled = Some(Disabled {
        reason: "gone".to_owned(),
        at_ms: T0 + 3,
    });
    let change = Change::DisableTarget {
        target,
        disabled: disabled.clone(),
    };
    apply(store, std::slice::from_ref(&change)).await.unwrap();
    let found = store.load_config().await.unwrap().targets[0].clone();
    assert_eq!((found.disabled, found.revision), (disabled, 2));
    apply(store, &[put_target("b", "r", "t", Revision(2))])
        .await
        .unwrap();
    assert_eq!(store.load_config().await.unwrap().targets[0].disabled, None);
    apply(
        store,
        &[
            change,
            Change::DisableTarget {
                target,
                disabled: None,
            },
        ],
    )
    .await
    .unwrap();
    assert_eq!(store.load_config().await.unwrap().targets[0].disabled, None);
}

pub(crate) async fn the_version_counts_changes(store: &dyn Store) {
    let start = store.config_version().await.unwrap();
    assert_eq!(apply(store, &[]).await.unwrap(), start);
    assert_eq!(
        apply(store, &[put_bus("b", Absent)]).await.unwrap(),
        start + 1
    );
    assert_eq!(store.config_version().await.unwrap(), start + 1);
    assert_eq!(store.load_config().await.unwrap().version, start + 1);
}

async fn since(store: &dyn Store, version: i64) -> ConfigDiff {
    store.load_config_since(version).await.unwrap()
}

/// Names of buses, rules and targets.
fn names(config: &Config) -> [Vec<&str>; 3] {
    [
        config.buses.iter().map(|bus| bus.name.as_str()).collect(),
        config.rules.iter().map(|rule| rule.name.as_str()).collect(),
        config
            .targets
            .iter()
            .map(|target| target.name.as_str())
            .collect(),
    ]
}

pub(crate) async fn what_has_changed_since_a_version_is_told(store: &dyn Store) {
    let start = one_of_each(store).await.version;
    assert!(since(store, 0).await.whole);
    let nothing = since(store, start).await;
    assert!(!nothing.whole);
    assert_eq!(
        (names(&nothing.made), names(&nothing.gone)),
        Default::default()
    );

    apply(store, &[put_bus("c", Absent), put_rule("b", "s", Absent)])
        .await
        .unwrap();
    let made = since(store, start).await;
    assert_eq!(names(&made.made), [vec!["c"], vec!["s"], vec![]]);
    assert_eq!(made.made.version, start + 1);

    // Of a target its rule is told too.
    apply(store, &[put_target("b", "r", "t", Revision(1))])
        .await
        .unwrap();
    let changed = since(store, start + 1).await;
    assert_eq!(names(&changed.made), [vec![], vec!["r"], vec!["t"]]);
    apply(
        store,
        &[Change::DisableTarget {
            target: changed.made.targets[0].id,
            disabled: None,
        }],
    )
    .await
    .unwrap();
    let disabled = since(store, start + 2).await;
    assert_eq!(names(&disabled.made), [vec![], vec!["r"], vec!["t"]]);
    apply(store, &[delete_target("t", 3)]).await.unwrap();
    let deleted = since(store, start + 3).await;
    assert_eq!(names(&deleted.made), [vec![], vec!["r"], vec![]]);
    assert_eq!(names(&deleted.gone), [vec![], vec![], vec!["t"]]);

    apply(store, &[delete_bus("b", 1)]).await.unwrap();
    let all = since(store, start).await;
    assert_eq!(names(&all.made), [vec!["c"], vec![], vec![]]);
    assert_eq!(names(&all.gone), [vec!["b"], vec!["r", "s"], vec!["t"]]);
}

/// What somebody knows who has only been told differences.
#[derive(Default)]
struct Known {
    version: i64,
    buses: BTreeMap<i32, Bus>,
    rules: BTreeMap<i32, Rule>,
    targets: BTreeMap<i32, Target>,
    archives: BTreeMap<i32, Archive>,
    documents: BTreeMap<i32, Document>,
}

impl Known {
    fn take(&mut self, diff: ConfigDiff) {
        if diff.whole {
            *self = Self::default();
        }
        self.version = diff.made.version;
        for bus in diff.gone.buses {
            self.buses.remove(&bus.id.0);
        }
        for rule in diff.gone.rules {
            self.rules.remove(&rule.id.0);
        }
        for target in diff.gone.targets {
            self.targets.remove(&target.id.0);
        }
        for archive in diff.gone.archives {
            self.archives.remove(&archive.id.0);
        }
        for document in diff.gone.documents {
            self.documents.remove(&document.id.0);
        }
        let made = diff.made;
        self.documents
            .extend(made.documents.into_iter().map(|one| (one.id.0, one)));
        self.archives
            .extend(made.archives.into_iter().map(|one| (one.id.0, one)));
        self.buses
            .extend(made.buses.into_iter().map(|one| (one.id.0, one)));
        self.rules
            .extend(made.rules.into_iter().map(|one| (one.id.0, one)));
        for target in made.targets {
            let rule = self.rules.get(&target.rule.0);
            assert!(rule.is_some(), "a target without its rule: {target:?}");
            self.targets.insert(target.id.0, target);
        }
    }
}

/// A change at random, which may be refused. The numbers that come out of `next` are below what it is given.
fn any_change(next: &mut impl FnMut(u32) -> u32) -> Change {
    let (bus, rule) = (["b", "c"][next(2) as usize], ["r", "s"][next(2) as usize]);
    let target = ["t", "u"][next(2) as usize];
    let expect = |number: u32| match number {
        0 => Absent,
        revision => Revision(i64::from(revision)),
    };
    let any: Expect = expect(next(4));
    let revision = i64::from(next(4));
    match next(12) {
        10 => super::documents::put("silences", Some(bus).filter(|_| next(3) > 0), rule, any),
        11 => super::documents::delete(
            "silences",
            Some(bus).filter(|_| next(3) > 0),
            rule,
            revision,
        ),
        8 => Change::PutArchive {
            bus: bus.parse().unwrap(),
            name: rule.parse().unwrap(),
            spec: serde_json::from_str("{}").unwrap(),
            expect: any,
        },
        9 => Change::DeleteArchive {
            bus: bus.parse().unwrap(),
            name: rule.parse().unwrap(),
            revision,
        },
        0 => put_bus(bus, any),
        1 | 2 => put_rule(bus, rule, any),
        3 | 4 => put_target(bus, rule, target, any),
        5 => Change::DeleteTarget {
            bus: bus.parse().unwrap(),
            rule: rule.parse().unwrap(),
            name: target.parse().unwrap(),
            revision,
        },
        6 => delete_rule(bus, rule, revision),
        _ if next(6) == 0 => delete_bus(bus, revision),
        _ => Change::DisableTarget {
            target: TargetId(i32::try_from(next(6)).unwrap()),
            disabled: None,
        },
    }
}

/// However many changes lie between two looks: who follows by differences knows what there is.
pub(crate) async fn the_differences_add_up_to_the_whole(store: &dyn Store) {
    let mut seed = 7_u64;
    let mut next = |below: u32| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(seed >> 33).unwrap() % below
    };
    let mut known = Known::default();
    let mut made = 0;
    for _ in 0..600 {
        made += u32::from(apply(store, &[any_change(&mut next)]).await.is_ok());
        if next(3) > 0 {
            continue;
        }
        known.take(since(store, known.version).await);
        let all = store.load_config().await.unwrap();
        assert_eq!(known.version, all.version);
        assert_eq!(known.buses.values().cloned().collect::<Vec<_>>(), all.buses);
        assert_eq!(known.rules.values().cloned().collect::<Vec<_>>(), all.rules);
        assert_eq!(
            known.targets.values().cloned().collect::<Vec<_>>(),
            all.targets
        );
        let archives: Vec<_> = known.archives.values().cloned().collect();
        assert_eq!(archives, all.archives);
        let documents: Vec<_> = known.documents.values().cloned().collect();
        assert_eq!(documents, all.documents);
    }
    assert!(made > 50, "too few of the changes could be made: {made}");
}

pub(crate) async fn a_version_that_the_database_has_not_reached_gets_everything(store: &dyn Store) {
    let all = one_of_each(store).await;
    let diff = since(store, all.version + 1).await;
    assert!(diff.whole);
    assert_eq!(diff.made.version, all.version);
    assert_eq!(names(&diff.made), names(&all));
}
