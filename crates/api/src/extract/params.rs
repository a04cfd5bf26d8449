//! Query parameters and names in paths, read strictly: unknown, repeated and malformed ones are refused by name.

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use belfry_model::json::nearest;
use percent_encoding::percent_decode_str;
use serde::de::value::{Error as ValueError, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::problem::Problem;

const NO_UTF8: &str = "expected UTF-8, percent-encoded";

/// The query, as `T`.
#[derive(Debug)]
pub(crate) struct QueryOf<T>(pub(crate) T);

/// The names in the path, as `T`.
#[derive(Debug)]
pub(crate) struct PathOf<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(query) = parts.uri.query() else {
            return read("query", std::iter::empty()).map(Self);
        };
        if let Some(bad) = query.split('&').find(|part| !is_utf8(part)) {
            let name = bad.split('=').next().unwrap_or_default();
            return Err(Problem::at(pointer("query", name), NO_UTF8));
        }
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::at("query", "expected name=value pairs"))?
            .0;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if pairs.iter().skip(index + 1).any(|(other, _)| other == name) {
                return Err(Problem::at(pointer("query", name), "given twice; keep one"));
            }
        }
        let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
        read("query", pairs).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::at("path", NO_UTF8))?;
        read("path", params.iter()).map(Self)
    }
}

/// Whether a part of a query is UTF-8 when its escapes are undone. The parser would put question marks for what is not.
fn is_utf8(part: &str) -> bool {
    percent_decode_str(part).decode_utf8().is_ok()
}

fn pointer(place: &str, name: &str) -> String {
    let shown: String = name.chars().take(64).collect();
    format!("{place}:{shown}")
}

fn read<'a, T: DeserializeOwned>(
    place: &str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<T, Problem> {
    let input =
        MapDeserializer::<_, ValueError>::new(pairs.map(|(name, value)| (name, Text(value))));
    serde_path_to_error::deserialize(input).map_err(|error| {
        let name = error
            .path()
            .iter()
            .next()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = error.into_inner().to_string();
        match message
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split_once('`'))
        {
            Some((name, rest)) => Problem::at(pointer(place, name), unknown(name, rest)),
            None => Problem::at(pointer(place, &name), message),
        }
    })
}

/// serde lists the known names in backquotes.
fn unknown(name: &str, rest: &str) -> String {
    let known: Vec<_> = rest.split('`').skip(1).step_by(2).collect();
    let mut detail = "unknown parameter".to_owned();
    if known.is_empty() {
        detail.push_str("; this path takes none");
    } else {
        detail.push_str("; expected one of ");
        detail.push_str(&known.join(", "));
    }
    if let Some(near) = nearest(name, known) {
        detail.push_str("; did you mean ");
        detail.push_str(near);
        detail.push('?');
    }
    detail
}

/// One value, which is always text and may stand for a number or a truth value.
struct Text<'a>(&'a str);

impl IntoDeserializer<'_, ValueError> for Text<'_> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_str(self.0)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(ValueError::custom("expected true or false")),
        }
    }
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let number = self
            .0
            .parse()
            .map_err(|_| ValueError::custom("expected a whole number"))?;
        visitor.visit_u32(number)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use belfry_model::BusName;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Sample {
        bus: Option<BusName>,
        limit: Option<u32>,
        dry_run: Option<bool>,
    }

    async fn sample(query: &str) -> Result<Sample, Problem> {
        let request = Request::builder()
            .uri(format!("/x?{query}"))
            .body(())
            .unwrap();
        let (mut parts, ()) = request.into_parts();
        QueryOf::<Sample>::from_request_parts(&mut parts, &())
            .await
            .map(|query| query.0)
    }

    #[tokio::test]
    async fn values_are_read_by_type() {
        let read = sample("bus=a%2Eb&limit=7&dryRun=true").await.unwrap();
        assert_eq!(
            read,
            Sample {
                bus: Some("a.b".parse().unwrap()),
                limit: Some(7),
                dry_run: Some(true)
            }
        );
        assert_eq!(
            sample("").await.unwrap(),
            Sample {
                bus: None,
                limit: None,
                dry_run: None
            }
        );
    }

    #[tokio::test]
    async fn mistakes_are_named() {
        for (query, pointer, detail) in [
            ("limt=7", "query:limt", "did you mean limit?"),
            ("limit=x", "query:limit", "whole number"),
            ("limit=-1", "query:limit", "whole number"),
            ("limit=1&limit=2", "query:limit", "twice"),
            ("dryRun=1", "query:dryRun", "true or false"),
            ("bus=a/b", "query:bus", "expected 1 to 64 characters"),
            ("bus=%FF", "query:bus", "expected UTF-8"),
            ("bus=%ED%A0%80", "query:bus", "expected UTF-8"),
            ("b%C3=1", "query:b%C3", "expected UTF-8"),
            ("bus=%C3%A4%zz", "query:bus", "expected 1 to 64 characters"),
        ] {
            let shown = format!("{:?}", sample(query).await.unwrap_err());
            assert!(
                shown.contains(pointer) && shown.contains(detail),
                "{query}: {shown}"
            );
        }
    }
}
