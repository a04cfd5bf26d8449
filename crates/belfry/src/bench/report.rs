//! The figures, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

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

    fn ms(self) -> String {
        let ms = |us: u32| f64::from(us) / 1000.0;
        format!(
            "{:>8.2} {:>8.2} {:>8.2} {:>8.2}",
            ms(self.p50),
            ms(self.p99),
            ms(self.p999),
            ms(self.max)
        )
    }
}

/// One phase's figures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Phase {
    pub(super) name: &'static str,
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
    pub(super) memory_bytes: u64,
}

/// All figures of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) flush: Percentiles,
    pub(super) phases: Vec<Phase>,
    pub(super) fan_out: u16,
    pub(super) signed: bool,
    pub(super) event_bytes: u32,
    pub(super) connections: u16,
    pub(super) events: u64,
    pub(super) database_bytes: u64,
    pub(super) delivered: u64,
    pub(super) duplicates: u64,
    pub(super) lost: u64,
}

impl Report {
    pub(super) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let _infallible = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let signed = if self.signed { "signed" } else { "not signed" };
        writeln!(
            out,
            "{} connections, events of {} bytes, each to {} webhook(s), {signed}; SQLite, every commit flushed to disk",
            self.connections, self.event_bytes, self.fan_out
        )?;
        writeln!(
            out,
            "server, senders and receiver share {} core(s)\n",
            std::thread::available_parallelism().map_or(1, usize::from)
        )?;
        writeln!(
            out,
            "{:<34} {:>8} {:>8} {:>8} {:>8}",
            "milliseconds", "p50", "p99", "p99.9", "max"
        )?;
        writeln!(
            out,
            "{:<34} {}",
            "flush of 700 bytes to this disk",
            self.flush.ms()
        )?;
        for phase in &self.phases {
            writeln!(out)?;
            let asked = phase
                .rate
                .map(|rate| format!(" of {rate} events/s"))
                .unwrap_or_default();
            writeln!(
                out,
                "{}{asked}: {:.0} accepted/s, {:.0} delivered/s, {:.0} us of server CPU per event, {} MiB of memory",
                phase.name,
                phase.accepted_per_second,
                phase.delivered_per_second,
                phase.cpu_us_per_event,
                phase.memory_bytes / 1_048_576
            )?;
            writeln!(
                out,
                "{:<34} {}",
                "  202 to the sender",
                phase.accept_us.ms()
            )?;
            writeln!(
                out,
                "{:<34} {}",
                "  receipt at the webhook",
                phase.receipt_us.ms()
            )?;
        }
        writeln!(
            out,
            "\n{} events accepted, {} deliveries received, {} lost, {} duplicates, {} bytes on disk per event",
            self.events,
            self.delivered,
            self.lost,
            self.duplicates,
            self.database_bytes / self.events.max(1)
        )
    }
}
