//! From a request to events, whichever way they come in.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use belfry_app::Fault;
use belfry_app::idempotency::derived_event_id;
use belfry_engine::IdempotencyKey;
use belfry_model::Event;
use belfry_model::event::{
    ContentMode, EventErrorKind, EventErrors, EventLimits, Fill, content_mode, split_batch,
};
use bytes::Bytes;
use uuid::Uuid;

use crate::ApiState;
use crate::extract::{must_be_text, sole};
use crate::problem::Problem;

const CE_PREFIX: &str = "ce-";

/// The way in, with what of the headers belongs to it.
#[derive(Debug)]
pub(crate) struct WayIn {
    mode: ContentMode,
    /// Attributes in binary mode: names without `ce-`, values as bytes, because senders do send UTF-8 in headers.
    attributes: Vec<(String, Vec<u8>)>,
}

impl WayIn {
    pub(super) fn mode(&self) -> ContentMode {
        self.mode
    }
}

/// Finds the way in from the headers, before the body is read.
pub(crate) fn way_in(headers: &HeaderMap) -> Result<WayIn, Problem> {
    let attributes: Vec<_> = headers
        .iter()
        .filter_map(|(name, value)| {
            Some((
                name.as_str().strip_prefix(CE_PREFIX)?.to_owned(),
                value.as_bytes().to_vec(),
            ))
        })
        .collect();
    let content_type = sole(headers, &CONTENT_TYPE)?.map(axum::http::HeaderValue::as_bytes);
    let mode = content_mode(content_type, !attributes.is_empty())
        .map_err(|unsupported| Problem::new("UNSUPPORTED_MEDIA_TYPE", unsupported.detail))?;
    Ok(WayIn { mode, attributes })
}

/// Reads the events of a body. What is wrong with one event of several stands in its place, its pointers beginning
/// with its index.
pub(crate) fn read_events(
    state: &ApiState,
    way: &WayIn,
    content_type: Option<&[u8]>,
    body: Bytes,
    key: Option<&IdempotencyKey>,
) -> Result<Vec<Result<Event, EventErrors>>, Problem> {
    let limits = &state.settings.events;
    let now_ms = state.app.now_ms();
    let lenient = |body: Bytes, index: usize| {
        Event::lenient(body, &mut Filler { key, index, now_ms }, limits)
    };
    if way.mode != ContentMode::Binary {
        must_be_text(&body)?;
    }
    let several = body.trim_ascii_start().first() == Some(&b'[');
    match way.mode {
        ContentMode::Structured => Event::structured(body, limits)
            .map(|event| vec![Ok(event)])
            .map_err(event_problem),
        ContentMode::Binary => Event::binary(content_type, &way.attributes, body, limits)
            .map(|event| vec![Ok(event)])
            .map_err(event_problem),
        ContentMode::Lenient if !several => lenient(body, 0)
            .map(|event| vec![Ok(event)])
            .map_err(event_problem),
        ContentMode::Lenient => each(&body, limits, lenient),
        ContentMode::Batch => each(&body, limits, |body, _| Event::structured(body, limits)),
    }
}

fn each(
    body: &Bytes,
    limits: &EventLimits,
    mut read: impl FnMut(Bytes, usize) -> Result<Event, EventErrors>,
) -> Result<Vec<Result<Event, EventErrors>>, Problem> {
    let parts = split_batch(body, limits).map_err(event_problem)?;
    Ok(parts
        .into_iter()
        .enumerate()
        .map(|(index, part)| read(part, index).map_err(|errors| in_batch(errors, index)))
        .collect())
}

/// Errors of one event, seen from its batch. Line and column count within the event and would mislead.
fn in_batch(mut errors: EventErrors, index: usize) -> EventErrors {
    for error in &mut errors.errors {
        if let Some(at) = error.detail.rfind(" at line ") {
            error.detail.truncate(at);
        }
    }
    errors.under(&format!("/{index}"))
}

/// What an input that is no event is answered with.
pub(crate) fn event_problem(errors: EventErrors) -> Problem {
    let code = match errors.kind {
        EventErrorKind::NotJson => "INVALID_JSON",
        EventErrorKind::NotCloudEvent => "INVALID_CLOUDEVENT",
        EventErrorKind::TooLarge => "TOO_LARGE",
    };
    let detail = match errors.errors.as_slice() {
        [] => "the body holds no event".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    };
    Problem::new(code, detail).with_errors(errors.errors.into_iter().map(Fault::from).collect())
}

/// Fills in what a sender of the lenient form leaves out.
struct Filler<'a> {
    key: Option<&'a IdempotencyKey>,
    index: usize,
    now_ms: i64,
}

impl Fill for Filler<'_> {
    /// With an `Idempotency-Key` the id follows from it, so that the event stays the same event when the request is
    /// sent again after its recorded answer is gone.
    fn id(&mut self) -> String {
        self.key.map_or_else(
            || Uuid::new_v4().to_string(),
            |key| derived_event_id(key, self.index),
        )
    }

    fn now_ms(&mut self) -> i64 {
        self.now_ms
    }
}
