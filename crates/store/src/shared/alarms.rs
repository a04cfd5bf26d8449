//! Alarms: their lives, in the commit of the events that tell of them, and reading them.
//!
//! A life is read, moved on by [`AlarmRecord::after`] and written back inside of the commit. Where several nodes write, the
//! rows are locked in the order of their keys; those that are not there yet are made first, empty.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use belfry_model::{AlarmId, BusId, EventId, TargetId};
use sqlx::{AssertSqlSafe, QueryBuilder};

use super::dialect::{ALARMS_OF, MAKE_ALARMS, PUT_ALARMS};
use super::rows::{Columns, DbRow, in_list, json_text};
use super::walk::{Key, Rows, Span, deadline, push_equal, span, walk};
use super::{Conn, Db, Store};
use crate::{AlarmQuery, AlarmRecord, AlarmSign, Alarms, Page, Result, StoreError, Told};

/// In the order in which [`alarm`] reads them.
const COLUMNS: &str = "a.id, a.bus_id, a.alarm_key, a.firing, a.severity, a.source, a.type, a.subject, a.title, a.first_seq, \
     a.last_seq, a.recovered_seq, a.fired";
/// In the order in which [`told`] reads them.
const TOLD_COLUMNS: &str = "t.alarm_id, t.target_id, t.since_seq, t.last_seq, t.firing, t.severity, t.count, t.first_at_ms, \
     t.last_at_ms, t.thread";
pub(super) const FORGET: &str = "DELETE FROM alarm WHERE id IN (SELECT id FROM alarm WHERE last_seq < $1 ORDER BY last_seq LIMIT $2) \
     RETURNING id";
pub(super) const FORGET_TOLD: &str = "DELETE FROM told WHERE alarm_id = $1";

pub(super) fn find_of_key() -> String {
    format!("SELECT {COLUMNS} FROM alarm a WHERE a.bus_id = $1 AND a.alarm_key = $2")
}

pub(super) fn find_of_id() -> String {
    format!("SELECT {COLUMNS} FROM alarm a WHERE a.id = $1")
}

pub(super) fn find_told_of() -> String {
    format!("SELECT {TOLD_COLUMNS} FROM told t WHERE t.alarm_id = $1 AND t.target_id = $2")
}

pub(super) fn list_told_of(ids: &[AlarmId]) -> String {
    let among = in_list(ids.iter().map(|id| id.0.get()));
    format!(
        "SELECT {TOLD_COLUMNS} FROM told t WHERE t.alarm_id IN {among} ORDER BY t.alarm_id, t.target_id"
    )
}

/// A row of [`COLUMNS`].
fn alarm(columns: &mut Columns<'_>) -> Result<AlarmRecord> {
    Ok(AlarmRecord {
        id: AlarmId(columns.event_id()?),
        bus: columns.bus_id()?,
        key: columns.text()?,
        firing: columns.integer()? == 1,
        severity: columns.small("severity")?,
        source: columns.text()?,
        kind: columns.text()?,
        subject: columns.optional_text()?,
        title: columns.optional_text()?,
        first: columns.event_id()?,
        last: columns.event_id()?,
        recovered: columns.optional_event_id()?,
        fired: columns.small("count")?,
    })
}

/// A row of [`TOLD_COLUMNS`].
fn told(row: &DbRow) -> Result<Told> {
    let mut columns = Columns::of(row);
    Ok(Told {
        alarm: AlarmId(columns.event_id()?),
        target: columns.target_id()?,
        since: columns.event_id()?,
        last: columns.event_id()?,
        firing: columns.integer()? == 1,
        severity: columns.small("severity")?,
        count: columns.small("count")?,
        first_at_ms: columns.integer()?,
        last_at_ms: columns.integer()?,
        thread: columns.optional_text()?,
    })
}

/// An alarm as the statements of the dialects take it apart.
#[derive(serde::Serialize)]
struct AlarmRow<'a> {
    id: i64,
    bus_id: i32,
    alarm_key: &'a str,
    firing: i64,
    severity: u8,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: Option<&'a str>,
    title: Option<&'a str>,
    first_seq: i64,
    last_seq: i64,
    recovered_seq: Option<i64>,
    fired: u64,
}

