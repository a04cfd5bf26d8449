//! What the rest of the product asks of a store.
//!
//! The traits speak of events, deliveries, attempts, pending work, configuration and history, never of statements.
//! [`Batch`] is the one write of the hot path: events with their fan-out, outcomes, attempts and pending work become
//! durable together or not at all. An event with an empty outcome set is not lost: whoever takes a node's number up
//! ([`Nodes`]) turns every fan-out entry above its watermark that has neither outcome nor pending row into pending work.

use std::path::Path;

use async_trait::async_trait;
use belfry_model::access::Scope;
use belfry_model::config::{
    Archive, ArchiveSpec, Bus, BusSpec, Disabled, Document, Rule, RuleSpec, Target, TargetSpec,
};
use belfry_model::delivery::{DeliveryStatus, Reason, Trigger};
use belfry_model::replay::ReplayMark;
use belfry_model::{
    ArchiveId, ArchiveName, BusId, BusName, DeliveryId, DocumentName, Event, EventId, LogName,
    NodeId, OrderKey, RuleId, RuleName, TargetId, TargetName,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alarms::{AlarmSign, Alarms, Told};
use crate::functions::{Functions, NewInvocation};
use crate::replays::{ReplayProgress, Replays};
use crate::retention::Retention;
use crate::sources::Sources;

/// What a store answers.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a store could not do what was asked; variants by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing (any more).
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The expectation of a change was not met; read again.
    #[error("changed by somebody else in the meantime")]
    Conflict,
    /// An `Idempotency-Key` was recorded by another request in the meantime; look it up.
    #[error("the idempotency key is in use")]
    IdempotencyConflict,
    /// The disk is full. Nothing was written; try again when there is room.
    #[error("the disk that holds the database is full")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The node's number belongs to somebody else by now. Nothing was written, and nothing ever will be under this epoch.
    #[error("this node's lease was taken over")]
    Fenced,
    /// The database cannot be reached or is too busy. Nothing was written; try again.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file is no database of Belfry's, or is damaged. It was left untouched.
    #[error("{0}")]
    Unusable(String),
    /// The file was written by a newer version. It was left untouched.
    #[error(
        "the database has schema version {found}, this program knows versions up to {known}; use a newer belfry"
    )]
    Newer {
        /// Version found.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// A mistake in the program or in the stored data.
    #[error("the store failed: {0}")]
    Internal(String),
}

// ---------------------------------------------------------------------------------------------------------------
// The hot path

/// Everything that becomes durable in one commit.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// New events, ids ascending.
    pub events: Vec<NewEvent>,
    /// New or changed states of deliveries; a later one for the same delivery replaces an earlier one.
    pub outcomes: Vec<Outcome>,
    /// Requests made.
    pub attempts: Vec<Attempt>,
    /// What the events say of alarms, in their order.
    pub signs: Vec<AlarmSign>,
    /// What targets were told of alarms; replaces what was known of the same alarm and target.
    pub told: Vec<Told>,
    /// Runs of functions, ended; see [`Functions::put_invocations`].
    pub invocations: Vec<NewInvocation>,
    /// Work to be done later; replaces what was pending for the same delivery.
    pub pending: Vec<Pending>,
    /// Deliveries that have no pending work any more (an unknown one is no error). Applied before `pending`.
    pub done: Vec<DeliveryId>,
    /// Claims given back unused, with the end of their lease: the delivery waits behind its predecessors again
    /// ([`BLOCKED_MS`]). One that is held under another lease by now is left alone. Applied before `pending`.
    pub unclaimed: Vec<(DeliveryId, i64)>,
    /// Keys of ordered targets whose first delivery may have become free: if it is blocked, it is due at the given time.
    /// Applied after everything else that changes pending work.
    pub release: Vec<Release>,
    /// Entries of searchable logs; one that is there already (same log and delivery) is left as it is.
    pub log_entries: Vec<NewLogEntry>,
    /// Answers to be given again to the same `Idempotency-Key`.
    pub idempotency: Vec<IdempotencyRecord>,
    /// Replays that put some of `events` back, or have looked at some that they do not put back.
    pub replays: Vec<ReplayProgress>,
    /// Of this node: every event up to here has an outcome or pending work for each entry of its fan-out.
    pub watermark: Option<(NodeId, EventId)>,
    /// Who writes. When the node's number has another epoch by now, nothing is written ([`StoreError::Fenced`]).
    /// `None`: a tool that is no node.
    pub by: Option<Membership>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.outcomes.is_empty()
            && self.attempts.is_empty()
            && self.signs.is_empty()
            && self.told.is_empty()
            && self.invocations.is_empty()
            && self.pending.is_empty()
            && self.done.is_empty()
            && self.unclaimed.is_empty()
            && self.release.is_empty()
            && self.log_entries.is_empty()
            && self.idempotency.is_empty()
            && self.replays.is_empty()
            && self.watermark.is_none()
    }
}

