//! A copy of everything from one database into another, of the same or the other kind.
//!
//! The tables are the same in both, so a copy is rows: read in the order of the key, written as they are, then read again
//! on both sides and compared by number and digest. The source must be at rest, the destination empty. What is copied
//! becomes visible at the end or not at all: a file under its name, a Postgres by one transaction.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::postgres::{PostgresOptions, PostgresStore};
use crate::sqlite::{self, SqliteOptions, SqliteStore};
use crate::{Result, StoreError};

/// What a column holds, in every database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
    Bytes,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Whether it may hold nothing.
    pub(crate) optional: bool,
}

/// A table, as the migrations make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// The places of the columns of its key, in the key's order.
    pub(crate) key: Vec<usize>,
    /// The column whose numbers the database gives out.
    pub(crate) numbered: Option<String>,
}

impl Table {
    pub(crate) fn key(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|&at| self.columns.get(at))
    }

    /// The names of its columns, as they stand in statements.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|one| one.name.as_str()).collect();
        names.join(", ")
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Number(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Cell {
    /// The bytes that it takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Number(_) => 8,
            Self::Text(text) => text.as_ref().map_or(0, String::len),
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
        }
    }
}

/// Some rows of a table, each in the order of its columns.
pub(crate) type Rows = Vec<Vec<Cell>>;

/// What is copied from: all tables as they are at one moment. No server can start on it meanwhile.
#[async_trait]
pub(crate) trait Source: Send {
    /// Refuses while a server uses the database.
    async fn is_at_rest(&mut self) -> Result<()>;
    /// How many rows a table has.
    async fn count(&mut self, table: &'static Table) -> Result<u64>;
    /// Reads a table in the order of its key.
    async fn read(&mut self, table: &'static Table, out: mpsc::Sender<Rows>) -> Result<()>;
    async fn close(self: Box<Self>);
}

/// What is copied to. Nobody sees anything of it before it is finished.
#[async_trait]
pub(crate) trait Destination: Send {
    /// Refuses a table that holds anything but what a new database does, and removes that.
    async fn empty(&mut self, table: &'static Table) -> Result<()>;
    async fn write(&mut self, table: &'static Table, rows: Rows) -> Result<()>;
    /// All rows of the table are written.
    async fn end(&mut self, table: &'static Table) -> Result<()>;
    async fn finish(self: Box<Self>) -> Result<()>;
    /// Leaves no trace.
    async fn abandon(self: Box<Self>);
}

/// One end of a copy.
#[derive(Debug, Clone)]
pub enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A database on a server.
    Postgres(PostgresOptions),
}

/// For people, without anything secret.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(options) => write!(f, "the database {}", options.place()),
        }
    }
}

impl Place {
    async fn source(&self) -> Result<Box<dyn Source>> {
        match self {
            Self::Sqlite(path) if !path.exists() => Err(StoreError::Unusable(format!(
                "there is no database {}",
                path.display()
            ))),
            Self::Sqlite(path) => {
                let store = SqliteStore::open(SqliteOptions::file(path)).await?;
                store.into_source().await
            }
            Self::Postgres(options) => {
                let store = PostgresStore::open(options.clone()).await?;
                store.into_source().await
            }
        }
    }

