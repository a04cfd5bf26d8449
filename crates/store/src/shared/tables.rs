//! The tables that people are told the sizes of.

/// In the order shown.
pub(super) const TABLES: [&str; 16] = [
    "event",
    "delivery",
    "attempt",
    "record_sample",
    "pending",
    "recent",
    "strict_key",
    "log_entry",
    "idempotency",
    "bus",
    "rule",
    "target",
    "archive",
    "archived_event",
    "api_key",
    "audit",
];
