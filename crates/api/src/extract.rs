//! What handlers take from a request. Each part refuses with a problem document.

mod auth;
mod body;
mod conditions;
mod params;

pub(crate) use auth::Caller;
pub(crate) use body::{JsonBody, OptionalJsonBody, read_body};
pub(crate) use conditions::{Conditions, Idempotent};
pub(crate) use params::{PathOf, QueryOf};
