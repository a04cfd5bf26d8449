//! The catalog of known products and events, and simulated events.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use belfry_app::catalog::{EntryView, ProductView, Simulate, SimulatedView, Whole};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{BusPath, ChangeQuery, NoQuery};
use crate::Shared;
use crate::extract::{Caller, JsonBody, PathOf, QueryOf};
use crate::problem::Problem;
use crate::surround::RequestContext;

/// Which products.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProductsQuery {
    /// Of this vendor; absent: of all.
    #[param(example = "tencent")]
    vendor: Option<String>,
}

/// The product in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ProductPath {
    /// The product's code.
    #[param(example = "cvm")]
    product: String,
}

/// The event of the catalog in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct EntryPath {
    /// The product's code.
    #[param(example = "cvm")]
    product: String,
    /// The event's short name.
    #[param(example = "ping-unreachable")]
    slug: String,
}

/// Lists products of cloud vendors whose events are known.
#[utoipa::path(get, path = "/v1/catalog/products", tag = "catalog", params(ProductsQuery), security(("key" = ["config:read"])),
    responses((status = 200, description = "All of them", body = Whole<ProductView>)))]
pub(crate) async fn list_products(
    State(state): State<Shared>,
    caller: Caller,
    QueryOf(query): QueryOf<ProductsQuery>,
) -> Result<Json<Whole<ProductView>>, Problem> {
    let vendor = query.vendor.as_deref();
    Ok(Json(state.app.list_products(&caller.actor, vendor)?))
}

/// Lists the events of a product.
#[utoipa::path(get, path = "/v1/catalog/products/{product}/events", tag = "catalog", params(ProductPath), security(("key" = ["config:read"])),
    responses((status = 200, description = "All of them", body = Whole<EntryView>)))]
pub(crate) async fn list_product_events(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<ProductPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<Whole<EntryView>>, Problem> {
    let found = state
        .app
        .list_product_events(&caller.actor, &path.product)?;
    Ok(Json(found))
}

/// Reads an event of the catalog, with a pattern for a rule and a sample.
#[utoipa::path(get, path = "/v1/catalog/events/{product}/{slug}", tag = "catalog", params(EntryPath), security(("key" = ["config:read"])),
    responses((status = 200, description = "The event", body = EntryView)))]
pub(crate) async fn get_catalog_event(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<EntryPath>,
    _: QueryOf<NoQuery>,
) -> Result<Json<EntryView>, Problem> {
    let template = format!("{}/{}", path.product, path.slug);
    Ok(Json(state.app.get_catalog_event(&caller.actor, &template)?))
}

/// Posts a simulated event of the catalog.
///
/// Payload, resource and status can be chosen; the rest is as the vendor sends it. The event is an ordinary one: rules match
/// it and targets are told. With `dryRun` it is only shown.
#[utoipa::path(post, path = "/v1/buses/{bus}/events:simulate", tag = "catalog", params(BusPath, ChangeQuery), request_body = Simulate,
    security(("key" = ["events:write"])),
    responses((status = 202, description = "Durable", body = SimulatedView), (status = 200, description = "Dry run: the event", body = SimulatedView)))]
pub(crate) async fn simulate_event(
    State(state): State<Shared>,
    caller: Caller,
    PathOf(path): PathOf<BusPath>,
    QueryOf(query): QueryOf<ChangeQuery>,
    Extension(context): Extension<RequestContext>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let dry_run = query.dry_run.unwrap_or_default();
    let (limits, trace_id) = (&state.settings.events, context.trace_id.to_string());
    let simulated = state
        .app
        .simulate_event(&caller.actor, &path.bus, &body, limits, trace_id, dry_run)
        .await?;
    let status = if dry_run {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok((status, Json(simulated)).into_response())
}
