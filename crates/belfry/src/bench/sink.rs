//! The receiver: answers 200 and notes when each event came, and whether it had come before.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::wire::Wire;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

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
    /// A bit for each event, by target.
    seen: Vec<Vec<u64>>,
    latencies: Vec<u32>,
    connections: Option<JoinSet<()>>,
}

impl Sink {
    /// A receiver with an address that does not listen yet.
    pub(super) async fn reserve() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self {
            address: listener.local_addr()?,
            state: Arc::default(),
            clock: Instant::now(),
        })
    }

    pub(super) async fn start() -> anyhow::Result<Self> {
        let sink = Self::reserve().await?;
        sink.listen().await?;
        Ok(sink)
    }

    /// Takes deliveries from now on.
    pub(super) async fn listen(&self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        let accepting = self.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let sink = accepting.clone();
                connections.spawn(async move {
                    // A connection that ends is the server's business.
                    drop(sink.connection(stream).await);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        self.lock().connections = Some(tasks);
        Ok(())
    }

    /// Refuses connections from now on, as a receiver does that has died.
    pub(super) fn die(&self) {
        self.lock().connections = None;
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Where the times in events' ids count from.
    pub(super) fn clock(&self) -> Instant {
        self.clock
    }

    async fn connection(&self, stream: TcpStream) -> anyhow::Result<()> {
        let mut wire = Wire::new(stream)?;
        while let Some(request) = wire.next().await? {
            if let (Some(target), Some((number, sent_us))) =
                (target(request.first_line), sent_at(request.body))
            {
                self.note(target, number, sent_us);
            }
            wire.write(ANSWER).await?;
        }
        Ok(())
    }

    fn note(&self, target: usize, number: usize, sent_us: u64) {
        let now = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        let latency = u32::try_from(now.saturating_sub(sent_us)).unwrap_or(u32::MAX);
        let mut state = self.lock();
        state.received += 1;
        state.latencies.push(latency);
        if state.seen.len() <= target {
            state.seen.resize_with(target + 1, Vec::new);
        }
        let (word, bit) = (number / 64, 1 << (number % 64));
        let mut again = false;
        if let Some(seen) = state.seen.get_mut(target) {
            if seen.len() <= word {
                seen.resize(word + 1, 0);
            }
            if let Some(word) = seen.get_mut(word) {
                again = *word & bit != 0;
                *word |= bit;
            }
        }
        state.duplicates += u64::from(again);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
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

    /// Waits until so many different deliveries have come, or none has come for `patience`.
    pub(super) async fn settle(&self, expected: u64, patience: Duration) {
        let different = || self.received() - self.duplicates();
        let mut last = (different(), Instant::now());
        while last.0 < expected && last.1.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = different();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
    }
}

/// The number at the end of the path in "POST /hook7 HTTP/1.1".
fn target(first_line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(first_line).ok()?;
    let path = text.split(' ').nth(1)?;
    path.strip_prefix("/hook")?.parse().ok()
}

/// An event's number, and the time of sending in its id: `b-000001-12345678`, microseconds last.
fn sent_at(body: &[u8]) -> Option<(usize, u64)> {
    const BEFORE: &[u8] = b"\"id\":\"b-";
    let start = body
        .windows(BEFORE.len())
        .position(|window| window == BEFORE)?;
    let rest = body.get(start + BEFORE.len()..)?;
    let length = rest.iter().position(|&byte| byte == b'"')?;
    let text = std::str::from_utf8(rest.get(..length)?).ok()?;
    let (number, sent) = text.split_once('-')?;
    Some((number.parse().ok()?, sent.parse().ok()?))
}
