//! A receiver of webhooks that records every request and misbehaves on demand.
//!
//! It speaks HTTP/1.1 over plain sockets itself: a server library would not let a test reset a connection, drip an
//! answer byte by byte or forget to answer.

mod http1;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::wait_until;

/// What a path answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A proper answer.
    Answer {
        /// The status code.
        status: u16,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// A proper answer, after a while.
    Late {
        /// How long it takes.
        after: Duration,
        /// The status code.
        status: u16,
    },
    /// The request is read and never answered.
    Hang,
    /// Proper headers, then the body byte by byte, without end.
    Drip {
        /// The time between two bytes.
        every: Duration,
    },
    /// The connection is reset.
    Reset,
}

impl Reply {
    /// An answer with this status.
    pub fn status(status: u16) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// An answer with this status that asks for a pause.
    pub fn retry_after(status: u16, seconds: u32) -> Self {
        let headers = vec![("retry-after".to_owned(), seconds.to_string())];
        Self::Answer {
            status,
            headers,
            body: String::new(),
        }
    }

    /// Whether the sender is told that all is well.
    pub fn accepts(&self) -> bool {
        match self {
            Self::Answer { status, .. } | Self::Late { status, .. } => (200..300).contains(status),
            Self::Hang | Self::Drip { .. } | Self::Reset => false,
        }
    }
}

/// A request that was received completely.
#[derive(Debug, Clone)]
pub struct Received {
    /// When its last byte was there.
    pub at: Instant,
    /// Its method.
    pub method: Method,
    /// Its path and query, as sent.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, byte for byte.
    pub body: Bytes,
}

impl Received {
    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("the body of a webhook")
    }

    /// Checks the signature with the reference library of Standard Webhooks.
    pub fn verify(&self, secret: &str) -> Result<()> {
        let verifier = standardwebhooks::Webhook::new(secret).context("the secret")?;
        verifier
            .verify(&self.body, &self.headers)
            .context("the signature")
    }
}

/// The receiver. Ends when it is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// Decides what a request is answered.
type Decide = dyn Fn(&Received) -> Reply + Send + Sync;

/// Sees each request with what it is going to be answered.
type Watch = dyn Fn(&Received, &Reply) + Send + Sync;

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    scripts: Mutex<HashMap<String, Script>>,
    /// Takes the requests in place of `received`.
    watch: Option<Box<Watch>>,
    /// Takes the place of the scripts.
    decide: Option<Box<Decide>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// What a path answers, one reply after the other.
#[derive(Debug)]
struct Script {
    replies: VecDeque<Reply>,
    /// Whether it begins again after the last reply, instead of staying there.
    cycles: bool,
}

impl Script {
    fn next(&mut self) -> Option<Reply> {
        if self.cycles {
            self.replies.rotate_left(1.min(self.replies.len()));
            self.replies.back().cloned()
        } else if self.replies.len() > 1 {
            self.replies.pop_front()
        } else {
            self.replies.front().cloned()
        }
    }
}

impl Sink {
    /// Starts a receiver that answers 204 to everything.
    pub async fn start() -> Result<Self> {
        Self::start_with(Shared::default()).await
    }

    /// Starts a receiver that answers 204 to everything and shows each request, with what it is going to be answered,
    /// instead of keeping it: for more requests than memory should hold.
    pub async fn watched(
        watch: impl Fn(&Received, &Reply) + Send + Sync + 'static,
    ) -> Result<Self> {
        let watch: Option<Box<Watch>> = Some(Box::new(watch));
        Self::start_with(Shared {
            watch,
            ..Shared::default()
        })
        .await
    }

    /// Starts a receiver that decides by the request what it answers.
    pub async fn deciding(
        decide: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let decide: Option<Box<Decide>> = Some(Box::new(decide));
        Self::start_with(Shared {
            decide,
            ..Shared::default()
        })
        .await
    }

    async fn start_with(shared: Shared) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("the sink's port")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(shared);
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path of this receiver.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Says what a path answers from now on: one after the other, the last one for ever.
    pub fn script(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.set(path, replies, false);
    }

    /// Says what a path answers from now on: one after the other, again and again.
    pub fn cycle(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.set(path, replies, true);
    }

    fn set(&self, path: &str, replies: impl IntoIterator<Item = Reply>, cycles: bool) {
        let script = Script {
            replies: replies.into_iter().collect(),
            cycles,
        };
        lock(&self.shared.scripts).insert(path.to_owned(), script);
    }

    /// Looks at all requests so far without copying them.
    pub fn look<T>(&self, look: impl FnOnce(&[Received]) -> T) -> T {
        look(&lock(&self.shared.received))
    }

