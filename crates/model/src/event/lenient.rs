//! The lenient way in, for alarm sources and people with curl; and the way back from the store.

use std::fmt::Write;

use bytes::Bytes;

use super::members::{Head, span_of};
use super::rules::{Level, UNBOUNDED, review};
use super::structured::{members_of, open, problems};
use super::{Event, EventErrorKind, EventErrors, EventLimits, Fill, SPEC_VERSION, timestamp};
use crate::json::Members;

pub(super) fn read(
    body: Bytes,
    fill: &mut dyn Fill,
    limits: &EventLimits,
) -> Result<Event, EventErrors> {
    let (members, checked) = open(&body, limits, "each on its own")?;
    let errors = problems(&members, Level::Lenient, limits);
    if !errors.is_empty() {
        return Err(EventErrors {
            kind: EventErrorKind::NotCloudEvent,
            errors,
        });
    }
    if let Some(doc) = filled(&body, &members, fill) {
        return read_document(doc, checked.plain_names);
    }
    let head = Head::gather(&body, &members, is_cloudevent(&members));
    Ok(head.into_event(body, checked.plain_names))
}

/// Reads a document that has been accepted before. What its names are like is not looked at again.
pub(super) fn read_stored(doc: Bytes) -> Result<Event, EventErrors> {
    read_document(doc, false)
}

/// Reads a document that has been put together from what was checked.
pub(super) fn read_document(doc: Bytes, plain_names: bool) -> Result<Event, EventErrors> {
    let Some(members) = members_of(&doc) else {
        let detail = "the stored event is no JSON object";
        return Err(EventErrors::one(EventErrorKind::NotJson, "", detail));
    };
    let head = Head::gather(&doc, &members, is_cloudevent(&members));
    if head.id.is_empty() || head.source.is_empty() || head.kind.is_empty() {
        let detail = "the stored event has no id, source or type";
        return Err(EventErrors::one(EventErrorKind::NotCloudEvent, "", detail));
    }
    Ok(head.into_event(doc, plain_names))
}

fn is_cloudevent(members: &Members<'_>) -> bool {
    let mut legal = true;
    // Base64 was tried out when the event came in.
    review(members, Level::Strict, false, &UNBOUNDED, &mut |_, _, _| {
        legal = false;
    });
    legal
}

/// The document with `specversion`, `id` and `time` filled in; `None` when nothing is missing. Absent ones go to the
/// front, nulls are replaced where they stand, everything else stays byte for byte.
fn filled(body: &[u8], members: &Members<'_>, fill: &mut dyn Fill) -> Option<Bytes> {
    let find = |wanted: &str| {
        members
            .0
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, raw)| *raw)
    };
    let mut front = String::new();
    let mut in_place = Vec::new();
    for name in ["specversion", "id", "time"] {
        let at = match find(name) {
            Some("null") => find(name).and_then(|raw| span_of(body, raw)),
            Some(_) => continue,
            None => None,
        };
        let text = match name {
            "specversion" => SPEC_VERSION.to_owned(),
            "id" => fill.id(),
            // A clock beyond the year 9999 has no RFC 3339; the event then goes without a time.
            _ => match timestamp(fill.now_ms()) {
                Some(text) => text,
                None => continue,
            },
        };
        let json = serde_json::Value::String(text).to_string();
        match at {
            Some(span) => in_place.push((span, json)),
            None => {
                // Writing to a string cannot fail.
                write!(front, "\"{name}\":{json},").ok();
            }
        }
    }
    if front.is_empty() && in_place.is_empty() {
        return None;
    }
    in_place.sort_by_key(|(span, _)| span.start);
    // The object cannot be empty: source and type are there.
    let brace = body.iter().position(|&b| b == b'{')? + 1;
    let mut doc = Vec::with_capacity(body.len() + front.len() + 96);
    doc.extend_from_slice(body.get(..brace)?);
    doc.extend_from_slice(front.as_bytes());
    let mut at = brace;
    for (span, json) in in_place {
        doc.extend_from_slice(body.get(at..span.start)?);
        doc.extend_from_slice(json.as_bytes());
        at = span.end;
    }
    doc.extend_from_slice(body.get(at..)?);
    Some(Bytes::from(doc))
}
