//! The strict way in: one JSON object, by the letter of CloudEvents 1.0.

use bytes::Bytes;

use super::members::Head;
use super::rules::{Level, review};
use super::{Event, EventErrorKind, EventErrors, EventLimits};
use crate::json::{Checked, FieldError, JsonLimits, Members, check_members};

const LENIENT_HINT: &str = "; or send it as Content-Type: application/json to use the lenient form";

pub(super) fn read(body: Bytes, limits: &EventLimits) -> Result<Event, EventErrors> {
    let (members, checked) = open(&body, limits, "as application/cloudevents-batch+json")?;
    let errors = problems(&members, Level::Strict, limits);
    if errors.is_empty() {
        let head = Head::gather(&body, &members, true);
        return Ok(head.into_event(body, checked.plain_names));
    }
    let mut errors = EventErrors {
        kind: EventErrorKind::NotCloudEvent,
        errors,
    };
    let mut lenient = true;
    review(&members, Level::Lenient, true, limits, &mut |_, _, _| {
        lenient = false;
    });
    if let (true, Some(first)) = (lenient, errors.errors.first_mut()) {
        first.detail.push_str(LENIENT_HINT);
    }
    Err(errors)
}

/// Checks that `body` is one JSON object that can be kept, and lists its members.
pub(super) fn open<'a>(
    body: &'a [u8],
    limits: &EventLimits,
    several: &str,
) -> Result<(Members<'a>, Checked), EventErrors> {
    if body.len() > limits.event_bytes {
        let detail = format!(
            "an event has at most {} bytes, got {}",
            limits.event_bytes,
            body.len()
        );
        return Err(EventErrors::one(EventErrorKind::TooLarge, "", detail));
    }
    let (checked, members) = check_members(
        body,
        &JsonLimits {
            depth: limits.depth,
        },
    )
    .map_err(|error| EventErrors {
        kind: EventErrorKind::NotJson,
        errors: vec![error],
    })?;
    let members = members.ok_or_else(|| {
        let array = body.trim_ascii_start().starts_with(b"[");
        let more = if array {
            format!("; send an array of events {several}")
        } else {
            String::new()
        };
        let detail = format!(
            "expected an event as a JSON object such as {{\"source\":\"/shop\",...}}{more}"
        );
        EventErrors::one(EventErrorKind::NotCloudEvent, "", detail)
    })?;
    Ok((members, checked))
}

/// The members of a text that is a JSON object.
pub(super) fn members_of(doc: &[u8]) -> Option<Members<'_>> {
    serde_json::from_str(std::str::from_utf8(doc).ok()?).ok()
}

/// Everything that is wrong with the members.
pub(super) fn problems(
    members: &Members<'_>,
    level: Level,
    limits: &EventLimits,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    review(members, level, true, limits, &mut |name, problem, got| {
        errors.push(problem.at(name, got));
    });
    errors
}
