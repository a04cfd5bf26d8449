//! Figures that this program cannot take itself, and numbers of matches that are known.
//!
//! Of engines in other languages: event-ruler (snapshot 337e8d9, Java 17, warm) and quamina
//! (Go 1.23), single-threaded on two virtual cores of an AMD EPYC with the files of
//! `BELFRY_PATTERN_DATA`. Only a run on that machine with those files compares with them.

use crate::alarms::Kind;

/// Thousand events a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Published {
    pub(crate) event_ruler: Option<f64>,
    pub(crate) quamina_go: Option<f64>,
}

/// What is said with every table that shows them.
pub(crate) const NOTE: &str = "event-ruler and quamina Go: noted figures of one machine and the \
    shared files, not measured in this run. On that machine a tokenizer that only skips (`reading \
    only`) did 1,639 k parcels or 2,713 k alarms a second.";

const fn both(event_ruler: f64, quamina_go: f64) -> Published {
    Published {
        event_ruler: Some(event_ruler),
        quamina_go: Some(quamina_go),
    }
}

const fn ruler(event_ruler: f64) -> Published {
    Published {
        event_ruler: Some(event_ruler),
        quamina_go: None,
    }
}

/// For the rule sets of citylots2-like.
pub(crate) fn parcels(set: &str) -> Published {
    match set {
        "EXACT" => both(436.0, 3343.0),
        "WILDCARD" => both(330.0, 2790.0),
        "PREFIX" => both(435.0, 2567.0),
        "PREFIX_EQUALS_IGNORE_CASE" => ruler(438.0),
        "SUFFIX" => ruler(430.0),
        "SUFFIX_EQUALS_IGNORE_CASE" => ruler(425.0),
        "EQUALS_IGNORE_CASE" => both(402.0, 1882.0),
        "NUMERIC" => ruler(274.0),
        "ANYTHING_BUT" => both(270.0, 755.0),
        "ANYTHING_BUT_IGNORE_CASE" => ruler(270.0),
        "ANYTHING_BUT_PREFIX" => ruler(279.0),
        "ANYTHING_BUT_SUFFIX" => ruler(273.0),
        "ANYTHING_BUT_WILDCARD" => ruler(269.0),
        "COMPLEX_ARRAYS" => ruler(61.0),
        "PARTIAL_COMBO" => ruler(83.0),
        "COMBO" => ruler(35.0),
        _ => Published::default(),
    }
}

/// For so many alarm rules.
pub(crate) fn alarms(kind: Kind, rules: usize) -> Published {
    match (kind, rules) {
        (Kind::Exact, 1) => both(551.0, 3874.0),
        (Kind::Exact, 100) => both(477.0, 2993.0),
        (Kind::Exact, 1000) => both(420.0, 1580.0),
        (Kind::Exact, 10_000) => both(353.0, 327.0),
        (Kind::Exact, 100_000) => both(210.0, 5.4),
        (Kind::Mixed, 1) => ruler(511.0),
        (Kind::Mixed, 100) => ruler(245.0),
        (Kind::Mixed, 1000) => ruler(175.0),
        (Kind::Mixed, 10_000) => ruler(92.0),
        (Kind::Mixed, 100_000) => ruler(39.0),
        (Kind::Wild, 100) => ruler(60.0),
        (Kind::Wild, 1000) => ruler(7.6),
        (Kind::Wild, 10_000) => ruler(0.73),
        (Kind::Loose, 10_000) => ruler(224.0),
        (Kind::Loose, 100_000) => ruler(67.0),
        _ => Published::default(),
    }
}

/// How many matches all 20,000 given alarms together have with the first rules of a kind.
pub(crate) const fn alarm_matches(kind: Kind, rules: usize) -> Option<u64> {
    Some(match (kind, rules) {
        (Kind::Exact, 10) => 2,
        (Kind::Exact, 100) => 14,
        (Kind::Exact, 1000) => 96,
        (Kind::Exact, 10_000) => 1045,
        (Kind::Exact, 100_000) => 10_012,
        (Kind::Mixed | Kind::Wild, 10) => 1,
        (Kind::Mixed | Kind::Wild, 100) => 9,
        (Kind::Mixed | Kind::Wild, 1000) => 67,
        (Kind::Mixed | Kind::Wild, 10_000) => 757,
        (Kind::Mixed, 100_000) => 7276,
        (Kind::Wild, 100_000) => 7284,
        (Kind::Loose, 100) => 512,
        (Kind::Loose, 1000) => 5352,
        (Kind::Loose, 10_000) => 53_598,
        (Kind::Loose, 100_000) => 537_872,
        _ => return None,
    })
}
