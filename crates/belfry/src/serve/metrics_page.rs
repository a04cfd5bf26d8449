//! `GET /metrics`: metrics for Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use belfry_app::App;
use belfry_model::access::Scope;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;

/// What scrapers expect of the text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The route. With `require_key` only keys with scope `history:read` may read.
pub(super) fn router(metrics: PrometheusHandle, app: Arc<App>, require_key: bool) -> Router {
    Router::new().route(
        "/metrics",
        get(move |headers: HeaderMap| async move {
            if require_key && !may_read(&app, &headers).await {
                return refused();
            }
            (
                [(CONTENT_TYPE, TEXT_FORMAT), (CACHE_CONTROL, "no-store")],
                metrics.render(),
            )
                .into_response()
        }),
    )
}

async fn may_read(app: &App, headers: &HeaderMap) -> bool {
    let key = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '));
    match key {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => app
            .authenticate(key.trim(), None)
            .await
            .is_ok_and(|known| known.actor.require(&Scope::HistoryRead).is_ok()),
        _ => false,
    }
}

fn refused() -> Response {
    let body = r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"reading metrics needs an API key with scope history:read"}"#;
    let headers = [
        (CONTENT_TYPE, "application/problem+json"),
        (WWW_AUTHENTICATE, "Bearer"),
    ];
    (StatusCode::UNAUTHORIZED, headers, body).into_response()
}
