//! A [`Batch`] as one statement: arrays for the columns, one part for each table, one round trip, one flush.
//!
//! All parts see the database as it was before, so no part may depend on what another writes: rows that come twice are
//! told apart here (the later one counts), and work that is done is removed only where no new work replaces it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::Hash;

use belfry_model::delivery::Reason;
use belfry_model::{DeliveryId, LogName};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, Row as _};

use super::committer::Committer;
use super::rows::fan_text;
use super::{Conn, Db, PostgresStore, alarms, functions, order, partitions, recent, replays};
use crate::error::{self, unavailable};
use crate::sample::{Packer, unlike_first_try, with_first_tries};
use crate::usage;
use crate::{
    Batch, LOG_RETENTION_DAYS_DEFAULT, NewEvent, NewInvocation, NewLogEntry, Pending, Release,
    Result, StoreError, Told,
};

/// Tries of a commit that another transaction got into the way of.
const TRIES: usize = 5;

/// A statement in the making.
struct Statement {
    text: String,
    args: PgArguments,
}

impl Statement {
    fn new() -> Self {
        Self {
            text: String::with_capacity(4096),
            args: PgArguments::default(),
        }
    }

    /// Binds a value. Returns its number.
    fn bind<'t, T>(&mut self, value: T) -> Result<usize>
    where
        T: sqlx::Encode<'t, Db> + sqlx::Type<Db>,
    {
        self.args
            .add(value)
            .map_err(|error| StoreError::Internal(format!("a value cannot be stored: {error}")))?;
        Ok(self.args.len())
    }

    /// Begins a part of its own.
    fn part(&mut self, name: &str, head: &str) {
        let lead = if self.text.is_empty() { "WITH" } else { ")," };
        let _infallible = write!(self.text, "{lead} {name} AS ({head}");
    }

    /// Runs its parts as a statement of its own, if there are any.
    async fn run(mut self, conn: &mut Conn) -> Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.text.push_str(") SELECT 1");
        sqlx::query_with(AssertSqlSafe(self.text), self.args)
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Columns as arrays: ` UNNEST($1::bigint[], ...)`.
    fn columns(&mut self, types: &[&str]) {
        let first = self.args.len() + 1;
        self.text.push_str(" UNNEST(");
        for (index, kind) in types.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let _infallible = write!(self.text, "{comma}${}::{kind}[]", first + index);
        }
        self.text.push(')');
    }
}

/// The last of those with the same key, in the order of their last appearance.
fn last_of_each<T, K: Hash + Eq>(rows: &[T], key: impl Fn(&T) -> K) -> Vec<&T> {
    let mut seen = HashSet::with_capacity(rows.len());
    let mut kept: Vec<&T> = rows
        .iter()
        .rev()
        .filter(|row| seen.insert(key(row)))
        .collect();
    kept.reverse();
    kept
}

macro_rules! column {
    ($statement:expr, $rows:expr, $kind:ty, $value:expr) => {
        $statement.bind($rows.iter().map($value).collect::<Vec<$kind>>())?
    };
}

/// Makes the statement; `None` when there is nothing to write.
fn statement(
    batch: &Batch,
    packer: &mut Packer<'_>,
    logs: &HashMap<LogName, i64>,
) -> Result<Option<Statement>> {
    if batch.is_empty() {
        return Ok(None);
    }
    let mut sql = Statement::new();
    fence(&mut sql, batch)?;
    add_events(&mut sql, batch)?;
    add_counts(&mut sql, batch)?;
    add_outcomes(&mut sql, batch, packer)?;
    add_told(&mut sql, &batch.told)?;
    add_invocations(&mut sql, &batch.invocations, FENCED)?;
    add_pending(&mut sql, batch)?;
    add_log_entries(&mut sql, &batch.log_entries, logs)?;
    add_idempotency(&mut sql, batch)?;
    sql.text.push_str(") SELECT count(*) FROM fence");
    Ok(Some(sql))
}

/// What a batch is written with, for the tests that look at plans.
#[cfg(test)]
pub(super) fn as_statement(batch: &Batch) -> (String, PgArguments) {
    let samples = crate::sample::Samples::default();
    let made = statement(batch, &mut Packer::new(&samples), &HashMap::new()).unwrap();
    let sql = made.expect("something to write");
    (sql.text, sql.args)
}

