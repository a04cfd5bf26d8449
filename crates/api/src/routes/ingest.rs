//! Posting events.

mod measure;
mod read;
mod shape;

use axum::extract::{Extension, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use belfry_app::Fault;
use belfry_app::idempotency::Answered;
use belfry_engine::{AcceptContext, Accepted};
use belfry_model::event::EventErrors;
use belfry_model::{BusName, Event};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{BusPath, IdempotencyHeader, NoQuery};
use crate::answer::{json, mark_replay};
use crate::extract::{Caller, Idempotent, PathOf, QueryOf, read_body};
use crate::problem::{Problem, rate_headers};
use crate::surround::RequestContext;
use crate::{ApiState, Shared};

use measure::Meter;
use read::WayIn;
pub(crate) use read::{event_problem, read_events, way_in};
pub(crate) use shape::{CloudEvent, PlainEvent};

/// How to post.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct IngestQuery {
    /// `true` stores the good events of a batch and says what is wrong with the others; else one bad event refuses
    /// the whole batch.
    partial: Option<bool>,
}

/// What became of posted events. Everything in it is durable.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Accepted)]
pub(crate) struct AcceptedAnswer {
    /// How many events were accepted, duplicates included.
    accepted: usize,
    /// How many of them were known already.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    duplicates: usize,
    /// How many were refused (`partial=true`).
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    rejected: usize,
    /// Each event, in the order of the request.
    events: Vec<EventAnswer>,
}

/// What became of one event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum EventAnswer {
    /// It is stored.
    Stored(StoredEvent),
    /// It is not an event (`partial=true`).
    Rejected(RejectedEvent),
}

/// A stored event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StoredEvent {
    /// The sender's id, or the one that was given to the event.
    id: String,
    /// The sender's source.
    source: String,
    /// The server's id; for a duplicate that of the first.
    #[schema(examples("evt_01jd0c4z8k000"))]
    event_uid: String,
    /// Whether the event was known already and is not delivered again.
    duplicate: bool,
    /// Where its history can be read.
    #[schema(examples("/v1/events/evt_01jd0c4z8k000"))]
    url: String,
}

/// What is wrong with an event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RejectedEvent {
    /// Its place in the batch, from 0.
    index: usize,
    /// Everything that is wrong with it.
    #[schema(value_type = Vec<crate::problem::FaultSchema>)]
    errors: Vec<Fault>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Posts one event or a batch.
///
/// Taken are CloudEvents 1.0 in structured, batch and binary mode, and plain JSON in which `source` and `type` suffice
/// (an object, or an array of them). 202 means that the events are on disk; deliveries begin after that. An event
/// that was posted before (same `source` and `id` within the bus's window) is not delivered again.
#[utoipa::path(post, path = "/v1/buses/{bus}/events", tag = "events", params(BusPath, IngestQuery, IdempotencyHeader),
    request_body(description = "One event or a batch; any other content type with `ce-` headers is an event in binary mode",
        content((CloudEvent = "application/cloudevents+json"), (Vec<CloudEvent> = "application/cloudevents-batch+json"), (PlainEvent = "application/json"))),
    security(("key" = ["events:write"])),
    responses((status = 202, description = "Durable", body = AcceptedAnswer)))]
pub(crate) async fn post_events(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<BusPath>,
    QueryOf(query): QueryOf<IngestQuery>,
    idempotent: Idempotent,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Result<Response, Problem> {
    let way = way_in(request.headers());
    let meter = Meter::start(&state, &path.bus, way.as_ref().ok());
    let how = How {
        bus: &path.bus,
        way,
        partial: query.partial.unwrap_or_default(),
        idempotent,
        trace_id: context.trace_id.to_string(),
    };
    let answer = take(&state, &caller, how, request).await;
    meter.end(&answer);
    answer
}

/// What a request says besides its body.
struct How<'a> {
    bus: &'a BusName,
    way: Result<WayIn, Problem>,
    partial: bool,
    idempotent: Idempotent,
    trace_id: String,
}

