//! Buses.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use belfry_app::config::{BusView, ChangeOptions};
use belfry_app::cursor::Listing;
use belfry_app::schema::BusSpec;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{BusPath, ChangeQuery, ConditionHeaders, NoQuery, PageQuery};
use crate::Shared;
use crate::answer::{changed, deleted, entity};
use crate::extract::{Caller, Conditions, JsonBody, PathOf, QueryOf};
use crate::problem::Problem;

/// How to delete a bus.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// `true` checks everything and answers what would be deleted, but deletes nothing.
    dry_run: Option<bool>,
    /// `true` deletes the bus with its rules, targets and archives.
    cascade: Option<bool>,
}

/// Lists buses by name.
#[utoipa::path(get, path = "/v1/buses", tag = "buses", params(PageQuery), security(("key" = ["config:read"])),
    responses((status = 200, description = "One page", body = Listing<BusView>)))]
pub(crate) async fn list_buses(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<Listing<BusView>>, Problem> {
    Ok(Json(
        state.app.list_buses(&caller.actor, &page.into()).await?,
    ))
}

/// Reads a bus, with how much is stored of it.
#[utoipa::path(get, path = "/v1/buses/{bus}", tag = "buses", params(BusPath), security(("key" = ["config:read"])),
    responses((status = 200, description = "The bus", body = BusView)))]
pub(crate) async fn get_bus(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<BusPath>,
    _: QueryOf<NoQuery>,
) -> Result<Response, Problem> {
    let bus = state.app.get_bus(&caller.actor, &path.bus).await?;
    Ok(entity(&bus, bus.revision))
}

/// Makes or replaces a bus.
///
/// The same request again changes nothing.
#[utoipa::path(put, path = "/v1/buses/{bus}", tag = "buses", params(BusPath, ChangeQuery, ConditionHeaders),
    request_body = BusSpec, security(("key" = ["config:write"])),
    responses((status = 200, description = "Replaced, or as it was", body = BusView), (status = 201, description = "Made", body = BusView)))]
pub(crate) async fn put_bus(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<BusPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let change = state
        .app
        .put_bus(&caller.actor, &path.bus, &body, &options)
        .await?;
    Ok(changed(
        &change,
        change.value.revision,
        options.dry_run,
        &format!("/v1/buses/{}", path.bus),
    ))
}

/// Changes some members of a bus (JSON merge patch).
#[utoipa::path(patch, path = "/v1/buses/{bus}", tag = "buses", params(BusPath, ChangeQuery, ConditionHeaders),
    request_body(content = Object, content_type = "application/merge-patch+json", description = "A merge patch (RFC 7396) of `BusSpec`: what is left out stays, null takes back"), security(("key" = ["config:write"])),
    responses((status = 200, description = "Changed, or as it was", body = BusView)))]
pub(crate) async fn patch_bus(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<BusPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let change = state
        .app
        .patch_bus(&caller.actor, &path.bus, &body, &options)
        .await?;
    Ok(changed(
        &change,
        change.value.revision,
        options.dry_run,
        &format!("/v1/buses/{}", path.bus),
    ))
}

/// Deletes a bus.
///
/// One with rules or archives only with `cascade=true`. Events and their history stay as long as they are kept.
#[utoipa::path(delete, path = "/v1/buses/{bus}", tag = "buses", params(BusPath, DeleteQuery, ConditionHeaders),
    security(("key" = ["config:write"])),
    responses((status = 204, description = "Deleted"), (status = 200, description = "Dry run: what would be deleted", body = BusView)))]
pub(crate) async fn delete_bus(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<BusPath>,
    QueryOf(query): QueryOf<DeleteQuery>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let options = ChangeOptions {
        cascade: query.cascade.unwrap_or_default(),
        ..conditions.options(query.dry_run)
    };
    let bus = state
        .app
        .delete_bus(&caller.actor, &path.bus, &options)
        .await?;
    Ok(deleted(&bus, options.dry_run))
}
