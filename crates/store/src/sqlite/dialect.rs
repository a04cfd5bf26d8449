//! The statements and words in which SQLite differs inside the shared files.

use belfry_model::EventId;
use sqlx::QueryBuilder;

use super::walk::Span;
use super::{Conn, Db};
use crate::Result;

/// The clock by which leases are judged: one server, so its own.
#[expect(clippy::unused_async, reason = "elsewhere the database is asked")]
pub(super) async fn lease_clock(_conn: &mut Conn, now_ms: i64) -> Result<i64> {
    Ok(now_ms)
}

/// There is one writer.
pub(super) const COMMITS_ONE_BY_ONE: bool = true;

/// What a delivery is shown with. `CROSS JOIN` joins in the order written: the row that the key finds first, then what
/// belongs to it. SQLite's planner would otherwise be free to begin with the event.
pub(super) const DELIVERY_JOINS: &str = "CROSS JOIN event e ON e.seq = d.seq \
     LEFT JOIN pending p ON p.seq = d.seq AND p.target_id = d.target_id WHERE ";

/// Up to where removing events gives room: pages are used again at once.
pub(super) const fn room_before(before: EventId) -> EventId {
    before
}

/// Begins a transaction whose statements all see one moment.
pub(super) const BEGIN_SNAPSHOT: &str = "BEGIN";

/// The next version of the configuration.
pub(super) const RAISE_VERSION: &str =
    "UPDATE config_version SET version = version + 1 RETURNING version";

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

/// There are no partitions here.
pub(super) fn push_days(_sql: &mut QueryBuilder<Db>, _alias: &str, _span: Span) {}

/// Every fan-out entry of the node's events above the watermark that has neither ended nor pending work. The attempts
/// of one that failed before are kept.
pub(super) const UNFINISHED: &str = "INSERT INTO pending (target_id, due_at_ms, seq, attempts, attempts_before, since_ms, set_off_by, owner) \
     SELECT fan.value, $1, e.seq, coalesce(d.attempts, 0), 0, e.seq >> 22, CASE WHEN d.attempts > 0 THEN 1 ELSE 0 END, NULL \
     FROM event e CROSS JOIN json_each(e.fan) fan \
     LEFT JOIN delivery d ON d.seq = e.seq AND d.target_id = fan.value \
     WHERE e.seq > $2 AND (e.seq >> 14) & 255 = $3 AND (d.status IS NULL OR d.status IN (0, 2)) \
     AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.seq = e.seq AND p.target_id = fan.value)";

/// Deliveries of the events for which `which` holds (a condition on `seq`) that have not ended. The fan-out tells every
/// one, also those that are still in memory and have no row.
pub(super) fn unfinished_of(which: &str) -> String {
    format!(
        "SELECT e.seq, fan.value FROM event e CROSS JOIN json_each(e.fan) fan \
         WHERE e.{which} AND NOT EXISTS (SELECT 1 FROM delivery d \
         WHERE d.seq = e.seq AND d.target_id = fan.value AND d.status NOT IN (0, 2)) ORDER BY e.seq"
    )
}

/// An event that is gone leaves its work without a document (`LEFT JOIN`): such rows are removed, or the target would
/// have work due for ever that nobody can do.
pub(super) const DUE: &str = "SELECT p.seq, p.target_id, p.due_at_ms, p.attempts, p.attempts_before, p.since_ms, p.set_off_by, p.owner, \
     p.order_key, p.progress, e.bus_id, e.trace_id, e.replay_id, e.replay_of, \
     CASE WHEN p.order_key IS NULL THEN e.doc END \
     FROM pending p LEFT JOIN event e ON e.seq = p.seq \
     WHERE p.target_id = $1 AND p.due_at_ms <= $2 ORDER BY p.due_at_ms, p.seq LIMIT $3";
/// The first rows of each of the keys `$1`.
pub(super) const FIRST_OF_KEYS: &str = "SELECT p.order_key, p.seq, p.due_at_ms, coalesce(length(e.doc), 0), p.owner \
     FROM json_each($1) k CROSS JOIN pending p ON (p.seq, p.target_id) IN (SELECT q.seq, q.target_id FROM pending q \
     WHERE q.target_id = $2 AND q.order_key = k.value ORDER BY q.seq LIMIT $3) LEFT JOIN event e ON e.seq = p.seq";
