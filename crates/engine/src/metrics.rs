//! The engine's metrics; names and labels in `docs/operations/metrics.md`. Labels are few and bounded: bus, kind of
//! target, outcome, reason.

use std::time::Duration;

use belfry_model::delivery::DeliveryStatus;
use belfry_targets::{Attempted, Verdict};
use metrics::{Histogram, counter, gauge, histogram};

/// Handles of the hot ones; the others are looked up.
pub(crate) struct Metrics {
    match_seconds: Histogram,
    commit_seconds: Histogram,
    commit_operations: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            match_seconds: histogram!("belfry_match_duration_seconds"),
            commit_seconds: histogram!("belfry_db_commit_duration_seconds"),
            commit_operations: histogram!("belfry_db_commit_operations"),
        }
    }

    pub(crate) fn matched(&self, bus: &str, events: usize, matched: usize, took: Duration) {
        self.match_seconds.record(took.as_secs_f64());
        if matched > 0 {
            counter!("belfry_events_matched_total", "bus" => bus.to_owned())
                .increment(matched as u64);
        }
        if events > matched {
            counter!("belfry_events_unmatched_total", "bus" => bus.to_owned())
                .increment((events - matched) as u64);
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
}

pub(crate) fn ingested(bus: &str, outcome: &'static str, events: usize) {
    if events > 0 {
        counter!("belfry_ingest_events_total", "bus" => bus.to_owned(), "outcome" => outcome)
            .increment(events as u64);
    }
}

pub(crate) fn attempted(kind: &str, attempted: &Attempted) {
    let (outcome, reason) = match &attempted.verdict {
        Verdict::Delivered => ("delivered", ""),
        Verdict::Retry { reason, .. } => ("failed", reason.as_str()),
        Verdict::Permanent { reason, .. } => ("rejected", reason.as_str()),
        Verdict::Gone { .. } => ("rejected", "gone"),
        Verdict::Skipped { reason, .. } => ("skipped", reason.as_str()),
    };
    counter!("belfry_delivery_attempts_total", "target_kind" => kind.to_owned(), "outcome" => outcome, "reason" => reason)
        .increment(1);
    histogram!("belfry_delivery_attempt_duration_seconds", "target_kind" => kind.to_owned())
        .record(f64::from(attempted.duration_ms) / 1000.0);
}

/// A delivery ended (or goes on retrying).
pub(crate) fn delivery(kind: &str, status: DeliveryStatus, since_accepted_ms: i64) {
    counter!("belfry_deliveries_total", "target_kind" => kind.to_owned(), "outcome" => status.as_str()).increment(1);
    if status == DeliveryStatus::Delivered {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of a delivery's life"
        )]
        histogram!("belfry_event_to_delivery_seconds", "target_kind" => kind.to_owned())
            .record(since_accepted_ms.max(0) as f64 / 1000.0);
    }
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