/// The node's row: moves the watermark, and tells whether the node may write. Every other part asks it.
fn fence(sql: &mut Statement, batch: &Batch) -> Result<()> {
    if let Some(by) = batch.by {
        let watermark = batch.watermark.map_or(0, |(_, watermark)| watermark.get());
        sql.bind(watermark)?;
        sql.bind(i64::from(by.node.0))?;
        sql.bind(by.epoch)?;
        sql.part(
            "fence",
            "UPDATE node SET watermark = greatest(watermark, $1) WHERE node_id = $2 AND epoch = $3 RETURNING 1",
        );
        return Ok(());
    }
    let Some((node, watermark)) = batch.watermark else {
        sql.part("fence", "SELECT 1");
        return Ok(());
    };
    sql.bind(i64::from(node.0))?;
    sql.bind(watermark.get())?;
    sql.part(
        "fence",
        "INSERT INTO node (node_id, watermark) VALUES ($1, $2) ON CONFLICT (node_id) \
         DO UPDATE SET watermark = greatest(node.watermark, excluded.watermark) RETURNING 1",
    );
    Ok(())
}

const FENCED: &str = " WHERE EXISTS (SELECT 1 FROM fence)";

fn add_events(sql: &mut Statement, batch: &Batch) -> Result<()> {
    let events = &batch.events;
    if events.is_empty() {
        return Ok(());
    }
    // Columns of their own for those that repeat something, so that the others need not say that they do not.
    let (repeats, plain): (Vec<_>, Vec<_>) = events.iter().partition(|new| new.replay.is_some());
    let head = "seq, bus_id, ce_id, source, type, subject, trace_id, fan, doc";
    let kinds = [
        "bigint", "bigint", "text", "text", "text", "text", "text", "text", "bytea",
    ];
    if !plain.is_empty() {
        let insert = format!("INSERT INTO event ({head}) SELECT * FROM");
        sql.part("events", &insert);
        sql.columns(&kinds);
        sql.text.push_str(FENCED);
        event_columns(sql, &plain)?;
        add_copies(sql, batch)?;
    }
    if !repeats.is_empty() {
        let insert = format!("INSERT INTO event ({head}, replay_id, replay_of) SELECT * FROM");
        sql.part("repeats", &insert);
        sql.columns(&[kinds.as_slice(), &["bigint", "bigint"]].concat());
        sql.text.push_str(FENCED);
        event_columns(sql, &repeats)?;
        column!(sql, repeats, Option<i64>, |new| new
            .replay
            .map(|mark| i64::from(mark.replay.0)));
        column!(sql, repeats, Option<i64>, |new| new
            .replay
            .map(|mark| mark.of.get()));
    }

    if let Some((first, keys)) = recent::packed(events) {
        let (first, keys) = (sql.bind(first.get())?, sql.bind(keys)?);
        let insert =
            format!("INSERT INTO recent (seq, keys) SELECT ${first}::bigint, ${keys}::bytea");
        sql.part("recent_keys", &insert);
        sql.text.push_str(FENCED);
    }

    let strict: Vec<_> = events
        .iter()
        .filter(|new| new.strict)
        .filter_map(|new| new.key.as_ref().map(|key| (new.bus, key, new.id)))
        .collect();
    if !strict.is_empty() {
        // The first event with a key keeps it: a later one is a repeat that slipped through, and must not stop the batch.
        sql.part(
            "strict_keys",
            "INSERT INTO strict_key (bus_id, key, seq) SELECT * FROM",
        );
        sql.columns(&["bigint", "bytea", "bigint"]);
        sql.text.push_str(FENCED);
        sql.text.push_str(" ON CONFLICT DO NOTHING");
        column!(sql, strict, i64, |(bus, _, _)| i64::from(bus.0));
        column!(sql, strict, &[u8], |(_, key, _)| key.as_slice());
        column!(sql, strict, i64, |(_, _, id)| id.get());
    }
    Ok(())
}

