//! The senders: connections that are kept open, one request at a time on each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

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

/// The senders.
pub(super) struct Load {
    address: SocketAddr,
    authorization: String,
    filling: String,
    clock: Instant,
    number: AtomicU64,
    accepted: AtomicU64,
}

impl Load {
    pub(super) fn new(address: SocketAddr, key: &str, event_bytes: usize, clock: Instant) -> Self {
        Self {
            address,
            authorization: format!("Bearer {key}"),
            // What the fixed members of `event` leave of the wanted size.
            filling: "x".repeat(event_bytes.saturating_sub(296)),
            clock,
            number: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        }
    }

    /// Events that got a 202, over all runs.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Sends for a while; gives the time to the 202 of each event, in microseconds.
    pub(super) async fn run(
        self: &Arc<Self>,
        pace: Pace,
        connections: u16,
        window: Duration,
    ) -> anyhow::Result<Vec<u32>> {
        let begun = Instant::now();
        let turn = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let (load, turn) = (Arc::clone(self), Arc::clone(&turn));
                tokio::spawn(async move { load.connection(pace, begun, window, &turn).await })
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
        window: Duration,
        turn: &AtomicU64,
    ) -> anyhow::Result<Vec<u32>> {
        let stream = TcpStream::connect(self.address)
            .await
            .context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut times = Vec::new();
        loop {
            let due = match pace {
                Pace::Closed => Instant::now(),
                Pace::Open { per_second } => {
                    let turn = turn.fetch_add(1, Ordering::Relaxed);
                    let due = begun
                        + Duration::from_nanos(turn * 1_000_000_000 / u64::from(per_second.max(1)));
                    tokio::time::sleep_until(due).await;
                    due
                }
            };
            if due.duration_since(begun) >= window {
                return Ok(times);
            }
            self.send(&mut sender, due).await?;
            times.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }

    async fn send(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        due: Instant,
    ) -> anyhow::Result<()> {
        let request = Request::post("/v1/buses/default/events")
            .header("host", self.address.to_string())
            .header("authorization", &self.authorization)
            .header("content-type", "application/cloudevents+json")
            .body(Full::new(Bytes::from(self.event(due))))?;
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status != StatusCode::ACCEPTED {
            bail!(
                "the server answered {status}: {}",
                String::from_utf8_lossy(&body)
            );
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn event(&self, due: Instant) -> String {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let sent = due.saturating_duration_since(self.clock).as_micros();
        format!(
            r#"{{"specversion":"1.0","id":"b-{number:09}-{sent}","source":"cvm.cloud.tencent","type":"cvm:ErrorEvent:DiskReadonly","subject":"ins-{:06}","time":"2026-01-01T08:00:00+08:00","region":"ap-guangzhou","datacontenttype":"application/json","data":{{"instanceId":"ins-{:06}","status":"1","detail":"{}"}}}}"#,
            number % 1000,
            number % 1000,
            self.filling
        )
    }
}
