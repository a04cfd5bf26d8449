use proptest::prelude::*;

use super::Wildcard;
use crate::error::ErrorCode;

fn fits(pattern: &str, value: &str) -> bool {
    Wildcard::parse(pattern, false).unwrap().fits(value)
}

#[test]
fn star_is_any_run() {
    assert!(fits("a*b*c", "abc") && fits("a*b*c", "a1b2c") && !fits("a*b*c", "abcb"));
    assert!(fits("*", "") && fits("*", "x") && fits("", "") && !fits("", "x"));
    assert!(fits("*218", "2607218") && !fits("*218", "2182"));
    assert!(fits("é*", "éa") && fits("*日*", "今日は"));
    // The ends may not overlap.
    assert!(!fits("aba*aba", "aba") && !fits("aba*aba", "ababa") && fits("aba*aba", "abaaba"));
}

#[test]
fn backslash_escapes_star_and_itself() {
    assert!(fits(r"a\*b", "a*b") && !fits(r"a\*b", "axb"));
    assert!(fits(r"a\\b", r"a\b") && fits(r"*\*", "x*") && !fits(r"*\*", "x"));
    assert!(fits(r"\**", "*x") && fits(r"\*\*", "**"));
    for bad in [r"\a", r"a\", "**", "a**b", r"\***", r"\\\"] {
        assert_eq!(
            Wildcard::parse(bad, false).unwrap_err().code,
            ErrorCode::BadWildcard,
            "{bad}"
        );
    }
}

#[test]
fn shellstyle_has_no_escape() {
    let fits = |pattern, value| Wildcard::parse(pattern, true).unwrap().fits(value);
    assert!(fits(r"a\*b", r"a\xb") && !fits(r"a\*b", "a*b") && fits(r"\", r"\"));
    assert_eq!(
        Wildcard::parse("a**b", true).unwrap_err().code,
        ErrorCode::BadWildcard
    );
}

#[test]
fn stars_are_limited() {
    let stars = |n: usize| Wildcard::parse(&"a*".repeat(n), false);
    assert!(stars(64).is_ok());
    assert_eq!(stars(65).unwrap_err().code, ErrorCode::TooComplex);
}

#[test]
fn the_classic_bad_case_is_linear() {
    let wildcard = Wildcard::parse(&format!("{}b", "*a".repeat(63) + "*"), false).unwrap();
    let value = "a".repeat(100_000);
    let mut steps = 0;
    assert!(!wildcard.search(&value, |n| steps += n));
    assert!(steps <= value.len());
    let value = "a".repeat(100_000) + "b";
    let wildcard = Wildcard::parse(&format!("*{}", "ab*".repeat(60)), false).unwrap();
    let mut steps = 0;
    assert!(!wildcard.search(&value, |n| steps += n));
    assert!(steps <= value.len());
}

/// The definition itself, with all its backtracking.
fn naive(pattern: &[char], value: &[char]) -> bool {
    match pattern {
        [] => value.is_empty(),
        ['*', rest @ ..] => (0..=value.len()).any(|n| naive(rest, &value[n..])),
        ['\\', c, rest @ ..] | [c, rest @ ..] => {
            value.first() == Some(c) && naive(rest, &value[1..])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn fits_as_the_definition(
        pattern in r"(\*?([ab]|\\\*|é)){0,6}\*?",
        value in "[ab*é]{0,12}",
    ) {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        prop_assert_eq!(fits(&pattern, &value), naive(&chars(&pattern), &chars(&value)));
    }
}
