//! Telling alarms apart by their labels, in the words of Alertmanager.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
