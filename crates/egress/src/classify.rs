//! From the HTTP client's chain of errors to one [`Reason`] and one sentence.

use std::error::Error;
use std::io::{self, ErrorKind};

use belfry_model::delivery::Reason;
use hyper_util::client::legacy;

use crate::resolve::ResolveError;

/// Why a request got no answer.
pub(crate) fn unanswered(error: &legacy::Error) -> (Reason, String) {
    let chain = chain(error.source());
    if chain.is_empty() {
        return unmade();
    }
    classify(&chain, error.is_connect())
}

/// Why an answer broke off after its headers.
pub(crate) fn broken_off(error: &hyper::Error) -> (Reason, String) {
    classify(&chain(Some(error)), false)
}

/// There is no such request.
pub(crate) fn unmade() -> (Reason, String) {
    (
        Reason::InvalidTarget,
        "the request cannot be made".to_owned(),
    )
}

/// What went wrong, and how to say it. The sentence is made from the causes.
fn classify(chain: &[&(dyn Error + 'static)], connecting: bool) -> (Reason, String) {
    if let Some(cause) = chain
        .iter()
        .find_map(|cause| cause.downcast_ref::<ResolveError>())
    {
        let reason = match cause {
            ResolveError::Blocked { .. } => Reason::BlockedAddress,
            ResolveError::Unknown { .. } | ResolveError::Empty { .. } => Reason::DnsError,
        };
        return (reason, cause.to_string());
    }
    if let Some(tls) = chain
        .iter()
        .find_map(|cause| cause.downcast_ref::<rustls::Error>())
    {
        return (Reason::TlsError, format!("TLS failed: {tls}"));
    }
    if let Some(cause) = chain
        .iter()
        .find_map(|cause| cause.downcast_ref::<io::Error>())
    {
        return from_io(cause, connecting);
    }
    if let Some(cause) = chain
        .iter()
        .find_map(|cause| cause.downcast_ref::<hyper::Error>())
    {
        return from_hyper(cause);
    }
    let last = chain
        .last()
        .map_or_else(|| "unknown".to_owned(), ToString::to_string);
    if connecting {
        (Reason::ConnectRefused, format!("no connection: {last}"))
    } else {
        (
            Reason::BadResponse,
            format!("the answer cannot be read: {last}"),
        )
    }
}

fn from_io(cause: &io::Error, connecting: bool) -> (Reason, String) {
    match cause.kind() {
        ErrorKind::ConnectionRefused => (Reason::ConnectRefused, "connection refused".to_owned()),
        ErrorKind::TimedOut if connecting => (
            Reason::ConnectTimeout,
            "no connection within the limit".to_owned(),
        ),
        ErrorKind::TimedOut => (
            Reason::Timeout,
            "no complete answer within the limit".to_owned(),
        ),
        // Unreachable hosts and networks and the like: nobody is there, as with a refusal.
        _ if connecting => (Reason::ConnectRefused, format!("no connection: {cause}")),
        _ => (
            Reason::ConnectionReset,
            format!("the connection broke: {cause}"),
        ),
    }
}

fn from_hyper(cause: &hyper::Error) -> (Reason, String) {
    if cause.is_timeout() {
        (
            Reason::Timeout,
            "no complete answer within the limit".to_owned(),
        )
    } else if cause.is_incomplete_message() {
        (
            Reason::ConnectionReset,
            "the connection was closed before the answer was complete".to_owned(),
        )
    } else if cause.is_parse() {
        (
            Reason::BadResponse,
            format!("the answer is no HTTP: {cause}"),
        )
    } else {
        (
            Reason::ConnectionReset,
            format!("the connection broke: {cause}"),
        )
    }
}

/// Every cause from `next` on. What an I/O error wraps is not among its own sources, so it is put in here.
fn chain<'a>(mut next: Option<&'a (dyn Error + 'static)>) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain: Vec<&'a (dyn Error + 'static)> = Vec::new();
    while let Some(cause) = next {
        chain.push(cause);
        let mut inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        while let Some(wrapped) = inner {
            chain.push(wrapped);
            inner = wrapped
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
        }
        next = cause.source();
    }
    chain
}
