//! Partitions by day of the tables that grow with every event.
//!
//! Made some days ahead, and on demand when a commit finds none (a clock that jumped, a server that slept): so there is no
//! default partition, which could not be detached. Dropping a day takes milliseconds where deleting its rows would take
//! minutes and leave the space to the vacuum.

use std::fmt::Write as _;

use belfry_model::EventId;
use sqlx::{AssertSqlSafe, Connection as _};

use super::Conn;
use crate::Result;

/// The tables that are partitioned.
pub(super) const TABLES: [&str; 3] = ["event", "delivery", "attempt"];

const DAY_MS: i64 = 86_400_000;
/// Today and so many days after it.
const AHEAD: i64 = 3;

/// The day of a time, counted from 1970.
pub(super) fn day_of(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

/// Makes the partitions of today, by the database's clock, and of the days after.
pub(super) async fn make_ahead(conn: &mut Conn) -> Result<()> {
    let row = sqlx::query("SELECT (extract(epoch FROM now()) * 1000)::bigint")
        .fetch_one(&mut *conn)
        .await?;
    let now_ms: i64 = sqlx::Row::try_get(&row, 0)?;
    let today = day_of(now_ms);
    make(conn, today - 1..=today + AHEAD).await
}

/// Makes the partitions of these days that are missing. Safe beside other nodes that do the same.
pub(super) async fn make(conn: &mut Conn, days: impl IntoIterator<Item = i64>) -> Result<()> {
    let mut sql = String::new();
    for day in days {
        let (from, to) = (start(day), start(day + 1));
        for table in TABLES {
            let _infallible = writeln!(
                sql,
                "CREATE TABLE IF NOT EXISTS {table}_d{day} PARTITION OF {table} FOR VALUES FROM ({from}) TO ({to});"
            );
        }
    }
    let mut tx = conn.begin().await?;
    // Two nodes making the same table would collide in the catalogue.
    sqlx::raw_sql("LOCK TABLE schema_version IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

fn start(day: i64) -> i64 {
    EventId::first_at(day * DAY_MS).get()
}
