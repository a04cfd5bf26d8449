//! Chooses the access keys of a branch.
//!
//! A branch is found by the fields that tell it best from others: all its alternatives of up to
//! four fields together, exact values before parts of strings. Where many branches share that key
//! already, a piece of a string joins it or a range takes its place. Branches with nothing to look
//! up are tried for every event that has a value at one of their paths.

use super::{
    arena::Arena,
    branch::{Beside, FieldCode, Op, fields},
    keys::{Feature, GRAM, Hash, MAX_PARTS, Part, affix_length, finish, mix, word},
    paths::PathId,
    values::{block4, block6},
};
use crate::ops::{Test, regexp::Literals};

/// Most fields in one key. A gram may be one more part.
const MAX_FIELDS: usize = MAX_PARTS - 1;
/// Most keys of a branch that come from several fields; one field may have more alternatives.
const MAX_KEYS: usize = 16;
/// Most keys of a branch altogether. A field with more alternatives than that is not looked up by
/// them.
const MAX_ALTERNATIVE_KEYS: usize = 1024;
/// Most grams of one alternative that are considered.
const MAX_GRAMS: usize = 256;
/// Most keys of a branch that is found by grams.
const MAX_GRAM_KEYS: usize = 64;

/// One way for a value to satisfy a field, as far as it can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hashed {
    pub(super) feature: Feature,
    pub(super) hash: u64,
}

/// How the alternatives of one field can be looked up.
#[derive(Debug, Default)]
pub(super) struct FieldKeys {
    pub(super) path: PathId,
    pub(super) hashed: Vec<Hashed>,
    /// Alternatives that are ranges.
    ranges: usize,
    /// Alternatives that only a piece of a string leads to: any of the grams of each.
    pub(super) grams: Vec<Vec<u64>>,
    /// An alternative that any value may satisfy, as far as the index knows.
    open: bool,
    /// The field may be satisfied without a value.
    absent: bool,
}

/// A key: parts and what their hashes come to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) parts: Vec<Part>,
    /// What the parts are to have.
    pub(super) hashes: Vec<u64>,
}

/// One way to find a branch.
#[derive(Debug)]
pub(super) enum Way {
    /// By one of these keys.
    Keys(Vec<Key>),
    /// By the ranges of the path, or by one of the keys.
    Ranges(PathId, Vec<Key>),
    /// By one of the keys; or by one gram of each of the lists, whichever, with each of the bases.
    Grams {
        path: PathId,
        bases: Vec<Key>,
        lists: Vec<Vec<u64>>,
        keys: Vec<Key>,
    },
}

pub(super) fn field_keys(field: &FieldCode<'_>, beside: &Arena<Beside>, hash: &Hash) -> FieldKeys {
    let mut keys = FieldKeys {
        path: field.path,
        absent: field.may_be_absent(),
        ..FieldKeys::default()
    };
    for op in field.ops() {
        match op {
            Op::Beside(number) => keys.beside(beside.get(number), hash),
            op => keys.op(op, hash),
        }
    }
    if keys.hashed.len() > MAX_ALTERNATIVE_KEYS {
        keys.open = true;
    }
    keys
}

impl FieldKeys {
    fn op(&mut self, op: Op<'_>, hash: &Hash) {
        let (feature, hash) = match op {
            Op::Null => (Feature::Word, word(None)),
            Op::Bool(b) => (Feature::Word, word(Some(b))),
            Op::Text(s) => (Feature::Text, hash.text(s)),
            Op::Number(key) => (Feature::Number, hash.decimal(key)),
            Op::Address(bits) => (Feature::Address, hash.address(bits)),
            Op::Folded(s) => (Feature::Folded, hash.text(s)),
            Op::Prefix(s) => return self.prefix(s, Feature::Prefix, hash),
            Op::Suffix(s) => return self.suffix(s, Feature::Suffix, hash),
            Op::FoldedPrefix(s) => return self.prefix(s, Feature::FoldedPrefix, hash),
            Op::FoldedSuffix(s) => return self.suffix(s, Feature::FoldedSuffix, hash),
            Op::Wildcard(pieces) => {
                let first = pieces.clone().next().unwrap_or_default();
                let last = pieces.clone().last().unwrap_or_default();
                return self.pieces(first, last, pieces.skip(1), hash);
            }
            Op::Contain(pieces) => return self.pieces(b"", b"", pieces, hash),
            Op::Range {
                low: Some(low),
                high: Some(high),
            } if low.key == high.key => (Feature::Number, hash.decimal(low.key)),
            Op::Range { .. } => return self.ranges += 1,
            Op::Exists
            | Op::Not(_)
            | Op::Beside(_)
            | Op::Block4 { bits: 0, .. }
            | Op::Block6 { bits: 0..4, .. } => return self.open = true,
            Op::Block4 { network, bits } => (Feature::Block4(bits), block4(network, bits, hash)),
            Op::Block6 { network, bits } => {
                // Only every fourth length is looked up; what is within decides the test.
                let bits = bits & !3;
                (Feature::Block6(bits), block6(network, bits, hash))
            }
        };
        self.hashed.push(Hashed { feature, hash });
    }

