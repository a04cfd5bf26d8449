//! The embedded store: one SQLite file, one writer, a few readers.
//!
//! It owns the file's life (creation, checks before anything is written, migrations, locking, backup) and the
//! statements that are special to SQLite. What is plain SQL lies in `../shared` and is compiled once per database.
//! It must never know what an event means: fan-outs, settings and records are values.
//!
//! | module | owns |
//! |---|---|
//! | `check` | a file from outside: ours? whole? not newer? — without changing a byte |
//! | `checkpoint` | moving the log into the file beside the commits |
//! | `open` | lock file, creation, connections and their settings |
//! | `migrate` | schema versions |
//! | `writer` | the one writing connection and its transactions |
//! | `restore` | a backup in the place of a database |
//! | `schema` | the tables there are, as the migrations make them |
//! | `whole` | a file as the end of a copy |
//! | `bulk`, `batch` | many rows in few statements; the commit of the hot path |
//! | `maintenance` | sizes, backup, closing |
//! | `membership` | who has joined in this process; no other can |
//! | `dialect` | statements and words that the shared files leave to the database |
//!
//! Every writing transaction is `BEGIN IMMEDIATE` on the one writer (a deferred one that upgrades fails at once with
//! "database is locked", whatever the busy timeout) and runs in a task of its own: a caller that goes away leaves it
//! either done or undone, never half done. After a crash the write-ahead log is replayed by the next open; then
//! [`crate::Nodes::join`] turns what was under way into pending work.

mod batch;
mod bulk;
mod check;
mod checkpoint;
mod dialect;
mod maintenance;
mod membership;
mod migrate;
mod open;
mod restore;
mod schema;
mod whole;
mod writer;

#[path = "shared/alarms.rs"]
mod alarms;
#[path = "shared/config.rs"]
mod config;
#[path = "shared/config_read.rs"]
mod config_read;
#[path = "shared/config_write.rs"]
mod config_write;
#[path = "shared/documents.rs"]
mod documents;
#[path = "shared/event_log.rs"]
mod event_log;
#[path = "shared/find.rs"]
mod find;
#[path = "shared/functions.rs"]
mod functions;
#[path = "shared/history.rs"]
mod history;
#[path = "shared/keys.rs"]
mod keys;
#[path = "shared/list_deliveries.rs"]
mod list_deliveries;
#[path = "shared/list_events.rs"]
mod list_events;
#[path = "shared/list_log.rs"]
mod list_log;
#[path = "shared/nodes.rs"]
mod nodes;
#[path = "shared/order.rs"]
mod order;
#[path = "shared/queue.rs"]
mod queue;
#[path = "shared/recent.rs"]
mod recent;
#[path = "shared/replays.rs"]
mod replays;
#[path = "shared/retention.rs"]
mod retention;
#[path = "shared/rows.rs"]
mod rows;
#[path = "shared/sources.rs"]
mod sources;
#[path = "shared/transfer.rs"]
mod transfer;
#[path = "shared/walk.rs"]
mod walk;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use belfry_model::NodeId;
use sqlx::pool::PoolConnection;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::Result;
use crate::sample::Samples;
use checkpoint::Checkpoints;
use writer::Writer;

#[cfg(test)]
pub(crate) use schema::blank;
pub(crate) use schema::tables;
pub(crate) use whole::destination;

/// The database that the files in `../shared` are compiled for here.
type Db = sqlx::Sqlite;
/// A connection to it.
type Conn = SqliteConnection;
/// The store that they implement the traits for.
type Store = SqliteStore;

/// When a commit counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// When the disk has confirmed it. Survives power loss.
    #[default]
    Full,
    /// When the operating system has it. Survives a crash of the process; power loss may take the last commits.
    Normal,
}

/// Where the database is and how it is used.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; `None`: in memory, for tests (one connection does everything, nothing outlives the store).
    pub path: Option<PathBuf>,
    /// When a commit counts as durable.
    pub synchronous: Synchronous,
    /// Page cache of the writer; each reader has a quarter of it.
    pub cache_bytes: u64,
    /// Connections for reading.
    pub readers: u32,
    /// Pages in the write-ahead log at which a commit moves them into the file. More makes rarer, longer pauses.
    pub checkpoint_pages: u32,
    /// How long to wait for a lock held by another program (a backup tool, say).
    pub busy_timeout_ms: u64,
    /// Files up to this size are checked page by page at open.
    pub check_bytes_max: u64,
    /// Makes each commit take longer, as a slow disk would. For measurements.
    pub commit_delay: Duration,
}

impl SqliteOptions {
    /// A file, with the settings that were measured to be good (`docs/decisions/0003-durable-engine.md`).
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::memory()
        }
    }

    /// A database in memory, for tests.
    pub fn memory() -> Self {
        Self {
            path: None,
            synchronous: Synchronous::Full,
            cache_bytes: 64 << 20,
            readers: 4,
            checkpoint_pages: 4000,
            busy_timeout_ms: 5000,
            check_bytes_max: 64 << 20,
            commit_delay: Duration::ZERO,
        }
    }
}

/// The embedded store.
#[derive(Debug)]
pub struct SqliteStore {
    /// `None` when opened for reading only.
    writer: Option<Arc<Mutex<Writer>>>,
    /// `None` in memory, where the writer's connection also reads.
    readers: Option<SqlitePool>,
    /// `None` in memory.
    path: Option<PathBuf>,
    options: SqliteOptions,
    /// Those of the targets that have had attempts.
    samples: std::sync::Mutex<Samples>,
    checkpoints: Checkpoints,
    /// Keeps other servers away from the file for as long as it lives.
    lock: Option<std::fs::File>,
    /// Numbers that were joined through this store. The lock proves that nobody holds any other.
    joined: std::sync::Mutex<HashSet<NodeId>>,
}

/// A connection to read with.
enum Reader {
    Pool(PoolConnection<Db>),
    Writer(OwnedMutexGuard<Writer>),
}

impl Reader {
    fn conn(&mut self) -> Result<&mut Conn> {
        match self {
            Self::Pool(conn) => Ok(conn),
            Self::Writer(writer) => writer.conn(),
        }
    }
}

impl SqliteStore {
    /// A connection to read with. Reads are short: a long one keeps the write-ahead log from being reused.
    async fn reader(&self) -> Result<Reader> {
        match (&self.readers, &self.writer) {
            (Some(pool), _) => Ok(Reader::Pool(pool.acquire().await?)),
            (None, Some(writer)) => Ok(Reader::Writer(Arc::clone(writer).lock_owned().await)),
            (None, None) => Err(crate::error::unavailable("the store has no connection")),
        }
    }
}
