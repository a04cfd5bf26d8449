//! Section 10: arrays of objects, and absence.

use crate::matches;

const LIST: &str = r#"{"l":[{"a":1,"b":2},{"a":3,"b":4},{"a":1}]}"#;

#[test]
fn the_table() {
    for (pattern, verdict) in [
        (r#"{"l":{"a":[1],"b":[2]}}"#, true),
        (r#"{"l":{"a":[1],"b":[4]}}"#, false),
        (r#"{"l":{"a":[{"anything-but":[1]}],"b":[2]}}"#, false),
        (r#"{"l":{"a":[1],"b":[{"exists":false}]}}"#, true),
        (r#"{"l":{"a":[3],"b":[{"exists":false}]}}"#, false),
        (r#"{"l":{"a":[{"exists":false}]}}"#, false),
    ] {
        assert_eq!(matches(pattern, LIST), verdict, "{pattern}");
    }
}

#[test]
fn scalar_elements_and_different_arrays_never_conflict() {
    assert!(matches(
        r#"{"t":["q"],"u":["r"]}"#,
        r#"{"t":["p","q"],"u":["r","s"]}"#
    ));
    let event = r#"{"l":[{"a":1},{"a":2}],"m":[{"b":1},{"b":2}]}"#;
    assert!(matches(r#"{"l":{"a":[1]},"m":{"b":[2]}}"#, event));
}

#[test]
fn nested_arrays_restrict_at_every_level() {
    let event = r#"{"x":[{"n":1,"y":[{"a":1,"b":1},{"a":2,"b":2}]},{"n":2,"y":[{"a":3,"b":3}]}]}"#;
    let verdict = |n, a, b| {
        matches(
            &format!(r#"{{"x":{{"n":[{n}],"y":{{"a":[{a}],"b":[{b}]}}}}}}"#),
            event,
        )
    };
    assert!(verdict(1, 2, 2) && verdict(2, 3, 3));
    assert!(!verdict(1, 1, 2) && !verdict(1, 3, 3) && !verdict(2, 1, 1));
    // Directly nested arrays: [["x"],"y"] has x in an element and y in none.
    assert!(matches(
        r#"{"t":["x"],"u":["y"]}"#,
        r#"{"t":[["x"],"y"],"u":[["y"]]}"#
    ));
}

#[test]
fn absence_does_not_depend_on_names() {
    for name in ["aids", "n0", "w"] {
        let pattern = format!(r#"{{"y":{{"n":["Bob"],"{name}":[{{"exists":false}}]}}}}"#);
        let event = format!(r#"{{"y":[{{"n":"Al","{name}":1}},{{"n":"Bob"}}]}}"#);
        assert!(matches(&pattern, &event), "{name}");
        assert!(!matches(
            &pattern,
            &format!(r#"{{"y":[{{"n":"Al"}},{{"n":"Bob","{name}":1}}]}}"#)
        ));
    }
}

#[test]
fn absence_as_one_of_several_alternatives() {
    let pattern = r#"{"l":{"a":[1],"b":[9,{"exists":false}]}}"#;
    assert!(matches(pattern, LIST));
    assert!(!matches(pattern, r#"{"l":[{"a":1,"b":2}]}"#));
    assert!(matches(pattern, r#"{"l":[{"a":1,"b":2},{"a":1,"b":9}]}"#));
    assert!(matches(
        r#"{"a":[{"anything-but":"x"},{"exists":false}]}"#,
        r#"{"b":1}"#
    ));
    assert!(!matches(
        r#"{"a":[{"anything-but":"x"},{"exists":false}]}"#,
        r#"{"a":"x"}"#
    ));
}

#[test]
fn array_takes_part_with_its_own_marks() {
    let event = r#"{"t":[{"n":1,"c":[{"k":"x"}]},{"n":2,"c":[{"k":"y"}]}]}"#;
    let verdict = |n, k: &str| {
        matches(
            &format!(r#"{{"t":{{"n":[{n}],"c":[{{"array":{{"k":"{k}"}}}}]}}}}"#),
            event,
        )
    };
    assert!(verdict(1, "x") && verdict(2, "y") && !verdict(1, "y") && !verdict(2, "x"));
    // The array itself has no mark of its own elements.
    let event = r#"{"c":[{"k":"x","v":1},{"k":"y","v":2}]}"#;
    assert!(matches(r#"{"c":[{"array":{"k":"x"}}],"c.v":[2]}"#, event));
}
