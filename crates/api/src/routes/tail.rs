//! Deliveries as they happen, as server-sent events.
//!
//! A stream ends on the shutdown token (one open stream would otherwise use up the whole time that a shutdown may
//! take), when its key stops working, and when its client goes away.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use belfry_app::Actor;
use belfry_app::history::NoticeView;
use belfry_engine::DeliveryNotice;
use belfry_model::BusName;
use belfry_model::delivery::DeliveryStatus;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval};
use utoipa::IntoParams;

use crate::Shared;
use crate::extract::{Caller, QueryOf};
use crate::problem::Problem;

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TailQuery {
    /// Of rules of this bus.
    bus: Option<String>,
    /// Of this rule.
    rule: Option<String>,
    /// Of targets of this name.
    target: Option<String>,
    /// In one of these states, separated by commas.
    #[param(example = "dead,retrying")]
    status: Option<String>,
}

struct Filter {
    query: TailQuery,
    statuses: Vec<DeliveryStatus>,
}

impl Filter {
    fn new(query: TailQuery) -> Result<Self, Problem> {
        let words = query
            .status
            .as_deref()
            .into_iter()
            .flat_map(|list| list.split(','));
        let statuses = words
            .map(|word| word.trim().parse())
            .collect::<Result<_, belfry_model::delivery::UnknownWord>>()
            .map_err(|error| Problem::at("query:status", error.to_string()))?;
        Ok(Self { query, statuses })
    }

    fn wants(&self, notice: &DeliveryNotice) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        is(&self.query.bus, notice.bus.as_ref().map(BusName::as_str))
            && is(&self.query.rule, notice.rule.as_deref())
            && is(&self.query.target, notice.target.as_deref())
            && (self.statuses.is_empty() || self.statuses.contains(&notice.status))
    }
}

struct Tail {
    state: Shared,
    actor: Actor,
    filter: Filter,
    notices: Receiver<DeliveryNotice>,
    heartbeat: Interval,
    /// Gives the place back when the stream ends.
    _place: OwnedSemaphorePermit,
}

impl Tail {
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
                received = self.notices.recv() => match received {
                    Ok(notice) if self.filter.wants(&notice) => {
                        return Event::default().event("delivery").json_data(NoticeView::from(notice)).ok();
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(count)) => {
                        return Some(Event::default().event("skipped").data(format!("{{\"count\":{count}}}")));
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

/// Streams deliveries as they happen.
///
/// Server-sent events named `delivery`; one named `skipped` says how many a slow listener has missed. A comment shows
/// every 15 seconds that the stream is alive.
#[utoipa::path(get, path = "/v1/deliveries:tail", tag = "deliveries", params(TailQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "The stream", content_type = "text/event-stream", body = NoticeView)))]
pub(crate) async fn tail_deliveries(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<TailQuery>,
) -> Result<Response, Problem> {
    let notices = state.app.notices(&caller.actor)?;
    let filter = Filter::new(query)?;
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
    let tail = Tail {
        actor: caller.actor,
        filter,
        notices,
        heartbeat,
        _place: place,
        state,
    };
    let mut response = Sse::new(events(tail)).into_response();
    // Proxies would otherwise hold the stream back until it ends.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

fn events(tail: Tail) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(tail, async |mut tail| {
        tail.next().await.map(|event| (Ok(event), tail))
    })
}
