//! Partitions by day of the tables that grow with every event.
//!
//! Made some days ahead, and on demand when a commit finds none (a clock that jumped, a server that slept): so there is no
//! default partition, which could not be detached. Dropping a day takes milliseconds where deleting its rows would take
//! minutes and leave the space to the vacuum.
//!
//! Commits must not wait for any of it. A partition is made as a table of its own and attached, which locks out nobody. To take
//! one away locks the whole table, so it is only detached, under a short `lock_timeout`, and dropped afterwards, under the
//! name that [`GONE`] looks for: so what a crash leaves in between is found.

use std::fmt::Write as _;
use std::time::Duration;

use belfry_model::EventId;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::{Conn, PostgresStore};
use crate::error;
use crate::usage::HOUR_MS;
use crate::{Purged, Result};

/// The tables that are partitioned.
pub(super) const TABLES: [&str; 3] = ["event", "delivery", "attempt"];

/// Nearly all rows are written once and go with their day. For what was inserted the autovacuum would only read and write
/// everything a second time, beside the commits of a busy day. Rows that were changed (retries) bring it as ever, and so do
/// statistics.
const STORED_WITH: &str = "autovacuum_vacuum_insert_threshold = -1";

const DAY_MS: i64 = 86_400_000;
/// Today and so many days after it.
const AHEAD: i64 = 3;
/// How long a change of the partitions waits for a lock: whoever comes after it waits as long.
const LOCK_WAIT: Duration = Duration::from_millis(200);
/// Two nodes changing the same table would collide in the catalogue.
const ONE_AT_A_TIME: &str = "LOCK TABLE schema_version IN SHARE ROW EXCLUSIVE MODE";
/// Strict keys removed at once before their day is dropped.
const STRICT_KEYS_MAX: i64 = 20_000;

const OLDEST: &str = "SELECT min(substring(c.relname FROM '_d([0-9]+)$')::bigint) FROM pg_inherits i \
     JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent IN ('event'::regclass, 'delivery'::regclass, 'attempt'::regclass)";
/// Whether something of the day is still to be done, or known to a node alone: then its rows go one by one, as that is told.
const UNFINISHED: &str = "SELECT EXISTS (SELECT 1 FROM pending WHERE seq < $1) OR EXISTS (SELECT 1 FROM node n \
     WHERE n.state <= 2 AND n.watermark < $1 AND EXISTS (SELECT 1 FROM event e \
     WHERE e.seq > n.watermark AND e.seq < $1 AND (e.seq >> 14) & 255 = n.node_id))";
const STRICT_KEYS: &str = "DELETE FROM strict_key WHERE (bus_id, key) IN \
     (SELECT bus_id, key FROM strict_key WHERE seq < $1 ORDER BY seq LIMIT $2)";
const COUNTS: &str = "DELETE FROM bus_usage WHERE hour < $1 RETURNING events";
const GONE: &str = "SELECT c.relname::text FROM pg_class c WHERE c.relkind = 'r' AND c.relname ~ '^gone_[a-z]+_d[0-9]+_[0-9]+$' \
     AND pg_table_is_visible(c.oid) ORDER BY c.oid";

