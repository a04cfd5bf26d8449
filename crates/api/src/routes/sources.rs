//! What alarm senders post: to a source by its name, or by its secret URL.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, FromRequestParts as _, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use belfry_app::cursor::Listing;
use belfry_app::sources::{
    AcceptedView, Admission, FoundSource, Incoming, RotateSource, RotatedView, SourceAnswer,
    UnparsedView,
};
use belfry_model::{BusName, DocumentName};
use metrics::{counter, histogram};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::{NoQuery, PageQuery};
use crate::extract::{Caller, OptionalJsonBody, PathOf, QueryOf, read_body};
use crate::problem::Problem;
use crate::surround::RequestContext;
use crate::{ApiState, Shared};

const REQUESTS: &str = "belfry_source_requests_total";
const DURATION: &str = "belfry_source_duration_seconds";

/// The source in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SourcePath {
    /// The bus's name.
    #[param(value_type = String, example = "default")]
    bus: BusName,
    /// The source's name.
    #[param(value_type = String, example = "alertmanager")]
    name: DocumentName,
}

/// The token in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TokenPath {
    /// What the server made for the source.
    token: String,
}

/// What senders may say in the query. Senders add parameters of their own, which mean nothing here.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "only its shape is used; the source reads the query"
)]
pub(crate) struct FormatQuery {
    /// The format, where the source leaves it open; absent: it is found.
    #[param(example = "grafana")]
    format: Option<String>,
}

/// Takes what an alarm sender posts.
///
/// The source's `auth` says who may send: with an API key, with user name and password, with a header of its own, or signed as
/// the vendor signs. 200 means that the events are on disk. A body that cannot be read is refused with 400 and kept for
/// the operator.
#[utoipa::path(post, path = "/v1/buses/{bus}/sources/{name}", tag = "sources", params(SourcePath, FormatQuery),
    request_body(content = Object, content_type = "application/json", description = "The request of the sender, in any of the formats; forms and plain text are taken too"),
    security(("key" = ["events:write"])),
    responses((status = 200, description = "Durable, or answered as the sender expects", body = AcceptedView)))]
pub(crate) async fn post_to_source(
    State(state): State<Shared>,
    PathOf(path): PathOf<SourcePath>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let Some(found) = state.app.find_source(&path.bus, &path.name) else {
        // Whether there is such a source is told only to those who may post to the bus.
        let caller = Caller::from_request_parts(&mut parts, &state).await?;
        state.app.may_post(&caller.actor, &path.bus)?;
        let detail = format!("there is no source {} on bus {}", path.name, path.bus);
        return Err(Problem::new("NOT_FOUND", detail));
    };
    let meter = Meter::start(&found);
    let answer = admit(&state, &found, &mut parts, &path.bus).await;
    let (answer, format) = match answer {
        Ok(()) => take(&state, &found, parts, body, &context).await,
        Err(problem) => (Err(problem), None),
    };
    meter.end(format, &answer);
    answer
}

/// Refuses whoever may not send.
async fn admit(
    state: &Shared,
    found: &FoundSource,
    parts: &mut Parts,
    bus: &BusName,
) -> Result<(), Problem> {
    let refused = |detail: &str| Problem::new("UNAUTHENTICATED", detail);
    match state.app.admission(found, &incoming(state, parts)) {
        Admission::Given => Ok(()),
        Admission::WithKey => {
            let caller = Caller::from_request_parts(parts, state).await?;
            state.app.may_post(&caller.actor, bus)?;
            Ok(())
        }
        Admission::WithBasic => {
            let problem = refused("send the user name and password of this source (Basic)");
            let challenge = HeaderValue::from_static("Basic realm=\"belfry\"");
            Err(problem.with_header(WWW_AUTHENTICATE, challenge))
        }
        Admission::WithHeader => Err(refused("send the header that this source asks for")),
    }
}

/// Takes what an alarm sender posts to a source's secret URL.
///
/// For senders that cannot set headers. The URL is shown once, when the source is made with `auth` `{"type": "secretUrl"}`, and
/// can be rotated.
#[utoipa::path(post, path = "/in/{token}", tag = "sources", params(TokenPath, FormatQuery),
    request_body(content = Object, content_type = "application/json", description = "The request of the sender, in any of the formats; forms and plain text are taken too"),
    responses((status = 200, description = "Durable, or answered as the sender expects", body = AcceptedView)))]
pub(crate) async fn post_to_url(
    State(state): State<Shared>,
    PathOf(path): PathOf<TokenPath>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Result<Response, Problem> {
    let found = by_token(&state, &path)?;
    let (parts, body) = request.into_parts();
    let meter = Meter::start(&found);
    let (answer, format) = take(&state, &found, parts, body, &context).await;
    meter.end(format, &answer);
    answer
}

/// Tells a sender that looks before it sends that the URL works.
#[utoipa::path(get, path = "/in/{token}", tag = "sources", params(TokenPath),
    responses((status = 200, description = "It works; events are posted", body = Object)))]
pub(crate) async fn probe_url(
    State(state): State<Shared>,
    PathOf(path): PathOf<TokenPath>,
) -> Result<Json<Value>, Problem> {
    by_token(&state, &path)?;
    Ok(Json(json!({ "ready": true })))
}

