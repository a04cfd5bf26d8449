//! The catalog: products of cloud vendors and the events they send, with names, severity and advice.

use crate::alarm::Names;
use crate::severity::Severity;
use crate::state::AlarmState;

/// A type of event that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The vendor's short name: `tencent`, `jdcloud`, `alibaba`.
    pub vendor: String,
    /// The product's code, such as `cvm`.
    pub product: String,
    /// The short name within the product, as in the template `cvm/ping-unreachable`.
    pub slug: String,
    /// The event's `source`.
    pub source: String,
    /// The canonical spelling of the event's `type`.
    pub kind: String,
    /// The type of the alarm that this event ends, if it does.
    pub recovers: Option<String>,
    /// What it is called.
    pub names: Names,
    /// What the product is called.
    pub product_names: Names,
    /// How bad it is, unless the event says.
    pub severity: Severity,
    /// What the event means, in a sentence.
    pub about: Names,
    /// What to do first.
    pub advice: Names,
    /// The state of an event that has no `status` of its own.
    pub state: AlarmState,
}

impl Entry {
    /// The type that stands in the alarm's key: that of the alarm, also for the event that ends it.
    pub fn alarm_type(&self) -> &str {
        self.recovers.as_deref().unwrap_or(&self.kind)
    }
}

/// The entry of an event by its source and type, in any of the type's known spellings.
pub fn find(source: &str, kind: &str) -> Option<&'static Entry> {
    let _ = (source, kind);
    None
}
