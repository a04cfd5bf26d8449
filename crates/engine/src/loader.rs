//! Brings pending work back: claims what is due for lanes that have room.
//!
//! Hints say when to look; they come after the commits that made the work pending. A sweep looks every few seconds
//! whatever the hints say, so a lost hint costs a little time and nothing else. A claim always starts at the earliest due
//! row, so work that was committed late is not passed over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use belfry_model::delivery::Reason;
use belfry_model::{DeliveryId, TargetId};
use belfry_store::{Claim, Claimed};
use tokio::time::Instant;

use crate::order;
use crate::outcome::Next;
use crate::shared::Shared;
use crate::work::{Done, Finished, Work};

/// Claimed at once; bounds the transaction.
const CLAIM_MAX: usize = 256;
/// Deliveries of one key claimed at once: enough that the receiver, and not the claims, says how fast a key can go.
const RUN_MAX: u32 = 64;
/// Blocked deliveries looked at by one sweep.
const STUCK_MAX: u32 = 2000;
/// The loader looks at its hints no more often than this.
const TICK: Duration = Duration::from_millis(20);
/// Lease of work whose target is gone: it ends at once.
const ORPHAN_LEASE_MS: i64 = 60_000;
/// A deleted target that has something on the wire is looked at again after this.
const LEAVING_MS: i64 = 100;
/// A sweep that failed is repeated after this.
const SWEEP_RETRY: Duration = Duration::from_secs(1);
/// How often other nodes' work is looked for.
const SWEEP_OTHERS: Duration = Duration::from_secs(1);
/// A target whose claim failed is asked again after this.
const RETRY_MS: i64 = 1_000;

/// Runs until the engine closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut sweep_at = Instant::now();
    let mut stuck = None;
    while !shared.closing.is_cancelled() {
        // What others make pending gives no hint here.
        let sweep_every = if shared.lease.has_others() {
            shared.settings.sweep_every.min(SWEEP_OTHERS)
        } else {
            shared.settings.sweep_every
        };
        if Instant::now() >= sweep_at {
            free_stuck(&shared, &mut stuck).await;
            let next = if sweep(&shared).await {
                sweep_every
            } else {
                // After a start nothing else knows what waits.
                SWEEP_RETRY.min(sweep_every)
            };
            sweep_at = Instant::now() + next;
        }
        let now_ms = shared.clock.now_ms();
        for target in shared.hints.take_due(now_ms) {
            load(&shared, target).await;
        }
        let wait = shared
            .hints
            .next_ms()
            .map_or(sweep_every, |due| {
                Duration::from_millis(u64::try_from(due - shared.clock.now_ms()).unwrap_or(0))
            })
            .min(sweep_at.saturating_duration_since(Instant::now()))
            .max(TICK);
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            () = shared.hints.urgent.notified() => {}
            () = shared.hints.changed.notified() => tokio::select! {
                biased;
                () = shared.hints.urgent.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            },
        }
    }
}

/// Looks at some of the blocked work and sets free what waits behind nothing. `stuck` is where the last look ended.
async fn free_stuck(shared: &Shared, stuck: &mut Option<DeliveryId>) {
    let now_ms = shared.clock.now_ms();
    let freed = shared.store.free_stuck(*stuck, STUCK_MAX, now_ms);
    match shared.ask(freed).await {
        Ok(freed) => {
            *stuck = freed.next;
            for target in freed.targets {
                tracing::warn!(target.id = %target, "deliveries waited behind nothing; they go on");
                shared.hints.wake(target, now_ms);
            }
        }
        Err(error) => tracing::warn!(%error, "blocked work could not be looked at; trying again"),
    }
}

/// Asks the store what is due when, whatever the hints say. `false`: it did not tell.
pub(crate) async fn sweep(shared: &Shared) -> bool {
    let due = async {
        let targets = shared.store.targets_with_pending().await?;
        shared.store.next_due(&targets).await
    };
    match shared.ask(due).await {
        Ok(due) => {
            for (target, at) in due {
                shared.hints.wake(target, at);
            }
            true
        }
        Err(error) => {
            tracing::warn!(%error, "due work could not be looked up; trying again");
            false
        }
    }
}

