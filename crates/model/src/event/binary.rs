//! Binary mode: attributes from headers, payload from the body, put together into one document.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::header::percent_decode_header;
use super::lenient::read_document;
use super::members::{KEEP_SPACE, Value};
use super::rules::{Problem, REQUIRED, strict};
use super::{Event, EventErrorKind, EventErrors, EventLimits, text};
use crate::json::{FieldError, JsonLimits, check};

pub(super) fn read(
    content_type: Option<&[u8]>,
    ce_headers: &[(String, Vec<u8>)],
    body: &Bytes,
    limits: &EventLimits,
) -> Result<Event, EventErrors> {
    let head: usize = ce_headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if head.saturating_add(body.len()) > limits.event_bytes {
        let detail = format!(
            "an event has at most {} bytes, got {} in ce- headers and {} in the body",
            limits.event_bytes,
            head,
            body.len()
        );
        return Err(EventErrors::one(EventErrorKind::TooLarge, "", detail));
    }
    if ce_headers.len() > limits.attributes {
        let detail = Problem::TooMany(limits.attributes).detail("", "");
        return Err(EventErrors::one(EventErrorKind::NotCloudEvent, "", detail));
    }
    let mut errors = Vec::new();
    let mut attributes: Vec<(&str, String)> = Vec::with_capacity(ce_headers.len());
    for (name, value) in ce_headers {
        match attribute(name, value, limits) {
            _ if attributes.iter().any(|(earlier, _)| earlier == name) => {
                errors.push(at_header(name, "the header is given twice; send it once"));
            }
            Ok(text) => attributes.push((name, text)),
            Err(error) => errors.push(error),
        }
    }
    for (name, example) in REQUIRED {
        if !ce_headers.iter().any(|(given, _)| given == name) {
            let example = example.trim_matches('"');
            errors.push(at_header(
                name,
                format!("this header is required, e.g. ce-{name}: {example}"),
            ));
        }
    }
    let content_type = media_type(content_type, &mut errors);
    let declared_json = content_type.as_deref().is_some_and(text::is_json);
    // Its place in the document is one level down. A body that cannot be kept as JSON is kept as bytes.
    let depth = limits.depth.saturating_sub(1);
    let json =
        (declared_json || content_type.is_none()).then(|| check(body, &JsonLimits { depth }));
    if let (true, true, Some(Err(error))) = (limits.require_valid_json, declared_json, &json) {
        // An empty body is no data, whatever it is declared as.
        if !body.is_empty() {
            errors.push(error.clone());
        }
    }
    if !errors.is_empty() {
        return Err(EventErrors {
            kind: EventErrorKind::NotCloudEvent,
            errors,
        });
    }
    let as_json = matches!(json, Some(Ok(_)));
    // Attributes have plain names, and so has data that is kept as a string.
    let plain_names = !matches!(json, Some(Ok(checked)) if !checked.plain_names);
    let doc = assemble(&attributes, content_type.as_deref(), body, as_json);
    read_document(Bytes::from(doc), plain_names)
}

fn at_header(name: &str, detail: impl Into<String>) -> FieldError {
    FieldError::new(format!("header:ce-{name}"), detail)
}

/// Decodes one header and holds it against the rules.
fn attribute(name: &str, value: &[u8], limits: &EventLimits) -> Result<String, FieldError> {
    if name == "datacontenttype" {
        return Err(at_header(
            name,
            "in binary mode the content type of the data is the header Content-Type",
        ));
    }
    let text = percent_decode_header(value).map_err(|error| at_header(name, error.to_string()))?;
    match strict(name, &Value::Text(text.as_str().into()), limits) {
        Some(problem) => Err(at_header(
            name,
            problem.detail(name, &format!("\"{text}\"")),
        )),
        None => Ok(text),
    }
}

/// The content type as sent; an empty header is the same as none.
fn media_type(content_type: Option<&[u8]>, errors: &mut Vec<FieldError>) -> Option<String> {
    let sent = content_type?.trim_ascii();
    if sent.is_empty() {
        return None;
    }
    match std::str::from_utf8(sent) {
        Ok(sent) if text::media_type(sent) => Some(sent.to_owned()),
        _ => {
            let detail = "expected a media type such as application/json";
            errors.push(FieldError::new("header:content-type", detail));
            None
        }
    }
}

fn assemble(
    attributes: &[(&str, String)],
    content_type: Option<&str>,
    body: &[u8],
    as_json: bool,
) -> Vec<u8> {
    let mut doc = Vec::with_capacity(body.len() + 64 + attributes.len() * 64);
    let spaced = as_json && body.trim_ascii() != body;
    doc.extend_from_slice(
        if spaced {
            KEEP_SPACE
        } else {
            "{\"specversion\":\"1.0\","
        }
        .as_bytes(),
    );
    for (name, value) in attributes.iter().filter(|(name, _)| *name != "specversion") {
        push_member(&mut doc, name, value);
    }
    if let Some(content_type) = content_type {
        push_member(&mut doc, "datacontenttype", content_type);
    }
    if body.is_empty() {
        doc.pop(); // the comma
    } else if as_json {
        doc.extend_from_slice(b"\"data\":");
        doc.extend_from_slice(body);
    } else if let Some(json) = content_type
        .filter(|t| !text::is_json(t))
        .and_then(|_| json_text(body))
    {
        doc.extend_from_slice(b"\"data\":");
        doc.extend_from_slice(json.as_bytes());
    } else {
        doc.extend_from_slice(b"\"data_base64\":\"");
        doc.extend_from_slice(STANDARD.encode(body).as_bytes());
        doc.push(b'"');
    }
    doc.push(b'}');
    doc
}

/// Names are plain letters and digits; values may hold quotes.
fn push_member(doc: &mut Vec<u8>, name: &str, value: &str) {
    doc.push(b'"');
    doc.extend_from_slice(name.as_bytes());
    doc.extend_from_slice(b"\":");
    doc.extend_from_slice(serde_json::Value::from(value).to_string().as_bytes());
    doc.push(b',');
}

/// The body as a JSON string; `None` when it is no text, or would grow so much that base64 is the shorter form.
fn json_text(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    if body.contains(&0) {
        return None; // U+0000 is refused wherever JSON is read
    }
    let json = serde_json::Value::from(text).to_string();
    (json.len() <= body.len().saturating_mul(2).saturating_add(64)).then_some(json)
}
