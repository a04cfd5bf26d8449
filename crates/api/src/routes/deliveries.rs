//! Deliveries in the history, and making them again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use belfry_app::cursor::{Listing, PageRequest};
use belfry_app::history::{DeliveryDetail, DeliveryFilter, DeliveryView, RetriedView, RetryMany};
use belfry_model::DeliveryId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{ChangeQuery, IdempotencyHeader, NoQuery};
use crate::Shared;
use crate::answer::answered;
use crate::extract::{Caller, Idempotent, JsonBody, OptionalJsonBody, PathOf, QueryOf};
use crate::problem::Problem;

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// Of rules of this bus.
    bus: Option<String>,
    /// Of this rule.
    rule: Option<String>,
    /// Of targets of this name.
    target: Option<String>,
    /// In one of these states, separated by commas: `queued`, `delivered`, `retrying`, `dead`, `expired`, `skipped`.
    #[param(example = "dead,expired")]
    status: Option<String>,
    /// With this reason.
    #[param(example = "http_5xx")]
    reason: Option<String>,
    /// Of events accepted at or after this time (RFC 3339, or back from now such as `-1h`).
    #[param(example = "-1h")]
    since: Option<String>,
    /// Of events accepted before this time.
    until: Option<String>,
    /// Of events of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Of events with this source.
    source: Option<String>,
    /// Of events with this subject.
    subject: Option<String>,
    /// Of events whose document, or with a detail that, holds this text (case-sensitive).
    q: Option<String>,
    /// Rows of the page; absent: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// What the page before gave as `next`.
    cursor: Option<String>,
}

/// The delivery in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct DeliveryPath {
    /// The delivery's id.
    #[param(value_type = String, example = "dlv_01jd0c4z8k0000000001")]
    id: DeliveryId,
}

/// Lists deliveries, newest event first.
///
/// A search looks at a bounded number of deliveries; when it stops early, the answer says `partial` and `next` goes on.
#[utoipa::path(get, path = "/v1/deliveries", tag = "deliveries", params(DeliveriesQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "One page", body = Listing<DeliveryView>)))]
pub(crate) async fn list_deliveries(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<DeliveriesQuery>,
) -> Result<Json<Listing<DeliveryView>>, Problem> {
    let page = PageRequest {
        limit: query.limit,
        cursor: query.cursor,
    };
    let filter = DeliveryFilter {
        bus: query.bus,
        rule: query.rule,
        target: query.target,
        status: query.status,
        reason: query.reason,
        since: query.since,
        until: query.until,
        kind: query.kind,
        source: query.source,
        subject: query.subject,
        q: query.q,
    };
    Ok(Json(
        state
            .app
            .list_deliveries(&caller.actor, &filter, &page)
            .await?,
    ))
}

/// Reads a delivery with its attempts: what was sent and what was answered.
#[utoipa::path(get, path = "/v1/deliveries/{id}", tag = "deliveries", params(DeliveryPath), security(("key" = ["history:read"])),
    responses((status = 200, description = "The delivery", body = DeliveryDetail)))]
pub(crate) async fn get_delivery(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<DeliveryPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<DeliveryDetail>, Problem> {
    Ok(Json(state.app.get_delivery(&caller.actor, path.id).await?))
}

/// Makes a delivery again that has ended.
#[utoipa::path(post, path = "/v1/deliveries/{id}/retry", tag = "deliveries", params(DeliveryPath, IdempotencyHeader),
    security(("key" = ["admin"])),
    responses((status = 202, description = "Waiting to be made", body = DeliveryView)))]
pub(crate) async fn retry_delivery(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<DeliveryPath>,
    _: QueryOf<NoQuery>,
    idempotent: Idempotent,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let key = idempotent.key(&caller.actor, &body);
    let answer = state
        .app
        .retry_delivery(&caller.actor, path.id, &body, key.as_ref())
        .await?;
    Ok(answered(StatusCode::ACCEPTED, &answer))
}

/// Makes many deliveries again that have ended: those of a filter, or a list of them.
///
/// At most 10,000 in one request; `next` goes on. With `dryRun=true` they are only counted.
#[utoipa::path(post, path = "/v1/deliveries:retry", tag = "deliveries", params(ChangeQuery, IdempotencyHeader),
    request_body = RetryMany, security(("key" = ["admin"])),
    responses((status = 202, description = "Waiting to be made", body = RetriedView), (status = 200, description = "Dry run: how many", body = RetriedView)))]
pub(crate) async fn retry_deliveries(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<ChangeQuery>,
    idempotent: Idempotent,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let key = idempotent.key(&caller.actor, &body);
    let dry_run = query.dry_run.unwrap_or_default();
    let answer = state
        .app
        .retry_deliveries(&caller.actor, &body, dry_run, key.as_ref())
        .await?;
    Ok(answered(
        if dry_run {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        },
        &answer,
    ))
}
