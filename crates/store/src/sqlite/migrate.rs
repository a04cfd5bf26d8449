//! Schema versions.
//!
//! The version is the file's `user_version`: it stands in the header, so that a newer file is recognised before SQLite
//! opens it. A migration and its version are one transaction; a crash in between repeats the migration.

use sqlx::{AssertSqlSafe, Row as _};

use super::Conn;
use crate::{Result, StoreError};

/// Name and text, in order; the version is the place in the list, from 1. A released one never changes.
const MIGRATIONS: &[(&str, &str)] = &[
    (
        "0001_start",
        include_str!("../../../../migrations/sqlite/0001_start.sql"),
    ),
    (
        "0002_nodes",
        include_str!("../../../../migrations/sqlite/0002_nodes.sql"),
    ),
    (
        "0003_order",
        include_str!("../../../../migrations/sqlite/0003_order.sql"),
    ),
    (
        "0004_archives",
        include_str!("../../../../migrations/sqlite/0004_archives.sql"),
    ),
    (
        "0005_alarms",
        include_str!("../../../../migrations/sqlite/0005_alarms.sql"),
    ),
    (
        "0006_functions",
        include_str!("../../../../migrations/sqlite/0006_functions.sql"),
    ),
    (
        "0007_first_tries",
        include_str!("../../../../migrations/sqlite/0007_first_tries.sql"),
    ),
];

/// The newest schema version this program knows.
#[expect(
    clippy::cast_possible_wrap,
    reason = "a handful; `try_from` is not const"
)]
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// The schema version of an open database.
pub(super) async fn version(conn: &mut Conn) -> sqlx::Result<i64> {
    sqlx::query("PRAGMA user_version")
        .fetch_one(conn)
        .await?
        .try_get(0)
}

/// Brings the schema up to date. Returns how many migrations ran.
pub(super) async fn run(conn: &mut Conn) -> Result<usize> {
    run_some(conn, MIGRATIONS.len()).await
}

/// The same, up to a version.
pub(super) async fn run_some(conn: &mut Conn, version_max: usize) -> Result<usize> {
    let found = version(conn).await?;
    if found > KNOWN {
        return Err(StoreError::Newer {
            found,
            known: KNOWN,
        });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for (index, (name, text)) in MIGRATIONS.iter().enumerate().take(version_max).skip(done) {
        tracing::info!(migration = name, "changing the database schema");
        let sql = format!(
            "BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version = {};\nCOMMIT;",
            index + 1
        );
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await {
            // SQLite may have rolled back by itself; then this fails, and that is fine.
            drop(sqlx::query("ROLLBACK").execute(&mut *conn).await);
            return Err(error.into());
        }
    }
    Ok(version_max.saturating_sub(done))
}
