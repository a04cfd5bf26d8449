//! What an explanation says.

use belfry_pattern::{Explanation, LeafOutcome::*, Pattern, limits};

fn explain(pattern: &str, event: &str) -> Explanation {
    Pattern::parse(pattern.as_bytes())
        .unwrap()
        .explain(event.as_bytes())
        .unwrap()
}

#[test]
fn one_leaf_of_each_outcome() {
    for (alternatives, event, outcome, found) in [
        (r#"["x"]"#, r#"{"k":"x"}"#, Matched, &[r#""x""#][..]),
        (
            r#"["x"]"#,
            r#"{"k":["y","z"]}"#,
            ValueDiffers,
            &[r#""y""#, r#""z""#],
        ),
        ("[300]", r#"{"k":"300"}"#, WrongType, &[r#""300""#]),
        (r#"["x"]"#, "{}", FieldAbsent, &[]),
        (r#"["x"]"#, r#"{"k":{"l":"x"}}"#, FieldAbsent, &[]),
        (
            r#"[{"exists":false}]"#,
            r#"{"k":null}"#,
            PresentButMustNot,
            &["null"],
        ),
        (r#"[{"exists":false}]"#, "{}", Matched, &[]),
        (
            r#"[{"array":{"a":1}}]"#,
            r#"{"k":[{"a":2}]}"#,
            ValueDiffers,
            &[],
        ),
        (
            r#"[{"array":{"a":1}}]"#,
            r#"{"k":"a"}"#,
            WrongType,
            &[r#""a""#],
        ),
    ] {
        let explanation = explain(&format!("{{\"k\":{alternatives}}}"), event);
        let leaf = &explanation.leaves[0];
        assert_eq!(
            leaf.outcome, outcome,
            "{alternatives} on {event}: {}",
            leaf.message
        );
        assert_eq!(leaf.found, found);
        assert_eq!(leaf.expected, alternatives);
        assert_eq!(
            (leaf.path.as_str(), leaf.pointer.as_str(), leaf.branch),
            ("k", "/k", 0)
        );
        assert_eq!(leaf.satisfied, outcome == Matched);
        assert!(leaf.message.contains("`k`"));
    }
}

#[test]
fn array_elements_that_do_not_go_together() {
    let event = r#"{"s":"x","l":[{"a":1,"b":2},{"a":3,"b":4}]}"#;
    let explanation = explain(r#"{"s":["x"],"l":{"a":[1],"b":[4]}}"#, event);
    let outcomes: Vec<_> = explanation.leaves.iter().map(|leaf| leaf.outcome).collect();
    assert_eq!(outcomes, [Matched, ArrayInconsistent, ArrayInconsistent]);
    assert!(explanation.reason.unwrap().contains("different elements"));
    let explanation = explain(r#"{"l":{"a":[1],"b":[{"exists":false}]}}"#, event);
    let outcomes: Vec<_> = explanation.leaves.iter().map(|leaf| leaf.outcome).collect();
    assert_eq!(outcomes, [ArrayInconsistent, PresentButMustNot]);
}

#[test]
fn a_failing_field_does_not_spoil_the_others() {
    let event = r#"{"l":[{"a":1,"b":2}]}"#;
    let explanation = explain(r#"{"l":{"a":[1],"b":[2]},"c":[3]}"#, event);
    let outcomes: Vec<_> = explanation.leaves.iter().map(|leaf| leaf.outcome).collect();
    assert_eq!(outcomes, [Matched, Matched, FieldAbsent]);
}

#[test]
fn branches_are_told_apart() {
    let pattern = r#"{"$or":[{"a":1},{"b":[2]}],"c":"x"}"#;
    let explanation = explain(pattern, r#"{"b":2,"c":"x"}"#);
    assert_eq!(explanation.matched_branch, Some(1));
    let leaves: Vec<_> = explanation
        .leaves
        .iter()
        .map(|l| (l.branch, l.pointer.as_str(), l.satisfied))
        .collect();
    assert_eq!(
        leaves,
        [
            (0, "/$or/0/a", false),
            (0, "/c", true),
            (1, "/$or/1/b", true),
            (1, "/c", true)
        ]
    );
    assert_eq!(explanation.leaves[0].expected, "[1]");
    assert!(explanation.reason.unwrap().contains("branch 1 of 2"));
    assert!(
        explain(pattern, "{}")
            .reason
            .unwrap()
            .contains("none of the 2 branches")
    );
}

#[test]
fn size_is_bounded() {
    let value = format!("\"{}\"", "é".repeat(1000));
    let event = format!("{{\"k\":[{}]}}", vec![value.as_str(); 100].join(","));
    let pattern = format!("{{\"k\":[\"{}\"]}}", "y".repeat(10_000));
    let leaf = &explain(&pattern, &event).leaves[0];
    assert_eq!(leaf.found.len(), limits::MAX_FOUND_VALUES);
    assert_eq!(leaf.found[0].chars().count(), limits::MAX_FOUND_CHARS + 3);
    assert_eq!(
        leaf.expected.chars().count(),
        limits::MAX_EXPECTED_CHARS + 3
    );
    let fields: Vec<String> = (0..200).map(|i| format!("\"f{i}\":1")).collect();
    let branches: Vec<String> = (0..200).map(|i| format!("{{\"b{i}\":1}}")).collect();
    let pattern = format!("{{{},\"$or\":[{}]}}", fields.join(","), branches.join(","));
    let explanation = explain(&pattern, "{}");
    assert!(explanation.leaves.len() <= limits::MAX_EXPLAINED_LEAVES);
    assert!(explanation.reason.unwrap().contains("not listed"));
}

#[test]
fn written_in_camel_and_kebab_case() {
    let json = serde_json::to_value(explain(r#"{"k":[300]}"#, r#"{"k":"300"}"#)).unwrap();
    let expected = serde_json::json!({
        "matched": false,
        "matchedBranch": null,
        "leaves": [{
            "path": "k", "pointer": "/k", "branch": 0, "expected": "[300]", "found": ["\"300\""],
            "satisfied": false, "outcome": "wrong-type",
            "message": "`k` is a string in the event (\"300\"); the pattern asks for a number",
        }],
        "reason": null,
    });
    assert_eq!(json, expected);
}
