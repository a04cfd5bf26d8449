//! Trying out patterns and rules.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use belfry_app::testing::{PatternTestView, RulesTestView};
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