/// Copies of `events`, which must be the part before: its documents are sent once.
fn add_copies(sql: &mut Statement, batch: &Batch) -> Result<()> {
    let copies = usage::copies(batch);
    if copies.is_empty() {
        return Ok(());
    }
    sql.text
        .push_str(" RETURNING seq, ce_id, source, type, subject, doc");
    sql.part(
        "archived",
        "INSERT INTO archived_event (archive_id, seq, ce_id, source, type, subject, doc) \
         SELECT copy.archive_id, e.seq, e.ce_id, e.source, e.type, e.subject, e.doc FROM",
    );
    sql.columns(&["bigint", "bigint"]);
    sql.text
        .push_str(" AS copy (archive_id, seq) JOIN events e ON e.seq = copy.seq");
    column!(sql, copies, i64, |(archive, _)| i64::from(archive.0));
    column!(sql, copies, i64, |(_, event)| event.get());
    Ok(())
}

/// What is counted of it by bus and by archive.
fn add_counts(sql: &mut Statement, batch: &Batch) -> Result<()> {
    let buses = usage::of_buses(batch);
    if buses.is_empty() {
        return Ok(());
    }
    sql.part(
        "bus_counts",
        "INSERT INTO bus_usage (bus_id, hour, node_id, events, bytes) SELECT * FROM",
    );
    sql.columns(&["bigint", "bigint", "bigint", "bigint", "bigint"]);
    sql.text.push_str(FENCED);
    sql.text.push_str(
        " ON CONFLICT (bus_id, hour, node_id) DO UPDATE SET events = bus_usage.events + excluded.events, \
         bytes = bus_usage.bytes + excluded.bytes",
    );
    column!(sql, buses, i64, |((bus, _, _), _)| i64::from(bus.0));
    column!(sql, buses, i64, |((_, hour, _), _)| *hour);
    column!(sql, buses, i64, |((_, _, node), _)| i64::from(node.0));
    column!(sql, buses, i64, |(_, count)| count.events);
    column!(sql, buses, i64, |(_, count)| count.bytes);
    let archives = usage::of_archives(batch);
    if archives.is_empty() {
        return Ok(());
    }
    sql.part(
        "archive_counts",
        "INSERT INTO archive_usage (archive_id, node_id, events, bytes) SELECT * FROM",
    );
    sql.columns(&["bigint", "bigint", "bigint", "bigint"]);
    sql.text.push_str(FENCED);
    sql.text.push_str(
        " ON CONFLICT (archive_id, node_id) DO UPDATE SET events = archive_usage.events + excluded.events, \
         bytes = archive_usage.bytes + excluded.bytes",
    );
    column!(sql, archives, i64, |((archive, _), _)| i64::from(archive.0));
    column!(sql, archives, i64, |((_, node), _)| i64::from(node.0));
    column!(sql, archives, i64, |(_, count)| count.events);
    column!(sql, archives, i64, |(_, count)| count.bytes);
    Ok(())
}

fn event_columns(sql: &mut Statement, events: &[&NewEvent]) -> Result<()> {
    column!(sql, events, i64, |new| new.id.get());
    column!(sql, events, i64, |new| i64::from(new.bus.0));
    column!(sql, events, &str, |new| new.event.id());
    column!(sql, events, &str, |new| new.event.source());
    column!(sql, events, &str, |new| new.event.kind());
    column!(sql, events, Option<&str>, |new| new.event.subject());
    column!(sql, events, Option<&str>, |new| new.trace_id.as_deref());
    column!(sql, events, String, |new| fan_text(&new.fan));
    column!(sql, events, &[u8], |new| new.event.doc().as_ref());
    Ok(())
}

