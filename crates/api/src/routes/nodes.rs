//! The servers that share the database.

use axum::Json;
use axum::extract::State;
use belfry_app::cursor::Listing;
use belfry_app::nodes::NodeView;

use crate::Shared;
use crate::extract::Caller;
use crate::problem::Problem;

/// Lists the nodes: servers that share the database, and those that did.
#[utoipa::path(get, path = "/v1/nodes", tag = "server", security(("key" = ["config:read"])),
    responses((status = 200, description = "All of them, by number", body = Listing<NodeView>)))]
pub(crate) async fn list_nodes(
    State(state): State<Shared>,
    caller: Caller,
) -> Result<Json<Listing<NodeView>>, Problem> {
    Ok(Json(state.app.list_nodes(&caller.actor).await?))
}
