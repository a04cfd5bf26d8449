//! Work on the database as a whole: sizes, closing. Backups are made with Postgres' own tools.

use std::path::Path;

use async_trait::async_trait;
use belfry_model::EventId;
use sqlx::{Connection as _, Row as _};

use super::{PostgresStore, transfer};
use crate::sqlite::tables;
use crate::{Maintenance, Result, StoreError, Usage};

/// Each end is one look-up per partition at the end of its key. The size is that of the own schema's tables with their
/// indexes: others may use the same database.
const ENDS: &str = "SELECT (SELECT min(seq) FROM event), (SELECT max(seq) FROM event), \
     (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class \
     WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r')";

impl PostgresStore {
    pub(super) async fn measure(&self) -> Result<Usage> {
        let mut reader = self.reader().await?;
        let row = sqlx::query(ENDS).fetch_one(reader.conn()?).await?;
        let (oldest, newest): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        let bytes = u64::try_from(row.try_get::<i64, _>(2)?).unwrap_or(0);
        Ok(Usage {
            used_bytes: bytes,
            file_bytes: bytes,
            disk_free_bytes: None,
            oldest_event: oldest.map(EventId::from_stored),
            newest_event: newest.map(EventId::from_stored),
        })
    }

    /// Vacuum gives space back here.
    #[expect(clippy::unused_async, reason = "the shared files ask every database")]
    pub(super) async fn after_purge(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Maintenance for PostgresStore {
    async fn ping(&self) -> Result<()> {
        let mut reader = self.reader().await?;
        sqlx::query("SELECT 1").execute(reader.conn()?).await?;
        Ok(())
    }

    async fn backup(&self, _to: &Path) -> Result<()> {
        Err(StoreError::Unusable(
            "a Postgres database is backed up with Postgres' own tools, such as pg_dump or pg_basebackup".to_owned(),
        ))
    }

    async fn stats(&self) -> Result<Vec<(String, u64)>> {
        let mut stats = Vec::new();
        {
            let mut reader = self.reader().await?;
            for table in tables().await? {
                let rows = transfer::count(reader.conn()?, table).await?;
                stats.push((table.name.clone(), rows));
            }
        }
        stats.push(("used_bytes".to_owned(), self.measure().await?.used_bytes));
        Ok(stats)
    }

    async fn close(&self) {
        if let Some(listener) = self.listener.get() {
            listener.end();
        }
        if let Some(committer) = self.committer.lock().await.take()
            && let Err(error) = committer.conn.close().await
        {
            tracing::debug!(%error, "closing a connection failed");
        }
        self.writers.close().await;
        self.readers.close().await;
    }
}
