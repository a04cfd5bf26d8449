//! The tables that people are told the sizes of.

/// In the order shown.
pub(super) const TABLES: [&str; 13] = [
    "event",
    "delivery",
    "attempt",
    "record_sample",
    "pending",
    "strict_key",
    "log_entry",
    "idempotency",
    "bus",
    "rule",
    "target",
    "api_key",
    "audit",
];
