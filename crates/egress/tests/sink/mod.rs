//! An HTTP receiver that misbehaves on demand. Speaks just enough HTTP/1.1 to be able to break it.
//!
//! Shared with the tests of belfry-targets, so that not every test uses all of it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::let_underscore_must_use,
    clippy::format_push_string,
    reason = "a test may fail any way it likes"
)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// The only value of a header; panics when there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let first = found.next()?;
        assert!(found.next().is_none(), "{name} came twice");
        Some(&first.1)
    }
}

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A whole answer.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, then the end.
    Raw(Vec<u8>),
    /// These bytes, then nothing more while the connection stays open.
    Hang(Vec<u8>),
    /// These bytes, then one byte after another, slowly and for ever.
    Drip(Vec<u8>),
    /// These bytes, then as many as the other side takes.
    Endless(Vec<u8>),
    /// A reset instead of an answer.
    Reset,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), Vec::new())
    }
    pub fn with(status: u16, name: &'static str, value: impl Into<String>) -> Self {
        Self::Answer(status, vec![(name, value.into())], Vec::new())
    }
    pub fn body(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer(status, Vec::new(), body.into())
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A running receiver; ends with the runtime of its test.
pub struct Sink {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
}

impl Sink {
    /// A receiver that answers every request alike.
    pub async fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    /// A receiver that decides by the request.
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(handler, |stream| async { Some(stream) }).await
    }

    /// The same behind something that wraps the stream, such as TLS.
    pub async fn start_with<S, F>(
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + AsTcp + 'static,
        F: Future<Output = Option<S>> + Send,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let handler: Arc<Handler> = Arc::new(handler);
        let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
        let wrap = Arc::new(wrap);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let (log, handler, wrap) =
                    (Arc::clone(&log), Arc::clone(&handler), Arc::clone(&wrap));
                tokio::spawn(async move {
                    if let Some(stream) = wrap(stream).await {
                        serve(stream, &log, &*handler).await;
                    }
                });
            }
        });
        Self {
            address,
            seen,
            connections,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// A stream whose TCP connection can be reset.
pub trait AsTcp {
    fn reset_on_close(&self) {}
}
impl AsTcp for TcpStream {
    fn reset_on_close(&self) {
        self.set_zero_linger().unwrap();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + AsTcp>(
    mut stream: S,
    log: &Mutex<Vec<Seen>>,
    handler: &Handler,
) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        let reply = handler(&request);
        log.lock().unwrap().push(request);
        match reply {
            Reply::Answer(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                head.push_str("\r\n");
                if stream
                    .write_all(&[head.into_bytes(), body].concat())
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Hang(bytes) => {
                let _ = stream.write_all(&bytes).await;
                // Until the other side has had enough.
                let _ = stream.read(&mut [0; 1]).await;
                return;
            }
            Reply::Drip(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let mut tick = tokio::time::interval(Duration::from_millis(10));
                while stream.write_all(b"x").await.is_ok() {
                    tick.tick().await;
                }
                return;
            }
            Reply::Endless(bytes) => {
                let _ = stream.write_all(&bytes).await;
                while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
                return;
            }
            Reply::Reset => {
                stream.reset_on_close();
                return;
            }
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some((seen, used)) = parse(buffer) {
            buffer.drain(..used);
            return Some(seen);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn parse(buffer: &[u8]) -> Option<(Seen, usize)> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let body = buffer.get(end + 4..end + 4 + length)?.to_vec();
    Some((
        Seen {
            method,
            target,
            headers,
            body,
        },
        end + 4 + length,
    ))
}
