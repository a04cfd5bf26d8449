//! Retention: removes what is too old or too much, in chunks between the commits.
//!
//! | what | goes by |
//! |---|---|
//! | events older than the longest age of any bus | a range of keys; on Postgres whole days |
//! | events of buses with a shorter age | a walk along the keys, which remembers in memory how far it is |
//! | events of buses that are over their size | the counts of the bus; its oldest events, from its oldest hour on |
//! | the oldest events, when the database is over its size | a range of keys; on Postgres whole days |
//! | copies in archives | each archive's own age and size; all of a deleted one |
//!
//! Every node does all of it; what another has just removed is not there any more. A crash loses the place of a walk, which
//! then begins at the oldest event.

use std::collections::BTreeMap;
use std::time::Duration;

use belfry_model::config::Retention;
use belfry_model::{ArchiveId, BusId, EventId};
use belfry_store::{
    ArchivePurge, ArchiveSize, BusPurge, BusPurged, BusSize, Purged, StoreError, Usage,
};

use crate::report;
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// Events deleted in one transaction: short enough that commits in between do not notice.
pub(crate) const CHUNK: u32 = 500;
/// Chunks a turn, so that one turn has an end.
pub(crate) const CHUNKS_MAX: u32 = 400;
/// Events that one step of a walk looks at.
const SCAN: u32 = 2000;
/// Retention by size starts at the limit and ends at nine tenths of it.
const SIZE_TARGET_PERCENT: u64 = 90;
/// The newest second stays: it may be on its way.
const NEWEST_MS: i64 = 1000;
/// Another node's commit may show up so much later than events that are newer: a walk looks at them again.
const LATE_MS: i64 = 15_000;
/// Another node may not know yet that an archive was deleted.
const DELETED_MS: i64 = 60_000;
/// Unfinished deliveries that are named.
const NAMED_MAX: usize = 100;

/// What is remembered from one turn to the next.
#[derive(Debug, Default)]
pub(crate) struct Walks(Vec<Walk>);

/// Along the events of buses with the same age, shorter than the longest.
#[derive(Debug)]
struct Walk {
    age_ms: i64,
    buses: Vec<BusId>,
    /// All buses but those.
    others: bool,
    /// Nothing up to here is to be removed any more.
    done: EventId,
}

impl Walks {
    /// Takes the ages of the configuration over. Returns the longest. A walk whose buses have changed begins anew.
    fn follow(&mut self, snapshot: &Snapshot, server_ms: i64) -> i64 {
        let mut own: BTreeMap<i64, Vec<BusId>> = BTreeMap::new();
        for rules in snapshot.buses() {
            if let Some(age_ms) = retention(rules.bus.spec.retention).age_ms() {
                own.entry(age_ms).or_default().push(rules.bus.id);
            }
        }
        let longest = own.keys().copied().fold(server_ms, i64::max);
        let mut wanted: Vec<_> = own
            .iter()
            .map(|(age_ms, buses)| (*age_ms, buses.clone(), false))
            .collect();
        // Deleted buses, too.
        wanted.push((server_ms, own.into_values().flatten().collect(), true));
        let mut before = std::mem::take(&mut self.0);
        for (age_ms, mut buses, others) in wanted {
            if age_ms >= longest {
                continue;
            }
            buses.sort_unstable();
            let known = before.iter().position(|walk| {
                walk.age_ms == age_ms && walk.others == others && walk.buses == buses
            });
            self.0.push(match known {
                Some(place) => before.swap_remove(place),
                None => Walk {
                    age_ms,
                    buses,
                    others,
                    done: EventId::from_stored(0),
                },
            });
        }
        longest
    }
}

fn retention(of: Option<Retention>) -> Retention {
    of.unwrap_or_default()
}

