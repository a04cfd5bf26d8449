//! A copy of everything from one database into another, of the same or the other kind.
//!
//! The tables are the same in both, so a copy is rows: read in the order of the key, written as they are, then read again
//! on both sides and compared by number and digest. The source must be at rest, the destination empty. What is copied
//! becomes visible at the end or not at all: a file under its name, a Postgres by one transaction.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::postgres::{PostgresOptions, PostgresStore};
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::{Maintenance as _, Result, StoreError};

use Kind::{Bytes, Number, Text};

/// What a column holds, in every database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
    Bytes,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Number(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// A table: its columns, those of the key first.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    keys: usize,
    /// Whether the database gives out the numbers of its first column.
    numbered: bool,
    pub(crate) columns: &'static [(&'static str, Kind)],
}

impl Table {
    pub(crate) fn key(&self) -> impl Iterator<Item = (&'static str, Kind)> {
        self.columns.iter().take(self.keys).copied()
    }

    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| column.0).collect();
        names.join(", ")
    }

    /// The column whose numbers the database gives out.
    pub(crate) fn numbered(&self) -> Option<&'static str> {
        let first = self.columns.first().map(|column| column.0);
        first.filter(|_| self.numbered)
    }
}

const fn table(
    name: &'static str,
    keys: usize,
    numbered: bool,
    columns: &'static [(&'static str, Kind)],
) -> Table {
    Table {
        name,
        keys,
        numbered,
        columns,
    }
}

/// Holds one row in a new database.
pub(crate) const CONFIG_VERSION: &str = "config_version";

/// Every table, those that others refer to first.
pub(crate) static TABLES: &[Table] = &[
    table(
        "config_version",
        1,
        false,
        &[("one", Number), ("version", Number)],
    ),
    table(
        "bus",
        1,
        true,
        &[
            ("id", Number),
            ("name", Text),
            ("spec", Text),
            ("revision", Number),
            ("created_at_ms", Number),
            ("updated_at_ms", Number),
            ("deleted_at_ms", Number),
            ("changed_version", Number),
        ],
    ),
    table(
        "rule",
        1,
        true,
        &[
            ("id", Number),
            ("bus_id", Number),
            ("name", Text),
            ("spec", Text),
            ("revision", Number),
            ("created_at_ms", Number),
            ("updated_at_ms", Number),
            ("deleted_at_ms", Number),
            ("changed_version", Number),
        ],
    ),
    table(
        "target",
        1,
        true,
        &[
            ("id", Number),
            ("rule_id", Number),
            ("name", Text),
            ("kind", Text),
            ("spec", Text),
            ("disabled_reason", Text),
            ("disabled_at_ms", Number),
            ("revision", Number),
            ("created_at_ms", Number),
            ("updated_at_ms", Number),
            ("deleted_at_ms", Number),
            ("changed_version", Number),
        ],
    ),
    table(
        "archive",
        1,
        true,
        &[
            ("id", Number),
            ("bus_id", Number),
            ("name", Text),
            ("spec", Text),
            ("revision", Number),
            ("created_at_ms", Number),
            ("updated_at_ms", Number),
            ("deleted_at_ms", Number),
            ("changed_version", Number),
        ],
    ),
    table(
        "api_key",
        1,
        false,
        &[
            ("id", Text),
            ("name", Text),
            ("hash", Bytes),
            ("scopes", Text),
            ("created_at_ms", Number),
            ("expires_at_ms", Number),
            ("revoked_at_ms", Number),
            ("requests_per_second", Number),
        ],
    ),
    table(
        "audit",
        1,
        true,
        &[
            ("number", Number),
            ("at_ms", Number),
            ("actor", Text),
            ("action", Text),
            ("resource", Text),
            ("before_json", Text),
            ("after_json", Text),
            ("request_id", Text),
        ],
    ),
    table("meta", 1, false, &[("key", Text), ("value", Text)]),
    table(
        "log",
        1,
        true,
        &[("id", Number), ("name", Text), ("retention_days", Number)],
    ),
    table(
        "event",
        1,
        false,
        &[
            ("seq", Number),
            ("bus_id", Number),
            ("ce_id", Text),
            ("source", Text),
            ("type", Text),
            ("subject", Text),
            ("trace_id", Text),
            ("fan", Text),
            ("doc", Bytes),
            ("replay_id", Number),
            ("replay_of", Number),
        ],
    ),
    table(
        "delivery",
        2,
        false,
        &[
            ("seq", Number),
            ("target_id", Number),
            ("status", Number),
            ("attempts", Number),
            ("status_code", Number),
            ("duration_ms", Number),
            ("at_ms", Number),
            ("reason", Number),
            ("detail", Text),
            ("first_try", Bytes),
        ],
    ),
    table(
        "attempt",
        3,
        false,
        &[
            ("seq", Number),
            ("target_id", Number),
            ("number", Number),
            ("set_off_by", Number),
            ("started_at_ms", Number),
            ("duration_ms", Number),
            ("status_code", Number),
            ("reason", Number),
            ("detail", Text),
            ("next_at_ms", Number),
            ("record", Bytes),
        ],
    ),
    table(
        "record_sample",
        2,
        false,
        &[("target_id", Number), ("id", Number), ("text", Bytes)],
    ),
    table(
        "pending",
        3,
        false,
        &[
            ("target_id", Number),
            ("due_at_ms", Number),
            ("seq", Number),
            ("attempts", Number),
            ("attempts_before", Number),
            ("since_ms", Number),
            ("set_off_by", Number),
            ("owner", Number),
            ("order_key", Number),
        ],
    ),
    table("recent", 1, false, &[("seq", Number), ("keys", Bytes)]),
    table(
        "strict_key",
        2,
        false,
        &[("bus_id", Number), ("key", Bytes), ("seq", Number)],
    ),
    table(
        "log_entry",
        3,
        false,
        &[
            ("log_id", Number),
            ("seq", Number),
            ("target_id", Number),
            ("ce_id", Text),
            ("source", Text),
            ("type", Text),
            ("subject", Text),
            ("text", Text),
        ],
    ),
    table(
        "idempotency",
        1,
        false,
        &[
            ("scope", Bytes),
            ("fingerprint", Bytes),
            ("at_ms", Number),
            ("answer", Bytes),
        ],
    ),
    table(
        "node",
        1,
        false,
        &[
            ("node_id", Number),
            ("watermark", Number),
            ("epoch", Number),
            ("lease_until_ms", Number),
            ("state", Number),
            ("name", Text),
            ("version", Text),
            ("started_at_ms", Number),
            ("process", Text),
        ],
    ),
    table(
        "circuit",
        1,
        false,
        &[
            ("target_id", Number),
            ("node_id", Number),
            ("open_until_ms", Number),
            ("paused_until_ms", Number),
            ("failures", Number),
            ("at_ms", Number),
        ],
    ),
    table(
        "archived_event",
        2,
        false,
        &[
            ("archive_id", Number),
            ("seq", Number),
            ("ce_id", Text),
            ("source", Text),
            ("type", Text),
            ("subject", Text),
            ("doc", Bytes),
        ],
    ),
    table(
        "archive_usage",
        2,
        false,
        &[
            ("archive_id", Number),
            ("node_id", Number),
            ("events", Number),
            ("bytes", Number),
        ],
    ),
    table(
        "replay",
        1,
        true,
        &[
            ("id", Number),
            ("spec", Text),
            ("state", Number),
            ("cursor", Number),
            ("looked_at", Number),
            ("replayed", Number),
            ("detail", Text),
            ("owner", Number),
            ("lease_until_ms", Number),
            ("created_by", Text),
            ("created_at_ms", Number),
            ("updated_at_ms", Number),
            ("ended_at_ms", Number),
        ],
    ),
    table(
        "bus_usage",
        3,
        false,
        &[
            ("bus_id", Number),
            ("hour", Number),
            ("node_id", Number),
            ("events", Number),
            ("bytes", Number),
        ],
    ),
];

