//! A [`Batch`] as statements. Made before the writer is taken, so that its time goes to the database alone.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use belfry_model::{DeliveryId, LogName};

use super::bulk::{Bulk, PLAIN, Row, Script, Step};
use super::rows::fan_text;
use super::{Conn, SqliteStore, alarms, functions, order, recent, replays};
use crate::sample::{Packer, unlike_first_try, with_first_tries};
use crate::usage;
use crate::{
    Batch, IdempotencyRecord, LOG_RETENTION_DAYS_DEFAULT, NewEvent, NewInvocation, Pending,
    Release, Result, StoreError,
};

static EVENT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO event (seq, bus_id, ce_id, source, type, subject, trace_id, fan, doc) SELECT *",
        9,
        "",
    )
});

/// Rows of their own shape, so that the others need not say that they repeat nothing.
static REPLAYED_EVENT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO event (seq, bus_id, ce_id, source, type, subject, trace_id, fan, doc, replay_id, replay_of) SELECT *",
        11,
        "",
    )
});

const RECENT: &str = "INSERT INTO recent (seq, keys) VALUES (?, ?)";

/// Copies of events that the same transaction has just stored: their documents are bound once.
static ARCHIVED_EVENT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO archived_event (archive_id, seq, ce_id, source, type, subject, doc) \
         SELECT a.archive_id, e.seq, e.ce_id, e.source, e.type, e.subject, e.doc \
         FROM (SELECT column1 AS archive_id, column2 AS seq",
        2,
        ") a CROSS JOIN event e ON e.seq = a.seq",
    )
});

static BUS_USAGE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO bus_usage (bus_id, hour, node_id, events, bytes) SELECT *",
        5,
        "ON CONFLICT (bus_id, hour, node_id) DO UPDATE SET events = bus_usage.events + excluded.events, \
         bytes = bus_usage.bytes + excluded.bytes",
    )
});

static ARCHIVE_USAGE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO archive_usage (archive_id, node_id, events, bytes) SELECT *",
        4,
        "ON CONFLICT (archive_id, node_id) DO UPDATE SET events = archive_usage.events + excluded.events, \
         bytes = archive_usage.bytes + excluded.bytes",
    )
});

/// The first event with a key keeps it: a later one is a repeat that slipped through, and must not stop the batch.
static STRICT_KEY: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO strict_key (bus_id, key, seq) SELECT *",
        3,
        "ON CONFLICT DO NOTHING",
    )
});

static OUTCOME: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO delivery (seq, target_id, status, attempts, status_code, duration_ms, at_ms, reason, detail, \
         first_try) SELECT *",
        10,
        "ON CONFLICT (seq, target_id) DO UPDATE SET status = excluded.status, attempts = excluded.attempts, \
         status_code = excluded.status_code, duration_ms = excluded.duration_ms, at_ms = excluded.at_ms, \
         reason = excluded.reason, detail = excluded.detail, first_try = coalesce(excluded.first_try, delivery.first_try)",
    )
});

/// An attempt can come twice when its lease ran out while it was under way; the later report stays.
static ATTEMPT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT OR REPLACE INTO attempt (seq, target_id, number, set_off_by, started_at_ms, duration_ms, status_code, \
         reason, detail, next_at_ms, record) SELECT *",
        11,
        "",
    )
});

/// Another node may have made the same one.
static SAMPLE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO record_sample (target_id, id, text) SELECT *",
        3,
        "ON CONFLICT DO NOTHING",
    )
});

/// `REPLACE`: a delivery has one row, whatever time it was due before.
static PENDING: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT OR REPLACE INTO pending (target_id, due_at_ms, seq, attempts, attempts_before, since_ms, set_off_by, owner, \
         progress) SELECT *",
        9,
        "",
    )
});

/// Work with an order: blocked where an earlier one of its key is there. `column11` says so of the earlier ones that are
/// written by the same statement, which this cannot see. The number is [`BLOCKED_MS`].
static PENDING_IN_ORDER: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT OR REPLACE INTO pending (target_id, due_at_ms, seq, attempts, attempts_before, since_ms, set_off_by, owner, \
         progress, order_key) \
         SELECT column1, CASE WHEN column11 OR EXISTS (SELECT 1 FROM pending q WHERE q.target_id = column1 \
         AND q.order_key = column10 AND q.seq < column3) THEN 253402300799000 ELSE column2 END, \
         column3, column4, column5, column6, column7, column8, column9, column10",
        11,
        "",
    )
});

/// A claim given back: blocked again, unless somebody else holds it.
static UNCLAIM: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "UPDATE pending SET due_at_ms = 253402300799000, owner = NULL WHERE (target_id, due_at_ms, seq) IN \
         (SELECT column1, column2, column3",
        3,
        ")",
    )
});

