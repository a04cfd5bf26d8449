//! Housekeeping: configuration changes by other processes, the disk guard, turns of retention, disabling targets, gauges.
//!
//! Each job is idempotent and takes no input but the store, so that it does the same after a crash as before.

use std::sync::Arc;
use std::time::Duration;

use belfry_model::config::Disabled;
use belfry_model::delivery::DeliveryStatus;
use belfry_model::{EventId, TargetId};
use belfry_store::{AuditEntry, Change, ConfigDiff, DeliveryQuery, StoreError, Usage};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, MissedTickBehavior};

use crate::retention::Walks;
use crate::shared::Shared;
use crate::snapshot::{self, Snapshot};
use crate::{metrics, report, retention};

const USAGE_EVERY: Duration = Duration::from_secs(5);
const LOGS_EVERY: Duration = Duration::from_mins(1);
const FAILING_EVERY: Duration = Duration::from_mins(10);
/// Days are made ahead for longer than this.
const DAYS_EVERY: Duration = Duration::from_hours(1);
const MIB: u64 = 1024 * 1024;
/// Pending rows counted for a gauge, per target.
const BACKLOG_COUNT_MAX: u32 = 10_000;

/// Runs until the engine has closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut tick =
        tokio::time::interval(shared.settings.config_poll.max(Duration::from_millis(50)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = Instant::now();
    let (mut usage_at, mut logs_at, mut failing_at) =
        (start, start + LOGS_EVERY, start + FAILING_EVERY);
    let mut days_at = start + DAYS_EVERY;
    let mut walks = Walks::default();
    loop {
        tokio::select! {
            biased;
            () = shared.closed.cancelled() => return,
            () = shared.disable_wanted.notified() => {
                disable_wanted(&shared).await;
                continue;
            }
            () = shared.store.config_changed() => {}
            _ = tick.tick() => {}
        }
        follow_config(&shared).await;
        let now = Instant::now();
        if now >= usage_at {
            usage_at = now + USAGE_EVERY;
            let days = now >= days_at;
            if days {
                days_at = now + DAYS_EVERY;
            }
            look_at_usage(&shared, &mut walks, days).await;
            gauges(&shared).await;
        }
        if now >= logs_at {
            logs_at = now + LOGS_EVERY;
            purge_old(&shared).await;
        }
        if now >= failing_at {
            failing_at = now + FAILING_EVERY;
            disable_failing(&shared).await;
        }
    }
}

/// Loads the configuration if it has changed.
async fn follow_config(shared: &Arc<Shared>) {
    match shared.ask(shared.store.config_version()).await {
        Ok(version) if version == shared.snapshot.load().version => {}
        Ok(_) => {
            if let Err(error) = reload(shared).await {
                tracing::warn!(%error, "the changed configuration could not be loaded; trying again");
            }
        }
        Err(error) => tracing::warn!(%error, "the configuration's version could not be read"),
    }
}

/// Loads what has changed, compiles it and puts it in force.
pub(crate) async fn reload(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let _one_at_a_time = shared.reloading.lock().await;
    let before = shared.snapshot.load_full();
    let diff = shared
        .ask(shared.store.load_config_since(before.version))
        .await?;
    let mut changed = compile(shared, &before, diff).await?;
    if changed.is_none() {
        tracing::warn!(
            "the changes of the configuration do not fit what is in force; all of it is loaded"
        );
        let whole = shared.ask(shared.store.load_config_since(0)).await?;
        changed = compile(shared, &before, whole).await?;
    }
    if let Some((snapshot, touched)) = changed {
        tracing::debug!(config.version = snapshot.version, "configuration in force");
        shared.put_in_force(snapshot, &touched);
    }
    Ok(())
}

async fn compile(
    shared: &Shared,
    before: &Arc<Snapshot>,
    diff: ConfigDiff,
) -> Result<Option<(Snapshot, Vec<TargetId>)>, StoreError> {
    let (before, with) = (Arc::clone(before), shared.with.clone());
    aside(move || {
        let connect = |target, bus, rule| snapshot::connect(target, bus, rule, &with);
        before.changed(diff, connect, &*with.documents)
    })
    .await
}

/// Compiling many patterns takes time that must not be taken from deliveries. On a runtime of one thread there is no
/// other to give it to, and a simulation has to know what runs when.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        StoreError::Internal(format!("compiling the configuration failed: {error}"))
    })
}

