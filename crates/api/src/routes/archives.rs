//! Archives.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use belfry_app::config::ArchiveView;
use belfry_app::cursor::Listing;
use belfry_app::schema::ArchiveSpec;

use super::{ArchivePath, BusPath, ChangeQuery, ConditionHeaders, NoQuery, PageQuery};
use crate::Shared;
use crate::answer::{changed, deleted, entity};
use crate::extract::{Caller, Conditions, JsonBody, PathOf, QueryOf};
use crate::problem::Problem;

/// Lists the archives of a bus by name.
#[utoipa::path(get, path = "/v1/buses/{bus}/archives", tag = "archives", params(BusPath, PageQuery), security(("key" = ["config:read"])),
    responses((status = 200, description = "One page", body = Listing<ArchiveView>)))]
pub(crate) async fn list_archives(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<BusPath>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<Listing<ArchiveView>>, Problem> {
    Ok(Json(
        state
            .app
            .list_archives(&caller.actor, &path.bus, &page.into())
            .await?,
    ))
}

/// Reads an archive, with how much is in it.
#[utoipa::path(get, path = "/v1/buses/{bus}/archives/{archive}", tag = "archives", params(ArchivePath), security(("key" = ["config:read"])),
    responses((status = 200, description = "The archive", body = ArchiveView)))]
pub(crate) async fn get_archive(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ArchivePath>,
    _: QueryOf<NoQuery>,
) -> Result<Response, Problem> {
    let archive = state
        .app
        .get_archive(&caller.actor, &path.bus, &path.archive)
        .await?;
    Ok(entity(&archive, archive.revision))
}

/// Makes or replaces an archive. What is in it stays.
///
/// From now on every event of the bus that matches is copied in the commit that accepts it; other nodes follow within about a
/// second. Events that a replay puts back are not copied again. The same request again changes nothing. What was read can be
/// written back.
#[utoipa::path(put, path = "/v1/buses/{bus}/archives/{archive}", tag = "archives", params(ArchivePath, ChangeQuery, ConditionHeaders),
    request_body = ArchiveSpec, security(("key" = ["config:write"])),
    responses((status = 200, description = "Replaced, or as it was", body = ArchiveView), (status = 201, description = "Made", body = ArchiveView)))]
pub(crate) async fn put_archive(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ArchivePath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let change = state
        .app
        .put_archive(&caller.actor, &path.bus, &path.archive, &body, &options)
        .await?;
    Ok(changed(
        &change,
        change.value.revision,
        options.dry_run,
        &location(&path),
    ))
}

/// Changes some members of an archive (JSON merge patch).
///
/// `pattern` is replaced whole; null takes it back.
#[utoipa::path(patch, path = "/v1/buses/{bus}/archives/{archive}", tag = "archives", params(ArchivePath, ChangeQuery, ConditionHeaders),
    request_body(content = Object, content_type = "application/merge-patch+json", description = "A merge patch (RFC 7396) of `ArchiveSpec`: what is left out stays, null takes back"), security(("key" = ["config:write"])),
    responses((status = 200, description = "Changed, or as it was", body = ArchiveView)))]
pub(crate) async fn patch_archive(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ArchivePath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let change = state
        .app
        .patch_archive(&caller.actor, &path.bus, &path.archive, &body, &options)
        .await?;
    Ok(changed(
        &change,
        change.value.revision,
        options.dry_run,
        &location(&path),
    ))
}

/// Deletes an archive with everything in it.
///
/// The copies are removed in the background.
#[utoipa::path(delete, path = "/v1/buses/{bus}/archives/{archive}", tag = "archives", params(ArchivePath, ChangeQuery, ConditionHeaders),
    security(("key" = ["config:write"])),
    responses((status = 204, description = "Deleted"), (status = 200, description = "Dry run: what would be deleted", body = ArchiveView)))]
pub(crate) async fn delete_archive(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ArchivePath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let options = conditions.options(query.dry_run);
    let archive = state
        .app
        .delete_archive(&caller.actor, &path.bus, &path.archive, &options)
        .await?;
    Ok(deleted(&archive, options.dry_run))
}

fn location(path: &ArchivePath) -> String {
    format!("/v1/buses/{}/archives/{}", path.bus, path.archive)
}