impl<'a> AlarmRow<'a> {
    fn of(alarm: &'a AlarmRecord) -> Self {
        Self {
            id: alarm.id.0.get(),
            bus_id: alarm.bus.0,
            alarm_key: &alarm.key,
            firing: i64::from(alarm.firing),
            severity: alarm.severity,
            source: &alarm.source,
            kind: &alarm.kind,
            subject: alarm.subject.as_deref(),
            title: alarm.title.as_deref(),
            first_seq: alarm.first.get(),
            last_seq: alarm.last.get(),
            recovered_seq: alarm.recovered.map(EventId::get),
            fired: alarm.fired,
        }
    }
}

/// Moves the lives of alarms on, as a part of a commit.
pub(super) async fn note(conn: &mut Conn, signs: &[AlarmSign]) -> sqlx::Result<()> {
    if signs.is_empty() {
        return Ok(());
    }
    let mut by_key: BTreeMap<(BusId, &str), Vec<&AlarmSign>> = BTreeMap::new();
    for sign in signs {
        by_key.entry((sign.bus, &sign.key)).or_default().push(sign);
    }
    if let Some(make) = MAKE_ALARMS {
        let firsts = by_key.values().filter_map(|signs| signs.first());
        let blank: Vec<AlarmRecord> = firsts.map(|sign| blank(sign)).collect();
        let rows: Vec<_> = blank.iter().map(AlarmRow::of).collect();
        sqlx::query::<Db>(make)
            .bind(json_text(&rows).map_err(unusable)?)
            .execute(&mut *conn)
            .await?;
    }
    let keys: Vec<_> = by_key.keys().map(|(bus, key)| (bus.0, *key)).collect();
    let found = sqlx::query::<Db>(AssertSqlSafe(ALARMS_OF.replace("{columns}", COLUMNS)))
        .bind(json_text(&keys).map_err(unusable)?)
        .fetch_all(&mut *conn)
        .await?;
    let mut known: HashMap<(BusId, String), AlarmRecord> = HashMap::with_capacity(found.len());
    for row in &found {
        let alarm = alarm(&mut Columns::of(row)).map_err(unusable)?;
        if !is_blank(&alarm) {
            known.insert((alarm.bus, alarm.key.clone()), alarm);
        }
    }
    let mut after = Vec::with_capacity(by_key.len());
    for ((bus, key), signs) in by_key {
        let mut alarm = known.remove(&(bus, key.to_owned()));
        for sign in signs {
            alarm = Some(AlarmRecord::after(alarm.as_ref(), sign));
        }
        after.extend(alarm);
    }
    let rows: Vec<_> = after.iter().map(AlarmRow::of).collect();
    sqlx::query::<Db>(PUT_ALARMS)
        .bind(json_text(&rows).map_err(unusable)?)
        .execute(conn)
        .await?;
    Ok(())
}

fn unusable(error: StoreError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// A row that only holds its place: neither does it fire nor has it ever recovered.
fn blank(sign: &AlarmSign) -> AlarmRecord {
    AlarmRecord {
        firing: false,
        recovered: None,
        fired: 0,
        ..AlarmRecord::after(None, sign)
    }
}

fn is_blank(alarm: &AlarmRecord) -> bool {
    !alarm.firing && alarm.recovered.is_none()
}

pub(super) struct AlarmRows<'q>(pub(super) &'q AlarmQuery);

impl AlarmRows<'_> {
    fn push_span(&self, sql: &mut QueryBuilder<Db>, span: Span) {
        sql.push("a.last_seq >= ")
            .push_bind(span.low.0)
            .push(" AND a.last_seq < ")
            .push_bind(span.high.0);
        // Said in so many words, so that its own index is used.
        if self.0.firing == Some(true) {
            sql.push(" AND a.firing = 1");
        }
    }
}

