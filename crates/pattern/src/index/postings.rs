//! Numbers by hash: which branches hang under which access key, which node has which name.

use std::sync::Arc;

use super::{arena::Arena, sorted::Sorted, table::Table};

/// In the table, a value with this bit is the number of a list, else of the only branch.
const LIST: u32 = 1 << 31;

/// Branches by the hash of their access key. Keys that share a hash share their branches, which
/// costs a verification and nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Postings {
    table: Table,
    lists: Arena<List>,
}

/// Several branches: a few right here, so that they need not be fetched from yet another place.
#[derive(Debug, Clone)]
enum List {
    Few([u32; FEW], u8),
    Many(Arc<Sorted<u32>>),
}

const FEW: usize = 6;

impl List {
    /// The branches, in blocks.
    #[inline]
    fn blocks(&self) -> impl Iterator<Item = &[u32]> {
        let (few, many) = match self {
            Self::Few(branches, count) => (branches.get(..usize::from(*count)), None),
            Self::Many(sorted) => (None, Some(sorted.blocks())),
        };
        few.into_iter().chain(many.into_iter().flatten())
    }

    fn length(&self) -> usize {
        match self {
            Self::Few(_, count) => usize::from(*count),
            Self::Many(sorted) => sorted.length(),
        }
    }

    fn add(&mut self, branch: u32) {
        match self {
            Self::Few(branches, count) => {
                if let Some(place) = branches.get_mut(usize::from(*count)) {
                    *place = branch;
                    *count += 1;
                    return;
                }
                let mut sorted = Sorted::default();
                for branch in branches.iter().copied().chain([branch]) {
                    sorted.insert(branch, |other| *other < branch);
                }
                *self = Self::Many(Arc::new(sorted));
            }
            Self::Many(sorted) => {
                Arc::make_mut(sorted).insert(branch, |other| *other < branch);
            }
        }
    }

    fn remove(&mut self, branch: u32) {
        match self {
            Self::Few(branches, count) => {
                let used = branches.get_mut(..usize::from(*count)).unwrap_or_default();
                if let Some(place) = used.iter().position(|other| *other == branch) {
                    used.copy_within(place + 1.., place);
                    *count -= 1;
                }
            }
            Self::Many(sorted) => {
                Arc::make_mut(sorted).remove(
                    |other| *other == branch,
                    |other| *other < branch,
                    |other| *other > branch,
                );
            }
        }
    }

    /// The only branch, if there is just one.
    fn only(&self) -> Option<u32> {
        match self {
            Self::Few([only, ..], 1) => Some(*only),
            Self::Few(..) => None,
            Self::Many(sorted) => sorted.only(),
        }
    }
}

impl Postings {
    /// Tells of the branches under a key.
    #[inline]
    pub(super) fn each(&self, key: u32, mut tell: impl FnMut(u32)) {
        match self.table.get(key) {
            None => {}
            Some(value) if value & LIST == 0 => tell(value),
            Some(value) => {
                let blocks = self.lists.get(value & !LIST).into_iter();
                let branches = blocks.flat_map(List::blocks).flatten();
                branches.for_each(|&branch| tell(branch));
            }
        }
    }

    /// Whether there is anything under a key.
    #[inline]
    pub(super) fn has(&self, key: u32) -> bool {
        self.table.get(key).is_some()
    }

    /// The first branch under a key that is the right one.
    pub(super) fn find(&self, key: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mut found = None;
        self.each(key, |branch| {
            if found.is_none() && is(branch) {
                found = Some(branch);
            }
        });
        found
    }

    /// How many branches are under a key.
    pub(super) fn count(&self, key: u32) -> usize {
        match self.table.get(key) {
            None => 0,
            Some(value) if value & LIST == 0 => 1,
            Some(value) => self.lists.get(value & !LIST).map_or(0, List::length),
        }
    }

    pub(super) fn add(&mut self, key: u32, branch: u32) {
        match self.table.get(key) {
            None => self.table.set(key, branch),
            Some(value) if value & LIST == 0 => {
                let mut list = List::Few([0; FEW], 0);
                list.add(value);
                list.add(branch);
                let list = self.lists.add(list);
                self.table.set(key, list | LIST);
            }
            Some(value) => {
                if let Some(list) = self.lists.get_mut(value & !LIST) {
                    list.add(branch);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, key: u32, branch: u32) {
        match self.table.get(key) {
            Some(value) if value & LIST != 0 => {
                let Some(list) = self.lists.get_mut(value & !LIST) else {
                    return;
                };
                list.remove(branch);
                if let Some(only) = list.only() {
                    self.lists.remove(value & !LIST);
                    self.table.set(key, only);
                }
            }
            Some(value) if value == branch => self.table.remove(key),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::Postings;

    proptest! {
        #[test]
        fn behaves_as_a_map_of_sets(
            steps in prop::collection::vec((any::<bool>(), 0_u32..3, 0_u32..20), 0..300),
        ) {
            let mut postings = Postings::default();
            let mut map: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
            for (add, key, branch) in steps {
                let set = map.entry(key).or_default();
                if add && set.insert(branch) {
                    postings.add(key, branch);
                } else if !add && set.remove(&branch) {
                    postings.remove(key, branch);
                }
            }
            for (key, set) in map {
                let mut found = BTreeSet::new();
                postings.each(key, |branch| { found.insert(branch); });
                prop_assert_eq!((postings.count(key), postings.has(key)), (set.len(), !set.is_empty()));
                prop_assert_eq!(postings.find(key, |branch| branch > 9).is_some(), set.iter().any(|b| *b > 9));
                prop_assert_eq!(found, set);
            }
        }
    }
}
