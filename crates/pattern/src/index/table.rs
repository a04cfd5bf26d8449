//! A copy-on-write map from hashes to numbers.
//!
//! A tree by the hash's upper bits, whose leaves are small open-addressing tables. A clone shares
//! everything; a change copies one leaf and the way to it.
//!
//! Most look-ups find nothing, and with many keys a leaf is seldom in the cache. So the node above
//! it knows by a few bits what cannot be in the leaf, and most of these look-ups end there.

use std::sync::Arc;

/// Children of an inner node, and the bits that choose one.
const FAN: usize = 16;
const FAN_BITS: u32 = 4;
/// Where the bits of the first level start, and those of the last one.
const TOP_SHIFT: u32 = 32 - FAN_BITS;
const LAST_SHIFT: u32 = 8;
/// Keys of a leaf before it is split.
const LEAF_KEYS: u32 = 64;
/// Slots of the smallest leaf.
const FIRST_SLOTS: usize = 4;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    root: Node,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Leaf),
    Inner(Arc<[Self; FAN]>),
}

/// A slot is 0, or holds the key above and the value plus one below. A key's place is the first
/// free one from its lower bits on.
#[derive(Debug, Clone, Default)]
struct Leaf {
    count: u32,
    filter: Filter,
    slots: Arc<[u64]>,
}

/// Which keys may be in a leaf: each sets two of the bits.
#[derive(Debug, Clone, Copy, Default)]
struct Filter(u128);

impl Filter {
    const fn bits(key: u32) -> u128 {
        let spread = key.wrapping_mul(0x9e37_79b1);
        1 << (spread >> 25) | 1 << (spread >> 18 & 127)
    }

    #[inline]
    const fn may_have(self, key: u32) -> bool {
        let bits = Self::bits(key);
        self.0 & bits == bits
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Leaf::default())
    }
}

const fn child_of(key: u32, shift: u32) -> usize {
    (key >> shift) as usize % FAN
}

const fn slot_of(key: u32, value: u32) -> u64 {
    (key as u64) << 32 | (value as u64 + 1)
}

const fn key_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn value_of(slot: u64) -> u32 {
    (slot as u32).wrapping_sub(1)
}

impl Table {
    #[inline]
    pub(super) fn get(&self, key: u32) -> Option<u32> {
        let mut node = &self.root;
        let mut shift = TOP_SHIFT;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.get(key),
                Node::Inner(children) => {
                    node = children.get(child_of(key, shift))?;
                    shift = shift.saturating_sub(FAN_BITS);
                }
            }
        }
    }

    /// Gives the key this value, which is not the largest number there is.
    pub(super) fn set(&mut self, key: u32, value: u32) {
        let mut shift = TOP_SHIFT;
        let mut node = &mut self.root;
        loop {
            if let Node::Leaf(leaf) = node {
                if leaf.count < LEAF_KEYS || shift < LAST_SHIFT {
                    return leaf.set(key, value);
                }
                *node = leaf.split(shift);
            }
            let Node::Inner(children) = node else { return };
            let Some(child) = Arc::make_mut(children).get_mut(child_of(key, shift)) else {
                return;
            };
            node = child;
            shift -= FAN_BITS;
        }
    }

    pub(super) fn remove(&mut self, key: u32) {
        if self.get(key).is_none() {
            return;
        }
        let mut shift = TOP_SHIFT;
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.remove(key),
                Node::Inner(children) => {
                    let Some(child) = Arc::make_mut(children).get_mut(child_of(key, shift)) else {
                        return;
                    };
                    node = child;
                    shift = shift.saturating_sub(FAN_BITS);
                }
            }
        }
    }
}

impl Leaf {
    #[inline]
    fn get(&self, key: u32) -> Option<u32> {
        if !self.filter.may_have(key) {
            return None;
        }
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = key as usize & mask;
        // Ends at a free slot, of which there are always some; an empty leaf has no slot at all.
        loop {
            let slot = *self.slots.get(at)?;
            if slot == 0 {
                return None;
            }
            if key_of(slot) == key {
                return Some(value_of(slot));
            }
            at = (at + 1) & mask;
        }
    }