/// The day of a time, counted from 1970.
pub(super) const fn day_of(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

/// The smallest key of a day.
pub(super) const fn start(day: i64) -> EventId {
    EventId::first_at(day * DAY_MS)
}

/// Makes the partitions of today, by the database's clock, and of the days after.
pub(super) async fn make_ahead(conn: &mut Conn) -> Result<()> {
    let row = sqlx::query("SELECT (extract(epoch FROM now()) * 1000)::bigint")
        .fetch_one(&mut *conn)
        .await?;
    let now_ms: i64 = row.try_get(0)?;
    let today = day_of(now_ms);
    make(conn, today - 1..=today + AHEAD).await
}

/// Makes the partitions of these days that are missing. Safe beside other nodes that do the same.
pub(super) async fn make(conn: &mut Conn, days: impl IntoIterator<Item = i64>) -> Result<()> {
    let mut missing = Vec::new();
    for day in days {
        if !is_there(conn, day).await? {
            missing.push(day);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut tx = conn.begin().await?;
    sqlx::raw_sql(ONE_AT_A_TIME).execute(&mut *tx).await?;
    let mut sql = String::new();
    for day in missing {
        if is_there(&mut tx, day).await? {
            continue;
        }
        let (from, to) = (start(day).get(), start(day + 1).get());
        for table in TABLES {
            let _infallible = writeln!(
                sql,
                "CREATE TABLE {table}_d{day} (LIKE {table} INCLUDING ALL) WITH ({STORED_WITH}); \
                 ALTER TABLE {table} ATTACH PARTITION {table}_d{day} FOR VALUES FROM ({from}) TO ({to});"
            );
        }
    }
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// The partitions of a day are made together, and go together.
async fn is_there(conn: &mut Conn, day: i64) -> Result<bool> {
    let row = sqlx::query("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("event_d{day}"))
        .fetch_one(conn)
        .await?;
    Ok(row.try_get(0)?)
}

/// The oldest day that has partitions, if all of it lies before `before`.
async fn oldest_below(conn: &mut Conn, before: EventId) -> Result<Option<i64>> {
    let oldest: Option<i64> = sqlx::query(OLDEST).fetch_one(conn).await?.try_get(0)?;
    Ok(oldest.filter(|day| start(day + 1) <= before))
}

/// Takes the oldest day away, in the caller's transaction. `None`: there is no such day, or its rows must go one by one.
async fn detach(conn: &mut Conn, before: EventId) -> Result<Option<Purged>> {
    let Some(day) = oldest_below(conn, before).await? else {
        return Ok(None);
    };
    let wait = format!("SET LOCAL lock_timeout = {}", LOCK_WAIT.as_millis());
    sqlx::raw_sql(AssertSqlSafe(wait))
        .execute(&mut *conn)
        .await?;
    if let Err(error) = sqlx::raw_sql(ONE_AT_A_TIME).execute(&mut *conn).await {
        return put_off(error);
    }
    if oldest_below(conn, before).await? != Some(day) {
        // Another node was faster.
        return Ok(Some(Purged::default()));
    }
    let end = start(day + 1).get();
    let unfinished: bool = sqlx::query(UNFINISHED)
        .bind(end)
        .fetch_one(&mut *conn)
        .await?
        .try_get(0)?;
    if unfinished {
        return Ok(None);
    }
    let keys = sqlx::query(STRICT_KEYS)
        .bind(end)
        .bind(STRICT_KEYS_MAX)
        .execute(&mut *conn)
        .await?;
    if keys.rows_affected() >= STRICT_KEYS_MAX.unsigned_abs() {
        return Ok(Some(Purged::default()));
    }
    // The day may be made again, and go again, before its first tables are dropped.
    let number: i64 = sqlx::query("SELECT txid_current()")
        .fetch_one(&mut *conn)
        .await?
        .try_get(0)?;
    let mut sql = String::new();
    for table in TABLES {
        let _infallible = writeln!(
            sql,
            "ALTER TABLE {table} DETACH PARTITION {table}_d{day}; \
             ALTER TABLE {table}_d{day} RENAME TO gone_{table}_d{day}_{number};"
        );
    }
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await {
        return put_off(error);
    }
    let mut purged = Purged::default();
    let counts = sqlx::query(COUNTS)
        .bind((day + 1) * DAY_MS / HOUR_MS)
        .fetch_all(conn)
        .await?;
    for row in &counts {
        purged.events += u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
    }
    tracing::debug!(day, events = purged.events, "a day is dropped");
    Ok(Some(purged))
}

/// Somebody reads: it is tried again later, and commits do not wait meanwhile. The transaction is void.
fn put_off(error: sqlx::Error) -> Result<Option<Purged>> {
    if error::is_lock_timeout(&error) {
        tracing::debug!("the oldest day is in use; it is dropped later");
        return Ok(Some(Purged::default()));
    }
    Err(error.into())
}

/// Drops what was detached. Nobody can use it any more.
async fn drop_gone(conn: &mut Conn) -> Result<()> {
    sqlx::raw_sql(ONE_AT_A_TIME).execute(&mut *conn).await?;
    for row in sqlx::query(GONE).fetch_all(&mut *conn).await? {
        let name: String = row.try_get(0)?;
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {name}")))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

impl PostgresStore {
    /// Makes the partitions of the coming days, and drops what a crash has left of past ones.
    pub(super) async fn make_days(&self) -> Result<()> {
        let mut conn = self.writers.acquire().await?;
        make_ahead(&mut conn).await?;
        drop(conn);
        self.write(|conn| Box::pin(drop_gone(conn))).await
    }

    /// Drops the oldest day, if all of it lies before `before` and nothing of it is unfinished. `None`: it is to be looked for
    /// rows to delete. No events dropped: not now.
    pub(super) async fn drop_day(&self, before: EventId) -> Result<Option<Purged>> {
        let dropped = self
            .write(move |conn| Box::pin(detach(conn, before)))
            .await?;
        if dropped.is_some() {
            self.write(|conn| Box::pin(drop_gone(conn))).await?;
        }
        Ok(dropped)
    }
}
