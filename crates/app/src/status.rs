//! How the server is doing.

use std::time::Duration;

use belfry_engine::DeliveryNotice;
use belfry_model::access::Scope;
use belfry_store::Usage;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use utoipa::ToSchema;

use crate::App;
use crate::actor::Actor;
use crate::error::Result;
use crate::time::Stamp;

/// A load balancer wants to know now, not when the database is back.
const PING_LIMIT: Duration = Duration::from_secs(2);

/// How the server is doing, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Status)]
pub struct StatusView {
    /// The program's version.
    pub version: String,
    /// The server's time.
    pub time: Stamp,
    /// Whether events are accepted.
    pub accepting: bool,
    /// Why not, or what is about to go wrong.
    pub problems: Vec<String>,
    /// Events waiting for their commit.
    pub waiting_events: usize,
    /// Deliveries waiting in memory.
    pub queued: usize,
    /// Requests on the wire.
    pub in_flight: usize,
    /// Targets whose circuit is not closed.
    pub open_circuits: usize,
    /// Goes up with every change of the configuration.
    pub config_version: i64,
    /// Bytes of the database in use.
    pub used_bytes: u64,
    /// Bytes of the database files.
    pub file_bytes: u64,
    /// Bytes free on the disk, where it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub disk_free_bytes: Option<u64>,
    /// When the oldest stored event was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub oldest_event_at: Option<Stamp>,
    /// When the newest stored event was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub newest_event_at: Option<Stamp>,
}

/// Whether the server can take events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether it is ready.
    pub ready: bool,
    /// What is not ready, or about to be.
    pub problems: Vec<String>,
}

impl App {
    /// How the server is doing.
    pub async fn status(&self, actor: &Actor) -> Result<StatusView> {
        actor.require(&Scope::ConfigRead)?;
        let Usage {
            used_bytes,
            file_bytes,
            disk_free_bytes,
            oldest_event,
            newest_event,
        } = self.store.usage().await?;
        let engine = self.engine.status();
        Ok(StatusView {
            version: self.settings.version.clone(),
            time: Stamp(self.now_ms()),
            accepting: engine.accepting,
            problems: engine.problems,
            waiting_events: engine.waiting_events,
            queued: engine.queued,
            in_flight: engine.in_flight,
            open_circuits: engine.open_circuits,
            config_version: engine.config_version,
            used_bytes,
            file_bytes,
            disk_free_bytes,
            oldest_event_at: oldest_event.map(|id| Stamp(id.time_ms())),
            newest_event_at: newest_event.map(|id| Stamp(id.time_ms())),
        })
    }

    /// Whether the server can take events; for load balancers, which have no key.
    pub async fn readiness(&self) -> Readiness {
        let engine = self.engine.status();
        let mut problems = engine.problems;
        let mut ready = engine.accepting;
        let answer = tokio::time::timeout(PING_LIMIT, self.store.ping()).await;
        let answer = answer.map_err(|_elapsed| format!("nothing within {PING_LIMIT:?}"));
        if let Err(error) = answer.and_then(|answer| answer.map_err(|error| error.to_string())) {
            tracing::warn!(error, "the database does not answer");
            problems.push("the database does not answer".to_owned());
            ready = false;
        }
        if !engine.accepting && problems.is_empty() {
            problems.push("events are not accepted".to_owned());
        }
        Readiness { ready, problems }
    }

    /// What happens to deliveries from now on. A slow listener misses some and is told how many.
    pub fn notices(&self, actor: &Actor) -> Result<Receiver<DeliveryNotice>> {
        actor.require(&Scope::HistoryRead)?;
        Ok(self.engine.notices())
    }
}