fn add_outcomes(sql: &mut Statement, batch: &Batch, packer: &mut Packer<'_>) -> Result<()> {
    let (outcomes, attempts) = with_first_tries(batch);
    let outcomes = last_of_each(&outcomes, |(outcome, _)| outcome.delivery);
    if !outcomes.is_empty() {
        sql.part(
            "outcomes",
            "INSERT INTO delivery (seq, target_id, status, attempts, status_code, duration_ms, at_ms, reason, detail, \
             first_try) SELECT * FROM",
        );
        sql.columns(&[
            "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "text",
            "bytea",
        ]);
        sql.text.push_str(FENCED);
        sql.text.push_str(
            " ON CONFLICT (seq, target_id) DO UPDATE SET status = excluded.status, attempts = excluded.attempts, \
             status_code = excluded.status_code, duration_ms = excluded.duration_ms, at_ms = excluded.at_ms, \
             reason = excluded.reason, detail = excluded.detail, \
             first_try = coalesce(excluded.first_try, delivery.first_try)",
        );
        column!(sql, outcomes, i64, |(one, _)| one.delivery.event.get());
        column!(sql, outcomes, i64, |(one, _)| i64::from(
            one.delivery.target.0
        ));
        column!(sql, outcomes, i64, |(one, _)| one.status.number());
        let own = unlike_first_try;
        column!(sql, outcomes, Option<i64>, |row| own(row)
            .map(|one| one.attempts.into()));
        column!(sql, outcomes, Option<i64>, |row| own(row)
            .and_then(|one| one.status_code)
            .map(i64::from));
        column!(sql, outcomes, Option<i64>, |row| own(row)
            .map(|one| one.duration_ms.into()));
        column!(sql, outcomes, i64, |(one, _)| one.at_ms);
        column!(sql, outcomes, Option<i64>, |(one, _)| one
            .reason
            .map(Reason::number));
        column!(sql, outcomes, Option<&str>, |(one, _)| one
            .detail
            .as_deref());
        column!(sql, outcomes, Option<Vec<u8>>, |(_, first_try)| {
            first_try.map(|attempt| packer.first_try(attempt))
        });
    }
    let attempts = last_of_each(&attempts, |attempt| (attempt.delivery, attempt.number));
    if !attempts.is_empty() {
        sql.part(
            "attempts",
            "INSERT INTO attempt (seq, target_id, number, set_off_by, started_at_ms, duration_ms, status_code, reason, \
             detail, next_at_ms, record) SELECT * FROM",
        );
        sql.columns(&[
            "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "text",
            "bigint", "bytea",
        ]);
        sql.text.push_str(FENCED);
        // An attempt can come twice when its lease ran out while it was under way; the later report stays.
        sql.text.push_str(
            " ON CONFLICT (seq, target_id, number) DO UPDATE SET set_off_by = excluded.set_off_by, \
             started_at_ms = excluded.started_at_ms, duration_ms = excluded.duration_ms, \
             status_code = excluded.status_code, reason = excluded.reason, detail = excluded.detail, \
             next_at_ms = excluded.next_at_ms, record = excluded.record",
        );
        column!(sql, attempts, i64, |one| one.delivery.event.get());
        column!(sql, attempts, i64, |one| i64::from(one.delivery.target.0));
        column!(sql, attempts, i64, |one| i64::from(one.number));
        column!(sql, attempts, i64, |one| one.trigger.number());
        column!(sql, attempts, i64, |one| one.started_at_ms);
        column!(sql, attempts, i64, |one| i64::from(one.duration_ms));
        column!(sql, attempts, Option<i64>, |one| one
            .status_code
            .map(i64::from));
        column!(sql, attempts, Option<i64>, |one| one
            .reason
            .map(Reason::number));
        column!(sql, attempts, Option<&str>, |one| one.detail.as_deref());
        column!(sql, attempts, Option<i64>, |one| one.next_at_ms);
        column!(sql, attempts, Option<Vec<u8>>, |one| packer.record(one));
    }
    let samples = last_of_each(&packer.fresh, |(target, sample)| (*target, sample.id));
    if !samples.is_empty() {
        sql.part(
            "samples",
            "INSERT INTO record_sample (target_id, id, text) SELECT * FROM",
        );
        sql.columns(&["bigint", "bigint", "bytea"]);
        sql.text.push_str(FENCED);
        // Another node may have made the same one.
        sql.text.push_str(" ON CONFLICT DO NOTHING");
        column!(sql, samples, i64, |(target, _)| i64::from(target.0));
        column!(sql, samples, i64, |(_, sample)| sample.id);
        column!(sql, samples, &[u8], |(_, sample)| sample.text.as_slice());
    }
    Ok(())
}

