//! A TCP proxy whose line can be made bad: cut, slow, narrow, silent, closed to newcomers.
//!
//! It carries bytes and knows nothing of what they mean, so that it can stand before a receiver of webhooks as well as
//! before a database. What it cannot do is lose single packets: a TCP peer never sees that, only delay and ends.
//!
//! | what happens | how it looks from both ends |
//! |---|---|
//! | [`Proxy::cut`] | every open connection is reset at this moment |
//! | [`Line::delay`] | each byte comes so much later, in each direction; throughput stays |
//! | [`Line::bytes_per_second`] | so many in each direction of each connection |
//! | [`Passage::Silent`] | connections are taken and stay open, but no byte moves; what was sent comes when the line is well again |
//! | [`Passage::Refused`] | open connections go on, each new one is reset at once |

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// What is read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks that are under way in one direction; more wait at the sender.
const CHUNKS: usize = 64;
/// Parts that a second of a narrow line is divided into.
const PARTS_PER_SECOND: u32 = 20;

/// How the line is, for all connections. The default is a good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Line {
    /// How long each byte is under way, in each direction.
    pub delay: Duration,
    /// Bytes a second in each direction of each connection; none: as many as come.
    pub bytes_per_second: Option<NonZeroU32>,
    /// Whether anything passes.
    pub passage: Passage,
}

impl Line {
    /// A line on which each byte takes so long in each direction.
    pub fn slow(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// A line with so many bytes a second; at least one.
    pub fn narrow(bytes_per_second: u32) -> Self {
        Self {
            bytes_per_second: Some(NonZeroU32::new(bytes_per_second).unwrap_or(NonZeroU32::MIN)),
            ..Self::default()
        }
    }

    /// A line on which nothing moves.
    pub fn silent() -> Self {
        Self {
            passage: Passage::Silent,
            ..Self::default()
        }
    }

    /// A line that takes no new connections.
    pub fn refused() -> Self {
        Self {
            passage: Passage::Refused,
            ..Self::default()
        }
    }
}

/// Whether anything passes a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passage {
    /// Everything does.
    #[default]
    Open,
    /// Connections are taken, and nothing moves on any of them.
    Silent,
    /// Open connections go on; new ones are reset at once. (A port that is closed and opened again could be taken by
    /// somebody else in between.)
    Refused,
}

/// The state that all connections follow.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    line: Line,
    /// How often everything was cut.
    cuts: u64,
}

/// The proxy. Its connections end with it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy on a free port before this address.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("the proxy's port")?;
        let address = listener.local_addr()?;
        let (state, watched) = watch::channel(State::default());
        let task = tokio::spawn(accept(listener, upstream, watched));
        Ok(Self {
            address,
            state,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says how the line is from now on, also for what is under way.
    pub fn set(&self, line: Line) {
        self.state.send_modify(|state| state.line = line);
    }

    /// Resets every open connection, on both sides.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, state: watch::Receiver<State>) {
    // Connections end with the proxy: dropping the set ends its tasks.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if state.borrow().line.passage == Passage::Refused {
            reset(&client);
        } else {
            connections.spawn(carry(client, upstream, state.clone()));
        }
    }
}

/// One connection, until either side ends it or it is cut.
async fn carry(mut client: TcpStream, upstream: SocketAddr, state: watch::Receiver<State>) {
    let (mut line, cuts) = (state.clone(), state.borrow().cuts);
    let mut watched = state.clone();
    let connecting = async {
        line.wait_for(moves).await.map_err(gone)?;
        TcpStream::connect(upstream).await
    };
    let server = tokio::select! {
        server = connecting => server,
        _ = watched.wait_for(|state| state.cuts != cuts) => Err(io::ErrorKind::ConnectionReset.into()),
    };
    let Ok(mut server) = server else {
        reset(&client);
        return;
    };
    // What is forwarded was put together by its sender; waiting for more would only delay it.
    for stream in [&client, &server] {
        drop(stream.set_nodelay(true));
    }
    let carried = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = one_way(from_client, to_server, state.clone());
        let back = one_way(from_server, to_client, state.clone());
        tokio::select! {
            carried = async { tokio::try_join!(there, back) } => carried.map(drop),
            _ = watched.wait_for(|state| state.cuts != cuts) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    };
    if carried.is_err() {
        reset(&client);
        reset(&server);
    }
}