/// An accepted event with the targets that matched when it was accepted.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its key.
    pub id: EventId,
    /// The bus it was posted to.
    pub bus: BusId,
    /// The event.
    pub event: Event,
    /// The targets it goes to; empty when nothing matched.
    pub fan: Vec<TargetId>,
    /// The archives that get a copy, in the same commit; none when a replay puts it back.
    pub archives: Vec<ArchiveId>,
    /// 32 hex digits of the trace it belongs to.
    pub trace_id: Option<String>,
    /// By which a repeat of it is recognised, where repeats are; kept for a while ([`EventLog::recent_keys`]).
    pub key: Option<EventKey>,
    /// On a bus with strict de-duplication: the key is kept as long as the event.
    pub strict: bool,
    /// Set when a replay puts it back.
    pub replay: Option<ReplayMark>,
}

/// Recognises an event on a bus: a 128-bit hash of source and id, the same in every process.
pub type EventKey = [u8; 16];

/// A delivery's state after something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its state now.
    pub status: DeliveryStatus,
    /// Attempts made so far.
    pub attempts: u32,
    /// The last answer's status code.
    pub status_code: Option<u16>,
    /// How long the last attempt took.
    pub duration_ms: u32,
    /// When it happened, ms since 1970.
    pub at_ms: i64,
    /// Why, unless delivered.
    pub reason: Option<Reason>,
    /// For a person.
    pub detail: Option<String>,
}

/// A request that was on the wire (or could not get there).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The delivery.
    pub delivery: DeliveryId,
    /// From 1, over all redrives.
    pub number: u32,
    /// The trace of its event.
    pub trace_id: Option<String>,
    /// What set it off.
    pub trigger: Trigger,
    /// When it started, ms since 1970.
    pub started_at_ms: i64,
    /// How long it took.
    pub duration_ms: u32,
    /// The answer's status code.
    pub status_code: Option<u16>,
    /// Why it failed, unless it delivered.
    pub reason: Option<Reason>,
    /// For a person.
    pub detail: Option<String>,
    /// When the next attempt is due, ms since 1970.
    pub next_at_ms: Option<i64>,
    /// Request and response as JSON text, secrets masked; see `belfry_targets`.
    pub record: Option<String>,
}

/// When work is due that waits behind an earlier delivery with the same target and [`OrderKey`]: never, until that has
/// ended (the last second of the year 9999, ms since 1970).
pub const BLOCKED_MS: i64 = 253_402_300_799_000;

/// A key whose first delivery may have become free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Release {
    /// The target.
    pub target: TargetId,
    /// The key.
    pub key: OrderKey,
    /// When the first delivery is due, if it was blocked, ms since 1970.
    pub due_at_ms: i64,
}

/// Work to be done at or after `due_at_ms`. Claiming moves `due_at_ms` to the end of the lease, so that a claim that
/// is never finished shows up again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The delivery.
    pub delivery: DeliveryId,
    /// When it may be claimed, ms since 1970.
    pub due_at_ms: i64,
    /// Attempts made so far, over all redrives.
    pub attempts: u32,
    /// Attempts made before the last redrive: they do not count against the retry policy.
    pub attempts_before: u32,
    /// From when the age limit counts: acceptance, or the last redrive. Ms since 1970.
    pub since_ms: i64,
    /// What sets the next attempt off.
    pub trigger: Trigger,
    /// The node that has claimed it.
    pub owner: Option<NodeId>,
    /// Set where the target keeps order. Of the work with the same target and key only the first (smallest event) has a
    /// time of its own; whatever `due_at_ms` says, the store blocks what has a predecessor ([`BLOCKED_MS`]).
    pub order: Option<OrderKey>,
    /// What the last attempt left behind for the next.
    pub progress: Option<String>,
}

/// Claimed work with the event it is about.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The work; `due_at_ms` is the end of the lease.
    pub pending: Pending,
    /// The bus of the event.
    pub bus: BusId,
    /// The event.
    pub event: Event,
    /// 32 hex digits of the trace it belongs to.
    pub trace_id: Option<String>,
    /// Set when a replay has put the event back.
    pub replay: Option<ReplayMark>,
}

