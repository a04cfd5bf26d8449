//! Section 8.

use belfry_pattern::ErrorCode::{BadArgument, EmptyList, EmptyObject, ReservedName};

use crate::{matches, refuses};

#[test]
fn each_object_is_a_branch_with_all_around_it() {
    let pattern = r#"{"s":["x"],"$or":[{"a":[1]},{"b":[2],"c":[3]}]}"#;
    assert!(matches(pattern, r#"{"s":"x","a":1}"#));
    assert!(matches(pattern, r#"{"s":"x","b":2,"c":3}"#));
    assert!(!matches(pattern, r#"{"s":"x","b":2}"#));
    assert!(!matches(pattern, r#"{"a":1}"#));
    let pattern = r#"{"d":{"$or":[{"a":[1]},{"b":[2]}]}}"#;
    assert!(matches(pattern, r#"{"d":{"b":2}}"#) && !matches(pattern, r#"{"b":2}"#));
}

#[test]
fn several_multiply() {
    let pattern =
        r#"{"$or":[{"a":[1]},{"b":[1]}],"$or":[{"c":[1]},{"$or":[{"d":[1]},{"e":[1]}]}]}"#;
    for (event, verdict) in [
        (r#"{"a":1,"c":1}"#, true),
        (r#"{"b":1,"e":1}"#, true),
        (r#"{"a":1,"b":1}"#, false),
        (r#"{"c":1,"d":1}"#, false),
    ] {
        assert_eq!(matches(pattern, event), verdict, "{event}");
    }
}

#[test]
fn within_a_branch_the_later_path_replaces() {
    let outside_later = r#"{"$or":[{"a":["x"]},{"b":["y"]}],"a":["z"]}"#;
    assert!(matches(outside_later, r#"{"a":"z"}"#) && !matches(outside_later, r#"{"a":"x"}"#));
    let inside_later = r#"{"a":["z"],"$or":[{"a":["x"]},{"b":["y"]}]}"#;
    assert!(matches(inside_later, r#"{"a":"x"}"#) && !matches(inside_later, r#"{"a":"z"}"#));
    assert!(matches(inside_later, r#"{"a":"z","b":"y"}"#));
}

#[test]
fn names_like_operators_are_reserved_within() {
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
        "=",
        "<",
        "<=",
        ">",
        ">=",
        "regex",
        "not-wildcard",
        "not-equals-ignore-case",
        "date-after",
        "date-before",
        "date-on-or-after",
        "date-on-or-before",
        "in-date-range",
        "ip-address-in-range",
        "ip-address-not-in-range",
    ] {
        refuses(
            &format!(r#"{{"$or":[{{"a":[1]}},{{"{name}":[1]}}]}}"#),
            ReservedName,
        );
        // Deeper, and outside, they are names.
        assert!(matches(
            &format!(r#"{{"{name}":[1],"$or":[{{"a":[1]}},{{"b":{{"{name}":[1]}}}}]}}"#),
            &format!(r#"{{"{name}":1,"a":1}}"#),
        ));
    }
}

#[test]
fn read_once_more_as_a_name() {
    assert!(matches(r#"{"$or":{"a":[1]}}"#, r#"{"$or":{"a":1}}"#));
    assert!(matches(r#"{"$or":["x","y"]}"#, r#"{"$or":"y"}"#));
    assert!(!matches(r#"{"$or":["x","y"]}"#, r#"{"x":"y"}"#));
    assert!(matches(
        r#"{"$or":[{"prefix":"x"},{"prefix":"y"}]}"#,
        r#"{"$or":"yes"}"#
    ));
    // The whole pattern is read the second way, not one `$or` of several.
    refuses(
        r#"{"$or":["x"],"b":{"$or":[{"a":[1]},{"b":[1]}]}}"#,
        BadArgument,
    );
}

#[test]
fn errors_are_those_of_the_first_reading() {
    refuses(r#"{"$or":[{"a":[1]}]}"#, BadArgument);
    refuses(r#"{"$or":[]}"#, EmptyList);
    refuses(r#"{"$or":[{"a":[1]},{}]}"#, EmptyObject);
    refuses(r#"{"$or":[{"a":[1]},5]}"#, BadArgument);
    refuses(r#"{"$or":{}}"#, BadArgument);
}

#[test]
fn a_scalar_is_an_error_in_both_readings() {
    for scalar in [r#""x""#, "1", "true", "null"] {
        refuses(&format!(r#"{{"$or":{scalar}}}"#), BadArgument);
        refuses(&format!(r#"{{"a":{{"$or":{scalar}}}}}"#), BadArgument);
    }
}
