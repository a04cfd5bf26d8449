//! Reading a request into a type, with mistakes told in the words of the sender.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::{FieldError, JsonLimits, check, nearest, push_pointer};

/// Longest piece of the sender's text in an answer, in characters.
const QUOTE_CHARS_MAX: usize = 64;

/// Reads `text` into `T`, after [`check`] with the standard limits.
///
/// Each error points at the member it is about, also at one that is unknown or missing, and says what would be right.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Vec<FieldError>> {
    check(text, &JsonLimits::default()).map_err(|error| vec![error])?;
    let mut input = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut input).map_err(|error| {
        let mut pointer = String::new();
        let mut last = None;
        for segment in error.path() {
            let segment = match segment {
                Segment::Seq { index } => index.to_string(),
                Segment::Map { key } => key.clone(),
                Segment::Enum { variant } => variant.clone(),
                // serde itself does not know where (names that are no strings): the place before is near enough.
                Segment::Unknown => continue,
            };
            push_pointer(&mut pointer, &segment);
            last = Some(segment);
        }
        let inner = error.into_inner();
        let message = inner.to_string();
        let place = format!(" at line {} column {}", inner.line(), inner.column());
        let message = message.strip_suffix(&place).unwrap_or(&message);
        vec![explain(message, pointer, last.as_deref())]
    })
}

/// Turns one of serde's sentences into ours; sentences of our own types pass as they are.
fn explain(message: &str, mut pointer: String, last: Option<&str>) -> FieldError {
    let detail = if let Some((got, known)) = unknown(message, "unknown field `") {
        // Where serde had to buffer the object (tagged types), its path ends at the object.
        if last != Some(got) {
            push_pointer(&mut pointer, got);
        }
        if known.is_empty() {
            "unknown member; expected none here".to_owned()
        } else {
            format!("unknown member{}", suggestion(got, &known))
        }
    } else if let Some((got, known)) = unknown(message, "unknown variant `") {
        format!("got \"{}\"{}", shorten(got), suggestion(got, &known))
    } else if let Some(name) = quoted(message, "missing field `") {
        push_pointer(&mut pointer, name);
        "this member is required and missing".to_owned()
    } else if let Some(name) = quoted(message, "duplicate field `") {
        format!("`{name}` is given twice, under two of its names; keep one")
    } else if let Some((got, expected)) = mismatch(message) {
        format!(
            "expected {}, got {}",
            expected_kind(expected),
            got_kind(got)
        )
    } else {
        message.to_owned()
    };
    FieldError::new(pointer, detail)
}

fn quoted<'m>(message: &'m str, prefix: &str) -> Option<&'m str> {
    message.strip_prefix(prefix)?.strip_suffix('`')
}

/// The word that was not known, and those that are.
fn unknown<'m>(message: &'m str, prefix: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let rest = message.strip_prefix(prefix)?;
    // From the end: the sender chose the word, and may have put anything into it.
    if let Some((got, known)) = rest.rsplit_once("`, expected ") {
        return Some((got, known.split('`').skip(1).step_by(2).collect()));
    }
    rest.rsplit_once("`, there are no ")
        .map(|(got, _)| (got, Vec::new()))
}

fn suggestion(got: &str, known: &[&str]) -> String {
    let list = known.join(", ");
    let expected = if known.len() == 1 {
        "expected"
    } else {
        "expected one of"
    };
    match nearest(got, known.iter().copied()) {
        Some(word) => format!("; did you mean \"{word}\"? ({expected} {list})"),
        None => format!("; {expected} {list}"),
    }
}

fn mismatch(message: &str) -> Option<(&str, &str)> {
    let rest = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))?;
    rest.rsplit_once(", expected ")
}

fn got_kind(got: &str) -> String {
    match got {
        "map" => "an object".to_owned(),
        "sequence" => "an array".to_owned(),
        "unit value" => "null".to_owned(),
        other => shorten(&other.replace('`', "")),
    }
}

fn expected_kind(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "an object",
        "a borrowed string" | "variant identifier" => "a string",
        other if other.starts_with("struct ") || other.contains("tagged enum") => "an object",
        other if other.starts_with("a tuple") || other.starts_with("an array of") => "an array",
        other if other.starts_with("enum ") || other.starts_with("string or map") => "a string",
        other => other,
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= QUOTE_CHARS_MAX {
        return text.to_owned();
    }
    text.chars()
        .take(QUOTE_CHARS_MAX)
        .chain("...".chars())
        .collect()
}
