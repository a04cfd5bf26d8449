//! The statements and words in which Postgres differs inside the shared files. Lists come as JSON texts, as they do to
//! SQLite.

use belfry_model::EventId;
use sqlx::{QueryBuilder, Row as _};

use super::walk::Span;
use super::{Conn, Db, partitions};
use crate::Result;

/// The clock by which leases are judged: the server's, for those of the nodes may differ.
pub(super) async fn lease_clock(conn: &mut Conn, _now_ms: i64) -> Result<i64> {
    let row = sqlx::query("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        .fetch_one(conn)
        .await?;
    Ok(row.try_get(0)?)
}

/// Each node has its own connections.
pub(super) const COMMITS_ONE_BY_ONE: bool = false;

/// What a delivery is shown with. `LIMIT 1` keeps each join a look-up by key for the rows that are listed: left free, the planner
/// reads all events of a range to join a page of fifty.
pub(super) const DELIVERY_JOINS: &str = "JOIN LATERAL (SELECT * FROM event WHERE event.seq = d.seq LIMIT 1) e ON TRUE \
     LEFT JOIN LATERAL (SELECT due_at_ms FROM pending WHERE pending.seq = d.seq AND pending.target_id = d.target_id LIMIT 1) p \
     ON TRUE WHERE ";

/// Up to where removing events gives room: days that are dropped as a whole. Rows that are deleted only leave holes, so the
/// size would never come down.
pub(super) const fn room_before(before: EventId) -> EventId {
    partitions::start(partitions::day_of(before.time_ms()))
}

/// Begins a transaction whose statements all see one moment.
pub(super) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The next version of the configuration, of which the other nodes are told when the transaction commits. Changes go one after
/// the other by this row's lock: each checks what it expects before it writes, and versions are seen in their order. Commits of
/// the hot path tell nothing: a notification makes those that have one wait for each other.
pub(super) const RAISE_VERSION: &str = "WITH raised AS (UPDATE config_version SET version = version + 1 RETURNING version) \
     SELECT version, pg_notify('belfry.configuration', current_schema()::text) FROM raised";

/// `column` (bytes) holds the bytes of `text`.
pub(super) fn push_bytes_hold(query: &mut QueryBuilder<Db>, column: &str, text: &str) {
    query
        .push("position(")
        .push_bind(text.as_bytes().to_vec())
        .push(" IN ")
        .push(column)
        .push(") > 0");
}

/// `column` (text, may be absent) holds `text`.
pub(super) fn push_text_holds(query: &mut QueryBuilder<Db>, column: &str, text: &str) {
    query
        .push("strpos(coalesce(")
        .push(column)
        .push(", ''), ")
        .push_bind(text.to_owned())
        .push(") > 0");
}

/// Says of a span of pairs in which days it lies: partitions are not chosen by pairs.
pub(super) fn push_days(sql: &mut QueryBuilder<Db>, alias: &str, span: Span) {
    sql.push(format_args!(" AND {alias}.seq >= "))
        .push_bind(span.low.0)
        .push(format_args!(" AND {alias}.seq <= "))
        .push_bind(span.high.0);
}

/// Every fan-out entry of the node's events above the watermark that has neither ended nor pending work. The attempts
/// of one that failed before are kept.
pub(super) const UNFINISHED: &str = "INSERT INTO pending (target_id, due_at_ms, seq, attempts, attempts_before, since_ms, set_off_by, owner) \
     SELECT fan.target, $1, e.seq, coalesce(d.attempts, 0), 0, e.seq >> 22, CASE WHEN d.attempts > 0 THEN 1 ELSE 0 END, NULL::bigint \
     FROM event e CROSS JOIN LATERAL (SELECT value::bigint AS target FROM jsonb_array_elements_text(e.fan::jsonb) AS value) fan \
     LEFT JOIN delivery d ON d.seq = e.seq AND d.target_id = fan.target \
     WHERE e.seq > $2 AND (e.seq >> 14) & 255 = $3 AND (d.status IS NULL OR d.status IN (0, 2)) \
     AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.seq = e.seq AND p.target_id = fan.target)";

/// Deliveries of the events for which `which` holds (a condition on `seq`) that have not ended. The fan-out tells every
/// one, also those that are still in memory and have no row.
pub(super) fn unfinished_of(which: &str) -> String {
    format!(
        "SELECT e.seq, fan.target FROM event e CROSS JOIN LATERAL (SELECT value::bigint AS target FROM jsonb_array_elements_text(e.fan::jsonb) AS value) fan \
         WHERE e.{which} AND NOT EXISTS (SELECT 1 FROM delivery d \
         WHERE d.seq = e.seq AND d.target_id = fan.target AND d.status NOT IN (0, 2)) ORDER BY e.seq"
    )
}

/// An event that is gone leaves its work without a document (`LEFT JOIN`): such rows are removed, or the target would
/// have work due for ever that nobody can do. What another node is claiming is passed over.
pub(super) const DUE: &str = "SELECT p.seq, p.target_id, p.due_at_ms, p.attempts, p.attempts_before, p.since_ms, p.set_off_by, p.owner, \
     p.order_key, p.progress, e.bus_id, e.trace_id, e.replay_id, e.replay_of, \
     CASE WHEN p.order_key IS NULL THEN e.doc END \
     FROM pending p LEFT JOIN LATERAL (SELECT bus_id, trace_id, replay_id, replay_of, doc FROM event WHERE event.seq = p.seq LIMIT 1) e ON TRUE \
     WHERE p.target_id = $1 AND p.due_at_ms <= $2 ORDER BY p.due_at_ms, p.seq LIMIT $3 FOR UPDATE OF p SKIP LOCKED";
/// The first rows of each of the keys `$1`. Waits for another claim of the same key and then sees what that has taken: passing
/// over it would make its followers look like the first.
pub(super) const FIRST_OF_KEYS: &str = "SELECT p.order_key, p.seq, p.due_at_ms, coalesce(length(e.doc), 0)::bigint, p.owner \
     FROM (SELECT value::bigint AS key FROM jsonb_array_elements_text($1::jsonb) AS value) k \
     CROSS JOIN LATERAL (SELECT * FROM pending q WHERE q.target_id = $2 AND q.order_key = k.key ORDER BY q.seq LIMIT $3 FOR UPDATE) p \
     LEFT JOIN LATERAL (SELECT doc FROM event WHERE event.seq = p.seq LIMIT 1) e ON TRUE";
/// The rows `$2` of a target, in the order of the list, as [`DUE`] reads them.
pub(super) const THESE: &str = "SELECT p.seq, p.target_id, p.due_at_ms, p.attempts, p.attempts_before, p.since_ms, p.set_off_by, p.owner, \
     p.order_key, p.progress, e.bus_id, e.trace_id, e.replay_id, e.replay_of, e.doc \
     FROM jsonb_array_elements_text($2::jsonb) WITH ORDINALITY AS k (value, number) \
     JOIN pending p ON p.seq = k.value::bigint AND p.target_id = $1 \
     LEFT JOIN LATERAL (SELECT bus_id, trace_id, replay_id, replay_of, doc FROM event WHERE event.seq = p.seq LIMIT 1) e ON TRUE ORDER BY k.number";
/// The number is [`BLOCKED_MS`](crate::BLOCKED_MS).
pub(super) const BLOCK: &str = "UPDATE pending SET due_at_ms = 253402300799000, owner = NULL \
     WHERE target_id = $1 AND seq IN (SELECT value::bigint FROM jsonb_array_elements_text($2::jsonb) AS value)";
pub(super) const OUT_OF_ORDER: &str = "UPDATE pending SET order_key = NULL \
     WHERE target_id = $1 AND seq IN (SELECT value::bigint FROM jsonb_array_elements_text($2::jsonb) AS value)";
pub(super) const LEASE: &str = "UPDATE pending SET due_at_ms = $1, owner = $2 \
     WHERE target_id = $3 AND seq IN (SELECT value::bigint FROM jsonb_array_elements_text($4::jsonb) AS value)";
pub(super) const FORGET: &str = "DELETE FROM pending \
     WHERE target_id = $1 AND seq IN (SELECT value::bigint FROM jsonb_array_elements_text($2::jsonb) AS value)";
pub(super) const NEXT_DUE: &str = "SELECT t.value::bigint, \
     (SELECT min(p.due_at_ms) FROM pending p WHERE p.target_id = t.value::bigint AND p.due_at_ms < 253402300799000) \
     FROM jsonb_array_elements_text($1::jsonb) AS t (value)";
/// Pairs `[[event, target], ...]` of deliveries that have ended and whose event is still stored.
pub(super) const QUEUE_AGAIN: &str = "UPDATE delivery SET status = $1, attempts = coalesce(attempts, 1), reason = $2, \
     detail = NULL, at_ms = $3 \
     WHERE (seq, target_id) IN (SELECT (pair ->> 0)::bigint, (pair ->> 1)::bigint FROM jsonb_array_elements($4::jsonb) AS pair) \
     AND status IN (SELECT value::bigint FROM jsonb_array_elements_text($5::jsonb) AS value) \
     AND EXISTS (SELECT 1 FROM event e WHERE e.seq = delivery.seq) \
     RETURNING seq, target_id, attempts";

/// In the order of their keys, which is that in which all nodes do it.
pub(super) const MAKE_ALARMS: Option<&str> = Some(
    "INSERT INTO alarm (id, bus_id, alarm_key, firing, severity, source, type, subject, title, first_seq, last_seq, recovered_seq, fired) \
     SELECT id, bus_id, alarm_key, firing, severity, source, type, subject, title, first_seq, last_seq, recovered_seq, fired \
     FROM jsonb_to_recordset($1::jsonb) AS made (id bigint, bus_id bigint, alarm_key text, firing bigint, severity bigint, source text, \
     type text, subject text, title text, first_seq bigint, last_seq bigint, recovered_seq bigint, fired bigint) \
     ON CONFLICT (bus_id, alarm_key) DO NOTHING",
);
/// The alarms of pairs `[[bus, key], ...]`, locked in the order of the list.
pub(super) const ALARMS_OF: &str = "SELECT {columns} FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS k (value, number) \
     CROSS JOIN LATERAL (SELECT * FROM alarm WHERE bus_id = (k.value ->> 0)::bigint AND alarm_key = k.value ->> 1 FOR UPDATE) a \
     ORDER BY k.number";
/// Objects with the columns as members.
pub(super) const PUT_ALARMS: &str = "UPDATE alarm SET firing = made.firing, severity = made.severity, source = made.source, \
     type = made.type, subject = made.subject, title = made.title, first_seq = made.first_seq, last_seq = made.last_seq, \
     recovered_seq = made.recovered_seq, fired = made.fired \
     FROM jsonb_to_recordset($1::jsonb) AS made (id bigint, bus_id bigint, alarm_key text, firing bigint, severity bigint, source text, \
     type text, subject text, title text, first_seq bigint, last_seq bigint, recovered_seq bigint, fired bigint) \
     WHERE alarm.bus_id = made.bus_id AND alarm.alarm_key = made.alarm_key";

/// Calls of functions that are due. What another node is claiming is passed over.
pub(super) const DUE_CALLS: &str = "SELECT id, function, qualifier, caller, created_at_ms, event, attempts, failures FROM function_call \
     WHERE due_at_ms <= $1 ORDER BY due_at_ms, id LIMIT $2 FOR UPDATE SKIP LOCKED";

/// Added to a column of text: its order by bytes, whatever the database's language.
pub(super) const BINARY_ORDER: &str = " COLLATE \"C\"";