/// An entry for a searchable log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLogEntry {
    /// The log; made on first use.
    pub log: LogName,
    /// The delivery that wrote it.
    pub delivery: DeliveryId,
    /// The event's id, source, type and subject, for filters.
    pub event: EventFacts,
    /// What is written.
    pub text: String,
}

/// The members of an event that history can be filtered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFacts {
    /// The sender's id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Its type.
    pub kind: String,
    /// Its subject.
    pub subject: Option<String>,
}

/// The answer that a request with an `Idempotency-Key` got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// Hash of credential, method, path and key.
    pub scope: [u8; 32],
    /// Hash of content type and body.
    pub fingerprint: [u8; 32],
    /// When, ms since 1970.
    pub at_ms: i64,
    /// The answer, in the caller's own encoding (sealed when it holds secrets).
    pub answer: Vec<u8>,
}

/// What was taken up of what a number's holder had left unfinished.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The newest event of any node; ids continue after it.
    pub newest: Option<EventId>,
    /// Deliveries that were unfinished and are pending now.
    pub unfinished: u64,
    /// Claims that were given back.
    pub reclaimed: u64,
}

/// The key of an event of the last minutes, to rebuild the memory of repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentKey {
    /// The event.
    pub id: EventId,
    /// Its bus.
    pub bus: BusId,
    /// Its key.
    pub key: EventKey,
}

/// A page of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecentKeys {
    /// In no order.
    pub keys: Vec<RecentKey>,
    /// Where to go on; `None` when there are no more.
    pub next: Option<EventId>,
}

/// The append-only log of events and what became of them.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Whether the commits of all nodes happen one after the other. Where they do not, a commit that adds a delivery to a
    /// key and one that ends its predecessor may miss each other, and whoever made them looks again
    /// ([`Batch::release`]).
    fn commits_one_by_one(&self) -> bool;
    /// Makes a batch durable, all or nothing. Returns after the commit has reached the disk. On
    /// [`StoreError::Full`] and [`StoreError::Unavailable`] nothing was written.
    async fn commit(&self, batch: &Batch) -> Result<()>;
    /// Events with ids above `after`, ascending, at most `limit`. What was not stored when this answers is not stored later.
    async fn event_ids_after(&self, after: EventId, limit: u32) -> Result<Vec<EventId>>;
    /// Keys of events accepted after `after`, newest first: those of at most `commits_max` commits that began before `before`.
    async fn recent_keys(
        &self,
        after: EventId,
        before: EventId,
        commits_max: u32,
    ) -> Result<RecentKeys>;
    /// Forgets the keys of commits that began before `before`, of at most `commits_max`. Returns how many commits' it were.
    async fn purge_keys(&self, before: EventId, commits_max: u32) -> Result<u64>;
    /// For each key the stored event with it, on buses with strict de-duplication.
    async fn find_strict(&self, keys: &[(BusId, EventKey)]) -> Result<Vec<Option<EventId>>>;
    /// Finds the recorded answer for an `Idempotency-Key`.
    async fn find_idempotency(&self, scope: &[u8; 32]) -> Result<Option<IdempotencyRecord>>;
    /// How much is used and how much is left.
    async fn usage(&self) -> Result<Usage>;
}

/// How much is used and how much is left.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Bytes of the database in use (without pages free for reuse).
    pub used_bytes: u64,
    /// Bytes of the database files.
    pub file_bytes: u64,
    /// Bytes free on the disk, where it can be told.
    pub disk_free_bytes: Option<u64>,
    /// The oldest stored event.
    pub oldest_event: Option<EventId>,
    /// The newest stored event.
    pub newest_event: Option<EventId>,
}

