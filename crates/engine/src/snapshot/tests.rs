use proptest::prelude::*;

use belfry_model::config::{BusSpec, RuleSpec};
use belfry_model::json::JsonText;

use super::*;

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

/// Names run against the numbers, so that places move.
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
            prop::collection::btree_map(0..8_i32, (0..PATTERNS.len(), any::<bool>()), 0..8),
            1..6,
        ),
    ) {
        let mut snapshots: Vec<(Vec<State>, Arc<BusRules>)> = Vec::new();
        for moment in moments {
            let states: Vec<State> = moment.into_iter().map(|(id, (p, on))| (id, p, on)).collect();
            let rules: anyhow::Result<Vec<Rule>> = states.iter().map(|state| rule(*state)).collect();
            let mut targets = states.iter().map(|(id, ..)| (RuleId(*id), vec![TargetId(*id)])).collect();
            let before = snapshots.last().map(|(_, snapshot)| snapshot);
            let snapshot = compile_bus(bus(), rules.unwrap(), Arc::default(), &mut targets, before);
            snapshots.push((states, snapshot));
        }
        let mut scratch = Scratch::default();
        for (states, snapshot) in &snapshots {
            for event in EVENTS {
                let event = Event::from_stored(event.into()).unwrap();
                let expected = matched_one_by_one(states, &event);
                prop_assert_eq!(snapshot.fan_out(&event, &mut scratch), expected);
            }
        }
    }
}
