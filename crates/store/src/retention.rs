//! What the rest of the product asks of a store about how much there is of what, and about removing what is too much.

use async_trait::async_trait;
use belfry_model::{ArchiveId, BusId, DeliveryId, EventId};

use crate::Result;

/// What a purge removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purged {
    /// Events removed.
    pub events: u64,
    /// Deliveries that had not ended and were removed all the same (at most 100 are named).
    pub unfinished: Vec<DeliveryId>,
    /// How many those were.
    pub unfinished_count: u64,
}

/// Which events of some buses to remove, oldest first.
#[derive(Debug, Clone)]
pub struct BusPurge {
    /// The buses; at least one.
    pub buses: Vec<BusId>,
    /// All buses but those, deleted ones included.
    pub others: bool,
    /// Events after this one.
    pub after: EventId,
    /// Events before this one.
    pub before: EventId,
    /// Looks at no more than so many events, those of other buses included.
    pub scan_max: u32,
    /// Removes no more than so many.
    pub events_max: u32,
    /// Stops when so many bytes of events are removed.
    pub bytes_max: u64,
}

/// What came of a [`BusPurge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusPurged {
    /// What was removed.
    pub purged: Purged,
    /// Bytes of the events removed.
    pub bytes: u64,
    /// Everything up to here was looked at.
    pub reached: EventId,
    /// Whether there is nothing more to look at.
    pub ended: bool,
}

/// What is stored of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusSize {
    /// The bus; it may be deleted.
    pub bus: BusId,
    /// Its events, those put back by replays included.
    pub events: u64,
    /// Bytes of their documents.
    pub bytes: u64,
    /// No event of it is older than this: the start of the hour of the oldest.
    pub from: EventId,
}

/// What is in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveSize {
    /// The archive.
    pub archive: ArchiveId,
    /// When it was deleted, ms since 1970: its copies are to be removed.
    pub deleted_at_ms: Option<i64>,
    /// Copies in it.
    pub events: u64,
    /// Bytes of their documents.
    pub bytes: u64,
    /// The oldest copy.
    pub oldest: Option<EventId>,
    /// The newest copy.
    pub newest: Option<EventId>,
}

/// Copies to remove from an archive, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct ArchivePurge {
    /// The archive.
    pub archive: ArchiveId,
    /// Copies before this one.
    pub before: EventId,
    /// Removes no more than so many.
    pub events_max: u32,
    /// Stops when so many bytes are removed.
    pub bytes_max: u64,
}

/// How much there is, and removing what is too much: in chunks, so that commits in between do not wait.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Makes what the coming days need, where a database wants something made (partitions). Several nodes may do so at
    /// once; one that is missing all the same is made by the commit that needs it.
    async fn prepare_days(&self) -> Result<()>;
    /// Removes up to `events_max` of the oldest events below `before`, with deliveries, attempts, strict keys and pending
    /// work. Where whole days can be dropped, it may be one of these at a time instead.
    async fn purge_events(&self, before: EventId, events_max: u32) -> Result<Purged>;
    /// The same, to get room: leaves alone what would give none (on Postgres the day of `before`, of which the rows could
    /// be deleted, but not the space given back).
    async fn purge_for_room(&self, before: EventId, events_max: u32) -> Result<Purged>;
    /// Removes events of some buses.
    async fn purge_buses(&self, what: &BusPurge) -> Result<BusPurged>;
    /// Removes copies from an archive. Returns how many, and their bytes.
    async fn purge_archive(&self, what: &ArchivePurge) -> Result<(u64, u64)>;
    /// Deletes expired log entries (each log's own retention) and idempotency records older than `idempotency_before_ms`;
    /// at most `rows_max` rows.
    async fn purge_logs(
        &self,
        now_ms: i64,
        idempotency_before_ms: i64,
        rows_max: u32,
    ) -> Result<u64>;
    /// What is stored of each bus that has events, by number.
    async fn bus_sizes(&self) -> Result<Vec<BusSize>>;
    /// What is in each archive that ever took an event, by number; deleted ones as long as copies of them are there.
    async fn archive_sizes(&self) -> Result<Vec<ArchiveSize>>;
}