/// Work that waits for its time.
#[async_trait]
pub trait DeliveryQueue: Send + Sync {
    /// Claims work of one target that is due, oldest due first: at most `limit` items and about `bytes_max` of events
    /// (at least one item). Each claimed item becomes due again at `lease_until_ms`.
    ///
    /// Where order is kept, the first delivery of a key is claimed with those behind it, at most [`Claim::run_max`] and
    /// no more than leave room for the other keys that are due. Items with the same key follow each other, in order.
    /// Nothing is claimed while an earlier delivery of its key is held or waits for its time.
    async fn claim_due(&self, claim: &Claim) -> Result<Vec<Claimed>>;
    /// When the target's earliest work is due.
    async fn next_due(&self, targets: &[TargetId]) -> Result<Vec<(TargetId, i64)>>;
    /// Looks at up to `rows_max` blocked deliveries behind `after` (in the order of target and event) and sets free those
    /// that wait behind nothing: what a crash between two nodes' commits may leave.
    async fn free_stuck(
        &self,
        after: Option<DeliveryId>,
        rows_max: u32,
        now_ms: i64,
    ) -> Result<Freed>;
    /// Targets that have pending work, whether they still exist or not.
    async fn targets_with_pending(&self) -> Result<Vec<TargetId>>;
    /// How much waits, for metrics: per target its count and the oldest event. Bounded: counts stop at `count_max`.
    async fn backlog(&self, count_max: u32) -> Result<Vec<Backlog>>;
    /// Makes deliveries pending again, due at `now_ms`, with a fresh retry budget, and their state `queued`. Only deliveries in a final state are taken
    /// (those in `only`, if not empty); others are left alone. Returns those that were taken.
    ///
    /// `audit` and `idempotency` are written in the same transaction. They say what is done, so with either of them a
    /// delivery that cannot be taken is a [`StoreError::Conflict`], and nothing is written.
    async fn redrive(
        &self,
        deliveries: &[DeliveryId],
        only: &[DeliveryStatus],
        now_ms: i64,
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
    ) -> Result<Vec<DeliveryId>>;
}

/// What to claim.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Whose work.
    pub target: TargetId,
    /// Now, ms since 1970.
    pub now_ms: i64,
    /// When the claim runs out.
    pub lease_until_ms: i64,
    /// Who claims.
    pub owner: NodeId,
    /// At most so many.
    pub limit: u32,
    /// About so many bytes of events.
    pub bytes_max: u64,
    /// At most so many deliveries of one key.
    pub run_max: u32,
    /// Also what is not due yet, unless another node has it: for a target that is gone.
    pub early: bool,
}

impl Claim {
    /// Up to which due time work is looked at.
    pub fn until_ms(&self) -> i64 {
        if self.early { i64::MAX } else { self.now_ms }
    }

    /// Whether work found by [`Claim::until_ms`] is another node's, which may be about to send it.
    pub fn is_held(&self, due_at_ms: i64, owner: Option<NodeId>) -> bool {
        due_at_ms > self.now_ms && owner.is_some_and(|owner| owner != self.owner)
    }
}

/// What a look at blocked deliveries did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Freed {
    /// Targets with deliveries that are due now.
    pub targets: Vec<TargetId>,
    /// Where to go on; `None` when all have been looked at.
    pub next: Option<DeliveryId>,
}

/// How much waits for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The target.
    pub target: TargetId,
    /// Pending deliveries (a lower bound when it equals the given maximum).
    pub count: u64,
    /// How many of them wait behind an earlier delivery with the same key (a lower bound in the same way).
    pub blocked: u64,
    /// The oldest event among the earliest due.
    pub oldest: Option<EventId>,
}

// ---------------------------------------------------------------------------------------------------------------
// Nodes

/// A node's number, held under a lease. The epoch goes up with every new holder, so that an earlier one is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The number; part of every event's key.
    pub node: NodeId,
    /// Which holder of the number.
    pub epoch: i64,
}

/// What a node says about itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// For people; several nodes may have the same.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// How long it holds its number without renewing, ms.
    pub lease_ms: i64,
}

/// A number that was taken, and what its last holder had left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The number.
    pub member: Membership,
    /// What was taken up.
    pub recovered: Recovered,
}

/// How a node's number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It works (as long as its lease has not run out).
    Live,
    /// It finishes what is under way and takes on nothing more.
    Leaving,
    /// It has ended in order; nothing of it is unfinished.
    Left,
    /// It was taken over; nothing of it is unfinished.
    Dead,
}

impl NodeState {
    /// The number used in the store; never changes its meaning. 0 is a row that nobody has joined by.
    pub const fn number(self) -> i64 {
        match self {
            Self::Live => 1,
            Self::Leaving => 2,
            Self::Left => 3,
            Self::Dead => 4,
        }
    }

    /// From the number used in the store.
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 | 1 => Some(Self::Live),
            2 => Some(Self::Leaving),
            3 => Some(Self::Left),
            4 => Some(Self::Dead),
            _ => None,
        }
    }

    /// Whether it may send: its part of a target's limits is taken.
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Live | Self::Leaving)
    }
}

