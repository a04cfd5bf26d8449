//! What handlers take from a request. Each part refuses with a problem document.

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};

use crate::problem::Problem;

mod auth;
mod body;
mod conditions;
mod params;

pub(crate) use auth::Caller;
pub(crate) use body::{JsonBody, OptionalJsonBody, must_be_text, read_body};
pub(crate) use conditions::{Conditions, Idempotent};
pub(crate) use params::{PathOf, QueryOf};

/// A header that says one thing. Of two nobody could tell which one a proxy in between went by.
pub(crate) fn sole<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Problem::at(
            format!("header:{name}"),
            "the header is given twice; send it once",
        )),
    }
}