/// The first of a key, if it is blocked, becomes due.
static RELEASE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "UPDATE pending SET due_at_ms = column3",
        3,
        "AND target_id = column1 AND due_at_ms = 253402300799000 AND seq = (SELECT min(q.seq) FROM pending q \
         WHERE q.target_id = column1 AND q.order_key = column2)",
    )
});

static TOLD: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO told (alarm_id, target_id, since_seq, last_seq, firing, severity, count, first_at_ms, last_at_ms, thread) \
         SELECT *",
        10,
        "ON CONFLICT (alarm_id, target_id) DO UPDATE SET since_seq = excluded.since_seq, last_seq = excluded.last_seq, \
         firing = excluded.firing, severity = excluded.severity, count = excluded.count, \
         first_at_ms = excluded.first_at_ms, last_at_ms = excluded.last_at_ms, thread = excluded.thread",
    )
});

static INVOCATION: LazyLock<Bulk> = LazyLock::new(|| {
    let head = format!("INSERT INTO invocation ({}) SELECT *", functions::COLUMNS);
    Bulk::new(&head, 11, functions::REPLACE)
});

/// A sub-select over the list: a bare `IN (VALUES ...)` makes SQLite read the whole table.
static DONE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "DELETE FROM pending WHERE (seq, target_id) IN (SELECT column1, column2",
        2,
        ")",
    )
});

static LOG: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO log (name, retention_days) SELECT *",
        2,
        "ON CONFLICT DO NOTHING",
    )
});

static LOG_ENTRY: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO log_entry (log_id, seq, target_id, ce_id, source, type, subject, text) \
         SELECT (SELECT id FROM log WHERE name = column1), column2, column3, column4, column5, column6, column7, column8",
        8,
        "ON CONFLICT DO NOTHING",
    )
});

static IDEMPOTENCY: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO idempotency (scope, fingerprint, at_ms, answer) SELECT *",
        4,
        "",
    )
});

const WATERMARK: &str = "INSERT INTO node (node_id, watermark) VALUES (?, ?) \
     ON CONFLICT (node_id) DO UPDATE SET watermark = excluded.watermark WHERE excluded.watermark > node.watermark";

/// A number's row has this epoch, or the batch writes nothing; moves the watermark on the way.
const FENCE: &str = "UPDATE node SET watermark = max(watermark, ?) WHERE node_id = ? AND epoch = ?";

