//! What holds for any pattern and event.
//!
//! Each property is tried with 1,000 cases. `BELFRY_PATTERN_CASES` sets another number:
//!
//! ```sh
//! BELFRY_PATTERN_CASES=1000000 cargo test --release -p belfry-pattern --test language properties
//! ```

use belfry_pattern::{EventText, Pattern, RuleList, RuleSet, Scratch};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::make::Choices;

fn cases() -> u32 {
    let set = std::env::var("BELFRY_PATTERN_CASES").ok();
    set.map_or(1000, |cases| cases.parse().unwrap())
}

const NAMES: [&str; 5] = ["a", "b", "c", "a.b", ""];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i32..12).prop_map(Value::from),
        Just(json!(1.5)),
        "[abAé]{0,3}".prop_map(Value::from),
        prop::sample::select(&["10.0.0.1", "10.1.0.1", "::1", "0::1"][..]).prop_map(Value::from),
    ]
}

fn object(value: impl Strategy<Value = Value>, least: usize) -> impl Strategy<Value = Value> {
    prop::collection::vec((name(), value), least..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn event() -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner, 0),
        ]
    });
    object(value, 0)
}

fn alternative() -> impl Strategy<Value = Value> {
    let text = || "[abAé]{0,2}";
    let some = || "[abAé]{1,2}";
    prop_oneof![
        4 => scalar(),
        1 => any::<bool>().prop_map(|b| json!({"exists": b})),
        1 => text().prop_map(|s| json!({"prefix": s})),
        1 => text().prop_map(|s| json!({"suffix": {"equals-ignore-case": s}})),
        1 => text().prop_map(|s| json!({"equals-ignore-case": s})),
        1 => some().prop_map(|s| json!({"wildcard": format!("*{s}*a")})),
        1 => text().prop_map(|s| json!({"regexp": format!("({s}|b)+")})),
        1 => some().prop_map(|s| json!({"contain": s})),
        1 => some().prop_map(|s| json!({"anything-but": {"suffix": s}})),
        1 => text().prop_map(|s| json!({"anything-but": [s, "a"]})),
        1 => (0..5).prop_map(|n| json!({"anything-but": n})),
        1 => (-2..9).prop_map(|n| json!({"numeric": [">", n, "<=", n + 3]})),
        1 => Just(json!({"cidr": "10.0.0.0/16"})),
        1 => scalar().prop_map(|v| json!({"array": {"a": v}})),
    ]
}

fn pattern() -> impl Strategy<Value = Value> {
    let list = prop::collection::vec(alternative(), 1..3).prop_map(Value::from);
    let field = list.prop_recursive(3, 12, 3, |inner| object(inner, 1));
    let branches = prop::collection::vec(object(field.clone(), 1), 2..4);
    (object(field, 1), prop::option::weighted(0.3, branches)).prop_map(|(mut object, branches)| {
        if let (Value::Object(members), Some(branches)) = (&mut object, branches) {
            members.insert("$or".to_owned(), branches.into());
        }
        object
    })
}

/// The same with the members of every object the other way round.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(reversed).collect(),
        Value::Object(members) => {
            let members: Map<_, _> = members
                .iter()
                .rev()
                .map(|(name, value)| (name.clone(), reversed(value)))
                .collect();
            Value::Object(members)
        }
        scalar => scalar.clone(),
    }
}

/// Whether two fields of the pattern, or two members of the event, come to the same path: then
/// the order counts, as it should.
fn has_joined_names(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(has_joined_names),
        Value::Object(members) => {
            members
                .keys()
                .any(|name| name.contains('.') || name == "$or")
                || members.values().any(has_joined_names)
        }
        _ => false,
    }
}

