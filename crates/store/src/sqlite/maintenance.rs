//! Work on the file as a whole: sizes, backup, closing.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use async_trait::async_trait;
use belfry_model::EventId;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::check::{beside, log_bytes};
use super::open::{backup_options, sync_directory};
use super::{Conn, SqliteStore, tables, transfer};
use crate::{Maintenance, Purged, Result, StoreError, Usage};

/// Two look-ups at the ends of the key; `min` and `max` in one would read every row.
pub(super) const ENDS: &str = "SELECT (SELECT min(seq) FROM event), (SELECT max(seq) FROM event)";

/// Free pages are reused, so a file stays on its plateau. Only when more than this share of it is free does a purge
/// that has nothing left to do give some back.
const FREE_SHARE: i64 = 4;
const FREE_PAGES_MIN: i64 = 4096;
const GIVE_BACK: &str = "PRAGMA incremental_vacuum(2048)";

impl SqliteStore {
    /// There are no days here.
    #[expect(clippy::unused_async, reason = "the shared files ask every database")]
    pub(super) async fn make_days(&self) -> Result<()> {
        Ok(())
    }

    /// Rows are deleted one by one.
    #[expect(clippy::unused_async, reason = "the shared files ask every database")]
    pub(super) async fn drop_day(&self, _before: EventId) -> Result<Option<Purged>> {
        Ok(None)
    }

    /// Makes the file smaller by a little, if much of it is free.
    pub(super) async fn after_purge(&self) -> Result<()> {
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

    pub(super) async fn measure(&self) -> Result<Usage> {
        let mut reader = self.reader().await?;
        let conn = reader.conn()?;
        let page_bytes = pragma(conn, "PRAGMA page_size").await?;
        let pages = pragma(conn, "PRAGMA page_count").await?;
        let free = pragma(conn, "PRAGMA freelist_count").await?;
        let ends = sqlx::query(ENDS).fetch_one(conn).await?;
        let (oldest, newest): (Option<i64>, Option<i64>) = (ends.try_get(0)?, ends.try_get(1)?);
        let used_bytes = pages.saturating_sub(free) * page_bytes;
        let (file_bytes, disk_free_bytes) = match &self.path {
            Some(path) => {
                let file = path.metadata().map_or(0, |metadata| metadata.len());
                (file + log_bytes(path), disk_free(path))
            }
            None => (pages * page_bytes, None),
        };
        Ok(Usage {
            used_bytes,
            file_bytes,
            disk_free_bytes,
            oldest_event: oldest.map(EventId::from_stored),
            newest_event: newest.map(EventId::from_stored),
        })
    }

    async fn copy_to(&self, to: &Path) -> Result<()> {
        let text = to
            .to_str()
            .ok_or_else(|| cannot(to, &"its name is not UTF-8"))?;
        if let Some(path) = &self.path {
            let mut conn = backup_options(path, &self.options).connect().await?;
            let copied = sqlx::query("VACUUM INTO $1")
                .bind(text)
                .execute(&mut conn)
                .await;
            conn.close().await?;
            copied?;
        } else {
            let mut reader = self.reader().await?;
            sqlx::query("VACUUM INTO $1")
                .bind(text)
                .execute(reader.conn()?)
                .await?;
        }
        Ok(())
    }
}

async fn pragma(conn: &mut Conn, text: &'static str) -> Result<u64> {
    let number: i64 = sqlx::query(text).fetch_one(conn).await?.try_get(0)?;
    Ok(u64::try_from(number).unwrap_or(0))
}

fn disk_free(path: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(path.parent()?).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

fn cannot(to: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!("cannot write the backup {}: {why}", to.display()))
}

#[async_trait]
impl Maintenance for SqliteStore {
    async fn ping(&self) -> Result<()> {
        let mut reader = self.reader().await?;
        sqlx::query("SELECT 1").execute(reader.conn()?).await?;
        Ok(())
    }

    async fn backup(&self, to: &Path) -> Result<()> {
        // Under another name until it is whole and on the disk: what stands at `to` is a backup, whatever happened.
        // Made here, so that only the owner can read it.
        let partial = beside(to, ".partial");
        if to.exists() {
            return Err(cannot(to, &"there is such a file already"));
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .map_err(|error| cannot(to, &error))?;
        let copied = self.copy_to(&partial).await.and_then(|()| {
            // SQLite does not wait for the disk here.
            finish(&file, &partial, to).map_err(|error| cannot(to, &error))
        });
        if let Err(error) = std::fs::remove_file(&partial) {
            tracing::warn!(%error, "the working file of a backup could not be removed");
        }
        copied
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
        let usage = self.measure().await?;
        stats.push(("used_bytes".to_owned(), usage.used_bytes));
        stats.push(("file_bytes".to_owned(), usage.file_bytes));
        if let Some(path) = &self.path {
            stats.push(("wal_bytes".to_owned(), log_bytes(path)));
        }
        if let Some(free) = usage.disk_free_bytes {
            stats.push(("disk_free_bytes".to_owned(), free));
        }
        Ok(stats)
    }

    async fn close(&self) {
        self.shut().await;
    }
}

/// Makes the copy durable, then gives it its name; a link, because a rename would overwrite.
fn finish(file: &File, partial: &Path, to: &Path) -> std::io::Result<()> {
    file.sync_all()?;
    std::fs::hard_link(partial, to)?;
    sync_directory(&std::path::absolute(to)?)
}
