//! Telling alarms apart by their labels, in the words of Alertmanager.

use std::error::Error as _;

use belfry_model::FieldError;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::{Anchored, Input, util::syntax};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alarm::Alarm;

/// Longest name or value of a matcher, in bytes.
pub const MATCHER_BYTES_MAX: usize = 1024;
/// What one expression may take in memory when it is compiled.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// One condition on a label of an alarm (see [`Alarm::label`](crate::Alarm::label)). An absent label is the empty text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How it is compared.
    #[serde(default)]
    pub op: MatcherOp,
    /// What it is compared with; of `=~` and `!~` an expression for the whole value.
    pub value: String,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MatcherOp {
    /// Is it.
    #[default]
    #[serde(rename = "=")]
    Is,
    /// Is not it.
    #[serde(rename = "!=")]
    IsNot,
    /// The expression matches all of it.
    #[serde(rename = "=~")]
    Matches,
    /// The expression does not match all of it.
    #[serde(rename = "!~")]
    MatchesNot,
}

/// A [`Matcher`], ready to be asked.
#[derive(Debug, Clone)]
pub struct Match {
    name: String,
    test: Test,
    /// Whether it holds when the test does not.
    negated: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Is(String),
    Matches(Box<Regex>),
}

impl Matcher {
    /// Reads the expression; pointers are relative to this.
    pub fn compile(&self) -> Result<Match, FieldError> {
        if self.name.is_empty() || self.name.len() > MATCHER_BYTES_MAX {
            let detail = format!("expected the name of a label, 1 to {MATCHER_BYTES_MAX} bytes");
            return Err(FieldError::new("/name", detail));
        }
        if self.value.len() > MATCHER_BYTES_MAX {
            let detail = format!("expected at most {MATCHER_BYTES_MAX} bytes");
            return Err(FieldError::new("/value", detail));
        }
        let (negated, expression) = match self.op {
            MatcherOp::Is => (false, false),
            MatcherOp::IsNot => (true, false),
            MatcherOp::Matches => (false, true),
            MatcherOp::MatchesNot => (true, true),
        };
        let test = if expression {
            Test::Matches(Box::new(whole(&self.value)?))
        } else {
            Test::Is(self.value.clone())
        };
        Ok(Match {
            name: self.name.clone(),
            test,
            negated,
        })
    }
}

/// An expression for the whole of a value, `.` included in what a line break is.
fn whole(text: &str) -> Result<Regex, FieldError> {
    let bad = |error: BuildError| {
        let cause = error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string);
        // A mistake of syntax is drawn below the expression; what it is stands in the last line.
        let why = cause.lines().next_back().unwrap_or_default();
        let why = why.trim_start_matches("error: ");
        FieldError::new("/value", format!("no regular expression: {why}"))
    };
    // By itself first: `a)|(b` must not become one by what is put around it.
    let parsed = regex_automata::meta::Builder::new()
        .configure(limits())
        .build(text);
    parsed.map_err(bad)?;
    regex_automata::meta::Builder::new()
        .configure(limits())
        .syntax(syntax::Config::new().dot_matches_new_line(true))
        .build(&format!("^(?:{text})$"))
        .map_err(bad)
}

fn limits() -> Config {
    Config::new().nfa_size_limit(Some(REGEX_BYTES_MAX))
}

impl Match {
    /// Whether it holds for an alarm.
    pub fn holds(&self, alarm: &Alarm) -> bool {
        self.holds_for(&alarm.label(&self.name))
    }

    /// Whether it holds for a value of its label.
    pub fn holds_for(&self, value: &str) -> bool {
        let found = match &self.test {
            Test::Is(wanted) => wanted == value,
            Test::Matches(regex) => regex.is_match(Input::new(value).anchored(Anchored::Yes)),
        };
        found != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(op: &str, value: &str) -> Result<Match, FieldError> {
        let text = serde_json::json!({"name": "severity", "op": op, "value": value});
        serde_json::from_value::<Matcher>(text).unwrap().compile()
    }

    #[test]
    fn an_expression_is_for_the_whole_value() {
        for (op, wanted, value, holds) in [
            ("=", "critical", "critical", true),
            ("=", "critical", "Critical", false),
            ("!=", "critical", "", true),
            ("=~", "err|crit.*", "critical", true),
            ("=~", "crit", "critical", false),
            ("=~", "a.b", "a\nb", true),
            ("=~", "", "", true),
            ("!~", "err.*", "error", false),
            ("!~", "err.*", "warning", true),
        ] {
            let found = compile(op, wanted).unwrap().holds_for(value);
            assert_eq!(found, holds, "{op} {wanted:?} {value:?}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_told_with_its_place() {
        for (value, why) in [
            ("(", "unclosed group"),
            ("a)|(b", "unopened group"),
            ("a{1000}{1000}", "limit"),
        ] {
            let error = compile("=~", value).unwrap_err();
            assert_eq!(error.pointer, "/value", "{value}");
            assert!(error.detail.contains(why), "{value}: {}", error.detail);
        }
        assert!(compile("=", &"x".repeat(2000)).is_err());
    }
}
