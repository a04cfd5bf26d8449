//! The one writing connection.
//!
//! | state | event | then |
//! |---|---|---|
//! | clean | transaction begins | dirty |
//! | dirty | committed | clean |
//! | dirty | anything fails | rolled back, clean; if even that fails: connection dropped, made anew by the next use |
//! | dirty | the task was ended in the middle | rolled back by the next use |
//!
//! Not sqlx's own `Transaction`: when SQLite itself rolls a transaction back (disk full, I/O error), sqlx's `ROLLBACK`
//! fails, its depth counter stays up, and every later `BEGIN IMMEDIATE` is refused.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::ConnectOptions as _;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::OwnedMutexGuard;

use super::bulk::Script;
use super::{Conn, SqliteStore};
use crate::error::unavailable;
use crate::{Result, StoreError};

/// The writing connection and where it stands.
#[derive(Debug)]
pub(super) struct Writer {
    conn: Option<Conn>,
    dirty: bool,
    /// How to connect again; `None` in memory, where a new connection would be an empty database.
    again: Option<SqliteConnectOptions>,
    closed: bool,
}

impl Writer {
    pub(super) fn new(conn: Conn, again: Option<SqliteConnectOptions>) -> Self {
        Self {
            conn: Some(conn),
            dirty: false,
            again,
            closed: false,
        }
    }

    pub(super) fn conn(&mut self) -> Result<&mut Conn> {
        self.conn
            .as_mut()
            .ok_or_else(|| unavailable("the store is closed"))
    }

    async fn ready(&mut self) -> Result<&mut Conn> {
        if self.dirty {
            self.roll_back().await;
        }
        if self.conn.is_none()
            && !self.closed
            && let Some(options) = &self.again
        {
            self.conn = Some(options.connect().await?);
        }
        self.conn()
    }

    /// `work` begins the transaction, this ends it.
    async fn transaction<T, F>(&mut self, work: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send,
    {
        self.ready().await?;
        self.dirty = true;
        let conn = self.conn()?;
        let result = to_its_end(conn, work).await;
        if result.is_ok() {
            self.dirty = false;
        } else {
            self.roll_back().await;
        }
        result
    }

    async fn roll_back(&mut self) {
        self.dirty = false;
        let Some(conn) = self.conn.as_mut() else {
            return;
        };
        let Err(error) = sqlx::query("ROLLBACK").execute(conn).await else {
            return;
        };
        let gone_already = error
            .as_database_error()
            .is_some_and(|error| error.message().contains("no transaction is active"));
        if !gone_already && self.again.is_some() {
            tracing::warn!(%error, "the writing connection cannot be rolled back; connecting again");
            self.conn = None;
        }
    }

    /// Moves everything into the main file and closes.
    pub(super) async fn close(&mut self) {
        if self.dirty {
            self.roll_back().await;
        }
        self.closed = true;
        let Some(mut conn) = self.conn.take() else {
            return;
        };
        if self.again.is_some()
            && let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .execute(&mut conn)
                .await
        {
            tracing::warn!(%error, "the write-ahead log stays for the next start");
        }
        if let Err(error) = conn.close().await {
            tracing::warn!(%error, "closing the database failed");
        }
    }
}

const BEGIN: &str = "BEGIN IMMEDIATE";

async fn to_its_end<T, F>(conn: &mut Conn, work: F) -> Result<T>
where
    F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send,
{
    let value = work(&mut *conn).await?;
    sqlx::query("COMMIT").execute(conn).await?;
    Ok(value)
}

impl SqliteStore {
    pub(super) async fn lock_writer(&self) -> Result<OwnedMutexGuard<Writer>> {
        let writer = self
            .writer
            .as_ref()
            .ok_or_else(|| unavailable("the store was opened for reading only"))?;
        Ok(Arc::clone(writer).lock_owned().await)
    }

    /// There is no server here that could be silent.
    #[expect(clippy::unused_self, reason = "the shared files ask every database")]
    pub(super) fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send {
        work
    }

    /// Runs `work` in a writing transaction. A caller that goes away while it waits for its turn leaves nothing behind;
    /// from then on the transaction runs to its end in a task of its own.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        self.turn(move |conn| {
            Box::pin(async move {
                sqlx::query(BEGIN).execute(&mut *conn).await?;
                work(conn).await
            })
        })
        .await
    }

    /// Runs statements in a writing transaction that begins together with the first of them: what a small commit costs is
    /// mostly hops to the connection's thread.
    pub(super) async fn write_script(&self, script: Script) -> Result<()> {
        let script = script.after(BEGIN);
        self.turn(move |conn| Box::pin(script.run(conn))).await
    }

    async fn turn<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        let mut writer = self.lock_writer().await?;
        match tokio::spawn(async move { writer.transaction(work).await }).await {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Err(unavailable("the server is shutting down")),
            Err(error) => Err(StoreError::Internal(format!(
                "a transaction ended early: {error}"
            ))),
        }
    }
}
