use proptest::prelude::*;

use belfry_model::config::{BusSpec, RuleSpec, Schedule};
use belfry_model::json::JsonText;

use super::*;
use crate::documents::NoDocuments;

const PATTERNS: [&str; 5] = [
    r#"{"data":{"k":["a"]}}"#,
    r#"{"data":{"k":[{"prefix":"a"}]}}"#,
    r#"{"data":{"n":[{"numeric":[">",1]}]}}"#,
    r#"{"data.k":["b"]}"#,
    r#"{"data":{"none":[{"exists":false}]}}"#,
];

const EVENTS: [&str; 4] = [
    r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"k":"a","n":2}}"#,
    r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"k":"ab"}}"#,
    r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"k":"a"},"data.k":"b"}"#,
    r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"none":1}}"#,
];

/// A rule as it is at one moment: number, pattern, whether it is enabled.
type State = (i32, usize, bool);

fn bus() -> Bus {
    Bus {
        id: BusId(1),
        name: "orders".parse().unwrap_or_else(|_| unreachable!()),
        spec: BusSpec::default(),
        revision: 1,
        created_at_ms: 0,
        updated_at_ms: 0,
    }
}

/// Names run against the ids: nothing hangs on their order.
fn rule((id, pattern, enabled): State) -> anyhow::Result<Rule> {
    Ok(Rule {
        id: RuleId(id),
        bus: BusId(1),
        name: format!("rule-{}", 100 - id).parse()?,
        spec: RuleSpec {
            description: String::new(),
            enabled,
            pattern: JsonText::parse(PATTERNS[pattern])?,
        },
        revision: 1,
        created_at_ms: 0,
        updated_at_ms: 0,
    })
}

/// A target of the rule with the same number.
fn target(id: i32) -> anyhow::Result<Target> {
    Ok(Target {
        id: TargetId(id),
        rule: RuleId(id),
        bus: BusId(1),
        name: "hook".parse()?,
        spec: serde_json::from_str(r#"{"type":"log","settings":{"log":"lines"}}"#)?,
        disabled: None,
        revision: 1,
        created_at_ms: 0,
        updated_at_ms: 0,
    })
}

fn connected(target: Target, bus: BusName, rule: String) -> TargetEntry {
    TargetEntry {
        channel: None,
        channels: Vec::new(),
        folds: false,
        batch: None,
        retry: RetryPolicy::of(Schedule::None),
        retry_on_4xx: false,
        concurrency: 1,
        problem: None,
        transform: None,
        send_original: false,
        order: None,
        handler: None,
        target,
        bus,
        rule,
    }
}

fn config(states: &[State]) -> anyhow::Result<Config> {
    Ok(Config {
        version: 1,
        buses: vec![bus()],
        rules: states
            .iter()
            .map(|state| rule(*state))
            .collect::<anyhow::Result<_>>()?,
        targets: states
            .iter()
            .map(|(id, ..)| target(*id))
            .collect::<anyhow::Result<_>>()?,
        archives: Vec::new(),
        documents: Vec::new(),
    })
}

/// What a store tells that was at `before` and is at `after`.
fn difference(before: &[State], after: &[State]) -> anyhow::Result<ConfigDiff> {
    let only = |of: &[State], is: &dyn Fn(&State) -> bool| -> Vec<State> {
        of.iter().filter(|state| is(state)).copied().collect()
    };
    let has = |list: &[State], id: i32| list.iter().any(|(other, ..)| *other == id);
    Ok(ConfigDiff {
        made: config(&only(after, &|state| !before.contains(state)))?,
        gone: Config {
            buses: Vec::new(),
            ..config(&only(before, &|(id, ..)| !has(after, *id)))?
        },
        whole: false,
    })
}

fn whole(states: &[State]) -> anyhow::Result<ConfigDiff> {
    Ok(ConfigDiff {
        made: config(states)?,
        whole: true,
        ..ConfigDiff::default()
    })
}

#[test]
fn a_difference_that_does_not_fit_is_refused() {
    let (before, _) = Snapshot::default()
        .changed(whole(&[(1, 0, true)]).unwrap(), connected, &NoDocuments)
        .unwrap();
    let mut alone = difference(&[], &[(2, 0, true)]).unwrap();
    alone.made.rules.clear();
    assert!(
        before.changed(alone, connected, &NoDocuments).is_none(),
        "a target of an unknown rule"
    );
    let mut elsewhere = difference(&[], &[(2, 0, true)]).unwrap();
    elsewhere.made.buses.clear();
    elsewhere.made.rules[0].bus = BusId(7);
    assert!(
        before.changed(elsewhere, connected, &NoDocuments).is_none(),
        "a rule of an unknown bus"
    );
    let mut silent = difference(&[(1, 0, true)], &[]).unwrap();
    silent.gone.rules.clear();
    assert!(
        before.changed(silent, connected, &NoDocuments).is_none(),
        "a rule that nothing is told of"
    );
}

fn matched_one_by_one(states: &[State], event: &Event) -> Vec<TargetId> {
    let mut fan = Vec::new();
    for &(id, pattern, enabled) in states {
        let pattern = Pattern::parse(PATTERNS[pattern].as_bytes());
        if enabled && pattern.is_ok_and(|pattern| pattern.matches(event.doc()) == Ok(true)) {
            fan.push(TargetId(id));
        }
    }
    fan.sort_unstable();
    fan
}

proptest! {
    /// Rules come, go, change and move to other places; each snapshot answers for its own moment, also after later
    /// ones have been made from it.
    #[test]
    fn every_snapshot_matches_by_its_own_rules(
        moments in prop::collection::vec(
            prop::collection::btree_map(1..9_i32, (0..PATTERNS.len(), any::<bool>()), 0..8),
            1..6,
        ),
        by_whole in any::<bool>(),
    ) {
        let mut snapshots: Vec<(Vec<State>, Snapshot)> = Vec::new();
        for moment in moments {
            let states: Vec<State> = moment.into_iter().map(|(id, (p, on))| (id, p, on)).collect();
            let changed = match snapshots.last() {
                Some((before, snapshot)) if !by_whole => {
                    snapshot.changed(difference(before, &states).unwrap(), connected, &NoDocuments)
                }
                Some((_, snapshot)) => snapshot.changed(whole(&states).unwrap(), connected, &NoDocuments),
                None => Snapshot::default().changed(whole(&states).unwrap(), connected, &NoDocuments),
            };
            let (snapshot, _) = changed.unwrap();
            prop_assert_eq!(snapshot.targets().count(), states.len());
            snapshots.push((states, snapshot));
        }
        let mut scratch = Scratch::default();
        for (states, snapshot) in &snapshots {
            for event in EVENTS {
                let event = Event::from_stored(event.into()).unwrap();
                let expected = matched_one_by_one(states, &event);
                let rules = snapshot.bus(&bus().name).unwrap();
                prop_assert_eq!(rules.fan_out(&event, &mut scratch), expected);
            }
        }
    }
}
