//! Who sends the request.

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, HeaderName, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use belfry_app::{Actor, RateState};

use crate::Shared;
use crate::problem::Problem;
use crate::surround::RequestContext;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Somebody with a key that works. What the key allows is checked by the use-case.
///
/// It comes first among a handler's arguments, so that nothing else is said to strangers.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) rate: Option<RateState>,
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let key = key(&parts.headers)?;
        let request_id = parts
            .extensions
            .get::<RequestContext>()
            .map(|context| &context.request_id);
        let found = state.app.authenticate(key, request_id).await?;
        Ok(Self {
            actor: found.actor,
            rate: found.rate,
        })
    }
}

/// The key from `Authorization: Bearer` or `X-Api-Key`.
fn key(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = |detail: &str| {
        Problem::new("UNAUTHENTICATED", detail).with_header(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"belfry\""),
        )
    };
    let given =
        headers.get_all(AUTHORIZATION).iter().count() + headers.get_all(X_API_KEY).iter().count();
    if given > 1 {
        return Err(missing(
            "there is more than one API key; send one, as Authorization: Bearer bfy_... or as X-Api-Key: bfy_...",
        ));
    }
    if let Some(value) = headers.get(AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        let (scheme, key) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty() {
            return Ok(key.trim());
        }
        return Err(missing("expected Authorization: Bearer bfy_..."));
    }
    match headers.get(X_API_KEY) {
        Some(value) => value
            .to_str()
            .map(str::trim)
            .map_err(|_| missing("expected X-Api-Key: bfy_...")),
        None => Err(missing(
            "send an API key: Authorization: Bearer bfy_... (or X-Api-Key: bfy_...)",
        )),
    }
}
