//! Sections 1 and 2: leaf values and paths.

use crate::matches;

#[test]
fn fields_are_joined_by_and_alternatives_by_or() {
    let pattern = r#"{"source":["cvm.cloud.tencent"],"data":{"value":[{"numeric":[">",90]}],"zone":["a",{"prefix":"b-"}]}}"#;
    let event = |source, value, zone| {
        format!(r#"{{"more":1,"source":"{source}","data":{{"value":{value},"zone":"{zone}"}}}}"#)
    };
    assert!(matches(pattern, &event("cvm.cloud.tencent", "90.5", "a")));
    assert!(matches(pattern, &event("cvm.cloud.tencent", "1e3", "b-7")));
    assert!(!matches(pattern, &event("cvm.cloud.tencent", "90", "a")));
    assert!(!matches(pattern, &event("cvm.cloud.tencent", "91", "c")));
    assert!(!matches(pattern, &event("cdb.cloud.tencent", "91", "a")));
    assert!(!matches(pattern, r#"{"source":"cvm.cloud.tencent"}"#));
}

#[test]
fn arrays_are_transparent() {
    let has = |event: &str, value: &str| matches(&format!("{{\"t\":[{value}]}}"), event);
    assert!(has(r#"{"t":"x"}"#, r#""x""#));
    for event in [r#"{"t":["x","y"]}"#, r#"{"t":[["x"],"y"]}"#] {
        assert!(has(event, r#""x""#) && has(event, r#""y""#));
    }
    for event in [r#"{"t":[]}"#, r#"{"t":{}}"#, r#"{"t":{"u":1}}"#, "{}"] {
        assert!(!has(event, r#"{"exists":true}"#), "{event}");
    }
    assert!(has(r#"{"t":[{"u":1},5]}"#, "5") && has(r#"{"t":null}"#, "null"));
    assert!(matches(r#"{"t.u":[1]}"#, r#"{"t":[{"u":1},5]}"#));
}

#[test]
fn negation_is_satisfied_by_any_value() {
    assert!(matches(
        r#"{"t":[{"anything-but":"x"}]}"#,
        r#"{"t":["x","y"]}"#
    ));
    assert!(!matches(
        r#"{"t":[{"anything-but":"x"}]}"#,
        r#"{"t":["x","x"]}"#
    ));
}

#[test]
fn names_are_joined_with_dots_on_both_sides() {
    for pattern in [r#"{"a":{"b":["x"]}}"#, r#"{"a.b":["x"]}"#] {
        for event in [
            r#"{"a":{"b":"x"}}"#,
            r#"{"a.b":"x"}"#,
            r#"{"a":[{"b":"x"}]}"#,
        ] {
            assert!(matches(pattern, event), "{pattern} on {event}");
        }
        assert!(!matches(pattern, r#"{"a":"x","b":"x"}"#));
    }
    assert!(matches(r#"{"a.b":{"c":[1]}}"#, r#"{"a":{"b.c":1}}"#));
}

#[test]
fn names_are_compared_exactly_after_unescaping() {
    assert!(matches(r#"{"\u0061":["x"]}"#, r#"{"a":"\u0078"}"#));
    assert!(!matches(r#"{"A":["x"]}"#, r#"{"a":"x"}"#));
    assert!(!matches(r#"{"é":["x"]}"#, r#"{"e\u0301":"x"}"#));
}

#[test]
fn the_empty_name_is_a_name() {
    assert!(matches(r#"{"":["x"]}"#, r#"{"":"x"}"#));
    assert!(matches(r#"{"a":{"":["x"]}}"#, r#"{"a":{"":"x"}}"#));
    assert!(matches(r#"{"":{"a":["x"]}}"#, r#"{"":{"a":"x"}}"#));
    assert!(matches(r#"{"":{"":["x"]}}"#, r#"{"":{"":"x"}}"#));
    assert!(!matches(r#"{"a":["x"]}"#, r#"{"":{"a":"x"}}"#));
    assert!(!matches(r#"{"":{"a":["x"]}}"#, r#"{"a":"x"}"#));
}

#[test]
fn the_later_of_two_equal_paths_counts() {
    assert!(matches(r#"{"a":["x"],"a":["y"]}"#, r#"{"a":"y"}"#));
    assert!(!matches(r#"{"a":["x"],"a":["y"]}"#, r#"{"a":"x"}"#));
    assert!(!matches(
        r#"{"a":{"b":["x"]},"a.b":["y"]}"#,
        r#"{"a":{"b":"x"}}"#
    ));
    // Different paths below one name do not replace each other.
    assert!(!matches(
        r#"{"a":{"b":["x"]},"a":{"c":["y"]}}"#,
        r#"{"a":{"c":"y"}}"#
    ));
}

#[test]
fn a_name_repeated_in_an_event_counts_every_time() {
    for value in ["1", "2"] {
        assert!(matches(&format!("{{\"a\":[{value}]}}"), r#"{"a":1,"a":2}"#));
    }
}
