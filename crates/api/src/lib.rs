//! Belfry's HTTP interface: routes, extractors, problem documents, the API document.
//!
//! A handler extracts, makes one call into `belfry-app` and turns the answer into HTTP. Who may do what and what a
//! request means is decided there; here is decided how it looks. Every route is registered together with its
//! description, so that `/openapi.json` cannot miss one.
//!
//! | module | owns |
//! |---|---|
//! | [`problem`] | errors as problem documents (RFC 9457); the catalogue of their types |
//! | `extract` | keys, bodies, queries, paths, preconditions: each refuses with a problem document |
//! | `surround` | what every request gets: id, trace, log line, metrics, security headers |
//! | `routes` | one file per noun |
//! | `pages` | documentation for people, rendered from the API document |
//!
//! It must never know SQL or decide business rules. It keeps nothing: a crash loses requests that were not answered.

mod answer;
mod document;
mod extract;
mod live;
mod meters;
mod pages;
pub mod problem;
mod routes;
mod surround;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use belfry_app::App;
use belfry_model::event::EventLimits;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Bounds of the HTTP interface. Every one is a documented setting of the server.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Most bytes of a body, other than of posted events.
    pub body_bytes_max: usize,
    /// Most bytes of a body with events.
    pub ingest_bytes_max: usize,
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
    /// Bounds of events.
    pub events: EventLimits,
    /// Live streams at once.
    pub streams_max: usize,
    /// How often a live stream shows that it is alive.
    pub heartbeat: Duration,
    /// Ends live streams when the server goes down.
    pub shutdown: CancellationToken,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            ingest_bytes_max: 4 * 1024 * 1024,
            body_deadline: Duration::from_secs(30),
            events: EventLimits::default(),
            streams_max: 256,
            heartbeat: Duration::from_secs(15),
            shutdown: CancellationToken::new(),
        }
    }
}

/// What handlers work with.
pub(crate) struct ApiState {
    pub(crate) app: Arc<App>,
    pub(crate) settings: ApiSettings,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) pages: pages::Pages,
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The state as axum hands it to handlers.
pub(crate) type Shared = Arc<ApiState>;

/// The HTTP interface over `app`.
pub fn router(app: Arc<App>, settings: ApiSettings) -> Router {
    let (routes, document) = document::split();
    let state = Arc::new(ApiState {
        app,
        streams: Arc::new(Semaphore::new(settings.streams_max)),
        pages: pages::Pages::new(&document),
        settings,
    });
    surround::surround(routes).with_state(state)
}

/// The API document. Needs no server.
pub fn openapi() -> serde_json::Value {
    document::split().1
}
