//! Live streams: what happens, as server-sent events.
//!
//! A stream ends on the shutdown token (one open stream would otherwise use up the whole time that a shutdown may
//! take), when its key stops working, and when its client goes away. It must never know what is streamed.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use belfry_app::Actor;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::Shared;
use crate::problem::Problem;

/// Streams what is received; `show` makes an event of what the client asked for, and nothing of the rest.
///
/// One named `skipped` says how many a slow listener has missed. A comment shows at each heartbeat that the stream is alive.
pub(crate) fn stream<T, F>(
    state: Shared,
    actor: Actor,
    received: Receiver<T>,
    show: F,
) -> Result<Response, Problem>
where
    T: Clone + Send + 'static,
    F: Fn(T) -> Option<Result<Event, axum::Error>> + Send + 'static,
{
    let place = Arc::clone(&state.streams)
        .try_acquire_owned()
        .map_err(|_| {
            Problem::new(
                "TOO_MANY_STREAMS",
                "as many live streams are open as this server allows",
            )
            .with_retry_after(state.settings.heartbeat)
        })?;
    let mut heartbeat = interval(state.settings.heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let live = Live {
        state,
        actor,
        received,
        show,
        heartbeat,
        _place: place,
    };
    let mut response = Sse::new(events(live)).into_response();
    // Proxies would otherwise hold the stream back until it ends.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

struct Live<T, F> {
    state: Shared,
    actor: Actor,
    received: Receiver<T>,
    show: F,
    heartbeat: Interval,
    /// Gives the place back when the stream ends.
    _place: OwnedSemaphorePermit,
}

impl<T: Clone, F: Fn(T) -> Option<Result<Event, axum::Error>>> Live<T, F> {
    /// The next thing to send; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                biased;
                () = self.state.settings.shutdown.cancelled() => return None,
                _ = self.heartbeat.tick() => {
                    if !self.state.app.is_still_valid(&self.actor).await {
                        return None;
                    }
                    return Some(Event::default().comment("alive"));
                }
                received = self.received.recv() => match received {
                    Ok(received) => {
                        if let Some(shown) = (self.show)(received) {
                            return shown.ok();
                        }
                    }
                    Err(RecvError::Lagged(count)) => {
                        return Some(Event::default().event("skipped").data(format!("{{\"count\":{count}}}")));
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

fn events<T, F>(live: Live<T, F>) -> impl Stream<Item = Result<Event, Infallible>>
where
    T: Clone + Send + 'static,
    F: Fn(T) -> Option<Result<Event, axum::Error>> + Send + 'static,
{
    unfold(live, async |mut live| {
        live.next().await.map(|event| (Ok(event), live))
    })
}
