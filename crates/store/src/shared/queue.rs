//! Work that waits for its time. A claim is one short writing transaction, so it can never race with a commit that
//! finishes the same delivery.

use std::collections::HashSet;

use async_trait::async_trait;
use belfry_model::delivery::{DeliveryStatus, Reason, Trigger};
use belfry_model::{BusId, DeliveryId, EventId, TargetId};
use futures_util::TryStreamExt as _;
use sqlx::Row as _;

use super::dialect::{DUE, FORGET, LEASE, NEXT_DUE, QUEUE_AGAIN};
use super::rows::{Columns, DbRow, fan_text, json_text, numbers_text};
use super::{Conn, Store, batch, keys};
use crate::{
    AuditEntry, Backlog, Claim, Claimed, DeliveryQueue, IdempotencyRecord, Pending, Result,
    StoreError,
};

/// Jumps from target to target in the key, instead of reading every row.
pub(super) const TARGETS: &str = "WITH RECURSIVE waiting (id) AS (SELECT min(target_id) FROM pending UNION ALL \
     SELECT (SELECT min(target_id) FROM pending WHERE target_id > waiting.id) FROM waiting WHERE waiting.id IS NOT NULL) \
     SELECT id FROM waiting WHERE id IS NOT NULL";
pub(super) const BACKLOG: &str = "SELECT count(*), min(seq) FROM (SELECT seq FROM pending WHERE target_id = $1 \
     ORDER BY due_at_ms, seq LIMIT $2) AS waiting";
/// Deliveries queued again by one statement.
const REDRIVE_CHUNK: usize = 1000;

/// Reads a row of [`DUE`]; `None`: its event is gone.
fn due(row: &DbRow, claim: &Claim) -> Result<Option<Claimed>> {
    let mut columns = Columns::of(row);
    let pending = columns.pending()?;
    let Some(bus) = columns.optional_small("bus id")?.map(BusId) else {
        return Ok(None);
    };
    let trace_id = columns.optional_text()?;
    let event = columns.event()?;
    let pending = Pending {
        due_at_ms: claim.lease_until_ms,
        owner: Some(claim.owner),
        ..pending
    };
    Ok(Some(Claimed {
        pending,
        bus,
        event,
        trace_id,
    }))
}

async fn claim(conn: &mut Conn, claim: Claim) -> Result<Vec<Claimed>> {
    let mut taken: Vec<Claimed> = Vec::new();
    let (mut leased, mut orphans) = (Vec::new(), Vec::new());
    let mut bytes: u64 = 0;
    {
        let mut rows = sqlx::query(DUE)
            .bind(claim.target.0)
            .bind(claim.now_ms)
            .bind(i64::from(claim.limit))
            .fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let seq: i64 = row.try_get(0)?;
            match due(&row, &claim) {
                Ok(Some(work)) => {
                    let size = u64::try_from(work.event.doc().len()).unwrap_or(u64::MAX);
                    bytes = bytes.saturating_add(size);
                    if bytes > claim.bytes_max && !taken.is_empty() {
                        break;
                    }
                    leased.push(seq);
                    taken.push(work);
                }
                Ok(None) => orphans.push(seq),
                Err(error) => {
                    // Set aside for the length of a lease: one bad row must not keep back all others for ever.
                    let event = EventId::from_stored(seq);
                    tracing::error!(%error, event.id = %event, target.id = claim.target.0, "waiting work cannot be read");
                    leased.push(seq);
                }
            }
        }
    }
    if !leased.is_empty() {
        sqlx::query(LEASE)
            .bind(claim.lease_until_ms)
            .bind(i64::from(claim.owner.0))
            .bind(claim.target.0)
            .bind(numbers_text(leased))
            .execute(&mut *conn)
            .await?;
    }
    if !orphans.is_empty() {
        sqlx::query(FORGET)
            .bind(claim.target.0)
            .bind(numbers_text(orphans))
            .execute(conn)
            .await?;
    }
    Ok(taken)
}

