//! Work that waits for its time. A claim is one short writing transaction, so it can never race with a commit that
//! finishes the same delivery.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use belfry_model::delivery::{DeliveryStatus, Reason, Trigger};
use belfry_model::{BusId, DeliveryId, EventId, NodeId, OrderKey, TargetId};
use futures_util::TryStreamExt as _;
use sqlx::Row as _;

use super::dialect::{
    BLOCK, DUE, FIRST_OF_KEYS, FORGET, LEASE, NEXT_DUE, OUT_OF_ORDER, QUEUE_AGAIN, THESE,
};
use super::order::{DueKeys, Room, Waiting};
use super::rows::{Columns, DbRow, fan_text, json_text, numbers_text};
use super::{Conn, Store, batch, keys, order};
use crate::{
    AuditEntry, Backlog, Claim, Claimed, DeliveryQueue, Freed, IdempotencyRecord, Pending, Result,
    StoreError,
};

/// Where [`DUE`] and [`THESE`] have it.
const ORDER_KEY: usize = 8;
/// Jumps from target to target in the key, instead of reading every row.
pub(super) const TARGETS: &str = "WITH RECURSIVE waiting (id) AS (SELECT min(target_id) FROM pending UNION ALL \
     SELECT (SELECT min(target_id) FROM pending WHERE target_id > waiting.id) FROM waiting WHERE waiting.id IS NOT NULL) \
     SELECT id FROM waiting WHERE id IS NOT NULL";
pub(super) const BACKLOG: &str = "SELECT count(*), min(seq) FROM (SELECT seq FROM pending WHERE target_id = $1 \
     ORDER BY due_at_ms, seq LIMIT $2) AS waiting";
/// The number is [`BLOCKED_MS`](crate::BLOCKED_MS).
pub(super) const BLOCKED_COUNT: &str = "SELECT count(*) FROM (SELECT 1 FROM pending WHERE target_id = $1 \
     AND due_at_ms = 253402300799000 LIMIT $2) AS waiting";
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
    let replay = columns.replay_mark()?;
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
        replay,
    }))
}

/// Rows of a claim, sorted by what becomes of them.
#[derive(Default)]
struct Sorted {
    taken: Vec<Claimed>,
    leased: Vec<i64>,
    orphans: Vec<i64>,
    /// Cannot be read: set aside for the length of a lease and out of any order, for one bad row must not keep back all
    /// others for ever.
    bad: Vec<i64>,
}

impl Sorted {
    /// `false`: there is no room for it.
    fn add(&mut self, seq: i64, row: &DbRow, claim: &Claim, room: Option<&mut Room>) -> bool {
        match due(row, claim) {
            Ok(Some(work)) => {
                let size = u64::try_from(work.event.doc().len()).unwrap_or(u64::MAX);
                if room.is_some_and(|room| !room.take(size)) {
                    return false;
                }
                self.leased.push(seq);
                self.taken.push(work);
            }
            Ok(None) => self.orphans.push(seq),
            Err(error) => {
                let event = EventId::from_stored(seq);
                tracing::error!(%error, event.id = %event, target.id = claim.target.0, "waiting work cannot be read");
                self.leased.push(seq);
                self.bad.push(seq);
            }
        }
        true
    }
}

