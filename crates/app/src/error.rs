//! What a use-case answers when it cannot do what was asked.
//!
//! An error has two sides: a [`Code`] with a detail for the client, and a private source for the log. Only the first
//! ever leaves the server.

mod code;

use std::fmt;
use std::time::Duration;

use belfry_engine::AcceptError;
use belfry_model::FieldError;
use belfry_store::StoreError;
use serde::Serialize;

use crate::rate::RateState;

pub use code::{Code, Kind};

/// What a use-case answers.
pub type Result<T> = std::result::Result<T, Error>;

/// One thing that is wrong with a request, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// A JSON pointer into the body, or `header:NAME`, `query:NAME`, `path:NAME`.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
    /// What is wrong, for programs (patterns).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Line within the text of the pattern or template, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column within that line, in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
            code: None,
            line: None,
            column: None,
            hint: None,
        }
    }

    /// The same fault seen from further out.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        Self::new(error.pointer, error.detail)
    }
}

/// Field errors as faults, seen from `prefix`.
pub(crate) fn faults_under(prefix: &str, errors: Vec<FieldError>) -> Vec<Fault> {
    errors
        .into_iter()
        .map(|error| Fault::from(error).under(prefix))
        .collect()
}

/// Why a use-case failed.
pub struct Error(Box<Inner>);

struct Inner {
    code: Code,
    detail: String,
    errors: Vec<Fault>,
    retry_after: Option<Duration>,
    rate: Option<RateState>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a text for the client.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Inner {
            code,
            detail,
            errors: Vec::new(),
            retry_after: None,
            rate: None,
            source: None,
        }))
    }

    /// Everything that is wrong with a request; the first stands in the detail.
    pub fn invalid(code: Code, errors: Vec<Fault>) -> Self {
        let mut error = Self::new(code, summary(&errors));
        error.0.errors = errors;
        error
    }

    /// The same error seen from further out.
    pub(crate) fn under(mut self, prefix: &str) -> Self {
        let errors = std::mem::take(&mut self.0.errors);
        if !errors.is_empty() {
            self.0.errors = errors
                .into_iter()
                .map(|fault| fault.under(prefix))
                .collect();
            self.0.detail = summary(&self.0.errors);
        }
        self
    }

    /// The same error with its places renamed.
    pub(crate) fn map_pointers(mut self, rename: impl Fn(&str) -> String) -> Self {
        for fault in &mut self.0.errors {
            fault.pointer = rename(&fault.pointer);
        }
        if !self.0.errors.is_empty() {
            self.0.detail = summary(&self.0.errors);
        }
        self
    }

    /// One thing that is wrong with a request.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(Code::InvalidRequest, vec![Fault::new(pointer, detail)])
    }

    /// There is no such thing.
    pub fn not_found(what: &str, name: &dyn fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {what} {name}"))
    }

    /// A mistake of ours, told to the log only.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(
            Code::Internal,
            "the server made a mistake; the request id helps its operator to find it",
        )
        .caused_by(source)
    }

    pub(crate) fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    pub(crate) fn with_rate(mut self, rate: RateState) -> Self {
        self.0.rate = Some(rate);
        self
    }

    /// Why, for programs.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> Kind {
        self.0.code.kind()
    }

    /// Why, for the client.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Everything that is wrong with the request.
    pub fn errors(&self) -> &[Fault] {
        &self.0.errors
    }

    /// When to try again.
    pub fn wait(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The rate limit that was met.
    pub fn rate(&self) -> Option<RateState> {
        self.0.rate
    }
}

fn summary(errors: &[Fault]) -> String {
    match errors {
        [] => "the request is not valid".to_owned(),
        [one] => sentence(one),
        [first, rest @ ..] => format!("{} (and {} more)", sentence(first), rest.len()),
    }
}

fn sentence(fault: &Fault) -> String {
    if fault.pointer.is_empty() {
        fault.detail.clone()
    } else {
        format!("{}: {}", fault.pointer, fault.detail)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code.as_str())
            .field("detail", &self.0.detail)
            .field("errors", &self.0.errors)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// How long a client is asked to wait when the database does not answer: longer than a busy moment, shorter than
/// anybody's patience.
const STORE_RETRY: Duration = Duration::from_secs(2);
/// A full disk does not empty itself.
const FULL_RETRY: Duration = Duration::from_secs(30);

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::new(
                Code::NotFound,
                format!("there is no such {what} (any more)"),
            ),
            StoreError::Conflict => Self::new(
                Code::Conflict,
                "somebody else changed this at the same time; try again",
            ),
            StoreError::IdempotencyConflict => in_progress(),
            StoreError::Full(_) => Self::new(
                Code::DiskFull,
                "the disk of the server is full; nothing was stored",
            )
            .retry_after(FULL_RETRY)
            .caused_by(error),
            StoreError::Unavailable(_) | StoreError::Fenced => Self::new(
                Code::Unavailable,
                "the database does not answer at the moment; nothing was stored",
            )
            .retry_after(STORE_RETRY)
            .caused_by(error),
            StoreError::Unusable(_) | StoreError::Newer { .. } | StoreError::Internal(_) => {
                Self::internal(error)
            }
        }
    }
}

impl From<AcceptError> for Error {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::UnknownBus(bus) => Self::not_found("bus", &bus),
            AcceptError::Busy { retry_after } => Self::new(
                Code::Busy,
                "too many events are waiting to be stored; send again later",
            )
            .retry_after(retry_after),
            AcceptError::Full(why) => Self::new(Code::DiskFull, why).retry_after(FULL_RETRY),
            AcceptError::Unavailable => Self::new(
                Code::Unavailable,
                "the event could not be stored, or not in time; send it again with the same id",
            )
            .retry_after(STORE_RETRY),
            AcceptError::ShuttingDown => Self::new(
                Code::ShuttingDown,
                "the server is shutting down; send again later",
            )
            .retry_after(STORE_RETRY),
            AcceptError::IdempotencyMismatch => mismatch(),
            AcceptError::IdempotencyInProgress => in_progress(),
        }
    }
}

pub(crate) fn mismatch() -> Error {
    Error::new(
        Code::IdempotencyMismatch,
        "this Idempotency-Key was used for another request; use a new key for a new request",
    )
}

pub(crate) fn in_progress() -> Error {
    Error::new(
        Code::IdempotencyInProgress,
        "a request with this Idempotency-Key is under way; ask again later",
    )
    .retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_text_stays_inside() {
        let error = Error::from(StoreError::Internal(
            "UNIQUE constraint failed: bus.name".to_owned(),
        ));
        assert_eq!(error.kind(), Kind::Internal);
        assert!(!error.detail().contains("UNIQUE"));
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn codes_are_unique() {
        let all: std::collections::HashSet<_> =
            Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(all.len(), Code::ALL.len());
    }
}