/// One end of a copy.
#[derive(Debug, Clone)]
pub enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A database on a server.
    Postgres(PostgresOptions),
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

#[derive(Debug)]
enum End {
    Sqlite(Box<SqliteStore>),
    Postgres(Box<PostgresStore>),
}

/// Rows read and not yet written.
const PAGES_AHEAD: usize = 4;

/// Copies everything. Fails without a trace at the destination, unless the comparison at the end fails.
pub async fn copy(
    from: &Place,
    to: &Place,
    tell: &mut (dyn FnMut(Step) + Send),
) -> Result<Vec<Copied>> {
    if let Place::Sqlite(path) = from
        && !path.exists()
    {
        let shown = path.display();
        return Err(StoreError::Unusable(format!(
            "there is no database {shown}"
        )));
    }
    let source = End::open(from).await?;
    source.is_at_rest().await?;
    let mut rows = 0;
    for table in TABLES {
        rows += source.count(table).await?;
    }
    tell(Step::Begins { rows });
    let copied = match to {
        Place::Sqlite(path) => into_file(&source, path, tell).await?,
        Place::Postgres(options) => into_server(&source, options, tell).await?,
    };
    let destination = End::open(to).await?;
    let verified = verify(&destination, &copied, tell).await;
    destination.close().await;
    source.close().await;
    verified?;
    Ok(copied)
}

