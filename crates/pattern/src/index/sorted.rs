//! A copy-on-write sorted list.
//!
//! Items stand in blocks; a clone shares them, and a change copies one. The list itself does not
//! know what the items are sorted by: whoever holds it says so each time.

use std::sync::Arc;

/// Items of a block before it is split in two.
const BLOCK: usize = 128;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Sorted<T> {
    /// None of them is empty.
    blocks: Vec<Block<T>>,
}

/// Knows its first item itself, so that the right block is found without going into others.
#[derive(Debug, Clone)]
struct Block<T> {
    first: T,
    items: Arc<Vec<T>>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

impl<T: Copy> Sorted<T> {
    pub(super) const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn length(&self) -> usize {
        self.blocks.iter().map(|block| block.items.len()).sum()
    }

    /// The blocks, in order.
    #[inline]
    pub(super) fn blocks(&self) -> impl Iterator<Item = &[T]> {
        self.blocks.iter().map(|block| block.items.as_slice())
    }

    /// The only item, if there is just one.
    pub(super) fn only(&self) -> Option<T> {
        match self.blocks.as_slice() {
            [block] if block.items.len() == 1 => Some(block.first),
            _ => None,
        }
    }

    /// The number of the block in which items stand that are not before a place. Ones at that very
    /// place may go on in the blocks behind it.
    fn block_of(&self, is_before: impl Fn(&T) -> bool) -> usize {
        self.blocks
            .partition_point(|block| is_before(&block.first))
            .saturating_sub(1)
    }

    /// Puts an item in its place; `is_before` says of another one that it stands before.
    pub(super) fn insert(&mut self, item: T, is_before: impl Fn(&T) -> bool) {
        let number = self.block_of(&is_before);
        let Some(block) = self.blocks.get_mut(number) else {
            self.blocks.push(Block {
                first: item,
                items: Arc::new(vec![item]),
            });
            return;
        };
        let items = Arc::make_mut(&mut block.items);
        let place = items.partition_point(is_before);
        items.insert(place, item);
        if place == 0 {
            block.first = item;
        }
        if items.len() > BLOCK {
            let upper = items.split_off(BLOCK / 2);
            if let Some(&first) = upper.first() {
                let items = Arc::new(upper);
                self.blocks.insert(number + 1, Block { first, items });
            }
        }
    }

    /// Takes away the first item that is the one, among those that are neither before nor behind
    /// its place.
    pub(super) fn remove(
        &mut self,
        is_it: impl Fn(&T) -> bool,
        is_before: impl Fn(&T) -> bool,
        is_behind: impl Fn(&T) -> bool,
    ) -> bool {
        let first = self.block_of(is_before);
        let near = self.blocks.get(first..).unwrap_or_default();
        let near = near.iter().take_while(|block| !is_behind(&block.first));
        let found = near
            .zip(first..)
            .find_map(|(block, number)| Some((number, block.items.iter().position(&is_it)?)));
        let Some((number, place)) = found else {
            return false;
        };
        if let Some(block) = self.blocks.get_mut(number) {
            let items = Arc::make_mut(&mut block.items);
            items.remove(place);
            match items.first() {
                Some(first) => block.first = *first,
                None => {
                    self.blocks.remove(number);
                }
            }
        }
        true
    }

    /// Goes over the items from the first one on that is not before a place, as long as told to.
    #[inline]
    pub(super) fn from(&self, is_before: impl Fn(&T) -> bool, mut each: impl FnMut(&T) -> bool) {
        let first = self.block_of(&is_before);
        for (number, block) in self
            .blocks
            .get(first..)
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            let start = if number == 0 {
                block.items.partition_point(&is_before)
            } else {
                0
            };
            for item in block.items.get(start..).unwrap_or_default() {
                if !each(item) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Sorted;

    fn all(sorted: &Sorted<u32>) -> Vec<u32> {
        sorted.blocks().flatten().copied().collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_sorted_vector(
            steps in prop::collection::vec((0_u32..4, 0_u32..50), 0..700), from in 0_u32..50,
        ) {
            let mut sorted = Sorted::default();
            let mut vector: Vec<u32> = Vec::new();
            let mut clones = Vec::new();
            for (what, n) in steps {
                if what == 0 {
                    let removed = sorted.remove(|x| *x == n, |x| *x < n, |x| *x > n);
                    let place = vector.iter().position(|x| *x == n);
                    prop_assert_eq!(removed, place.is_some());
                    place.map(|place| vector.remove(place));
                } else {
                    sorted.insert(n, |x| *x < n);
                    vector.insert(vector.partition_point(|x| *x < n), n);
                }
                if n == 0 {
                    clones.push((sorted.clone(), vector.clone()));
                }
            }
            prop_assert_eq!(sorted.length(), vector.len());
            prop_assert_eq!(sorted.only(), if let [only] = *vector { Some(only) } else { None });
            let mut rest = Vec::new();
            sorted.from(|x| *x < from, |x| { rest.push(*x); true });
            prop_assert_eq!(&rest[..], &vector[vector.partition_point(|x| *x < from)..]);
            clones.push((sorted, vector));
            for (sorted, vector) in &clones {
                prop_assert_eq!(&all(sorted), vector);
            }
        }
    }
}
