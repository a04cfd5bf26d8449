//! The tables there are. Asked of a database that the migrations have just made, so that there is no list of them to be
//! kept; Postgres has the same ones.

use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::sync::OnceCell;

use super::migrate;
use crate::copy::{Column, Kind, Table};
use crate::{Result, StoreError};

/// In the order in which they were made: those that others refer to first.
const TABLES: &str = "SELECT name, sql LIKE '%AUTOINCREMENT%' FROM sqlite_schema \
     WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid";
const COLUMNS: &str = "SELECT name, type, \"notnull\", pk FROM pragma_table_info($1) ORDER BY cid";

/// Every table, those that others refer to first.
pub(crate) async fn tables() -> Result<&'static [Table]> {
    static TABLES: OnceCell<Vec<Table>> = OnceCell::const_new();
    TABLES.get_or_try_init(read).await.map(Vec::as_slice)
}

/// A new database in memory.
pub(crate) async fn blank() -> Result<SqliteConnection> {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await?;
    migrate::run(&mut conn).await?;
    Ok(conn)
}

async fn read() -> Result<Vec<Table>> {
    let mut conn = blank().await?;
    let mut tables = Vec::new();
    for row in sqlx::query(TABLES).fetch_all(&mut conn).await? {
        let (name, numbered): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        let mut columns = Vec::new();
        let mut key = Vec::new();
        let rows = sqlx::query(COLUMNS)
            .bind(&name)
            .fetch_all(&mut conn)
            .await?;
        for (at, row) in rows.iter().enumerate() {
            let (kind, held, place): (String, bool, i64) =
                (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            let kind = match kind.as_str() {
                "INTEGER" => Kind::Number,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Bytes,
                other => {
                    return Err(StoreError::Internal(format!(
                        "table {name} has a column of type {other}"
                    )));
                }
            };
            columns.push(Column {
                name: row.try_get(0)?,
                kind,
                optional: !held && place == 0,
            });
            if place > 0 {
                key.push((place, at));
            }
        }
        key.sort_unstable();
        let key: Vec<usize> = key.into_iter().map(|(_, at)| at).collect();
        let first = key.first().and_then(|&at| columns.get(at));
        let numbered = first.filter(|_| numbered).map(|column| column.name.clone());
        tables.push(Table {
            name,
            columns,
            key,
            numbered,
        });
    }
    conn.close().await?;
    Ok(tables)
}