impl Rows for AlarmRows<'_> {
    type Item = AlarmRecord;

    fn all_qualify(&self) -> bool {
        let query = self.0;
        query.bus.is_none()
            && query.firing != Some(false)
            && query.severity_min == 0
            && query.kind.is_none()
            && query.source.is_none()
            && query.subject.is_none()
    }

    fn nth(&self, span: Span, skip: u32) -> QueryBuilder<Db> {
        let mut sql = QueryBuilder::new("SELECT a.last_seq, CAST(0 AS BIGINT) FROM alarm a WHERE ");
        self.push_span(&mut sql, span);
        sql.push(" ORDER BY a.last_seq DESC LIMIT 1 OFFSET ")
            .push_bind(i64::from(skip));
        sql
    }

    fn newest(&self, span: Span, limit: u32) -> QueryBuilder<Db> {
        let query = self.0;
        let mut sql = QueryBuilder::new("SELECT ");
        sql.push(COLUMNS).push(" FROM alarm a WHERE ");
        self.push_span(&mut sql, span);
        if query.firing == Some(false) {
            sql.push(" AND a.firing = 0");
        }
        if let Some(bus) = query.bus {
            // With the sign: the walk goes by time, not by the key that begins with the bus.
            sql.push(" AND +a.bus_id = ").push_bind(i64::from(bus.0));
        }
        if query.severity_min > 0 {
            sql.push(" AND a.severity >= ")
                .push_bind(i64::from(query.severity_min));
        }
        push_equal(&mut sql, "a.type", query.kind.as_deref());
        push_equal(&mut sql, "a.source", query.source.as_deref());
        push_equal(&mut sql, "a.subject", query.subject.as_deref());
        sql.push(" ORDER BY a.last_seq DESC LIMIT ")
            .push_bind(i64::from(limit));
        sql
    }

    fn read(&self, row: &DbRow) -> Result<AlarmRecord> {
        alarm(&mut Columns::of(row))
    }

    fn key(item: &AlarmRecord) -> Key {
        (item.last.get(), 0)
    }
}

async fn forget(conn: &mut Conn, before: EventId, alarms_max: u32) -> Result<u64> {
    let gone = sqlx::query::<Db>(FORGET)
        .bind(before.get())
        .bind(i64::from(alarms_max.max(1)))
        .fetch_all(&mut *conn)
        .await?;
    for row in &gone {
        sqlx::query::<Db>(FORGET_TOLD)
            .bind(Columns::of(row).integer()?)
            .execute(&mut *conn)
            .await?;
    }
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}

#[async_trait]
impl Alarms for Store {
    async fn find_told(
        &self,
        bus: BusId,
        key: &str,
        target: TargetId,
    ) -> Result<Option<(AlarmRecord, Option<Told>)>> {
        let mut reader = self.reader().await?;
        let row = sqlx::query::<Db>(AssertSqlSafe(find_of_key()))
            .bind(i64::from(bus.0))
            .bind(key)
            .fetch_optional(&mut *reader.conn()?)
            .await?;
        let Some(found) = row.map(|row| alarm(&mut Columns::of(&row))).transpose()? else {
            return Ok(None);
        };
        let row = sqlx::query::<Db>(AssertSqlSafe(find_told_of()))
            .bind(found.id.0.get())
            .bind(i64::from(target.0))
            .fetch_optional(reader.conn()?)
            .await?;
        Ok(Some((found, row.map(|row| told(&row)).transpose()?)))
    }

    async fn find_alarm(&self, id: AlarmId) -> Result<Option<AlarmRecord>> {
        let mut reader = self.reader().await?;
        let row = sqlx::query::<Db>(AssertSqlSafe(find_of_id()))
            .bind(id.0.get())
            .fetch_optional(reader.conn()?)
            .await?;
        row.map(|row| alarm(&mut Columns::of(&row))).transpose()
    }

    async fn list_told(&self, ids: &[AlarmId]) -> Result<Vec<Told>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut reader = self.reader().await?;
        let rows = sqlx::query::<Db>(AssertSqlSafe(list_told_of(ids)))
            .fetch_all(reader.conn()?)
            .await?;
        rows.iter().map(told).collect()
    }

    async fn list_alarms(&self, query: &AlarmQuery) -> Result<Page<AlarmRecord, EventId>> {
        let span = span(None, None, query.before.map(|before| (before.get(), 0)));
        let mut reader = self.reader().await?;
        let rows = AlarmRows(query);
        let walked = walk(
            reader.conn()?,
            &rows,
            span,
            query.limit,
            query.scan_max,
            deadline(),
        )
        .await?;
        Ok(Page {
            items: walked.items,
            next: walked.reached.map(|(seq, _)| EventId::from_stored(seq)),
        })
    }

    async fn purge_alarms(&self, before: EventId, alarms_max: u32) -> Result<u64> {
        self.write(move |conn| Box::pin(forget(conn, before, alarms_max)))
            .await
    }
}
