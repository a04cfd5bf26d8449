//! Whole tables, row by row: what a copy between databases reads and writes.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _};
use tokio::sync::mpsc;

use super::dialect::BINARY_ORDER;
use super::rows::DbRow;
use super::whole::BEGIN_WHOLE;
use super::{Conn, Db, Reader, Store};
use crate::copy::{Cell, Kind, Rows, Source, Table};
use crate::{Maintenance as _, Result, StoreError};

/// Rows handed on at once.
const PAGE: usize = 500;
/// Bytes handed on at once, and written by one statement; a larger row goes alone.
const PAGE_BYTES: usize = 8 << 20;
/// What one statement may bind, on the stricter of the databases.
const BINDS_MAX: usize = 30_000;
/// Holds one row in a new database.
const CONFIG_VERSION: &str = "config_version";

/// A whole database at one moment.
pub(super) struct Whole {
    reader: Reader,
    store: Store,
}

impl Store {
    /// To be copied from.
    pub(crate) async fn into_source(self) -> Result<Box<dyn Source>> {
        let mut reader = self.reader().await?;
        sqlx::raw_sql(BEGIN_WHOLE).execute(reader.conn()?).await?;
        Ok(Box::new(Whole {
            reader,
            store: self,
        }))
    }
}

impl Whole {
    pub(super) fn conn(&mut self) -> Result<&mut Conn> {
        self.reader.conn()
    }
}

#[async_trait]
impl Source for Whole {
    async fn is_at_rest(&mut self) -> Result<()> {
        self.nobody_uses_it().await
    }

    async fn count(&mut self, table: &'static Table) -> Result<u64> {
        count(self.conn()?, table).await
    }

    async fn read(&mut self, table: &'static Table, out: mpsc::Sender<Rows>) -> Result<()> {
        read(self.conn()?, table, &out).await
    }

    async fn close(self: Box<Self>) {
        let Self { mut reader, store } = *self;
        if let Ok(conn) = reader.conn()
            && let Err(error) = sqlx::raw_sql("ROLLBACK").execute(conn).await
        {
            tracing::debug!(%error, "the transaction of a copy ended by itself");
        }
        // The store waits for its connections.
        drop(reader);
        store.close().await;
    }
}

fn cell(row: &DbRow, at: usize, kind: Kind) -> Result<Cell> {
    Ok(match kind {
        Kind::Number => Cell::Number(row.try_get(at)?),
        Kind::Text => Cell::Text(row.try_get(at)?),
        Kind::Bytes => Cell::Bytes(row.try_get(at)?),
    })
}

/// Reads a table in the order of its key.
async fn read(conn: &mut Conn, table: &Table, out: &mpsc::Sender<Rows>) -> Result<()> {
    let order: Vec<_> = table
        .key()
        .map(|column| match column.kind {
            Kind::Text => format!("{}{BINARY_ORDER}", column.name),
            _ => column.name.clone(),
        })
        .collect();
    let (columns, name) = (table.names(), &table.name);
    let sql = format!("SELECT {columns} FROM {name} ORDER BY {}", order.join(", "));
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(conn);
    let mut page = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        let cells = table.columns.iter().enumerate();
        let cells = cells
            .map(|(at, column)| cell(&row, at, column.kind))
            .collect::<Result<Vec<_>>>()?;
        bytes += cells.iter().map(Cell::size).sum::<usize>();
        page.push(cells);
        if page.len() == PAGE || bytes >= PAGE_BYTES {
            bytes = 0;
            send(out, std::mem::take(&mut page)).await?;
        }
    }
    send(out, page).await
}

async fn send(out: &mpsc::Sender<Rows>, page: Rows) -> Result<()> {
    out.send(page)
        .await
        .map_err(|_| StoreError::Internal("the other side of the copy has ended".to_owned()))
}

/// Adds rows to a table.
pub(super) async fn write(conn: &mut Conn, table: &Table, rows: &[Vec<Cell>]) -> Result<()> {
    for chunk in rows.chunks(BINDS_MAX / table.columns.len()) {
        let start = format!("INSERT INTO {} ({}) ", table.name, table.names());
        let mut query = QueryBuilder::<Db>::new(start);
        query.push_values(chunk, |mut values, row| {
            for cell in row {
                match cell {
                    Cell::Number(number) => values.push_bind(*number),
                    Cell::Text(text) => values.push_bind(text.clone()),
                    Cell::Bytes(bytes) => values.push_bind(bytes.clone()),
                };
            }
        });
        query.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(())
}

/// How many rows a table has.
pub(super) async fn count(conn: &mut Conn, table: &Table) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM {}", table.name);
    let row = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(conn)
        .await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

/// Refuses a table that holds anything but what a new database does, and removes that.
pub(super) async fn empty(conn: &mut Conn, table: &Table) -> Result<()> {
    if table.name == CONFIG_VERSION {
        let sql = format!("DELETE FROM {CONFIG_VERSION} WHERE version = 0");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    let rows = count(conn, table).await?;
    if rows > 0 {
        return Err(StoreError::Unusable(format!(
            "the destination is not empty: its table {} has {rows} rows; use an empty database or schema",
            table.name
        )));
    }
    Ok(())
}
