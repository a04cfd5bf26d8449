//! Lists of deliveries.

use belfry_model::DeliveryId;
use belfry_model::delivery::DeliveryStatus;
use sqlx::QueryBuilder;

use super::dialect::{DELIVERY_JOINS, push_bytes_hold, push_days, push_text_holds};
use super::rows::{Columns, DbRow, in_list};
use super::walk::{
    Key, Rows, Span, Walked, deadline, delivery_id, delivery_key, push_equal, push_pairs, span,
    walk,
};
use super::{Conn, Db};
use crate::sample::FirstTry;
use crate::{DeliveryQuery, DeliveryRecord, Page, Result};

/// Up to so many targets are walked one by one in their own index and merged; more are found by walking over all
/// deliveries.
const TARGETS_MERGED_MAX: usize = 32;

/// What a [`DeliveryRecord`] is read from; [`DELIVERY_JOINS`] follows.
pub(super) const DELIVERY_COLUMNS: &str = "SELECT d.seq, d.target_id, d.status, d.attempts, d.status_code, d.duration_ms, \
     d.at_ms, d.reason, d.detail, substr(d.first_try, 1, 18), p.due_at_ms, e.bus_id, e.ce_id, e.source, e.type, e.subject, e.trace_id, \
     e.replay_id, e.replay_of FROM delivery d ";

const _: () = assert!(FirstTry::BYTES_MAX == 18, "it stands above");

/// Deliveries of one target, or of any (then perhaps only `among` some).
pub(super) struct Deliveries<'q> {
    pub(super) query: &'q DeliveryQuery,
    pub(super) target: Option<i64>,
    pub(super) among: Option<String>,
}

impl Deliveries<'_> {
    /// Whether the small index of what was not simply delivered can be walked.
    fn not_delivered(&self) -> bool {
        let statuses = &self.query.statuses;
        !statuses.is_empty() && !statuses.contains(&DeliveryStatus::Delivered)
    }

    /// Whether the states asked for must be looked at one by one.
    fn states_matter(&self) -> bool {
        let all_others = DeliveryStatus::ALL.len() - 1;
        let mut statuses = self.query.statuses.clone();
        statuses.sort_unstable();
        statuses.dedup();
        !(statuses.is_empty() || self.not_delivered() && statuses.len() == all_others)
    }

    fn push_span(&self, sql: &mut QueryBuilder<Db>, span: Span) {
        if let Some(target) = self.target {
            let low = if target >= span.low.1 {
                span.low.0
            } else {
                span.low.0.saturating_add(1)
            };
            let high = if target < span.high.1 {
                span.high.0.saturating_add(1)
            } else {
                span.high.0
            };
            sql.push("d.target_id = ")
                .push_bind(target)
                .push(" AND d.seq >= ")
                .push_bind(low);
            sql.push(" AND d.seq < ").push_bind(high);
        } else {
            push_pairs(sql, "d", span);
            push_days(sql, "d", span);
        }
        if self.not_delivered() {
            // Word for word the condition of the partial indexes.
            sql.push(" AND d.status <> 1");
        }
    }
}

impl Rows for Deliveries<'_> {
    type Item = DeliveryRecord;

    fn all_qualify(&self) -> bool {
        let query = self.query;
        self.among.is_none()
            && !self.states_matter()
            && query.reason.is_none()
            && query.kind.is_none()
            && query.source.is_none()
            && query.subject.is_none()
            && query.text.is_none()
    }

    fn nth(&self, span: Span, skip: u32) -> QueryBuilder<Db> {
        let mut sql = QueryBuilder::new("SELECT d.seq, d.target_id FROM delivery d WHERE ");
        self.push_span(&mut sql, span);
        sql.push(" ORDER BY d.seq DESC, d.target_id DESC LIMIT 1 OFFSET ")
            .push_bind(i64::from(skip));
        sql
    }

    fn newest(&self, span: Span, limit: u32) -> QueryBuilder<Db> {
        let query = self.query;
        let mut sql = QueryBuilder::new(DELIVERY_COLUMNS);
        sql.push(DELIVERY_JOINS);
        self.push_span(&mut sql, span);
        if self.states_matter() {
            sql.push(" AND d.status IN ");
            sql.push(in_list(query.statuses.iter().map(|status| status.number())));
        }
        if let Some(among) = &self.among {
            // The sign keeps the planner from starting there: it would have to sort.
            sql.push(" AND +d.target_id IN ").push(among);
        }
        if let Some(reason) = query.reason {
            sql.push(" AND d.reason = ").push_bind(reason.number());
        }
        push_equal(&mut sql, "e.type", query.kind.as_deref());
        push_equal(&mut sql, "e.source", query.source.as_deref());
        push_equal(&mut sql, "e.subject", query.subject.as_deref());
        if let Some(text) = &query.text {
            sql.push(" AND (");
            push_text_holds(&mut sql, "d.detail", text);
            sql.push(" OR ");
            push_bytes_hold(&mut sql, "e.doc", text);
            sql.push(")");
        }
        sql.push(" ORDER BY d.seq DESC, d.target_id DESC LIMIT ")
            .push_bind(i64::from(limit));
        sql
    }

    fn read(&self, row: &DbRow) -> Result<DeliveryRecord> {
        delivery_record(row)
    }

    fn key(item: &DeliveryRecord) -> Key {
        delivery_key(item.outcome.delivery)
    }
}

