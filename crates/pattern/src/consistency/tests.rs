//! Against the definition: every choice is tried.

use proptest::prelude::*;

use super::{Budget, Choice, consistent};
use crate::{
    event::{Found, Mark, Paths},
    matcher::{compile, questions},
    parse::parse,
};

fn agree(a: &[Mark], b: &[Mark]) -> bool {
    a.iter()
        .all(|x| b.iter().all(|y| x.array != y.array || x.index == y.index))
}

/// Section 10 of the language, word for word.
fn by_definition(choices: &[Choice<'_>], chosen: &mut Vec<Option<usize>>) -> bool {
    let Some(choice) = choices.get(chosen.len()) else {
        let marks = |(choice, pick): (&Choice<'_>, &Option<usize>)| {
            pick.map(|i| choice.candidates[i].marks.to_vec())
        };
        let taken: Vec<Vec<Mark>> = choices
            .iter()
            .zip(chosen.iter())
            .filter_map(marks)
            .collect();
        let together = taken.iter().all(|a| taken.iter().all(|b| agree(a, b)));
        return together
            && choices
                .iter()
                .zip(chosen.iter())
                .filter(|(_, pick)| pick.is_none())
                .all(|(choice, _)| {
                    let mut leaves = choice.candidates.iter().filter(|c| c.leaf);
                    !leaves.any(|leaf| taken.iter().all(|marks| agree(leaf.marks, marks)))
                });
    };
    let satisfying = (0..choice.candidates.len()).filter(|&i| choice.candidates[i].satisfies);
    let absent = choice.may_be_absent.then_some(None);
    satisfying.map(Some).chain(absent).any(|pick| {
        chosen.push(pick);
        let found = by_definition(choices, chosen);
        chosen.pop();
        found
    })
}

/// Events full of arrays of objects over few names; dots in names and names repeated make one
/// path lead through several arrays.
fn event() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![Just("1".to_owned()), Just("2".to_owned())];
    let value = leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(","))),
            2 => members(inner),
        ]
    });
    members(value)
}

fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c"), Just("a.b")];
    prop::collection::vec((name, value), 0..4).prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(n, v)| format!("\"{n}\":{v}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

fn pattern() -> impl Strategy<Value = String> {
    let alternatives = prop_oneof![
        Just("[1]"),
        Just("[2]"),
        Just(r#"[{"exists":true}]"#),
        Just(r#"[{"exists":false}]"#),
        Just(r#"[1,{"exists":false}]"#),
        Just(r#"[{"array":{"a":1}},{"exists":false}]"#),
        Just(r#"[{"array":{"b":1}}]"#),
    ];
    let path = prop_oneof![
        Just("a"),
        Just("b"),
        Just("a.a"),
        Just("a.b"),
        Just("a.c"),
        Just("b.a"),
        Just("a.b.a"),
        Just("a.b.c"),
        Just("a.a.b"),
    ];
    prop::collection::vec((path, alternatives), 1..5).prop_map(|fields| {
        let fields: Vec<_> = fields.iter().map(|(p, a)| format!("\"{p}\":{a}")).collect();
        format!("{{{}}}", fields.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn decides_as_the_definition(pattern in pattern(), event in event()) {
        let parsed = parse(pattern.as_bytes()).unwrap();
        let mut paths = Paths::default();
        let branches = compile(&parsed, &mut paths);
        let mut found = Found::default();
        let event = found.read(event.as_bytes(), &paths).unwrap();
        let choices: Vec<Choice<'_>> = questions(&parsed, &branches[0], &event)
            .map(|question| question.choice(&event))
            .collect();
        let combinations: usize = choices.iter().map(|c| c.candidates.len() + 1).product();
        prop_assume!(combinations < 10_000);
        let expected = by_definition(&choices, &mut Vec::new());
        prop_assert_eq!(consistent(&choices, &mut Budget::new()), expected);
        // The short cuts of the matcher come to the same.
        prop_assert_eq!(crate::matcher::holds(&parsed, &branches, &event), expected);
    }
}

#[test]
fn one_array_needs_no_combinations() {
    let mut budget = Budget::new();
    let before = budget.0;
    let fields: Vec<String> = (0..100)
        .map(|i| format!("\"f{i}\":[1,{{\"exists\":false}}]"))
        .collect();
    let pattern = format!("{{\"l\":{{{},\"x\":[3]}}}}", fields.join(","));
    let element: Vec<String> = (0..100).map(|i| format!("\"f{i}\":{}", i % 2)).collect();
    let element = format!("{{{},\"x\":3}}", element.join(","));
    let event = format!("{{\"l\":[{}]}}", vec![element; 50].join(","));
    let parsed = parse(pattern.as_bytes()).unwrap();
    let mut paths = Paths::default();
    let branches = compile(&parsed, &mut paths);
    let mut found = Found::default();
    let event = found.read(event.as_bytes(), &paths).unwrap();
    let choices: Vec<_> = questions(&parsed, &branches[0], &event)
        .map(|q| q.choice(&event))
        .collect();
    assert!(!consistent(&choices, &mut budget));
    assert_eq!(budget.0, before);
}

#[test]
fn a_hostile_event_is_given_up() {
    // Twenty arrays at one path, and as many fields that no element has together.
    let fields: Vec<String> = (0..20).map(|i| format!("\"f{i}\":[1]")).collect();
    let pattern = format!("{{\"l\":{{{},\"g\":[1],\"h\":[1]}}}}", fields.join(","));
    let element: Vec<String> = (0..20).map(|i| format!("\"f{i}\":1")).collect();
    let element = element.join(",");
    let mut arrays = vec![format!("\"l\":[{{{element}}}]"); 20];
    arrays.push("\"l\":[{\"g\":1},{\"h\":1}]".to_owned());
    let event = format!("{{{}}}", arrays.join(","));
    let parsed = parse(pattern.as_bytes()).unwrap();
    let mut paths = Paths::default();
    let branches = compile(&parsed, &mut paths);
    let mut found = Found::default();
    let event = found.read(event.as_bytes(), &paths).unwrap();
    assert!(!crate::matcher::holds(&parsed, &branches, &event));
    let choices: Vec<_> = questions(&parsed, &branches[0], &event)
        .map(|q| q.choice(&event))
        .collect();
    let mut budget = Budget::new();
    assert!(!consistent(&choices, &mut budget));
    assert!(budget.is_spent());
}
