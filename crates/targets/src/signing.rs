//! What vendors' signatures have in common: HMAC-SHA256, digests as text, and an address whose host is signed.

use belfry_egress::Url;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::messenger::Check;

/// HMAC-SHA256 of a text.
pub(crate) fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key of any length is taken; there is no error that could come.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        },
    )
}

/// The SHA-256 of a text in 64 hexadecimal digits.
pub(crate) fn digest(text: &[u8]) -> String {
    hex::encode(Sha256::digest(text))
}

/// Where an API listens whose requests are signed together with its host.
pub(crate) struct Host {
    /// The address, without a path.
    pub(crate) url: Url,
    /// The host as it is sent and signed: with its port unless that is the scheme's own.
    pub(crate) name: String,
}

impl Host {
    /// `baseUrl`, or the vendor's own address.
    pub(crate) fn new(given: Option<&str>, default: &str, check: &mut Check<'_>) -> Option<Self> {
        let url = check.base(given, default)?;
        check.need(
            url.path() == "/",
            "/baseUrl",
            "expected an address without a path: the path is signed, and the API has none",
        );
        let mut name = url.host_str()?.to_owned();
        if let Some(port) = url.port() {
            name = format!("{name}:{port}");
        }
        Some(Self { url, name })
    }
}