/// The statements that write a batch, in an order in which each finds what it needs.
pub(super) fn statements(batch: &Batch, packer: &mut Packer<'_>) -> Result<Script> {
    let mut out = Script::default();
    if let Some(by) = batch.by
        && !batch.is_empty()
    {
        let fence = Step {
            on_nothing: || Some(StoreError::Fenced),
            ..PLAIN
        };
        out.add(FENCE, fence, |row| {
            row.put(batch.watermark.map_or(0, |(_, watermark)| watermark.get()))?
                .put(i64::from(by.node.0))?
                .put(by.epoch)
                .map(drop)
        })?;
    }
    // Nearly always all of them.
    for run in batch
        .events
        .chunk_by(|a, b| a.replay.is_some() == b.replay.is_some())
    {
        if run.first().is_some_and(|new| new.replay.is_some()) {
            REPLAYED_EVENT.add(run, &mut out, |new, row| {
                let row = event(row, new)?;
                row.put(new.replay.map(|mark| mark.replay.0))?
                    .put(new.replay.map(|mark| mark.of.get()))
                    .map(drop)
            })?;
        } else {
            EVENT.add(run, &mut out, |new, row| event(row, new).map(drop))?;
        }
    }
    add_counts(batch, &mut out)?;
    let strict: Vec<_> = batch
        .events
        .iter()
        .filter(|new| new.strict)
        .filter_map(|new| new.key.map(|key| (new.bus, key, new.id)))
        .collect();
    STRICT_KEY.add(&strict, &mut out, |(bus, key, id), row| {
        row.put(bus.0)?.put(key.as_slice())?.put(id.get()).map(drop)
    })?;
    if let Some((first, keys)) = recent::packed(&batch.events) {
        out.add(RECENT, PLAIN, |row| {
            row.put(first.get())?.put(keys).map(drop)
        })?;
    }
    let (outcomes, attempts) = with_first_tries(batch);
    OUTCOME.add(&outcomes, &mut out, |pair, row| {
        let (outcome, first_try) = pair;
        let own = unlike_first_try(pair);
        delivery(row, outcome.delivery)?
            .put(outcome.status.number())?
            .put(own.map(|one| i64::from(one.attempts)))?;
        row.put(own.and_then(|one| one.status_code).map(i64::from))?
            .put(own.map(|one| i64::from(one.duration_ms)))?
            .put(outcome.at_ms)?;
        row.put(outcome.reason.map(belfry_model::delivery::Reason::number))?;
        row.put(outcome.detail.as_deref())?;
        row.put(first_try.map(|attempt| packer.first_try(attempt)))
            .map(drop)
    })?;
    ATTEMPT.add(&attempts, &mut out, |attempt, row| {
        delivery(row, attempt.delivery)?
            .put(i64::from(attempt.number))?
            .put(attempt.trigger.number())?;
        row.put(attempt.started_at_ms)?
            .put(i64::from(attempt.duration_ms))?;
        row.put(attempt.status_code.map(i64::from))?;
        row.put(attempt.reason.map(belfry_model::delivery::Reason::number))?;
        row.put(attempt.detail.as_deref())?
            .put(attempt.next_at_ms)?;
        row.put(packer.record(attempt)).map(drop)
    })?;
    SAMPLE.add(&packer.fresh, &mut out, |(target, sample), row| {
        row.put(target.0)?
            .put(sample.id)?
            .put(sample.text.as_slice())
            .map(drop)
    })?;
    TOLD.add(&batch.told, &mut out, |told, row| {
        row.put(told.alarm.0.get())?
            .put(told.target.0)?
            .put(told.since.get())?
            .put(told.last.get())?
            .put(told.firing)?
            .put(told.severity)?;
        row.put(i64::try_from(told.count).unwrap_or(i64::MAX))?
            .put(told.first_at_ms)?
            .put(told.last_at_ms)?
            .put(told.thread.as_deref())
            .map(drop)
    })?;
    add_invocations(&batch.invocations, &mut out)?;
    DONE.add(&batch.done, &mut out, |id, row| {
        delivery(row, *id).map(drop)
    })?;
    UNCLAIM.add(&batch.unclaimed, &mut out, |(id, lease_until_ms), row| {
        row.put(id.target.0)?
            .put(*lease_until_ms)?
            .put(id.event.get())
            .map(drop)
    })?;
    add_pending(&batch.pending, &mut out)?;
    add_release(&batch.release, &mut out)?;
    add_log_entries(batch, &mut out)?;
    add_idempotency(&batch.idempotency, &mut out)?;
    if let (Some((node, watermark)), None) = (batch.watermark, batch.by) {
        out.add(WATERMARK, PLAIN, |row| {
            row.put(i64::from(node.0))?.put(watermark.get()).map(drop)
        })?;
    }
    Ok(out)
}

/// What buses and archives get of it: counts, and copies.
fn add_counts(batch: &Batch, out: &mut Script) -> Result<()> {
    BUS_USAGE.add(
        &usage::of_buses(batch),
        out,
        |((bus, hour, node), count), row| {
            row.put(bus.0)?
                .put(*hour)?
                .put(i64::from(node.0))?
                .put(count.events)?
                .put(count.bytes)
                .map(drop)
        },
    )?;
    ARCHIVED_EVENT.add(&usage::copies(batch), out, |(archive, event), row| {
        row.put(archive.0)?.put(event.get()).map(drop)
    })?;
    ARCHIVE_USAGE.add(
        &usage::of_archives(batch),
        out,
        |((archive, node), count), row| {
            row.put(archive.0)?
                .put(i64::from(node.0))?
                .put(count.events)?
                .put(count.bytes)
                .map(drop)
        },
    )
}

fn add_invocations(invocations: &[NewInvocation], out: &mut Script) -> Result<()> {
    INVOCATION.add(invocations, out, |one, row| {
        row.put(one.request_id.as_bytes().as_slice())?
            .put(one.function.to_string())?
            .put(one.version.as_deref())?
            .put(one.delivery.map(|id| id.event.get()))?
            .put(one.delivery.map(|id| i64::from(id.target.0)))?;
        row.put(one.started_at_ms)?
            .put(i64::try_from(one.duration_us).unwrap_or(i64::MAX))?
            .put(one.outcome.as_deref())?
            .put(i64::from(one.node.0))?;
        row.put(one.record.as_str())?
            .put(one.log.as_str())
            .map(drop)
    })
}

fn event<'r, 'a>(row: &'r mut Row<'a>, new: &NewEvent) -> Result<&'r mut Row<'a>> {
    row.put(new.id.get())?
        .put(new.bus.0)?
        .put(new.event.id())?
        .put(new.event.source())?;
    row.put(new.event.kind())?
        .put(new.event.subject())?
        .put(new.trace_id.as_deref())?;
    row.put(fan_text(&new.fan))?.put(new.event.doc().as_ref())
}

fn delivery<'r, 'a>(row: &'r mut Row<'a>, id: DeliveryId) -> Result<&'r mut Row<'a>> {
    row.put(id.event.get())?.put(id.target.0)
}

