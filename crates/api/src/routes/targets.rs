//! Targets and their kinds.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use belfry_app::config::{TargetKindView, TargetStatus, TargetView};
use belfry_app::cursor::Listing;
use belfry_app::schema::TargetSpec;

use super::{ChangeQuery, ConditionHeaders, NoQuery, PageQuery, RulePath, TargetPath};
use crate::Shared;
use crate::answer::{changed, deleted, entity};
use crate::extract::{Caller, Conditions, JsonBody, PathOf, QueryOf};
use crate::problem::Problem;

/// Lists the targets of a rule by name.
#[utoipa::path(get, path = "/v1/buses/{bus}/rules/{rule}/targets", tag = "targets", params(RulePath, PageQuery),
    security(("key" = ["config:read"])),
    responses((status = 200, description = "One page", body = Listing<TargetView>)))]
pub(crate) async fn list_targets(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<RulePath>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<Listing<TargetView>>, Problem> {
    Ok(Json(
        state
            .app
            .list_targets(&caller.actor, &path.bus, &path.rule, &page.into())
            .await?,
    ))
}

/// Reads a target, its secrets masked.
#[utoipa::path(get, path = "/v1/buses/{bus}/rules/{rule}/targets/{target}", tag = "targets", params(TargetPath),
    security(("key" = ["config:read"])),
    responses((status = 200, description = "The target", body = TargetView)))]
pub(crate) async fn get_target(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<TargetPath>,
    _: QueryOf<NoQuery>,
) -> Result<Response, Problem> {
    let target = state
        .app
        .get_target(&caller.actor, &path.bus, &path.rule, &path.target)
        .await?;
    Ok(entity(&target, target.revision))
}

/// Makes or replaces a target.
///
/// `********` in the place of a secret keeps the stored one. Secrets that the server makes are shown once, in
/// `generatedSecrets`. A receiver that must agree first is asked now. The same request again changes nothing.
#[utoipa::path(put, path = "/v1/buses/{bus}/rules/{rule}/targets/{target}", tag = "targets",
    params(TargetPath, ChangeQuery, ConditionHeaders), request_body = TargetSpec, security(("key" = ["config:write"])),
    responses((status = 200, description = "Replaced, or as it was", body = TargetView), (status = 201, description = "Made", body = TargetView)))]
pub(crate) async fn put_target(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<TargetPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let change = state
        .app
        .put_target(
            &caller.actor,
            &path.bus,
            &path.rule,
            &path.target,
            &body,
            &options,
        )
        .await?;
    Ok(changed(
        &change,
        change.value.revision,
        options.dry_run,
        &location(&path),
    ))
}

/// Changes some members of a target (JSON merge patch).
///
/// `transform` is replaced whole. `{"enabled": true}` also takes back that Belfry itself disabled the target.
#[utoipa::path(patch, path = "/v1/buses/{bus}/rules/{rule}/targets/{target}", tag = "targets",
    params(TargetPath, ChangeQuery, ConditionHeaders),
    request_body(content = Object, content_type = "application/merge-patch+json", description = "A merge patch (RFC 7396) of `TargetSpec`: what is left out stays, null takes back"), security(("key" = ["config:write"])),
    responses((status = 200, description = "Changed, or as it was", body = TargetView)))]
pub(crate) async fn patch_target(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<TargetPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let change = state
        .app
        .patch_target(
            &caller.actor,
            &path.bus,
            &path.rule,
            &path.target,
            &body,
            &options,
        )
        .await?;
    Ok(changed(
        &change,
        change.value.revision,
        options.dry_run,
        &location(&path),
    ))
}

/// Deletes a target.
///
/// Deliveries that wait for it end as skipped. Its history stays as long as it is kept.
#[utoipa::path(delete, path = "/v1/buses/{bus}/rules/{rule}/targets/{target}", tag = "targets",
    params(TargetPath, ChangeQuery, ConditionHeaders), security(("key" = ["config:write"])),
    responses((status = 204, description = "Deleted"), (status = 200, description = "Dry run: what would be deleted", body = TargetView)))]
pub(crate) async fn delete_target(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<TargetPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let target = state
        .app
        .delete_target(&caller.actor, &path.bus, &path.rule, &path.target, &options)
        .await?;
    Ok(deleted(&target, options.dry_run))
}

/// Says how a target is doing at this moment.
#[utoipa::path(get, path = "/v1/buses/{bus}/rules/{rule}/targets/{target}/status", tag = "targets", params(TargetPath),
    security(("key" = ["config:read"])),
    responses((status = 200, description = "Its circuit and its queue", body = TargetStatus)))]
pub(crate) async fn target_status(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<TargetPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<TargetStatus>, Problem> {
    Ok(Json(
        state
            .app
            .target_status(&caller.actor, &path.bus, &path.rule, &path.target)
            .await?,
    ))
}

/// Lists the kinds of targets with the schemas of their settings.
#[utoipa::path(get, path = "/v1/target-kinds", tag = "targets", security(("key" = ["config:read"])),
    responses((status = 200, description = "All kinds", body = Vec<TargetKindView>)))]
pub(crate) async fn list_target_kinds(
    State(state): State<Shared>,
    caller: Caller,
    _: QueryOf<NoQuery>,
) -> Result<Json<Vec<TargetKindView>>, Problem> {
    Ok(Json(state.app.list_target_kinds(&caller.actor)?))
}

fn location(path: &TargetPath) -> String {
    format!(
        "/v1/buses/{}/rules/{}/targets/{}",
        path.bus, path.rule, path.target
    )
}
