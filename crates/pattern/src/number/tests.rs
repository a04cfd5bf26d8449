use std::cmp::Ordering;

use proptest::prelude::*;

use super::{Bound, Decimal, Range};

fn value(text: &str) -> Decimal {
    Decimal::parse(text).unwrap_or_else(|| panic!("{text} has no value"))
}

#[test]
fn spelling_does_not_matter() {
    for text in [
        "300",
        "300.0",
        "3.0e2",
        "3E2",
        "3e+2",
        "30000e-2",
        "0.3e3",
        "300.000e0",
    ] {
        assert_eq!(value(text), value("300"), "{text}");
    }
    for text in [
        "0",
        "-0",
        "0.0",
        "-0.0e5",
        "0e999999999999999999999",
        "0e-400",
    ] {
        assert_eq!(value(text), value("0"), "{text}");
    }
}

#[test]
fn nothing_is_rounded() {
    assert_ne!(value("9007199254740993"), value("9007199254740992"));
    assert_ne!(value("300.00000000000001"), value("300"));
    assert!(value("123456789.123456789") > value("123456789.123456788"));
    assert_ne!(value("-5"), value("5"));
}

#[test]
fn what_no_double_holds_has_no_value() {
    for text in [
        "1e400",
        "-1e400",
        "1e-400",
        "1e309",
        "1.8e308",
        "2.4e-324",
        "1e99999999999999999999",
    ] {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
    for text in ["1.7976931348623157e308", "5e-324", "2.5e-324", "-1e308"] {
        assert!(Decimal::parse(text).is_some(), "{text}");
    }
    // Long spellings of ordinary numbers.
    let zeros = "0".repeat(100_000);
    assert_eq!(value(&format!("0.{zeros}5e100001")), value("5"));
    assert_eq!(value(&format!("5{zeros}e-100000")), value("5"));
    assert_eq!(Decimal::parse(&format!("5{zeros}")), None);
}

#[test]
fn ranges_respect_their_ends() {
    let bound = |text, inclusive| {
        Some(Bound {
            value: value(text),
            inclusive,
        })
    };
    let range = Range {
        low: bound("0", false),
        high: bound("5", true),
    };
    let inside = |text| range.contains(&value(text));
    assert!(!inside("0") && !inside("-0") && inside("1e-300") && inside("5.0"));
    assert!(!inside("5.0000000000000000000001") && !inside("-1"));
}

/// An independent reference: both numbers as integers of decimal digits, scaled alike.
fn reference(a: &str, b: &str) -> Ordering {
    fn parts(text: &str) -> (bool, String, i32) {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let lower = text.to_lowercase();
        let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
        let exponent: i32 = exponent.parse().unwrap();
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        (
            negative,
            format!("{whole}{fraction}"),
            exponent - i32::try_from(fraction.len()).unwrap(),
        )
    }
    let ((neg_a, mut a, exp_a), (neg_b, mut b, exp_b)) = (parts(a), parts(b));
    let low = exp_a.min(exp_b);
    a.push_str(&"0".repeat(usize::try_from(exp_a - low).unwrap()));
    b.push_str(&"0".repeat(usize::try_from(exp_b - low).unwrap()));
    let width = a.len().max(b.len());
    let (a, b) = (format!("{a:0>width$}"), format!("{b:0>width$}"));
    let zero = |s: &str| s.bytes().all(|c| c == b'0');
    match (neg_a && !zero(&a), neg_b && !zero(&b)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (true, true) => b.cmp(&a),
        (false, false) => a.cmp(&b),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn compares_as_the_reference(
        a in r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?",
        b in r"-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?([eE][-+]?[0-2])?",
    ) {
        prop_assert_eq!(value(&a).cmp(&value(&b)), reference(&a, &b));
    }

    /// Near neighbours, where generic pairs hardly ever are.
    #[test]
    fn equal_only_if_equal(
        digits in "[1-9][0-9]{0,5}", zeros in 0_usize..4, more in "[01]?", shift in 0_i32..4,
    ) {
        let a = format!("{digits}{}", "0".repeat(zeros));
        let b = format!("{digits}{}{more}e{}", "0".repeat(zeros), -shift);
        prop_assert_eq!(value(&a).cmp(&value(&b)), reference(&a, &b));
        prop_assert_eq!(value(&a) == value(&b), reference(&a, &b) == Ordering::Equal);
    }

    #[test]
    fn has_a_value_as_a_double_has(text in r"-?[0-9]\.[0-9]{0,20}[1-9]e(-3[0-9]{2}|3[0-9]{2})") {
        let double: f64 = text.parse().unwrap();
        prop_assert_eq!(Decimal::parse(&text).is_some(), double.is_finite() && double != 0.0);
    }
}

#[test]
fn an_approximation_is_close() {
    for text in [
        "0",
        "1",
        "-1",
        "0.1",
        "123456.789",
        "-122.43984181038327",
        "1.7976931348623157e308",
        "-1e308",
        "5e-300",
        "99999999999999999999999",
        "12345678",
        "1234567812345678",
    ] {
        let double: f64 = text.parse().unwrap();
        let approximate = value(text).key().approximate();
        assert!(
            (approximate - double).abs() <= double.abs() * 1e-12,
            "{text} {approximate}"
        );
    }
}