impl SqliteStore {
    /// A transaction ends with its task, and a later one waits for it: nothing is left to happen.
    #[expect(clippy::unused_async, reason = "the shared files ask every database")]
    pub(super) async fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Writes a batch in one transaction.
    pub(super) async fn commit_batch(&self, batch: &Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let (script, fresh) = {
            let samples = self.samples();
            let mut packer = Packer::new(&samples);
            (statements(batch, &mut packer)?, packer.fresh)
        };
        if batch.replays.is_empty() && batch.signs.is_empty() {
            self.write_script(script).await?;
        } else {
            let progress = batch.replays.clone();
            let signs = batch.signs.clone();
            self.write(move |conn| {
                Box::pin(async move {
                    // First: when it is refused, nothing else has been done in vain.
                    if !replays::advance(conn, &progress).await? {
                        return Err(StoreError::Conflict);
                    }
                    alarms::note(conn, &signs).await?;
                    script.run(conn).await
                })
            })
            .await?;
        }
        self.remember_samples(fresh);
        self.checkpoint_beside(batch);
        Ok(())
    }
}

/// Writes pending work; it replaces what was pending for the same deliveries.
pub(super) async fn put_pending(conn: &mut Conn, pending: &[Pending]) -> Result<()> {
    let mut script = Script::default();
    add_pending(pending, &mut script)?;
    script.run(conn).await
}

/// Writes invocations; see [`functions::REPLACE`].
pub(super) async fn put_invocations(conn: &mut Conn, invocations: &[NewInvocation]) -> Result<()> {
    let mut script = Script::default();
    add_invocations(invocations, &mut script)?;
    script.run(conn).await
}

/// Sets the first delivery of each key free, if it is blocked.
pub(super) async fn put_release(conn: &mut Conn, release: &[Release]) -> Result<()> {
    let mut script = Script::default();
    add_release(release, &mut script)?;
    script.run(conn).await
}

fn add_pending(pending: &[Pending], out: &mut Script) -> Result<()> {
    if pending.iter().all(|work| work.order.is_none()) {
        return PENDING.add(pending, out, |work, row| pending_row(work, row).map(drop));
    }
    let (plain, ordered): (Vec<_>, Vec<_>) = pending
        .iter()
        .zip(order::behind_others(pending.iter()))
        .partition(|(work, _)| work.order.is_none());
    PENDING.add(&plain, out, |(work, _), row| {
        pending_row(work, row).map(drop)
    })?;
    PENDING_IN_ORDER.add(&ordered, out, |(work, behind), row| {
        pending_row(work, row)?
            .put(work.order.map(|key| key.0))?
            .put(*behind)
            .map(drop)
    })
}

fn pending_row<'r, 'a>(work: &Pending, row: &'r mut Row<'a>) -> Result<&'r mut Row<'a>> {
    row.put(work.delivery.target.0)?
        .put(work.due_at_ms)?
        .put(work.delivery.event.get())?
        .put(i64::from(work.attempts))?
        .put(i64::from(work.attempts_before))?
        .put(work.since_ms)?
        .put(work.trigger.number())?
        .put(work.owner.map(|node| i64::from(node.0)))?
        .put(work.progress.as_deref())
}

fn add_release(release: &[Release], out: &mut Script) -> Result<()> {
    RELEASE.add(release, out, |free, row| {
        row.put(free.target.0)?
            .put(free.key.0)?
            .put(free.due_at_ms)
            .map(drop)
    })
}

fn add_log_entries(batch: &Batch, out: &mut Script) -> Result<()> {
    let logs: Vec<&LogName> = batch
        .log_entries
        .iter()
        .map(|entry| &entry.log)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    LOG.add(&logs, out, |name, row| {
        row.put(name.as_str())?
            .put(i64::from(LOG_RETENTION_DAYS_DEFAULT))
            .map(drop)
    })?;
    LOG_ENTRY.add(&batch.log_entries, out, |entry, row| {
        delivery(row.put(entry.log.as_str())?, entry.delivery)?;
        row.put(entry.event.id.as_str())?
            .put(entry.event.source.as_str())?
            .put(entry.event.kind.as_str())?;
        row.put(entry.event.subject.as_deref())?
            .put(entry.text.as_str())
            .map(drop)
    })
}

fn add_idempotency(records: &[IdempotencyRecord], out: &mut Script) -> Result<()> {
    let once = Step {
        on_duplicate: || Some(StoreError::IdempotencyConflict),
        ..PLAIN
    };
    IDEMPOTENCY.add_with(once, records, out, |record, row| {
        row.put(record.scope.as_slice())?
            .put(record.fingerprint.as_slice())?
            .put(record.at_ms)?;
        row.put(record.answer.as_slice()).map(drop)
    })
}
