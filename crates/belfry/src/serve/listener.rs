//! The accept loop: HTTP/1 and HTTP/2 on one port, every wait bounded.
//!
//! `axum::serve` has no time limit for headers and none for connections that never send any; here a connection that
//! has no request under way and began none within the header timeout is closed, whatever it speaks. Connections
//! beyond the cap wait in the system's queue. Stopping: no new connections, requests under way finish, then what is
//! left after the limit is cut.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Bounds of the accept loop.
#[derive(Debug, Clone)]
pub struct ListenLimits {
    /// Connections open at once.
    pub connections_max: usize,
    /// For the headers of a request, and for a connection without any request.
    pub header_timeout: Duration,
    /// Largest headers.
    pub header_bytes_max: usize,
    /// For requests under way when the server stops.
    pub drain_limit: Duration,
}

/// After an error that is not about one connection (no file handles left): trying again at once would only spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// A client of HTTP/2 that does not answer a ping for so long is gone.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves until `stop`, then drains. Returns how many connections had to be cut.
pub async fn listen(
    listener: TcpListener,
    router: Router,
    limits: ListenLimits,
    stop: CancellationToken,
) -> usize {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let builder = Arc::new(builder(&limits));
    let tracker = TaskTracker::new();
    let cut = CancellationToken::new();
    let mut full_noted = false;
    loop {
        if slots.available_permits() == 0 && !full_noted {
            full_noted = true;
            tracing::warn!(
                connections = limits.connections_max,
                "all connections are in use; new ones wait"
            );
        }
        let accepted = async {
            // Never closed, so this waits only for room.
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                full_noted &= slots.available_permits() == 0;
                let connection = Connection {
                    builder: Arc::clone(&builder),
                    router: router.clone(),
                    peer,
                    header_timeout: limits.header_timeout,
                    stop: stop.clone(),
                    cut: cut.clone(),
                };
                tracker.spawn(async move {
                    metrics::gauge!("belfry_connections").increment(1.0);
                    connection.run(stream).await;
                    metrics::gauge!("belfry_connections").decrement(1.0);
                    drop(slot);
                });
            }
            Err(error) if of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(limits.drain_limit, tracker.wait())
        .await
        .is_ok()
    {
        return 0;
    }
    let left = tracker.len();
    cut.cancel();
    tracker.wait().await;
    left
}

fn builder(limits: &ListenLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes_max.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(256)
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

fn of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// What a connection is doing, to tell an idle one from a busy one.
#[derive(Debug, Default)]
struct Activity {
    under_way: AtomicUsize,
    started: AtomicUsize,
}

/// Lives as long as a request and the body of its answer.
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        activity.started.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer: a stream of events counts as under way until it ends.
struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Connection {
    builder: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    peer: SocketAddr,
    header_timeout: Duration,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        // Answers are small: waiting to fill a packet would only add latency.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY is not to be had");
        }
        let activity = Arc::new(Activity::default());
        let service = {
            let (router, activity) = (self.router.clone(), Arc::clone(&activity));
            service_fn(move |request: http::Request<Incoming>| {
                let under_way = UnderWay::begin(&activity);
                let answer = router.clone().oneshot(request.map(Body::new));
                async move {
                    let answer = answer.await?;
                    Ok::<_, Infallible>(answer.map(|body| Answer {
                        body,
                        _under_way: under_way,
                    }))
                }
            })
        };
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut looks = tokio::time::interval_at(
            tokio::time::Instant::now() + self.header_timeout,
            self.header_timeout,
        );
        let (mut seen, mut closing, mut stopping) = (0, false, false);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(client = %self.peer, %error, "connection ended");
                    }
                    break;
                }
                () = self.cut.cancelled() => break,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = looks.tick() => {
                    let started = activity.started.load(Ordering::Relaxed);
                    let idle = started == seen && activity.under_way.load(Ordering::Relaxed) == 0;
                    seen = started;
                    if idle && closing {
                        // Asked to leave one look ago and still here.
                        break;
                    }
                    if idle {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
