//! Signatures of Alibaba Cloud's API (`ACS3-HMAC-SHA256`) over a call whose parameters are its query and which has no
//! body.

use std::collections::BTreeMap;

use belfry_transform::Escape;
use chrono::DateTime;

use crate::signing::{digest, hmac};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What a signature covers.
pub(crate) struct Call<'a> {
    pub(crate) key_id: &'a str,
    pub(crate) key_secret: &'a str,
    /// The host as it is sent, with its port if that is not 443.
    pub(crate) host: &'a str,
    pub(crate) action: &'a str,
    pub(crate) version: &'a str,
    /// The query as it is sent, made by [`query`].
    pub(crate) query: &'a str,
    /// The time, ms since 1970.
    pub(crate) now_ms: i64,
    /// A text that no other call has.
    pub(crate) nonce: &'a str,
}

/// Parameters as the query that is signed and sent: by name, everything but unreserved characters escaped.
pub(crate) fn query(parameters: &BTreeMap<&str, String>) -> String {
    let pairs = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", Escape::Url.apply(name), Escape::Url.apply(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// The headers of the call besides `host`, the signature among them.
pub(crate) fn headers(call: &Call<'_>) -> Vec<(&'static str, String)> {
    let at = DateTime::from_timestamp_millis(call.now_ms).unwrap_or_default();
    let no_body = digest(b"");
    let mut headers = vec![
        ("x-acs-action", call.action.to_owned()),
        ("x-acs-content-sha256", no_body.clone()),
        ("x-acs-date", at.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("x-acs-signature-nonce", call.nonce.to_owned()),
        ("x-acs-version", call.version.to_owned()),
    ];
    // In the order of their names, which `host` begins.
    let host = ("host", call.host.to_owned());
    let covered: Vec<_> = std::iter::once(&host).chain(&headers).collect();
    let names: Vec<&str> = covered.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: Vec<String> = covered
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let canonical = format!(
        "POST\n/\n{}\n{}\n{names}\n{no_body}",
        call.query,
        lines.concat()
    );
    let signed = format!("{ALGORITHM}\n{}", digest(canonical.as_bytes()));
    let signature = hex::encode(hmac(call.key_secret.as_bytes(), signed.as_bytes()));
    let authorization = format!(
        "{ALGORITHM} Credential={},SignedHeaders={names},Signature={signature}",
        call.key_id
    );
    headers.push(("authorization", authorization));
    headers
}
