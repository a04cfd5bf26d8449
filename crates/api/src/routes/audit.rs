//! The audit log.

use axum::Json;
use axum::extract::State;
use belfry_app::audit::AuditView;
use belfry_app::cursor::{Listing, PageRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::Shared;
use crate::extract::{Caller, QueryOf};
use crate::problem::Problem;

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Of resources whose name starts so.
    #[param(example = "buses/default/rules/")]
    resource: Option<String>,
    /// Rows of the page; absent: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// What the page before gave as `next`.
    cursor: Option<String>,
}

/// Lists who changed what, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "server", params(AuditQuery), security(("key" = ["admin"])),
    responses((status = 200, description = "One page", body = Listing<AuditView>)))]
pub(crate) async fn list_audit(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<AuditQuery>,
) -> Result<Json<Listing<AuditView>>, Problem> {
    let page = PageRequest {
        limit: query.limit,
        cursor: query.cursor,
    };
    Ok(Json(
        state
            .app
            .list_audit(&caller.actor, query.resource.as_deref(), &page)
            .await?,
    ))
}
