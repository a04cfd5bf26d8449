//! Trying out patterns, rules and targets.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use belfry_app::testing::{
    PatternTestView, RulesTestView, TargetPreviewView, TargetTestView, TransformTestView,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ingest::{CloudEvent, PlainEvent, event_problem, read_events, way_in};
use super::{BusPath, NoQuery};
use crate::Shared;
use crate::extract::{Caller, JsonBody, PathOf, QueryOf, read_body};
use crate::problem::Problem;

/// A pattern and an event to try it on.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only its shape is used; both members are read as text"
)]
pub(crate) struct PatternTestBody {
    /// The event pattern, taken exactly as it is written.
    #[schema(value_type = Object, examples(json!({"source": ["cvm"], "data": {"value": [{"numeric": [">", 90]}]}})))]
    pattern: Value,
    /// The event, taken exactly as it is written.
    #[schema(value_type = Object, examples(json!({"source": "cvm", "data": {"value": 97.5}})))]
    event: Value,
}

/// How to try rules out.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RulesTestQuery {
    /// How many rules are explained, those that match first; absent: 20.
    #[param(minimum = 0, maximum = 200)]
    explain: Option<u32>,
}

/// Matches an event against a pattern, and says why.
#[utoipa::path(post, path = "/v1/patterns:test", tag = "rules", request_body = PatternTestBody, security(("key" = ["config:read"])),
    responses((status = 200, description = "The verdict", body = PatternTestView)))]
pub(crate) async fn test_pattern(
    State(state): State<Shared>,
    caller: Caller,
    _: QueryOf<NoQuery>,
    JsonBody(body): JsonBody,
) -> Result<Json<PatternTestView>, Problem> {
    Ok(Json(state.app.test_pattern(&caller.actor, &body)?))
}

/// Matches an event against every rule of a bus, without posting it.
///
/// The event may come in any form in which it can be posted. Disabled rules are tried too, and marked.
#[utoipa::path(post, path = "/v1/buses/{bus}/rules:test", tag = "rules", params(BusPath, RulesTestQuery),
    request_body(description = "One event", content((CloudEvent = "application/cloudevents+json"), (PlainEvent = "application/json"))),
    security(("key" = ["config:read"])),
    responses((status = 200, description = "What each rule makes of it", body = RulesTestView)))]
pub(crate) async fn test_rules(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<BusPath>,
    QueryOf(query): QueryOf<RulesTestQuery>,
    request: Request,
) -> Result<Json<RulesTestView>, Problem> {
    let way = way_in(request.headers())?;
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .map(|value| value.as_bytes().to_vec());
    let body = read_body(request, state.settings.body_bytes_max, &state.settings).await?;
    let mut events = read_events(&state, &way, content_type.as_deref(), body, None)?;
    let (Some(event), true) = (events.pop(), events.is_empty()) else {
        return Err(Problem::at("", "expected exactly one event"));
    };
    let event = event.map_err(event_problem)?;
    Ok(Json(
        state
            .app
            .test_rules(&caller.actor, &path.bus, &event, query.explain)
            .await?,
    ))
}

/// A target to try out, and an event to try it with.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "only its shape is used; some members are read as text"
)]
pub(crate) struct TargetTrialBody {
    /// The bus of a stored target.
    #[schema(required = false)]
    bus: Option<String>,
    /// The rule of a stored target.
    #[schema(required = false)]
    rule: Option<String>,
    /// The name of a stored target.
    #[schema(required = false)]
    name: Option<String>,
    /// A target as it would be written; absent: the stored one. Masks in it stand for the secrets of the stored one.
    #[schema(value_type = Option<Object>, required = false, examples(json!({"type": "webhook", "settings": {"url": "https://example.com/hook"}})))]
    target: Option<Value>,
    /// An event in any form in which it can be posted as JSON. Absent, like `eventUid` and `template`: a sample alarm.
    #[schema(value_type = Option<Object>, required = false)]
    event: Option<Value>,
    /// A stored event.
    #[schema(required = false, examples("evt_01jd0c4z8k000"))]
    event_uid: Option<String>,
    /// An event of the catalog.
    #[schema(required = false, examples("cvm/disk-readonly"))]
    template: Option<String>,
}

