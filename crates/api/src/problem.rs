//! Errors as problem documents (RFC 9457).
//!
//! A handler or extractor answers with a [`Problem`]; the outermost layer, which knows the request's id, writes the
//! document. The only place where kinds of errors become status codes is the catalogue [`TYPES`].

mod types;

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use belfry_app::{Error, Fault, Kind, RateState};
use serde::Serialize;
use utoipa::ToSchema;

use types::of;
pub use types::{ProblemType, TYPES};

/// A problem document.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// The page of this type of problem.
    #[serde(rename = "type")]
    #[schema(examples("/problems/invalid-request"))]
    pub kind: String,
    /// The same for every occurrence of the type.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, and what to change.
    pub detail: String,
    /// This occurrence.
    #[schema(examples("/requests/0f8fad5bd9cb469fa16570867728950e"))]
    pub instance: String,
    /// The stable word for programs.
    #[schema(examples("INVALID_REQUEST"))]
    pub code: &'static str,
    /// The id of the request, also in the header `X-Request-Id` and in the server's log.
    pub request_id: String,
    /// Everything that is wrong with the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<FaultSchema>, required = false)]
    pub errors: Vec<Fault>,
}

/// One thing that is wrong with a request, and where.
#[derive(ToSchema)]
#[schema(as = Fault, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is used")]
pub(crate) struct FaultSchema {
    /// A JSON pointer into the body, or `header:NAME`, `query:NAME`, `path:NAME`.
    #[schema(examples("/targets/on-call/settings/url"))]
    pointer: String,
    /// What is wrong and what would be right.
    detail: String,
    /// What is wrong, for programs (patterns).
    #[schema(required = false)]
    code: String,
    /// Line within the text of the pattern or template, from 1.
    #[schema(required = false)]
    line: u32,
    /// Column within that line, in characters, from 1.
    #[schema(required = false)]
    column: u32,
    /// What would be right.
    #[schema(required = false)]
    hint: String,
}

/// A problem to be answered with.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: &'static ProblemType,
    detail: String,
    errors: Vec<Fault>,
    headers: HeaderMap,
}

/// The type for a mistake of ours; also where a code is not in the catalogue, which a test rules out.
static INTERNAL: ProblemType = of("INTERNAL", 500, "Internal error", "");

impl Problem {
    /// A problem of a type in the catalogue.
    pub(crate) fn new(code: &str, detail: impl Into<String>) -> Self {
        let kind = TYPES
            .iter()
            .find(|kind| kind.code == code)
            .unwrap_or(&INTERNAL);
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// One thing wrong at one place.
    pub(crate) fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Error::field(pointer, detail).into()
    }

    pub(crate) fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.0.errors = errors;
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    pub(crate) fn with_retry_after(self, wait: Duration) -> Self {
        // Rounded up: a client that waits as told must not come too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Writes the document into `response`, which keeps its headers.
    pub(crate) fn write(self, response: Response, request_id: &str) -> Response {
        let status = self.status();
        let document = ProblemDocument {
            kind: format!("/problems/{}", self.0.kind.slug()),
            title: self.0.kind.title,
            status: status.as_u16(),
            detail: self.0.detail,
            instance: format!("/requests/{request_id}"),
            code: self.0.kind.code,
            request_id: request_id.to_owned(),
            errors: self.0.errors,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let (mut parts, _) = response.into_parts();
        parts.status = status;
        parts.headers.extend(self.0.headers);
        parts.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        Response::from_parts(parts, Body::from(body))
    }
}

impl IntoResponse for Problem {
    /// Leaves the document to the outermost layer.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if error.kind() == Kind::Internal {
            tracing::error!(error = ?error, "a request failed by a mistake of ours");
        } else if let Some(source) = std::error::Error::source(&error) {
            tracing::warn!(error.code = error.code().as_str(), %source, "a request failed");
        }
        let mut problem =
            Self::new(error.code().as_str(), error.detail()).with_errors(error.errors().to_vec());
        if let Some(wait) = error.wait() {
            problem = problem.with_retry_after(wait);
        }
        if let Some(rate) = error.rate() {
            problem.0.headers.extend(rate_headers(rate));
        }
        if error.kind() == Kind::Unauthenticated {
            let challenge =
                HeaderValue::from_static("Bearer realm=\"belfry\", error=\"invalid_token\"");
            problem = problem.with_header(WWW_AUTHENTICATE, challenge);
        }
        problem
    }
}

/// What is left of a key's requests (draft-ietf-httpapi-ratelimit-headers).
pub(crate) fn rate_headers(rate: RateState) -> HeaderMap {
    let policy = format!("\"key\";q={};w=1", rate.quota);
    let left = format!(
        "\"key\";r={};t={}",
        rate.remaining,
        rate.reset.as_secs() + u64::from(rate.reset.subsec_nanos() > 0)
    );
    [("ratelimit-policy", policy), ("ratelimit", left)]
        .into_iter()
        .filter_map(|(name, value)| {
            Some((
                HeaderName::from_static(name),
                HeaderValue::from_str(&value).ok()?,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use belfry_app::Code;

    use super::*;

    #[test]
    fn every_code_of_the_use_cases_has_a_type_whose_status_fits_its_kind() {
        for code in Code::ALL {
            let kind = TYPES
                .iter()
                .find(|kind| kind.code == code.as_str())
                .unwrap_or_else(|| panic!("{code:?}"));
            let expected = match code.kind() {
                Kind::Invalid => 400,
                Kind::Unauthenticated => 401,
                Kind::Forbidden => 403,
                Kind::NotFound => 404,
                Kind::Conflict => 409,
                Kind::Gone => 410,
                Kind::PreconditionFailed => 412,
                Kind::TooLarge => 413,
                Kind::Unprocessable => 422,
                Kind::RateLimited => 429,
                Kind::Internal => 500,
                Kind::Unavailable => 503,
            };
            assert_eq!(kind.status, expected, "{code:?}");
        }
    }

    #[test]
    fn types_are_unique_and_say_what_to_do() {
        for (index, kind) in TYPES.iter().enumerate() {
            assert!(!kind.about.is_empty() && !kind.title.is_empty());
            assert!(
                TYPES
                    .iter()
                    .skip(index + 1)
                    .all(|other| other.code != kind.code),
                "{}",
                kind.code
            );
        }
    }
}