fn parse(pattern: &Value) -> Pattern {
    Pattern::parse(pattern.to_string().as_bytes()).unwrap_or_else(|e| panic!("{pattern}: {e}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn explaining_agrees_with_matching(pattern in pattern(), event in event()) {
        let (pattern, event) = (parse(&pattern), event.to_string());
        let verdict = pattern.matches(event.as_bytes()).unwrap();
        let explanation = pattern.explain(event.as_bytes()).unwrap();
        prop_assert_eq!(explanation.matched, verdict);
        // A branch holds when all of its leaves are satisfied, and not otherwise.
        let branches = explanation.leaves.last().map_or(0, |leaf| leaf.branch + 1);
        let holds = |b| explanation.leaves.iter().filter(|l| l.branch == b).all(|l| l.satisfied);
        prop_assert_eq!((0..branches).find(|&b| holds(b)), explanation.matched_branch);
        prop_assert_eq!(explanation.matched_branch.is_some(), verdict);
    }

    /// Rules come and go; a clone taken on the way keeps what it had.
    #[test]
    fn a_rule_set_agrees_with_its_patterns(
        patterns in prop::collection::vec(pattern(), 0..12),
        events in prop::collection::vec(event(), 1..4),
        kept in any::<u16>(),
    ) {
        let patterns: Vec<Pattern> = patterns.iter().map(parse).collect();
        let mut rules = RuleSet::new();
        let mut list = RuleList::default();
        for (id, pattern) in (0..).zip(&patterns) {
            rules.add(id, pattern);
            list.add(id, pattern);
        }
        let events: Vec<String> = events.iter().map(ToString::to_string).collect();
        let mut scratch = Scratch::default();
        for event in &events {
            let single = (0..).zip(&patterns).filter(|(_, p)| p.matches(event.as_bytes()).unwrap());
            let single: Vec<u32> = single.map(|(id, _)| id).collect();
            prop_assert_eq!(&list.matches(event.as_bytes()).unwrap(), &single);
            prop_assert_eq!(rules.matches(event.as_bytes(), &mut scratch).unwrap(), single);
        }
        let before = rules.clone();
        for (id, pattern) in (0..).zip(&patterns) {
            if kept >> id & 1 == 0 {
                rules.remove(id);
            } else if id % 3 == 0 {
                rules.add(id + 100, pattern);
            }
        }
        for event in &events {
            let all = list.matches(event.as_bytes()).unwrap();
            let twice = all.iter().filter(|id| *id % 3 == 0).map(|id| id + 100);
            let left = all.iter().copied().chain(twice).filter(|id| kept >> (id % 100) & 1 == 1);
            let left: Vec<u32> = left.collect();
            prop_assert_eq!(rules.matches(event.as_bytes(), &mut scratch).unwrap(), left);
            prop_assert_eq!(before.matches(event.as_bytes(), &mut scratch).unwrap(), all);
        }
    }

    /// The same with up to a hundred rules that share names, values and keys, so that the index
    /// has to tell them apart by ranges and pieces of strings; and with events that repeat names,
    /// have many values at a path and objects in arrays.
    #[test]
    fn a_crowded_rule_set_agrees_with_its_patterns(
        bytes in prop::collection::vec(any::<u8>(), 0..500),
        kept in any::<u64>(),
        with_crowd in prop::bool::weighted(0.3),
        event_count in 1..5,
    ) {
        let mut choices = Choices::new(&bytes);
        let events: Vec<(String, bool)> = (0..event_count).map(|_| choices.event()).collect();
        let mut texts = if with_crowd { choices.crowd() } else { Vec::new() };
        while texts.len() < 100 && !choices.are_over() {
            texts.push(choices.pattern());
        }
        let patterns = texts.iter().filter_map(|text| Pattern::parse(text.as_bytes()).ok());
        let patterns: Vec<(u32, Pattern)> = (0..).zip(patterns).collect();
        let (mut rules, mut list) = (RuleSet::new(), RuleList::default());
        for (id, pattern) in &patterns {
            rules.add(*id, pattern);
            list.add(*id, pattern);
        }
        let mut scratch = Scratch::default();
        let before = rules.clone();
        let is_kept = |id: &u32| kept >> (id % 64) & 1 == 1;
        for (id, pattern) in patterns.iter().filter(|(id, _)| !is_kept(id)) {
            rules.remove(*id);
            if id % 5 == 0 {
                rules.add(id + 1000, pattern);
            }
        }
        for (event, is_unique) in &events {
            let all = list.matches(event.as_bytes()).unwrap();
            let now = |id: &u32| match (is_kept(id), id % 5) {
                (true, _) => Some(*id),
                (false, 0) => Some(id + 1000),
                (false, _) => None,
            };
            let mut left: Vec<u32> = all.iter().filter_map(now).collect();
            left.sort_unstable();
            let text = EventText::check(event.as_bytes()).unwrap();
            prop_assert_eq!(before.matches_text(text, &mut scratch), &all, "{}, {:?}", event, &texts);
            prop_assert_eq!(rules.matches_text(text, &mut scratch), &left, "{}, {:?}", event, &texts);
            if *is_unique {
                let text = text.with_unique_paths();
                prop_assert_eq!(before.matches_text(text, &mut scratch), &all, "{}, {:?}", event, &texts);
                prop_assert_eq!(rules.matches_text(text, &mut scratch), &left, "{}, {:?}", event, &texts);
            }
            for (id, pattern) in patterns.iter().take(3) {
                let verdict = pattern.matches(event.as_bytes()).unwrap();
                prop_assert_eq!(verdict, all.contains(id));
                prop_assert_eq!(pattern.explain(event.as_bytes()).unwrap().matched, verdict);
            }
        }
    }

    #[test]
    fn the_order_of_members_plays_no_part(pattern in pattern(), event in event()) {
        let verdict = parse(&pattern).matches(event.to_string().as_bytes()).unwrap();
        let turned = reversed(&event).to_string();
        prop_assert_eq!(parse(&pattern).matches(turned.as_bytes()).unwrap(), verdict);
        if !has_joined_names(&pattern) {
            let turned = parse(&reversed(&pattern));
            prop_assert_eq!(turned.matches(event.to_string().as_bytes()).unwrap(), verdict);
        }
    }

    #[test]
    fn the_way_of_writing_plays_no_part(pattern in pattern(), event in event()) {
        let verdict = parse(&pattern).matches(event.to_string().as_bytes()).unwrap();
        let wide = serde_json::to_vec_pretty(&pattern).unwrap();
        let event = serde_json::to_vec_pretty(&event).unwrap();
        prop_assert_eq!(Pattern::parse(&wide).unwrap().matches(&event).unwrap(), verdict);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ignored = Pattern::parse(&bytes);
        let pattern = Pattern::parse(br#"{"a":[1]}"#).unwrap();
        let _ignored = pattern.matches(&bytes);
    }

    /// Closer to patterns than arbitrary bytes, so that more of the reading is reached.
    #[test]
    fn damaged_patterns_never_panic(
        pattern in pattern(), event in event(), at in any::<prop::sample::Index>(), byte: u8,
    ) {
        for text in [pattern.to_string(), event.to_string()] {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(damaged) = Pattern::parse(&bytes) {
                let _ignored = damaged.explain(event.to_string().as_bytes());
            }
            let _ignored = parse(&pattern).explain(&bytes);
        }
    }

    #[test]
    fn arbitrary_regexps_and_wildcards_never_panic(
        text in r"[\[\](){}|?*+,.~^$a-c0-9pPLNd\\-]{0,12}", value in "[a-c0-9]{0,6}",
    ) {
        for operator in ["regexp", "wildcard", "shellstyle"] {
            let pattern = json!({"k": [{operator: text}]}).to_string();
            if let Ok(pattern) = Pattern::parse(pattern.as_bytes()) {
                let event = json!({"k": value}).to_string();
                prop_assert!(pattern.matches(event.as_bytes()).is_ok());
            } else if operator == "regexp" {
                let errors = Pattern::parse(pattern.as_bytes()).unwrap_err();
                // What our own reading lets through, the library must take.
                prop_assert!(!errors.as_slice()[0].message.contains("cannot be compiled"));
            }
        }
    }
}
