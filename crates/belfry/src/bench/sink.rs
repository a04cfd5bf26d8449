//! The receiver: answers 200 and notes when each event came, and whether it had come before.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// The receiver.
#[derive(Clone)]
pub(super) struct Sink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    clock: Instant,
}

#[derive(Default)]
struct State {
    received: u64,
    duplicates: u64,
    seen: HashSet<(Bytes, u64)>,
    latencies: Vec<u32>,
}

impl Sink {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let sink = Self {
            address: listener.local_addr()?,
            state: Arc::default(),
            clock: Instant::now(),
        };
        let accepting = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _unimportant = stream.set_nodelay(true);
                let sink = accepting.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let sink = sink.clone();
                        async move { Ok::<_, Infallible>(sink.receive(request).await) }
                    });
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(sink)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Where the times in events' ids count from.
    pub(super) fn clock(&self) -> Instant {
        self.clock
    }

    async fn receive(&self, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let path = request
            .uri()
            .path()
            .as_bytes()
            .last()
            .copied()
            .map_or(0, u64::from);
        let Ok(body) = request.into_body().collect().await else {
            return Response::new(Empty::new());
        };
        let body = body.to_bytes();
        if let Some((id, sent_us)) = sent_at(&body) {
            let now = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
            let latency = u32::try_from(now.saturating_sub(sent_us)).unwrap_or(u32::MAX);
            let mut state = self.lock();
            state.received += 1;
            state.latencies.push(latency);
            if !state.seen.insert((id, path)) {
                state.duplicates += 1;
            }
        }
        Response::new(Empty::new())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn received(&self) -> u64 {
        self.lock().received
    }

    pub(super) fn duplicates(&self) -> u64 {
        self.lock().duplicates
    }

    pub(super) fn begin_phase(&self) {
        self.lock().latencies.clear();
    }

    pub(super) fn end_phase(&self) -> Vec<u32> {
        std::mem::take(&mut self.lock().latencies)
    }

    /// Waits until so many deliveries have come, or none has come for five seconds.
    pub(super) async fn settle(&self, expected: u64) {
        let mut last = (self.received(), Instant::now());
        while last.0 < expected && last.1.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = self.received();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
    }
}

/// The id, and the time of sending in it: ids look like `b-000001-12345678`, microseconds last.
fn sent_at(body: &Bytes) -> Option<(Bytes, u64)> {
    let start = body
        .windows(8)
        .position(|window| window == b"\"id\":\"b-")?
        + 6;
    let rest = body.get(start..)?;
    let length = rest.iter().position(|&byte| byte == b'"')?;
    let id = body.slice(start..start + length);
    let text = std::str::from_utf8(&id).ok()?;
    let sent = text.rsplit_once('-')?.1.parse().ok()?;
    Some((id, sent))
}
