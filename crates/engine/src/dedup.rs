//! The bounded memory of earlier events, by which a repeat is recognised.
//!
//! A unique index in the database would cost more than everything else an event costs (`docs/decisions/0003`), so the
//! memory is a map of hashes. They are 128 bits of SHA-256: a collision, which would drop an event, is out of the question,
//! and they are the same in every process, so that the strict mode can keep them in a table.

use std::collections::VecDeque;

use belfry_model::{BusId, EventId};
use belfry_store::EventKey;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
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

/// An event's key with its bus folded in: two words, for a million of them stand in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u64; 2]);

impl Key {
    pub(crate) fn of(bus: BusId, key: &EventKey) -> Self {
        let whole = u128::from_le_bytes(*key);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of it")]
        let [low, high] = [whole as u64, (whole >> 64) as u64];
        // An odd factor: different buses never give the same word.
        let bus = u64::from(bus.0.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self([low, high ^ bus])
    }

    /// It is a hash already: a part of it serves as that.
    fn word(self) -> u64 {
        self.0[0]
    }
}

/// Remembers events until they are too old or too many. A million of them take 35 MB.
#[derive(Default)]
pub(crate) struct Recent {
    /// Ids ascending.
    order: VecDeque<(EventId, Key)>,
    /// How many have left `order` at its front, modulo 2^32.
    gone: u32,
    /// For each key the newest event with it, by its place: how many came before it, modulo 2^32.
    places: HashTable<u32>,
}

impl Recent {
    /// Remembers these, the newest `entries_max` of them.
    pub(crate) fn of(mut events: Vec<(EventId, Key)>, entries_max: usize) -> Self {
        events.sort_unstable_by_key(|(id, _)| *id);
        events.drain(..events.len().saturating_sub(entries_max));
        let mut recent = Self {
            places: HashTable::with_capacity(events.len()),
            ..Self::default()
        };
        for (id, key) in events {
            recent.insert(key, id);
        }
        recent
    }

    /// The event with this key that was accepted at or after `since_ms`.
    pub(crate) fn find(&self, key: &Key, since_ms: i64) -> Option<EventId> {
        let (order, gone) = (&self.order, self.gone);
        let is = |place: &u32| at(order, gone, *place).is_some_and(|(_, other)| other == key);
        let place = self.places.find(key.word(), is)?;
        at(order, gone, *place)
            .map(|(id, _)| *id)
            .filter(|id| id.time_ms() >= since_ms)
    }

    /// Remembers an event. Ids come in ascending order.
    pub(crate) fn insert(&mut self, key: Key, id: EventId) {
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32")]
        let place = self.gone.wrapping_add(self.order.len() as u32);
        self.order.push_back((id, key));
        let (order, gone) = (&self.order, self.gone);
        let of = |place: &u32| at(order, gone, *place).map(|(_, key)| *key);
        let entry = self.places.entry(
            key.word(),
            |place| of(place) == Some(key),
            |place| of(place).map_or(0, Key::word),
        );
        match entry {
            Entry::Occupied(mut newest) => *newest.get_mut() = place,
            Entry::Vacant(free) => drop(free.insert(place)),
        }
    }

    /// Takes back what was inserted since `first`, because it was not committed.
    pub(crate) fn retract_from(&mut self, first: EventId) {
        while let Some((id, key)) = self.order.back().copied() {
            if id < first {
                break;
            }
            self.order.pop_back();
            #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32")]
            let place = self.gone.wrapping_add(self.order.len() as u32);
            self.remove(key, place);
        }
    }

    /// Forgets what is older than `before_ms` and the oldest beyond `entries_max`.
    pub(crate) fn forget(&mut self, before_ms: i64, entries_max: usize) {
        while let Some((id, key)) = self.order.front().copied() {
            if id.time_ms() >= before_ms && self.order.len() <= entries_max {
                break;
            }
            self.order.pop_front();
            let place = self.gone;
            self.gone = place.wrapping_add(1);
            self.remove(key, place);
        }
    }

    /// Unless a newer event has the key.
    fn remove(&mut self, key: Key, place: u32) {
        if let Ok(entry) = self.places.find_entry(key.word(), |other| *other == place) {
            entry.remove();
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.order.len()
    }
}

fn at(order: &VecDeque<(EventId, Key)>, gone: u32, place: u32) -> Option<&(EventId, Key)> {
    order.get(place.wrapping_sub(gone) as usize)
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
    fn it_remembers_as_a_plain_list_does() {
        // A generator of numbers by hand: the same history in every run.
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let mut recent = Recent {
            gone: u32::MAX - 500,
            ..Recent::default()
        };
        let mut list: Vec<(EventId, Key)> = Vec::new();
        for ms in 0..5000 {
            let id = EventId::first_at(ms);
            match random(10) {
                0 => {
                    let since = EventId::first_at(ms - i64::try_from(random(4)).unwrap());
                    recent.retract_from(since);
                    list.retain(|(id, _)| *id < since);
                }
                1 => {
                    let (before_ms, most) = (ms - 200, usize::try_from(random(60)).unwrap());
                    recent.forget(before_ms, most);
                    list.retain(|(id, _)| id.time_ms() >= before_ms);
                    list.drain(..list.len().saturating_sub(most));
                }
                _ => {
                    let key = key(u8::try_from(random(40)).unwrap());
                    // As the committer does: what is known is not inserted again.
                    if recent.find(&key, ms - 50).is_none() {
                        recent.insert(key, id);
                        list.push((id, key));
                    }
                }
            }
            for n in 0..40 {
                let newest = list.iter().rev().find(|(_, other)| *other == key(n));
                let newest = newest
                    .map(|(id, _)| *id)
                    .filter(|id| id.time_ms() >= ms - 50);
                assert_eq!(recent.find(&key(n), ms - 50), newest, "at {ms}");
            }
            assert_eq!(recent.len(), list.len());
        }
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