fn add_pending(sql: &mut Statement, batch: &Batch) -> Result<()> {
    let pending = last_of_each(&batch.pending, |work| work.delivery);
    let replaced: HashSet<DeliveryId> = pending.iter().map(|work| work.delivery).collect();
    let done: Vec<DeliveryId> = batch
        .done
        .iter()
        .copied()
        .filter(|id| !replaced.contains(id))
        .collect();
    // One statement changes a row once: what is done or replaced anyway need not be given back.
    let ended: HashSet<DeliveryId> = done.iter().copied().collect();
    let unclaimed: Vec<_> = batch
        .unclaimed
        .iter()
        .filter(|(id, _)| !replaced.contains(id) && !ended.contains(id))
        .collect();
    if !unclaimed.is_empty() {
        // Blocked again, unless somebody else holds it.
        sql.part(
            "unclaimed",
            "UPDATE pending SET due_at_ms = 253402300799000, owner = NULL FROM",
        );
        sql.columns(&["bigint", "bigint", "bigint"]);
        sql.text.push_str(
            " AS back (target_id, due_at_ms, seq) WHERE pending.target_id = back.target_id \
             AND pending.due_at_ms = back.due_at_ms AND pending.seq = back.seq AND EXISTS (SELECT 1 FROM fence)",
        );
        column!(sql, unclaimed, i64, |(id, _)| i64::from(id.target.0));
        column!(sql, unclaimed, i64, |(_, lease_until_ms)| *lease_until_ms);
        column!(sql, unclaimed, i64, |(id, _)| id.event.get());
    }
    if !done.is_empty() {
        sql.part("done", "DELETE FROM pending USING");
        sql.columns(&["bigint", "bigint"]);
        sql.text.push_str(
            " AS ended (seq, target_id) WHERE pending.seq = ended.seq AND pending.target_id = ended.target_id \
             AND EXISTS (SELECT 1 FROM fence)",
        );
        column!(sql, done, i64, |id| id.event.get());
        column!(sql, done, i64, |id| i64::from(id.target.0));
    }
    add_work(sql, &pending, FENCED)
}

/// Adds work. What has an order is blocked where an earlier one of its key is there or comes with it; the number is
/// [`BLOCKED_MS`](crate::BLOCKED_MS). An earlier one that this very batch ends still counts here: [`release`] follows.
fn add_work(sql: &mut Statement, pending: &[&Pending], fenced: &str) -> Result<()> {
    if pending.is_empty() {
        return Ok(());
    }
    let behind = order::behind_others(pending.iter().copied());
    sql.part(
        "waiting",
        "INSERT INTO pending (target_id, due_at_ms, seq, attempts, attempts_before, since_ms, set_off_by, owner, order_key, \
         progress) SELECT target_id, CASE WHEN behind OR order_key IS NOT NULL AND EXISTS (SELECT 1 FROM pending q \
         WHERE q.target_id = work.target_id AND q.order_key = work.order_key AND q.seq < work.seq) \
         THEN 253402300799000 ELSE due_at_ms END, seq, attempts, attempts_before, since_ms, set_off_by, owner, order_key, progress FROM",
    );
    sql.columns(&[
        "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint",
        "text", "boolean",
    ]);
    sql.text.push_str(
        " AS work (target_id, due_at_ms, seq, attempts, attempts_before, since_ms, set_off_by, owner, order_key, progress, behind)",
    );
    sql.text.push_str(fenced);
    sql.text.push_str(
        " ON CONFLICT (seq, target_id) DO UPDATE SET due_at_ms = excluded.due_at_ms, attempts = excluded.attempts, \
         attempts_before = excluded.attempts_before, since_ms = excluded.since_ms, set_off_by = excluded.set_off_by, \
         owner = excluded.owner, order_key = excluded.order_key, progress = excluded.progress",
    );
    column!(sql, pending, i64, |work| i64::from(work.delivery.target.0));
    column!(sql, pending, i64, |work| work.due_at_ms);
    column!(sql, pending, i64, |work| work.delivery.event.get());
    column!(sql, pending, i64, |work| i64::from(work.attempts));
    column!(sql, pending, i64, |work| i64::from(work.attempts_before));
    column!(sql, pending, i64, |work| work.since_ms);
    column!(sql, pending, i64, |work| work.trigger.number());
    column!(sql, pending, Option<i64>, |work| work
        .owner
        .map(|node| i64::from(node.0)));
    column!(sql, pending, Option<i64>, |work| work
        .order
        .map(|key| key.0));
    column!(sql, pending, Option<&str>, |work| work.progress.as_deref());
    sql.bind(behind)?;
    Ok(())
}

