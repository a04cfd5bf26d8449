//! The server itself: its health, its documentation.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use belfry_app::status::{Readiness, StatusView};
use serde::Deserialize;
use utoipa::IntoParams;

use super::NoQuery;
use crate::Shared;
use crate::extract::{Caller, PathOf, QueryOf};
use crate::pages::{Page, problem_page};
use crate::problem::{Problem, TYPES};

/// The type of problem in a path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ProblemPath {
    /// The last part of a problem document's `type`.
    #[param(example = "invalid-request")]
    name: String,
}

/// Says how the server is doing.
#[utoipa::path(get, path = "/v1/status", tag = "server", security(("key" = ["config:read"])),
    responses((status = 200, description = "The status", body = StatusView)))]
pub(crate) async fn status(
    State(state): State<Shared>,
    caller: Caller,
    _: QueryOf<NoQuery>,
) -> Result<Json<StatusView>, Problem> {
    Ok(Json(state.app.status(&caller.actor).await?))
}

/// Says that the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "server",
    responses((status = 200, description = "Alive", content_type = "text/plain", body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Says whether the server can take events, and if not, why.
#[utoipa::path(get, path = "/readyz", tag = "server",
    responses((status = 200, description = "Ready", body = Readiness), (status = 503, description = "Not ready", body = Readiness)))]
pub(crate) async fn readyz(State(state): State<Shared>) -> (StatusCode, Json<Readiness>) {
    let mut readiness = state.app.readiness().await;
    if state.settings.shutdown.is_cancelled() {
        readiness.ready = false;
        readiness
            .problems
            .push("the server is shutting down".to_owned());
    }
    (
        if readiness.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        Json(readiness),
    )
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "server",
    responses((status = 200, description = "The API document", content_type = "application/json", body = Object)))]
pub(crate) async fn openapi_json(State(state): State<Shared>) -> Response {
    (
        [(CONTENT_TYPE, "application/json")],
        state.pages.openapi.clone(),
    )
        .into_response()
}

/// The documentation for people.
#[utoipa::path(get, path = "/docs", tag = "server",
    responses((status = 200, description = "The page", content_type = "text/html", body = String)))]
pub(crate) async fn docs(State(state): State<Shared>) -> Page {
    Page(Arc::clone(&state.pages.docs))
}

/// The welcome page.
#[utoipa::path(get, path = "/", tag = "server",
    responses((status = 200, description = "The page", content_type = "text/html", body = String)))]
pub(crate) async fn welcome(State(state): State<Shared>) -> Page {
    Page(Arc::clone(&state.pages.welcome))
}

/// The style of the pages.
#[utoipa::path(get, path = "/docs/style.css", tag = "server",
    responses((status = 200, description = "The style sheet", content_type = "text/css", body = String)))]
pub(crate) async fn style() -> Response {
    (
        [(CONTENT_TYPE, "text/css; charset=utf-8")],
        crate::pages::STYLE,
    )
        .into_response()
}

/// Explains a type of problem.
#[utoipa::path(get, path = "/problems/{name}", tag = "server", params(ProblemPath),
    responses((status = 200, description = "The page", content_type = "text/html", body = String)))]
pub(crate) async fn problem(PathOf(path): PathOf<ProblemPath>) -> Result<Page, Problem> {
    let kind = TYPES.iter().find(|kind| kind.slug() == path.name);
    kind.map(|kind| Page(problem_page(kind).into()))
        .ok_or_else(|| Problem::new("NOT_FOUND", "there is no such type of problem"))
}
