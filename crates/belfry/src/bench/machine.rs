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

/// The machine's own limits at one moment.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Limits {
    /// Appending 700 bytes and flushing them, in microseconds: no durable answer can be faster.
    pub(super) flush_us: Percentiles,
    /// Requests of the same size to a server that only says 202.
    pub(super) bare_http_per_second: f64,
}

/// Measures them, in a little more than a second.
pub(super) async fn limits(
    dir: &Path,
    connections: u16,
    event_bytes: usize,
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
    server.abort();
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let count = answers.len() as f64;
    Ok(Limits {
        flush_us,
        bare_http_per_second: count / took,
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