/// The first of a key, if it is blocked, becomes due.
pub(super) const RELEASE: &str = "UPDATE pending SET due_at_ms = free.due_at_ms FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[]) \
     AS free (target_id, order_key, due_at_ms) WHERE pending.target_id = free.target_id \
     AND pending.due_at_ms = 253402300799000 AND pending.seq = (SELECT min(q.seq) FROM pending q \
     WHERE q.target_id = free.target_id AND q.order_key = free.order_key)";

/// Sets the first delivery of each key free, if it is blocked. A statement of its own: it must see what others have changed.
pub(super) async fn put_release(conn: &mut Conn, release: &[Release]) -> Result<()> {
    release_in(conn, release).await.map_err(Into::into)
}

async fn release_in(conn: &mut Conn, release: &[Release]) -> sqlx::Result<()> {
    if release.is_empty() {
        return Ok(());
    }
    let release = last_of_each(release, |free| (free.target, free.key));
    let column =
        |value: fn(&Release) -> i64| release.iter().map(|free| value(free)).collect::<Vec<i64>>();
    sqlx::query(RELEASE)
        .bind(column(|free| i64::from(free.target.0)))
        .bind(column(|free| free.key.0))
        .bind(column(|free| free.due_at_ms))
        .execute(conn)
        .await?;
    Ok(())
}

/// What targets were told of alarms.
fn add_told(sql: &mut Statement, told: &[Told]) -> Result<()> {
    let told = last_of_each(told, |one| (one.alarm, one.target));
    if told.is_empty() {
        return Ok(());
    }
    sql.part(
        "told_of",
        "INSERT INTO told (alarm_id, target_id, since_seq, last_seq, firing, severity, count, first_at_ms, last_at_ms, thread) \
         SELECT * FROM",
    );
    sql.columns(&[
        "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint",
        "text",
    ]);
    sql.text.push_str(FENCED);
    sql.text.push_str(
        " ON CONFLICT (alarm_id, target_id) DO UPDATE SET since_seq = excluded.since_seq, last_seq = excluded.last_seq, \
         firing = excluded.firing, severity = excluded.severity, count = excluded.count, \
         first_at_ms = excluded.first_at_ms, last_at_ms = excluded.last_at_ms, thread = excluded.thread",
    );
    column!(sql, told, i64, |one| one.alarm.0.get());
    column!(sql, told, i64, |one| i64::from(one.target.0));
    column!(sql, told, i64, |one| one.since.get());
    column!(sql, told, i64, |one| one.last.get());
    column!(sql, told, i64, |one| i64::from(one.firing));
    column!(sql, told, i64, |one| i64::from(one.severity));
    column!(sql, told, i64, |one| i64::try_from(one.count)
        .unwrap_or(i64::MAX));
    column!(sql, told, i64, |one| one.first_at_ms);
    column!(sql, told, i64, |one| one.last_at_ms);
    column!(sql, told, Option<&str>, |one| one.thread.as_deref());
    Ok(())
}

/// Runs of functions.
fn add_invocations(sql: &mut Statement, invocations: &[NewInvocation], fenced: &str) -> Result<()> {
    let runs = last_of_each(invocations, |one| one.request_id);
    if runs.is_empty() {
        return Ok(());
    }
    let insert = format!(
        "INSERT INTO invocation ({}) SELECT * FROM",
        functions::COLUMNS
    );
    sql.part("runs", &insert);
    sql.columns(&[
        "bytea", "text", "text", "bigint", "bigint", "bigint", "bigint", "text", "bigint", "text",
        "text",
    ]);
    sql.text.push_str(fenced);
    sql.text.push(' ');
    sql.text.push_str(functions::REPLACE);
    column!(sql, runs, &[u8], |one| one.request_id.as_bytes().as_slice());
    column!(sql, runs, String, |one| one.function.to_string());
    column!(sql, runs, Option<&str>, |one| one.version.as_deref());
    column!(sql, runs, Option<i64>, |one| one
        .delivery
        .map(|id| id.event.get()));
    column!(sql, runs, Option<i64>, |one| one
        .delivery
        .map(|id| i64::from(id.target.0)));
    column!(sql, runs, i64, |one| one.started_at_ms);
    column!(sql, runs, i64, |one| i64::try_from(one.duration_us)
        .unwrap_or(i64::MAX));
    column!(sql, runs, Option<&str>, |one| one.outcome.as_deref());
    column!(sql, runs, i64, |one| i64::from(one.node.0));
    column!(sql, runs, &str, |one| one.record.as_str());
    column!(sql, runs, &str, |one| one.log.as_str());
    Ok(())
}

