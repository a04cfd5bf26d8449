//! The budget: what each quantity must be on two cores that server, senders and receiver share, and what it is here.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::backlog::Backlog;
use super::report::{Percentiles, Phase, Report, ms};
use super::run::{PacePlan, PhasePlan, Plan, run};
use super::{Database, Place, backlog};

/// One line: a quantity, what it must be, what it is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    quantity: String,
    unit: &'static str,
    measured: f64,
    must: f64,
    /// `true`: it must be at least that, else at most.
    at_least: bool,
    /// Beside what the machine does by itself in the same minute, where there is such a thing.
    limit: Option<f64>,
    ok: bool,
}

/// All lines with the runs they come from.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Budget {
    lines: Vec<Line>,
    runs: Vec<Report>,
    backlog: Option<Backlog>,
}

/// Runs everything. `window` is the length of a phase; the phase with 8,000 events a second, whose slowest thousandth
/// counts, lasts six times as long: longer than the kernel keeps what is written from the disk.
pub(super) async fn measure(
    window: Duration,
    pending: u64,
    place: &Place,
    progress: impl Fn(&str),
) -> anyhow::Result<Budget> {
    let postgres = place.database != Database::Sqlite;
    let mut lines = Lines(Vec::new());

    progress("events that are only stored");
    // One request waits for one and a half commits: with fewer it is the waiting that is measured.
    let stored = run(&plan(0, &[max(256, window)]), place).await?;
    if let [phase] = stored.phases.as_slice() {
        lines.rate(
            "accepted and stored, nothing to deliver",
            phase.accepted_per_second,
            35_000.0,
            phase,
        );
    }

    progress("events with one delivery: at the limit, at 8,000/s, at 500/s");
    let at = |per_second, connections, window| PhasePlan {
        name: "at a fixed rate",
        pace: PacePlan::Rate(per_second),
        connections,
        window,
    };
    let phases = [
        max(128, window),
        at(8000, 128, window * 6),
        at(500, 16, window),
    ];
    let one = run(&plan(1, &phases), place).await?;
    if let [full, busy, quiet] = one.phases.as_slice() {
        let must = if postgres { 12_000.0 } else { 15_000.0 };
        lines.rate(
            "accepted and delivered",
            full.delivered_per_second,
            must,
            full,
        );
        let cpu = full.cpu_us_per_event + full.postgres_cpu_us_per_event.unwrap_or(0.0);
        lines.at_most("CPU per event, at the limit", "us", cpu, 80.0);
        if !postgres {
            lines.bytes(
                "written per event, at the limit",
                full.written_bytes_per_event,
                4096.0,
            );
        }
        lines.times("202 at 8,000/s", busy.accept_us, [3.0, 25.0, 80.0], busy);
        lines.times(
            "receipt at 8,000/s",
            busy.receipt_us,
            [4.0, 30.0, 100.0],
            busy,
        );
        lines.times("202 at 500/s", quiet.accept_us, [1.0, 4.0, 15.0], quiet);
    }
    lines.at_most(
        "memory, at the limit",
        "MB",
        mb(one.peak_memory_bytes),
        200.0,
    );
    lines.bytes("on disk per event", one.database_bytes_per_event, 1100.0);

    progress("events with five deliveries");
    let five = run(&plan(5, &[max(128, window)]), place).await?;
    if let [phase] = five.phases.as_slice() {
        lines.rate(
            "deliveries, five an event",
            phase.delivered_per_second,
            25_000.0,
            phase,
        );
    }
    let more = five
        .database_bytes_per_event
        .saturating_sub(one.database_bytes_per_event);
    lines.bytes("on disk per further delivery", more / 4, 180.0);

    progress("flushes that take 5 ms longer, 512 connections");
    let slow = Plan {
        flush_delay: Duration::from_millis(5),
        ..plan(1, &[max(512, window)])
    };
    let slow = run(&slow, place).await?;
    if let [phase] = slow.phases.as_slice() {
        lines.rate(
            "delivered with a slow disk",
            phase.delivered_per_second,
            10_000.0,
            phase,
        );
    }

    let runs = vec![stored, one, five, slow];
    let mut lost: u64 = runs.iter().map(|run| run.lost).sum();
    let duplicates: u64 = runs.iter().map(|run| run.duplicates).sum();
    let mut waiting = None;
    if pending > 0 {
        progress("a dead receiver, with its deliveries waiting");
        let figures = backlog::run(pending, 600, place).await?;
        let more = figures
            .memory_bytes
            .saturating_sub(figures.live_memory_bytes);
        lines.at_most(
            "more memory with a dead receiver's deliveries waiting",
            "MB",
            mb(more),
            50.0,
        );
        #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
        let ready = figures.ready_ms as f64;
        lines.at_most("ready with them after kill -9", "ms", ready, 1000.0);
        lost += figures.lost;
        waiting = Some(figures);
    }
    lines.bytes("lost", lost, 0.0);
    lines.bytes("duplicates without a crash", duplicates, 0.0);
    Ok(Budget {
        lines: lines.0,
        runs,
        backlog: waiting,
    })
}

