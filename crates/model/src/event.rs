//! CloudEvents in every accepted form, as one JSON document.
//!
//! However an event arrives (structured, batch, binary or the lenient form that alarm sources use), it is kept as
//! ONE JSON object in the shape of a structured `CloudEvent`. Whatever the sender wrote as JSON stays byte for byte
//! as it was written: numbers keep their spelling, members their order.
//!
//! | module | owns |
//! |---|---|
//! | `structured`, `lenient`, `binary` | the three ways in |
//! | `content` | which way in a request takes; cutting batches |
//! | `members`, `rules` | reading the top level, and what each attribute must be |
//! | `text` | the alphabets: names, URIs, media types, times |
//! | `header` | attribute values as HTTP header text |
//! | `deliver` | the ways out: payload, attributes, legal structured form |
//! | `trace` | `traceparent` |

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::json::FieldError;

mod binary;
mod content;
mod deliver;
mod header;
mod lenient;
mod members;
mod rules;
mod structured;
mod text;
mod trace;

#[cfg(test)]
mod tests;

pub use content::{ContentMode, UnsupportedContent, content_mode, split_batch};
pub use header::{InvalidHeaderText, percent_decode_header, percent_encode};
pub use text::{parse_timestamp_ms, timestamp};
pub use trace::{TraceParent, parse_traceparent, valid_traceparent};

use members::Head;

/// The version every event has.
pub const SPEC_VERSION: &str = "1.0";

/// An accepted event. Cheap to clone.
#[derive(Clone)]
pub struct Event {
    doc: Bytes,
    head: Arc<Head>,
    plain_names: bool,
}

impl PartialEq for Event {
    /// The same document. What else is known of it follows from that.
    fn eq(&self, other: &Self) -> bool {
        self.doc == other.doc && self.head == other.head
    }
}

impl Eq for Event {}

/// The payload of an event, exactly the bytes that the sender sent as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The bytes; empty when there is no payload.
    pub bytes: Cow<'a, [u8]>,
    /// What the bytes are. `application/json` when the sender gave a JSON value and said nothing.
    pub content_type: Option<Cow<'a, str>>,
    /// Whether the event has a payload at all; an event without is not the same as one with an empty one.
    pub present: bool,
}

/// An attribute's value in the canonical string form (not yet encoded for a header).
pub type AttributeText<'a> = Cow<'a, str>;

/// What the lenient form takes from the surroundings when the sender leaves it out.
pub trait Fill {
    /// A new id.
    fn id(&mut self) -> String;
    /// The time, in milliseconds since 1970.
    fn now_ms(&mut self) -> i64;
}

/// Bounds of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLimits {
    /// Most bytes of one event as it is sent (256 KiB).
    pub event_bytes: usize,
    /// Most levels of arrays and objects (64); more than 127 are never read.
    pub depth: usize,
    /// Most bytes of `id`, `source`, `type` and `subject`, each (1 KiB).
    pub identity_bytes: usize,
    /// Most bytes of any other attribute (8 KiB). Extra members of the lenient form are bounded by the event only.
    pub attribute_bytes: usize,
    /// Most attributes of an event (128).
    pub attributes: usize,
    /// Most events of a batch (1,000).
    pub batch_events: usize,
    /// Whether a binary-mode body that is declared JSON must be JSON (no: it is kept as bytes).
    pub require_valid_json: bool,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self {
            event_bytes: 256 * 1024,
            depth: 64,
            identity_bytes: 1024,
            attribute_bytes: 8 * 1024,
            attributes: 128,
            batch_events: 1000,
            require_valid_json: false,
        }
    }
}

/// What an input is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventErrorKind {
    /// The body is no JSON that can be kept: syntax, UTF-8, repeated names, depth.
    NotJson,
    /// It can be read, but is no event.
    NotCloudEvent,
    /// More bytes or events than allowed.
    TooLarge,
}

/// Why an input is no event: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventErrors {
    /// The kind of the mistakes.
    pub kind: EventErrorKind,
    /// Every mistake, at least one.
    pub errors: Vec<FieldError>,
}

