//! What each attribute must be: by the letter of CloudEvents 1.0, and in the lenient form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::members::{Value, moment};
use super::{EventLimits, SPEC_VERSION, parse_timestamp_ms, text};
use crate::json::{FieldError, Members, nearest, pointer_to};

/// Longest piece of the sender's text in an answer, in characters.
const QUOTE_CHARS_MAX: usize = 60;
/// The names with a meaning of their own.
pub(super) const CORE: [&str; 10] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];
/// The attributes that every event has, each with an example.
pub(super) const REQUIRED: [(&str, &str); 4] = [
    ("specversion", "\"1.0\""),
    ("id", "\"order-1001-created\""),
    ("source", "\"/shop/orders\""),
    ("type", "\"com.example.order.created\""),
];
/// Bounds for documents that have been accepted before, perhaps under other bounds.
pub(super) const UNBOUNDED: EventLimits = EventLimits {
    event_bytes: usize::MAX,
    depth: usize::MAX,
    identity_bytes: usize::MAX,
    attribute_bytes: usize::MAX,
    attributes: usize::MAX,
    batch_events: usize::MAX,
    require_valid_json: false,
};

/// Something wrong with a member. Cheap to make: most events of alarm sources are not legal CloudEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// The value is not what is expected here.
    Expected(&'static str),
    /// A required attribute is absent or null; with an example.
    Missing(&'static str),
    /// The same in the lenient form, which needs less than people think.
    MissingLenient(&'static str),
    /// The value has more bytes than this.
    TooLong(usize),
    /// The name cannot be an attribute's.
    Name,
    /// More attributes than this.
    TooMany(usize),
    /// Said in full.
    Plain(&'static str),
}

impl Problem {
    /// Tells the sender about it; `got` is the value as sent.
    pub(super) fn detail(self, name: &str, got: &str) -> String {
        match self {
            Self::Expected(what) => format!("expected {what}, got {}", shorten(got)),
            Self::Missing(example) => format!("this attribute is required, e.g. {example}"),
            Self::MissingLenient(example) => format!(
                "this attribute is required, e.g. {example} (the lenient form needs source and type; data is optional)"
            ),
            Self::TooLong(most) => {
                format!("expected at most {most} bytes; put long text into data")
            }
            Self::TooMany(most) => format!("an event has at most {most} attributes"),
            Self::Plain(what) => what.to_owned(),
            Self::Name => {
                let legal: String = stripped(name);
                let known = nearest(name, CORE).filter(|known| text::legal_name(known));
                let hint = match known {
                    Some(known) => format!("did you mean \"{known}\"?"),
                    None if legal.is_empty() => "e.g. \"myext\"".to_owned(),
                    None => format!("e.g. \"{}\"", shorten(&legal)),
                };
                format!("expected an attribute name of a-z and 0-9 only, {hint}")
            }
        }
    }

    pub(super) fn at(self, name: &str, got: &str) -> FieldError {
        let pointer = if matches!(self, Self::TooMany(_)) {
            String::new()
        } else {
            pointer_to(name)
        };
        FieldError::new(pointer, self.detail(name, got))
    }
}

fn shorten(text: &str) -> String {
    if text.chars().nth(QUOTE_CHARS_MAX).is_none() {
        return text.to_owned();
    }
    text.chars()
        .take(QUOTE_CHARS_MAX)
        .chain("...".chars())
        .collect()
}

/// `name` in lower case without what no name may hold.
pub(super) fn stripped(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// How exactly a document is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// By the letter of CloudEvents.
    Strict,
    /// As the lenient form allows; `specversion`, `id` and `time` may be absent, for they are filled in.
    Lenient,
}

/// Looks at every member and reports what is wrong, with the member's name and its value as sent.
///
/// `decode`: whether base64 is tried out; no need to for a second look.
pub(super) fn review(
    members: &Members<'_>,
    level: Level,
    decode: bool,
    limits: &EventLimits,
    report: &mut dyn FnMut(&str, Problem, &str),
) {
    let find = |wanted: &str| {
        members
            .0
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, raw)| *raw)
    };
    let present = |wanted: &str| find(wanted).is_some_and(|raw| raw != "null");
    for (name, example) in REQUIRED {
        let filled = level == Level::Lenient && matches!(name, "specversion" | "id");
        if !filled && !present(name) {
            let problem = match level {
                Level::Strict => Problem::Missing(example),
                Level::Lenient => Problem::MissingLenient(example),
            };
            report(name, problem, "");
        }
    }
    let content_type = find("datacontenttype").map(Value::of);
    let json = content_type
        .as_ref()
        .and_then(Value::text)
        .is_none_or(text::is_json);
    for &(ref name, raw) in &members.0 {
        let problem = match (&**name, level) {
            ("data", Level::Strict) if !json && !raw.starts_with(['"', 'n']) => {
                Some(Problem::Expected(
                    "a string, because datacontenttype is not JSON (data_base64 for bytes, or datacontenttype \"application/json\")",
                ))
            }
            ("data", _) => None,
            ("data_base64", _) => base64(&Value::of(raw), decode),
            (name, Level::Strict) => strict(name, &Value::of(raw), limits),
            (name, Level::Lenient) => lenient(name, &Value::of(raw), limits),
        };
        if let Some(problem) = problem {
            report(name, problem, raw);
        }
    }
    if present("data") && present("data_base64") {
        report(
            "data_base64",
            Problem::Plain("data and data_base64 exclude each other; send one of them"),
            "",
        );
    }
    if members.0.len() > limits.attributes.saturating_add(2) {
        report("", Problem::TooMany(limits.attributes), "");
    }
}

fn base64(value: &Value<'_>, decode: bool) -> Option<Problem> {
    const WHAT: Problem =
        Problem::Expected("a string of standard base64 with padding, such as \"AQID/w==\"");
    match value {
        Value::Null => None,
        Value::Text(text) => (decode && STANDARD.decode(text.as_bytes()).is_err()).then_some(WHAT),
        _ => Some(WHAT),
    }
}

/// What is wrong with an attribute by the letter. `null` is the same as absent.
pub(super) fn strict(name: &str, value: &Value<'_>, limits: &EventLimits) -> Option<Problem> {
    let identity = limits.identity_bytes;
    match (name, value) {
        (_, Value::Null) if text::legal_name(name) => None,
        ("specversion", value) => version(value),
        ("id", value) => string(
            value,
            "a non-empty string such as \"order-1001-created\"",
            identity,
        ),
        ("type", value) => string(
            value,
            "a non-empty string such as \"com.example.order.created\"",
            identity,
        ),
        ("subject", value) => string(
            value,
            "a non-empty string such as \"order/1001\" (leave it out if there is none)",
            identity,
        ),
        ("source", value) => {
            let what = "a URI-reference such as \"/shop/orders\" or \"https://shop.example/orders\" (other characters as %XX)";
            string(value, what, identity).or_else(|| fits(value, what, text::uri_reference))
        }
        ("time" | "expirytime", value) => fits(
            value,
            "RFC 3339 such as \"2024-01-01T08:00:00+08:00\"",
            |text| parse_timestamp_ms(text).is_some(),
        ),
        ("dataschema", value) => {
            let what = "an absolute URI such as \"https://shop.example/schemas/order.json\"";
            string(value, what, limits.attribute_bytes)
                .or_else(|| fits(value, what, text::absolute_uri))
        }
        ("datacontenttype", value) => media_type(value, limits.attribute_bytes),
        _ if !text::legal_name(name) => Some(Problem::Name),
        ("data", _) => Some(Problem::Plain(
            "the name data is the payload's; choose another for an attribute",
        )),
        (_, value) => extension(value, limits.attribute_bytes),
    }
}

/// What makes an attribute unusable even in the lenient form.
fn lenient(name: &str, value: &Value<'_>, limits: &EventLimits) -> Option<Problem> {
    match (name, value) {
        ("source", value) if *value != Value::Null => string(
            value,
            "a non-empty string such as \"cvm.cloud.tencent\"",
            limits.identity_bytes,
        ),
        ("subject", Value::Text(text)) if text.is_empty() => None,
        ("specversion" | "id" | "type" | "subject", _) => strict(name, value, limits),
        (
            "datacontenttype",
            Value::Text(_) | Value::Bool(_) | Value::Number(_) | Value::Nested(_),
        ) => media_type(value, limits.attribute_bytes),
        ("time", value) if *value != Value::Null && moment(value).is_none() => {
            Some(Problem::Expected(
                "a whole number of milliseconds since 1970 such as 1700000000123, or RFC 3339 such as \"2024-01-01T08:00:00+08:00\"",
            ))
        }
        _ => None,
    }
}

fn version(value: &Value<'_>) -> Option<Problem> {
    (value.text() != Some(SPEC_VERSION)).then_some(Problem::Expected("the string \"1.0\""))
}

fn media_type(value: &Value<'_>, bytes_max: usize) -> Option<Problem> {
    let what = "a media type such as \"application/json\"";
    fits(value, what, text::media_type).or_else(|| string(value, what, bytes_max))
}

fn fits(value: &Value<'_>, what: &'static str, test: impl Fn(&str) -> bool) -> Option<Problem> {
    (!value.text().is_some_and(test)).then_some(Problem::Expected(what))
}

/// A non-empty string of legal characters.
fn string(value: &Value<'_>, what: &'static str, bytes_max: usize) -> Option<Problem> {
    match value.text() {
        None | Some("") => Some(Problem::Expected(what)),
        Some(text) => characters(text, bytes_max),
    }
}

fn characters(text: &str, bytes_max: usize) -> Option<Problem> {
    if text.len() > bytes_max {
        Some(Problem::TooLong(bytes_max))
    } else if text::legal_string(text) {
        None
    } else {
        Some(Problem::Expected(
            "text without control characters (put such text into data)",
        ))
    }
}

fn extension(value: &Value<'_>, bytes_max: usize) -> Option<Problem> {
    match value {
        Value::Null | Value::Bool(_) => None,
        Value::Number(number) if number.parse::<i32>().is_ok() => None,
        Value::Number(_) => Some(Problem::Expected(
            "a whole number from -2147483648 to 2147483647 (send any other number as a string, or in data)",
        )),
        Value::Text(text) => characters(text, bytes_max),
        Value::Nested(_) => Some(Problem::Expected(
            "a string, a whole number, true or false (put arrays and objects into data)",
        )),
    }
}
