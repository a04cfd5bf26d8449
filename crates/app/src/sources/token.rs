//! Secret URLs: of one only the hash is kept, which is enough for 256 random bits.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::Result;
use crate::random;

/// Where secret URLs begin.
const PREFIX: &str = "/in/";
/// No token is longer.
const TOKEN_CHARS_MAX: usize = 100;

/// A secret URL as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    /// SHA-256 of the token, in hexadecimal digits.
    hash: String,
    /// Until when it works, ms since 1970; absent: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until_ms: Option<i64>,
}

impl Token {
    /// Whether the token with this hash is this one and still works.
    pub(crate) fn is(&self, hash: &str, now_ms: i64) -> bool {
        let same: bool = self.hash.as_bytes().ct_eq(hash.as_bytes()).into();
        same && self.works(now_ms)
    }

    pub(crate) fn works(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until| until > now_ms)
    }
}

/// A new secret URL.
pub(crate) struct SecretUrl {
    /// Its path on the server, to be shown once.
    pub(crate) path: String,
    pub(crate) token: Token,
}

impl SecretUrl {
    pub(crate) fn make() -> Result<Self> {
        let text = random::text(&random::bytes::<32>()?);
        let token = Token {
            hash: hash(&text),
            until_ms: None,
        };
        Ok(Self {
            path: format!("{PREFIX}{text}"),
            token,
        })
    }
}

/// The hash of a token as it was sent.
pub(crate) fn hash(text: &str) -> String {
    let text = text.get(..text.len().min(TOKEN_CHARS_MAX));
    hex::encode(Sha256::digest(text.unwrap_or_default().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_until_its_time_is_over() {
        let SecretUrl { path, token } = SecretUrl::make().unwrap();
        let text = path.strip_prefix("/in/").unwrap();
        assert!(token.is(&hash(text), 5));
        assert!(!token.is(&hash("other"), 5));
        let ending = Token {
            until_ms: Some(5),
            ..token
        };
        assert!(ending.is(&hash(text), 4) && !ending.is(&hash(text), 5));
        assert!(!serde_json::to_string(&ending).unwrap().contains(text));
    }
}