impl EventErrors {
    fn one(kind: EventErrorKind, pointer: &str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            errors: vec![FieldError::new(pointer, detail)],
        }
    }

    /// The same errors seen from further out, such as `/3` for the fourth event of a batch.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.errors = self
            .errors
            .into_iter()
            .map(|error| error.under(prefix))
            .collect();
        self
    }
}

impl fmt::Display for EventErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.errors.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for EventErrors {}

impl Event {
    /// Reads a structured event (`application/cloudevents+json`) by the letter of CloudEvents 1.0.
    pub fn structured(body: Bytes, limits: &EventLimits) -> Result<Self, EventErrors> {
        structured::read(body, limits)
    }

    /// Reads the lenient form (`application/json`).
    ///
    /// Only `source` and `type` are needed; `data` is optional too. `id`, `time` and `specversion` are filled in
    /// when absent or null. `time` may be RFC 3339 or a whole number of milliseconds since 1970. Any other member
    /// is kept as it is and where it is.
    pub fn lenient(
        body: Bytes,
        fill: &mut dyn Fill,
        limits: &EventLimits,
    ) -> Result<Self, EventErrors> {
        lenient::read(body, fill, limits)
    }

    /// Reads a binary-mode event: attributes from `ce_headers` (names in lower case, without `ce-`), payload from
    /// the body.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the same shape as the other ways in"
    )]
    pub fn binary(
        content_type: Option<&[u8]>,
        ce_headers: &[(String, Vec<u8>)],
        body: Bytes,
        limits: &EventLimits,
    ) -> Result<Self, EventErrors> {
        binary::read(content_type, ce_headers, &body, limits)
    }

    /// Reads back a document that one of the other three made. Cheap: looks at the top level only.
    pub fn from_stored(doc: Bytes) -> Result<Self, EventErrors> {
        lenient::read_stored(doc)
    }

    /// The event as one JSON object.
    pub fn doc(&self) -> &Bytes {
        &self.doc
    }

    /// Whether it is known that no name in the document has a dot or an escape in it. Not known of an event that was
    /// read back from the store.
    pub fn has_plain_names(&self) -> bool {
        self.plain_names
    }

    /// The sender's id; with [`Self::source`] it tells repeats.
    pub fn id(&self) -> &str {
        &self.head.id
    }

    /// Where it happened.
    pub fn source(&self) -> &str {
        &self.head.source
    }

    /// What happened: the attribute `type`.
    pub fn kind(&self) -> &str {
        &self.head.kind
    }

    /// What it happened to.
    pub fn subject(&self) -> Option<&str> {
        self.head.subject.as_deref()
    }

    /// When it is no longer worth delivering (extension `expirytime`), in milliseconds since 1970.
    pub fn expires_at_ms(&self) -> Option<i64> {
        self.head.expires_at_ms
    }

    /// The value of the member `status` as it stands in the document (JSON): events of alarms say by it whether they fire.
    pub fn status(&self) -> Option<&str> {
        self.head.status.map(|status| status.of(&self.doc))
    }

    /// The producer's trace (extension `traceparent`); an invalid one counts as absent.
    pub fn traceparent(&self) -> Option<&str> {
        self.head.traceparent.as_deref()
    }

    /// Whether the document is a valid CloudEvents 1.0 event by the letter.
    pub fn is_cloudevent(&self) -> bool {
        self.head.cloudevent
    }

    /// The payload.
    pub fn payload(&self) -> Payload<'_> {
        deliver::payload(self)
    }

    /// Every attribute but `datacontenttype`, under a legal name and in canonical string form: what binary mode
    /// sends as headers. Non-scalar members come as compact JSON text, nulls not at all.
    pub fn attributes(&self) -> Vec<(Cow<'_, str>, AttributeText<'_>)> {
        deliver::attributes(self)
    }

    /// The event in a structured form that every receiver can read: the document itself when it is one
    /// already (and holds no nulls), else its closest legal relative.
    pub fn to_cloudevent(&self) -> Bytes {
        deliver::to_cloudevent(self)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No payload: it may hold what must not stand in a log.
        f.debug_struct("Event")
            .field("id", &self.head.id)
            .field("source", &self.head.source)
            .field("type", &self.head.kind)
            .field("subject", &self.head.subject)
            .field("cloudevent", &self.head.cloudevent)
            .field("bytes", &self.doc.len())
            .finish_non_exhaustive()
    }
}