async fn take(
    state: &ApiState,
    caller: &Caller,
    how: How<'_>,
    request: Request,
) -> Result<Response, Problem> {
    state.app.may_post(&caller.actor, how.bus)?;
    let way = how.way?;
    // A header's value is a part of the connection's buffer, which is wanted for the next request.
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.map(|value| value.as_bytes().to_vec());
    let body = read_body(request, state.settings.ingest_bytes_max, &state.settings).await?;
    let key = how.idempotent.key(&caller.actor, &body);
    let read = read_events(state, &way, content_type.as_deref(), body, key.as_ref())?;
    let (events, plan) = sort_out(read, how.partial)?;
    let accept = AcceptContext {
        trace_id: Some(how.trace_id),
        idempotency: key,
    };
    let accepted = if events.is_empty() {
        Answered::default()
    } else {
        state
            .app
            .post_events(&caller.actor, how.bus, events, accept)
            .await?
    };
    let mut response = mark_replay(answer(accepted.value, plan), accepted.replayed);
    if let Some(rate) = caller.rate {
        response.headers_mut().extend(rate_headers(rate));
    }
    Ok(response)
}

/// Good events apart from bad ones; the plan says in which order they came.
type Plan = Vec<Option<RejectedEvent>>;

fn sort_out(
    read: Vec<Result<Event, EventErrors>>,
    partial: bool,
) -> Result<(Vec<Event>, Plan), Problem> {
    let mut events = Vec::with_capacity(read.len());
    let mut plan = Vec::with_capacity(read.len());
    let mut refused: Option<EventErrors> = None;
    for (index, one) in read.into_iter().enumerate() {
        match one {
            Ok(event) => {
                events.push(event);
                plan.push(None);
            }
            Err(errors) if partial => {
                let errors = errors.errors.into_iter().map(Fault::from).collect();
                plan.push(Some(RejectedEvent { index, errors }));
            }
            Err(errors) => match &mut refused {
                None => refused = Some(errors),
                Some(all) => all.errors.extend(errors.errors),
            },
        }
    }
    match refused {
        None => Ok((events, plan)),
        Some(errors) => Err(event_problem(errors)),
    }
}

fn answer(accepted: Vec<Accepted>, plan: Plan) -> Response {
    let count = accepted.len();
    let duplicates = accepted.iter().filter(|event| event.duplicate).count();
    let rejected = plan.iter().filter(|place| place.is_some()).count();
    let mut stored = accepted.into_iter().map(|event| {
        let event_uid = event.event_uid.to_string();
        StoredEvent {
            url: ["/v1/events/", &event_uid].concat(),
            event_uid,
            id: event.id,
            source: event.source,
            duplicate: event.duplicate,
        }
    });
    let events: Vec<_> = plan
        .into_iter()
        .filter_map(|place| match place {
            Some(bad) => Some(EventAnswer::Rejected(bad)),
            None => stored.next().map(EventAnswer::Stored),
        })
        .collect();
    let location = match events.as_slice() {
        [EventAnswer::Stored(one)] => HeaderValue::from_str(&one.url).ok(),
        _ => None,
    };
    let mut response = (
        StatusCode::ACCEPTED,
        json(&AcceptedAnswer {
            accepted: count,
            duplicates,
            rejected,
            events,
        }),
    )
        .into_response();
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Answers the CloudEvents web hook handshake.
///
/// A sender that asks with `WebHook-Request-Origin` gets `WebHook-Allowed-Origin` back if the server's settings allow
/// its origin. No consent is the absence of that header, whatever the status.
#[utoipa::path(options, path = "/v1/buses/{bus}/events", tag = "events", params(BusPath),
    responses((status = 204, description = "`Allow` lists the methods; consent is in `WebHook-Allowed-Origin`")))]
pub(crate) async fn event_options(
    State(state): State<Shared>,
    PathOf(path): PathOf<BusPath>,
    _: QueryOf<NoQuery>,
    headers: HeaderMap,
) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let out = response.headers_mut();
    out.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    if let Some(origin) = headers.get("webhook-request-origin")
        && origin
            .to_str()
            .is_ok_and(|origin| state.app.allows_origin(&path.bus, origin))
    {
        out.insert(
            HeaderName::from_static("webhook-allowed-origin"),
            origin.clone(),
        );
        out.insert(
            HeaderName::from_static("webhook-allowed-rate"),
            HeaderValue::from_static("*"),
        );
    }
    response
}
