//! What the engine offers and needs: its settings, its collaborators, its answers.

use std::sync::Arc;
use std::time::Duration;

use belfry_model::config::Target;
use belfry_model::delivery::{DeliveryStatus, Reason};
use belfry_model::{BusName, Clock, DeliveryId, Event, EventId, FieldError, TargetId};
use belfry_store::Store;
use belfry_targets::TargetKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::documents::ReadDocument;

/// Bounds and times of the data plane. Every one is a documented setting of the server.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The URL under which people reach the server; messages link their delivery below it. `None`: they have no link.
    pub public_url: Option<String>,
    /// Events that may wait for their commit; more are refused with "busy".
    pub waiting_events_max: usize,
    /// Bytes of events that may wait for their commit.
    pub waiting_bytes_max: usize,
    /// How long a sender waits for the commit of its events.
    pub answer_timeout: Duration,
    /// Operations in one commit.
    pub batch_ops_max: usize,
    /// Bytes of events in one commit.
    pub batch_bytes_max: usize,
    /// Deliveries that may wait in memory for one target; more wait in the store.
    pub lane_deliveries_max: usize,
    /// Bytes of events that may wait in memory for one target.
    pub lane_bytes_max: usize,
    /// Bytes of events that may wait in memory for all targets together.
    pub lanes_bytes_max: usize,
    /// Requests on the wire at once, for all targets together.
    pub in_flight_max: usize,
    /// A first delivery that takes longer than this gets a pending row, so that the watermark can move on.
    pub park_after: Duration,
    /// Failures in a row after which a target's circuit opens.
    pub circuit_failures: u32,
    /// How long a circuit stays open the first time; doubles each time.
    pub circuit_open: Duration,
    /// The longest a circuit stays open.
    pub circuit_open_max: Duration,
    /// A target that has only failed for so long is disabled.
    pub disable_after: Duration,
    /// Events remembered to recognise repeats; the oldest are forgotten first.
    pub dedup_entries_max: usize,
    /// How often the store is asked for due work whatever the hints say.
    pub sweep_every: Duration,
    /// How often the configuration version is looked at for changes made by other processes.
    pub config_poll: Duration,
    /// How long events and their history are kept.
    pub retention_age: Duration,
    /// How long invocations of functions are kept.
    pub invocations_age: Duration,
    /// Bytes that the database may use; the oldest events are deleted beyond it. `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// Events are refused while less than this is free on the disk.
    pub disk_free_min_bytes: u64,
    /// Events are refused while the database is larger. `None`: no limit.
    pub size_max_bytes: Option<u64>,
    /// Replays that this node works on at once.
    pub replays_max: usize,
    /// How long answers for an `Idempotency-Key` are kept.
    pub idempotency_age: Duration,
    /// Whether attempts keep the request and response (`true`), or only failed ones do.
    pub record_successes: bool,
    /// What this node is called; for people.
    pub node_name: String,
    /// The time within which the others go on with the work of this node after it has died; it renews its lease after a fifth.
    pub node_lease: Duration,
}

impl EngineSettings {
    /// Where people find a delivery.
    pub(crate) fn delivery_link(&self, delivery: DeliveryId) -> Option<String> {
        let url = self.public_url.as_deref()?.trim_end_matches('/');
        Some(format!("{url}/v1/deliveries/{delivery}"))
    }
}

impl Default for EngineSettings {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            public_url: None,
            waiting_events_max: 20_000,
            waiting_bytes_max: 64 * MIB,
            answer_timeout: Duration::from_secs(15),
            batch_ops_max: 1000,
            batch_bytes_max: 4 * MIB,
            lane_deliveries_max: 2048,
            lane_bytes_max: 4 * MIB,
            lanes_bytes_max: 256 * MIB,
            in_flight_max: 4096,
            park_after: Duration::from_secs(5),
            circuit_failures: 20,
            circuit_open: Duration::from_secs(1),
            circuit_open_max: Duration::from_mins(1),
            disable_after: Duration::from_hours(5 * 24),
            dedup_entries_max: 800_000,
            sweep_every: Duration::from_secs(5),
            config_poll: Duration::from_secs(1),
            retention_age: Duration::from_hours(30 * 24),
            invocations_age: Duration::from_hours(30 * 24),
            retention_bytes: None,
            disk_free_min_bytes: 256 * MIB as u64,
            size_max_bytes: None,
            replays_max: 4,
            idempotency_age: Duration::from_hours(24),
            record_successes: true,
            node_name: "belfry".to_owned(),
            node_lease: Duration::from_secs(15),
        }
    }
}

/// Opens the sealed secrets of a target's settings.
pub trait Unseal: Send + Sync {
    /// The settings of `target` with its secrets in clear; `place` is `bus/rule/target`. The error is for the operator and holds no secret.
    fn unseal(&self, place: &str, target: &Target) -> Result<Value, String>;
}

/// Where chance comes from: the jitter of waits.
pub trait Random: Send + Sync {
    /// The next number, evenly spread over all of them.
    fn number(&self) -> u64;
}