async fn verify(
    destination: &End,
    copied: &[Copied],
    tell: &mut (dyn FnMut(Step) + Send),
) -> Result<()> {
    for (table, expected) in TABLES.iter().zip(copied) {
        let found = destination.digest(table, tell).await?;
        if found != *expected {
            return Err(StoreError::Internal(format!(
                "table {} differs after the copy: {} rows with digest {} instead of {} with {}; do not use it",
                table.name, found.rows, found.digest, expected.rows, expected.digest
            )));
        }
    }
    Ok(())
}

async fn into_file(
    source: &End,
    path: &Path,
    tell: &mut (dyn FnMut(Step) + Send),
) -> Result<Vec<Copied>> {
    let cannot = |why: &dyn std::fmt::Display| {
        StoreError::Unusable(format!("cannot write {}: {why}", path.display()))
    };
    if path.exists() {
        return Err(cannot(&"there is such a file already"));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    // Of a copy that was broken off.
    crate::sqlite::remove(&partial).map_err(|error| cannot(&error))?;
    let store = SqliteStore::open(SqliteOptions::file(&partial)).await?;
    let mut copied = Vec::new();
    let mut result = Ok(());
    for table in TABLES {
        let (pages, mut read) = mpsc::channel::<Vec<Vec<Cell>>>(PAGES_AHEAD);
        let write = async {
            let mut sum = Sum::new(table);
            store.empty(table).await?;
            while let Some(page) = read.recv().await {
                sum.add(&page, tell);
                store.fill(table, page).await?;
            }
            Ok(sum.end())
        };
        match both(source.read(table, pages), write).await {
            Ok(one) => copied.push(one),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    store.close().await;
    if result.is_ok() {
        result = crate::sqlite::give_name(&partial, path).map_err(|error| cannot(&error));
    }
    if result.is_err() {
        drop(crate::sqlite::remove(&partial));
    }
    result.map(|()| copied)
}

async fn into_server(
    source: &End,
    options: &PostgresOptions,
    tell: &mut (dyn FnMut(Step) + Send),
) -> Result<Vec<Copied>> {
    let store = PostgresStore::open(options.clone()).await?;
    let mut tx = store.begin_fill().await?;
    let mut copied = Vec::new();
    for table in TABLES {
        let (pages, mut read) = mpsc::channel::<Vec<Vec<Cell>>>(PAGES_AHEAD);
        let write = async {
            let mut sum = Sum::new(table);
            PostgresStore::empty(&mut tx, table).await?;
            while let Some(page) = read.recv().await {
                sum.add(&page, tell);
                PostgresStore::fill(&mut tx, table, &page).await?;
            }
            PostgresStore::number_on(&mut tx, table).await?;
            Ok(sum.end())
        };
        copied.push(both(source.read(table, pages), write).await?);
    }
    tx.commit().await?;
    store.close().await;
    Ok(copied)
}

/// Reads while it writes, and ends both with the first that fails.
async fn both(
    read: impl Future<Output = Result<()>>,
    write: impl Future<Output = Result<Copied>>,
) -> Result<Copied> {
    let ((), copied) = tokio::try_join!(read, write)?;
    Ok(copied)
}

impl End {
    async fn open(place: &Place) -> Result<Self> {
        Ok(match place {
            Place::Sqlite(path) => Self::Sqlite(Box::new(
                SqliteStore::open(SqliteOptions::file(path)).await?,
            )),
            Place::Postgres(options) => {
                Self::Postgres(Box::new(PostgresStore::open(options.clone()).await?))
            }
        })
    }

    /// A file is locked by whoever uses it; on a server, nodes hold leases.
    async fn is_at_rest(&self) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(store) => store.is_at_rest().await,
        }
    }

    async fn count(&self, table: &'static Table) -> Result<u64> {
        match self {
            Self::Sqlite(store) => store.count(table).await,
            Self::Postgres(store) => store.count(table).await,
        }
    }

    async fn read(&self, table: &'static Table, out: mpsc::Sender<Vec<Vec<Cell>>>) -> Result<()> {
        match self {
            Self::Sqlite(store) => store.pour(table, &out).await,
            Self::Postgres(store) => store.pour(table, &out).await,
        }
    }

    async fn digest(
        &self,
        table: &'static Table,
        tell: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Copied> {
        let (pages, mut read) = mpsc::channel::<Vec<Vec<Cell>>>(PAGES_AHEAD);
        let sum = async {
            let mut sum = Sum::new(table);
            while let Some(page) = read.recv().await {
                sum.add(&page, tell);
            }
            Ok(sum.end())
        };
        both(self.read(table, pages), sum).await
    }

    async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
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
        let table = self.table.name;
        tell(Step::Rows { table, rows });
    }

    fn end(self) -> Copied {
        let digest = self.hash.finalize();
        Copied {
            table: self.table.name,
            rows: self.rows,
            digest: digest.iter().fold(String::new(), |mut text, byte| {
                let _infallible = write!(text, "{byte:02x}");
                text
            }),
        }
    }
}

#[cfg(test)]
mod tests;
