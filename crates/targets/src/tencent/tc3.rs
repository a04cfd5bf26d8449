//! Signatures of Tencent Cloud's API 3.0 (`TC3-HMAC-SHA256`), with the smallest set of signed headers.

use chrono::DateTime;

use crate::signing::{digest, hmac};

/// The content type that is signed and must be sent.
pub(crate) const CONTENT_TYPE: &str = "application/json; charset=utf-8";
const SIGNED_HEADERS: &str = "content-type;host;x-tc-action";

/// What a signature covers.
pub(crate) struct Call<'a> {
    pub(crate) secret_id: &'a str,
    pub(crate) secret_key: &'a str,
    /// The host as it is sent, with its port if that is not 443.
    pub(crate) host: &'a str,
    /// `sms`, `vms`: the first word of the vendor's own host names.
    pub(crate) service: &'a str,
    pub(crate) action: &'a str,
    /// Seconds since 1970, the same as in `x-tc-timestamp`.
    pub(crate) timestamp: i64,
    pub(crate) payload: &'a [u8],
}

/// The value of the header `authorization`.
pub(crate) fn authorization(call: &Call<'_>) -> String {
    let canonical = format!(
        "POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{}\nx-tc-action:{}\n\n{SIGNED_HEADERS}\n{}",
        call.host,
        call.action.to_ascii_lowercase(),
        digest(call.payload),
    );
    // Time is a day of UTC, whatever zone the server is in.
    let date = DateTime::from_timestamp(call.timestamp, 0)
        .unwrap_or_default()
        .format("%Y-%m-%d")
        .to_string();
    let scope = format!("{date}/{}/tc3_request", call.service);
    let signed = format!(
        "TC3-HMAC-SHA256\n{}\n{scope}\n{}",
        call.timestamp,
        digest(canonical.as_bytes()),
    );
    let start = format!("TC3{}", call.secret_key).into_bytes();
    let key = [date.as_str(), call.service, "tc3_request"]
        .iter()
        .fold(start, |key, part| hmac(&key, part.as_bytes()));
    format!(
        "TC3-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={}",
        call.secret_id,
        hex::encode(hmac(&key, signed.as_bytes())),
    )
}
