//! Section 9.

use belfry_pattern::ErrorCode::BareOperator;

use crate::{error, matches, refuses};

#[test]
fn a_bare_scalar_is_a_list_of_one() {
    assert!(matches(r#"{"source":"cvm"}"#, r#"{"source":"cvm"}"#));
    assert!(matches(
        r#"{"a":{"b":5},"c":["x"],"d":null}"#,
        r#"{"a":{"b":5.0},"c":"x","d":null}"#
    ));
    assert!(matches(r#"{"$or":[{"a":true},{"b":"x"}]}"#, r#"{"b":"x"}"#));
    assert!(!matches(r#"{"a":null}"#, r#"{"a":""}"#) && !matches(r#"{"a":""}"#, r#"{"a":null}"#));
}

#[test]
fn a_bare_scalar_under_an_operators_name_is_a_forgotten_list() {
    for name in [
        "prefix",
        "suffix",
        "equals-ignore-case",
        "wildcard",
        "shellstyle",
        "regexp",
        "anything-but",
        "numeric",
        "exists",
        "cidr",
        "contain",
        "contains",
        "array",
        "exactly",
    ] {
        refuses(&format!(r#"{{"name":{{"{name}":"te"}}}}"#), BareOperator);
        refuses(&format!(r#"{{"{name}":true}}"#), BareOperator);
        assert!(matches(
            &format!(r#"{{"name":{{"{name}":["te"]}}}}"#),
            &format!(r#"{{"name":{{"{name}":"te"}}}}"#),
        ));
    }
    refuses(r#"{"name":{"anything-but":{"prefix":"te"}}}"#, BareOperator);
    let error = error(r#"{"name":{"prefix":"te"}}"#);
    assert_eq!(
        (error.line, error.column, error.pointer.as_str()),
        (1, 10, "/name/prefix")
    );
    assert_eq!(error.hint.unwrap(), r#"write [{"prefix":"te"}]"#);
}

#[test]
fn alarm_events_write_the_status_as_a_string() {
    let event = r#"{"time":1760000000000,"status":"1"}"#;
    assert!(matches(r#"{"status":"1"}"#, event) && !matches(r#"{"status":1}"#, event));
    assert!(matches(r#"{"time":1.76e12}"#, event));
}

const COLUMNS: &str = r#"{"columns":[{"name":"id","isKey":false},{"name":"id","isKey":true,"n":1.0,
    "type":{"kind":"int","bits":64},"tags":["a",{"b":1}]},7,"x"],"flat":"id"}"#;

fn columns(argument: &str) -> bool {
    let written = serde_json::to_string(argument).unwrap();
    let in_string = matches(
        &format!(r#"{{"columns":[{{"array":{written}}}]}}"#),
        COLUMNS,
    );
    let as_object = matches(
        &format!(r#"{{"columns":[{{"array":{argument}}}]}}"#),
        COLUMNS,
    );
    assert_eq!(in_string, as_object);
    as_object
}

#[test]
fn array_asks_for_one_element_with_all_members() {
    assert!(columns(r#"{"name":"id","isKey":true}"#));
    assert!(columns(r#"{"n":1,"isKey":true}"#) && !columns(r#"{"n":"1"}"#));
    assert!(!columns(r#"{"n":1,"isKey":false}"#) && !columns(r#"{"other":null}"#));
    // Objects member by member, arrays in full.
    assert!(columns(r#"{"type":{"bits":64}}"#) && !columns(r#"{"type":{"bits":32}}"#));
    assert!(columns(r#"{"tags":["a",{"b":1}]}"#));
    for tags in [r#"["a"]"#, r#"["a",{"b":1},1]"#, r#"[{"b":1},"a"]"#, "[]"] {
        assert!(!columns(&format!(r#"{{"tags":{tags}}}"#)), "{tags}");
    }
}

#[test]
fn array_needs_an_array() {
    assert!(!matches(r#"{"flat":[{"array":{"name":"id"}}]}"#, COLUMNS));
    assert!(!matches(
        r#"{"c":[{"array":{"name":"id"}}]}"#,
        r#"{"c":{"name":"id"}}"#
    ));
    assert!(!matches(
        r#"{"c":[{"array":{"name":"id"}}]}"#,
        r#"{"c":[]}"#
    ));
    assert!(matches(
        r#"{"c":[{"array":{"name":"id"}}]}"#,
        r#"{"c":[[{"name":"id"}]]}"#
    ));
    // No address, no wildcard, no dots: the argument is plain data.
    assert!(!matches(
        r#"{"c":[{"array":{"a":"::1"}}]}"#,
        r#"{"c":[{"a":"0::1"}]}"#
    ));
    assert!(!matches(
        r#"{"c":[{"array":{"a.b":1}}]}"#,
        r#"{"c":[{"a":{"b":1}}]}"#
    ));
}