    async fn destination(&self) -> Result<Box<dyn Destination>> {
        match self {
            Self::Sqlite(path) => sqlite::destination(path).await,
            Self::Postgres(options) => {
                let store = PostgresStore::open(options.clone()).await?;
                store.into_destination().await
            }
        }
    }
}

/// Why a copy failed, by the end of it that did.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// What is copied from.
    #[error("the source failed")]
    Source(#[source] StoreError),
    /// What is copied to.
    #[error("the destination failed")]
    Destination(#[source] StoreError),
}

/// What was copied of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The table.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 of its rows in the order of their key, in hexadecimal digits; the same on both sides.
    pub digest: String,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// So many rows are to be copied, and then to be compared.
    Begins {
        /// Rows of all tables.
        rows: u64,
    },
    /// More rows were copied, or compared.
    Rows {
        /// Of this table.
        table: &'static str,
        /// So many.
        rows: u64,
    },
}

/// Whoever wants to know how far a copy is.
type Tell<'a> = &'a mut (dyn FnMut(Step) + Send);

/// Pages read and not yet written.
const PAGES_AHEAD: usize = 4;

/// Copies everything. Fails without a trace at the destination, unless the comparison at the end fails.
pub async fn copy(from: &Place, to: &Place, tell: Tell<'_>) -> Result<Vec<Copied>, CopyError> {
    let failed = CopyError::Source;
    let tables = sqlite::tables().await.map_err(failed)?;
    let mut source = from.source().await.map_err(failed)?;
    source.is_at_rest().await.map_err(failed)?;
    let mut rows = 0;
    for table in tables {
        rows += source.count(table).await.map_err(failed)?;
    }
    tell(Step::Begins { rows });
    let failed = CopyError::Destination;
    let mut destination = to.destination().await.map_err(failed)?;
    let copied = match fill(tables, &mut *source, &mut *destination, tell).await {
        Ok(copied) => copied,
        Err(error) => {
            destination.abandon().await;
            return Err(error);
        }
    };
    destination.finish().await.map_err(failed)?;
    source.close().await;
    let compared = compare(tables, to, &copied, tell).await;
    compared.map_err(failed)?;
    Ok(copied)
}

async fn fill(
    tables: &'static [Table],
    source: &mut dyn Source,
    destination: &mut dyn Destination,
    tell: Tell<'_>,
) -> Result<Vec<Copied>, CopyError> {
    let mut copied = Vec::with_capacity(tables.len());
    for table in tables {
        let failed = CopyError::Destination;
        destination.empty(table).await.map_err(failed)?;
        let write = async |page| destination.write(table, page).await.map_err(failed);
        let read = CopyError::Source;
        copied.push(each_page(source, table, tell, read, write).await?);
        destination.end(table).await.map_err(failed)?;
    }
    Ok(copied)
}

/// Reads again what was written.
async fn compare(
    tables: &'static [Table],
    to: &Place,
    copied: &[Copied],
    tell: Tell<'_>,
) -> Result<()> {
    let mut written = to.source().await?;
    for (table, expected) in tables.iter().zip(copied) {
        let read = std::convert::identity;
        let found = each_page(&mut *written, table, tell, read, async |_| Ok(())).await?;
        if found != *expected {
            return Err(StoreError::Internal(format!(
                "table {} differs after the copy: {} rows with digest {} instead of {} with {}; do not use it",
                table.name, found.rows, found.digest, expected.rows, expected.digest
            )));
        }
    }
    written.close().await;
    Ok(())
}

/// Reads a table and does something with each page meanwhile. Ends with the first that fails; `failed` tells of the reading.
async fn each_page<E>(
    source: &mut dyn Source,
    table: &'static Table,
    tell: Tell<'_>,
    failed: impl FnOnce(StoreError) -> E,
    mut with: impl AsyncFnMut(Rows) -> Result<(), E>,
) -> Result<Copied, E> {
    let (pages, mut read) = mpsc::channel::<Rows>(PAGES_AHEAD);
    let work = async {
        let mut sum = Sum::new(table);
        while let Some(page) = read.recv().await {
            sum.add(&page, tell);
            with(page).await?;
        }
        Ok(sum.end())
    };
    let reading = async { source.read(table, pages).await.map_err(failed) };
    let ((), copied) = tokio::try_join!(reading, work)?;
    Ok(copied)
}

/// Number and digest of the rows that come by.
struct Sum {
    table: &'static Table,
    rows: u64,
    hash: Sha256,
}

impl Sum {
    fn new(table: &'static Table) -> Self {
        Self {
            table,
            rows: 0,
            hash: Sha256::new(),
        }
    }

    fn add(&mut self, page: &[Vec<Cell>], tell: &mut (dyn FnMut(Step) + Send)) {
        for cell in page.iter().flatten() {
            let number;
            let bytes = match cell {
                Cell::Number(Some(value)) => {
                    number = value.to_be_bytes();
                    Some(&number[..])
                }
                Cell::Text(Some(text)) => Some(text.as_bytes()),
                Cell::Bytes(Some(bytes)) => Some(bytes.as_slice()),
                _ => None,
            };
            // Its length first, so that no value runs into the next; none has the length of no value.
            let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
            self.hash.update(length.to_be_bytes());
            self.hash.update(bytes.unwrap_or_default());
        }
        let rows = page.len() as u64;
        self.rows += rows;
        tell(Step::Rows {
            table: &self.table.name,
            rows,
        });
    }

    fn end(self) -> Copied {
        Copied {
            table: &self.table.name,
            rows: self.rows,
            digest: hex::encode(self.hash.finalize()),
        }
    }
}

#[cfg(test)]
mod tests;
