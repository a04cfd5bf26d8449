//! Limits stop work before it is done.

use belfry_pattern::{
    ErrorCode::{TooComplex, TooLarge},
    Pattern, limits,
};

use crate::{matches, refuses, refuses_alternative};

fn joined(n: usize, member: impl Fn(usize) -> String) -> String {
    (0..n).map(member).collect::<Vec<_>>().join(",")
}

#[test]
fn text() {
    let text = |n: usize| format!("{{\"a\":[\"{}\"]}}", "x".repeat(n - 10));
    assert!(Pattern::parse(text(limits::MAX_PATTERN_BYTES).as_bytes()).is_ok());
    refuses(&text(limits::MAX_PATTERN_BYTES + 1), TooLarge);
}

#[test]
fn depth() {
    let nested = |n: usize| format!("{}[1]{}", "{\"a\":".repeat(n), "}".repeat(n));
    assert!(Pattern::parse(nested(63).as_bytes()).is_ok());
    refuses(&nested(64), TooComplex);
    refuses(&"[".repeat(60_000), TooComplex);
    let deep = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
    refuses_alternative(
        &format!("{{\"array\":{}}}", serde_json::to_string(&deep).unwrap()),
        belfry_pattern::ErrorCode::BadArgument,
    );
}

#[test]
fn fields() {
    let fields = |n| format!("{{{}}}", joined(n, |i| format!("\"f{i}\":[1]")));
    assert!(Pattern::parse(fields(256).as_bytes()).is_ok());
    refuses(&fields(257), TooLarge);
    refuses(&fields(5000), TooLarge);
    // One branch of an `$or` counts with what is around it.
    let with_or = |n| format!("{{\"$or\":[{},{{\"x\":1}}],\"z\":1}}", fields(n));
    assert!(Pattern::parse(with_or(255).as_bytes()).is_ok());
    refuses(&with_or(256), TooLarge);
}

#[test]
fn paths_together() {
    let fields = joined(4000, |i| format!("\"f{i}\":1"));
    refuses(
        &format!("{{\"{}\":{{{fields}}}}}", "n".repeat(20_000)),
        TooLarge,
    );
}

#[test]
fn alternatives() {
    let list = |n| format!("[{}]", joined(n, |i| i.to_string()));
    assert!(Pattern::parse(format!("{{\"a\":{}}}", list(4096)).as_bytes()).is_ok());
    refuses(&format!("{{\"a\":{}}}", list(4097)), TooLarge);
    refuses(
        &format!("{{\"a\":[{{\"anything-but\":{}}}]}}", list(4096)),
        TooLarge,
    );
    refuses(
        &format!("{{\"a\":{},\"b\":{}}}", list(2048), list(2049)),
        TooLarge,
    );
}

#[test]
fn branches_are_counted_before_they_are_made() {
    let ors = |n| joined(n, |i| format!(r#""$or":[{{"a{i}":[1]}},{{"b{i}":[1]}}]"#));
    assert!(Pattern::parse(format!("{{{}}}", ors(8)).as_bytes()).is_ok());
    refuses(&format!("{{{}}}", ors(9)), TooComplex);
    refuses(&format!("{{{}}}", ors(11)), TooComplex);
    // Made one by one, these would be 2 to the power of 1,200.
    refuses(&format!("{{{}}}", ors(1200)), TooComplex);
    let wide = format!(
        "{{\"$or\":[{}]}}",
        joined(257, |i| format!("{{\"a{i}\":1}}"))
    );
    refuses(&wide, TooComplex);
}

#[test]
fn wildcards() {
    refuses_alternative(
        &format!("{{\"wildcard\":\"{}\"}}", "*a".repeat(65)),
        TooComplex,
    );
    // The worst that is allowed, on a value that never fits.
    let pattern = format!("{{\"k\":[{{\"wildcard\":\"{}*b\"}}]}}", "*a".repeat(63));
    assert!(!matches(
        &pattern,
        &format!("{{\"k\":\"{}\"}}", "a".repeat(1_000_000))
    ));
}

#[test]
fn regexps() {
    refuses_alternative(
        &format!("{{\"regexp\":\"{}\"}}", "a".repeat(1025)),
        TooLarge,
    );
    assert!(matches(
        &format!("{{\"k\":[{{\"regexp\":\"{}\"}}]}}", "é".repeat(1024)),
        &format!("{{\"k\":\"{}\"}}", "é".repeat(1024))
    ));
    for bomb in [
        "(((a{99}){99}){99}){99}",
        "((~p{L}{99}){99}){99}",
        "(((a?){99}){99}){99}",
        &("(".repeat(101) + &")".repeat(101)),
    ] {
        refuses_alternative(&format!("{{\"regexp\":\"{bomb}\"}}"), TooComplex);
    }
    // Nothing in it to repeat: cheap, however it is nested.
    assert!(matches(
        r#"{"k":[{"regexp":"(((((){99}){99}){99}){99}){99}"}]}"#,
        r#"{"k":""}"#
    ));
}

#[test]
fn regexps_share_one_budget() {
    // Each is within the limit, all of them together would take hundreds of megabytes.
    let one = r#"{"regexp":"(~p{L}~p{N}){20}"}"#;
    assert!(Pattern::parse(format!("{{\"k\":[{one}]}}").as_bytes()).is_ok());
    refuses(
        &format!("{{\"k\":[{}]}}", vec![one; 1000].join(",")),
        TooComplex,
    );
}
