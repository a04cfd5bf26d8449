//! The one way in: from a request to what becomes of it.

use std::fmt;

use belfry_model::FieldError;
use bytes::Bytes;

/// A request as it came in.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// Names in lower case; values that are no UTF-8 are left out by the caller.
    pub headers: Vec<(String, String)>,
    /// The header `content-type`.
    pub content_type: Option<String>,
    /// What stands behind the `?` of the address, undecoded. `format=` names the format where the source leaves it
    /// open.
    pub query: Option<String>,
    /// The body, whose size the caller has bounded.
    pub body: Bytes,
    /// When it came, in milliseconds since 1970.
    pub received_at_ms: i64,
}

/// A source, ready to read requests. Cheap to share behind an `Arc`.
#[derive(Debug, Clone)]
pub struct Source {}

/// What a request was, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The format's name.
    pub format: &'static str,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// These events are to be published, each a document for [`Event::lenient`](belfry_model::Event::lenient). Their
    /// `time` may be absent. At least one.
    Events(Vec<Bytes>),
    /// A topic asks to confirm the subscription. Signature and address have been checked; whether the address is
    /// fetched or shown is the source's `handshake`. Nothing is published.
    Handshake {
        /// The address that confirms it, at the vendor.
        confirm_url: String,
        /// The topic.
        topic: String,
    },
    /// Nothing to publish; this JSON is the answer (GitHub's ping, Sentry's installation).
    Answered(serde_json::Value),
    /// Nothing is known yet: the certificate at this address (checked to be the vendor's) decides. Fetch it and read
    /// again with it.
    NeedsCertificate {
        /// Where the certificate is.
        url: String,
    },
}

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Whose fault it is.
    pub kind: RefusedKind,
    /// The format, as far as it is known.
    pub format: Option<&'static str>,
    /// What is wrong, with JSON pointers into the body; at least one.
    pub errors: Vec<FieldError>,
}

/// Whose fault a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    /// The body is not what the format says (400; kept for the operator).
    Body,
    /// The sender is not who it should be: signature, certificate, topic (401; not kept).
    Signature,
}

impl Source {
    /// Reads a request. `certificate` is the PEM text found at the address that an earlier
    /// [`Outcome::NeedsCertificate`] of the same request named.
    pub fn read(&self, incoming: &Incoming, certificate: Option<&str>) -> Result<Read, Refused>;
}
