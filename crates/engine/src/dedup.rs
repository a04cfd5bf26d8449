//! The bounded memory of earlier events, by which a repeat is recognised.
//!
//! A unique index in the database would cost more than everything else an event costs (`docs/decisions/0003`), so the
//! memory is a map of hashes. They are 128 bits of SHA-256: a collision, which would drop an event, is out of the question,
//! and they are the same in every process, so that the strict mode can keep them in a table.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use belfry_model::{BusId, EventId};
use belfry_store::EventKey;
use sha2::{Digest, Sha256};

/// The key of an event on a bus.
pub(crate) fn event_key(source: &str, id: &str) -> EventKey {
    let mut hash = Sha256::new();
    hash.update(
        u64::try_from(source.len())
            .unwrap_or(u64::MAX)
            .to_le_bytes(),
    );
    hash.update(source.as_bytes());
    hash.update(id.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut key = [0; 16];
    key.copy_from_slice(digest.split_at(16).0);
    key
}

/// The keys are hashes already: a part of them serves as the map's hash.
#[derive(Default)]
struct AsItIs(u64);
impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// An event's key with its bus folded in: two words, for a million of them stand in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u64; 2]);

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

impl Key {
    pub(crate) fn of(bus: BusId, key: &EventKey) -> Self {
        let whole = u128::from_le_bytes(*key);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of it")]
        let [low, high] = [whole as u64, (whole >> 64) as u64];
        // An odd factor: different buses never give the same word.
        let bus = u64::from(bus.0.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self([low, high ^ bus])
    }
}

/// Remembers events until they are too old or too many.
#[derive(Default)]
pub(crate) struct Recent {
    seen: HashMap<Key, EventId, BuildHasherDefault<AsItIs>>,
    order: VecDeque<(EventId, Key)>,
}

impl Recent {
    /// The event with this key that was accepted at or after `since_ms`.
    pub(crate) fn find(&self, key: &Key, since_ms: i64) -> Option<EventId> {
        self.seen
            .get(key)
            .copied()
            .filter(|id| id.time_ms() >= since_ms)
    }

    /// Remembers an event. Ids come in ascending order.
    pub(crate) fn insert(&mut self, key: Key, id: EventId) {
        self.seen.insert(key, id);
        self.order.push_back((id, key));
    }

    /// Takes back what was inserted since `first`, because it was not committed.
    pub(crate) fn retract_from(&mut self, first: EventId) {
        while let Some((id, key)) = self.order.back().copied() {
            if id < first {
                break;
            }
            self.order.pop_back();
            if self.seen.get(&key) == Some(&id) {
                self.seen.remove(&key);
            }
        }
    }

    /// Forgets what is older than `before_ms` and the oldest beyond `entries_max`.
    pub(crate) fn forget(&mut self, before_ms: i64, entries_max: usize) {
        while let Some((id, key)) = self.order.front().copied() {
            if id.time_ms() >= before_ms && self.order.len() <= entries_max {
                break;
            }
            self.order.pop_front();
            if self.seen.get(&key) == Some(&id) {
                self.seen.remove(&key);
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key::of(BusId(1), &event_key("s", &n.to_string()))
    }

    #[test]
    fn length_keeps_source_and_id_apart() {
        assert_ne!(event_key("ab", "c"), event_key("a", "bc"));
    }

    #[test]
    fn the_same_id_on_another_bus_is_another_event() {
        let mut recent = Recent::default();
        let key = event_key("s", "1");
        recent.insert(Key::of(BusId(1), &key), EventId::first_at(5));
        assert_eq!(recent.find(&Key::of(BusId(2), &key), 0), None);
    }

    #[test]
    fn events_are_forgotten_by_age_and_by_number() {
        let mut recent = Recent::default();
        for n in 0..10 {
            recent.insert(key(n), EventId::first_at(i64::from(n)));
        }
        assert_eq!(recent.find(&key(3), 4), None, "outside the window");
        recent.forget(2, 5);
        assert_eq!(recent.len(), 5);
        assert_eq!(recent.find(&key(4), 0), None);
        assert_eq!(recent.find(&key(5), 0), Some(EventId::first_at(5)));
    }

    #[test]
    fn what_was_not_committed_is_taken_back() {
        let mut recent = Recent::default();
        recent.insert(key(1), EventId::first_at(1));
        recent.insert(key(2), EventId::first_at(2));
        recent.retract_from(EventId::first_at(2));
        assert!(recent.find(&key(1), 0).is_some());
        assert_eq!(recent.find(&key(2), 0), None);
    }
}
