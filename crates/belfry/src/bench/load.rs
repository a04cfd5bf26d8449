//! The senders: connections that are kept open, one request at a time on each.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::wire::Wire;

/// How requests follow each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// Each connection sends its next event when it has its answer.
    Closed,
    /// So many a second, whatever the answers do; a late one counts from when it was due.
    Open {
        /// Of all connections together.
        per_second: u32,
    },
}

/// Whose turn it is, at a fixed rate.
///
/// Turns are given by a thread of its own: the timers of the runtime go by milliseconds, which would be the largest part
/// of what is measured.
struct Turns {
    due: Semaphore,
    taken: AtomicU64,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
        }
    }
}

impl Turns {
    /// Gives turns, each when it is due, until the window ends; then one to each connection, to end by.
    fn give(&self, begun: Instant, per_second: u32, window: Duration, connections: u16) {
        let mut given = 0;
        while due(begun, per_second, given).duration_since(begun) < window {
            std::thread::sleep(
                due(begun, per_second, given).saturating_duration_since(Instant::now()),
            );
            self.due.add_permits(1);
            given += 1;
        }
        self.due.add_permits(usize::from(connections));
    }

    /// Waits for a turn. Returns when it was due.
    async fn next(&self, begun: Instant, per_second: u32) -> anyhow::Result<Instant> {
        self.due.acquire().await?.forget();
        let turn = self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(due(begun, per_second, turn))
    }
}

fn due(begun: Instant, per_second: u32, turn: u64) -> Instant {
    begun + Duration::from_nanos(turn * 1_000_000_000 / u64::from(per_second.max(1)))
}

/// When the senders stop.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// After so long.
    Elapsed(Duration),
    /// When so many events have been sent, over all runs.
    Sent(u64),
}

/// The senders.
pub(super) struct Load {
    address: SocketAddr,
    head: String,
    filling: String,
    /// Events in one request.
    batch: usize,
    /// Subjects of events, one after the other.
    keys: u64,
    clock: Instant,
    number: AtomicU64,
    accepted: AtomicU64,
}

impl Load {
    /// Senders to the default bus of a server, one event in a request.
    pub(super) fn new(address: SocketAddr, key: &str, event_bytes: usize, clock: Instant) -> Self {
        Self::to(
            address,
            "/v1/buses/default/events",
            key,
            event_bytes,
            1,
            clock,
        )
    }

    /// Senders of `batch` events in a request.
    pub(super) fn to(
        address: SocketAddr,
        path: &str,
        key: &str,
        event_bytes: usize,
        batch: usize,
        clock: Instant,
    ) -> Self {
        let content_type = if batch > 1 {
            "application/cloudevents-batch+json"
        } else {
            "application/cloudevents+json"
        };
        Self {
            address,
            head: format!(
                "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
                 content-type: {content_type}\r\ncontent-length: "
            ),
            // What the fixed members of an event leave of the wanted size.
            filling: "x".repeat(event_bytes.saturating_sub(296)),
            batch,
            keys: 1000,
            clock,
            number: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        }
    }

    /// The same with so many different subjects.
    pub(super) fn with_keys(mut self, keys: Option<u32>) -> Self {
        self.keys = keys.map_or(self.keys, u64::from).max(1);
        self
    }

    /// Events that got a 202, over all runs.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Sends for a while; gives the time to the 202 of each request, in microseconds.
    pub(super) async fn run(
        self: &Arc<Self>,
        pace: Pace,
        connections: u16,
        until: Until,
    ) -> anyhow::Result<Vec<u32>> {
        let begun = Instant::now();
        let turns = Arc::new(Turns::default());
        if let (Pace::Open { per_second }, Until::Elapsed(window)) = (pace, until) {
            let turns = Arc::clone(&turns);
            std::thread::spawn(move || turns.give(begun, per_second, window, connections));
        }
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let (load, turns) = (Arc::clone(self), Arc::clone(&turns));
                tokio::spawn(async move { load.connection(pace, begun, until, &turns).await })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.append(&mut task.await??);
        }
        Ok(times)
    }

    async fn connection(
        &self,
        pace: Pace,
        begun: Instant,
        until: Until,
        turns: &Turns,
    ) -> anyhow::Result<Vec<u32>> {
        let stream = TcpStream::connect(self.address).await;
        let mut wire = Wire::new(stream.context("cannot connect to the server")?)?;
        let (mut times, mut body, mut message) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let due = match pace {
                Pace::Closed => Instant::now(),
                Pace::Open { per_second } => turns.next(begun, per_second).await?,
            };
            let ends = match until {
                Until::Elapsed(window) => due.duration_since(begun) >= window,
                Until::Sent(events) => self.number.load(Ordering::Relaxed) >= events,
            };
            if ends {
                return Ok(times);
            }
            self.write_body(&mut body, due)?;
            message.clear();
            write!(message, "{}{}\r\n\r\n", self.head, body.len())?;
            message.extend_from_slice(&body);
            wire.write(&message).await?;
            let answer = wire
                .next()
                .await?
                .context("the server has closed the connection")?;
            if !answer.first_line.starts_with(b"HTTP/1.1 202 ") {
                bail!(
                    "the server answered {}: {}",
                    String::from_utf8_lossy(answer.first_line),
                    String::from_utf8_lossy(answer.body)
                );
            }
            self.accepted
                .fetch_add(u64::try_from(self.batch)?, Ordering::Relaxed);
            times.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }

    fn write_body(&self, body: &mut Vec<u8>, due: Instant) -> std::io::Result<()> {
        body.clear();
        if self.batch == 1 {
            return self.write_event(body, due);
        }
        for n in 0..self.batch {
            body.push(if n == 0 { b'[' } else { b',' });
            self.write_event(body, due)?;
        }
        body.push(b']');
        Ok(())
    }

    fn write_event(&self, body: &mut Vec<u8>, due: Instant) -> std::io::Result<()> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let sent = due.saturating_duration_since(self.clock).as_micros();
        let instance = number % self.keys;
        write!(
            body,
            r#"{{"specversion":"1.0","id":"b-{number:09}-{sent:012}","source":"cvm.cloud.tencent","type":"cvm:ErrorEvent:DiskReadonly","subject":"ins-{instance:06}","time":"2026-01-01T08:00:00+08:00","region":"ap-guangzhou","datacontenttype":"application/json","data":{{"instanceId":"ins-{instance:06}","status":"1","detail":"{}"}}}}"#,
            self.filling
        )
    }
}