/// A node as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its number and epoch.
    pub member: Membership,
    /// Its name.
    pub name: String,
    /// Its program's version.
    pub version: String,
    /// How it stands.
    pub state: NodeState,
    /// What is left of its lease, ms; 0 or less: it has run out.
    pub lease_left_ms: i64,
    /// When it joined, ms since 1970.
    pub started_at_ms: i64,
    /// Every event of it up to here has an outcome or pending work for each entry of its fan-out.
    pub watermark: EventId,
}

/// What a node has learned about a receiver, for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitNote {
    /// The target.
    pub target: TargetId,
    /// Who says so.
    pub node: NodeId,
    /// Until when its circuit is open, ms since 1970; 0: it is not.
    pub open_until_ms: i64,
    /// Until when the receiver has asked for a pause, ms since 1970; 0: it has not.
    pub paused_until_ms: i64,
    /// Failures in a row.
    pub failures: u32,
}

/// The nodes that share the database: who there is, who writes under which number, what they tell each other.
///
/// Leases are judged by one clock: the database's where several machines use it, else the one that is passed in.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Takes a number that nobody holds, preferably one that a node of this name held before, and takes up what its
    /// last holder left: unfinished deliveries become pending work due now, its claims are given back, its watermark
    /// moves to the newest event. [`StoreError::Unavailable`] when all 256 are held.
    async fn join(&self, who: &NodeIdentity, now_ms: i64) -> Result<Joined>;
    /// Prolongs the lease, also one that has run out, as long as nobody has taken the number over. `false`: somebody has.
    async fn renew(
        &self,
        member: Membership,
        leaving: bool,
        lease_ms: i64,
        now_ms: i64,
    ) -> Result<bool>;
    /// Gives the number back. What is unfinished becomes pending work due now. `None`: it was taken over before.
    async fn leave(&self, member: Membership, now_ms: i64) -> Result<Option<Recovered>>;
    /// Every number that was ever held, ascending.
    async fn list_nodes(&self, now_ms: i64) -> Result<Vec<NodeInfo>>;
    /// Takes over a node whose lease has run out: of several that try, one does. From then on it cannot write any more
    /// (its epoch is raised), and what it left is taken up as in [`Nodes::join`]. `None`: it has renewed, or another was
    /// faster.
    async fn take_over(&self, dead: Membership, now_ms: i64) -> Result<Option<Recovered>>;
    /// Tells the others about receivers: `notes` replace what was said about their targets, of `closed` nothing is said
    /// any more.
    async fn note_circuits(
        &self,
        notes: &[CircuitNote],
        closed: &[TargetId],
        now_ms: i64,
    ) -> Result<()>;
    /// What is said about receivers.
    async fn list_circuits(&self) -> Result<Vec<CircuitNote>>;
}

// ---------------------------------------------------------------------------------------------------------------
// Configuration, keys, audit

/// Buses, rules, targets, archives and named documents of one moment, or some of them.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Goes up with every change.
    pub version: i64,
    /// All buses.
    pub buses: Vec<Bus>,
    /// All rules.
    pub rules: Vec<Rule>,
    /// All targets, secrets sealed.
    pub targets: Vec<Target>,
    /// All archives.
    pub archives: Vec<Archive>,
    /// All named documents, secrets sealed.
    pub documents: Vec<Document>,
}

/// How the configuration differs from an earlier version of it.
///
/// Whatever is told of a target, its rule is told too, so that it is clear where it belongs. A thing that was made and
/// deleted since then is told as deleted.
#[derive(Debug, Clone, Default)]
pub struct ConfigDiff {
    /// What was made or changed since then, with the version that this leads to.
    pub made: Config,
    /// What was deleted since then, as it was last.
    pub gone: Config,
    /// Whether `made` is all there is: the earlier version is none that this database has been at.
    pub whole: bool,
}

/// What a change expects of the thing it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// That it is not there.
    Absent,
    /// That it is there with this revision.
    Revision(i64),
}