/// Answers senders that ask for the methods, and the CloudEvents web hook handshake: whoever knows the URL may send.
#[utoipa::path(options, path = "/in/{token}", tag = "sources", params(TokenPath),
    responses((status = 204, description = "`Allow` lists the methods; consent is in `WebHook-Allowed-Origin`")))]
pub(crate) async fn url_options(
    State(state): State<Shared>,
    PathOf(path): PathOf<TokenPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    by_token(&state, &path)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let out = response.headers_mut();
    out.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS, POST"));
    if let Some(origin) = headers.get("webhook-request-origin") {
        out.insert(
            HeaderName::from_static("webhook-allowed-origin"),
            origin.clone(),
        );
        out.insert(
            HeaderName::from_static("webhook-allowed-rate"),
            HeaderValue::from_static("*"),
        );
    }
    Ok(response)
}

fn by_token(state: &ApiState, path: &TokenPath) -> Result<FoundSource, Problem> {
    state
        .app
        .find_source_by_token(&path.token)
        .ok_or_else(|| Problem::new("NOT_FOUND", "there is no source at this address (any more)"))
}

/// Reads the body and hands the request over; also tells the format.
async fn take(
    state: &ApiState,
    found: &FoundSource,
    parts: Parts,
    body: Body,
    context: &RequestContext,
) -> (Result<Response, Problem>, Option<&'static str>) {
    let mut incoming = incoming(state, &parts);
    let request = Request::from_parts(parts, body);
    match read_body(request, state.settings.ingest_bytes_max, &state.settings).await {
        Ok(body) => incoming.body = body,
        Err(problem) => return (Err(problem), None),
    }
    let (limits, trace_id) = (&state.settings.events, context.trace_id.to_string());
    let receipt = state
        .app
        .post_to_source(found, &incoming, limits, trace_id)
        .await;
    let answer = match receipt.answer {
        Ok(SourceAnswer::Accepted(accepted)) => Ok(Json(accepted).into_response()),
        Ok(SourceAnswer::Answered(answer)) => Ok(Json(answer).into_response()),
        Err(error) => Err(Problem::from(error)),
    };
    (answer, receipt.format)
}

/// A request without its body.
fn incoming(state: &ApiState, parts: &Parts) -> Incoming {
    let text = |value: &HeaderValue| {
        std::str::from_utf8(value.as_bytes())
            .ok()
            .map(str::to_owned)
    };
    Incoming {
        headers: parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)))
            .collect(),
        content_type: parts.headers.get(CONTENT_TYPE).and_then(text),
        query: parts.uri.query().map(str::to_owned),
        received_at_ms: state.app.now_ms(),
        ..Incoming::default()
    }
}

/// Lists what a source could not read, newest first.
///
/// The newest hundred of each source are kept, with the first 64 KiB of their bodies.
#[utoipa::path(get, path = "/v1/buses/{bus}/sources/{name}/unparsed", tag = "sources", params(SourcePath, PageQuery),
    security(("key" = ["history:read"])),
    responses((status = 200, description = "One page", body = Listing<UnparsedView>)))]
pub(crate) async fn list_unparsed(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<SourcePath>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<Listing<UnparsedView>>, Problem> {
    let found = state
        .app
        .list_unparsed(&caller.actor, &path.bus, &path.name, &page.into())
        .await?;
    Ok(Json(found))
}

/// Gives a source a new secret URL; the old ones go on working for a while (24 hours).
#[utoipa::path(post, path = "/v1/buses/{bus}/sources/{name}/rotate", tag = "sources", params(SourcePath),
    request_body = Option<RotateSource>, security(("key" = ["config:write"])),
    responses((status = 201, description = "Made", body = RotatedView)))]
pub(crate) async fn rotate_source(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<SourcePath>,
    _: QueryOf<NoQuery>,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let rotated = state
        .app
        .rotate_source(&caller.actor, &path.bus, &path.name, &body)
        .await?;
    Ok((StatusCode::CREATED, Json(rotated)).into_response())
}

/// One request under way. Its labels are bounded: sources that exist, formats that are known.
struct Meter {
    bus: String,
    source: String,
    started: Instant,
}

impl Meter {
    fn start(found: &FoundSource) -> Self {
        Self {
            bus: found.bus.to_string(),
            source: found.name.to_string(),
            started: Instant::now(),
        }
    }

    fn end(self, format: Option<&'static str>, answer: &Result<Response, Problem>) {
        let status = match answer {
            Ok(response) => response.status(),
            Err(problem) => problem.status(),
        };
        let outcome = match status {
            status if status.is_success() => "accepted",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "unauthorized",
            StatusCode::TOO_MANY_REQUESTS => "busy",
            status if status.is_server_error() => "failed",
            _ => "rejected",
        };
        histogram!(DURATION).record(self.started.elapsed().as_secs_f64());
        let format = format.unwrap_or("none");
        counter!(REQUESTS, "bus" => self.bus, "source" => self.source, "format" => format, "outcome" => outcome)
            .increment(1);
    }
}
