//! Settings of a gateway.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::settings::object;

/// Settings of a gateway. Templates hold `${$.number}` and the like; see the reference for what there is. Without numbers and
/// people one request is made that names nobody.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewaySettings {
    /// Where the provider listens.
    #[schemars(extend("format" = "uri"))]
    pub(crate) url: String,
    /// The HTTP method.
    #[serde(default)]
    pub(crate) method: GatewayMethod,
    /// Headers, at most 50; values are templates, without secrets of the event's. Values of names that sound secret are sealed and masked.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Parameters that are added to the query of the URL, at most 50; values are templates.
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    /// The body; none with GET.
    #[serde(default)]
    pub(crate) body: Option<Body>,
    /// How many numbers stand in one request (1 to 100), joined by commas in `$.numbers`.
    #[serde(default = "numbers_default")]
    #[schemars(range(min = 1, max = 100))]
    pub(crate) numbers_max: usize,
    /// The most requests a minute (1 to 6,000).
    #[serde(default = "per_minute_default")]
    #[schemars(range(min = 1, max = 6000))]
    pub(crate) per_minute: u32,
    /// The longest `$.text`, in characters (20 to 10,000).
    #[serde(default = "chars_default")]
    #[schemars(range(min = 20, max = 10000))]
    pub(crate) chars_max: usize,
    /// What answers mean. Absent: 200 to 299 is delivered.
    #[serde(default, deserialize_with = "object")]
    pub(crate) answer: Answers,
}

/// The HTTP method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum GatewayMethod {
    /// With a body.
    #[default]
    Post,
    /// With a body.
    Put,
    /// Without a body.
    Get,
}

/// A body.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Body {
    /// A JSON document whose strings are templates.
    Json(Value),
    /// The fields of a form; values are templates.
    Form(BTreeMap<String, String>),
    /// A text (`text/plain`).
    Text(String),
    /// A document (`application/xml`); inserted values are escaped.
    Xml(String),
}

/// What answers mean: the first list counts in which a condition holds, in the order in which they stand here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Answers {
    /// Credentials or settings are wrong: given up, and the target is disabled after three in a row.
    #[schemars(length(max = 20))]
    pub(crate) misconfigured: Vec<Condition>,
    /// Too many: the gateway rests for a minute, or for as long as `Retry-After` says.
    #[schemars(length(max = 20))]
    pub(crate) throttled: Vec<Condition>,
    /// To be tried again.
    #[schemars(length(max = 20))]
    pub(crate) retry: Vec<Condition>,
    /// Given up.
    #[schemars(length(max = 20))]
    pub(crate) permanent: Vec<Condition>,
    /// Delivered. Absent: 200 to 299.
    #[schemars(length(max = 20))]
    pub(crate) delivered: Vec<Condition>,
    /// The path of the provider's own words in a JSON answer.
    pub(crate) words: Option<String>,
}

/// A condition on an answer; what is given must all hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Condition {
    /// The HTTP status is one of these.
    #[serde(default)]
    pub(crate) status: Vec<u16>,
    /// The path of a value in a JSON answer, such as `$.code`.
    #[serde(default)]
    pub(crate) path: Option<String>,
    /// The value is one of these; `0` and `"0"` are the same.
    #[serde(default)]
    pub(crate) is: Vec<Value>,
    /// The body holds this text.
    #[serde(default)]
    pub(crate) holds: Option<String>,
}

const fn numbers_default() -> usize {
    1
}
const fn per_minute_default() -> u32 {
    60
}
const fn chars_default() -> usize {
    500
}
