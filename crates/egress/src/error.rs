//! What can go wrong, in words that name neither secrets nor the query of a URL.

use belfry_model::delivery::Reason;
use http::{HeaderMap, StatusCode};

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The extra certificates cannot be read.
    #[error("the extra root certificates are no PEM: {0}")]
    Roots(String),
    /// TLS or the connector cannot be set up.
    #[error("outgoing HTTP cannot be set up: {0}")]
    Setup(String),
}

/// No complete answer to a request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct SendError {
    /// For programs.
    pub reason: Reason,
    /// For people. Never holds headers, userinfo, path or query.
    pub detail: String,
    /// From the call until it failed.
    pub duration_ms: u32,
    /// What had arrived, when the answer broke off after its headers.
    pub answered: Option<Box<Answered>>,
}

/// No connection.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct ConnectError {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub detail: String,
}

impl ConnectError {
    pub(crate) fn new(reason: Reason, detail: String) -> Self {
        Self { reason, detail }
    }
}

/// The part of an answer that had arrived before it broke off.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
}
