//! Lists of log entries.

use belfry_model::{DeliveryId, LogName};
use sqlx::{QueryBuilder, Row as _};

use super::dialect::push_text_holds;
use super::rows::{Columns, DbRow};
use super::walk::{
    Key, Rows, Span, deadline, delivery_id, delivery_key, push_equal, push_pairs, span, walk,
};
use super::{Conn, Db};
use crate::{LogEntry, LogQuery, Page, Result};

pub(super) struct LogEntries<'q> {
    pub(super) log: i64,
    pub(super) query: &'q LogQuery,
}

impl LogEntries<'_> {
    fn push_span(&self, sql: &mut QueryBuilder<Db>, span: Span) {
        sql.push("l.log_id = ").push_bind(self.log).push(" AND ");
        push_pairs(sql, "l", span);
    }
}

impl Rows for LogEntries<'_> {
    type Item = LogEntry;

    fn all_qualify(&self) -> bool {
        let query = self.query;
        query.kind.is_none()
            && query.source.is_none()
            && query.subject.is_none()
            && query.text.is_none()
    }

    fn nth(&self, span: Span, skip: u32) -> QueryBuilder<Db> {
        let mut sql = QueryBuilder::new("SELECT l.seq, l.target_id FROM log_entry l WHERE ");
        self.push_span(&mut sql, span);
        sql.push(" ORDER BY l.seq DESC, l.target_id DESC LIMIT 1 OFFSET ")
            .push_bind(i64::from(skip));
        sql
    }

    fn newest(&self, span: Span, limit: u32) -> QueryBuilder<Db> {
        let query = self.query;
        let mut sql = QueryBuilder::new(
            "SELECT l.seq, l.target_id, l.ce_id, l.source, l.type, l.subject, l.text FROM log_entry l WHERE ",
        );
        self.push_span(&mut sql, span);
        push_equal(&mut sql, "l.type", query.kind.as_deref());
        push_equal(&mut sql, "l.source", query.source.as_deref());
        push_equal(&mut sql, "l.subject", query.subject.as_deref());
        if let Some(text) = &query.text {
            sql.push(" AND ");
            push_text_holds(&mut sql, "l.text", text);
        }
        sql.push(" ORDER BY l.seq DESC, l.target_id DESC LIMIT ")
            .push_bind(i64::from(limit));
        sql
    }

    fn read(&self, row: &DbRow) -> Result<LogEntry> {
        let mut columns = Columns::of(row);
        Ok(LogEntry {
            delivery: columns.delivery_id()?,
            event: columns.facts()?,
            text: columns.text()?,
        })
    }

    fn key(item: &LogEntry) -> Key {
        delivery_key(item.delivery)
    }
}

pub(super) async fn list_log_entries(
    conn: &mut Conn,
    log: &LogName,
    query: &LogQuery,
) -> Result<Option<Page<LogEntry, DeliveryId>>> {
    let row = sqlx::query("SELECT id FROM log WHERE name = $1")
        .bind(log.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let rows = LogEntries {
        log: row.try_get(0)?,
        query,
    };
    let span = span(
        query.since_ms,
        query.until_ms,
        query.before.map(delivery_key),
    );
    let walked = walk(conn, &rows, span, query.limit, query.scan_max, deadline()).await?;
    Ok(Some(Page {
        items: walked.items,
        next: walked.reached.map(delivery_id),
    }))
}
