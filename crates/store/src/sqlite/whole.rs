//! Whole tables, for copies. The lock of the file keeps servers away meanwhile.

use std::path::Path;

use sqlx::AssertSqlSafe;
use tokio::sync::mpsc;

use super::check::beside;
use super::open::sync_directory;
use super::{SqliteStore, transfer};
use crate::Result;
use crate::copy::{CONFIG_VERSION, Cell, Table};

impl SqliteStore {
    pub(crate) async fn pour(
        &self,
        table: &'static Table,
        out: &mpsc::Sender<Vec<Vec<Cell>>>,
    ) -> Result<()> {
        transfer::read(self.reader().await?.conn()?, table, out).await
    }

    pub(crate) async fn count(&self, table: &'static Table) -> Result<u64> {
        transfer::count(self.reader().await?.conn()?, table).await
    }

    /// Removes what a new database holds.
    pub(crate) async fn empty(&self, table: &'static Table) -> Result<()> {
        if table.name != CONFIG_VERSION {
            return Ok(());
        }
        let sql = format!("DELETE FROM {}", table.name);
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(AssertSqlSafe(sql)).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn fill(&self, table: &'static Table, rows: Vec<Vec<Cell>>) -> Result<()> {
        self.write(move |conn| Box::pin(async move { transfer::write(conn, table, &rows).await }))
            .await
    }
}

/// Removes a database with what lies beside it.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a closed database durable and gives it its name; a link, because a rename would overwrite.
pub(crate) fn give_name(partial: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::File::open(partial)?.sync_all()?;
    std::fs::hard_link(partial, to)?;
    remove(partial)?;
    sync_directory(&std::path::absolute(to)?)
}
