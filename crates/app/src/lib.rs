//! Use-cases of the control plane: what somebody can ask of Belfry, besides posting events.
//!
//! Each use-case takes an [`Actor`] and checks its scope itself, validates all of its input, and answers in types that
//! are shown as they are. Changes carry their audit entry in the same transaction. Secrets are sealed on the way in and
//! masked on the way out.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | buses, rules, targets, archives: read, put, patch, delete; validation; preconditions |
//! | [`documents`] | named documents (contacts, silences ...): the same for every kind, and what is special to each |
//! | [`functions`] | functions: versions, aliases, code, invoking them, what is on record of it |
//! | [`keys`] | API keys, authentication, requests per second |
//! | [`secrets`] | sealing, the key file |
//! | [`testing`] | patterns and rules tried out |
//! | [`history`] | events, deliveries, attempts, logs; redrive |
//! | [`replays`] | stored events put onto their bus again |
//! | [`audit`] | who changed what |
//! | [`idempotency`] | the same request twice, done once |
//! | [`nodes`] | the servers that share the database |
//! | [`sources`] | what alarm senders post to sources |
//! | [`catalog`] | known products and events; simulated ones |
//! | [`ingest`], [`status`] | posting events; how the server is doing |
//! | `input`, [`cursor`], [`time`] | bodies, pages and times as clients write them |
//!
//! It must never know HTTP or SQL: `belfry-api` turns requests into calls and errors into answers. Nothing here is kept
//! in memory that the store does not have: a crash loses no more than requests that were not answered.

pub mod actor;
pub mod audit;
pub mod catalog;
pub mod config;
pub mod cursor;
pub mod documents;
pub mod error;
pub mod functions;
pub mod history;
pub mod idempotency;
pub mod ingest;
mod input;
pub mod keys;
pub mod nodes;
mod random;
mod rate;
pub mod replays;
pub mod schema;
pub mod secrets;
pub mod sources;
pub mod status;
pub mod testing;
pub mod time;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use belfry_engine::Engine;
use belfry_model::Clock;
use belfry_store::Store;
use belfry_targets::ConnectContext;
use tokio::sync::Mutex;

pub use actor::Actor;
pub use error::{Code, Error, Fault, Kind, Result};
pub use rate::RateState;
pub use secrets::{SealError, Sealer};

use config::Index;
use functions::FunctionService;
use idempotency::UnderWay;
use keys::KeyRing;
use sources::Certificates;

/// Bounds of the control plane. Every one is a documented setting of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSettings {
    /// The program's version, for the status page.
    pub version: String,
    /// Most buses.
    pub buses_max: usize,
    /// Most rules of one bus.
    pub rules_per_bus_max: usize,
    /// Rows that one search of the history looks at before it answers with what it has.
    pub scan_max: u32,
    /// Replays that may run at once.
    pub replays_max: u32,
    /// Events a second of a replay that does not say otherwise.
    pub replay_rate: u32,
    /// Requests per second of a key that has no limit of its own. `None`: no limit.
    pub requests_per_second: Option<u32>,
    /// Origins that the web hook handshake agrees to (`*`: any).
    pub webhook_origins: Vec<String>,
    /// Requests that could not be read, kept for each source; the oldest go first.
    pub unparsed_max: u32,
    /// How much of the body of such a request is kept, in bytes.
    pub unparsed_bytes_max: usize,
    /// How long a vendor may take to answer when a subscription is confirmed.
    pub handshake_timeout: Duration,
}

impl Default for AppSettings {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            buses_max: 1000,
            rules_per_bus_max: 10_000,
            scan_max: 100_000,
            replays_max: 4,
            replay_rate: 1000,
            requests_per_second: None,
            webhook_origins: Vec::new(),
            unparsed_max: 100,
            unparsed_bytes_max: 64 * 1024,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// What the use-cases work with.
pub struct Parts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The data plane, started.
    pub engine: Engine,
    /// Seals secrets; the same one that the engine opens them with.
    pub sealer: Arc<Sealer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What targets connect with; for checking URLs and for handshakes.
    pub connect: Arc<ConnectContext>,
    /// Runs functions; the same one that targets run them by.
    pub functions: Arc<FunctionService>,
    /// Bounds.
    pub settings: AppSettings,
}

/// The use-cases.
pub struct App {
    store: Arc<dyn Store>,
    engine: Engine,
    sealer: Arc<Sealer>,
    clock: Arc<dyn Clock>,
    connect: Arc<ConnectContext>,
    functions: Arc<FunctionService>,
    settings: AppSettings,
    index: Mutex<Arc<Index>>,
    key_ring: KeyRing,
    under_way: UnderWay,
    certificates: Certificates,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Starts: makes the buses that are always there, and reads the keys.
    ///
    /// [`Sealer::check`] must have passed: it tells a wrong key before anything is done with it.
    pub async fn start(parts: Parts) -> Result<Arc<Self>> {
        let app = Self {
            store: parts.store,
            engine: parts.engine,
            sealer: parts.sealer,
            clock: parts.clock,
            connect: parts.connect,
            functions: parts.functions,
            settings: parts.settings,
            index: Mutex::default(),
            key_ring: KeyRing::default(),
            under_way: UnderWay::default(),
            certificates: Certificates::default(),
        };
        config::ensure_buses(&*app.store, app.now_ms()).await?;
        app.engine.reload().await?;
        app.refresh_keys().await?;
        Ok(Arc::new(app))
    }

    /// The time, ms since 1970.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}
