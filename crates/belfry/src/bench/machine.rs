//! What the machine itself does, beside which the server's figures are read: the time of a flush, requests over plain
//! HTTP, bytes on disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use serde::Serialize;
use tokio::net::TcpListener;

use super::load::{Load, Pace, Until};
use super::report::Percentiles;

const FLUSHES: usize = 200;
const HTTP_WINDOW: Duration = Duration::from_secs(1);
/// At a fixed rate it is the slow ones that count, and what makes a machine stand still may come every few seconds only.
const PACED_HTTP_WINDOW: Duration = Duration::from_secs(4);

/// What the CPUs of this machine did until now, in hundredths of a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuTimes {
    all: u64,
    stolen: u64,
}

impl CpuTimes {
    /// Linux counts them in the first line of `/proc/stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
    pub(super) fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        let times = text.lines().next()?.strip_prefix("cpu ")?;
        let times: Vec<u64> = times
            .split_whitespace()
            .take(8)
            .map_while(|time| time.parse().ok())
            .collect();
        Some(Self {
            all: times.iter().sum(),
            stolen: *times.get(7)?,
        })
    }

    /// How much of the time since `before` the host gave to other machines while this one had work, 0 to 100.
    #[expect(clippy::cast_precision_loss, reason = "seconds of a benchmark")]
    pub(super) fn stolen_percent(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1) as f64;
        self.stolen.saturating_sub(before.stolen) as f64 * 100.0 / all
    }
}

/// The machine's own limits at one moment.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Limits {
    /// Appending 700 bytes and flushing them, in microseconds: no durable answer can be faster.
    pub(super) flush_us: Percentiles,
    /// Requests of the same size to a server that only says 202.
    pub(super) bare_http_per_second: f64,
    /// Their times at the phase's rate, if it has one, in microseconds: what is slow in them is the machine or the sender.
    pub(super) bare_http_us: Option<Percentiles>,
}

impl Limits {
    /// What is between two moments.
    pub(super) fn mean(self, other: Self) -> Self {
        Self {
            flush_us: self.flush_us.mean(other.flush_us),
            bare_http_per_second: f64::midpoint(
                self.bare_http_per_second,
                other.bare_http_per_second,
            ),
            bare_http_us: self
                .bare_http_us
                .zip(other.bare_http_us)
                .map(|(one, other)| one.mean(other)),
        }
    }
}

/// Measures them, in a little more than a second; with a pace in some seconds more.
pub(super) async fn limits(
    dir: &Path,
    connections: u16,
    event_bytes: usize,
    pace: Pace,
) -> anyhow::Result<Limits> {
    let flush_us = flush_times(dir)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/", post(async |_body: Bytes| StatusCode::ACCEPTED));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let clock = tokio::time::Instant::now();
    let load = Arc::new(Load::to(address, "/", "none", event_bytes, 1, clock));
    let answers = load
        .run(Pace::Closed, connections, Until::Elapsed(HTTP_WINDOW))
        .await?;
    let took = clock.elapsed().as_secs_f64();
    let bare_http_us = match pace {
        Pace::Closed => None,
        Pace::Open { .. } => {
            let until = Until::Elapsed(PACED_HTTP_WINDOW);
            let mut times = load.run(pace, connections, until).await?;
            Some(Percentiles::of(&mut times))
        }
    };
    server.abort();
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let count = answers.len() as f64;
    Ok(Limits {
        flush_us,
        bare_http_per_second: count / took,
        bare_http_us,
    })
}

fn flush_times(dir: &Path) -> anyhow::Result<Percentiles> {
    let path = dir.join("flush-probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let begun = Instant::now();
        file.write_all(&[7; 700])?;
        file.sync_data()?;
        times.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    fs::remove_file(path)?;
    Ok(Percentiles::of(&mut times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_other_machines_took_is_a_share_of_all() {
        let read = |text| CpuTimes::read(text);
        let before = read("cpu  100 0 50 800 10 0 5 35 0 0\ncpu0 1 2 3\n").unwrap();
        let after = read("cpu  160 0 80 820 10 0 5 125 7 7\n").unwrap();
        assert!((after.stolen_percent(before) - 45.0).abs() < f64::EPSILON);
        assert!(before.stolen_percent(before).abs() < f64::EPSILON);
        for odd in ["", "cpu", "cpu  1 2 3\n", "intr 5 5 5 5 5 5 5 5 5"] {
            assert!(read(odd).is_none(), "{odd}");
        }
    }
}