    fn beside(&mut self, beside: Option<&Beside>, hash: &Hash) {
        match beside {
            Some(Beside::Regexp(regexp)) => match regexp.literals() {
                Literals::Prefixes(all) => {
                    all.iter()
                        .for_each(|s| self.prefix(s, Feature::Prefix, hash));
                }
                Literals::Suffixes(all) => {
                    all.iter()
                        .for_each(|s| self.suffix(s, Feature::Suffix, hash));
                }
                Literals::None => self.open = true,
            },
            Some(Beside::Test(Test::Number(number))) => {
                let hash = match number.value() {
                    Some(value) => hash.decimal(value.key()),
                    None => hash.text(number.text().as_bytes()),
                };
                let feature = Feature::Number;
                self.hashed.push(Hashed { feature, hash });
            }
            _ => self.open = true,
        }
    }

    fn prefix(&mut self, text: &[u8], feature: fn(u8) -> Feature, hash: &Hash) {
        let length = affix_length(text.len());
        match text.get(..usize::from(length)) {
            Some(start) if length > 0 => self.hashed.push(Hashed {
                feature: feature(length),
                hash: hash.text(start),
            }),
            _ => self.open = true,
        }
    }

    fn suffix(&mut self, text: &[u8], feature: fn(u8) -> Feature, hash: &Hash) {
        let length = affix_length(text.len());
        let from = text.len().checked_sub(length.into());
        match from.and_then(|from| text.get(from..)) {
            Some(end) if length > 0 => self.hashed.push(Hashed {
                feature: feature(length),
                hash: hash.text(end),
            }),
            _ => self.open = true,
        }
    }

    /// Literal pieces of which all have to be there: one of them is enough to look up.
    fn pieces<'p>(
        &mut self,
        first: &[u8],
        last: &[u8],
        middle: impl Iterator<Item = &'p [u8]>,
        hash: &Hash,
    ) {
        if first.len().max(last.len()) < GRAM {
            let grams: Vec<u64> = middle
                .flat_map(|piece| piece.windows(GRAM))
                .take(MAX_GRAMS)
                .map(|gram| hash.text(gram))
                .collect();
            if !grams.is_empty() {
                return self.grams.push(grams);
            }
        }
        if first.len() >= last.len() {
            self.prefix(first, Feature::Prefix, hash);
        } else {
            self.suffix(last, Feature::Suffix, hash);
        }
    }

    /// Whether all alternatives can be looked up by hash alone.
    const fn is_hashed(&self) -> bool {
        !self.open && !self.absent && self.ranges == 0 && self.grams.is_empty()
    }

    /// Whether all alternatives can be looked up by hash or range.
    const fn is_ranged(&self) -> bool {
        !self.open && !self.absent && self.ranges > 0 && self.grams.is_empty()
    }

    const fn is_gramed(&self) -> bool {
        !self.open && !self.absent && self.ranges == 0 && !self.grams.is_empty()
    }

    /// How little the alternatives tell: exact values first, then the long parts of strings.
    fn rank(&self) -> (u8, usize) {
        let rank = |hashed: &Hashed| match hashed.feature {
            Feature::Text | Feature::Number | Feature::Folded | Feature::Address => 0,
            Feature::Block4(bits) if bits >= 16 => 1,
            Feature::Prefix(n) | Feature::Suffix(n) if n >= 4 => 1,
            Feature::FoldedPrefix(n) | Feature::FoldedSuffix(n) if n >= 4 => 1,
            Feature::Word | Feature::Present => 3,
            _ => 2,
        };
        let worst = self.hashed.iter().map(rank).max().unwrap_or_default();
        (worst, self.hashed.len())
    }

    fn single_keys(&self) -> Vec<Key> {
        product(&[Key::EMPTY], self)
    }
}