/// One change of the configuration. A list of them is applied in order, all or nothing.
#[derive(Debug, Clone)]
pub enum Change {
    /// Makes or replaces a bus.
    PutBus {
        /// Its name.
        name: BusName,
        /// What it is to be.
        spec: BusSpec,
        /// What must be there.
        expect: Expect,
    },
    /// Deletes a bus with its rules, targets, archives and documents.
    DeleteBus {
        /// Its name.
        name: BusName,
        /// The revision it must have.
        revision: i64,
    },
    /// Makes or replaces a rule; its targets stay as they are. The bus may be one made by an earlier change of the list.
    PutRule {
        /// Its bus.
        bus: BusName,
        /// Its name.
        name: RuleName,
        /// What it is to be.
        spec: RuleSpec,
        /// What must be there.
        expect: Expect,
    },
    /// Deletes a rule with its targets.
    DeleteRule {
        /// Its bus.
        bus: BusName,
        /// Its name.
        name: RuleName,
        /// The revision it must have.
        revision: i64,
    },
    /// Makes or replaces a target. Takes back a disablement by Belfry itself.
    PutTarget {
        /// Its bus.
        bus: BusName,
        /// Its rule.
        rule: RuleName,
        /// Its name.
        name: TargetName,
        /// What it is to be, secrets sealed.
        spec: Box<TargetSpec>,
        /// What must be there.
        expect: Expect,
    },
    /// Deletes a target.
    DeleteTarget {
        /// Its bus.
        bus: BusName,
        /// Its rule.
        rule: RuleName,
        /// Its name.
        name: TargetName,
        /// The revision it must have.
        revision: i64,
    },
    /// Makes or replaces an archive; what is in it stays.
    PutArchive {
        /// Its bus.
        bus: BusName,
        /// Its name.
        name: ArchiveName,
        /// What it is to be.
        spec: ArchiveSpec,
        /// What must be there.
        expect: Expect,
    },
    /// Deletes an archive. Its copies are gone for users at once, and removed in chunks afterwards
    /// ([`Retention::purge_archive`]).
    DeleteArchive {
        /// Its bus.
        bus: BusName,
        /// Its name.
        name: ArchiveName,
        /// The revision it must have.
        revision: i64,
    },
    /// Makes or replaces a named document.
    PutDocument {
        /// Which one.
        place: DocumentPlace,
        /// What it is to be, an object; secrets sealed.
        spec: Value,
        /// What must be there.
        expect: Expect,
    },
    /// Deletes a named document.
    DeleteDocument {
        /// Which one.
        place: DocumentPlace,
        /// The revision it must have.
        revision: i64,
    },
    /// Belfry itself disables a target (or takes that back with `None`). Counts as a change of the target.
    DisableTarget {
        /// The target.
        target: TargetId,
        /// Why.
        disabled: Option<Disabled>,
    },
}

/// Which named document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPlace {
    /// Its kind, as it stands in paths.
    pub kind: String,
    /// The bus it belongs to; absent: the whole server.
    pub bus: Option<BusName>,
    /// Its name.
    pub name: DocumentName,
}

/// Who changed what. Secrets are masked before they get here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, ms since 1970.
    pub at_ms: i64,
    /// A key's id and name, `system` or `cli`.
    pub actor: String,
    /// Such as `rule.put`.
    pub action: String,
    /// Such as `buses/default/rules/disk`.
    pub resource: String,
    /// The thing before, as JSON text.
    pub before: Option<String>,
    /// The thing after, as JSON text.
    pub after: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<String>,
}

/// An audit entry with its number, for reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, ascending.
    pub number: i64,
    /// The entry.
    pub entry: AuditEntry,
}

/// An API key. The key itself is not kept, only its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// `key_...`; part of the key itself, so that it can be found without comparing secrets.
    pub id: String,
    /// For people.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made, ms since 1970.
    pub created_at_ms: i64,
    /// When it stops working.
    pub expires_at_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_at_ms: Option<i64>,
    /// Requests per second; absent: the server's default.
    pub requests_per_second: Option<u32>,
}

/// A searchable log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogInfo {
    /// Its name.
    pub name: LogName,
    /// How long entries are kept, in days.
    pub retention_days: u32,
    /// Its newest entry's event.
    pub newest: Option<EventId>,
}

/// How long entries of a log are kept unless said otherwise, in days.
pub const LOG_RETENTION_DAYS_DEFAULT: u32 = 30;

