//! The ways out: the payload as it came, attributes for headers, and the closest legal event.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::members::{Data, Value, millis, text_of};
use super::rules::{CORE, UNBOUNDED, strict, stripped};
use super::structured::members_of;
use super::{AttributeText, Event, Payload, text, timestamp};
use crate::json::Members;

/// Longest name made up for a member whose own name is not legal.
const NAME_CHARS_MAX: usize = 40;

pub(super) fn payload(event: &Event) -> Payload<'_> {
    let doc = event.doc();
    let head = &event.head;
    let declared = head.content_type.map(|span| text_of(span.of(doc)));
    let (bytes, assumed) = match head.data {
        Data::None => (Cow::Borrowed(&[][..]), None),
        Data::Json(span) => (
            Cow::Borrowed(span.of(doc).as_bytes()),
            Some("application/json"),
        ),
        Data::Text(span) => match text_of(span.of(doc)) {
            Cow::Borrowed(text) => (Cow::Borrowed(text.as_bytes()), None),
            Cow::Owned(text) => (Cow::Owned(text.into_bytes()), None),
        },
        Data::Base64(span) => {
            let text = text_of(span.of(doc));
            (
                Cow::Owned(STANDARD.decode(text.as_bytes()).unwrap_or_default()),
                None,
            )
        }
    };
    Payload {
        bytes,
        content_type: declared.or_else(|| assumed.map(Cow::Borrowed)),
        present: head.data != Data::None,
    }
}

