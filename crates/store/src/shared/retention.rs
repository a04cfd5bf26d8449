//! Removing what is too old or too much, in short transactions between the commits, and what it goes by.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use belfry_model::{ArchiveId, BusId, DeliveryId, EventId, OrderKey, TargetId};
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _};

use super::dialect::{room_before, unfinished_of};
use super::rows::{Columns, in_list};
use super::{Conn, Store, batch, replays};
use crate::usage::{BusHour, Count, HOUR_MS, bus_hour};
use crate::{
    ArchivePurge, ArchiveSize, BusPurge, BusPurged, BusSize, Purged, Release, Result, Retention,
};

/// The newest of the events to remove, when there are more than one chunk takes.
pub(super) const CHUNK_END: &str =
    "SELECT seq FROM event WHERE seq < $1 ORDER BY seq LIMIT 1 OFFSET $2";
/// Of targets that were deleted before every event that is left: no attempt needs them.
pub(super) const REMOVE_SAMPLES: &str =
    "DELETE FROM record_sample WHERE target_id IN (SELECT id FROM target WHERE deleted_at_ms < $1)";
pub(super) const REMOVE_LOG_ENTRIES: &str = "DELETE FROM log_entry WHERE log_id = $1 AND (seq, target_id) IN \
     (SELECT seq, target_id FROM log_entry WHERE log_id = $1 AND seq < $2 ORDER BY seq, target_id LIMIT $3)";
pub(super) const REMOVE_IDEMPOTENCY: &str = "DELETE FROM idempotency WHERE scope IN \
     (SELECT scope FROM idempotency WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)";
const COUNT_DOWN: &str = "UPDATE bus_usage SET events = events - $1, bytes = bytes - $2 \
     WHERE bus_id = $3 AND hour = $4 AND node_id = $5";
const FORGET_COUNT: &str =
    "DELETE FROM bus_usage WHERE bus_id = $1 AND hour = $2 AND node_id = $3 AND events <= 0";
const BUS_SIZES: &str = "SELECT bus_id, CAST(sum(events) AS BIGINT), CAST(sum(bytes) AS BIGINT), min(hour) FROM bus_usage \
     GROUP BY bus_id ORDER BY bus_id";
pub(super) const OLDEST_COPIES: &str = "SELECT seq, CAST(length(doc) AS BIGINT) FROM archived_event \
     WHERE archive_id = $1 AND seq < $2 ORDER BY seq LIMIT $3";
pub(super) const REMOVE_COPIES: &str = "DELETE FROM archived_event WHERE archive_id = $1 AND seq <= $2 \
     RETURNING CAST(length(doc) AS BIGINT)";
/// Node -1: what purges have removed.
const COUNT_COPIES_DOWN: &str = "INSERT INTO archive_usage (archive_id, node_id, events, bytes) VALUES ($1, -1, $2, $3) \
     ON CONFLICT (archive_id, node_id) DO UPDATE SET events = archive_usage.events + excluded.events, \
     bytes = archive_usage.bytes + excluded.bytes";
const FORGET_ARCHIVE: &str = "DELETE FROM archive_usage WHERE archive_id = $1 \
     AND EXISTS (SELECT 1 FROM archive WHERE id = $1 AND deleted_at_ms IS NOT NULL) \
     AND NOT EXISTS (SELECT 1 FROM archived_event WHERE archive_id = $1)";
pub(super) const ARCHIVE_SIZES: &str = "SELECT u.archive_id, a.deleted_at_ms, CAST(sum(u.events) AS BIGINT), \
     CAST(sum(u.bytes) AS BIGINT), (SELECT min(c.seq) FROM archived_event c WHERE c.archive_id = u.archive_id), \
     (SELECT max(c.seq) FROM archived_event c WHERE c.archive_id = u.archive_id) \
     FROM archive_usage u JOIN archive a ON a.id = u.archive_id GROUP BY u.archive_id, a.deleted_at_ms ORDER BY u.archive_id";

const UNFINISHED_NAMED_MAX: usize = 100;
const DAY_MS: i64 = 86_400_000;
/// An event may be matched with a target for so long after its deletion, clocks of several nodes included.
const LATE_MS: i64 = 3_600_000;