/// Claims what one target's lane has room for.
async fn load(shared: &Arc<Shared>, target: TargetId) {
    let now_ms = shared.clock.now_ms();
    if shared.stalled.load(Ordering::Relaxed) || !shared.lease.is_sure() {
        return shared.hints.wake(target, now_ms + RETRY_MS);
    }
    let Some(lane) = shared.lane(target) else {
        return end_orphans(shared, target, now_ms).await;
    };
    let (count, bytes) = match lane.room(now_ms) {
        Ok(room) => room,
        Err(again_ms) => return shared.hints.wake(target, again_ms),
    };
    let claim = Claim {
        target,
        now_ms,
        lease_until_ms: now_ms + lane.lease_ms(),
        owner: shared.lease.member.node,
        limit: u32::try_from(count.min(CLAIM_MAX)).unwrap_or(1),
        bytes_max: bytes as u64,
        run_max: RUN_MAX,
        early: false,
    };
    let Some(claimed) = claim_due(shared, &claim).await else {
        return;
    };
    let full = claimed.len() >= count.min(CLAIM_MAX);
    for work in order::runs(claimed).into_iter().filter_map(Work::run) {
        lane.push_claimed(Arc::new(work), now_ms);
    }
    again(shared, target, full, now_ms).await;
}

/// Work of a target that was deleted ends as skipped; what another node has at hand ends there.
async fn end_orphans(shared: &Arc<Shared>, target: TargetId, now_ms: i64) {
    if shared.is_leaving(target) {
        return shared.hints.wake(target, now_ms + LEAVING_MS);
    }
    // What was on the wire until now is to be committed: it has ended otherwise.
    shared.flush().await;
    let claim = Claim {
        target,
        now_ms,
        lease_until_ms: now_ms + ORPHAN_LEASE_MS,
        owner: shared.lease.member.node,
        limit: u32::try_from(CLAIM_MAX).unwrap_or(1),
        bytes_max: shared.settings.lane_bytes_max as u64,
        run_max: u32::try_from(CLAIM_MAX).unwrap_or(1),
        early: true,
    };
    let Some(claimed) = claim_due(shared, &claim).await else {
        return;
    };
    if claimed.is_empty() {
        return;
    }
    for item in claimed {
        let next = Next::Skipped {
            reason: Reason::TargetDeleted,
            detail: "the target was deleted".to_owned(),
        };
        let finished = Finished::unsent(Arc::new(Work::claimed(item)), next, now_ms);
        shared.hand_over(Done::Finished(Box::new(finished))).await;
    }
    // The next page is claimed whatever its due times, so this one has to be gone by then.
    shared.flush().await;
    let failing = !shared.store_ok.load(Ordering::Relaxed);
    let again_ms = now_ms + if failing { RETRY_MS } else { 0 };
    shared.hints.wake(target, again_ms);
}

async fn claim_due(shared: &Shared, claim: &Claim) -> Option<Vec<Claimed>> {
    match shared.store.claim_due(claim).await {
        Ok(claimed) => Some(claimed),
        Err(error) => {
            tracing::warn!(%error, target.id = %claim.target, "due work could not be claimed; trying again");
            shared
                .hints
                .wake(claim.target, shared.clock.now_ms() + RETRY_MS);
            None
        }
    }
}

async fn again(shared: &Shared, target: TargetId, full: bool, now_ms: i64) {
    if full {
        return shared.hints.wake(target, now_ms);
    }
    match shared.ask(shared.store.next_due(&[target])).await {
        Ok(due) => {
            let next = due.first().map(|(_, at)| *at);
            if next.is_none_or(|at| at > now_ms)
                && let Some(lane) = shared.lane(target)
            {
                lane.caught_up();
            }
            if let Some(at) = next {
                shared.hints.wake(target, at);
            }
        }
        Err(error) => {
            tracing::warn!(%error, "due work could not be looked up; trying again");
            shared.hints.wake(target, now_ms + RETRY_MS);
        }
    }
}