    /// All requests so far, in the order in which they were complete.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// The requests to one path so far.
    pub fn received_at(&self, path: &str) -> Vec<Received> {
        lock(&self.shared.received)
            .iter()
            .filter(|one| one.path == path)
            .cloned()
            .collect()
    }

    /// Waits until a path has got at least so many requests, and gives all of them.
    pub async fn wait_for(
        &self,
        path: &str,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<Received>> {
        let what = format!("{count} requests to {path}");
        wait_until(&what, limit, async || {
            let found = self.received_at(path);
            Ok((found.len() >= count).then_some(found))
        })
        .await
        .with_context(|| format!("the sink got {}", self.received_at(path).len()))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn reply(&self, request: &Received) -> Reply {
        if let Some(decide) = &self.decide {
            return decide(request);
        }
        let path = request.path.as_str();
        let next = lock(&self.scripts).get_mut(path).and_then(Script::next);
        next.unwrap_or_else(|| Reply::status(204))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the sink: dropping the set ends its tasks.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection until it ends; what goes wrong on it is the other side's business.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = http1::Connection::new(stream);
    while let Ok(Some(request)) = connection.read().await {
        let reply = shared.reply(&request);
        match &shared.watch {
            Some(watch) => watch(&request, &reply),
            None => lock(&shared.received).push(request),
        }
        if !matches!(connection.reply(reply).await, Ok(true)) {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn requests_are_recorded_and_scripts_are_followed() {
        let sink = Sink::start().await.unwrap();
        sink.script(
            "/a",
            [
                Reply::status(500),
                Reply::retry_after(429, 7),
                Reply::status(200),
            ],
        );
        let client = Client::new(&sink.url(""), None).unwrap();
        let mut answers = Vec::new();
        for _ in 0..4 {
            let answer = client
                .send(Method::POST, "/a", &[("x-a", "b")], "body")
                .await
                .unwrap();
            answers.push((
                answer.status.as_u16(),
                answer.header("retry-after").map(str::to_owned),
            ));
        }
        assert_eq!(
            answers,
            [
                (500, None),
                (429, Some("7".to_owned())),
                (200, None),
                (200, None)
            ]
        );
        assert_eq!(client.get("/other").await.unwrap().status.as_u16(), 204);
        sink.cycle("/turns", [Reply::status(200), Reply::status(503)]);
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(client.get("/turns").await.unwrap().status.as_u16());
        }
        assert_eq!(turns, [200, 503, 200, 503]);
        let received = sink.wait_for("/a", 4, LIMIT).await.unwrap();
        assert_eq!(
            (received[3].header("x-a"), &received[3].body[..]),
            (Some("b"), &b"body"[..])
        );
        assert_eq!(sink.look(<[_]>::len), 9);
    }

    #[tokio::test]
    async fn a_watched_sink_shows_requests_and_keeps_none() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let watch = {
            let seen = Arc::clone(&seen);
            move |request: &Received, reply: &Reply| {
                lock(&seen).push((request.path.clone(), reply.accepts()));
            }
        };
        let sink = Sink::watched(watch).await.unwrap();
        sink.script("/no", [Reply::status(410)]);
        let client = Client::new(&sink.url(""), None).unwrap();
        client.get("/yes").await.unwrap();
        client.get("/no").await.unwrap();
        let expected = [("/yes".to_owned(), true), ("/no".to_owned(), false)];
        assert_eq!(*lock(&seen), expected);
        assert_eq!(sink.look(<[_]>::len), 0);
    }

    #[tokio::test]
    async fn it_misbehaves_on_demand() {
        let sink = Sink::start().await.unwrap();
        sink.script("/reset", [Reply::Reset]);
        sink.script("/hang", [Reply::Hang]);
        sink.script(
            "/drip",
            [Reply::Drip {
                every: Duration::from_millis(1),
            }],
        );
        let client = Client::new(&sink.url(""), None).unwrap();
        assert!(client.get("/reset").await.is_err());
        for path in ["/hang", "/drip"] {
            let answer = tokio::time::timeout(Duration::from_millis(100), client.get(path)).await;
            assert!(answer.is_err(), "{path} was answered");
            sink.wait_for(path, 1, LIMIT).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_body_in_chunks_is_put_together() {
        let sink = Sink::start().await.unwrap();
        let address = sink.address().to_string();
        let request = b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let mut connection = crate::raw::Raw::connect(&address).await.unwrap();
        connection.send(request).await.unwrap();
        let received = sink.wait_for("/c", 1, LIMIT).await.unwrap();
        assert_eq!(&received[0].body[..], b"abcde");
    }
}
