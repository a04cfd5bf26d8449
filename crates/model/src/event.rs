//! CloudEvents in every accepted form, as one JSON document. (Being written.)

use bytes::Bytes;

/// An accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    doc: Bytes,
}
impl Event {
    /// The event as one JSON object.
    pub fn doc(&self) -> &Bytes {
        &self.doc
    }
}
