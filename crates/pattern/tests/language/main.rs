//! The pattern language as its users see it: patterns and events in, verdicts and errors out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_raw_string_hashes,
    reason = "helpers of tests fail by panicking, and rows of a list are written alike"
)]

mod arrays;
mod dialect;
mod documentation;
mod errors;
mod explain;
mod hostile;
mod limits;
mod make;
mod operators;
mod or;
mod paths;
mod properties;
mod regexps;
mod rule_set;
mod truth_table;

use belfry_pattern::{ErrorCode, Pattern, PatternError};

/// The verdict, with the explanation made to agree on the way.
#[track_caller]
fn matches(pattern: &str, event: &str) -> bool {
    let parsed = match Pattern::parse(pattern.as_bytes()) {
        Ok(parsed) => parsed,
        Err(e) => panic!("{pattern} is refused: {e}"),
    };
    let verdict = parsed.matches(event.as_bytes()).unwrap();
    assert_eq!(
        parsed.explain(event.as_bytes()).unwrap().matched,
        verdict,
        "{pattern} on {event}"
    );
    verdict
}

/// Whether the alternatives, given as a JSON list, match a member `k` of this value.
#[track_caller]
fn fits(alternatives: &str, value: &str) -> bool {
    matches(
        &format!("{{\"k\":{alternatives}}}"),
        &format!("{{\"k\":{value}}}"),
    )
}

/// The first error.
#[track_caller]
fn error(pattern: &str) -> PatternError {
    match Pattern::parse(pattern.as_bytes()) {
        Ok(_) => panic!("{pattern} is accepted"),
        Err(errors) => errors.into_vec().swap_remove(0),
    }
}

#[track_caller]
fn refuses(pattern: &str, code: ErrorCode) {
    let error = error(pattern);
    assert_eq!(error.code, code, "{pattern}: {error}");
}

/// Refuses `{"k":[ALTERNATIVE]}`.
#[track_caller]
fn refuses_alternative(alternative: &str, code: ErrorCode) {
    refuses(&format!("{{\"k\":[{alternative}]}}"), code);
}
