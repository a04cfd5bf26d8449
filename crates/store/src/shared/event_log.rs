//! The append-only log: commit, recovery, look-ups by key.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use async_trait::async_trait;
use belfry_model::{BusId, EventId, NodeId, TargetId};
use sqlx::Row as _;

use super::dialect::{COMMITS_ONE_BY_ONE, UNFINISHED};
use super::rows::Columns;
use super::{Conn, Store, find};
use crate::sample::{Fresh, Samples};
use crate::{Batch, EventKey, EventLog, IdempotencyRecord, RecentKeys, Recovered, Result, Usage};

const GIVE_BACK: &str = "UPDATE pending SET due_at_ms = $1, owner = NULL WHERE owner = $2";
pub(super) const NEWEST: &str = "SELECT max(seq) FROM event";
const SET_WATERMARK: &str = "INSERT INTO node (node_id, watermark) VALUES ($1, $2) \
     ON CONFLICT (node_id) DO UPDATE SET watermark = excluded.watermark";
pub(super) const IDS_AFTER: &str = "SELECT seq FROM event WHERE seq > $1 ORDER BY seq LIMIT $2";
pub(super) const FIND_STRICT: &str = "SELECT seq FROM strict_key WHERE bus_id = $1 AND key = $2";
pub(super) const FIND_IDEMPOTENCY: &str =
    "SELECT scope, fingerprint, at_ms, answer FROM idempotency WHERE scope = $1";

/// The newest event of any node.
pub(super) async fn newest(conn: &mut Conn) -> Result<Option<EventId>> {
    let newest: Option<i64> = sqlx::query(NEWEST).fetch_one(conn).await?.try_get(0)?;
    Ok(newest.map(EventId::from_stored))
}

/// Takes up what a number's holder left: its claims are given back, its unfinished deliveries become pending work due
/// now, its watermark moves to the newest event. The holder must not be able to write any more.
pub(super) async fn recover(conn: &mut Conn, node: NodeId, now_ms: i64) -> Result<Recovered> {
    let number = i64::from(node.0);
    let reclaimed = sqlx::query(GIVE_BACK)
        .bind(now_ms)
        .bind(number)
        .execute(&mut *conn)
        .await?
        .rows_affected();
    let newest = newest(conn).await?;
    let watermark: Option<i64> = sqlx::query("SELECT watermark FROM node WHERE node_id = $1")
        .bind(number)
        .fetch_optional(&mut *conn)
        .await?
        .map(|row| row.try_get(0))
        .transpose()?;
    let above = watermark.unwrap_or(-1);
    let unfinished = sqlx::query(UNFINISHED)
        .bind(now_ms)
        .bind(above)
        .bind(number)
        .execute(&mut *conn)
        .await?
        .rows_affected();
    if let Some(newest) = newest.filter(|newest| newest.get() > above) {
        sqlx::query(SET_WATERMARK)
            .bind(number)
            .bind(newest.get())
            .execute(conn)
            .await?;
    }
    Ok(Recovered {
        newest,
        unfinished,
        reclaimed,
    })
}

impl Store {
    /// The samples that are known to be stored.
    pub(super) fn samples(&self) -> MutexGuard<'_, Samples> {
        // No code that can panic runs under the lock.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples that a commit has made durable.
    pub(super) fn remember_samples(&self, fresh: Fresh) {
        if fresh.is_empty() {
            return;
        }
        let mut samples = self.samples();
        for (target, sample) in fresh {
            samples.add(target, [sample]);
        }
    }

    /// Loads the samples of targets that have attempts in the batch and none in memory.
    async fn load_samples(&self, batch: &Batch) -> Result<()> {
        let missing: BTreeSet<TargetId> = {
            let samples = self.samples();
            let targets = batch.attempts.iter().map(|attempt| attempt.delivery.target);
            targets.filter(|target| !samples.knows(*target)).collect()
        };
        for target in missing {
            let stored = find::list_samples(self.reader().await?.conn()?, target).await?;
            self.samples().add(target, stored.into_iter().map(Arc::new));
        }
        Ok(())
    }
}

#[async_trait]
impl EventLog for Store {
    fn commits_one_by_one(&self) -> bool {
        COMMITS_ONE_BY_ONE
    }

    async fn commit(&self, batch: &Batch) -> Result<()> {
        self.in_time(self.load_samples(batch)).await?;
        self.commit_batch(batch).await?;
        if !self.options.commit_delay.is_zero() {
            tokio::time::sleep(self.options.commit_delay).await;
        }
        Ok(())
    }

    async fn event_ids_after(&self, after: EventId, limit: u32) -> Result<Vec<EventId>> {
        self.in_time(async {
            // Whether a doubtful commit has happened is asked by this: it must not happen after the answer.
            self.settle().await?;
            let mut reader = self.reader().await?;
            let rows = sqlx::query(IDS_AFTER)
                .bind(after.get())
                .bind(i64::from(limit))
                .fetch_all(reader.conn()?)
                .await?;
            rows.iter()
                .map(|row| Ok(EventId::from_stored(row.try_get(0)?)))
                .collect()
        })
        .await
    }

    async fn recent_keys(
        &self,
        after: EventId,
        before: EventId,
        commits_max: u32,
    ) -> Result<RecentKeys> {
        self.newest_keys(after, before, commits_max).await
    }

    async fn purge_keys(&self, before: EventId, commits_max: u32) -> Result<u64> {
        self.forget_keys(before, commits_max).await
    }

    async fn find_strict(&self, keys: &[(BusId, EventKey)]) -> Result<Vec<Option<EventId>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.in_time(async {
            let mut reader = self.reader().await?;
            let conn = reader.conn()?;
            let mut found = Vec::with_capacity(keys.len());
            for (bus, key) in keys {
                let row = sqlx::query(FIND_STRICT)
                    .bind(bus.0)
                    .bind(key.as_slice())
                    .fetch_optional(&mut *conn)
                    .await?;
                found.push(
                    row.map(|row| row.try_get(0).map(EventId::from_stored))
                        .transpose()?,
                );
            }
            Ok(found)
        })
        .await
    }

    async fn find_idempotency(&self, scope: &[u8; 32]) -> Result<Option<IdempotencyRecord>> {
        let mut reader = self.reader().await?;
        let row = sqlx::query(FIND_IDEMPOTENCY)
            .bind(scope.as_slice())
            .fetch_optional(reader.conn()?)
            .await?;
        row.map(|row| Columns::of(&row).idempotency()).transpose()
    }

    async fn usage(&self) -> Result<Usage> {
        self.measure().await
    }
}
