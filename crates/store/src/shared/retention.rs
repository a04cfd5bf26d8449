//! Removing what is too old, in short transactions between the commits.

use std::collections::HashSet;

use belfry_model::{DeliveryId, EventId, OrderKey, TargetId};
use futures_util::TryStreamExt as _;
use sqlx::Row as _;

use super::dialect::UNFINISHED_BELOW;
use super::rows::Columns;
use super::{Conn, Store, batch};
use crate::{Purged, Release, Result};

/// The newest of the events to remove, when there are more than one chunk takes.
pub(super) const CHUNK_END: &str =
    "SELECT seq FROM event WHERE seq < $1 ORDER BY seq LIMIT 1 OFFSET $2";
/// By key range and not by event: rows written for an event that is gone already go with the next ones.
/// What waited behind them in order becomes free.
pub(super) const REMOVE_PENDING: &str =
    "DELETE FROM pending WHERE seq <= $1 RETURNING target_id, order_key";
pub(super) const REMOVE: [&str; 3] = [
    "DELETE FROM delivery WHERE seq <= $1",
    "DELETE FROM attempt WHERE seq <= $1",
    "DELETE FROM strict_key WHERE seq <= $1",
];
pub(super) const REMOVE_EVENTS: &str = "DELETE FROM event WHERE seq <= $1";
/// Of targets that were deleted before every event that is left: no attempt needs them.
pub(super) const REMOVE_SAMPLES: &str =
    "DELETE FROM record_sample WHERE target_id IN (SELECT id FROM target WHERE deleted_at_ms < $1)";
pub(super) const REMOVE_LOG_ENTRIES: &str = "DELETE FROM log_entry WHERE log_id = $1 AND (seq, target_id) IN \
     (SELECT seq, target_id FROM log_entry WHERE log_id = $1 AND seq < $2 ORDER BY seq, target_id LIMIT $3)";
pub(super) const REMOVE_IDEMPOTENCY: &str = "DELETE FROM idempotency WHERE scope IN \
     (SELECT scope FROM idempotency WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)";

const UNFINISHED_NAMED_MAX: usize = 100;
const DAY_MS: i64 = 86_400_000;
/// An event may be matched with a target for so long after its deletion, clocks of several nodes included.
const LATE_MS: i64 = 3_600_000;

async fn purge(conn: &mut Conn, before: EventId, events_max: u32) -> Result<Purged> {
    // The event that is removed last is older than whatever waits behind it.
    let now_ms = before.time_ms();
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
        let mut rows = sqlx::query(UNFINISHED_BELOW).bind(end).fetch(&mut *conn);
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
        let mut rows = sqlx::query(REMOVE_PENDING).bind(end).fetch(&mut *conn);
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
    for statement in REMOVE {
        sqlx::query(statement).bind(end).execute(&mut *conn).await?;
    }
    purged.events = sqlx::query(REMOVE_EVENTS)
        .bind(end)
        .execute(&mut *conn)
        .await?
        .rows_affected();
    if purged.events < u64::from(events_max) {
        sqlx::query(REMOVE_SAMPLES)
            .bind(EventId::from_stored(end).time_ms() - LATE_MS)
            .execute(conn)
            .await?;
    }
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

impl Store {
    pub(super) async fn purge_chunk(&self, before: EventId, events_max: u32) -> Result<Purged> {
        let purged = self
            .write(move |conn| Box::pin(purge(conn, before, events_max)))
            .await?;
        if purged.events < u64::from(events_max) {
            self.after_purge().await?;
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
}
