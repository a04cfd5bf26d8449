//! Lists of events.

use belfry_model::EventId;
use bytes::Bytes;
use sqlx::QueryBuilder;

use super::dialect::push_bytes_hold;
use super::rows::{Columns, DbRow};
use super::walk::{Key, Rows, Span, deadline, push_equal, span, walk};
use super::{Conn, Db};
use crate::{EventQuery, EventRecord, Page, Result};

pub(super) struct Events<'q>(pub(super) &'q EventQuery);

impl Events<'_> {
    fn push_span(sql: &mut QueryBuilder<Db>, span: Span) {
        sql.push("e.seq >= ")
            .push_bind(span.low.0)
            .push(" AND e.seq < ")
            .push_bind(span.high.0);
    }
}

impl Rows for Events<'_> {
    type Item = EventRecord;

    fn all_qualify(&self) -> bool {
        let query = self.0;
        query.bus.is_none()
            && query.kind.is_none()
            && query.source.is_none()
            && query.subject.is_none()
            && query.ce_id.is_none()
            && query.text.is_none()
            && query.matched.is_none()
    }

    fn nth(&self, span: Span, skip: u32) -> QueryBuilder<Db> {
        let mut sql = QueryBuilder::new("SELECT e.seq, CAST(0 AS BIGINT) FROM event e WHERE ");
        Self::push_span(&mut sql, span);
        sql.push(" ORDER BY e.seq DESC LIMIT 1 OFFSET ")
            .push_bind(i64::from(skip));
        sql
    }

    fn newest(&self, span: Span, limit: u32) -> QueryBuilder<Db> {
        let query = self.0;
        let mut sql = QueryBuilder::new(
            "SELECT e.seq, e.bus_id, e.ce_id, e.source, e.type, e.subject, e.fan, e.trace_id, \
             e.replay_id, e.replay_of, CAST(length(e.doc) AS BIGINT) \
             FROM event e WHERE ",
        );
        Self::push_span(&mut sql, span);
        if let Some(bus) = query.bus {
            sql.push(" AND e.bus_id = ").push_bind(bus.0);
        }
        push_equal(&mut sql, "e.type", query.kind.as_deref());
        push_equal(&mut sql, "e.source", query.source.as_deref());
        push_equal(&mut sql, "e.subject", query.subject.as_deref());
        push_equal(&mut sql, "e.ce_id", query.ce_id.as_deref());
        match query.matched {
            Some(true) => drop(sql.push(" AND e.fan <> '[]'")),
            Some(false) => drop(sql.push(" AND e.fan = '[]'")),
            None => {}
        }
        if let Some(text) = &query.text {
            sql.push(" AND ");
            push_bytes_hold(&mut sql, "e.doc", text);
        }
        sql.push(" ORDER BY e.seq DESC LIMIT ")
            .push_bind(i64::from(limit));
        sql
    }

    fn read(&self, row: &DbRow) -> Result<EventRecord> {
        let mut columns = Columns::of(row);
        Ok(EventRecord {
            id: columns.event_id()?,
            bus: columns.bus_id()?,
            facts: columns.facts()?,
            fan: columns.fan()?,
            trace_id: columns.optional_text()?,
            replay: columns.replay_mark()?,
            doc: Bytes::new(),
            bytes: columns.small("size")?,
        })
    }

    fn key(item: &EventRecord) -> Key {
        (item.id.get(), 0)
    }
}

pub(super) async fn list_events(
    conn: &mut Conn,
    query: &EventQuery,
) -> Result<Page<EventRecord, EventId>> {
    let span = span(
        query.since_ms,
        query.until_ms,
        query.before.map(|id| (id.get(), 0)),
    );
    let walked = walk(
        conn,
        &Events(query),
        span,
        query.limit,
        query.scan_max,
        deadline(),
    )
    .await?;
    Ok(Page {
        items: walked.items,
        next: walked.reached.map(|key| EventId::from_stored(key.0)),
    })
}
