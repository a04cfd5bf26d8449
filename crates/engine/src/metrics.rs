//! The engine's metrics; names and labels in `docs/operations/metrics.md`. Labels are few and bounded: bus, kind of
//! target, outcome, reason.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use belfry_model::delivery::DeliveryStatus;
use belfry_targets::{Attempted, Verdict};
use metrics::{Counter, Histogram, counter, gauge, histogram};

/// Handles of the hot ones: looking one up by its labels takes longer than counting. The others are looked up.
pub(crate) struct Metrics {
    match_seconds: Histogram,
    commit_seconds: Histogram,
    commit_operations: Histogram,
    buses: Handles<BusMetrics>,
    kinds: Handles<KindMetrics>,
}

/// By the one label whose values are not known beforehand. There are as many as buses and kinds have been seen.
type Handles<M> = RwLock<HashMap<String, Arc<M>>>;

struct BusMetrics {
    accepted: Counter,
    duplicate: Counter,
    matched: Counter,
    unmatched: Counter,
}

struct KindMetrics {
    attempt_delivered: Counter,
    attempt_seconds: Histogram,
    delivered: Counter,
    event_to_delivery_seconds: Histogram,
}

fn handles<M>(of: &Handles<M>, label: &str, make: impl FnOnce(String) -> M) -> Arc<M> {
    if let Some(found) = of.read().unwrap_or_else(PoisonError::into_inner).get(label) {
        return Arc::clone(found);
    }
    let handles = Arc::new(make(label.to_owned()));
    of.write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(label.to_owned(), Arc::clone(&handles));
    handles
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            match_seconds: histogram!("belfry_match_duration_seconds"),
            commit_seconds: histogram!("belfry_db_commit_duration_seconds"),
            commit_operations: histogram!("belfry_db_commit_operations"),
            buses: Handles::default(),
            kinds: Handles::default(),
        }
    }

    fn bus(&self, bus: &str) -> Arc<BusMetrics> {
        handles(&self.buses, bus, |bus| BusMetrics {
            accepted: events(bus.clone(), "accepted"),
            duplicate: events(bus.clone(), "duplicate"),
            matched: counter!("belfry_events_matched_total", "bus" => bus.clone()),
            unmatched: counter!("belfry_events_unmatched_total", "bus" => bus),
        })
    }

    fn kind(&self, kind: &str) -> Arc<KindMetrics> {
        handles(&self.kinds, kind, |kind| KindMetrics {
            attempt_delivered: attempts(kind.clone(), "delivered", ""),
            attempt_seconds: histogram!("belfry_delivery_attempt_duration_seconds", "target_kind" => kind.clone()),
            delivered: deliveries(kind.clone(), DeliveryStatus::Delivered),
            event_to_delivery_seconds: histogram!("belfry_event_to_delivery_seconds", "target_kind" => kind),
        })
    }

    pub(crate) fn matched(&self, bus: &str, events: usize, matched: usize, took: Duration) {
        self.match_seconds.record(took.as_secs_f64());
        let bus = self.bus(bus);
        if matched > 0 {
            bus.matched.increment(matched as u64);
        }
        if events > matched {
            bus.unmatched.increment((events - matched) as u64);
        }
    }

    pub(crate) fn ingested(&self, bus: &str, accepted: usize, duplicates: usize) {
        let bus = self.bus(bus);
        if accepted > 0 {
            bus.accepted.increment(accepted as u64);
        }
        if duplicates > 0 {
            bus.duplicate.increment(duplicates as u64);
        }
    }

    pub(crate) fn committed(&self, operations: usize, took: Duration, ok: bool) {
        self.commit_seconds.record(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "at most a few thousand")]
        self.commit_operations.record(operations as f64);
        if !ok {
            counter!("belfry_db_commit_failures_total").increment(1);
        }
    }

    pub(crate) fn attempted(&self, kind: &str, attempted: &Attempted) {
        let metrics = self.kind(kind);
        metrics
            .attempt_seconds
            .record(f64::from(attempted.duration_ms) / 1000.0);
        let (outcome, reason) = match &attempted.verdict {
            Verdict::Delivered | Verdict::More { .. } => {
                return metrics.attempt_delivered.increment(1);
            }
            Verdict::Retry { reason, .. }
            | Verdict::Later { reason, .. }
            | Verdict::Busy { reason, .. } => ("failed", reason.as_str()),
            Verdict::Permanent { reason, .. } => ("rejected", reason.as_str()),
            Verdict::Gone { .. } => ("rejected", "gone"),
            Verdict::Skipped { reason, .. } => ("skipped", reason.as_str()),
        };
        attempts(kind.to_owned(), outcome, reason).increment(1);
    }

    /// A delivery ended (or goes on retrying).
    pub(crate) fn delivery(&self, kind: &str, status: DeliveryStatus, since_accepted_ms: i64) {
        if status != DeliveryStatus::Delivered {
            return deliveries(kind.to_owned(), status).increment(1);
        }
        let metrics = self.kind(kind);
        metrics.delivered.increment(1);
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of a delivery's life"
        )]
        metrics
            .event_to_delivery_seconds
            .record(since_accepted_ms.max(0) as f64 / 1000.0);
    }
}

fn events(bus: String, outcome: &'static str) -> Counter {
    counter!("belfry_ingest_events_total", "bus" => bus, "outcome" => outcome)
}

fn attempts(kind: String, outcome: &'static str, reason: &'static str) -> Counter {
    counter!("belfry_delivery_attempts_total", "target_kind" => kind, "outcome" => outcome, "reason" => reason)
}

fn deliveries(kind: String, status: DeliveryStatus) -> Counter {
    counter!("belfry_deliveries_total", "target_kind" => kind, "outcome" => status.as_str())
}

/// Events that a replay has put back.
pub(crate) fn replayed(bus: &str, count: usize) {
    if count > 0 {
        events(bus.to_owned(), "replayed").increment(count as u64);
    }
}

/// Events that were not taken for want of room.
pub(crate) fn refused(bus: &str, count: usize) {
    events(bus.to_owned(), "busy").increment(count as u64);
}

/// Something was lost that had been promised. Must stay zero.
pub(crate) fn dropped(reason: &'static str) {
    counter!("belfry_dropped_total", "reason" => reason).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
pub(crate) fn depth(state: &'static str, depth: usize) {
    gauge!("belfry_queue_depth", "state" => state).set(depth as f64);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
pub(crate) fn oldest(state: &'static str, age_ms: i64) {
    gauge!("belfry_queue_oldest_age_seconds", "state" => state).set(age_ms.max(0) as f64 / 1000.0);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
pub(crate) fn gauge(name: &'static str, value: u64) {
    gauge!(name).set(value as f64);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
pub(crate) fn targets(state: &'static str, count: usize) {
    gauge!("belfry_targets", "state" => state).set(count as f64);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
pub(crate) fn nodes(count: usize) {
    gauge!("belfry_nodes").set(count as f64);
}

pub(crate) fn lease_not_renewed() {
    counter!("belfry_node_lease_failures_total").increment(1);
}

/// This node has taken another over.
pub(crate) fn taken_over() {
    counter!("belfry_node_takeovers_total").increment(1);
}
