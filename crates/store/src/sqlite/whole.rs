//! A file as the end of a copy. Its lock keeps servers away meanwhile.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::check::beside;
use super::open::sync_directory;
use super::transfer::{self, Whole};
use super::{SqliteOptions, SqliteStore};
use crate::copy::{Destination, Rows, Table};
use crate::{Maintenance as _, Result, StoreError};

/// All that is read sees one moment.
pub(super) const BEGIN_WHOLE: &str = "BEGIN";

impl Whole {
    /// Whoever uses a file holds its lock, so nobody does.
    #[expect(clippy::unused_async, reason = "elsewhere the database is asked")]
    pub(super) async fn nobody_uses_it(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A new file, under another name until it is whole.
struct NewFile {
    store: SqliteStore,
    partial: PathBuf,
    path: PathBuf,
}

fn cannot(path: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!("cannot write {}: {why}", path.display()))
}

/// A file that is not there yet.
pub(crate) async fn destination(path: &Path) -> Result<Box<dyn Destination>> {
    if path.exists() {
        return Err(cannot(path, &"there is such a file already"));
    }
    let partial = beside(path, ".partial");
    // Of a copy that was broken off.
    remove(&partial).map_err(|error| cannot(path, &error))?;
    Ok(Box::new(NewFile {
        store: SqliteStore::open(SqliteOptions::file(&partial)).await?,
        partial,
        path: path.to_owned(),
    }))
}

#[async_trait]
impl Destination for NewFile {
    async fn empty(&mut self, table: &'static Table) -> Result<()> {
        self.store
            .write(move |conn| Box::pin(transfer::empty(conn, table)))
            .await
    }

    async fn write(&mut self, table: &'static Table, rows: Rows) -> Result<()> {
        self.store
            .write(move |conn| Box::pin(async move { transfer::write(conn, table, &rows).await }))
            .await
    }

    /// Numbers that the database gives out go on after the largest there was.
    async fn end(&mut self, _table: &'static Table) -> Result<()> {
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.store.close().await;
        let named = give_name(&self.partial, &self.path);
        if named.is_err() {
            forget(&self.partial);
        }
        named.map_err(|error| cannot(&self.path, &error))
    }

    async fn abandon(self: Box<Self>) {
        self.store.close().await;
        forget(&self.partial);
    }
}

fn forget(partial: &Path) {
    if let Err(error) = remove(partial) {
        tracing::warn!(%error, "the working file of a copy could not be removed");
    }
}

/// Removes a database with what lies beside it.
fn remove(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a closed database durable and gives it its name; a link, because a rename would overwrite.
fn give_name(partial: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::File::open(partial)?.sync_all()?;
    std::fs::hard_link(partial, to)?;
    remove(partial)?;
    sync_directory(&std::path::absolute(to)?)
}