/// Carries bytes until their sender has no more, and passes its end on.
async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Bytes)>(CHUNKS);
    // Both are one future: reading goes on while what came is on its slow way.
    let read = async move {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
            if from.read_buf(&mut chunk).await? == 0 {
                return Ok(());
            }
            // It cannot be closed before the writer has failed, and its failure ends both.
            drop(sender.send((Instant::now(), chunk.freeze())).await);
        }
    };
    let write = async move {
        while let Some((came, chunk)) = under_way.recv().await {
            let due = came + state.borrow().line.delay;
            sleep_until(due).await;
            let mut rest = chunk;
            while !rest.is_empty() {
                let line = state.wait_for(moves).await.map_err(gone)?.line;
                let part = match line.bytes_per_second {
                    None => rest.split_to(rest.len()),
                    Some(rate) => {
                        let most = (rate.get() / PARTS_PER_SECOND).max(1);
                        let size = rest.len().min(usize::try_from(most).unwrap_or(usize::MAX));
                        sleep(Duration::from_secs(1) * most / rate.get()).await;
                        rest.split_to(size)
                    }
                };
                to.write_all(&part).await?;
            }
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}

/// Whether bytes move on the line.
fn moves(state: &State) -> bool {
    state.line.passage != Passage::Silent
}

/// The proxy has ended.
fn gone(_: watch::error::RecvError) -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

/// Makes the end of a connection a reset: closing with a linger time of zero sends one.
fn reset(stream: &TcpStream) {
    // A connection that has ended by itself is as good.
    drop(stream.set_zero_linger());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Reply, Sink};
    use http::Method;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(10);
    /// Long beside what a good line on this machine takes.
    const PAUSE: Duration = Duration::from_millis(200);

    struct Rig {
        sink: Sink,
        proxy: Proxy,
        client: Client,
    }

    async fn rig() -> Rig {
        let sink = Sink::start().await.unwrap();
        let proxy = Proxy::start(sink.address()).await.unwrap();
        let client = Client::new(&format!("http://{}", proxy.address()), None).unwrap();
        Rig {
            sink,
            proxy,
            client,
        }
    }

    impl Rig {
        async fn asks(&self, body: impl Into<Bytes>) -> Result<()> {
            let answer = self.client.send(Method::POST, "/a", &[], body).await?;
            answer.expect(204).map(drop)
        }
    }

    #[tokio::test]
    async fn a_good_line_carries_everything_both_ways() {
        let rig = rig().await;
        let body: Bytes = (0..300_000_u32)
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<_>>()
            .into();
        rig.asks(body.clone()).await.unwrap();
        assert_eq!(rig.sink.received()[0].body, body);
    }

    #[tokio::test]
    async fn a_slow_line_delays_each_direction_and_not_each_chunk() {
        let rig = rig().await;
        rig.asks("warm").await.unwrap();
        rig.proxy.set(Line::slow(PAUSE));
        let start = Instant::now();
        // 40 chunks: if each were delayed after the one before, this would take eight seconds.
        rig.asks(vec![b'x'; 40 * CHUNK_BYTES]).await.unwrap();
        let took = start.elapsed();
        assert!(took >= 2 * PAUSE, "{took:?}");
        assert!(took < 20 * PAUSE, "{took:?}");
    }

    #[tokio::test]
    async fn a_narrow_line_lets_so_many_bytes_through() {
        let rig = rig().await;
        rig.proxy.set(Line::narrow(20_000));
        let start = Instant::now();
        rig.asks(vec![b'x'; 10_000]).await.unwrap();
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(450), "{took:?}");
    }

    #[tokio::test]
    async fn a_silent_line_holds_everything_and_gives_it_later() {
        let rig = rig().await;
        rig.asks("before").await.unwrap();
        rig.proxy.set(Line::silent());
        // The connection from before, and after its time has run out a new one.
        for _ in 0..2 {
            timeout(PAUSE, rig.asks("lost in the wire"))
                .await
                .unwrap_err();
        }
        assert_eq!(rig.sink.received_at("/a").len(), 1);
        let (late, ()) = tokio::join!(rig.asks("late"), async {
            sleep(PAUSE).await;
            rig.proxy.set(Line::default());
        });
        late.unwrap();
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_open_and_the_next_connection_is_good() {
        let rig = rig().await;
        rig.sink.script("/a", [Reply::Hang]);
        let asking = rig.asks("never answered");
        let cutting = async {
            rig.sink.wait_for("/a", 1, LIMIT).await.unwrap();
            rig.proxy.cut();
        };
        let (asked, ()) = tokio::join!(asking, cutting);
        let error = format!("{:?}", asked.unwrap_err());
        assert!(error.contains("reset"), "{error}");
        rig.sink.script("/a", [Reply::status(204)]);
        rig.asks("again").await.unwrap();
    }

    #[tokio::test]
    async fn a_refused_line_takes_nobody_new() {
        let rig = rig().await;
        rig.asks("keeps its connection").await.unwrap();
        rig.proxy.set(Line::refused());
        rig.asks("on the connection from before").await.unwrap();
        let newcomer = Client::new(&format!("http://{}", rig.proxy.address()), None).unwrap();
        newcomer.get("/a").await.unwrap_err();
        rig.proxy.set(Line::default());
        newcomer.get("/a").await.unwrap();
    }

    #[tokio::test]
    async fn an_absent_upstream_is_a_reset() {
        let absent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = absent.local_addr().unwrap();
        drop(absent);
        let proxy = Proxy::start(address).await.unwrap();
        let client = Client::new(&format!("http://{}", proxy.address()), None).unwrap();
        client.get("/a").await.unwrap_err();
    }
}
