//! From the HTTP client's chain of errors to one [`Reason`] and one sentence.

use std::error::Error;
use std::io::{self, ErrorKind};

use belfry_model::delivery::Reason;

use crate::resolve::ResolveError;

/// What went wrong, and how to say it. The sentence is made from the causes, never from the outermost error,
/// because that one names the URL.
pub(crate) fn classify(error: &reqwest::Error) -> (Reason, String) {
    let chain = chain(error);
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
        return (Reason::TlsError, tls_failed(tls));
    }
    if error.is_timeout() && error.is_connect() {
        return (
            Reason::ConnectTimeout,
            "no connection within the limit".to_owned(),
        );
    }
    if let Some(cause) = chain
        .iter()
        .find_map(|cause| cause.downcast_ref::<io::Error>())
    {
        return from_io(cause, error.is_connect());
    }
    if let Some(cause) = chain
        .iter()
        .find_map(|cause| cause.downcast_ref::<hyper::Error>())
    {
        return from_hyper(cause);
    }
    if error.is_timeout() {
        return (
            Reason::Timeout,
            "no complete answer within the limit".to_owned(),
        );
    }
    let last = chain
        .last()
        .map_or_else(|| "unknown".to_owned(), ToString::to_string);
    if error.is_connect() {
        return (Reason::ConnectRefused, format!("no connection: {last}"));
    }
    if error.is_builder() || error.is_request() && chain.is_empty() {
        return (
            Reason::InvalidTarget,
            "the request cannot be made".to_owned(),
        );
    }
    (
        Reason::BadResponse,
        format!("the answer cannot be read: {last}"),
    )
}

/// Why there is no TLS. Of certificates the library tells what its programmers call it; whoever has to repair one needs
/// more.
pub(crate) fn tls_failed(error: &rustls::Error) -> String {
    use rustls::{CertificateError, Error};
    let why = match error {
        Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::UnknownIssuer => {
                "its certificate is of an authority that is not trusted here; name the authority in egress.extra_ca or in the target".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; is the clock right?".to_owned()
            }
            // Known to the library only as an error of the one below it.
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "its certificate is one of an authority (CA:TRUE), which a server may not show for itself".to_owned()
            }
            other => other.to_string(),
        },
        Error::InvalidMessage(_) => "what came is no TLS; is this the right port?".to_owned(),
        other => other.to_string(),
    };
    format!("TLS failed: {why}")
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

/// Every cause below `error`. What an I/O error wraps is not among its own sources, so it is put in here.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain: Vec<&'a (dyn Error + 'static)> = Vec::new();
    let mut next = error.source();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{CertificateError, Error, OtherError};

    use super::tls_failed;

    #[test]
    fn whoever_has_to_repair_a_certificate_is_told_what_is_wrong_with_it() {
        #[derive(Debug)]
        struct CaUsedAsEndEntity;
        impl std::fmt::Display for CaUsedAsEndEntity {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("of webpki")
            }
        }
        impl std::error::Error for CaUsedAsEndEntity {}

        let no_tls = Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(tls_failed(&no_tls).contains("the right port"));
        for (wrong, told) in [
            (CertificateError::UnknownIssuer, "egress.extra_ca"),
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidYet, "not valid yet"),
            (
                CertificateError::Other(OtherError(Arc::new(CaUsedAsEndEntity))),
                "one of an authority",
            ),
        ] {
            let text = tls_failed(&Error::InvalidCertificate(wrong));
            assert!(
                text.starts_with("TLS failed: ") && text.contains(told),
                "{text}"
            );
        }
    }
}