fn add_log_entries(
    sql: &mut Statement,
    entries: &[NewLogEntry],
    logs: &HashMap<LogName, i64>,
) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    sql.part(
        "log_entries",
        "INSERT INTO log_entry (log_id, seq, target_id, ce_id, source, type, subject, text) SELECT * FROM",
    );
    sql.columns(&[
        "bigint", "bigint", "bigint", "text", "text", "text", "text", "text",
    ]);
    sql.text.push_str(FENCED);
    sql.text.push_str(" ON CONFLICT DO NOTHING");
    column!(sql, entries, Option<i64>, |one| logs.get(&one.log).copied());
    column!(sql, entries, i64, |one| one.delivery.event.get());
    column!(sql, entries, i64, |one| i64::from(one.delivery.target.0));
    column!(sql, entries, &str, |one| one.event.id.as_str());
    column!(sql, entries, &str, |one| one.event.source.as_str());
    column!(sql, entries, &str, |one| one.event.kind.as_str());
    column!(sql, entries, Option<&str>, |one| one
        .event
        .subject
        .as_deref());
    column!(sql, entries, &str, |one| one.text.as_str());
    Ok(())
}

fn add_idempotency(sql: &mut Statement, batch: &Batch) -> Result<()> {
    let records = &batch.idempotency;
    if records.is_empty() {
        return Ok(());
    }
    sql.part(
        "answers",
        "INSERT INTO idempotency (scope, fingerprint, at_ms, answer) SELECT * FROM",
    );
    sql.columns(&["bytea", "bytea", "bigint", "bytea"]);
    sql.text.push_str(FENCED);
    column!(sql, records, &[u8], |one| one.scope.as_slice());
    column!(sql, records, &[u8], |one| one.fingerprint.as_slice());
    column!(sql, records, i64, |one| one.at_ms);
    column!(sql, records, &[u8], |one| one.answer.as_slice());
    Ok(())
}

/// Writes pending work; it replaces what was pending for the same deliveries.
pub(super) async fn put_pending(conn: &mut Conn, pending: &[Pending]) -> Result<()> {
    let pending = last_of_each(pending, |work| work.delivery);
    let mut sql = Statement::new();
    add_work(&mut sql, &pending, "")?;
    sql.run(conn).await
}

/// Writes invocations; see [`functions::REPLACE`].
pub(super) async fn put_invocations(conn: &mut Conn, invocations: &[NewInvocation]) -> Result<()> {
    let mut sql = Statement::new();
    add_invocations(&mut sql, invocations, "")?;
    sql.run(conn).await
}

impl PostgresStore {
    /// Writes a batch in one transaction, on the connection that commits alone use. A connection that fails or takes too
    /// long is given up: what it was asked may still happen, until [`Self::settle`] has ended its server process.
    pub(super) async fn commit_batch(&self, batch: &Batch) -> Result<()> {
        let mut held = self.committer.lock().await;
        self.in_time(self.settle()).await?;
        // Taken out: a caller that goes away in the middle must not leave a connection that still answers for it.
        let mut committer = match held.take() {
            Some(committer) => committer,
            None => Committer::connect(&self.options).await?,
        };
        self.unsettled().push(committer.process);
        let done = tokio::time::timeout(
            self.options.commit_timeout,
            self.commit_on(&mut committer.conn, batch),
        )
        .await
        .unwrap_or_else(|_| Err(unavailable("the database did not answer in time")));
        if !matches!(done, Err(StoreError::Unavailable(_))) {
            self.unsettled()
                .retain(|process| *process != committer.process);
            *held = Some(committer);
        }
        done
    }

