//! The few words in which SQLite differs inside the shared statements.

use sqlx::QueryBuilder;

use super::Db;

/// A join in the order written: the row that the key finds first, then what belongs to it. SQLite's planner would
/// otherwise be free to begin with the event.
pub(super) const THEN_JOIN: &str = "CROSS JOIN";

/// `column` (bytes) holds the bytes of `text`.
pub(super) fn push_bytes_hold(query: &mut QueryBuilder<Db>, column: &str, text: &str) {
    query
        .push("instr(")
        .push(column)
        .push(", ")
        .push_bind(text.as_bytes())
        .push(") > 0");
}

/// `column` (text, may be absent) holds `text`.
pub(super) fn push_text_holds(query: &mut QueryBuilder<Db>, column: &str, text: &str) {
    query
        .push("instr(coalesce(")
        .push(column)
        .push(", ''), ")
        .push_bind(text)
        .push(") > 0");
}