/// What a size over its limit has to lose.
fn excess(bytes: u64, limit: Option<u64>) -> Option<u64> {
    let limit = limit.filter(|&limit| bytes > limit)?;
    Some(bytes - limit / 100 * SIZE_TARGET_PERCENT)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Where events that become too old now begin.
fn cutoff(now_ms: i64, age_ms: i64) -> EventId {
    EventId::first_at(now_ms.saturating_sub(age_ms))
}

/// One turn of everything; with `days` (seldom) also what the days of the database need.
pub(crate) async fn turn(shared: &Shared, usage: &Usage, walks: &mut Walks, days: bool) {
    let mut turn = Turn {
        shared,
        now_ms: shared.clock.now_ms(),
        chunks: CHUNKS_MAX,
        unfinished: 0,
        named: Vec::new(),
    };
    if let Err(error) = turn.all(usage, walks, days).await {
        tracing::warn!(%error, "retention did not get through; trying again");
    }
    if turn.unfinished > 0 {
        turn.named.truncate(NAMED_MAX);
        tracing::warn!(
            count = turn.unfinished,
            "retention has deleted deliveries that had not ended"
        );
        let report = report::unfinished(turn.unfinished, &turn.named, turn.now_ms);
        shared.own_event(report).await;
    }
}

struct Turn<'a> {
    shared: &'a Shared,
    now_ms: i64,
    /// What is left for this turn.
    chunks: u32,
    /// Deliveries that had not ended.
    unfinished: u64,
    named: Vec<String>,
}