/// A condition on `seq`, of whole numbers: nothing in it needs quoting.
pub(super) fn up_to(end: i64) -> String {
    format!("seq <= {end}")
}

pub(super) fn these(ids: impl IntoIterator<Item = i64>) -> String {
    format!("seq IN {}", in_list(ids))
}

/// What goes with events, by their keys: rows written for an event that is gone already go with the next ones.
pub(super) fn removals(which: &str) -> [String; 3] {
    ["delivery", "attempt", "strict_key"].map(|table| format!("DELETE FROM {table} WHERE {which}"))
}

/// What waited behind them in order becomes free.
pub(super) fn remove_pending(which: &str) -> String {
    format!("DELETE FROM pending WHERE {which} RETURNING target_id, order_key")
}

pub(super) fn remove_events(which: &str) -> String {
    format!("DELETE FROM event WHERE {which} RETURNING seq, bus_id, CAST(length(doc) AS BIGINT)")
}

/// Removes events with everything about them. What waited behind them is due at `now_ms`. Returns also their bytes.
async fn remove(conn: &mut Conn, which: &str, now_ms: i64) -> Result<(Purged, i64)> {
    let mut purged = Purged::default();
    {
        let sql = AssertSqlSafe(unfinished_of(which));
        let mut rows = sqlx::query(sql).persistent(false).fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let mut columns = Columns::of(&row);
            let delivery = DeliveryId {
                event: columns.event_id()?,
                target: columns.target_id()?,
            };
            purged.unfinished_count += 1;
            if purged.unfinished.len() < UNFINISHED_NAMED_MAX {
                purged.unfinished.push(delivery);
            }
        }
    }
    let mut free: HashSet<(TargetId, OrderKey)> = HashSet::new();
    {
        let sql = AssertSqlSafe(remove_pending(which));
        let mut rows = sqlx::query(sql).persistent(false).fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let mut columns = Columns::of(&row);
            let target = columns.target_id()?;
            free.extend(columns.optional_order_key()?.map(|key| (target, key)));
        }
    }
    let release: Vec<_> = free
        .into_iter()
        .map(|(target, key)| Release {
            target,
            key,
            due_at_ms: now_ms,
        })
        .collect();
    batch::put_release(&mut *conn, &release).await?;
    for statement in removals(which) {
        sqlx::query(AssertSqlSafe(statement))
            .persistent(false)
            .execute(&mut *conn)
            .await?;
    }
    let mut counts: BTreeMap<BusHour, Count> = BTreeMap::new();
    {
        let sql = AssertSqlSafe(remove_events(which));
        let mut rows = sqlx::query(sql).persistent(false).fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let mut columns = Columns::of(&row);
            let (event, bus) = (columns.event_id()?, columns.bus_id()?);
            let count = counts.entry(bus_hour(bus, event)).or_default();
            count.add(columns.integer()?);
        }
    }
    let mut bytes = 0;
    for ((bus, hour, node), count) in counts {
        purged.events += u64::try_from(count.events).unwrap_or(0);
        bytes += count.bytes;
        let (bus, node) = (i64::from(bus.0), i64::from(node.0));
        sqlx::query(COUNT_DOWN)
            .bind(count.events)
            .bind(count.bytes)
            .bind(bus)
            .bind(hour)
            .bind(node)
            .execute(&mut *conn)
            .await?;
        sqlx::query(FORGET_COUNT)
            .bind(bus)
            .bind(hour)
            .bind(node)
            .execute(&mut *conn)
            .await?;
    }
    Ok((purged, bytes))
}

async fn purge(conn: &mut Conn, before: EventId, events_max: u32) -> Result<Purged> {
    let end = sqlx::query(CHUNK_END)
        .bind(before.get())
        .bind(i64::from(events_max.max(1)) - 1)
        .fetch_optional(&mut *conn)
        .await?;
    let end: i64 = match end {
        Some(row) => row.try_get(0)?,
        None => before.get() - 1,
    };
    // The event that is removed last is older than whatever waits behind it.
    let (purged, _) = remove(&mut *conn, &up_to(end), before.time_ms()).await?;
    if purged.events < u64::from(events_max) {
        sqlx::query(REMOVE_SAMPLES)
            .bind(EventId::from_stored(end).time_ms() - LATE_MS)
            .execute(conn)
            .await?;
    }
    Ok(purged)
}

