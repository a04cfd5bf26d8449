//! Searchable logs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use belfry_app::cursor::{Listing, PageRequest};
use belfry_app::history::{LogEntryView, LogFilter, LogSpec, LogView};
use belfry_model::LogName;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{ChangeQuery, PageQuery};
use crate::Shared;
use crate::extract::{Caller, JsonBody, PathOf, QueryOf};
use crate::problem::Problem;

/// The log in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct LogPath {
    /// The log's name.
    #[param(value_type = String, example = "audit")]
    log: LogName,
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EntriesQuery {
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
    /// With this text (case-sensitive).
    q: Option<String>,
    /// Rows of the page; absent: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// What the page before gave as `next`.
    cursor: Option<String>,
}

/// Lists logs by name.
#[utoipa::path(get, path = "/v1/logs", tag = "logs", params(PageQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "One page", body = Listing<LogView>)))]
pub(crate) async fn list_logs(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<Listing<LogView>>, Problem> {
    Ok(Json(
        state.app.list_logs(&caller.actor, &page.into()).await?,
    ))
}

/// Makes a log, or changes how long its entries are kept.
///
/// A log is also made by the first target that writes to it.
#[utoipa::path(put, path = "/v1/logs/{log}", tag = "logs", params(LogPath, ChangeQuery), request_body = LogSpec,
    security(("key" = ["config:write"])),
    responses((status = 200, description = "Changed, or as it was", body = LogView), (status = 201, description = "Made", body = LogView)))]
pub(crate) async fn put_log(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<LogPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let dry_run = query.dry_run.unwrap_or_default();
    let (log, created) = state
        .app
        .put_log(&caller.actor, &path.log, &body, dry_run)
        .await?;
    let status = if created && !dry_run {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(log)).into_response())
}

/// Lists the entries of a log, newest event first.
#[utoipa::path(get, path = "/v1/logs/{log}/entries", tag = "logs", params(LogPath, EntriesQuery), security(("key" = ["history:read"])),
    responses((status = 200, description = "One page", body = Listing<LogEntryView>)))]
pub(crate) async fn list_log_entries(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<LogPath>,
    QueryOf(query): QueryOf<EntriesQuery>,
) -> Result<Json<Listing<LogEntryView>>, Problem> {
    let page = PageRequest {
        limit: query.limit,
        cursor: query.cursor,
    };
    let filter = LogFilter {
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
            .list_log_entries(&caller.actor, &path.log, &filter, &page)
            .await?,
    ))
}
