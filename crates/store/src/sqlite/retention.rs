//! Removing what is too old, in short transactions between the commits.

use belfry_model::{DeliveryId, EventId};
use futures_util::TryStreamExt as _;
use sqlx::Row as _;

use super::rows::Columns;
use super::{Conn, SqliteStore};
use crate::{Purged, Result};

/// The newest of the events to remove, when there are more than one chunk takes.
pub(super) const CHUNK_END: &str =
    "SELECT seq FROM event WHERE seq < $1 ORDER BY seq LIMIT 1 OFFSET $2";
/// The fan-out tells every delivery, also those that are still in memory and have no row.
pub(super) const UNFINISHED: &str = "SELECT e.seq, fan.value FROM event e CROSS JOIN json_each(e.fan) fan \
     WHERE e.seq <= $1 AND NOT EXISTS (SELECT 1 FROM delivery d \
     WHERE d.seq = e.seq AND d.target_id = fan.value AND d.status NOT IN (0, 2)) ORDER BY e.seq";
/// By key range and not by event: rows written for an event that is gone already go with the next ones.
pub(super) const REMOVE: [&str; 4] = [
    "DELETE FROM pending WHERE seq <= $1",
    "DELETE FROM delivery WHERE seq <= $1",
    "DELETE FROM attempt WHERE seq <= $1",
    "DELETE FROM strict_key WHERE seq <= $1",
];
pub(super) const REMOVE_EVENTS: &str = "DELETE FROM event WHERE seq <= $1";
pub(super) const REMOVE_LOG_ENTRIES: &str = "DELETE FROM log_entry WHERE log_id = $1 AND (seq, target_id) IN \
     (SELECT seq, target_id FROM log_entry WHERE log_id = $1 AND seq < $2 ORDER BY seq, target_id LIMIT $3)";
pub(super) const REMOVE_IDEMPOTENCY: &str = "DELETE FROM idempotency WHERE scope IN \
     (SELECT scope FROM idempotency WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)";

const UNFINISHED_NAMED_MAX: usize = 100;
const DAY_MS: i64 = 86_400_000;
/// Free pages are reused, so a file stays on its plateau. Only when more than this share of it is free does a purge
/// that has nothing left to do give some back.
const FREE_SHARE: i64 = 4;
const FREE_PAGES_MIN: i64 = 4096;
const GIVE_BACK: &str = "PRAGMA incremental_vacuum(2048)";

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
    let mut purged = Purged::default();
    {
        let mut rows = sqlx::query(UNFINISHED).bind(end).fetch(&mut *conn);
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
    for statement in REMOVE {
        sqlx::query(statement).bind(end).execute(&mut *conn).await?;
    }
    purged.events = sqlx::query(REMOVE_EVENTS)
        .bind(end)
        .execute(conn)
        .await?
        .rows_affected();
    Ok(purged)
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

impl SqliteStore {
    pub(super) async fn purge_chunk(&self, before: EventId, events_max: u32) -> Result<Purged> {
        let purged = self
            .write(move |conn| Box::pin(purge(conn, before, events_max)))
            .await?;
        if purged.events < u64::from(events_max) {
            self.give_back().await?;
        }
        Ok(purged)
    }

    pub(super) async fn purge_log_chunk(
        &self,
        now_ms: i64,
        idempotency_before_ms: i64,
        rows_max: u32,
    ) -> Result<u64> {
        self.write(move |conn| Box::pin(purge_logs(conn, now_ms, idempotency_before_ms, rows_max)))
            .await
    }

    /// Makes the file smaller by a little, if much of it is free.
    async fn give_back(&self) -> Result<()> {
        let mut writer = self.lock_writer().await?;
        let conn = writer.conn()?;
        let free: i64 = sqlx::query("PRAGMA freelist_count")
            .fetch_one(&mut *conn)
            .await?
            .try_get(0)?;
        let all: i64 = sqlx::query("PRAGMA page_count")
            .fetch_one(&mut *conn)
            .await?
            .try_get(0)?;
        if free > FREE_PAGES_MIN && free > all / FREE_SHARE {
            // It frees a page per step: to be stepped to its end.
            sqlx::query(GIVE_BACK).fetch_all(conn).await?;
        }
        Ok(())
    }
}