/// The events of some buses in a range, oldest first.
pub(super) fn of_buses(buses: &[BusId], others: bool) -> String {
    let (not, list) = (
        if others { "NOT " } else { "" },
        in_list(buses.iter().map(|bus| i64::from(bus.0))),
    );
    format!(
        "SELECT seq, CAST(length(doc) AS BIGINT) FROM event WHERE seq > $1 AND seq <= $2 AND bus_id {not}IN {list} \
         ORDER BY seq LIMIT $3"
    )
}

/// What a look at the events of some buses has found.
struct Found {
    ids: Vec<i64>,
    reached: EventId,
    ended: bool,
}

async fn find_of_buses(conn: &mut Conn, what: &BusPurge) -> Result<Found> {
    let end = sqlx::query(replays::HISTORY_END)
        .bind(what.after.get())
        .bind(what.before.get())
        .bind(i64::from(what.scan_max.max(1)) - 1)
        .fetch_optional(&mut *conn)
        .await?;
    let end: Option<i64> = end.map(|row| row.try_get(0)).transpose()?;
    let last = end.unwrap_or_else(|| what.before.get() - 1);
    let events_max = what.events_max.max(1);
    let mut ids = Vec::new();
    let mut bytes: u64 = 0;
    let mut full = false;
    let sql = AssertSqlSafe(of_buses(&what.buses, what.others));
    let mut rows = sqlx::query(sql)
        .persistent(false)
        .bind(what.after.get())
        .bind(last)
        .bind(i64::from(events_max))
        .fetch(conn);
    while let Some(row) = rows.try_next().await?
        && !full
    {
        let mut columns = Columns::of(&row);
        ids.push(columns.integer()?);
        bytes = bytes.saturating_add(columns.small("size")?);
        full = bytes >= what.bytes_max || ids.len() >= events_max as usize;
    }
    let reached = ids.last().copied().filter(|_| full).unwrap_or(last);
    Ok(Found {
        ids,
        reached: EventId::from_stored(reached).max(what.after),
        ended: !full && end.is_none(),
    })
}

async fn purge_archive(conn: &mut Conn, what: ArchivePurge) -> Result<(u64, u64)> {
    let mut end = None;
    {
        let mut bytes: u64 = 0;
        let mut rows = sqlx::query(OLDEST_COPIES)
            .bind(what.archive.0)
            .bind(what.before.get())
            .bind(i64::from(what.events_max.max(1)))
            .fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let mut columns = Columns::of(&row);
            end = Some(columns.integer()?);
            bytes = bytes.saturating_add(columns.small("size")?);
            if bytes >= what.bytes_max {
                break;
            }
        }
    }
    // Counted when they are removed: another node may do the same.
    let mut count = Count::default();
    if let Some(end) = end {
        let mut rows = sqlx::query(REMOVE_COPIES)
            .bind(what.archive.0)
            .bind(end)
            .fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            count.add(row.try_get(0)?);
        }
    }
    if count.events > 0 {
        sqlx::query(COUNT_COPIES_DOWN)
            .bind(what.archive.0)
            .bind(-count.events)
            .bind(-count.bytes)
            .execute(conn)
            .await?;
    } else {
        sqlx::query(FORGET_ARCHIVE)
            .bind(what.archive.0)
            .execute(conn)
            .await?;
    }
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok((positive(count.events), positive(count.bytes)))
}

