//! A copy-on-write list with numbered places.
//!
//! A clone shares everything. A change copies the few small blocks on the way to the place, and
//! only where a clone still holds them, so that its price does not depend on the length.

use std::sync::Arc;

/// Entries of a block, and blocks of a group.
const WIDTH: usize = 64;
const NONE: u32 = u32::MAX;

type Block<T> = Arc<[Entry<T>; WIDTH]>;
type Group<T> = Arc<Vec<Block<T>>>;

/// See the module. Places that were given back are used again.
#[derive(Debug, Clone)]
pub(super) struct Arena<T> {
    groups: Vec<Group<T>>,
    /// Places ever used.
    length: u32,
    /// The place given back last; each knows the one before.
    free: u32,
}

#[derive(Debug, Clone)]
enum Entry<T> {
    Used(T),
    Free(u32),
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            length: 0,
            free: NONE,
        }
    }
}

/// Group, block and entry of a place.
const fn split(place: u32) -> (usize, usize, usize) {
    let place = place as usize;
    (
        place / (WIDTH * WIDTH),
        place / WIDTH % WIDTH,
        place % WIDTH,
    )
}

impl<T> Arena<T> {
    /// One more than the highest place ever used.
    pub(super) const fn length(&self) -> usize {
        self.length as usize
    }

    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&T> {
        let (group, block, entry) = split(place);
        match self.groups.get(group)?.get(block)?.get(entry)? {
            Entry::Used(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    /// All entries in use.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..self.length).filter_map(|place| Some((place, self.get(place)?)))
    }
}

impl<T: Clone> Arena<T> {
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        match self.entry_mut(place)? {
            Entry::Used(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    fn entry_mut(&mut self, place: u32) -> Option<&mut Entry<T>> {
        let (group, block, entry) = split(place);
        let blocks = Arc::make_mut(self.groups.get_mut(group)?);
        Arc::make_mut(blocks.get_mut(block)?).get_mut(entry)
    }

    /// Puts a value in a free place, and gives its number.
    pub(super) fn add(&mut self, value: T) -> u32 {
        let place = self.free;
        if let Some(entry) = self.entry_mut(place) {
            let before = std::mem::replace(entry, Entry::Used(value));
            self.free = match before {
                Entry::Free(next) => next,
                Entry::Used(_) => NONE,
            };
            return place;
        }
        let place = self.length;
        let (group, block, entry) = split(place);
        if self.groups.len() <= group {
            self.groups.push(Arc::default());
        }
        if let Some(blocks) = self.groups.get_mut(group) {
            let blocks = Arc::make_mut(blocks);
            if blocks.len() <= block {
                blocks.push(Arc::new(std::array::from_fn(|_| Entry::Free(NONE))));
            }
            let entries = blocks.get_mut(block).map(Arc::make_mut);
            if let Some(place) = entries.and_then(|entries| entries.get_mut(entry)) {
                *place = Entry::Used(value);
            }
        }
        self.length += 1;
        place
    }

    /// Gives a place back.
    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let free = self.free;
        let entry = self.entry_mut(place)?;
        match std::mem::replace(entry, Entry::Free(free)) {
            Entry::Used(value) => {
                self.free = place;
                Some(value)
            }
            before @ Entry::Free(_) => {
                *entry = before;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::Arena;

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut arena = Arena::default();
        let places: Vec<u32> = (0..10_000).map(|n| arena.add(n)).collect();
        let before = arena.clone();
        for place in &places {
            *arena.get_mut(*place).unwrap() += 1;
        }
        assert_eq!(arena.remove(77), Some(78));
        assert_eq!(arena.remove(77), None);
        assert_eq!((before.get(77), arena.get(77)), (Some(&77), None));
        assert_eq!(arena.add(5), 77);
        assert!(before.iter().all(|(place, value)| place == *value));
        assert_eq!(before.iter().count(), 10_000);
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(steps in prop::collection::vec((0_u32..3, 0_u32..40), 0..300)) {
            let mut arena = Arena::default();
            let mut map: HashMap<u32, u32> = HashMap::new();
            for (what, n) in steps {
                if what == 0 {
                    prop_assert_eq!(arena.remove(n), map.remove(&n));
                } else {
                    let place = arena.add(n);
                    prop_assert_eq!(map.insert(place, n), None);
                }
                let mut all: Vec<_> = map.iter().map(|(a, b)| (*a, *b)).collect();
                all.sort_unstable();
                let found: Vec<_> = arena.iter().map(|(a, b)| (a, *b)).collect();
                prop_assert_eq!(found, all);
            }
        }
    }
}
