//! Answers that several routes share.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use belfry_app::config::{Changed, Done};
use belfry_app::idempotency::Answered;
use serde::Serialize;

/// Tells a client that its answer is one given before.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

fn etag(revision: i64) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("\"r{revision}\"")).ok();
    value.into_iter().map(|value| (ETAG, value)).collect()
}

/// What `Json` makes, for answers that are given thousands of times a second: `Json` writes into a buffer that is asked
/// for room at every quote and comma.
pub(crate) fn json<T: Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let kind = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => Json(value).into_response(),
    }
}

/// A thing with its `ETag`.
pub(crate) fn entity<T: Serialize>(value: &T, revision: i64) -> Response {
    (etag(revision), Json(value)).into_response()
}

/// A thing after a change: 201 with `Location` when it is new. On a dry run 200, without `ETag`.
pub(crate) fn changed<T: Serialize>(
    change: &Changed<T>,
    revision: i64,
    dry_run: bool,
    path: &str,
) -> Response {
    if dry_run {
        return Json(&change.value).into_response();
    }
    let mut response = entity(&change.value, revision);
    if change.done == Done::Created {
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(path) = HeaderValue::from_str(path) {
            response.headers_mut().insert(LOCATION, path);
        }
    }
    response
}

/// After a deletion: 204. On a dry run 200 with what would be deleted.
pub(crate) fn deleted<T: Serialize>(value: &T, dry_run: bool) -> Response {
    if dry_run {
        Json(value).into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// The answer to a request that may carry an `Idempotency-Key`.
pub(crate) fn answered<T: Serialize>(status: StatusCode, answer: &Answered<T>) -> Response {
    mark_replay(
        (status, Json(&answer.value)).into_response(),
        answer.replayed,
    )
}

/// An answer, marked when it was given before.
pub(crate) fn mark_replay(mut response: Response, replayed: bool) -> Response {
    if replayed {
        response
            .headers_mut()
            .insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
