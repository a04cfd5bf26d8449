//! API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use belfry_app::cursor::Listing;
use belfry_app::keys::{CreatedKey, KeyView, NewKey, RotateKey};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{IdempotencyHeader, NoQuery, PageQuery};
use crate::Shared;
use crate::answer::answered;
use crate::extract::{Caller, Idempotent, JsonBody, OptionalJsonBody, PathOf, QueryOf};
use crate::problem::Problem;

/// The key in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct KeyPath {
    /// The key's id.
    #[param(example = "key_01jd0c4z8k3f9xq2")]
    id: String,
}

/// Lists keys by id, revoked ones included.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(PageQuery), security(("key" = ["admin"])),
    responses((status = 200, description = "One page", body = Listing<KeyView>)))]
pub(crate) async fn list_keys(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<Listing<KeyView>>, Problem> {
    Ok(Json(
        state.app.list_keys(&caller.actor, &page.into()).await?,
    ))
}

/// Makes a key. The answer is the only place where it can be read.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", params(IdempotencyHeader), request_body = NewKey, security(("key" = ["admin"])),
    responses((status = 201, description = "Made", body = CreatedKey)))]
pub(crate) async fn create_key(
    State(state): State<Shared>,
    caller: Caller,
    _: QueryOf<NoQuery>,
    idempotent: Idempotent,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let key = idempotent.key(&caller.actor, &body);
    let answer = state
        .app
        .create_key(&caller.actor, &body, key.as_ref())
        .await?;
    Ok(answered(StatusCode::CREATED, &answer))
}

/// Reads what is known about a key.
#[utoipa::path(get, path = "/v1/keys/{id}", tag = "keys", params(KeyPath), security(("key" = ["admin"])),
    responses((status = 200, description = "The key", body = KeyView)))]
pub(crate) async fn get_key(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<KeyPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<KeyView>, Problem> {
    Ok(Json(state.app.get_key(&caller.actor, &path.id).await?))
}

/// Revokes a key for good.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", params(KeyPath), security(("key" = ["admin"])),
    responses((status = 204, description = "Revoked")))]
pub(crate) async fn revoke_key(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<KeyPath>,
    _: QueryOf<NoQuery>,
) -> Result<Response, Problem> {
    state.app.revoke_key(&caller.actor, &path.id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Makes a new key with the name and rights of this one, which goes on working for a while (24 hours).
#[utoipa::path(post, path = "/v1/keys/{id}/rotate", tag = "keys", params(KeyPath, IdempotencyHeader), request_body = Option<RotateKey>,
    security(("key" = ["admin"])),
    responses((status = 201, description = "Made", body = CreatedKey)))]
pub(crate) async fn rotate_key(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<KeyPath>,
    _: QueryOf<NoQuery>,
    idempotent: Idempotent,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let key = idempotent.key(&caller.actor, &body);
    let answer = state
        .app
        .rotate_key(&caller.actor, &path.id, &body, key.as_ref())
        .await?;
    Ok(answered(StatusCode::CREATED, &answer))
}
