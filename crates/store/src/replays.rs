//! What the rest of the product asks of a store about replays.

use std::sync::Arc;

use async_trait::async_trait;
use belfry_model::replay::{ReplayPlan, ReplayState};
use belfry_model::{ArchiveId, BusId, Event, EventId, NodeId, ReplayId};

use crate::{AuditEntry, IdempotencyRecord, Result};

/// A replay with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its number.
    pub id: ReplayId,
    /// What it does.
    pub plan: ReplayPlan,
    /// Where it stands.
    pub state: ReplayState,
    /// The last event it has looked at.
    pub cursor: EventId,
    /// Events of the bus or archive looked at.
    pub looked_at: u64,
    /// Events put back.
    pub replayed: u64,
    /// Why it failed.
    pub detail: Option<String>,
    /// The node that works on it, and until when it has said so, ms since 1970.
    pub owner: Option<NodeId>,
    /// When the owner's word runs out, ms since 1970.
    pub lease_until_ms: i64,
    /// Who started it.
    pub created_by: String,
    /// When, ms since 1970.
    pub created_at_ms: i64,
    /// When it last moved, ms since 1970.
    pub updated_at_ms: i64,
    /// When it ended, ms since 1970.
    pub ended_at_ms: Option<i64>,
}

/// A replay to be started.
#[derive(Debug, Clone)]
pub struct NewReplay {
    /// What it does.
    pub plan: ReplayPlan,
    /// Nothing up to here is looked at.
    pub cursor: EventId,
    /// Who starts it.
    pub created_by: String,
    /// When, ms since 1970.
    pub at_ms: i64,
}

/// Makes the answer to be given again to the same `Idempotency-Key`, when the replay has its number.
pub type ReplayAnswer = Arc<dyn Fn(ReplayId) -> Result<IdempotencyRecord> + Send + Sync>;

/// A replay moves on, in the commit that stores the events it puts back. When it is not where `from` says (another node
/// has taken it over), the whole commit is a [`crate::StoreError::Conflict`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayProgress {
    /// The replay.
    pub replay: ReplayId,
    /// The node that works on it.
    pub owner: NodeId,
    /// Where it was.
    pub from: EventId,
    /// Where it is now.
    pub to: EventId,
    /// Events looked at since.
    pub looked_at: u64,
    /// Events put back since.
    pub replayed: u64,
    /// Whether this was all: it is completed, unless somebody has cancelled it in the meantime.
    pub completed: bool,
    /// When, ms since 1970.
    pub at_ms: i64,
    /// Until when the node says it works on it.
    pub lease_until_ms: i64,
}

/// What events to read for a replay, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct ReplayRead<'a> {
    /// Posted to this bus.
    pub bus: BusId,
    /// From this archive; absent: from the history, without those that are repeats themselves.
    pub archive: Option<ArchiveId>,
    /// Only these, ascending; repeats too.
    pub events: Option<&'a [EventId]>,
    /// After this one.
    pub after: EventId,
    /// Before this one.
    pub before: EventId,
    /// Looks at no more than so many events, those of other buses included.
    pub scan_max: u32,
    /// About so many bytes of events (at least one event).
    pub bytes_max: u64,
}

/// Events for a replay.
#[derive(Debug, Clone)]
pub struct ReplayPage {
    /// The events, ascending.
    pub events: Vec<(EventId, Event)>,
    /// Everything up to here was looked at.
    pub reached: EventId,
    /// Whether there is nothing more.
    pub ended: bool,
}

/// Replays and what they read.
#[async_trait]
pub trait Replays: Send + Sync {
    /// Starts one: it is running, and belongs to nobody yet. The audit entries and the answer for an `Idempotency-Key` are
    /// recorded with it.
    async fn add_replay(
        &self,
        replay: &NewReplay,
        audit: &[AuditEntry],
        answer: Option<ReplayAnswer>,
    ) -> Result<ReplayId>;
    /// One replay.
    async fn find_replay(&self, id: ReplayId) -> Result<Option<Replay>>;
    /// Replays below `before`, newest first, at most `limit`.
    async fn list_replays(&self, before: Option<ReplayId>, limit: u32) -> Result<Vec<Replay>>;
    /// Replays that run, oldest first, at most `limit`.
    async fn running_replays(&self, limit: u32) -> Result<Vec<Replay>>;
    /// Gives a replay another state if it is in one of `from`; `false`: it is not. `detail` says why it failed.
    async fn set_replay_state(
        &self,
        id: ReplayId,
        from: &[ReplayState],
        to: ReplayState,
        detail: Option<&str>,
        now_ms: i64,
        audit: &[AuditEntry],
    ) -> Result<bool>;
    /// Takes a running replay, or keeps it; `false`: another node works on it, or it does not run any more.
    async fn claim_replay(
        &self,
        id: ReplayId,
        owner: NodeId,
        now_ms: i64,
        lease_until_ms: i64,
    ) -> Result<bool>;
    /// Forgets replays that ended before `before_ms`, at most `limit`. Returns how many.
    async fn purge_replays(&self, before_ms: i64, limit: u32) -> Result<u64>;
    /// Reads events for a replay.
    async fn read_for_replay(&self, read: &ReplayRead<'_>) -> Result<ReplayPage>;
    /// The oldest event at or after `from`, of an archive or of the history (of any bus).
    async fn first_for_replay(
        &self,
        archive: Option<ArchiveId>,
        from: EventId,
    ) -> Result<Option<EventId>>;
}