/// An attribute that may be sent.
enum Legal<'a> {
    /// `true`, `false` or a whole number: the same text in JSON and in a header.
    Plain(&'a str),
    /// A string.
    Text(Cow<'a, str>),
}

pub(super) fn attributes(event: &Event) -> Vec<(Cow<'_, str>, AttributeText<'_>)> {
    let Some(members) = members_of(event.doc()) else {
        return Vec::new();
    };
    legal(members)
        .into_iter()
        .filter_map(|(name, slot)| match slot {
            Slot::Attribute(Legal::Plain(text)) => Some((name, Cow::Borrowed(text))),
            Slot::Attribute(Legal::Text(text)) => Some((name, text)),
            Slot::Data | Slot::Base64 | Slot::ContentType(_) => None,
        })
        .collect()
}

pub(super) fn to_cloudevent(event: &Event) -> Bytes {
    let (doc, head) = (event.doc(), &event.head);
    if head.cloudevent && !head.nulls {
        return doc.clone();
    }
    let Some(members) = members_of(doc) else {
        return doc.clone();
    };
    let mut out = String::with_capacity(doc.len() + 64);
    out.push('{');
    let push = |out: &mut String, name: &str, json: &str| {
        if out.len() > 1 {
            out.push(',');
        }
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
        out.push_str(json);
    };
    let json_type = head
        .content_type
        .is_none_or(|span| text::is_json(&text_of(span.of(doc))));
    for (name, slot) in legal(members) {
        match slot {
            Slot::Attribute(Legal::Plain(json)) => push(&mut out, &name, json),
            Slot::Attribute(Legal::Text(text)) => push(&mut out, &name, &json_string(&text)),
            Slot::ContentType(raw) => push(&mut out, &name, raw),
            Slot::Data => match head.data {
                // Under a content type that is not JSON, only a string is legal.
                Data::Json(span) if !json_type => {
                    push(&mut out, "data", &json_string(&compact(span.of(doc))));
                }
                Data::Json(span) | Data::Text(span) => push(&mut out, "data", span.of(doc)),
                Data::Base64(_) | Data::None => {}
            },
            Slot::Base64 => {
                if let Data::Base64(span) = head.data {
                    push(&mut out, "data_base64", span.of(doc));
                }
            }
        }
    }
    out.push('}');
    Bytes::from(out)
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A member of the legal form, at its old place.
enum Slot<'a> {
    Attribute(Legal<'a>),
    /// The content type, as JSON.
    ContentType(&'a str),
    Data,
    Base64,
}

/// The members under legal names and with legal values, without nulls and what cannot be made legal.
fn legal(members: Members<'_>) -> Vec<(Cow<'_, str>, Slot<'_>)> {
    let odd = |name: &str| !text::legal_name(name) && name != "data_base64";
    let mut taken = Vec::new();
    if members.0.iter().any(|(name, _)| odd(name)) {
        // Names that are legal as they are come first, so that no other member can take them.
        taken.extend(CORE.map(str::to_owned));
        let legal = members.0.iter().filter(|(name, _)| !odd(name));
        taken.extend(legal.map(|(name, _)| name.to_string()));
    }
    let mut out = Vec::with_capacity(members.0.len());
    for (name, raw) in members.0 {
        let slot = match &*name {
            "data" => Slot::Data,
            "data_base64" => Slot::Base64,
            _ if raw == "null" => continue,
            "datacontenttype" => Slot::ContentType(raw),
            name => match legal_value(name, raw) {
                Some(value) => Slot::Attribute(value),
                None => continue,
            },
        };
        let name = if odd(&name) {
            Cow::Owned(legal_name(&name, &mut taken))
        } else {
            name
        };
        out.push((name, slot));
    }
    out
}

/// A legal name near `name` that is not `taken` yet.
fn legal_name(name: &str, taken: &mut Vec<String>) -> String {
    let mut wanted: String = stripped(name);
    wanted.truncate(NAME_CHARS_MAX);
    if wanted.is_empty() {
        wanted.push_str("ext");
    }
    let free = |candidate: &String| !taken.contains(candidate);
    let found = std::iter::once(wanted.clone())
        .chain((2..taken.len() + 3).map(|n| format!("{wanted}{n}")))
        .find(free)
        .unwrap_or_default();
    taken.push(found.clone());
    found
}

/// A legal value near `raw`; `None` when there is none.
fn legal_value<'a>(name: &str, raw: &'a str) -> Option<Legal<'a>> {
    let value = Value::of(raw);
    // A made-up name counts as an extension.
    let rule = if text::legal_name(name) { name } else { "ext" };
    let fits = strict(rule, &value, &UNBOUNDED).is_none();
    let text = match (rule, value) {
        (_, Value::Null) => return None,
        (_, Value::Bool(raw) | Value::Number(raw)) if fits => return Some(Legal::Plain(raw)),
        (_, Value::Text(text)) if fits => text,
        ("time" | "expirytime", value) => Cow::Owned(timestamp(millis(&value)?)?),
        ("source", Value::Text(text)) => Cow::Owned(text::to_uri_reference(&text)),
        ("subject", Value::Text(text)) if text.is_empty() => return None,
        // Nothing near is an absolute URI.
        ("dataschema", _) => return None,
        (_, Value::Text(text)) => Cow::Owned(printable(&text)),
        (_, Value::Bool(raw) | Value::Number(raw)) => Cow::Borrowed(raw),
        (_, Value::Nested(raw)) => Cow::Owned(compact(raw)),
    };
    Some(Legal::Text(text))
}

/// `text` without forbidden characters: white space becomes a blank, anything else the replacement character.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if !text::forbidden(c) => c,
            c if c.is_whitespace() => ' ',
            _ => char::REPLACEMENT_CHARACTER,
        })
        .collect()
}

/// JSON without white space between its tokens; in strings, characters that no attribute may hold become escapes.
/// Works on the text, because reading it into values would change the spelling of numbers.
fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if inside {
            (inside, escaped) = match c {
                _ if escaped => (true, false),
                '\\' => (true, true),
                '"' => (false, false),
                _ => (true, false),
            };
            if text::forbidden(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    write!(out, "\\u{unit:04x}").ok();
                }
            } else {
                out.push(c);
            }
        } else if !c.is_ascii_whitespace() {
            inside = c == '"';
            out.push(c);
        }
    }
    out
}
