//! The shared store: one Postgres, used by one or several nodes.
//!
//! It owns the connections, the partitions and the statements that are special to Postgres. What is plain SQL lies in
//! `../shared` and is compiled once per database. It must never know what an event means: fan-outs, settings and records
//! are values.
//!
//! | module | owns |
//! |---|---|
//! | `open` | connections and their settings |
//! | `migrate` | schema versions, safe with several nodes starting at once |
//! | `partitions` | days of events, deliveries and attempts, made ahead and on demand |
//! | `writer` | writing transactions |
//! | `committer` | the connection of the hot path, and what may still come of one that was given up |
//! | `batch` | the commit of the hot path: one statement, one round trip |
//! | `listener` | being told of changes of the configuration |
//! | `maintenance` | sizes, closing |
//! | `whole` | a database as the end of a copy |
//! | `dialect` | statements and words that the shared files leave to the database |
//!
//! A commit is one statement, so it is its own transaction, and arrays carry its rows. Everything else is a short
//! transaction on a pooled connection; none is open while anything but the database is waited for. Nodes meet only in
//! rows: locks are those of the rows a transaction changes, and claims skip what another node has locked.

mod batch;
mod committer;
mod dialect;
mod listener;
mod maintenance;
mod migrate;
mod open;
mod partitions;
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
#[cfg(test)]
pub(crate) use tests::open as open_for_tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use belfry_model::LogName;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool};

use crate::Result;

/// The database that the files in `../shared` are compiled for here.
type Db = sqlx::Postgres;
/// A connection to it.
type Conn = PgConnection;
/// The store that they implement the traits for.
type Store = PostgresStore;

/// Where the database is and how it is used.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user@host:port/database?sslmode=...`; what it leaves out is taken from `PG*` variables.
    pub url: String,
    /// The password, if the URL has none.
    pub password: Option<String>,
    /// A file with root certificates (PEM), for a server whose certificate is of a private authority.
    pub root_cert: Option<PathBuf>,
    /// The schema that holds the tables; made if it is missing. `None`: the one that the server chooses (`public`).
    pub schema: Option<String>,
    /// Connections for writing: commits, claims, changes.
    pub writers: u32,
    /// Connections for reading history.
    pub readers: u32,
    /// How long connecting, and waiting for a free connection, may take.
    pub connect_timeout: Duration,
    /// How long a commit may take before its connection is given up and senders are told 503.
    pub commit_timeout: Duration,
    /// How long any statement may run; the server ends it. Of a commit it ends the statement, not the commit itself, which
    /// waits for disks.
    pub statement_timeout: Duration,
    /// Makes each commit take longer, as a slow disk would. For measurements.
    pub commit_delay: Duration,
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the URL nor the password: both may hold it.
        f.debug_struct("PostgresOptions")
            .field("schema", &self.schema)
            .field("writers", &self.writers)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

impl PostgresOptions {
    /// Where the database is, without anything secret; for people.
    pub fn place(&self) -> String {
        match open::connect_options(self) {
            Ok(connect) => format!(
                "{} on {}:{}",
                connect
                    .get_database()
                    .unwrap_or_else(|| connect.get_username()),
                connect.get_host(),
                connect.get_port()
            ),
            Err(_) => "of store.url".to_owned(),
        }
    }

    /// The database at this URL, with settings for a small cluster.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            root_cert: None,
            schema: None,
            writers: 6,
            readers: 4,
            connect_timeout: Duration::from_secs(5),
            commit_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            commit_delay: Duration::ZERO,
        }
    }
}

/// The shared store.
#[derive(Debug)]
pub struct PostgresStore {
    writers: PgPool,
    readers: PgPool,
    /// The connection of the hot path. One commit at a time: a second one would only divide the batches.
    committer: tokio::sync::Mutex<Option<committer::Committer>>,
    /// Server processes that were given a commit and have not answered.
    unsettled: std::sync::Mutex<Vec<committer::Process>>,
    /// Hears of changes of the configuration, once somebody wants to know.
    listener: std::sync::OnceLock<listener::Listener>,
    /// Ids of logs by name. A log is never deleted, so what stands here stays true.
    logs: std::sync::Mutex<HashMap<LogName, i64>>,
    /// What records of attempts are packed with, as far as it is known to be stored.
    samples: std::sync::Mutex<crate::sample::Samples>,
    options: PostgresOptions,
}

/// A connection to read with.
struct Reader(PoolConnection<Db>);

impl Reader {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the shared files ask every database's reader"
    )]
    fn conn(&mut self) -> Result<&mut Conn> {
        Ok(&mut self.0)
    }
}

impl PostgresStore {
    /// A connection to read with.
    async fn reader(&self) -> Result<Reader> {
        Ok(Reader(self.readers.acquire().await?))
    }
}