impl Turn<'_> {
    async fn all(
        &mut self,
        usage: &Usage,
        walks: &mut Walks,
        days: bool,
    ) -> Result<(), StoreError> {
        let snapshot = self.shared.snapshot.load_full();
        let longest = walks.follow(&snapshot, millis(self.shared.settings.retention_age));
        let before = cutoff(self.now_ms, longest);
        if days {
            if let Err(error) = self.shared.ask(self.shared.store.prepare_days()).await {
                tracing::warn!(%error, "the coming days could not be prepared; trying again");
            }
            // Also where nothing is old enough: days in which nothing ever was go, too.
            let purged = self
                .shared
                .ask(self.shared.store.purge_events(before, CHUNK))
                .await?;
            self.note(&purged);
        }
        self.by_age(usage.clone(), before).await?;
        for walk in &mut walks.0 {
            self.walk(walk).await?;
        }
        let limits = snapshot
            .buses()
            .any(|rules| retention(rules.bus.spec.retention).bytes.is_some());
        if limits {
            for size in self.shared.ask(self.shared.store.bus_sizes()).await? {
                self.bus(&snapshot, size).await?;
            }
        }
        let archives = self.shared.ask(self.shared.store.archive_sizes()).await?;
        for size in &archives {
            self.archive(&snapshot, size).await?;
        }
        let copies = archives.iter().map(|size| size.bytes).sum();
        self.by_size(copies).await
    }

    /// Whether there may be another chunk. Commits go first.
    async fn next(&mut self) -> bool {
        tokio::task::yield_now().await;
        let more = self.chunks > 0 && !self.shared.closed.is_cancelled();
        self.chunks = self.chunks.saturating_sub(1);
        more
    }

    fn note(&mut self, purged: &Purged) {
        self.unfinished += purged.unfinished_count;
        if self.named.len() < NAMED_MAX {
            let named = purged.unfinished.iter().map(ToString::to_string);
            self.named.extend(named);
        }
    }

    async fn by_age(&mut self, mut usage: Usage, before: EventId) -> Result<(), StoreError> {
        while usage.oldest_event.is_some_and(|oldest| oldest < before) && self.next().await {
            let purged = self
                .shared
                .ask(self.shared.store.purge_events(before, CHUNK))
                .await?;
            self.note(&purged);
            if purged.events == 0 {
                break;
            }
            usage = self.shared.ask(self.shared.store.usage()).await?;
        }
        Ok(())
    }

    /// Copies in archives do not count: deleting events would not make them fewer.
    async fn by_size(&mut self, copies: u64) -> Result<(), StoreError> {
        let Some(limit) = self.shared.settings.retention_bytes else {
            return Ok(());
        };
        let shared = self.shared;
        let used = async || {
            let usage = shared.ask(shared.store.usage()).await?;
            Ok::<_, StoreError>(usage.used_bytes.saturating_sub(copies))
        };
        let mut bytes = used().await?;
        if bytes <= limit {
            return Ok(());
        }
        tracing::debug!(
            limit,
            used = bytes,
            "the database is over its size; deleting the oldest events"
        );
        let before = cutoff(self.now_ms, NEWEST_MS);
        while bytes >= limit / 100 * SIZE_TARGET_PERCENT && self.next().await {
            let purged = self
                .shared
                .ask(self.shared.store.purge_for_room(before, CHUNK))
                .await?;
            self.note(&purged);
            if purged.events == 0 {
                break;
            }
            bytes = used().await?;
        }
        Ok(())
    }

    async fn of_buses(&mut self, what: &BusPurge) -> Result<BusPurged, StoreError> {
        let done = self.shared.ask(self.shared.store.purge_buses(what)).await?;
        self.note(&done.purged);
        Ok(done)
    }

    async fn walk(&mut self, walk: &mut Walk) -> Result<(), StoreError> {
        let before = cutoff(self.now_ms, walk.age_ms);
        while walk.done < before && self.next().await {
            let what = BusPurge {
                buses: walk.buses.clone(),
                others: walk.others,
                after: walk.done,
                before,
                scan_max: SCAN,
                events_max: CHUNK,
                bytes_max: u64::MAX,
            };
            let done = self.of_buses(&what).await?;
            walk.done = done.reached;
            if done.ended {
                walk.done = cutoff(self.now_ms, walk.age_ms.saturating_add(LATE_MS));
                break;
            }
        }
        Ok(())
    }

    async fn bus(&mut self, snapshot: &Snapshot, size: BusSize) -> Result<(), StoreError> {
        let rules = snapshot.buses().find(|rules| rules.bus.id == size.bus);
        let limit = rules.and_then(|rules| retention(rules.bus.spec.retention).bytes);
        let Some(mut excess) = excess(size.bytes, limit) else {
            return Ok(());
        };
        let mut after = EventId::from_stored(size.from.get() - 1);
        while self.next().await {
            let what = BusPurge {
                buses: vec![size.bus],
                others: false,
                after,
                before: cutoff(self.now_ms, NEWEST_MS),
                scan_max: SCAN,
                events_max: CHUNK,
                bytes_max: excess,
            };
            let done = self.of_buses(&what).await?;
            excess = excess.saturating_sub(done.bytes);
            if done.ended || excess == 0 {
                break;
            }
            after = done.reached;
        }
        Ok(())
    }

    async fn archive(&mut self, snapshot: &Snapshot, size: &ArchiveSize) -> Result<(), StoreError> {
        let all = EventId::from_stored(i64::MAX);
        let (id, now_ms) = (size.archive, self.now_ms);
        if let Some(deleted_at_ms) = size.deleted_at_ms {
            if deleted_at_ms.saturating_add(DELETED_MS) <= now_ms {
                self.copies(id, all, None).await?;
            }
            return Ok(());
        }
        let archives = snapshot.buses().flat_map(|rules| &rules.archives.list);
        let Some(archive) = archives.into_iter().find(|archive| archive.id == id) else {
            // Just made by another node.
            return Ok(());
        };
        let Retention { bytes: limit, .. } = retention(archive.spec.retention);
        let mut bytes = size.bytes;
        if let Some(age_ms) = retention(archive.spec.retention).age_ms() {
            let before = cutoff(now_ms, age_ms);
            if size.oldest.is_some_and(|oldest| oldest < before) {
                bytes = bytes.saturating_sub(self.copies(id, before, None).await?);
            }
        }
        if let Some(excess) = excess(bytes, limit) {
            self.copies(id, all, Some(excess)).await?;
        }
        Ok(())
    }

    /// Removes copies, at most about so many bytes of them. Returns the bytes.
    async fn copies(
        &mut self,
        archive: ArchiveId,
        before: EventId,
        bytes_max: Option<u64>,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        while self.next().await {
            let what = ArchivePurge {
                archive,
                before,
                events_max: CHUNK,
                bytes_max: bytes_max.map_or(u64::MAX, |max| max.saturating_sub(removed)),
            };
            let (events, bytes) = self
                .shared
                .ask(self.shared.store.purge_archive(&what))
                .await?;
            removed += bytes;
            if events == 0 || bytes_max.is_some_and(|max| removed >= max) {
                break;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_over_its_limit_comes_down_to_nine_tenths_of_it() {
        assert_eq!(excess(1000, None), None);
        assert_eq!(excess(1000, Some(1000)), None);
        assert_eq!(excess(1001, Some(1000)), Some(101));
    }
}
