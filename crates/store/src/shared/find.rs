//! Single events and deliveries, by key.

use belfry_model::delivery::DeliveryStatus;
use belfry_model::{DeliveryId, EventId, TargetId};
use bytes::Bytes;
use sqlx::QueryBuilder;

use super::dialect::DELIVERY_JOINS;
use super::list_deliveries::{DELIVERY_COLUMNS, delivery_record};
use super::rows::Columns;
use super::{Conn, Db};
use crate::sample::{Sample, read_first_try, read_record};
use crate::{Attempt, DeliveryRecord, EventRecord, Outcome, Result};

pub(super) const FIND_EVENT: &str = "SELECT seq, bus_id, ce_id, source, type, subject, fan, trace_id, replay_id, replay_of, doc \
     FROM event WHERE seq = $1";
pub(super) const LIST_ATTEMPTS: &str = "SELECT seq, target_id, number, (SELECT e.trace_id FROM event e WHERE e.seq = $1), \
     set_off_by, started_at_ms, duration_ms, status_code, reason, detail, next_at_ms, record FROM attempt \
     WHERE seq = $1 AND target_id = $2 ORDER BY number";
pub(super) const FIND_FIRST_TRY: &str = "SELECT (SELECT e.trace_id FROM event e WHERE e.seq = $1), first_try FROM delivery \
     WHERE seq = $1 AND target_id = $2 AND first_try IS NOT NULL";
pub(super) const LIST_SAMPLES: &str = "SELECT id, text FROM record_sample WHERE target_id = $1";
/// A delivery without a recorded state: what its event and perhaps its pending work tell.
pub(super) const FIND_QUEUED: &str = "SELECT e.fan, p.attempts, p.due_at_ms, e.bus_id, e.ce_id, e.source, e.type, e.subject, e.trace_id, \
     e.replay_id, e.replay_of FROM event e LEFT JOIN pending p ON p.seq = e.seq AND p.target_id = $2 WHERE e.seq = $1";

pub(super) async fn find_event(conn: &mut Conn, id: EventId) -> Result<Option<EventRecord>> {
    let Some(row) = sqlx::query(FIND_EVENT)
        .bind(id.get())
        .fetch_optional(conn)
        .await?
    else {
        return Ok(None);
    };
    let mut columns = Columns::of(&row);
    let mut record = EventRecord {
        id: columns.event_id()?,
        bus: columns.bus_id()?,
        facts: columns.facts()?,
        fan: columns.fan()?,
        trace_id: columns.optional_text()?,
        replay: columns.replay_mark()?,
        doc: Bytes::from(columns.bytes()?),
        bytes: 0,
    };
    record.bytes = u64::try_from(record.doc.len()).unwrap_or(u64::MAX);
    Ok(Some(record))
}

/// Selects the deliveries of one event, or one of them.
pub(super) fn of_event(id: EventId, target: Option<i32>) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new(DELIVERY_COLUMNS);
    sql.push(DELIVERY_JOINS)
        .push("d.seq = ")
        .push_bind(id.get());
    if let Some(target) = target {
        sql.push(" AND d.target_id = ").push_bind(target);
    }
    sql.push(" ORDER BY d.target_id");
    sql
}

pub(super) async fn list_event_deliveries(
    conn: &mut Conn,
    id: EventId,
) -> Result<Vec<DeliveryRecord>> {
    let rows = of_event(id, None).build().fetch_all(conn).await?;
    rows.iter().map(delivery_record).collect()
}

pub(super) async fn find_delivery(
    conn: &mut Conn,
    id: DeliveryId,
) -> Result<Option<DeliveryRecord>> {
    let found = of_event(id.event, Some(id.target.0))
        .build()
        .fetch_optional(&mut *conn)
        .await?;
    if let Some(row) = found {
        return delivery_record(&row).map(Some);
    }
    let row = sqlx::query(FIND_QUEUED)
        .bind(id.event.get())
        .bind(id.target.0)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut columns = Columns::of(&row);
    if !columns.fan()?.contains(&id.target) {
        return Ok(None);
    }
    let attempts = columns.optional_small("number of attempts")?.unwrap_or(0);
    Ok(Some(DeliveryRecord {
        outcome: Outcome {
            delivery: id,
            status: DeliveryStatus::Queued,
            attempts,
            status_code: None,
            duration_ms: 0,
            at_ms: id.event.time_ms(),
            reason: None,
            detail: None,
        },
        due_at_ms: columns.shown_due()?,
        bus: columns.bus_id()?,
        event: columns.facts()?,
        trace_id: columns.optional_text()?,
        replay: columns.replay_mark()?,
    }))
}

pub(super) async fn list_samples(conn: &mut Conn, target: TargetId) -> Result<Vec<Sample>> {
    let rows = sqlx::query(LIST_SAMPLES)
        .bind(target.0)
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(Sample::stored(columns.integer()?, columns.bytes()?))
        })
        .collect()
}

pub(super) async fn list_attempts(conn: &mut Conn, id: DeliveryId) -> Result<Vec<Attempt>> {
    let first_try = sqlx::query(FIND_FIRST_TRY)
        .bind(id.event.get())
        .bind(id.target.0)
        .fetch_optional(&mut *conn)
        .await?;
    let rows = sqlx::query(LIST_ATTEMPTS)
        .bind(id.event.get())
        .bind(id.target.0)
        .fetch_all(&mut *conn)
        .await?;
    let mut found = Vec::with_capacity(rows.len() + 1);
    if let Some(row) = first_try {
        let mut columns = Columns::of(&row);
        let (trace_id, packed) = (columns.optional_text()?, columns.bytes()?);
        let (attempt, record) = read_first_try(id, trace_id, &packed)?;
        found.push((attempt, record.map(<[u8]>::to_vec)));
    }
    for row in &rows {
        let mut columns = Columns::of(row);
        let attempt = Attempt {
            delivery: columns.delivery_id()?,
            number: columns.small("attempt number")?,
            trace_id: columns.optional_text()?,
            trigger: columns.trigger()?,
            started_at_ms: columns.integer()?,
            duration_ms: columns.small("duration")?,
            status_code: columns.optional_small("status code")?,
            reason: columns.reason()?,
            detail: columns.optional_text()?,
            next_at_ms: columns.take()?,
            record: None,
        };
        found.push((attempt, columns.take::<Option<Vec<u8>>>()?));
    }
    // A first attempt that was made twice (a lease ran out) was reported twice: the later one is shown.
    found.sort_by_key(|(attempt, _)| (attempt.number, -attempt.started_at_ms));
    found.dedup_by_key(|(attempt, _)| attempt.number);
    let samples = if found.iter().any(|(_, record)| record.is_some()) {
        list_samples(conn, id.target).await?
    } else {
        Vec::new()
    };
    found
        .into_iter()
        .map(|(mut attempt, record)| {
            if let Some(record) = record {
                attempt.record = Some(read_record(&attempt, &record, &samples)?);
            }
            Ok(attempt)
        })
        .collect()
}
