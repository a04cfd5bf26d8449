//! Hangs branches under access keys, and takes them off again.

use super::{
    Index,
    branch::{self, Branch, End, Op, Posting, fields},
    keys::{Feature, Part, Shape, finish, mix, seen_bit},
    paths::PathId,
    plan::{Hashed, Key, Way, field_keys, ways},
    ranges::{Ranges, Target},
};

/// Branches under one key from which on a piece of a string joins it, which makes every event
/// with the rest of the key a little dearer.
const CROWDED_FOR_GRAMS: usize = 4;
/// Branches under one key from which on a range is taken instead, which every event with a number
/// there meets.
const CROWDED: usize = 64;
/// Ranges around one number that are counted.
const MAX_LOAD: usize = 256;
/// Most shapes of several parts that are looked up for one path.
const MAX_SHAPES: usize = 32;

impl Index {
    /// Hangs a branch under its keys.
    pub(super) fn post(&mut self, rule: u32, program: &[u8], id: u32) -> Vec<Posting> {
        let ways = ways(program, &self.beside, &self.hash);
        let Some((way, keys)) = self.choose(&ways, program) else {
            return Vec::new();
        };
        self.count_grams(fields(program), true);
        let mut postings = Vec::with_capacity(keys.len() + 1);
        for key in &keys {
            let shape = self.shape(&key.parts);
            if let Some(shape) = self.shapes.get_mut(shape) {
                for (seen, hash) in shape.seen.iter_mut().zip(&key.hashes) {
                    *seen |= seen_bit(*hash);
                }
            }
            let key = self.table_key(shape, key);
            postings.push(Posting::Key { shape, key });
        }
        // Alternatives may be written twice, and keys may come to the same.
        postings.sort_unstable();
        postings.dedup();
        for posting in &postings {
            if let Posting::Key { shape, key } = *posting {
                self.postings.add(key, id);
                if let Some(shape) = self.shapes.get_mut(shape) {
                    shape.keys += 1;
                }
            }
        }
        if let Way::Ranges(path, _) = way {
            self.add_ranges(*path, rule, program, id);
            postings.push(Posting::Ranges { path: *path });
        }
        postings
    }