async fn redrive(
    conn: &mut Conn,
    deliveries: Vec<DeliveryId>,
    statuses: String,
    now_ms: i64,
) -> Result<Vec<DeliveryId>> {
    let mut taken = HashSet::new();
    for chunk in deliveries.chunks(REDRIVE_CHUNK) {
        let pairs: Vec<_> = chunk
            .iter()
            .map(|id| (id.event.get(), id.target.0))
            .collect();
        let rows = sqlx::query(QUEUE_AGAIN)
            .bind(DeliveryStatus::Queued.number())
            .bind(Reason::Redriven.number())
            .bind(now_ms)
            .bind(json_text(&pairs)?)
            .bind(&statuses)
            .fetch_all(&mut *conn)
            .await?;
        let mut work = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::of(row);
            let delivery = columns.delivery_id()?;
            let attempts = columns.small("number of attempts")?;
            taken.insert(delivery);
            work.push(Pending {
                delivery,
                due_at_ms: now_ms,
                attempts,
                attempts_before: attempts,
                since_ms: now_ms,
                trigger: Trigger::Redrive,
                owner: None,
            });
        }
        batch::put_pending(conn, &work).await?;
    }
    // In the order asked for, each once.
    Ok(deliveries
        .into_iter()
        .filter(|id| taken.remove(id))
        .collect())
}

/// A redrive that is written down: of all that was asked for, or none.
async fn noted_redrive(
    conn: &mut Conn,
    deliveries: Vec<DeliveryId>,
    statuses: String,
    now_ms: i64,
    audit: &[AuditEntry],
    idempotency: Option<&IdempotencyRecord>,
) -> Result<Vec<DeliveryId>> {
    keys::add_idempotency(conn, idempotency).await?;
    keys::add_audit(conn, audit).await?;
    let asked: HashSet<_> = deliveries.iter().copied().collect();
    let taken = redrive(conn, deliveries, statuses, now_ms).await?;
    if taken.len() < asked.len() {
        return Err(StoreError::Conflict);
    }
    Ok(taken)
}

impl Store {
    async fn waiting_targets(&self) -> Result<Vec<TargetId>> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(TARGETS).fetch_all(reader.conn()?).await?;
        rows.iter()
            .map(|row| Columns::of(row).target_id())
            .collect()
    }
}

#[async_trait]
impl DeliveryQueue for Store {
    async fn claim_due(&self, wanted: &Claim) -> Result<Vec<Claimed>> {
        let wanted = *wanted;
        self.write(move |conn| Box::pin(claim(conn, wanted))).await
    }

    async fn next_due(&self, targets: &[TargetId]) -> Result<Vec<(TargetId, i64)>> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(NEXT_DUE)
            .bind(fan_text(targets))
            .fetch_all(reader.conn()?)
            .await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::of(row);
            let target = columns.target_id()?;
            if let Some(at_ms) = columns.take::<Option<i64>>()? {
                due.push((target, at_ms));
            }
        }
        Ok(due)
    }

    async fn targets_with_pending(&self) -> Result<Vec<TargetId>> {
        self.waiting_targets().await
    }

    async fn backlog(&self, count_max: u32) -> Result<Vec<Backlog>> {
        let targets = self.waiting_targets().await?;
        let mut reader = self.reader().await?;
        let conn = reader.conn()?;
        let mut backlog = Vec::with_capacity(targets.len());
        for target in targets {
            let row = sqlx::query(BACKLOG)
                .bind(target.0)
                .bind(i64::from(count_max))
                .fetch_one(&mut *conn)
                .await?;
            let mut columns = Columns::of(&row);
            let count = columns.small("count")?;
            let oldest = columns.optional_event_id()?;
            backlog.push(Backlog {
                target,
                count,
                oldest,
            });
        }
        Ok(backlog)
    }

    async fn redrive(
        &self,
        deliveries: &[DeliveryId],
        only: &[DeliveryStatus],
        now_ms: i64,
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
    ) -> Result<Vec<DeliveryId>> {
        let wanted = if only.is_empty() {
            DeliveryStatus::ALL
        } else {
            only
        };
        let statuses = numbers_text(
            wanted
                .iter()
                .filter(|status| status.is_final())
                .map(|status| status.number()),
        );
        let deliveries = deliveries.to_vec();
        if audit.is_empty() && idempotency.is_none() {
            return self
                .write(move |conn| Box::pin(redrive(conn, deliveries, statuses, now_ms)))
                .await;
        }
        let (audit, idempotency) = (audit.to_vec(), idempotency.cloned());
        self.write(move |conn| {
            Box::pin(async move {
                let record = idempotency.as_ref();
                noted_redrive(conn, deliveries, statuses, now_ms, &audit, record).await
            })
        })
        .await
    }
}
