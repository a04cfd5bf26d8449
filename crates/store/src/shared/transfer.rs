//! Whole tables, row by row: what a copy between databases reads and writes.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _};
use tokio::sync::mpsc;

use super::dialect::BINARY_ORDER;
use super::rows::DbRow;
use super::{Conn, Db};
use crate::copy::{Cell, Kind, Table};
use crate::{Result, StoreError};

/// Rows handed on at once.
const PAGE: usize = 500;
/// What one statement may bind, on the stricter of the databases.
const BINDS_MAX: usize = 30_000;

fn cell(row: &DbRow, at: usize, kind: Kind) -> Result<Cell> {
    Ok(match kind {
        Kind::Number => Cell::Number(row.try_get(at)?),
        Kind::Text => Cell::Text(row.try_get(at)?),
        Kind::Bytes => Cell::Bytes(row.try_get(at)?),
    })
}

/// Reads a table in the order of its key.
pub(super) async fn read(
    conn: &mut Conn,
    table: &'static Table,
    out: &mpsc::Sender<Vec<Vec<Cell>>>,
) -> Result<()> {
    let order: Vec<_> = table
        .key()
        .map(|(name, kind)| match kind {
            Kind::Text => format!("{name}{BINARY_ORDER}"),
            _ => name.to_owned(),
        })
        .collect();
    let (columns, name) = (table.names(), table.name);
    let sql = format!("SELECT {columns} FROM {name} ORDER BY {}", order.join(", "));
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(conn);
    let mut page = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let cells = table.columns.iter().enumerate();
        page.push(
            cells
                .map(|(at, (_, kind))| cell(&row, at, *kind))
                .collect::<Result<Vec<_>>>()?,
        );
        if page.len() == PAGE {
            send(out, std::mem::take(&mut page)).await?;
        }
    }
    send(out, page).await
}

async fn send(out: &mpsc::Sender<Vec<Vec<Cell>>>, page: Vec<Vec<Cell>>) -> Result<()> {
    out.send(page)
        .await
        .map_err(|_| StoreError::Internal("the other side of the copy has ended".to_owned()))
}

/// Adds rows to a table.
pub(super) async fn write(
    conn: &mut Conn,
    table: &'static Table,
    rows: &[Vec<Cell>],
) -> Result<()> {
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
pub(super) async fn count(conn: &mut Conn, table: &'static Table) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM {}", table.name);
    let row = sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(conn)
        .await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}