/// The machine's own source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn number(&self) -> u64 {
        rand::random()
    }
}

/// Finds the kind of target of a name; [`belfry_targets::find_kind`], except where tests bring a kind of their own.
pub type FindKind = fn(&str) -> Result<&'static dyn TargetKind, FieldError>;

/// What the engine works with.
#[derive(Clone)]
pub struct Collaborators {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Opens secrets.
    pub unseal: Arc<dyn Unseal>,
    /// Reads named documents.
    pub documents: Arc<dyn ReadDocument>,
    /// The kinds of targets there are.
    pub kinds: FindKind,
    /// What targets connect with.
    pub connect: Arc<belfry_targets::ConnectContext>,
    /// Where Jinja templates and scripts are evaluated.
    pub templates: Arc<belfry_eval::Templates>,
}

/// What goes along with accepted events.
#[derive(Debug, Clone, Default)]
pub struct AcceptContext {
    /// 32 hex digits of the trace of the request.
    pub trace_id: Option<String>,
    /// Hash of credential, method, path and `Idempotency-Key`, and hash of the request.
    pub idempotency: Option<IdempotencyKey>,
}

/// An `Idempotency-Key` in its scope, and what it was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Hash of credential, method, path and key.
    pub scope: [u8; 32],
    /// Hash of content type and body.
    pub fingerprint: [u8; 32],
}

/// One accepted event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The sender's id.
    pub id: String,
    /// The sender's source.
    pub source: String,
    /// The server's id; for a duplicate that of the first.
    pub event_uid: EventId,
    /// Whether the event was known already and is not delivered again.
    pub duplicate: bool,
}

/// Why events were not accepted. Nothing of the request was stored, except perhaps where it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// No such bus.
    #[error("there is no bus {0}")]
    UnknownBus(String),
    /// Too much is waiting to be stored.
    #[error("too many events are waiting to be stored")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk is full or nearly so.
    #[error("{0}")]
    Full(String),
    /// The store did not commit, or did not say so in time: then the events may be stored all the same.
    #[error("the event could not be stored")]
    Unavailable,
    /// The server is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The `Idempotency-Key` was used for another request.
    #[error("the Idempotency-Key was used for another request")]
    IdempotencyMismatch,
    /// A request with this `Idempotency-Key` is under way.
    #[error("a request with this Idempotency-Key is under way")]
    IdempotencyInProgress,
}

/// Something happened to a delivery; for live views. Sent after the commit; slow listeners miss some.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryNotice {
    /// The delivery.
    pub id: DeliveryId,
    /// Its event.
    pub event_uid: EventId,
    /// The bus's name; absent, like rule and target, when the target was deleted.
    pub bus: Option<BusName>,
    /// The rule's name.
    pub rule: Option<String>,
    /// The target's name.
    pub target: Option<String>,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event's source.
    pub source: String,
    /// The event's subject.
    pub subject: Option<String>,
    /// Its state now.
    pub status: DeliveryStatus,
    /// Attempts so far.
    pub attempts: u32,
    /// The last answer's status code.
    pub status_code: Option<u16>,
    /// How long the last attempt took, ms.
    pub duration_ms: u32,
    /// Why, unless delivered.
    pub reason: Option<Reason>,
    /// For a person.
    pub detail: Option<String>,
    /// When, ms since 1970.
    pub at_ms: i64,
    /// When the next attempt is due, ms since 1970.
    pub next_at_ms: Option<i64>,
}

/// A target's lane at this moment.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LaneStatus {
    /// The target.
    #[serde(skip)]
    pub target: Option<TargetId>,
    /// `closed` (normal), `open` (failing, waits) or `probing`.
    pub circuit: &'static str,
    /// Until when nothing is sent, ms since 1970 (circuit, or the receiver's Retry-After).
    pub paused_until_ms: Option<i64>,
    /// Failures in a row.
    pub failures: u32,
    /// Deliveries waiting in memory.
    pub queued: usize,
    /// Requests on the wire.
    pub in_flight: usize,
}

/// The engine's health, for `/readyz` and the status page.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EngineStatus {
    /// Whether events are accepted.
    pub accepting: bool,
    /// Why not, or what is about to go wrong; for people.
    pub problems: Vec<String>,
    /// Events waiting for their commit.
    pub waiting_events: usize,
    /// Deliveries waiting in memory, all targets.
    pub queued: usize,
    /// Requests on the wire, all targets.
    pub in_flight: usize,
    /// Version of the configuration in use.
    pub config_version: i64,
    /// Targets whose circuit is not closed.
    pub open_circuits: usize,
}

/// The engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error("the engine could not start")]
    Store(#[from] belfry_store::StoreError),
}

/// An event with the bus it is posted to, made by Belfry itself.
#[derive(Debug, Clone)]
pub(crate) struct OwnEvent {
    pub(crate) bus: BusName,
    pub(crate) event: Event,
}
