//! The only crate that opens outgoing connections.
//!
//! It owns which addresses may be reached ([`EgressPolicy`]), how names become addresses ([`Resolver`]: only
//! vetted addresses are handed to the connector, so a name cannot change its mind between check and use), and the
//! caps on time and size of one request ([`EgressLimits`]). One call of [`EgressClient::send`] is at most one
//! request on the wire: nothing is followed and nothing is sent again. What is not HTTP (mail) gets a stream from
//! [`EgressClient::connect`], under the same policy.
//!
//! It must never know targets, events, retries or what an answer means.

mod classify;
mod client;
mod connector;
mod error;
mod policy;
mod resolve;
mod stream;

pub use client::{EgressClient, EgressLimits, Request, Response};
pub use error::{Answered, ConnectError, EgressError, SendError};
pub use policy::{AddressClass, EgressPolicy};
pub use resolve::{Resolver, Resolving, SystemResolver};
pub use stream::{Connection, Trust, check_roots};

pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use url::Url;
