//! Keyset pages, newest first, bounded in what they look at.
//!
//! Filters without an index must look at rows that do not qualify. So the range is cut by the key alone into parts of
//! a known number of rows (256, 1,024, ...: the first part is often enough), and each part is searched in key order
//! with the page's `LIMIT`. When the parts add up to `scan_max`, or have taken [`LOOK_TIME`] because what they look at is
//! not in memory, the walk ends and says where. Every walk gets at least one row further, so following the cursor always
//! comes to the end.

use std::time::{Duration, Instant};

use belfry_model::{DeliveryId, EventId, TargetId};
use sqlx::QueryBuilder;

use super::rows::{Columns, DbRow};
use super::{Conn, Db};
use crate::Result;

const PART_FIRST: u32 = 256;
const PART_GROWTH: u32 = 4;
/// A part that has to be read from the disk takes some 20 ms.
const PART_MAX: u32 = 1024;
/// After so long no further part is begun: with one part more, an answer is there within 50 ms.
const LOOK_TIME: Duration = Duration::from_millis(20);

/// When no further part is begun.
pub(super) fn deadline() -> Instant {
    Instant::now() + LOOK_TIME
}

/// The order of all lists: event, then target.
pub(super) type Key = (i64, i64);

/// Keys from `low` (included) to `high` (not included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: Key,
    pub(super) high: Key,
}

/// Rows that can be walked over.
pub(super) trait Rows: Sync {
    type Item: Send;
    /// Whether every row of a span qualifies.
    fn all_qualify(&self) -> bool;
    /// Selects the key of one row: the one after the `skip` newest of the span, whether it qualifies or not.
    fn nth(&self, span: Span, skip: u32) -> QueryBuilder<Db>;
    /// Selects the newest `limit` qualifying rows of the span.
    fn newest(&self, span: Span, limit: u32) -> QueryBuilder<Db>;
    fn read(&self, row: &DbRow) -> Result<Self::Item>;
    fn key(item: &Self::Item) -> Key;
    /// Reads what [`Self::nth`] selects.
    fn read_key(&self, row: &DbRow) -> Result<Key> {
        let mut columns = Columns::of(row);
        Ok((columns.integer()?, columns.integer()?))
    }
}

/// What a walk found.
#[derive(Debug)]
pub(super) struct Walked<T> {
    pub(super) items: Vec<T>,
    /// Everything from here on was looked at; `None`: everything there is.
    pub(super) reached: Option<Key>,
}

/// At most `limit` rows (at least one), after a look at no more than `scan_max` and the part in which `deadline` falls.
pub(super) async fn walk<R: Rows>(
    conn: &mut Conn,
    rows: &R,
    mut span: Span,
    limit: u32,
    scan_max: u32,
    deadline: Instant,
) -> Result<Walked<R::Item>> {
    let mut left = scan_max.max(1);
    if rows.all_qualify() {
        let limit = limit.max(1).min(left);
        let items = fetch(conn, rows, span, limit.saturating_add(1)).await?;
        return Ok(cut::<R>(items, limit, None));
    }
    let limit = limit.max(1);
    let mut part = PART_FIRST;
    let mut items = Vec::new();
    loop {
        let size = part.min(left);
        let end = rows
            .nth(span, size - 1)
            .build()
            .fetch_optional(&mut *conn)
            .await?;
        let end = end.map(|row| rows.read_key(&row)).transpose()?;
        let searched = Span {
            low: end.unwrap_or(span.low),
            high: span.high,
        };
        let missing = limit.saturating_add(1).saturating_sub(count(&items));
        items.extend(fetch(conn, rows, searched, missing).await?);
        left -= size;
        match end {
            Some(end) if left > 0 && count(&items) <= limit && Instant::now() < deadline => {
                span.high = end;
            }
            end => return Ok(cut::<R>(items, limit, end)),
        }
        part = part.saturating_mul(PART_GROWTH).min(PART_MAX);
    }
}

async fn fetch<R: Rows>(conn: &mut Conn, rows: &R, span: Span, limit: u32) -> Result<Vec<R::Item>> {
    let found = rows.newest(span, limit).build().fetch_all(conn).await?;
    found.iter().map(|row| rows.read(row)).collect()
}

fn cut<R: Rows>(mut items: Vec<R::Item>, limit: u32, end: Option<Key>) -> Walked<R::Item> {
    if count(&items) <= limit {
        return Walked {
            items,
            reached: end,
        };
    }
    items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let reached = items.last().map(R::key);
    Walked { items, reached }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

/// The keys that a list's times and cursor leave.
pub(super) fn span(since_ms: Option<i64>, until_ms: Option<i64>, before: Option<Key>) -> Span {
    let low = since_ms.map_or(0, |ms| EventId::first_at(ms).get());
    let until = until_ms.map_or((i64::MAX, 0), |ms| (EventId::first_at(ms).get(), 0));
    Span {
        low: (low, 0),
        high: before.map_or(until, |before| before.min(until)),
    }
}

pub(super) fn delivery_key(id: DeliveryId) -> Key {
    (id.event.get(), i64::from(id.target.0))
}

pub(super) fn delivery_id((seq, target): Key) -> DeliveryId {
    let target = i32::try_from(target).unwrap_or(i32::MAX);
    DeliveryId {
        event: EventId::from_stored(seq),
        target: TargetId(target),
    }
}

/// ` AND column = value`, if there is one.
pub(super) fn push_equal(sql: &mut QueryBuilder<Db>, column: &str, value: Option<&str>) {
    if let Some(value) = value {
        sql.push(" AND ").push(column).push(" = ").push_bind(value);
    }
}

/// The span as a range of `(seq, target_id)` under `alias`.
pub(super) fn push_pairs(sql: &mut QueryBuilder<Db>, alias: &str, span: Span) {
    sql.push(format_args!("({alias}.seq, {alias}.target_id) >= ("))
        .push_bind(span.low.0)
        .push(", ");
    sql.push_bind(span.low.1)
        .push(format_args!(") AND ({alias}.seq, {alias}.target_id) < ("));
    sql.push_bind(span.high.0)
        .push(", ")
        .push_bind(span.high.1)
        .push(")");
}
