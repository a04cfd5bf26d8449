//! Which way in a request takes, and cutting batches.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::members::span_of;
use super::{EventErrorKind, EventErrors, EventLimits, text};

/// How the events of a request are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentMode {
    /// One event as JSON, strict.
    Structured,
    /// A JSON array of strict events.
    Batch,
    /// Attributes in headers, payload in the body.
    Binary,
    /// One event as plain JSON. The caller may read a body that starts with `[` as several.
    Lenient,
}

/// A request's content type is none that events come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct UnsupportedContent {
    /// What was sent, and what is accepted instead.
    pub detail: String,
}

const ACCEPTED: &str = "send application/cloudevents+json (one CloudEvent), application/cloudevents-batch+json \
                        (an array of them), application/json (source and type suffice), or any content type with \
                        the headers ce-specversion, ce-id, ce-source and ce-type";

/// Finds the way in from the header `Content-Type` and from whether the name of any header starts with `ce-`.
pub fn content_mode(
    content_type: Option<&[u8]>,
    has_ce_headers: bool,
) -> Result<ContentMode, UnsupportedContent> {
    let full = String::from_utf8_lossy(content_type.unwrap_or_default());
    let media_type = text::essence(&full).to_ascii_lowercase();
    let unsupported = |what: String| {
        Err(UnsupportedContent {
            detail: format!("{what}; {ACCEPTED}"),
        })
    };
    // The batch type first: the structured one is its prefix.
    for (prefix, mode) in [
        ("application/cloudevents-batch", ContentMode::Batch),
        ("application/cloudevents", ContentMode::Structured),
    ] {
        match media_type.strip_prefix(prefix) {
            Some("+json") => return Ok(mode),
            Some("") => return unsupported(format!("content type {prefix} names no format")),
            Some(_) => {
                let sent: String = media_type.chars().take(100).collect();
                return unsupported(format!("the event format of {sent} is not supported"));
            }
            None => {}
        }
    }
    if has_ce_headers {
        Ok(ContentMode::Binary)
    } else if text::is_json(&media_type) {
        Ok(ContentMode::Lenient)
    } else if media_type.is_empty() {
        unsupported("the request has no content type and no ce- headers".to_owned())
    } else {
        let sent: String = media_type.chars().take(100).collect();
        unsupported(format!(
            "content type {sent} without ce- headers holds no event"
        ))
    }
}

/// Cuts a batch into its events, as slices of the body. Checks the array; what is wrong with an element shows when
/// it is read (put `/INDEX` before its errors with [`EventErrors::under`]).
pub fn split_batch(body: &Bytes, limits: &EventLimits) -> Result<Vec<Bytes>, EventErrors> {
    let not_json = |detail: String| EventErrors::one(EventErrorKind::NotJson, "", detail);
    if body
        .trim_ascii_start()
        .first()
        .is_some_and(|&first| first != b'[')
    {
        let detail = "expected an array of events, such as [{\"specversion\":\"1.0\",...}]; send a single event \
                      as application/cloudevents+json";
        // JSON all the same? Then it would be wrong to say that it is none.
        let kind = match serde_json::from_slice::<&RawValue>(body) {
            Ok(_) => EventErrorKind::NotCloudEvent,
            Err(_) => EventErrorKind::NotJson,
        };
        return Err(EventErrors::one(kind, "", detail));
    }
    let elements: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| not_json(format!("not valid JSON: {error}")))?;
    if elements.len() > limits.batch_events {
        let detail = format!("a batch holds at most {} events", limits.batch_events);
        return Err(EventErrors::one(EventErrorKind::TooLarge, "", detail));
    }
    let slices = elements.iter().filter_map(|raw| {
        let span = span_of(body, raw.get())?;
        (span.end <= body.len()).then(|| body.slice(span.start..span.end))
    });
    Ok(slices.collect())
}
