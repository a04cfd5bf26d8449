//! The index over rules: what makes matching fast.
//!
//! A rule is a list of branches (what `$or` multiplies to), each a list of fields. Every branch
//! hangs under *access keys* ([`keys`], chosen in [`plan`] and [`post`]): hashes of what a value
//! must be or begin with, alone or several paths together, or a numeric range ([`ranges`]). For an
//! event
//!
//! 1. [`read`](mod@read) goes over the text once, along the tree of used [`paths`], and takes down
//!    the [`values`] there;
//! 2. [`find`] looks up the keys of these values, which gives the branches that may match;
//! 3. [`verify`] decides each of them with the same tests that the plain matcher uses.
//!
//! Keys only ever say *may match*, so a collision of hashes costs time and nothing else. All parts
//! are copy-on-write ([`arena`], [`table`], [`sorted`]), so that a clone of the set is free and a
//! change to it copies a few kilobytes. The memory of rules that were removed is used again for
//! new ones.

mod arena;
mod branch;
mod find;
mod keys;
mod paths;
mod plan;
mod post;
mod postings;
mod ranges;
mod read;
mod sorted;
mod table;
mod values;
mod verify;

use self::{
    arena::Arena,
    branch::{Beside, Branch, NONE},
    keys::{Hash, Shape},
    paths::Paths,
    postings::Postings,
    ranges::Ranges,
    table::Table,
    values::{ValueId, Values},
    verify::Verify,
};
use crate::{parse::Parsed, text::EventText};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    hash: Hash,
    paths: Paths,
    shapes: Arena<Shape>,
    /// The shape without parts, under which the branches hang that every event is tried for.
    always: Option<u32>,
    postings: Postings,
    ranges: Arena<Ranges>,
    branches: Arena<Branch>,
    /// What the programs of branches refer to.
    beside: Arena<Beside>,
    /// How many branches could be looked up by each gram.
    grams: Table,
    /// The first branch of each rule, by the rule's scattered number.
    rules: Table,
    patterns: usize,
}

/// A branch that may match, and a value that satisfies one of its fields, if it is known.
type Candidate = (u32, ValueId);

/// Buffers for matching.
#[derive(Debug, Default)]
pub(crate) struct Room {
    values: Values,
    reader: read::Buffers,
    /// Branches that may match, each with the value that led to it.
    candidates: Vec<Candidate>,
    /// Keys of one shape that have branches.
    keys: Vec<(u32, ValueId)>,
    /// Shapes that the event has too many combinations of values for.
    crowded: Vec<u32>,
    /// The numbers at one path, roughly.
    numbers: Vec<f64>,
    cursors: Vec<verify::Cursor>,
    matched: Vec<u32>,
    pub(crate) work: Work,
}

/// What matching one event took, in steps that do not depend on the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Work {
    /// Values of the event that stood at paths of interest.
    pub values: usize,
    /// Keys that were looked up, and branches gone through where there were too many keys.
    pub probes: usize,
    /// Branches of rules found under these keys, with repetitions.
    pub found: usize,
    /// Branches of rules that were then decided one by one.
    pub candidates: usize,
    /// Times that the alternatives of a field were tried on a value.
    pub tests: usize,
    /// Bytes that were read as a whole for the operator `array`.
    pub arrays: usize,
}

impl Default for Index {
    fn default() -> Self {
        let hash = Hash::random();
        Self {
            paths: Paths::new(hash.clone()),
            hash,
            shapes: Arena::default(),
            always: None,
            postings: Postings::default(),
            ranges: Arena::default(),
            branches: Arena::default(),
            beside: Arena::default(),
            grams: Table::default(),
            rules: Table::default(),
            patterns: 0,
        }
    }
}

/// Spreads rule numbers over all bits; no two come to the same.
const fn scatter(rule: u32) -> u32 {
    let x = (rule ^ rule >> 16).wrapping_mul(0x7feb_352d);
    let x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

impl Index {
    pub(crate) const fn len(&self) -> usize {
        self.patterns
    }

    pub(crate) fn contains(&self, rule: u32) -> bool {
        self.rules.get(scatter(rule)).is_some()
    }

    /// The rules that the event matches, ascending, each once.
    pub(crate) fn matches<'r>(&self, event: EventText<'_>, room: &'r mut Room) -> &'r [u32] {
        room.values.clear(self.paths.length());
        room.candidates.clear();
        room.matched.clear();
        read::read(event, &self.paths, &mut room.values, &mut room.reader);
        room.work = Work::default();
        self.find(event.as_str(), room);
        room.work.found = room.candidates.len() + room.matched.len();
        room.candidates.sort_unstable();
        room.candidates.dedup_by_key(|(branch, _)| *branch);
        room.work.values = room.values.length();
        room.work.candidates = room.candidates.len();
        let verify = Verify {
            source: event.as_str(),
            beside: &self.beside,
        };
        if room.candidates.len() > 1 {
            // Brings all programs from memory at once instead of one after the other.
            let ids = room.candidates.iter();
            let branches = ids.map(|&(id, _)| self.branches.get(id));
            std::hint::black_box(
                branches
                    .flatten()
                    .fold(0, |all, branch| all ^ branch.touch()),
            );
        }
        for &(id, value) in &room.candidates {
            if let Some(branch) = self.branches.get(id)
                && verify.holds(branch, value, &mut room.values, &mut room.cursors)
            {
                room.matched.push(branch.rule);
            }
        }
        (room.work.tests, room.work.arrays) = room.values.counted();
        if room.matched.len() > 1 {
            room.matched.sort_unstable();
            room.matched.dedup();
        }
        &room.matched
    }

    pub(crate) fn add(&mut self, rule: u32, pattern: &Parsed) {
        let mut first = self.rules.get(scatter(rule)).unwrap_or(NONE);
        let mut opens = true;
        for program in branch::programs(pattern, &mut self.paths, &mut self.beside) {
            let id = self.branches.add(Branch::default());
            let postings = self.post(rule, &program, id);
            if let Some(branch) = self.branches.get_mut(id) {
                *branch = Branch::new(rule, first, opens, &program, &postings);
            }
            first = id;
            opens = false;
        }
        self.rules.set(scatter(rule), first);
        self.patterns += 1;
    }

    pub(crate) fn remove(&mut self, rule: u32) -> bool {
        let Some(mut next) = self.rules.get(scatter(rule)) else {
            return false;
        };
        self.rules.remove(scatter(rule));
        while let Some(branch) = self.branches.remove(next) {
            self.unpost(&branch, next);
            branch::give_back(&branch, &mut self.paths, &mut self.beside);
            self.patterns -= usize::from(branch.opens_pattern());
            next = branch.next;
        }
        true
    }
}
