//! Replays: stored events put onto their bus again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use belfry_app::cursor::Listing;
use belfry_app::replays::{ReplayCountView, ReplayView, StartReplay};
use belfry_model::ReplayId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{ChangeQuery, IdempotencyHeader, NoQuery, PageQuery};
use crate::Shared;
use crate::answer::answered;
use crate::extract::{Caller, Idempotent, JsonBody, PathOf, QueryOf};
use crate::problem::Problem;

/// The replay in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ReplayPath {
    /// The replay's id.
    #[param(value_type = String, example = "rpl_0000001")]
    id: ReplayId,
}

/// Lists replays, newest first.
#[utoipa::path(get, path = "/v1/replays", tag = "replays", params(PageQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "One page", body = Listing<ReplayView>)))]
pub(crate) async fn list_replays(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<Listing<ReplayView>>, Problem> {
    let app = &state.app;
    Ok(Json(app.list_replays(&caller.actor, &query.into()).await?))
}

/// Starts a replay: stored events are put onto their bus again, as new events that name the replay and what they repeat.
///
/// With `dryRun=true` the events are only counted; when there are very many, `exact` is false and `count` a lower bound.
/// Receivers see the header `belfry-replay`.
#[utoipa::path(post, path = "/v1/replays", tag = "replays", params(ChangeQuery, IdempotencyHeader), request_body = StartReplay,
    security(("key" = ["admin"])),
    responses((status = 202, description = "Started", body = ReplayView), (status = 200, description = "Dry run: how many", body = ReplayCountView)))]
pub(crate) async fn start_replay(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<ChangeQuery>,
    idempotent: Idempotent,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let app = &state.app;
    if query.dry_run.unwrap_or_default() {
        let counted = app.count_replay(&caller.actor, &body).await?;
        return Ok(Json(counted).into_response());
    }
    let key = idempotent.key(&caller.actor, &body);
    let started = app.start_replay(&caller.actor, &body, key.as_ref()).await?;
    Ok(answered(StatusCode::ACCEPTED, &started))
}

/// Reads a replay: where it stands.
#[utoipa::path(get, path = "/v1/replays/{id}", tag = "replays", params(ReplayPath), security(("key" = ["history:read"])),
    responses((status = 200, description = "The replay", body = ReplayView)))]
pub(crate) async fn get_replay(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ReplayPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<ReplayView>, Problem> {
    Ok(Json(state.app.get_replay(&caller.actor, path.id).await?))
}

/// Makes a running replay wait.
#[utoipa::path(post, path = "/v1/replays/{id}/pause", tag = "replays", params(ReplayPath), security(("key" = ["admin"])),
    responses((status = 200, description = "It waits", body = ReplayView)))]
pub(crate) async fn pause_replay(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ReplayPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<ReplayView>, Problem> {
    Ok(Json(state.app.pause_replay(&caller.actor, path.id).await?))
}

/// Lets a paused replay go on where it stands.
#[utoipa::path(post, path = "/v1/replays/{id}/resume", tag = "replays", params(ReplayPath), security(("key" = ["admin"])),
    responses((status = 200, description = "It runs", body = ReplayView)))]
pub(crate) async fn resume_replay(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ReplayPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<ReplayView>, Problem> {
    Ok(Json(state.app.resume_replay(&caller.actor, path.id).await?))
}

/// Ends a replay for good. What it has put back stays, and is delivered.
#[utoipa::path(post, path = "/v1/replays/{id}/cancel", tag = "replays", params(ReplayPath), security(("key" = ["admin"])),
    responses((status = 200, description = "It is ended", body = ReplayView)))]
pub(crate) async fn cancel_replay(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ReplayPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<ReplayView>, Problem> {
    Ok(Json(state.app.cancel_replay(&caller.actor, path.id).await?))
}