    /// The first way that is not crowded, else the least crowded one; with its keys.
    fn choose<'w>(&self, ways: &'w [Way], program: &[u8]) -> Option<(&'w Way, Vec<Key>)> {
        let mut best: Option<(usize, &Way, Vec<Key>)> = None;
        for (number, way) in ways.iter().enumerate() {
            let Some((load, keys)) = self.load(way, program) else {
                continue;
            };
            if best.as_ref().is_none_or(|(least, ..)| load < *least) {
                best = Some((load, way, keys));
            }
            let crowded = match ways.get(number + 1) {
                Some(Way::Grams { .. }) => CROWDED_FOR_GRAMS,
                _ => CROWDED,
            };
            if load < crowded {
                break;
            }
        }
        best.map(|(_, way, keys)| (way, keys))
    }

    /// Counts the grams of a branch as there or as gone.
    fn count_grams(&mut self, fields: branch::Fields<'_>, are_there: bool) {
        for field in fields {
            for gram in field_keys(&field, &self.beside, &self.hash).grams.concat() {
                let key = finish(gram);
                let count = self.grams.get(key).unwrap_or_default();
                match (are_there, count) {
                    (true, _) => self.grams.set(key, count.saturating_add(1)),
                    (false, 0 | 1) => self.grams.remove(key),
                    (false, _) => self.grams.set(key, count - 1),
                }
            }
        }
    }

    pub(super) fn unpost(&mut self, branch: &Branch, id: u32) {
        self.count_grams(branch.fields(), false);
        for posting in branch.postings() {
            match posting {
                Posting::Key { shape, key } => {
                    self.postings.remove(key, id);
                    self.release_shape(shape);
                }
                Posting::Ranges { path } => self.remove_ranges(path, branch, id),
            }
        }
    }

    fn table_key(&self, shape: u32, key: &Key) -> u32 {
        let salt = self.shapes.get(shape).map_or(0, |shape| shape.salt);
        key.under(salt)
    }

    /// How many branches share the most crowded key of a way, and the keys to take; `None` when
    /// the way would need one shape too many.
    fn load(&self, way: &Way, program: &[u8]) -> Option<(usize, Vec<Key>)> {
        let most = |keys: &[Key]| {
            keys.iter()
                .map(|key| self.key_load(key))
                .try_fold(0, |most, load| Some(most.max(load?)))
        };
        match way {
            Way::Keys(keys) => Some((most(keys)?, keys.clone())),
            Way::Ranges(path, keys) => {
                let ranges = self.paths.node(*path).and_then(|node| node.ranges);
                let load = ranges
                    .and_then(|ranges| self.ranges.get(ranges))
                    .map_or(0, |ranges| {
                        let own = ranges_of(fields(program), *path);
                        let loads = own.map(|(low, high)| ranges.load(low, high, MAX_LOAD));
                        loads.max().unwrap_or_default()
                    });
                Some((most(keys)?.max(load), keys.clone()))
            }
            Way::Grams {
                path,
                bases,
                lists,
                keys,
            } => {
                let mut keys = keys.clone();
                for list in lists {
                    for base in bases {
                        let feature = Feature::Gram;
                        // Of several that are equally good, the one that is rare elsewhere too.
                        let best = list.iter().min_by_key(|&&hash| {
                            let key = base.with(*path, Hashed { feature, hash });
                            (self.key_load(&key), self.grams.get(finish(hash)))
                        });
                        let hash = *best?;
                        keys.push(base.with(*path, Hashed { feature, hash }));
                    }
                }
                Some((most(&keys)?, keys))
            }
        }
    }

    fn key_load(&self, key: &Key) -> Option<usize> {
        match self.find_shape(&key.parts) {
            Some(shape) => Some(self.postings.count(self.table_key(shape, key))),
            None => self.may_add_shape(&key.parts).then_some(0),
        }
    }

    /// The path at which a shape is looked up.
    fn anchor(parts: &[Part]) -> Option<PathId> {
        parts.last().map(|part| part.path)
    }

    fn find_shape(&self, parts: &[Part]) -> Option<u32> {
        let Some(anchor) = Self::anchor(parts) else {
            return self.always;
        };
        let shapes = &self.paths.node(anchor)?.shapes;
        shapes.iter().copied().find(|shape| {
            self.shapes
                .get(*shape)
                .is_some_and(|shape| *shape.parts == *parts)
        })
    }

    fn may_add_shape(&self, parts: &[Part]) -> bool {
        if parts.len() <= 1 {
            return true;
        }
        let Some(node) = Self::anchor(parts).and_then(|anchor| self.paths.node(anchor)) else {
            return false;
        };
        let of_several = |shape: &&u32| {
            self.shapes
                .get(**shape)
                .is_some_and(|shape| shape.parts.len() > 1)
        };
        node.shapes.iter().filter(of_several).count() < MAX_SHAPES
    }

    /// The shape of these parts, a new one if need be.
    fn shape(&mut self, parts: &[Part]) -> u32 {
        if let Some(shape) = self.find_shape(parts) {
            return shape;
        }
        let shape = self.shapes.add(Shape {
            parts: parts.into(),
            salt: 0,
            seen: Default::default(),
            keys: 0,
        });
        if let Some(new) = self.shapes.get_mut(shape) {
            new.salt = mix(shape.into(), 0x5851_f42d_4c95_7f2d);
        }
        match Self::anchor(parts) {
            None => self.always = Some(shape),
            Some(anchor) => {
                if let Some(node) = self.paths.node_mut(anchor) {
                    node.shapes.push(shape);
                }
            }
        }
        shape
    }

    fn release_shape(&mut self, id: u32) {
        let Some(shape) = self.shapes.get_mut(id) else {
            return;
        };
        shape.keys -= 1;
        if shape.keys > 0 {
            return;
        }
        let Some(shape) = self.shapes.remove(id) else {
            return;
        };
        match Self::anchor(&shape.parts) {
            None => self.always = None,
            Some(anchor) => {
                if let Some(node) = self.paths.node_mut(anchor) {
                    node.shapes.retain(|shape| *shape != id);
                }
            }
        }
    }

    fn add_ranges(&mut self, path: PathId, rule: u32, program: &[u8], id: u32) {
        let is_sole = fields(program).count() == 1;
        let target = if is_sole {
            Target::Sole { branch: id, rule }
        } else {
            Target::Branch(id)
        };
        let known = self.paths.node(path).and_then(|node| node.ranges);
        let ranges = known.unwrap_or_else(|| self.ranges.add(Ranges::default()));
        if let Some(node) = self.paths.node_mut(path) {
            node.ranges = Some(ranges);
        }
        if let Some(ranges) = self.ranges.get_mut(ranges) {
            for (low, high) in ranges_of(fields(program), path) {
                ranges.add(low, high, target);
            }
        }
    }

    fn remove_ranges(&mut self, path: PathId, branch: &Branch, id: u32) {
        let Some(number) = self.paths.node(path).and_then(|node| node.ranges) else {
            return;
        };
        if let Some(ranges) = self.ranges.get_mut(number) {
            for (low, high) in ranges_of(branch.fields(), path) {
                ranges.remove(low, high, id);
            }
            if ranges.is_empty() {
                self.ranges.remove(number);
                if let Some(node) = self.paths.node_mut(path) {
                    node.ranges = None;
                }
            }
        }
    }
}

/// The ranges that a branch asks for at a path; those of one number are looked up by that.
fn ranges_of(
    mut fields: branch::Fields<'_>,
    path: PathId,
) -> impl Iterator<Item = (Option<End>, Option<End>)> {
    let field = fields.find(|field| field.path == path);
    let ops = field.into_iter().flat_map(|field| field.ops());
    ops.filter_map(|op| match op {
        Op::Range {
            low: Some(low),
            high: Some(high),
        } if low.key == high.key => None,
        Op::Range { low, high } => Some((low, high)),
        _ => None,
    })
}
