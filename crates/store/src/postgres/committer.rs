//! The connection of the hot path, and what may still come of one that was given up.
//!
//! A commit whose answer got lost may have happened, may not have, or *may still happen*: the server goes on with what it
//! has received, and bytes on the way may arrive later. So before anybody looks whether it has happened, its server
//! process is ended; whatever arrives after that has nobody to run it.

use std::sync::{MutexGuard, PoisonError};

use sqlx::{ConnectOptions as _, Row as _};

use super::{Conn, PostgresOptions, PostgresStore, open};
use crate::Result;
use crate::error::unavailable;

const WHO: &str = "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity \
     WHERE pid = pg_backend_pid()";
/// Waits up to 5 s for the end. No row: it has ended. By its start too: numbers of processes are used again.
const END: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
     WHERE pid = $1 AND (extract(epoch FROM backend_start) * 1000000)::bigint = $2";

/// A server process: its number and when it was started, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    started_at_us: i64,
}

/// The connection of the hot path.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) conn: Conn,
    /// Who serves it.
    pub(super) process: Process,
}

impl Committer {
    pub(super) async fn connect(options: &PostgresOptions) -> Result<Self> {
        let connect = async {
            let connect = open::connect_options(options)?;
            let mut conn = open::limited(connect, options).connect().await?;
            let row = sqlx::query(WHO).fetch_one(&mut conn).await?;
            let process = Process {
                pid: row.try_get(0)?,
                started_at_us: row.try_get(1)?,
            };
            Ok(Self { conn, process })
        };
        tokio::time::timeout(options.connect_timeout, connect)
            .await
            .unwrap_or_else(|_| Err(unavailable("the database did not answer in time")))
    }
}

impl PostgresStore {
    /// Server processes that were given a commit and have not answered.
    pub(super) fn unsettled(&self) -> MutexGuard<'_, Vec<Process>> {
        // No code that can panic runs under the lock.
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the server processes of commits that were given up. Afterwards each has happened or never will.
    pub(super) async fn settle(&self) -> Result<()> {
        let processes = self.unsettled().clone();
        for process in processes {
            let mut reader = self.reader().await?;
            let row = sqlx::query(END)
                .bind(process.pid)
                .bind(process.started_at_us)
                .fetch_optional(reader.conn()?)
                .await?;
            if let Some(row) = row
                && !row.try_get::<bool, _>(0)?
            {
                return Err(unavailable("an earlier commit has not come to its end"));
            }
            self.unsettled().retain(|other| *other != process);
        }
        Ok(())
    }
}
