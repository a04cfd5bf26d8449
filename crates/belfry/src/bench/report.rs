//! The figures of a run, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::machine::Limits;

/// Of some times in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: u32,
    pub(super) p99: u32,
    pub(super) p999: u32,
    pub(super) max: u32,
}

impl Percentiles {
    pub(super) fn of(times: &mut [u32]) -> Self {
        times.sort_unstable();
        let at = |per_mille: usize| {
            let index = (times.len() * per_mille / 1000).min(times.len().saturating_sub(1));
            times.get(index).copied().unwrap_or(0)
        };
        Self {
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: times.last().copied().unwrap_or(0),
        }
    }

    /// What is between two measurements; of the longest times the longer.
    pub(super) fn mean(self, other: Self) -> Self {
        Self {
            p50: self.p50.midpoint(other.p50),
            p99: self.p99.midpoint(other.p99),
            p999: self.p999.midpoint(other.p999),
            max: self.max.max(other.max),
        }
    }

    fn row(self) -> String {
        [self.p50, self.p99, self.p999, self.max]
            .map(|us| format!("{:>8.2}", ms(us)))
            .join(" ")
    }
}

/// Microseconds as milliseconds.
pub(super) fn ms(us: u32) -> f64 {
    f64::from(us) / 1000.0
}

/// One phase's figures.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) connections: u16,
    /// Events per second that were asked for.
    pub(super) rate: Option<u32>,
    pub(super) seconds: f64,
    pub(super) accepted_per_second: f64,
    pub(super) delivered_per_second: f64,
    /// From the moment the request was (or, at a fixed rate, should have been) sent to its 202.
    pub(super) accept_us: Percentiles,
    /// From the same moment to the receipt at the webhook.
    pub(super) receipt_us: Percentiles,
    /// User and system time of the server alone.
    pub(super) cpu_us_per_event: f64,
    /// The same of the database server, where its process was given.
    pub(super) postgres_cpu_us_per_event: Option<f64>,
    /// Log and checkpoints; nothing is known of a database server's.
    pub(super) written_bytes_per_event: u64,
    pub(super) memory_bytes: u64,
    /// How much of the CPUs' time the host gave to other machines meanwhile, 0 to 100; absent: it does not say.
    pub(super) stolen_percent: Option<f64>,
    /// What the machine did by itself, just before and just after.
    pub(super) limits: Limits,
}

/// All figures of a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) database: &'static str,
    pub(super) flush_delay_ms: u64,
    pub(super) ready_ms: u64,
    pub(super) idle_memory_bytes: u64,
    pub(super) peak_memory_bytes: u64,
    pub(super) fan_out: u16,
    pub(super) signed: bool,
    /// Requests of each target at once, if it is not the usual number.
    pub(super) concurrency: Option<u16>,
    /// Keys by which the targets keep order.
    pub(super) order_keys: Option<u32>,
    pub(super) event_bytes: usize,
    pub(super) events: u64,
    pub(super) database_bytes_per_event: u64,
    pub(super) delivered: u64,
    pub(super) duplicates: u64,
    pub(super) lost: u64,
    pub(super) phases: Vec<Phase>,
}

impl Report {
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let _infallible = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let fan_out = match self.fan_out {
            0 => "stored only".to_owned(),
            count => format!(
                "each to {count} webhook(s), {}{}{}",
                if self.signed { "signed" } else { "not signed" },
                self.concurrency
                    .map(|count| format!(", {count} requests at once"))
                    .unwrap_or_default(),
                self.order_keys
                    .map(|keys| format!(", in order by {keys} key(s)"))
                    .unwrap_or_default()
            ),
        };
        let delay = match self.flush_delay_ms {
            0 => String::new(),
            ms => format!(", each flush {ms} ms later"),
        };
        writeln!(
            out,
            "{}, every commit flushed to disk{delay}; events of {} bytes, {fan_out}; authentication on",
            self.database, self.event_bytes
        )?;
        writeln!(
            out,
            "server, senders and receiver share {} core(s); ready after {} ms with {} MiB of memory\n",
            std::thread::available_parallelism().map_or(1, usize::from),
            self.ready_ms,
            mib(self.idle_memory_bytes)
        )?;
        writeln!(
            out,
            "{:<34} {:>8} {:>8} {:>8} {:>8}",
            "milliseconds", "p50", "p99", "p99.9", "max"
        )?;
        for phase in &self.phases {
            let asked = phase
                .rate
                .map(|rate| format!(" of {rate} events/s"))
                .unwrap_or_default();
            let postgres = phase
                .postgres_cpu_us_per_event
                .map(|us| format!(" and {us:.0} us of Postgres"))
                .unwrap_or_default();
            writeln!(
                out,
                "{}{asked}, {} connections: {:.0} accepted/s, {:.0} delivered/s, {:.0} us of server CPU{postgres} and {} bytes written per event, {} MiB of memory",
                phase.name,
                phase.connections,
                phase.accepted_per_second,
                phase.delivered_per_second,
                phase.cpu_us_per_event,
                phase.written_bytes_per_event,
                mib(phase.memory_bytes)
            )?;
            let rows = [
                ("  202 to the sender", phase.accept_us),
                ("  receipt at the webhook", phase.receipt_us),
                (
                    "  bare HTTP at this rate",
                    phase.limits.bare_http_us.unwrap_or_default(),
                ),
                ("  the disk: flush of 700 bytes", phase.limits.flush_us),
            ];
            for (name, times) in rows.iter().filter(|(_, times)| times.max > 0) {
                writeln!(out, "{name:<34} {}", times.row())?;
            }
            let stolen = phase.stolen_percent.map_or_else(String::new, |percent| {
                format!("; other machines took {percent:.1} % of the CPUs' time")
            });
            writeln!(
                out,
                "  bare HTTP: {:.0} requests/s{stolen}\n",
                phase.limits.bare_http_per_second
            )?;
        }
        writeln!(
            out,
            "{} events accepted, {} deliveries received, {} lost, {} duplicates; {} bytes on disk per event; {} MiB of memory at most",
            self.events,
            self.delivered,
            self.lost,
            self.duplicates,
            self.database_bytes_per_event,
            mib(self.peak_memory_bytes)
        )
    }
}

/// Bytes as MiB.
pub(super) fn mib(bytes: u64) -> u64 {
    bytes / 1_048_576
}
