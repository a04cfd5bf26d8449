//! Looks up what an event has, and gives the branches that may match it.

use std::collections::HashSet;

use super::{
    Candidate, Index, Room,
    branch::{Branch, Posting},
    keys::{Feature, Hash, Part, Shape, finish, mix, seen_bit},
    plan::field_keys,
    postings::Postings,
    ranges::Target,
    values::{NO_VALUE, ValueId, Values},
};

/// Most combinations of values that are looked up for one shape of several parts and one event.
/// An event that comes to more (several paths, each with hundreds of values) has all branches
/// looked at once, one by one, for all such shapes together.
const MAX_COMBINATIONS: usize = 4096;
/// The same where each of them is looked up with every gram of a string.
const MAX_GRAM_COMBINATIONS: usize = 16;

impl Index {
    /// Fills in the candidates, and the rules that match for sure.
    pub(super) fn find(&self, source: &str, room: &mut Room) {
        room.crowded.clear();
        if let Some(always) = self.always.and_then(|shape| self.shapes.get(shape)) {
            let key = finish(mix(always.salt, 0));
            collect(&self.postings, key, NO_VALUE, &mut room.candidates);
        }
        let mut number = 0;
        while let Some(path) = room.values.touched(number) {
            number += 1;
            let Some(node) = self.paths.node(path) else {
                continue;
            };
            for &id in &node.shapes {
                if let Some(shape) = self.shapes.get(id) {
                    self.look_up(source, id, shape, room);
                }
            }
            if let Some(ranges) = node.ranges.and_then(|ranges| self.ranges.get(ranges)) {
                room.values.read_numbers(source, path);
                let values = &room.values;
                let numbers = values.at(path).filter_map(|value| values.number(value));
                ranges.find(numbers, &mut room.numbers, |target, is_sure| match target {
                    Target::Sole { rule, .. } if is_sure => room.matched.push(rule),
                    Target::Sole { branch, .. } | Target::Branch(branch) => {
                        room.candidates.push((branch, NO_VALUE));
                    }
                });
            }
        }
        if !room.crowded.is_empty() {
            self.look_through(source, room);
        }
    }

    fn look_up(&self, source: &str, id: u32, shape: &Shape, room: &mut Room) {
        let mut combinations = 1_usize;
        let mut most = MAX_COMBINATIONS;
        let mut key = Some(0);
        let mut last = NO_VALUE;
        for (part, seen) in shape.parts.iter().zip(&shape.seen) {
            let values = &mut room.values;
            match (values.count(part.path), values.first(part.path)) {
                (0, _) | (_, None) => return,
                (_, Some(_)) if part.feature == Feature::Gram => {
                    key = None;
                    most = MAX_GRAM_COMBINATIONS;
                }
                (1, Some(value)) => {
                    let found = values.feature(source, value, part.feature, &self.hash);
                    last = value;
                    match found.filter(|found| seen & seen_bit(*found) != 0) {
                        Some(found) => key = key.map(|key| mix(key, found)),
                        // What there is only one of settles it most of the time.
                        None => return,
                    }
                }
                (count, _) => {
                    key = None;
                    combinations = combinations.saturating_mul(count);
                }
            }
        }
        if let Some(key) = key {
            room.work.probes += 1;
            let key = finish(mix(shape.salt, key));
            return collect(&self.postings, key, last, &mut room.candidates);
        }
        // One part alone is never too much: it takes no longer than reading its values.
        if combinations > most && shape.parts.len() > 1 {
            return room.crowded.push(id);
        }
        room.keys.clear();
        let mut probe = Probe {
            source,
            hash: &self.hash,
            postings: &self.postings,
            salt: shape.salt,
            values: &mut room.values,
            keys: &mut room.keys,
            probes: &mut room.work.probes,
        };
        probe.combine(&shape.parts, &shape.seen, 0, NO_VALUE);
        // However often a key came up, its branches are collected once.
        room.keys.sort_unstable();
        room.keys.dedup_by_key(|(key, _)| *key);
        for &(key, value) in &room.keys {
            collect(&self.postings, key, value, &mut room.candidates);
        }
    }

