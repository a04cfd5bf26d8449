//! When nobody is to be told of some alarms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::matcher::Matcher;
use crate::window::Weekly;

/// A silence as a client writes it: alarms that match all matchers are not told of while it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Silence {
    /// Which alarms; at least one matcher that does not match the empty text.
    pub matchers: Vec<Matcher>,
    /// From when, RFC 3339. Absent: from when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// Until when, RFC 3339: every silence ends.
    pub ends_at: String,
    /// Only at these times of the week. Absent: all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<Weekly>,
    /// Who made it.
    pub author: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// The kind of its documents, as it stands in paths.
    pub const KIND: &str = "silences";
}
