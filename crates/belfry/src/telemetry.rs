//! The server's own log and its metrics.
//!
//! Log lines go to standard error, so that standard output holds only what was asked for. Request, event and delivery
//! ids are fields of spans and events made where they are known (`request.id`, `event.id`, `delivery.id`).

use std::io::IsTerminal as _;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, LogSettings};

/// Starts logging. Fails only when it was started before.
pub fn start_logging(
    settings: &LogSettings,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&settings.level.0)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Human => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).with_target(false).try_init()
        }
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
    }
}

/// Seconds, for whatever answers a person or another program.
const REQUEST_SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Seconds from acceptance to delivery: retries may take a day.
const DELIVERY_SECONDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0,
    21_600.0, 86_400.0,
];
/// Seconds of pure computing.
const MATCH_SECONDS: [f64; 10] = [
    0.000_001, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.025, 0.1,
];
/// Bytes of a function's memory: they may have 64 to 3,072 MB.
const MEMORY_BYTES: [f64; 8] = [
    16_777_216.0,
    33_554_432.0,
    67_108_864.0,
    134_217_728.0,
    268_435_456.0,
    536_870_912.0,
    1_073_741_824.0,
    3_221_225_472.0,
];
/// Operations in one commit.
const OPERATIONS: [f64; 11] = [
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0,
];

/// Makes the recorder; whoever calls installs it for the process or for one test.
pub fn metrics_recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new().set_buckets(&REQUEST_SECONDS)?;
    for (name, buckets) in [
        (
            "belfry_event_to_delivery_seconds",
            DELIVERY_SECONDS.as_slice(),
        ),
        ("belfry_match_duration_seconds", &MATCH_SECONDS),
        ("belfry_db_commit_operations", &OPERATIONS),
        ("belfry_function_memory_peak_bytes", &MEMORY_BYTES),
    ] {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
    }
    Ok(builder.build_recorder())
}

/// Makes metrics of this process visible through the answer's `render`.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    let recorder = metrics_recorder()?;
    let handle = recorder.handle();
    // A second server in one process (a test) goes without metrics of its own.
    if metrics::set_global_recorder(recorder).is_ok() {
        describe();
    }
    Ok(handle)
}

/// Says what each metric means, and sets those that never change.
pub fn describe() {
    for (name, unit, text) in COUNTERS {
        describe_counter!(*name, *unit, *text);
    }
    for (name, unit, text) in GAUGES {
        describe_gauge!(*name, *unit, *text);
    }
    for (name, unit, text) in HISTOGRAMS {
        describe_histogram!(*name, *unit, *text);
    }
    gauge!("belfry_build_info", "version" => env!("CARGO_PKG_VERSION"), "commit" => commit())
        .set(1.0);
}

/// The commit this was built from, where the build was told.
pub fn commit() -> &'static str {
    option_env!("BELFRY_BUILD_COMMIT").unwrap_or("unknown")
}

type Described = (&'static str, Unit, &'static str);

const COUNTERS: &[Described] = &[
    (
        "belfry_ingest_requests_total",
        Unit::Count,
        "Requests with events, by bus, mode (structured, batch, binary, lenient, none) and outcome (accepted, rejected, busy, failed).",
    ),
    (
        "belfry_ingest_events_total",
        Unit::Count,
        "Events posted, by bus and outcome (accepted, duplicate, busy).",
    ),
    (
        "belfry_events_matched_total",
        Unit::Count,
        "Accepted events that at least one rule matched, by bus.",
    ),
    (
        "belfry_events_unmatched_total",
        Unit::Count,
        "Accepted events that no rule matched, by bus.",
    ),
    (
        "belfry_deliveries_total",
        Unit::Count,
        "Changes of deliveries, by kind of target and state reached.",
    ),
    (
        "belfry_delivery_attempts_total",
        Unit::Count,
        "Attempts, by kind of target, outcome and reason.",
    ),
    (
        "belfry_db_commit_failures_total",
        Unit::Count,
        "Commits that failed; their senders were told 503.",
    ),
    (
        "belfry_dropped_total",
        Unit::Count,
        "Things promised and lost. Must stay 0.",
    ),
    (
        "belfry_node_lease_failures_total",
        Unit::Count,
        "Renewals of this node's lease that failed.",
    ),
    (
        "belfry_node_takeovers_total",
        Unit::Count,
        "Nodes that this one has taken over.",
    ),
    (
        "belfry_http_requests_total",
        Unit::Count,
        "Requests answered, by method, route and status.",
    ),
    (
        "belfry_source_requests_total",
        Unit::Count,
        "Requests to sources, by bus, source, format and outcome.",
    ),
    (
        "belfry_function_invocations_total",
        Unit::Count,
        "Invocations of functions, by outcome.",
    ),
    (
        "belfry_function_cold_starts_total",
        Unit::Count,
        "Workers that were started for an invocation.",
    ),
    (
        "belfry_function_worker_deaths_total",
        Unit::Count,
        "Workers that ended by their function's fault, by reason (an outcome).",
    ),
    (
        "belfry_function_orphans_killed_total",
        Unit::Count,
        "Processes that functions had left over and that were ended.",
    ),
    (
        "belfry_function_log_bytes_total",
        Unit::Bytes,
        "Bytes that functions have printed.",
    ),
    (
        "belfry_function_log_truncated_total",
        Unit::Count,
        "Invocations whose log was not kept as a whole.",
    ),
];

