//! What every request gets, whatever its route: an id, a trace, a span, a log line, metrics, security headers, problem
//! documents, and an answer even when a handler panics.

use std::any::Any;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use belfry_model::event::parse_traceparent;
use futures_util::FutureExt as _;
use metrics::{Counter, Histogram};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::Shared;
use crate::meters::Meters;
use crate::problem::Problem;

/// The request's id, in requests and answers.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a request.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// By route, then method and status: requests, and how long they took.
type RequestMeters = Meters<(&'static str, u16), (Counter, Histogram)>;

thread_local! {
    static METERS: RefCell<RequestMeters> = RefCell::default();
}

/// What is known of a request before anything looks at it.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    /// Taken from `X-Request-Id`, or new.
    pub(crate) request_id: Arc<str>,
    /// Taken from `traceparent`, or new.
    pub(crate) trace_id: Arc<str>,
}

impl RequestContext {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
        };
        let request_id = text(X_REQUEST_ID.as_str())
            .filter(|id| {
                (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
                    && id.bytes().all(|b| b.is_ascii_graphic())
            })
            .map_or_else(|| Arc::from(new_id()), Arc::from);
        let trace_id = text("traceparent")
            .and_then(parse_traceparent)
            .map_or_else(|| Arc::from(new_id()), |parent| Arc::from(parent.trace_id));
        Self {
            request_id,
            trace_id,
        }
    }
}

/// 32 random hex digits, not all zero.
fn new_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Puts what every request gets around all routes: one layer, since each boxes every request on its way in and out.
pub(crate) fn surround(routes: Router<Shared>) -> Router<Shared> {
    routes
        .fallback(async || Problem::new("NOT_FOUND", "there is nothing at this path; see /docs"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                "METHOD_NOT_ALLOWED",
                "this path does not take this method; see the header Allow",
            )
        })
        .layer(middleware::from_fn(around))
}

fn panicked(cause: &(dyn Any + Send)) -> Response {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    tracing::error!(panic = text, "a handler panicked");
    Problem::new(
        "INTERNAL",
        "the server made a mistake; the request id helps its operator to find it",
    )
    .into_response()
}

async fn around(mut request: Request, next: Next) -> Response {
    let context = RequestContext::read(request.headers());
    request.extensions_mut().insert(context.clone());
    let started = Instant::now();
    let method = known_method(request.method());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("none", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        request.id = %context.request_id,
        trace.id = %context.trace_id,
        http.method = method,
        http.route = route,
    );
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answered = answer.instrument(span.clone()).await;
    let mut response = answered.unwrap_or_else(|cause| span.in_scope(|| panicked(&*cause)));
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.write(response, &context.request_id);
    }
    add_headers(response.headers_mut(), &context);
    let (status, took) = (response.status().as_u16(), started.elapsed());
    // Neither path nor query: both may hold what must not stand in a log.
    span.in_scope(|| {
        tracing::debug!(
            http.status = status,
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
    });
    let (requests, seconds) = METERS.with_borrow_mut(|meters| {
        meters.get(route, (method, status), || {
            let route = route.to_owned();
            (
                metrics::counter!("belfry_http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string()),
                metrics::histogram!("belfry_http_request_seconds", "method" => method, "route" => route),
            )
        })
    });
    requests.increment(1);
    seconds.record(took.as_secs_f64());
    response
}

/// A method's name; anything may be sent as a method, and a metric must not have a label for each.
fn known_method(method: &Method) -> &'static str {
    [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::HEAD,
    ]
    .iter()
    .position(|known| known == method)
    .and_then(|at| {
        ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
            .get(at)
            .copied()
    })
    .unwrap_or("OTHER")
}

/// What tells browsers to trust nothing of an answer.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ),
];

fn add_headers(headers: &mut HeaderMap, context: &RequestContext) {
    // With length and date, which come later; growing by and by would put all of them in their places again.
    headers.reserve(SECURITY_HEADERS.len() + 3);
    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        headers.insert(X_REQUEST_ID, id);
    }
    for (name, value) in SECURITY_HEADERS {
        // A page may have said it better.
        headers.entry(name).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    fn read(name: &'static str, value: &str) -> RequestContext {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        RequestContext::read(&headers)
    }

    #[test]
    fn ids_are_taken_over_when_they_are_plain() {
        assert_eq!(&*read("x-request-id", "abc-123").request_id, "abc-123");
        for bad in ["", "a b", "ü", &"x".repeat(129)] {
            assert_eq!(read("x-request-id", bad).request_id.len(), 32, "{bad}");
        }
    }

    #[test]
    fn an_invalid_traceparent_counts_as_absent() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(
            &*read("traceparent", good).trace_id,
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        let new = read(
            "traceparent",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        )
        .trace_id;
        assert!(new.len() == 32 && new.bytes().any(|b| b != b'0'));
    }

    #[tokio::test]
    async fn a_panic_in_a_handler_is_answered() {
        let inner: Router = Router::new()
            .route(
                "/",
                axum::routing::get(async || -> &'static str { panic!("oops, bfy_secret") }),
            )
            .layer(middleware::from_fn(around));
        let request = Request::builder()
            .uri("/")
            .body(axum::body::Body::empty())
            .unwrap();
        let response = inner.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "INTERNAL");
        assert!(!problem.to_string().contains("oops"));
    }
}
