//! What a commit adds to the counts of buses and archives.

use std::collections::BTreeMap;

use belfry_model::{ArchiveId, BusId, EventId, NodeId};

use crate::{Batch, NewEvent};

/// The span that events of a bus are counted by.
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// Events and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) events: i64,
    pub(crate) bytes: i64,
}

impl Count {
    pub(crate) fn add(&mut self, bytes: i64) {
        self.events += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Where an event of a bus is counted: bus, hour since 1970, node.
pub(crate) type BusHour = (BusId, i64, NodeId);

pub(crate) fn bus_hour(bus: BusId, event: EventId) -> BusHour {
    (bus, event.time_ms() / HOUR_MS, event.node())
}

fn bytes(new: &NewEvent) -> i64 {
    i64::try_from(new.event.doc().len()).unwrap_or(i64::MAX)
}

/// In the order of the key, so that two transactions lock rows in the same order.
pub(crate) fn of_buses(batch: &Batch) -> Vec<(BusHour, Count)> {
    let mut counts: BTreeMap<BusHour, Count> = BTreeMap::new();
    for new in &batch.events {
        let count = counts.entry(bus_hour(new.bus, new.id)).or_default();
        count.add(bytes(new));
    }
    counts.into_iter().collect()
}

/// The copies that a batch asks for.
pub(crate) fn copies(batch: &Batch) -> Vec<(ArchiveId, EventId)> {
    let events = batch.events.iter();
    let of = |new: &NewEvent| {
        let id = new.id;
        let archives = new.archives.clone();
        archives.into_iter().map(move |archive| (archive, id))
    };
    events.flat_map(of).collect()
}

/// In the order of the key.
pub(crate) fn of_archives(batch: &Batch) -> Vec<((ArchiveId, NodeId), Count)> {
    let mut counts: BTreeMap<(ArchiveId, NodeId), Count> = BTreeMap::new();
    for new in &batch.events {
        for archive in &new.archives {
            let count = counts.entry((*archive, new.id.node())).or_default();
            count.add(bytes(new));
        }
    }
    counts.into_iter().collect()
}