    async fn commit_on(&self, conn: &mut Conn, batch: &Batch) -> Result<()> {
        let logs = self.log_ids(conn, &batch.log_entries).await?;
        let mut tries = 0;
        loop {
            tries += 1;
            let (sql, fresh) = {
                let samples = self.samples();
                let mut packer = Packer::new(&samples);
                (statement(batch, &mut packer, &logs)?, packer.fresh)
            };
            let Some(sql) = sql else { return Ok(()) };
            let failed = match run(conn, sql, batch).await {
                Ok(Ran::Written) => {
                    self.remember_samples(fresh);
                    return Ok(());
                }
                Ok(Ran::ReplayMoved) => return Err(StoreError::Conflict),
                Ok(Ran::MayNotWrite) => return Err(StoreError::Fenced),
                Err(failed) => failed,
            };
            if tries < TRIES && error::is_missing_partition(&failed) {
                partitions::make(conn, days(batch)).await?;
            } else if error::is_duplicate_in(&failed, "idempotency_pkey") {
                return Err(StoreError::IdempotencyConflict);
            } else if tries >= TRIES || !error::is_worth_repeating(&failed) {
                return Err(failed.into());
            }
        }
    }

    /// The ids of the logs that are written to; makes those that are missing.
    async fn log_ids(
        &self,
        conn: &mut Conn,
        entries: &[NewLogEntry],
    ) -> Result<HashMap<LogName, i64>> {
        let mut ids = HashMap::new();
        let wanted: BTreeSet<&LogName> = entries.iter().map(|entry| &entry.log).collect();
        for name in wanted {
            let known = self
                .logs
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .get(name)
                .copied();
            let id = match known {
                Some(id) => id,
                None => make_log(conn, name).await?,
            };
            ids.insert(name.clone(), id);
        }
        if !ids.is_empty() {
            self.logs
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .extend(ids.iter().map(|(name, id)| (name.clone(), *id)));
        }
        Ok(ids)
    }
}

/// What came of a try.
enum Ran {
    /// It is stored.
    Written,
    /// The node's row says that it may not write. Nothing was stored.
    MayNotWrite,
    /// A replay is not where the batch takes it to be. Nothing was stored.
    ReplayMoved,
}

/// Writes it, if the node may write. A statement alone is its own transaction.
async fn run(conn: &mut Conn, sql: Statement, batch: &Batch) -> sqlx::Result<Ran> {
    let query = sqlx::query_with(AssertSqlSafe(sql.text), sql.args);
    let ran = |count: i64| {
        if count > 0 {
            Ran::Written
        } else {
            Ran::MayNotWrite
        }
    };
    if batch.release.is_empty() && batch.replays.is_empty() && batch.signs.is_empty() {
        return Ok(ran(query.fetch_one(conn).await?.try_get(0)?));
    }
    let mut tx = conn.begin().await?;
    if !replays::advance(&mut tx, &batch.replays).await? {
        tx.rollback().await?;
        return Ok(Ran::ReplayMoved);
    }
    alarms::note(&mut tx, &batch.signs).await?;
    let ran = ran(query.fetch_one(&mut *tx).await?.try_get(0)?);
    if matches!(ran, Ran::MayNotWrite) {
        tx.rollback().await?;
        return Ok(ran);
    }
    release_in(&mut tx, &batch.release).await?;
    tx.commit().await?;
    Ok(ran)
}

async fn make_log(conn: &mut Conn, name: &LogName) -> Result<i64> {
    sqlx::query("INSERT INTO log (name, retention_days) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(name.as_str())
        .bind(i64::from(LOG_RETENTION_DAYS_DEFAULT))
        .execute(&mut *conn)
        .await?;
    let row = sqlx::query("SELECT id FROM log WHERE name = $1")
        .bind(name.as_str())
        .fetch_one(conn)
        .await?;
    Ok(row.try_get(0)?)
}

/// The days that the rows of a batch lie in.
fn days(batch: &Batch) -> BTreeSet<i64> {
    let events = batch.events.iter().map(|new| new.id);
    let outcomes = batch.outcomes.iter().map(|one| one.delivery.event);
    let attempts = batch.attempts.iter().map(|one| one.delivery.event);
    events
        .chain(outcomes)
        .chain(attempts)
        .map(|id| partitions::day_of(id.time_ms()))
        .collect()
}
