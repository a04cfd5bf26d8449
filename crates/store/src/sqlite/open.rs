//! Opening: checks first, then the lock, then creation or migration, then the connections.
//!
//! A crash at any point leaves a file that the next open takes: the mark of ownership is written before anything else,
//! and the schema is one transaction per version.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Mutex;

use super::check::{APPLICATION_ID, Found, beside, check, look};
use super::writer::Writer;
use super::{SqliteOptions, SqliteStore, Synchronous, migrate};
use crate::{Result, StoreError};

/// The statements of the hot path in all their shapes, with room for the rest.
const STATEMENTS_CACHED: usize = 256;
const PAGE_BYTES: u32 = 4096;
/// A log that grew beyond this (while a backup ran, say) is cut back when it starts anew.
const LOG_BYTES_KEPT: u64 = 64 << 20;
const READER_WAIT: Duration = Duration::from_secs(10);

impl SqliteStore {
    /// Opens the database, or makes it. Refuses a file that is not Belfry's, is damaged, is newer than this program or is
    /// in use by another server; such a file is left as it is.
    pub async fn open(options: SqliteOptions) -> Result<Self> {
        let Some(path) = options.path.clone() else {
            return Self::open_memory(options).await;
        };
        let path = absolute(&path)?;
        let found = look(&path)?;
        let lock = lock(&path)?;
        match found {
            Found::Ours { bytes } => check(&path, bytes, options.check_bytes_max).await?,
            Found::Nothing => create(&path).await?,
        }
        let connect = writer_options(&options).filename(&path);
        let mut conn = connect.connect().await?;
        if migrate::run(&mut conn).await? > 0 {
            // So that the header tells the version to whoever looks at the file next.
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .execute(&mut conn)
                .await?;
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .acquire_timeout(READER_WAIT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(reader_options(&options).filename(&path));
        Ok(Self {
            writer: Some(Arc::new(Mutex::new(Writer::new(conn, Some(connect))))),
            readers: Some(readers),
            path: Some(path),
            options,
            samples: std::sync::Mutex::default(),
            checkpoints: super::Checkpoints::default(),
            lock: Some(lock),
            joined: std::sync::Mutex::default(),
        })
    }

    /// Opens an existing database for reading, also beside a running server. For tools: statistics, backup.
    pub async fn open_reader(path: impl AsRef<Path>) -> Result<Self> {
        let options = SqliteOptions::file(path.as_ref());
        let path = absolute(path.as_ref())?;
        if look(&path)? == Found::Nothing {
            return Err(StoreError::Unusable(format!(
                "there is no database at {}",
                path.display()
            )));
        }
        let connect = reader_options(&options).filename(&path).read_only(true);
        let mut conn = connect.connect().await?;
        let found = migrate::version(&mut conn).await?;
        conn.close().await?;
        match found.cmp(&migrate::KNOWN) {
            std::cmp::Ordering::Greater => {
                return Err(StoreError::Newer {
                    found,
                    known: migrate::KNOWN,
                });
            }
            std::cmp::Ordering::Less => {
                return Err(StoreError::Unusable(format!(
                    "{} has schema version {found}; start the server once to bring it to {}",
                    path.display(),
                    migrate::KNOWN
                )));
            }
            std::cmp::Ordering::Equal => {}
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .connect_lazy_with(connect);
        Ok(Self {
            writer: None,
            readers: Some(readers),
            path: Some(path),
            options,
            samples: std::sync::Mutex::default(),
            checkpoints: super::Checkpoints::default(),
            lock: None,
            joined: std::sync::Mutex::default(),
        })
    }

    async fn open_memory(options: SqliteOptions) -> Result<Self> {
        let mut conn = writer_options(&options)
            .filename(":memory:")
            .connect()
            .await?;
        migrate::run(&mut conn).await?;
        Ok(Self {
            writer: Some(Arc::new(Mutex::new(Writer::new(conn, None)))),
            readers: None,
            path: None,
            options,
            samples: std::sync::Mutex::default(),
            checkpoints: super::Checkpoints::default(),
            lock: None,
            joined: std::sync::Mutex::default(),
        })
    }

    /// Flushes and closes the connections and lets go of the file.
    pub(super) async fn shut(&self) {
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        if let Some(writer) = &self.writer {
            writer.lock().await.close().await;
        }
        if let Some(lock) = &self.lock
            && let Err(error) = lock.unlock()
        {
            tracing::warn!(%error, "the lock file could not be let go");
        }
    }
}

/// A relative name would mean another file after a change of directory, and one like `file:x` a URL to SQLite.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        StoreError::Unusable(format!("cannot use the path {}: {error}", path.display()))
    })
}

fn settings(options: &SqliteOptions, cache_bytes: u64) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .busy_timeout(Duration::from_millis(options.busy_timeout_ms))
        .foreign_keys(true)
        .statement_cache_capacity(STATEMENTS_CACHED)
        // Negative: KiB.
        .pragma("cache_size", format!("-{}", (cache_bytes / 1024).max(1)))
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

fn writer_options(options: &SqliteOptions) -> SqliteConnectOptions {
    let settings = settings(options, options.cache_bytes);
    if options.path.is_none() {
        return settings;
    }
    settings
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match options.synchronous {
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Normal => SqliteSynchronous::Normal,
        })
        .pragma("wal_autocheckpoint", options.checkpoint_pages.to_string())
        .pragma("journal_size_limit", LOG_BYTES_KEPT.to_string())
}

pub(super) fn reader_options(options: &SqliteOptions) -> SqliteConnectOptions {
    settings(options, options.cache_bytes / 4).pragma("query_only", "ON")
}

/// Takes the lock that one server at a time holds. The lock file stays: removing it would let a third opener in.
pub(super) fn lock(path: &Path) -> Result<File> {
    let lock_path = beside(path, ".lock");
    let refuse =
        |why: String| StoreError::Unusable(format!("cannot lock {}: {why}", path.display()));
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(|error| refuse(format!("{}: {error}", lock_path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
            "{} is in use by another Belfry server; stop that one first or use another file",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(refuse(error.to_string())),
    }
}

/// Makes the file, readable for its owner only, with the settings that cannot be changed later and our mark. Not yet in
/// WAL mode: what WAL mode writes would be missing from the file itself until the first checkpoint.
async fn create(path: &Path) -> Result<()> {
    let cannot = |error: std::io::Error| {
        StoreError::Unusable(format!("cannot make {}: {error}", path.display()))
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(cannot)?;
    let conn = SqliteConnectOptions::new()
        .filename(path)
        .page_size(PAGE_BYTES)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .pragma("application_id", APPLICATION_ID.to_string())
        .disable_statement_logging()
        .connect()
        .await?;
    conn.close().await?;
    file.sync_all().map_err(cannot)?;
    sync_directory(path).map_err(cannot)
}

/// Makes the name of a new file durable.
pub(super) fn sync_directory(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// The connection that a backup reads with: not bound to `query_only`, which would forbid writing the copy.
pub(super) fn backup_options(path: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    settings(options, options.cache_bytes / 4)
        .filename(path)
        .read_only(true)
}