async fn look_at_usage(shared: &Arc<Shared>, walks: &mut Walks, days: bool) {
    let usage = match shared.ask(shared.store.usage()).await {
        Ok(usage) => usage,
        Err(error) => {
            tracing::warn!(%error, "the store's usage could not be read");
            return;
        }
    };
    guard_disk(shared, &usage).await;
    metrics::gauge("belfry_db_used_bytes", usage.used_bytes);
    metrics::gauge("belfry_db_file_bytes", usage.file_bytes);
    if let Some(free) = usage.disk_free_bytes {
        metrics::gauge("belfry_disk_free_bytes", free);
    }
    retention::turn(shared, &usage, walks, days).await;
}

/// Refuses events before the disk is full, or the database as large as it may be: what is accepted must still find room
/// for its outcome.
async fn guard_disk(shared: &Shared, usage: &Usage) {
    let problem = no_room(shared, usage);
    let before = shared.disk.problem();
    if before.is_some() != problem.is_some() {
        tracing::warn!(
            problem = problem.as_deref().unwrap_or("none any more"),
            "disk guard"
        );
        shared
            .own_event(report::disk(problem.as_deref(), shared.clock.now_ms()))
            .await;
    }
    shared.disk.set(problem);
}

fn no_room(shared: &Shared, usage: &Usage) -> Option<String> {
    let settings = &shared.settings;
    let (free_min, size_max) = (settings.disk_free_min_bytes, settings.size_max_bytes);
    if usage.disk_free_bytes.is_some_and(|free| free < free_min) {
        return Some(format!(
            "less than {} MiB are free on the disk that holds the database",
            free_min / MIB
        ));
    }
    let size_max = size_max.filter(|&size_max| usage.used_bytes > size_max)?;
    Some(format!(
        "the database holds {} MiB, more than the {} MiB it may",
        usage.used_bytes / MIB,
        size_max / MIB
    ))
}

/// Deletes expired log entries and recorded answers, and forgets the keys of events that are too old to be repeated, a
/// minute later than they are not looked at any more.
async fn purge_old(shared: &Shared) {
    let now_ms = shared.clock.now_ms();
    let age_ms = i64::try_from(shared.settings.idempotency_age.as_millis()).unwrap_or(i64::MAX / 4);
    let keys_before = EventId::first_at(shared.snapshot.load().dedup_since_ms(now_ms) - 60_000);
    let (store, chunk) = (&shared.store, retention::CHUNK);
    in_chunks(shared, "expired log entries", || {
        store.purge_logs(now_ms, now_ms.saturating_sub(age_ms), chunk)
    })
    .await;
    let age_ms = i64::try_from(shared.settings.retention_age.as_millis()).unwrap_or(i64::MAX / 4);
    let quiet_since = EventId::first_at(now_ms.saturating_sub(age_ms));
    in_chunks(shared, "alarms that are long quiet", || {
        store.purge_alarms(quiet_since, chunk)
    })
    .await;
    in_chunks(shared, "replays that ended long ago", || {
        store.purge_replays(now_ms.saturating_sub(age_ms), chunk)
    })
    .await;
    let age_ms = i64::try_from(shared.settings.invocations_age.as_millis()).unwrap_or(i64::MAX / 4);
    let run_before_ms = now_ms.saturating_sub(age_ms);
    in_chunks(shared, "old invocations of functions", || {
        store.purge_invocations(run_before_ms, chunk)
    })
    .await;
    in_chunks(shared, "keys of earlier events", || {
        store.purge_keys(keys_before, chunk)
    })
    .await;
}

/// Deletes until nothing is left, or this turn's chunks are used up.
async fn in_chunks<F>(shared: &Shared, what: &'static str, delete: impl Fn() -> F)
where
    F: Future<Output = Result<u64, StoreError>>,
{
    for _ in 0..retention::CHUNKS_MAX {
        if shared.closed.is_cancelled() {
            return;
        }
        match shared.ask(delete()).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, what, "what is too old could not be deleted; trying again");
                return;
            }
        }
    }
}

/// Disables the targets that lanes have asked for.
async fn disable_wanted(shared: &Arc<Shared>) {
    for (target, revision, reason) in shared.take_disables() {
        disable(shared, target, revision, reason).await;
    }
}

