//! A receiver that has died, with a great many deliveries waiting for it: what they cost in memory, how soon the server is
//! ready again with them after it was killed, and how fast they go when the receiver is back.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use super::Place;
use super::load::{Load, Pace, Until};
use super::report::mib;
use super::server::{Hooks, Server};
use super::sink::Sink;

const CONNECTIONS: u16 = 32;
/// Events in a request: the backlog itself is measured, not how it is sent.
const BATCH: usize = 20;
/// Load that memory is compared with: the same senders, while the receiver is well.
const LIVE: Duration = Duration::from_secs(5);
/// The circuit of the dead receiver may be open for a minute.
const PATIENCE: Duration = Duration::from_secs(90);

/// The figures.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backlog {
    pub(super) database: &'static str,
    pub(super) pending: u64,
    pub(super) accepted_per_second: f64,
    /// Under the same load with a receiver that answers.
    pub(super) live_memory_bytes: u64,
    /// With all of them waiting.
    pub(super) memory_bytes: u64,
    pub(super) database_bytes_per_event: u64,
    /// After kill -9, from the start of the process.
    pub(super) ready_ms: u64,
    pub(super) memory_after_restart_bytes: u64,
    /// From the moment the receiver was back.
    pub(super) drained_per_second: f64,
    pub(super) lost: u64,
    /// Of deliveries under way when the server was killed; at most a few.
    pub(super) duplicates: u64,
}

pub(super) async fn run(events: u64, event_bytes: usize, place: &Place) -> anyhow::Result<Backlog> {
    let scratch = place.scratch()?;
    let variables = place.variables(&scratch, Duration::ZERO);
    let sink = Sink::start().await?;
    let server = Server::start(&scratch.path, &place.settings, &variables, None)
        .await
        .context("the server did not start")?;
    server.make_rule(&sink.url(), &Hooks::one()).await?;
    let load = Arc::new(Load::to(
        server.address,
        "/v1/buses/default/events",
        &server.key,
        event_bytes,
        BATCH,
        sink.clock(),
    ));
    load.run(Pace::Closed, CONNECTIONS, Until::Elapsed(LIVE))
        .await?;
    let live_memory_bytes = server.memory_bytes()?;
    sink.settle(load.accepted(), PATIENCE).await;

    sink.die();
    let (begun, live) = (Instant::now(), load.accepted());
    load.run(Pace::Closed, CONNECTIONS, Until::Sent(live + events))
        .await?;
    let took = begun.elapsed();
    let pending = load.accepted() - live;
    let memory_bytes = server.memory_bytes()?;
    let database_bytes_per_event = server.used_bytes().await? / load.accepted().max(1);
    let key = server.key.clone();
    server.kill().await?;

    let server = Server::start(&scratch.path, &place.settings, &variables, Some(key))
        .await
        .context("the server did not start again")?;
    let memory_after_restart_bytes = server.memory_bytes()?;
    let before = sink.received();
    sink.listen().await?;
    let begun = Instant::now();
    sink.settle(load.accepted(), PATIENCE).await;
    let drained = sink.received() - before;
    let drain_time = begun.elapsed();
    let ready_ms = u64::try_from(server.ready_after.as_millis())?;
    server.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
    let rate = |count: u64, time: Duration| count as f64 / time.as_secs_f64();
    Ok(Backlog {
        database: place.database.name(),
        pending,
        accepted_per_second: rate(pending, took),
        live_memory_bytes,
        memory_bytes,
        database_bytes_per_event,
        ready_ms,
        memory_after_restart_bytes,
        drained_per_second: rate(drained, drain_time),
        lost: load
            .accepted()
            .saturating_sub(sink.received() - sink.duplicates()),
        duplicates: sink.duplicates(),
    })
}

impl Backlog {
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let _infallible = writeln!(
            out,
            "{}: {} deliveries wait for a dead receiver (accepted at {:.0}/s in requests of {BATCH})\n\
             memory: {} MiB while the receiver answered, {} MiB with all of them waiting, {} MiB after the restart\n\
             {} bytes on disk per event; ready {} ms after kill -9\n\
             delivered at {:.0}/s when the receiver was back; {} lost, {} duplicates",
            self.database,
            self.pending,
            self.accepted_per_second,
            mib(self.live_memory_bytes),
            mib(self.memory_bytes),
            mib(self.memory_after_restart_bytes),
            self.database_bytes_per_event,
            self.ready_ms,
            self.drained_per_second,
            self.lost,
            self.duplicates
        );
        out
    }
}