/// Configuration, keys and audit.
#[async_trait]
pub trait ConfigStore: Send + Sync {
    /// Everything configured, in one consistent view.
    async fn load_config(&self) -> Result<Config> {
        Ok(self.load_config_since(0).await?.made)
    }
    /// What has changed since a version, in one consistent view. Everything, if that is 0 or a version that the database has
    /// not reached (it was set back to an earlier state).
    async fn load_config_since(&self, since: i64) -> Result<ConfigDiff>;
    /// The version alone; cheap, polled.
    async fn config_version(&self) -> Result<i64>;
    /// Returns when the database has told of a change of the configuration since the last time, this node's own included. A hint that may
    /// never come, so callers poll too; for one caller at a time.
    async fn config_changed(&self);
    /// Applies changes in order and records the audit entries (and the answer for an `Idempotency-Key`), all or
    /// nothing. [`StoreError::Conflict`] when an expectation is not met, [`StoreError::NotFound`] when a parent is missing. Returns the new configuration version.
    async fn apply(
        &self,
        changes: &[Change],
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
        now_ms: i64,
    ) -> Result<i64>;
    /// Names of targets, deleted ones included, for showing history.
    async fn target_names(&self, targets: &[TargetId]) -> Result<Vec<TargetPath>>;
    /// Ids of targets by bus, rule and target name, deleted ones included, for filtering history.
    async fn find_targets(
        &self,
        bus: Option<&BusName>,
        rule: Option<&RuleName>,
        target: Option<&TargetName>,
    ) -> Result<Vec<TargetId>>;
    /// Names of buses, deleted ones included.
    async fn bus_names(&self, buses: &[BusId]) -> Result<Vec<(BusId, BusName)>>;
    /// All keys, revoked ones included.
    async fn list_keys(&self) -> Result<Vec<ApiKey>>;
    /// Writes a key (new, or changed) and raises the configuration version.
    async fn put_key(
        &self,
        key: &ApiKey,
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
    ) -> Result<()>;
    /// Audit entries below `before` (newest first), at most `limit`, of resources with this prefix.
    async fn list_audit(
        &self,
        before: Option<i64>,
        resource_prefix: &str,
        limit: u32,
    ) -> Result<Vec<AuditRecord>>;
    /// Records audit entries that go with no other change.
    async fn add_audit(&self, audit: &[AuditEntry]) -> Result<()>;
    /// All logs.
    async fn list_logs(&self) -> Result<Vec<LogInfo>>;
    /// Makes a log or changes its retention.
    async fn put_log(
        &self,
        name: &LogName,
        retention_days: u32,
        audit: &[AuditEntry],
    ) -> Result<()>;
    /// A small value kept beside everything (instance id, check of the encryption key).
    async fn get_meta(&self, key: &str) -> Result<Option<String>>;
    /// Keeps one, unless there is one: of several nodes that start at once, the first decides.
    async fn set_meta(&self, key: &str, value: &str) -> Result<()>;
}

/// Where a target stands (or stood).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetPath {
    /// The target.
    pub id: TargetId,
    /// Its rule.
    pub rule_id: RuleId,
    /// Its bus's name.
    pub bus: BusName,
    /// Its rule's name.
    pub rule: RuleName,
    /// Its name.
    pub target: TargetName,
    /// Its kind.
    pub kind: String,
    /// Whether it was deleted.
    pub deleted: bool,
}

// ---------------------------------------------------------------------------------------------------------------
// History

/// One page, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts. Present also when the scan limit ended this page early.
    pub next: Option<C>,
}

/// What events to list. All filters must hold.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Of this bus.
    pub bus: Option<BusId>,
    /// Accepted at or after, ms since 1970.
    pub since_ms: Option<i64>,
    /// Accepted before, ms since 1970.
    pub until_ms: Option<i64>,
    /// With this type.
    pub kind: Option<String>,
    /// With this source.
    pub source: Option<String>,
    /// With this subject.
    pub subject: Option<String>,
    /// With this sender's id.
    pub ce_id: Option<String>,
    /// Whose document holds this text (case-sensitive).
    pub text: Option<String>,
    /// Only those that matched something (`true`) or nothing (`false`).
    pub matched: Option<bool>,
    /// Below this id.
    pub before: Option<EventId>,
    /// At most so many rows.
    pub limit: u32,
    /// Looks at no more than so many events; then returns what it has, with a cursor.
    pub scan_max: u32,
}

/// A stored event.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// Its key.
    pub id: EventId,
    /// Its bus.
    pub bus: BusId,
    /// What lists show.
    pub facts: EventFacts,
    /// The targets that matched at acceptance.
    pub fan: Vec<TargetId>,
    /// 32 hex digits of the trace it belongs to.
    pub trace_id: Option<String>,
    /// Set when a replay has put it back.
    pub replay: Option<ReplayMark>,
    /// The document; empty in lists.
    pub doc: bytes::Bytes,
    /// Size of the document in bytes.
    pub bytes: u64,
}