/// Shows what a target would send for an event.
///
/// The requests are made exactly as for a delivery, bodies complete and secrets masked. Nothing is sent.
#[utoipa::path(post, path = "/v1/targets:preview", tag = "targets", request_body = TargetTrialBody, security(("key" = ["config:read"])),
    responses((status = 200, description = "What would be sent", body = TargetPreviewView)))]
pub(crate) async fn preview_target(
    State(state): State<Shared>,
    caller: Caller,
    _: QueryOf<NoQuery>,
    JsonBody(body): JsonBody,
) -> Result<Json<TargetPreviewView>, Problem> {
    Ok(Json(state.app.preview_target(&caller.actor, &body).await?))
}

/// Sends a test message to a target and shows the receiver's answer as it came.
///
/// The message is marked as a test. It is no delivery: nothing is recorded, tried again or counted against a limit.
#[utoipa::path(post, path = "/v1/targets:test", tag = "targets", request_body = TargetTrialBody, security(("key" = ["config:write"])),
    responses((status = 200, description = "How it went, whatever the receiver answered", body = TargetTestView)))]
pub(crate) async fn test_target(
    State(state): State<Shared>,
    caller: Caller,
    _: QueryOf<NoQuery>,
    JsonBody(body): JsonBody,
) -> Result<Json<TargetTestView>, Problem> {
    Ok(Json(state.app.test_target(&caller.actor, &body).await?))
}

/// A transform to try out, and an event to try it with.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "only its shape is used; some members are read as text"
)]
pub(crate) struct TransformTestBody {
    /// The transform, as a target would have it.
    #[schema(value_type = Object, examples(json!({"kind": "script", "source": "def dw_process(msg):\n    return msg.payload['subject']\n"})))]
    transform: Value,
    /// The target it is for, as it would be written: inserted values are escaped for its medium. Absent: they stay as they are.
    #[schema(value_type = Option<Object>, required = false, examples(json!({"type": "wecom", "settings": {"key": "693a91f6-7aaa-4bc4-97a0-0ec2sifa5aaa"}})))]
    target: Option<Value>,
    /// What the transform sees as the bus; `default` when absent.
    #[schema(required = false)]
    bus: Option<String>,
    /// What the transform sees as the rule; `trial` when absent.
    #[schema(required = false)]
    rule: Option<String>,
    /// What the transform sees as the target's name; `trial` when absent.
    #[schema(required = false)]
    name: Option<String>,
    /// An event in any form in which it can be posted as JSON. Absent, like `eventUid` and `template`: a sample alarm.
    #[schema(value_type = Option<Object>, required = false)]
    event: Option<Value>,
    /// A stored event.
    #[schema(required = false, examples("evt_01jd0c4z8k000"))]
    event_uid: Option<String>,
    /// An event of the catalog.
    #[schema(required = false, examples("cvm/disk-readonly"))]
    template: Option<String>,
}

/// Shows what a transform makes of an event.
///
/// It is evaluated exactly as for a delivery; nothing is sent. A transform that could not be saved is refused as it
/// would be then; one that fails on this event answers 200 with `error`.
#[utoipa::path(post, path = "/v1/transforms:test", tag = "targets", request_body = TransformTestBody, security(("key" = ["config:read"])),
    responses((status = 200, description = "What it makes of the event", body = TransformTestView)))]
pub(crate) async fn test_transform(
    State(state): State<Shared>,
    caller: Caller,
    _: QueryOf<NoQuery>,
    JsonBody(body): JsonBody,
) -> Result<Json<TransformTestView>, Problem> {
    Ok(Json(state.app.test_transform(&caller.actor, &body).await?))
}