async fn purge_logs(
    conn: &mut Conn,
    now_ms: i64,
    idempotency_before_ms: i64,
    rows_max: u32,
) -> Result<u64> {
    let mut left = u64::from(rows_max);
    let logs = sqlx::query("SELECT id, retention_days FROM log ORDER BY id")
        .fetch_all(&mut *conn)
        .await?;
    for log in &logs {
        let mut columns = Columns::of(log);
        let (id, days) = (columns.integer()?, columns.integer()?);
        let before = EventId::first_at(now_ms.saturating_sub(days.saturating_mul(DAY_MS)));
        let removed = sqlx::query(REMOVE_LOG_ENTRIES)
            .bind(id)
            .bind(before.get())
            .bind(i64::try_from(left).unwrap_or(i64::MAX))
            .execute(&mut *conn)
            .await?
            .rows_affected();
        left = left.saturating_sub(removed);
    }
    let removed = sqlx::query(REMOVE_IDEMPOTENCY)
        .bind(idempotency_before_ms)
        .bind(i64::try_from(left).unwrap_or(i64::MAX))
        .execute(conn)
        .await?
        .rows_affected();
    Ok(u64::from(rows_max) - left.saturating_sub(removed))
}

/// A count; one that purges have taken below zero is none.
fn count(columns: &mut Columns<'_>) -> Result<u64> {
    Ok(u64::try_from(columns.integer()?).unwrap_or(0))
}

#[async_trait]
impl Retention for Store {
    async fn prepare_days(&self) -> Result<()> {
        self.make_days().await
    }

    async fn purge_events(&self, before: EventId, events_max: u32) -> Result<Purged> {
        if let Some(dropped) = self.drop_day(before).await? {
            return Ok(dropped);
        }
        let purged = self
            .write(move |conn| Box::pin(purge(conn, before, events_max)))
            .await?;
        if purged.events < u64::from(events_max) {
            self.after_purge().await?;
        }
        Ok(purged)
    }

    async fn purge_for_room(&self, before: EventId, events_max: u32) -> Result<Purged> {
        self.purge_events(room_before(before), events_max).await
    }

    async fn purge_buses(&self, what: &BusPurge) -> Result<BusPurged> {
        // Looked for outside of the writing transaction: most of what is looked at may be of other buses.
        let found = find_of_buses(self.reader().await?.conn()?, what).await?;
        let mut done = BusPurged {
            purged: Purged::default(),
            bytes: 0,
            reached: found.reached,
            ended: found.ended,
        };
        if let Some(newest) = found.ids.last().copied() {
            let now_ms = EventId::from_stored(newest).time_ms();
            let which = these(found.ids);
            let (purged, bytes) = self
                .write(move |conn| Box::pin(async move { remove(conn, &which, now_ms).await }))
                .await?;
            done.purged = purged;
            done.bytes = u64::try_from(bytes).unwrap_or(0);
        }
        Ok(done)
    }

    async fn purge_archive(&self, what: &ArchivePurge) -> Result<(u64, u64)> {
        let what = *what;
        self.write(move |conn| Box::pin(purge_archive(conn, what)))
            .await
    }

    async fn purge_logs(
        &self,
        now_ms: i64,
        idempotency_before_ms: i64,
        rows_max: u32,
    ) -> Result<u64> {
        self.write(move |conn| Box::pin(purge_logs(conn, now_ms, idempotency_before_ms, rows_max)))
            .await
    }

    async fn bus_sizes(&self) -> Result<Vec<BusSize>> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(BUS_SIZES).fetch_all(reader.conn()?).await?;
        let size = |row| {
            let mut columns = Columns::of(row);
            Ok(BusSize {
                bus: columns.bus_id()?,
                events: count(&mut columns)?,
                bytes: count(&mut columns)?,
                from: EventId::first_at(columns.integer()?.saturating_mul(HOUR_MS)),
            })
        };
        rows.iter().map(size).collect()
    }

    async fn archive_sizes(&self) -> Result<Vec<ArchiveSize>> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(ARCHIVE_SIZES).fetch_all(reader.conn()?).await?;
        let size = |row| {
            let mut columns = Columns::of(row);
            Ok(ArchiveSize {
                archive: ArchiveId(columns.small("archive id")?),
                deleted_at_ms: columns.take()?,
                events: count(&mut columns)?,
                bytes: count(&mut columns)?,
                oldest: columns.optional_event_id()?,
                newest: columns.optional_event_id()?,
            })
        };
        rows.iter().map(size).collect()
    }
}