/// What deliveries to list. All filters must hold.
#[derive(Debug, Clone, Default)]
pub struct DeliveryQuery {
    /// Of these targets (`None`: any; empty: none).
    pub targets: Option<Vec<TargetId>>,
    /// In one of these states (empty: any).
    pub statuses: Vec<DeliveryStatus>,
    /// With this reason.
    pub reason: Option<Reason>,
    /// Event accepted at or after, ms since 1970.
    pub since_ms: Option<i64>,
    /// Event accepted before, ms since 1970.
    pub until_ms: Option<i64>,
    /// Event's type.
    pub kind: Option<String>,
    /// Event's source.
    pub source: Option<String>,
    /// Event's subject.
    pub subject: Option<String>,
    /// Text in the event's document or in the delivery's detail.
    pub text: Option<String>,
    /// Below this one in the order (event, target).
    pub before: Option<DeliveryId>,
    /// At most so many rows.
    pub limit: u32,
    /// Looks at no more than so many deliveries; then returns what it has, with a cursor.
    pub scan_max: u32,
}

/// A delivery with the event it is about.
#[derive(Debug, Clone)]
pub struct DeliveryRecord {
    /// Its latest state.
    pub outcome: Outcome,
    /// When the next attempt is due (or the claim under way runs out), ms since 1970. `None` also while it waits behind an
    /// earlier delivery with the same key.
    pub due_at_ms: Option<i64>,
    /// The event's bus.
    pub bus: BusId,
    /// The event's members.
    pub event: EventFacts,
    /// 32 hex digits of the trace it belongs to.
    pub trace_id: Option<String>,
    /// Set when a replay has put the event back.
    pub replay: Option<ReplayMark>,
}

/// What log entries to list.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Event accepted at or after, ms since 1970.
    pub since_ms: Option<i64>,
    /// Event accepted before, ms since 1970.
    pub until_ms: Option<i64>,
    /// Event's type.
    pub kind: Option<String>,
    /// Event's source.
    pub source: Option<String>,
    /// Event's subject.
    pub subject: Option<String>,
    /// Text in the entry.
    pub text: Option<String>,
    /// Below this one in the order (event, target).
    pub before: Option<DeliveryId>,
    /// At most so many rows.
    pub limit: u32,
    /// Looks at no more than so many entries.
    pub scan_max: u32,
}

/// An entry of a searchable log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The delivery that wrote it; its event's key gives the time.
    pub delivery: DeliveryId,
    /// The event's members.
    pub event: EventFacts,
    /// What was written.
    pub text: String,
}

/// Reading what happened. Every query is bounded by `limit` and `scan_max`.
#[async_trait]
pub trait History: Send + Sync {
    /// Events, newest first.
    async fn list_events(&self, query: &EventQuery) -> Result<Page<EventRecord, EventId>>;
    /// One event with its document.
    async fn find_event(&self, id: EventId) -> Result<Option<EventRecord>>;
    /// The deliveries of one event that have a state recorded, by target.
    async fn list_event_deliveries(&self, id: EventId) -> Result<Vec<DeliveryRecord>>;
    /// Deliveries, newest event first.
    async fn list_deliveries(
        &self,
        query: &DeliveryQuery,
    ) -> Result<Page<DeliveryRecord, DeliveryId>>;
    /// One delivery. One that is still in memory for its first attempt has state `queued`, attempts 0.
    async fn find_delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>>;
    /// The delivery that must end before this one may go, where order is kept: the first of the same target and key.
    async fn find_predecessor(&self, id: DeliveryId) -> Result<Option<DeliveryId>>;
    /// All attempts of a delivery, first to last.
    async fn list_attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>>;
    /// Entries of a log, newest event first; `None` when there is no such log.
    async fn list_log_entries(
        &self,
        log: &LogName,
        query: &LogQuery,
    ) -> Result<Option<Page<LogEntry, DeliveryId>>>;
}

/// Work on the store as a whole.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// Whether it answers.
    async fn ping(&self) -> Result<()>;
    /// Copies everything into a new file while the server runs.
    async fn backup(&self, to: &Path) -> Result<()>;
    /// Rows by table and sizes, for people.
    async fn stats(&self) -> Result<Vec<(String, u64)>>;
    /// Flushes and closes; the store cannot be used afterwards.
    async fn close(&self);
}

/// All of it.
pub trait Store:
    EventLog
    + DeliveryQueue
    + Nodes
    + ConfigStore
    + History
    + Alarms
    + Functions
    + Replays
    + Retention
    + Sources
    + Maintenance
{
}
impl<T> Store for T where
    T: EventLog
        + DeliveryQueue
        + Nodes
        + ConfigStore
        + History
        + Alarms
        + Functions
        + Replays
        + Retention
        + Sources
        + Maintenance
{
}