/// The rows `$2` of a target, in the order of the list, as [`DUE`] reads them.
pub(super) const THESE: &str = "SELECT p.seq, p.target_id, p.due_at_ms, p.attempts, p.attempts_before, p.since_ms, p.set_off_by, p.owner, \
     p.order_key, p.progress, e.bus_id, e.trace_id, e.replay_id, e.replay_of, e.doc \
     FROM json_each($2) k CROSS JOIN pending p ON p.seq = k.value AND p.target_id = $1 LEFT JOIN event e ON e.seq = p.seq";
/// The number is [`BLOCKED_MS`](crate::BLOCKED_MS).
pub(super) const BLOCK: &str = "UPDATE pending SET due_at_ms = 253402300799000, owner = NULL \
     WHERE (seq, target_id) IN (SELECT value, $1 FROM json_each($2))";
pub(super) const OUT_OF_ORDER: &str = "UPDATE pending SET order_key = NULL \
     WHERE (seq, target_id) IN (SELECT value, $1 FROM json_each($2))";
/// By both columns of the key by delivery: with the target alone, SQLite would go through all its waiting work.
pub(super) const LEASE: &str = "UPDATE pending SET due_at_ms = $1, owner = $2 \
     WHERE (seq, target_id) IN (SELECT value, $3 FROM json_each($4))";
pub(super) const FORGET: &str =
    "DELETE FROM pending WHERE (seq, target_id) IN (SELECT value, $1 FROM json_each($2))";
pub(super) const NEXT_DUE: &str = "SELECT t.value, (SELECT min(p.due_at_ms) FROM pending p WHERE p.target_id = t.value \
     AND p.due_at_ms < 253402300799000) FROM json_each($1) t";
/// Pairs `[[event, target], ...]` of deliveries that have ended and whose event is still stored.
pub(super) const QUEUE_AGAIN: &str = "UPDATE delivery SET status = $1, attempts = coalesce(attempts, 1), reason = $2, \
     detail = NULL, at_ms = $3 \
     WHERE (seq, target_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each($4)) \
     AND status IN (SELECT value FROM json_each($5)) \
     AND EXISTS (SELECT 1 FROM event e WHERE e.seq = delivery.seq) \
     RETURNING seq, target_id, attempts";

/// There is one writer: what is not there yet need not be made to be locked.
pub(super) const MAKE_ALARMS: Option<&str> = None;
/// The alarms of pairs `[[bus, key], ...]`.
pub(super) const ALARMS_OF: &str = "SELECT {columns} FROM json_each($1) k CROSS JOIN alarm a \
     ON a.bus_id = k.value ->> 0 AND a.alarm_key = k.value ->> 1";
/// Objects with the columns as members.
pub(super) const PUT_ALARMS: &str = "INSERT INTO alarm (id, bus_id, alarm_key, firing, severity, source, type, subject, title, first_seq, \
     last_seq, recovered_seq, fired) SELECT value ->> 'id', value ->> 'bus_id', value ->> 'alarm_key', value ->> 'firing', \
     value ->> 'severity', value ->> 'source', value ->> 'type', value ->> 'subject', value ->> 'title', value ->> 'first_seq', \
     value ->> 'last_seq', value ->> 'recovered_seq', value ->> 'fired' FROM json_each($1) WHERE TRUE \
     ON CONFLICT (bus_id, alarm_key) DO UPDATE SET firing = excluded.firing, severity = excluded.severity, \
     source = excluded.source, type = excluded.type, subject = excluded.subject, title = excluded.title, \
     first_seq = excluded.first_seq, last_seq = excluded.last_seq, recovered_seq = excluded.recovered_seq, fired = excluded.fired";

/// Calls of functions that are due.
pub(super) const DUE_CALLS: &str = "SELECT id, function, qualifier, caller, created_at_ms, event, attempts, failures FROM function_call \
     WHERE due_at_ms <= $1 ORDER BY due_at_ms, id LIMIT $2";

/// Added to a column of text: its order by bytes, which is the default here.
pub(super) const BINARY_ORDER: &str = "";
