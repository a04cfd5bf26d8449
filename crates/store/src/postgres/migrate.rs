//! Schema versions.
//!
//! Table `schema_version` has a row for each migration that ran. All nodes start alike: whoever gets the lock on it first
//! migrates, the others wait and find nothing left to do. Not an advisory lock: other engines that speak Postgres' protocol have
//! none. A migration and its row are one transaction.

use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::Conn;
use crate::{Result, StoreError};

/// Name, the oldest version of the program's schema that still works with what it makes, and text, in order; the version is
/// the place in the list, from 1. A released one never changes.
///
/// One that only adds (tables, columns with defaults, indexes) keeps the number of the one before it: old nodes go on
/// beside new ones. One that takes away what old nodes use has its own. Nothing is released yet: every version needs what all make.
const MIGRATIONS: &[(&str, i64, &str)] = &[
    (
        "0001_start",
        1,
        include_str!("../../../../migrations/postgres/0001_start.sql"),
    ),
    (
        "0002_nodes",
        2,
        include_str!("../../../../migrations/postgres/0002_nodes.sql"),
    ),
    (
        "0003_order",
        3,
        include_str!("../../../../migrations/postgres/0003_order.sql"),
    ),
    (
        "0004_archives",
        4,
        include_str!("../../../../migrations/postgres/0004_archives.sql"),
    ),
    (
        "0005_alarms",
        5,
        include_str!("../../../../migrations/postgres/0005_alarms.sql"),
    ),
    (
        "0006_functions",
        6,
        include_str!("../../../../migrations/postgres/0006_functions.sql"),
    ),
    (
        "0007_first_tries",
        7,
        include_str!("../../../../migrations/postgres/0007_first_tries.sql"),
    ),
];

/// The newest schema version this program knows.
#[expect(
    clippy::cast_possible_wrap,
    reason = "a handful; `try_from` is not const"
)]
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// The largest `works_from` is the oldest version that still works with what there is: an old node goes on beside new ones
/// while a cluster is upgraded, also when it has to start again, and is refused only after its form is gone.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, name TEXT NOT NULL, \
     works_from BIGINT NOT NULL)";

/// The schema version; 0 when there is no schema of ours. [`StoreError::Newer`]: this program does not work with it.
pub(super) async fn version(conn: &mut Conn) -> Result<i64> {
    if is_there(conn).await? {
        usable(conn).await
    } else {
        Ok(0)
    }
}

async fn is_there(conn: &mut Conn) -> Result<bool> {
    let row = sqlx::query("SELECT to_regclass('schema_version') IS NOT NULL")
        .fetch_one(conn)
        .await?;
    Ok(row.try_get(0)?)
}

/// The version in the table, if this program works with it.
async fn usable(conn: &mut Conn) -> Result<i64> {
    let row = sqlx::query(
        "SELECT coalesce(max(version), 0), coalesce(max(works_from), 0) FROM schema_version",
    )
    .fetch_one(conn)
    .await?;
    let (found, works_from): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if works_from > KNOWN {
        return Err(StoreError::Newer {
            found,
            known: KNOWN,
        });
    }
    Ok(found)
}

/// Brings the schema up to date. Returns how many migrations ran.
pub(super) async fn run(conn: &mut Conn) -> Result<usize> {
    // Of several nodes that make it at once, `IF NOT EXISTS` or not, all but one may be told that it, its type or a row
    // of the catalog is there already.
    if !is_there(conn).await?
        && let Err(error) = sqlx::raw_sql(TABLE).execute(&mut *conn).await
        && !is_there(conn).await?
    {
        return Err(error.into());
    }
    let mut tx = conn.begin().await?;
    sqlx::raw_sql("LOCK TABLE schema_version IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await?;
    let found = usable(&mut tx).await?;
    let done = usize::try_from(found).unwrap_or(0);
    for (index, (name, works_from, text)) in MIGRATIONS.iter().enumerate().skip(done) {
        tracing::info!(migration = name, "changing the database schema");
        sqlx::raw_sql(AssertSqlSafe(*text))
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO schema_version (version, name, works_from) VALUES ($1, $2, $3)")
            .bind(i64::try_from(index + 1).unwrap_or(i64::MAX))
            .bind(*name)
            .bind(*works_from)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(MIGRATIONS.len().saturating_sub(done))
}