async fn claim(conn: &mut Conn, claim: Claim) -> Result<Vec<Claimed>> {
    let mut sorted = Sorted::default();
    let mut keys = DueKeys::default();
    let mut room = Room {
        count: claim.limit as usize,
        bytes: claim.bytes_max,
        any: false,
    };
    {
        let mut rows = sqlx::query(DUE)
            .bind(claim.target.0)
            .bind(claim.until_ms())
            .bind(i64::from(claim.limit))
            .fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let seq: i64 = row.try_get(0)?;
            if claim.early {
                let pending = Columns::of(&row).pending()?;
                if claim.is_held(pending.due_at_ms, pending.owner) {
                    continue;
                }
            }
            if let Some(key) = row.try_get(ORDER_KEY)? {
                keys.add(OrderKey(key), seq);
            } else if !sorted.add(seq, &row, &claim, Some(&mut room)) {
                break;
            }
        }
    }
    if !keys.keys.is_empty() {
        claim_runs(conn, &claim, &keys, room, &mut sorted).await?;
    }
    let Sorted {
        taken,
        leased,
        orphans,
        bad,
    } = sorted;
    if !leased.is_empty() {
        sqlx::query(LEASE)
            .bind(claim.lease_until_ms)
            .bind(i64::from(claim.owner.0))
            .bind(claim.target.0)
            .bind(numbers_text(leased))
            .execute(&mut *conn)
            .await?;
    }
    change(conn, FORGET, claim.target, orphans).await?;
    change(conn, OUT_OF_ORDER, claim.target, bad).await?;
    Ok(taken)
}

/// Claims the first deliveries of the keys of which something is due.
async fn claim_runs(
    conn: &mut Conn,
    claim: &Claim,
    keys: &DueKeys,
    room: Room,
    sorted: &mut Sorted,
) -> Result<()> {
    let mut waiting: HashMap<i64, Vec<Waiting>> = HashMap::new();
    {
        let mut rows = sqlx::query(FIRST_OF_KEYS)
            .bind(numbers_text(keys.keys.iter().copied()))
            .bind(claim.target.0)
            .bind(keys.run_max(claim, room))
            .fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let mut columns = Columns::of(&row);
            waiting
                .entry(columns.integer()?)
                .or_default()
                .push(Waiting {
                    seq: columns.integer()?,
                    due_at_ms: columns.integer()?,
                    bytes: columns.integer()?,
                    owner: columns.optional_small("node id")?.map(NodeId),
                });
        }
    }
    for rows in waiting.values_mut() {
        rows.sort_unstable_by_key(|row| row.seq);
    }
    let runs = order::runs(keys, &waiting, claim, room);
    change(conn, BLOCK, claim.target, runs.block).await?;
    if runs.take.is_empty() {
        return Ok(());
    }
    // In the order of the list.
    let mut rows = sqlx::query(THESE)
        .bind(claim.target.0)
        .bind(numbers_text(runs.take))
        .fetch(conn);
    while let Some(row) = rows.try_next().await? {
        let seq: i64 = row.try_get(0)?;
        sorted.add(seq, &row, claim, None);
    }
    Ok(())
}

/// Runs a statement that takes a target and a list of events.
async fn change(
    conn: &mut Conn,
    statement: &'static str,
    target: TargetId,
    events: Vec<i64>,
) -> Result<()> {
    if !events.is_empty() {
        sqlx::query(statement)
            .bind(target.0)
            .bind(numbers_text(events))
            .execute(conn)
            .await?;
    }
    Ok(())
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
                // It comes late by its nature; what came after it has been delivered.
                order: None,
                progress: None,
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

    async fn free_stuck(
        &self,
        after: Option<DeliveryId>,
        rows_max: u32,
        now_ms: i64,
    ) -> Result<Freed> {
        let targets = self.waiting_targets().await?;
        let (stuck, next) = {
            let mut reader = self.reader().await?;
            order::stuck(reader.conn()?, &targets, after, rows_max, now_ms).await?
        };
        if !stuck.is_empty() {
            let stuck = stuck.clone();
            self.write(move |conn| Box::pin(async move { batch::put_release(conn, &stuck).await }))
                .await?;
        }
        let mut targets: Vec<_> = stuck.iter().map(|free| free.target).collect();
        targets.dedup();
        Ok(Freed { targets, next })
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
            let row = sqlx::query(BLOCKED_COUNT)
                .bind(target.0)
                .bind(i64::from(count_max))
                .fetch_one(&mut *conn)
                .await?;
            backlog.push(Backlog {
                target,
                count,
                blocked: Columns::of(&row).small("count")?,
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