impl Key {
    /// What keys start from: it finds a branch for every event.
    pub(super) const EMPTY: Self = Self {
        parts: Vec::new(),
        hashes: Vec::new(),
    };

    /// The key with one more feature.
    pub(super) fn with(&self, path: PathId, hashed: Hashed) -> Self {
        let mut key = self.clone();
        let feature = hashed.feature;
        key.parts.push(Part { path, feature });
        key.hashes.push(hashed.hash);
        key
    }

    /// The key under a shape with this salt, as the table takes it.
    pub(super) fn under(&self, salt: u64) -> u32 {
        let key = self.hashes.iter().fold(0, |key, hash| mix(key, *hash));
        finish(mix(salt, key))
    }
}

/// The ways to find a branch, the one to be preferred first. There is always one, and each finds
/// the branch for every event that satisfies it.
pub(super) fn ways(program: &[u8], beside: &Arena<Beside>, hash: &Hash) -> Vec<Way> {
    let keys: Vec<FieldKeys> = fields(program)
        .map(|field| field_keys(&field, beside, hash))
        .collect();
    let mut hashed: Vec<&FieldKeys> = keys.iter().filter(|field| field.is_hashed()).collect();
    hashed.sort_by_key(|field| field.rank());
    let ranged = keys.iter().find(|field| field.is_ranged());
    let gramed = keys.iter().find(|field| field.is_gramed());

    let mut ways = Vec::new();
    let bases = together(&hashed);
    if !hashed.is_empty() {
        ways.push(Way::Keys(bases.clone()));
    }
    if let Some(field) = ranged
        && hashed.is_empty()
    {
        ways.push(Way::Ranges(field.path, field.single_keys()));
    }
    if let Some(field) = gramed
        && bases.len() * (field.grams.len() + field.hashed.len()) <= MAX_GRAM_KEYS
    {
        ways.push(Way::Grams {
            path: field.path,
            keys: product(&bases, field),
            lists: field.grams.clone(),
            bases,
        });
    }
    if let Some(field) = ranged
        && !hashed.is_empty()
    {
        ways.push(Way::Ranges(field.path, field.single_keys()));
    }
    if hashed.len() > 1 {
        ways.extend(hashed.iter().map(|field| Way::Keys(field.single_keys())));
    }
    // At last: tried whenever there is a value at one path, or always.
    if ways.is_empty() {
        let present = Hashed {
            feature: Feature::Present,
            hash: word(None),
        };
        let field = keys.iter().find(|field| !field.absent);
        let key = field.map_or(Key::EMPTY, |field| Key::EMPTY.with(field.path, present));
        ways.push(Way::Keys(vec![key]));
    }
    ways
}

/// Each of the keys with each of the field's features.
fn product(keys: &[Key], field: &FieldKeys) -> Vec<Key> {
    let with_all = |key: &Key| {
        let all = field.hashed.iter().map(|one| key.with(field.path, *one));
        all.collect::<Vec<_>>()
    };
    keys.iter().flat_map(with_all).collect()
}

/// Every combination of the alternatives of the best fields.
fn together(hashed: &[&FieldKeys]) -> Vec<Key> {
    let mut chosen: Vec<&FieldKeys> = Vec::new();
    let mut count = 1;
    for field in hashed {
        let more = count * field.hashed.len();
        if chosen.is_empty() || (more <= MAX_KEYS && chosen.len() < MAX_FIELDS) {
            chosen.push(field);
            count = more;
        }
    }
    // In the order of the paths, so that branches that ask for the same paths share a shape.
    chosen.sort_by_key(|field| field.path);
    chosen
        .iter()
        .fold(vec![Key::EMPTY], |keys, field| product(&keys, field))
}
