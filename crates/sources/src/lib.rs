//! Formats of alarm senders: a request as a vendor sends it becomes CloudEvents. Pure.
//!
//! ```text
//! request ─ Source::read ─► detect ─► signature ─► format ─► Draft ─► CloudEvent document
//! ```
//!
//! | module | owns |
//! |---|---|
//! | `spec` | a source as an operator writes it |
//! | `source` | the one way in: from a request to what becomes of it |
//! | `body` | a body as JSON values, whether it came as JSON or as a form; reading members of it |
//! | `format`, `formats` | what a format is, the order of detection; one file a format |
//! | `draft` | an event in the making, and the document it becomes |
//! | `native` | events that are CloudEvents already: what is added to them |
//! | `moment` | times as senders write them |
//! | `signature` | HMAC signatures, and those of SNS and SMN with their certificates |
//!
//! It must never know HTTP servers, buses, stores or API keys, and it fetches nothing: it says which certificate it
//! needs and which address confirms a subscription. Nothing in here trusts its input; whatever comes in, the answer
//! is events or a reason.

#![forbid(unsafe_code)]

mod body;
mod draft;
mod format;
mod formats;
mod moment;
mod native;
mod signature;
mod source;
mod spec;

pub use format::{FormatInfo, SignedBy, formats};
pub use source::{EVENTS_MAX, Incoming, Outcome, Read, Refused, RefusedKind, Source};
pub use spec::{Auth, GenericSpec, HandshakeMode, Secret, SigningSpec, SourceSpec, StatusSpec};
