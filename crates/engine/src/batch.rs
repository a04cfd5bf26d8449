//! What waits in a lane until a target takes it many at once: until there are enough, or the first has waited long enough.
//! Deliveries go together that have come equally far: they share what becomes of them. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use belfry_targets::Batch;

use crate::channel::{Class, Rank};
use crate::outbox::{Parcel, Turn};
use crate::work::Work;

/// What waits, by what their last attempt has left behind.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    gathering: HashMap<Option<String>, Gathering>,
}

#[derive(Debug)]
struct Gathering {
    works: Vec<Arc<Work>>,
    bytes: usize,
    first_at_ms: i64,
}

impl Gathering {
    fn is_full(&self, limit: Batch) -> bool {
        self.works.len() >= limit.count || self.bytes >= limit.bytes
    }

    /// When it is to go. One that began in the future began before the clock stepped back.
    fn due_at_ms(&self, limit: Batch, now_ms: i64) -> i64 {
        let wait_ms = i64::try_from(limit.wait.as_millis()).unwrap_or(i64::MAX / 4);
        if self.is_full(limit) {
            now_ms
        } else {
            self.first_at_ms.min(now_ms).saturating_add(wait_ms)
        }
    }
}

impl Batches {
    pub(crate) fn len(&self) -> usize {
        self.gathering.values().map(|one| one.works.len()).sum()
    }

    pub(crate) fn push(&mut self, work: Arc<Work>, now_ms: i64) {
        let gathering = self
            .gathering
            .entry(work.progress.clone())
            .or_insert_with(|| Gathering {
                works: Vec::new(),
                bytes: 0,
                first_at_ms: now_ms,
            });
        gathering.bytes += work.bytes();
        gathering.works.push(work);
    }

    /// Everything, to be given back.
    pub(crate) fn drain(&mut self) -> Vec<Arc<Work>> {
        let all = std::mem::take(&mut self.gathering).into_values();
        all.flat_map(|one| one.works).collect()
    }

    /// What to do now.
    pub(crate) fn turn(&self, limit: Batch, now_ms: i64) -> Turn {
        match self.next(limit, now_ms) {
            None => Turn::Nothing,
            Some((_, due_at_ms)) if due_at_ms > now_ms => Turn::Wait(due_at_ms),
            Some((key, _)) => {
                let first = self.gathering.get(key).and_then(Self::rank);
                first.map_or(Turn::Nothing, Turn::Send)
            }
        }
    }

    /// What is to go now; at most as much as the target takes at once.
    pub(crate) fn take(&mut self, limit: Batch, now_ms: i64) -> Option<Parcel> {
        let (key, due_at_ms) = self.next(limit, now_ms)?;
        if due_at_ms > now_ms {
            return None;
        }
        let key = key.clone();
        let mut all = self.gathering.remove(&key)?;
        let mut bytes = 0;
        let fits = all.works.iter().take(limit.count).take_while(|work| {
            bytes += work.bytes();
            bytes <= limit.bytes
        });
        let fits = fits.count().max(1).min(all.works.len());
        let rest = all.works.split_off(fits);
        if !rest.is_empty() {
            let rest = Gathering {
                bytes: rest.iter().map(|work| work.bytes()).sum(),
                works: rest,
                first_at_ms: all.first_at_ms,
            };
            self.gathering.insert(key, rest);
        }
        // The first carries the others; which it is must not hang on what comes back from the store when.
        all.works.sort_unstable_by_key(|work| work.delivery);
        Some(Parcel {
            works: all.works,
            digest: false,
            batch: true,
        })
    }

    /// How urgent what has come equally far is: as its first delivery.
    fn rank(gathering: &Gathering) -> Option<Rank> {
        let works = gathering.works.iter();
        Some(Rank {
            class: Class::Other,
            delivery: works.map(|work| work.delivery).min()?,
        })
    }

    /// What goes next, and when.
    fn next(&self, limit: Batch, now_ms: i64) -> Option<(&Option<String>, i64)> {
        let all = self.gathering.iter();
        all.map(|(key, one)| (key, one.due_at_ms(limit, now_ms)))
            .min_by_key(|(_, due_at_ms)| *due_at_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use belfry_model::{DeliveryId, Event, EventId, TargetId};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Batch = Batch {
        count: 3,
        bytes: 1000,
        wait: Duration::from_secs(2),
    };

    fn work(n: i64, filling: usize) -> Arc<Work> {
        let doc = format!(
            r#"{{"id":"{n}","source":"s","type":"t","data":"{}"}}"#,
            "x".repeat(filling)
        );
        let delivery = DeliveryId {
            event: EventId::from_stored(n),
            target: TargetId(1),
        };
        let event = Event::from_stored(doc.into()).unwrap();
        Arc::new(Work::new(delivery, event, None, None))
    }

    fn take(batches: &mut Batches, now_ms: i64) -> Option<Vec<i64>> {
        let parcel = batches.take(LIMIT, now_ms)?;
        let numbers = parcel.works.iter().map(|work| work.delivery.event.get());
        Some(numbers.collect())
    }

    #[test]
    fn a_batch_goes_when_it_is_full_or_its_first_has_waited() {
        let mut batches = Batches::default();
        assert_eq!(batches.turn(LIMIT, 0), Turn::Nothing);
        for n in 1..=2 {
            batches.push(work(n, 0), n);
        }
        assert_eq!(batches.turn(LIMIT, 3), Turn::Wait(2001));
        assert_eq!(take(&mut batches, 2000), None);
        assert_eq!(take(&mut batches, 2001), Some(vec![1, 2]));
        for n in 3..=7 {
            batches.push(work(n, 0), 3000);
        }
        assert_eq!(take(&mut batches, 3000), Some(vec![3, 4, 5]));
        assert_eq!(take(&mut batches, 3000), None);
        assert_eq!(take(&mut batches, 5000), Some(vec![6, 7]));
        // Too large for anything beside it.
        batches.push(work(8, 2000), 5000);
        assert_eq!(take(&mut batches, 5000), Some(vec![8]));
        // Begun before the clock stepped back.
        batches.push(work(9, 0), 9_000_000);
        assert_eq!(batches.turn(LIMIT, 10), Turn::Wait(2010));
    }

    proptest! {
        /// Nothing is lost, nothing comes twice, no batch is larger than it may be, and equals stay together.
        #[test]
        fn everything_goes_once(items in proptest::collection::vec((0_usize..900, 0_usize..3), 0..40)) {
            let mut batches = Batches::default();
            let mut expected = Vec::new();
            for (n, (filling, tries)) in (1..).zip(items) {
                let mut one = Arc::into_inner(work(n, filling)).unwrap();
                one.progress = (tries > 0).then(|| tries.to_string());
                batches.push(Arc::new(one), 0);
                expected.push(n);
            }
            prop_assert_eq!(batches.len(), expected.len());
            let mut seen = Vec::new();
            while let Some(parcel) = batches.take(LIMIT, 2000) {
                let bytes: usize = parcel.works.iter().map(|work| work.bytes()).sum();
                prop_assert!(parcel.works.len() <= LIMIT.count);
                prop_assert!(bytes <= LIMIT.bytes || parcel.works.len() == 1);
                let progress = &parcel.works[0].progress;
                prop_assert!(parcel.works.iter().all(|work| work.progress == *progress));
                seen.extend(parcel.works.iter().map(|work| work.delivery.event.get()));
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(batches.turn(LIMIT, 0), Turn::Nothing);
        }
    }
}