/// Reads the columns of [`DELIVERY_COLUMNS`].
pub(super) fn delivery_record(row: &DbRow) -> Result<DeliveryRecord> {
    let mut columns = Columns::of(row);
    Ok(DeliveryRecord {
        outcome: columns.outcome()?,
        due_at_ms: columns.shown_due()?,
        bus: columns.bus_id()?,
        event: columns.facts()?,
        trace_id: columns.optional_text()?,
        replay: columns.replay_mark()?,
    })
}

pub(super) async fn list_deliveries(
    conn: &mut Conn,
    query: &DeliveryQuery,
) -> Result<Page<DeliveryRecord, DeliveryId>> {
    let span = span(
        query.since_ms,
        query.until_ms,
        query.before.map(delivery_key),
    );
    let mut targets: Option<Vec<i64>> = query
        .targets
        .as_ref()
        .map(|list| list.iter().map(|id| i64::from(id.0)).collect());
    if let Some(list) = &mut targets {
        list.sort_unstable();
        list.dedup();
    }
    let scan_max = usize::try_from(query.scan_max).unwrap_or(usize::MAX);
    let walked = match targets {
        Some(list) if list.is_empty() => Walked {
            items: Vec::new(),
            reached: None,
        },
        Some(list) if list.len() <= TARGETS_MERGED_MAX.min(scan_max.max(1)) => {
            merge(conn, query, &list, span).await?
        }
        targets => {
            let among = targets.map(in_list);
            let rows = Deliveries {
                query,
                target: None,
                among,
            };
            walk(conn, &rows, span, query.limit, query.scan_max, deadline()).await?
        }
    };
    Ok(Page {
        items: walked.items,
        next: walked.reached.map(delivery_id),
    })
}

/// Walks over each target's own index and puts the rows in order. Below the highest place where one of the walks
/// stopped, rows may be missing, so the page ends there, and the walks that follow need not go further.
async fn merge(
    conn: &mut Conn,
    query: &DeliveryQuery,
    targets: &[i64],
    mut span: Span,
) -> Result<Walked<DeliveryRecord>> {
    let limit = usize::try_from(query.limit.max(1)).unwrap_or(usize::MAX);
    let share = u32::try_from(targets.len()).map_or(1, |count| query.scan_max / count.max(1));
    let deadline = deadline();
    let first_low = span.low;
    let mut items: Vec<DeliveryRecord> = Vec::new();
    for target in targets {
        let rows = Deliveries {
            query,
            target: Some(*target),
            among: None,
        };
        let walked = walk(conn, &rows, span, query.limit, share, deadline).await?;
        items.extend(walked.items);
        if let Some(reached) = walked.reached {
            span.low = span.low.max(reached);
        }
        items.sort_unstable_by_key(|item| std::cmp::Reverse(Deliveries::key(item)));
        if let Some(beyond) = items.get(limit) {
            span.low = span.low.max(Deliveries::key(beyond));
        }
        items.retain(|item| Deliveries::key(item) >= span.low);
    }
    let stopped = (span.low > first_low).then_some(span.low);
    if items.len() <= limit {
        return Ok(Walked {
            items,
            reached: stopped,
        });
    }
    items.truncate(limit);
    let reached = items.last().map(Deliveries::key);
    Ok(Walked { items, reached })
}