async fn disable(shared: &Arc<Shared>, target: TargetId, revision: i64, reason: String) {
    let snapshot = shared.snapshot.load_full();
    let Some(entry) = snapshot
        .target(target)
        .filter(|entry| entry.disabled().is_none() && entry.target.revision == revision)
    else {
        return;
    };
    let now_ms = shared.clock.now_ms();
    let change = Change::DisableTarget {
        target,
        disabled: Some(Disabled {
            reason: reason.clone(),
            at_ms: now_ms,
        }),
    };
    let audit = AuditEntry {
        at_ms: now_ms,
        actor: "system".to_owned(),
        action: "target.disable".to_owned(),
        resource: format!(
            "buses/{}/rules/{}/targets/{}",
            entry.bus, entry.rule, entry.target.name
        ),
        before: None,
        after: serde_json::to_string(&serde_json::json!({ "reason": reason })).ok(),
        request_id: None,
    };
    match shared.store.apply(&[change], &[audit], None, now_ms).await {
        Ok(_) => {
            tracing::warn!(target.id = %target, %reason, "target disabled");
            shared
                .own_event(report::disabled(entry, &reason, now_ms))
                .await;
            if let Err(error) = reload(shared).await {
                tracing::warn!(%error, "the changed configuration could not be loaded; trying again");
            }
        }
        Err(error) => {
            tracing::warn!(%error, target.id = %target, "a target could not be disabled; trying again with its next answer");
        }
    }
}

/// Disables targets that have only failed for days. What counts is in the history, so a restart forgets nothing.
async fn disable_failing(shared: &Arc<Shared>) {
    let now_ms = shared.clock.now_ms();
    let days_ms = i64::try_from(shared.settings.disable_after.as_millis()).unwrap_or(i64::MAX / 4);
    let since_ms = now_ms.saturating_sub(days_ms);
    let snapshot = shared.snapshot.load_full();
    for lane in shared.lanes() {
        let Some(entry) = snapshot.target(lane.target) else {
            continue;
        };
        if lane.status().failures < shared.settings.circuit_failures {
            continue;
        }
        let query = |statuses: Vec<DeliveryStatus>, until_ms| DeliveryQuery {
            targets: Some(vec![lane.target]),
            statuses,
            until_ms,
            limit: 1,
            scan_max: 1000,
            ..DeliveryQuery::default()
        };
        let delivered = shared
            .store
            .list_deliveries(&query(vec![DeliveryStatus::Delivered], None))
            .await;
        let failed_then = shared
            .store
            .list_deliveries(&query(
                vec![
                    DeliveryStatus::Retrying,
                    DeliveryStatus::Dead,
                    DeliveryStatus::Expired,
                ],
                Some(since_ms),
            ))
            .await;
        let (Ok(delivered), Ok(failed_then)) = (delivered, failed_then) else {
            continue;
        };
        let delivered_lately = delivered
            .items
            .iter()
            .any(|record| record.outcome.at_ms >= since_ms);
        if !delivered_lately && !failed_then.items.is_empty() {
            let reason = format!(
                "failing: nothing was delivered for {} hours",
                days_ms / 3_600_000
            );
            disable(shared, lane.target, entry.target.revision, reason).await;
        }
    }
}

async fn gauges(shared: &Shared) {
    let lanes = shared.lanes();
    let (mut queued, mut in_flight, mut open) = (0, 0, 0);
    for lane in &lanes {
        let status = lane.status();
        queued += status.queued;
        in_flight += status.in_flight;
        open += usize::from(status.circuit != "closed");
    }
    metrics::depth("ready", queued);
    metrics::depth("inflight", in_flight);
    metrics::targets("all", lanes.len());
    metrics::targets("open", open);
    match shared.ask(shared.store.backlog(BACKLOG_COUNT_MAX)).await {
        Ok(backlog) => {
            let count: u64 = backlog.iter().map(|one| one.count).sum();
            let blocked: u64 = backlog.iter().map(|one| one.blocked).sum();
            let depth = |count| usize::try_from(count).unwrap_or(usize::MAX);
            metrics::depth("scheduled", depth(count.saturating_sub(blocked)));
            metrics::depth("blocked", depth(blocked));
            let oldest = backlog.iter().filter_map(|one| one.oldest).min();
            let age = oldest.map_or(0, |oldest| shared.clock.now_ms() - oldest.time_ms());
            metrics::oldest("scheduled", age);
        }
        Err(error) => tracing::debug!(%error, "the backlog could not be counted"),
    }
}
