//! Headers that make a request conditional, or repeatable.

use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use belfry_app::Actor;
use belfry_app::config::{ChangeOptions, IfMatch};
use belfry_app::idempotency::idempotency_key;
use belfry_engine::IdempotencyKey;

use super::sole;
use crate::problem::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
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
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (weak, tag, after) = next_tag(text).ok_or_else(|| {
            Problem::at(
                "header:if-match",
                "expected * or an ETag such as \"r3\", with its quotes",
            )
        })?;
        // A weak tag never matches, says RFC 9110 section 13.1.1. Nor does one that is none of ours; that is no mistake.
        revisions.extend(
            tag.strip_prefix('r')
                .filter(|_| !weak)
                .and_then(|revision| revision.parse::<i64>().ok()),
        );
        rest = after;
    }
    Ok(IfMatch::Revisions(revisions))
}

/// The first tag of a list, whether it is weak, and what stands behind its comma.
fn next_tag(text: &str) -> Option<(bool, &str, Option<&str>)> {
    let text = text.trim();
    let weak = text.strip_prefix("W/");
    // Not simply up to the comma: a tag may hold one.
    let (tag, after) = weak.unwrap_or(text).strip_prefix('"')?.split_once('"')?;
    let after = match after.trim_start() {
        "" => None,
        more => Some(more.strip_prefix(',')?),
    };
    Some((weak.is_some(), tag, after))
}

/// The `Idempotency-Key` of a POST, if it has one, with what it is scoped to.
#[derive(Debug, Clone)]
pub(crate) struct Idempotent(Option<Keyed>);

#[derive(Debug, Clone)]
struct Keyed {
    key: String,
    method: Method,
    uri: Uri,
    content_type: Vec<u8>,
}

impl Idempotent {
    /// The key in its scope, for this body.
    pub(crate) fn key(&self, actor: &Actor, body: &[u8]) -> Option<IdempotencyKey> {
        let Keyed {
            key,
            method,
            uri,
            content_type,
        } = self.0.as_ref()?;
        // The query changes what a request means, so it belongs to the fingerprint.
        let mut meaning = content_type.clone();
        meaning.push(b'\n');
        meaning.extend_from_slice(uri.query().unwrap_or_default().as_bytes());
        Some(idempotency_key(
            actor,
            method.as_str(),
            uri.path(),
            key,
            &meaning,
            body,
        ))
    }
}

impl<S: Sync> FromRequestParts<S> for Idempotent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(key) = sole(&parts.headers, &IDEMPOTENCY_KEY)? else {
            return Ok(Self(None));
        };
        let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        Ok(Self(Some(Keyed {
            key: read_key(key)?,
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            content_type: content_type.unwrap_or_default().to_vec(),
        })))
    }
}

/// The draft says a quoted string; nearly everybody sends it bare. Both are the same key.
fn read_key(value: &HeaderValue) -> Result<String, Problem> {
    // What is not ASCII is no key either way.
    let text = value.to_str().unwrap_or_default().trim();
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
        assert_eq!(
            read_if_match("\"a,b\" , \"r5\"").unwrap(),
            IfMatch::Revisions(vec![5])
        );
        for bad in [
            "r3",
            "",
            "\"r3\",",
            "\"r3\" \"r4\"",
            "\"r3",
            "\"r3\",*",
            "w/\"r3\"",
        ] {
            assert!(read_if_match(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_the_same_quoted_or_bare() {
        let read_key = |text: &str| read_key(&HeaderValue::from_bytes(text.as_bytes()).unwrap());
        assert_eq!(
            read_key("\"8e03978e\"").unwrap(),
            read_key("8e03978e").unwrap()
        );
        for bad in ["", "\"\"", "a\"b", &"x".repeat(256), "ü"] {
            assert!(read_key(bad).is_err(), "{bad}");
        }
    }
}
