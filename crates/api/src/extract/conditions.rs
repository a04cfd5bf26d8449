//! Headers that make a request conditional, or repeatable.

use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use belfry_app::Actor;
use belfry_app::config::{ChangeOptions, IfMatch};
use belfry_app::idempotency::idempotency_key;
use belfry_engine::IdempotencyKey;

use crate::problem::Problem;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const KEY_CHARS_MAX: usize = 255;

/// `If-Match` and `If-None-Match` of a change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    if_match: Option<IfMatch>,
    if_absent: bool,
}

impl Conditions {
    pub(crate) fn options(self, dry_run: Option<bool>) -> ChangeOptions {
        ChangeOptions {
            if_match: self.if_match,
            if_absent: self.if_absent,
            dry_run: dry_run.unwrap_or_default(),
            cascade: false,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let if_match = one(&parts.headers, &IF_MATCH)?
            .map(|text| read_if_match(&text))
            .transpose()?;
        let if_absent = match one(&parts.headers, &IF_NONE_MATCH)?
            .as_deref()
            .map(str::trim)
        {
            None => false,
            Some("*") => true,
            Some(_) => {
                return Err(Problem::at(
                    "header:if-none-match",
                    "expected * (make it only if it is not there)",
                ));
            }
        };
        Ok(Self {
            if_match,
            if_absent,
        })
    }
}

/// All values of a header, joined as HTTP says they mean.
fn one(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let values: Option<Vec<_>> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().ok())
        .collect();
    match values {
        None => Err(Problem::at(
            format!("header:{name}"),
            "expected plain ASCII",
        )),
        Some(values) if values.is_empty() => Ok(None),
        Some(values) => Ok(Some(values.join(","))),
    }
}

fn read_if_match(text: &str) -> Result<IfMatch, Problem> {
    if text.trim() == "*" {
        return Ok(IfMatch::Any);
    }
    let mut revisions = Vec::new();
    for tag in text.split(',').map(str::trim) {
        // A weak tag never matches, says RFC 9110 section 13.1.1.
        if tag.starts_with("W/") {
            continue;
        }
        let inner = tag
            .strip_prefix('"')
            .and_then(|tag| tag.strip_suffix('"'))
            .ok_or_else(|| {
                Problem::at(
                    "header:if-match",
                    "expected * or an ETag such as \"r3\", with its quotes",
                )
            })?;
        // A tag that is none of ours matches nothing; that is no mistake.
        revisions.extend(
            inner
                .strip_prefix('r')
                .and_then(|revision| revision.parse::<i64>().ok()),
        );
    }
    Ok(IfMatch::Revisions(revisions))
}

/// The `Idempotency-Key` of a POST, with what it is scoped to.
#[derive(Debug, Clone)]
pub(crate) struct Idempotent {
    key: Option<String>,
    method: Method,
    uri: Uri,
    content_type: Vec<u8>,
}

impl Idempotent {
    /// The key in its scope, for this body.
    pub(crate) fn key(&self, actor: &Actor, body: &[u8]) -> Option<IdempotencyKey> {
        let key = self.key.as_deref()?;
        // The query changes what a request means, so it belongs to the fingerprint.
        let mut meaning = self.content_type.clone();
        meaning.push(b'\n');
        meaning.extend_from_slice(self.uri.query().unwrap_or_default().as_bytes());
        Some(idempotency_key(
            actor,
            self.method.as_str(),
            self.uri.path(),
            key,
            &meaning,
            body,
        ))
    }
}

impl<S: Sync> FromRequestParts<S> for Idempotent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = one(&parts.headers, &HeaderName::from_static(IDEMPOTENCY_KEY))?;
        let key = key.map(|text| read_key(&text)).transpose()?;
        let content_type = parts
            .headers
            .get(CONTENT_TYPE)
            .map(|value| value.as_bytes().to_vec())
            .unwrap_or_default();
        Ok(Self {
            key,
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            content_type,
        })
    }
}

/// The draft says a quoted string; nearly everybody sends it bare. Both are the same key.
fn read_key(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let bare = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let plain = (1..=KEY_CHARS_MAX).contains(&bare.len())
        && bare.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b'"');
    if plain {
        Ok(bare.to_owned())
    } else {
        Err(Problem::at(
            "header:idempotency-key",
            format!("expected 1 to {KEY_CHARS_MAX} printable ASCII characters, such as a UUID"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_takes_our_tags() {
        assert_eq!(read_if_match("*").unwrap(), IfMatch::Any);
        assert_eq!(
            read_if_match("\"r3\", \"r4\"").unwrap(),
            IfMatch::Revisions(vec![3, 4])
        );
        assert_eq!(
            read_if_match("W/\"r3\", \"abc\"").unwrap(),
            IfMatch::Revisions(vec![])
        );
        assert!(read_if_match("r3").is_err());
        assert!(read_if_match("").is_err());
    }

    #[test]
    fn keys_are_the_same_quoted_or_bare() {
        assert_eq!(
            read_key("\"8e03978e\"").unwrap(),
            read_key("8e03978e").unwrap()
        );
        for bad in ["", "\"\"", "a\"b", &"x".repeat(256), "ü"] {
            assert!(read_key(bad).is_err(), "{bad}");
        }
    }
}