fn plan(fan_out: u16, phases: &[PhasePlan]) -> Plan {
    Plan {
        fan_out,
        signed: false,
        concurrency: None,
        order_keys: None,
        event_bytes: 600,
        flush_delay: Duration::ZERO,
        phases: phases.to_vec(),
    }
}

fn max(connections: u16, window: Duration) -> PhasePlan {
    PhasePlan {
        name: "as fast as possible",
        pace: PacePlan::Max,
        connections,
        window,
    }
}

#[expect(clippy::cast_precision_loss, reason = "some hundred megabytes")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

struct Lines(Vec<Line>);

impl Lines {
    fn rate(&mut self, quantity: &str, measured: f64, must: f64, phase: &Phase) {
        self.0.push(Line {
            quantity: quantity.to_owned(),
            unit: "/s",
            measured,
            must,
            at_least: true,
            limit: Some(phase.limits.bare_http_per_second),
            ok: measured >= must,
        });
    }

    fn at_most(&mut self, quantity: &str, unit: &'static str, measured: f64, must: f64) {
        self.0.push(Line {
            quantity: quantity.to_owned(),
            unit,
            measured,
            must,
            at_least: false,
            limit: None,
            ok: measured <= must,
        });
    }

    fn bytes(&mut self, quantity: &str, measured: u64, must: f64) {
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        self.at_most(quantity, "", measured as f64, must);
    }

    fn times(&mut self, quantity: &str, times: Percentiles, must: [f64; 3], phase: &Phase) {
        let (flush, http) = (
            phase.limits.flush_us,
            phase.limits.bare_http_us.unwrap_or_default(),
        );
        for (name, us, must, limit) in [
            ("p50", times.p50, must[0], flush.p50 + http.p50),
            ("p99", times.p99, must[1], flush.p99 + http.p99),
            ("p99.9", times.p999, must[2], flush.p999 + http.p999),
        ] {
            self.at_most(&format!("{quantity}, {name}"), "ms", ms(us), must);
            if let Some(line) = self.0.last_mut() {
                line.limit = Some(ms(limit));
            }
        }
    }
}

impl Budget {
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let _infallible = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        for run in &self.runs {
            writeln!(out, "{}", run.text())?;
        }
        if let Some(backlog) = &self.backlog {
            writeln!(out, "{}", backlog.text())?;
        }
        writeln!(
            out,
            "{:<54} {:>12} {:>12} {:>14}",
            "quantity", "measured", "must", "of the machine"
        )?;
        for line in &self.lines {
            let ratio = line.limit.filter(|limit| *limit > 0.0).map_or_else(
                || "-".to_owned(),
                |limit| format!("{:.2}", line.measured / limit),
            );
            let sign = if line.at_least { ">=" } else { "<=" };
            writeln!(
                out,
                "{:<54} {:>12} {:>12} {ratio:>14}  {}",
                line.quantity,
                number(line.measured) + line.unit,
                format!("{sign} {}", number(line.must)),
                if line.ok { "ok" } else { "missed" }
            )?;
        }
        let missed = self.lines.iter().filter(|line| !line.ok).count();
        writeln!(
            out,
            "\n{} of {} lines kept. Rates are beside bare HTTP requests, times beside one at the same rate and a flush of the disk, each measured in the same minute.",
            self.lines.len() - missed,
            self.lines.len()
        )
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
