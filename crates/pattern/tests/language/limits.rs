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
        &nested_groups(limits::MAX_REGEXP_GROUPS + 1, "(", ")"),
    ] {
        refuses_alternative(&format!("{{\"regexp\":\"{bomb}\"}}"), TooComplex);
    }
    // Nothing in it to repeat: cheap, however it is nested.
    assert!(matches(
        r#"{"k":[{"regexp":"(((((){99}){99}){99}){99}){99}"}]}"#,
        r#"{"k":""}"#
    ));
}

fn nested_groups(depth: u32, open: &str, close: &str) -> String {
    let (open, close) = (open.repeat(depth as usize), close.repeat(depth as usize));
    format!("{open}{close}")
}

/// Compiling is recursive in the library; the stack has to be enough where it is small, under as many
/// objects as there can be, and without optimization.
#[test]
fn regexps_of_the_deepest_nesting_compile_on_a_small_stack() {
    let compile = || {
        for (open, close) in [
            ("(", ")"),
            ("x(", ")+|y"),
            ("(a|", ")+b?"),
            ("(x|[ab]", "c)*|~p{Lu}"),
        ] {
            let pattern = |groups| {
                let regexp = nested_groups(groups, open, close);
                let depth = limits::MAX_PATTERN_DEPTH - 3;
                let (objects, ends) = ("{\"a\":".repeat(depth), "}".repeat(depth));
                format!("{objects}[{{\"regexp\":\"{regexp}\"}}]{ends}")
            };
            let deepest = pattern(limits::MAX_REGEXP_GROUPS);
            assert!(Pattern::parse(deepest.as_bytes()).is_ok(), "{deepest}");
            refuses(&pattern(limits::MAX_REGEXP_GROUPS + 1), TooComplex);
        }
    };
    let thread = std::thread::Builder::new().stack_size(1024 * 1024);
    thread.spawn(compile).unwrap().join().unwrap();
}

/// One way of 4,096 to reach the fields through two arrays is right, and which one is tried last
/// depends on the order of the fields; it may not depend on who asks.
#[test]
fn what_is_given_up_is_given_up_by_all() {
    use belfry_pattern::{RuleList, RuleSet, Scratch};

    for exact in 0..13 {
        let members = |i| {
            if i == exact {
                format!("\"f{i}\":[\"x\"]")
            } else {
                format!("\"f{i}\":[{{\"prefix\":\"x\"}}]")
            }
        };
        let rule = format!("{{\"a\":{{{}}}}}", joined(13, members));
        let pattern = Pattern::parse(rule.as_bytes()).unwrap();
        let (mut list, mut set) = (RuleList::default(), RuleSet::new());
        list.add(1, &pattern);
        set.add(1, &pattern);
        for alone in 0..13 {
            let together = (0..13)
                .filter(|i| *i != alone)
                .map(|i| format!("\"f{i}\":\"x\""))
                .collect::<Vec<_>>()
                .join(",");
            let each = joined(13, |i| format!("{{\"f{i}\":\"x\"}}"));
            let event = format!("{{\"a\":[{{{together}}},{{\"f{alone}\":\"x\"}}],\"a\":[{each}]}}");
            let event = event.as_bytes();
            let verdict = pattern.matches(event).unwrap();
            let expected: &[u32] = if verdict { &[1] } else { &[] };
            assert_eq!(list.matches(event).unwrap(), expected, "{exact} {alone}");
            assert_eq!(
                set.matches(event, &mut Scratch::default()).unwrap(),
                expected,
                "{exact} {alone}"
            );
            assert_eq!(pattern.explain(event).unwrap().matched, verdict);
        }
    }
}

/// `[ab]{99}` ninety-nine times over would keep ten thousand places in mind at each character.
#[test]
fn counts_that_multiply() {
    let regexp = |text: &str| format!("{{\"regexp\":\"{text}\"}}");
    for text in [
        "([ab]{32}){32}",
        "a{99}b{99}",
        "(ab[cd]|.~n){2,99}",
        "((a*)+){99}",
    ] {
        let pattern = format!("{{\"k\":[{}]}}", regexp(text));
        assert!(Pattern::parse(pattern.as_bytes()).is_ok(), "{text}");
    }
    for text in [
        "([ab]{32}){33}",
        "[ab]*a([ab]{99}){99}c",
        "((a{11}){11}){11}",
        "(a{99}b{99}){5,6}",
    ] {
        refuses_alternative(&regexp(text), TooComplex);
    }
    refuses_alternative(&regexp(&"a{99}".repeat(11)), TooComplex);
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

#[test]
fn alternatives_times_branches() {
    // 200 branches around a list of so many bytes.
    let pattern = |bytes: usize| {
        let list = format!("[\"{}\"]", "x".repeat(bytes - 4));
        let branches = joined(200, |i| format!("{{\"b\":[{i}]}}"));
        format!("{{\"a\":{list},\"$or\":[{branches}]}}")
    };
    assert!(Pattern::parse(pattern(5_000).as_bytes()).is_ok());
    refuses(&pattern(5_300), TooComplex);
}