    /// Goes through all branches instead of all combinations of values: those are candidates that
    /// have each part of a crowded shape among the values.
    #[cold]
    fn look_through(&self, source: &str, room: &mut Room) {
        let crowded: HashSet<u32> = room.crowded.iter().copied().collect();
        let mut known: HashSet<(Part, u64)> = HashSet::new();
        let shapes = room.crowded.iter().filter_map(|id| self.shapes.get(*id));
        for part in shapes.flat_map(|shape| &shape.parts) {
            let mut next = room.values.first(part.path);
            while let Some(value) = next {
                let found = room.values.feature(source, value, part.feature, &self.hash);
                known.extend(found.map(|found| (*part, found)));
                next = room.values.next(value);
            }
        }
        for (id, branch) in self.branches.iter() {
            room.work.probes += 1;
            let may_match = branch.postings().any(|posting| match posting {
                Posting::Key { shape, .. } if crowded.contains(&shape) => {
                    let parts = self.shapes.get(shape).map(|shape| &shape.parts);
                    parts.is_some_and(|parts| {
                        parts.iter().all(|part| self.has(branch, *part, &known))
                    })
                }
                _ => false,
            });
            if may_match {
                room.candidates.push((id, NO_VALUE));
            }
        }
    }

    /// Whether one of the features that a branch may be found by is known.
    fn has(&self, branch: &Branch, part: Part, known: &HashSet<(Part, u64)>) -> bool {
        if part.feature == Feature::Gram {
            // One of several was chosen; whether it is there is left to verification.
            return true;
        }
        let field = branch.fields().find(|field| field.path == part.path);
        field.is_some_and(|field| {
            let keys = field_keys(&field, &self.beside, &self.hash);
            keys.hashed.iter().any(|one| {
                let feature = one.feature;
                known.contains(&(Part { feature, ..part }, one.hash))
            })
        })
    }
}

#[inline]
fn collect(postings: &Postings, key: u32, value: ValueId, candidates: &mut Vec<Candidate>) {
    postings.each(key, |branch| candidates.push((branch, value)));
}

/// One shape looked up with every combination of values.
struct Probe<'a> {
    source: &'a str,
    hash: &'a Hash,
    postings: &'a Postings,
    salt: u64,
    values: &'a mut Values,
    /// Keys that have branches, and the value of the last part.
    keys: &'a mut Vec<(u32, ValueId)>,
    probes: &'a mut usize,
}

impl Probe<'_> {
    /// The recursion is as deep as a shape has parts.
    fn combine(&mut self, parts: &[Part], seen: &[u64], key: u64, value: ValueId) {
        let (Some((part, parts)), Some((bits, seen))) = (parts.split_first(), seen.split_first())
        else {
            *self.probes += 1;
            let key = finish(mix(self.salt, key));
            if self.postings.has(key) {
                self.keys.push((key, value));
            }
            return;
        };
        let mut next = self.values.first(part.path);
        while let Some(id) = next {
            if part.feature == Feature::Gram {
                self.grams(id, key);
            } else {
                let found = self
                    .values
                    .feature(self.source, id, part.feature, self.hash);
                if let Some(found) = found.filter(|found| bits & seen_bit(*found) != 0) {
                    self.combine(parts, seen, mix(key, found), id);
                }
            }
            next = self.values.next(id);
        }
    }

    /// The grams of one value, which are always the last part.
    fn grams(&mut self, id: ValueId, key: u64) {
        let (postings, salt) = (self.postings, self.salt);
        let (keys, probes) = (&mut *self.keys, &mut *self.probes);
        self.values.grams(self.source, id, self.hash, |gram| {
            *probes += 1;
            let key = finish(mix(salt, mix(key, gram)));
            if postings.has(key) {
                keys.push((key, id));
            }
        });
    }
}