const GAUGES: &[Described] = &[
    (
        "belfry_nodes",
        Unit::Count,
        "Nodes that limits of targets are divided among.",
    ),
    (
        "belfry_build_info",
        Unit::Count,
        "1, with version and commit of this program as labels.",
    ),
    ("belfry_connections", Unit::Count, "Connections of clients."),
    (
        "belfry_queue_depth",
        Unit::Count,
        "Deliveries that wait, by state (ready, inflight, scheduled).",
    ),
    (
        "belfry_queue_oldest_age_seconds",
        Unit::Seconds,
        "Age of the oldest event that still waits, by state.",
    ),
    ("belfry_targets", Unit::Count, "Targets, by state."),
    (
        "belfry_db_used_bytes",
        Unit::Bytes,
        "Bytes of the database in use.",
    ),
    (
        "belfry_db_file_bytes",
        Unit::Bytes,
        "Bytes of the database's files.",
    ),
    (
        "belfry_disk_free_bytes",
        Unit::Bytes,
        "Bytes free on the disk of the database.",
    ),
    (
        "belfry_function_workers",
        Unit::Count,
        "Workers of functions, by state (idle, busy).",
    ),
    (
        "belfry_function_queue_depth",
        Unit::Count,
        "Invocations that wait for a worker.",
    ),
];

const HISTOGRAMS: &[Described] = &[
    (
        "belfry_ingest_duration_seconds",
        Unit::Seconds,
        "From the headers of a request with events to its answer.",
    ),
    (
        "belfry_http_request_seconds",
        Unit::Seconds,
        "From a request to its answer, by method and route.",
    ),
    (
        "belfry_source_duration_seconds",
        Unit::Seconds,
        "From the headers of a request to a source to its answer.",
    ),
    (
        "belfry_match_duration_seconds",
        Unit::Seconds,
        "Matching the events of one request against all rules of a bus.",
    ),
    (
        "belfry_delivery_attempt_duration_seconds",
        Unit::Seconds,
        "One attempt, by kind of target.",
    ),
    (
        "belfry_event_to_delivery_seconds",
        Unit::Seconds,
        "From acceptance to the first success, by kind of target.",
    ),
    (
        "belfry_db_commit_duration_seconds",
        Unit::Seconds,
        "One commit, flush to disk included.",
    ),
    (
        "belfry_db_commit_operations",
        Unit::Count,
        "Operations in one commit.",
    ),
    (
        "belfry_function_duration_seconds",
        Unit::Seconds,
        "One invocation, without waiting and starting.",
    ),
    (
        "belfry_function_init_seconds",
        Unit::Seconds,
        "Starting a worker and loading the code.",
    ),
    (
        "belfry_function_memory_peak_bytes",
        Unit::Bytes,
        "The most memory of one invocation.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_with_help_and_buckets_of_their_own() {
        let recorder = metrics_recorder().unwrap();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!("belfry_event_to_delivery_seconds", "target_kind" => "webhook")
                .record(40.0);
            metrics::counter!("belfry_dropped_total", "reason" => "none").increment(0);
        });
        let text = recorder.handle().render();
        assert!(
            text.contains("# HELP belfry_dropped_total Things promised and lost. Must stay 0."),
            "{text}"
        );
        assert!(
            text.contains(
                "belfry_event_to_delivery_seconds_bucket{target_kind=\"webhook\",le=\"120\"} 1"
            ),
            "{text}"
        );
        assert!(text.contains("belfry_build_info{version="), "{text}");
    }

    /// Names in the sources of the product crates, as they stand in the macros that use them.
    fn used() -> std::collections::BTreeSet<String> {
        let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut folders: Vec<_> = ["engine", "functions", "api", "store", "app", "belfry"]
            .iter()
            .map(|name| crates.join(name).join("src"))
            .collect();
        let mut names = std::collections::BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("telemetry.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let found = text
                        .split("\"belfry_")
                        .skip(1)
                        .filter_map(|rest| rest.split_once('"'));
                    names.extend(found.map(|(name, _)| format!("belfry_{name}")));
                }
            }
        }
        names
    }

    #[test]
    fn every_metric_is_described_and_every_description_has_a_metric() {
        let described = [COUNTERS, GAUGES, HISTOGRAMS].concat();
        let mut described: std::collections::BTreeSet<String> = described
            .iter()
            .map(|(name, _, _)| (*name).to_owned())
            .collect();
        described.remove("belfry_build_info");
        assert_eq!(used(), described);
    }
}