    fn set(&mut self, key: u32, value: u32) {
        // At most three quarters are in use.
        if (self.count as usize + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(FIRST_SLOTS));
        }
        self.filter.0 |= Filter::bits(key);
        let mask = self.slots.len() - 1;
        let slots = Arc::make_mut(&mut self.slots);
        let mut at = key as usize & mask;
        while let Some(slot) = slots.get_mut(at) {
            let free = *slot == 0;
            if free || key_of(*slot) == key {
                *slot = slot_of(key, value);
                self.count += u32::from(free);
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn resize(&mut self, length: usize) {
        let old = std::mem::replace(&mut self.slots, std::iter::repeat_n(0, length).collect());
        self.count = 0;
        self.filter = Filter::default();
        for slot in old.iter().filter(|slot| **slot != 0) {
            self.set(key_of(*slot), value_of(*slot));
        }
    }

    fn split(&self, shift: u32) -> Node {
        let mut leaves: [Self; FAN] = Default::default();
        for slot in self.slots.iter().filter(|slot| **slot != 0) {
            let key = key_of(*slot);
            if let Some(leaf) = leaves.get_mut(child_of(key, shift)) {
                leaf.set(key, value_of(*slot));
            }
        }
        Node::Inner(Arc::new(leaves.map(Node::Leaf)))
    }

    /// Frees the key's slot and moves up what was pushed behind it.
    fn remove(&mut self, key: u32) {
        let mask = self.slots.len().wrapping_sub(1);
        let slots = Arc::make_mut(&mut self.slots);
        let mut gap = key as usize & mask;
        while slots.get(gap).is_some_and(|slot| key_of(*slot) != key) {
            gap = (gap + 1) & mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let Some(&slot) = slots.get(at).filter(|slot| **slot != 0) else {
                break;
            };
            // What may stand in the gap has its own place at or before it.
            let home = key_of(slot) as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                if let Some(place) = slots.get_mut(gap) {
                    *place = slot;
                }
                gap = at;
            }
        }
        if let Some(place) = slots.get_mut(gap) {
            *place = 0;
        }
        // Bits are shared: what is left has to set its own anew.
        let length = self.slots.len();
        let fitting = if self.count as usize * 8 < length {
            length / 2
        } else {
            length
        };
        self.resize(fitting.max(FIRST_SLOTS));
        if self.count == 0 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::Table;

    /// Spreads small numbers over all bits, with some neighbours left next to each other.
    fn spread(n: u32) -> u32 {
        (n / 3).wrapping_mul(0x9e37_79b9).wrapping_add(n % 3)
    }

    #[test]
    fn holds_many_and_gives_them_back() {
        let mut table = Table::default();
        for n in 0..100_000 {
            table.set(spread(n), n);
        }
        let before = table.clone();
        assert!((0..100_000).all(|n| table.get(spread(n)) == Some(n)));
        for n in (0..100_000_u32).filter(|n| !n.is_multiple_of(7)) {
            table.remove(spread(n));
        }
        let left = |n: u32| n.is_multiple_of(7).then_some(n);
        assert!((0..100_000).all(|n| table.get(spread(n)) == left(n)));
        assert!((0..100_000).all(|n| before.get(spread(n)) == Some(n)));
    }

    #[test]
    fn keys_alike_in_their_upper_bits_fit() {
        let mut table = Table::default();
        for n in 0..10_000 {
            table.set(n, u32::MAX - 1 - n);
        }
        assert!((0..10_000).all(|n| table.get(n) == Some(u32::MAX - 1 - n)));
        assert_eq!(table.get(10_000), None);
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(steps in prop::collection::vec((any::<bool>(), 0_u32..60), 0..400)) {
            let mut table = Table::default();
            let mut map = HashMap::new();
            for (n, (add, key)) in (0..).zip(steps) {
                let key = if key < 30 { key } else { spread(key) };
                if add {
                    table.set(key, n);
                    map.insert(key, n);
                } else {
                    table.remove(key);
                    map.remove(&key);
                }
            }
            for key in (0..30).chain((30..60).map(spread)) {
                prop_assert_eq!(table.get(key), map.get(&key).copied());
            }
        }
    }
}
