//! A branch of a rule as the index keeps it: what it asks for, in one small run of bytes.
//!
//! With many rules nearly all of the time goes into waiting for memory, so a branch is written as
//! a little program that lies in one place: its fields one after the other, each with its path and
//! its alternatives as operations, and at the end the keys it hangs under. What is rare or large
//! (regular expressions, `array`, numbers of more than 19 digits) stays an object beside it.

use std::{cmp::Ordering, net::Ipv6Addr, sync::Arc};

use smol_str::SmolStr;

use super::{
    arena::Arena,
    paths::{PathId, Paths},
};
use crate::{
    number::{Bound, Key, Range},
    ops::{Excluded, Test, address::Block, array::Wanted, regexp::Regexp},
    parse::{Field, Parsed},
};

/// One branch of a rule. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Branch {
    pub(super) rule: u32,
    /// The next branch of the same rule, or [`NONE`].
    pub(super) next: u32,
    code: Arc<[u8]>,
}

/// No branch.
pub(super) const NONE: u32 = u32::MAX;

/// What does not fit into a program.
#[derive(Debug, Clone)]
pub(super) enum Beside {
    Test(Test),
    Regexp(Arc<Regexp>),
    Array(Arc<Wanted>),
}

/// Where a branch hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Posting {
    /// Under a key of a shape.
    Key { shape: u32, key: u32 },
    /// Among the ranges of the path.
    Ranges { path: PathId },
}

/// One field of a program.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldCode<'p> {
    pub(super) path: PathId,
    flags: u8,
    ops: &'p [u8],
}

/// One alternative. Texts are UTF-8.
#[derive(Debug, Clone)]
pub(super) enum Op<'p> {
    Null,
    Bool(bool),
    Exists,
    Text(&'p [u8]),
    Prefix(&'p [u8]),
    Suffix(&'p [u8]),
    /// The next three hold folded texts.
    Folded(&'p [u8]),
    FoldedPrefix(&'p [u8]),
    FoldedSuffix(&'p [u8]),
    Address(u128),
    Block4 {
        network: u32,
        bits: u8,
    },
    Block6 {
        network: u128,
        bits: u8,
    },
    Number(Key),
    Range {
        low: Option<End>,
        high: Option<End>,
    },
    /// Pieces that all have to be there.
    Contain(Texts<'p>),
    /// The literal pieces around the stars, of which there is at least one.
    Wildcard(Texts<'p>),
    /// None of the operations may hold.
    Not(Ops<'p>),
    Beside(u32),
}

/// One end of a range.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) key: Key,
    pub(super) inclusive: bool,
}

impl End {
    /// Whether a number that compares so with the end is on the right side of it.
    pub(super) fn allows(&self, ordering: Ordering, right: Ordering) -> bool {
        ordering == right || (self.inclusive && ordering == Ordering::Equal)
    }
}

const ABSENT: u8 = 1;
const WANTS_NUMBER: u8 = 2;
const WANTS_ARRAY: u8 = 4;

/// Codes of the operations.
mod code {
    pub(super) const NULL: u8 = 0;
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const EXISTS: u8 = 3;
    pub(super) const TEXT: u8 = 4;
    pub(super) const PREFIX: u8 = 5;
    pub(super) const SUFFIX: u8 = 6;
    pub(super) const FOLDED: u8 = 7;
    pub(super) const FOLDED_PREFIX: u8 = 8;
    pub(super) const FOLDED_SUFFIX: u8 = 9;
    pub(super) const ADDRESS: u8 = 10;
    pub(super) const BLOCK4: u8 = 11;
    pub(super) const BLOCK6: u8 = 12;
    pub(super) const NUMBER: u8 = 13;
    /// The lower bits say which ends there are and which belong to the range.
    pub(super) const RANGE: u8 = 0x10;
    pub(super) const LOW: u8 = 1;
    pub(super) const LOW_INCLUSIVE: u8 = 2;
    pub(super) const HIGH: u8 = 4;
    pub(super) const HIGH_INCLUSIVE: u8 = 8;
    pub(super) const CONTAIN: u8 = 0x20;
    pub(super) const WILDCARD: u8 = 0x21;
    pub(super) const NOT: u8 = 0x22;
    pub(super) const BESIDE: u8 = 0x23;
}

impl Branch {
    /// A branch; `opens_pattern` marks one of those that come from the same pattern.
    pub(super) fn new(
        rule: u32,
        next: u32,
        opens_pattern: bool,
        program: &[u8],
        postings: &[Posting],
    ) -> Self {
        let mut writer = Writer::default();
        writer.0.push(opens_pattern.into());
        writer.length(program.len());
        writer.0.extend_from_slice(program);
        for posting in postings {
            let (shape, key) = match *posting {
                Posting::Key { shape, key } => (shape, key),
                Posting::Ranges { path } => (NONE, path),
            };
            writer.0.extend_from_slice(&shape.to_le_bytes());
            writer.0.extend_from_slice(&key.to_le_bytes());
        }
        let code = writer.0.into();
        Self { rule, next, code }
    }

    fn program_reader(&self) -> (Reader<'_>, Reader<'_>) {
        let mut reader = Reader(&self.code);
        reader.u8();
        let length = reader.length();
        let program = Reader(reader.take(length));
        (program, reader)
    }

    /// Has the program brought from memory, if the returned byte is used.
    #[inline]
    pub(super) fn touch(&self) -> u8 {
        self.code.first().copied().unwrap_or_default()
    }

    /// Whether it is the one that its pattern is counted by.
    pub(super) fn opens_pattern(&self) -> bool {
        Reader(&self.code).u8() != 0
    }

    /// The fields, those first that are decided quickly.
    #[inline]
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields(self.program_reader().0)
    }

    /// The field that was found at this place.
    pub(super) fn field_at(&self, place: FieldPlace) -> Option<FieldCode<'_>> {
        let Reader(program) = self.program_reader().0;
        let from = program.len().checked_sub(place.left)?;
        Fields(Reader(program.get(from..)?)).next()
    }

    /// The keys that it hangs under.
    pub(super) fn postings(&self) -> impl Iterator<Item = Posting> {
        let mut reader = self.program_reader().1;
        std::iter::from_fn(move || {
            (!reader.0.is_empty()).then(|| match (reader.u32(), reader.u32()) {
                (NONE, path) => Posting::Ranges { path },
                (shape, key) => Posting::Key { shape, key },
            })
        })
    }
}

/// See [`Branch::fields`].
#[derive(Debug, Clone)]
pub(super) struct Fields<'p>(Reader<'p>);

/// Where a field stands in its branch.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldPlace {
    /// Bytes from there to the end of the program.
    left: usize,
}

impl Fields<'_> {
    /// Where the next field stands.
    pub(super) const fn place(&self) -> FieldPlace {
        let Reader(rest) = self.0;
        FieldPlace { left: rest.len() }
    }
}

/// The fields of a program that is no branch yet.
pub(super) fn fields(program: &[u8]) -> Fields<'_> {
    Fields(Reader(program))
}

impl<'p> Iterator for Fields<'p> {
    type Item = FieldCode<'p>;

    #[inline]
    fn next(&mut self) -> Option<FieldCode<'p>> {
        if self.0.0.is_empty() {
            return None;
        }
        let path = self.0.u32();
        let flags = self.0.u8();
        let length = self.0.length();
        let ops = self.0.take(length);
        Some(FieldCode { path, flags, ops })
    }
}

impl<'p> FieldCode<'p> {
    /// Whether `{"exists":false}` is among the alternatives.
    #[inline]
    pub(super) const fn may_be_absent(&self) -> bool {
        self.flags & ABSENT != 0
    }

    #[inline]
    pub(super) const fn wants_number(&self) -> bool {
        self.flags & WANTS_NUMBER != 0
    }

    pub(super) const fn wants_array(&self) -> bool {
        self.flags & WANTS_ARRAY != 0
    }

    #[inline]
    pub(super) const fn ops(&self) -> Ops<'p> {
        Ops(Reader(self.ops))
    }
}

/// Operations one after the other.
#[derive(Debug, Clone)]
pub(super) struct Ops<'p>(Reader<'p>);

impl<'p> Iterator for Ops<'p> {
    type Item = Op<'p>;

    #[inline]
    fn next(&mut self) -> Option<Op<'p>> {
        let reader = &mut self.0;
        if reader.0.is_empty() {
            return None;
        }
        Some(match reader.u8() {
            code::NULL => Op::Null,
            code::TRUE => Op::Bool(true),
            code::FALSE => Op::Bool(false),
            code::TEXT => Op::Text(reader.text()),
            code::PREFIX => Op::Prefix(reader.text()),
            code::SUFFIX => Op::Suffix(reader.text()),
            code::FOLDED => Op::Folded(reader.text()),
            code::FOLDED_PREFIX => Op::FoldedPrefix(reader.text()),
            code::FOLDED_SUFFIX => Op::FoldedSuffix(reader.text()),
            code::ADDRESS => Op::Address(reader.u128()),
            code::BLOCK4 => Op::Block4 {
                network: reader.u32(),
                bits: reader.u8(),
            },
            code::BLOCK6 => Op::Block6 {
                network: reader.u128(),
                bits: reader.u8(),
            },
            code::NUMBER => Op::Number(reader.key()),
            ends @ code::RANGE..code::CONTAIN => Op::Range {
                low: (ends & code::LOW != 0).then(|| End {
                    key: reader.key(),
                    inclusive: ends & code::LOW_INCLUSIVE != 0,
                }),
                high: (ends & code::HIGH != 0).then(|| End {
                    key: reader.key(),
                    inclusive: ends & code::HIGH_INCLUSIVE != 0,
                }),
            },
            code::CONTAIN => Op::Contain(Texts(Reader(reader.text()))),
            code::WILDCARD => Op::Wildcard(Texts(Reader(reader.text()))),
            code::NOT => Op::Not(Ops(Reader(reader.text()))),
            code::BESIDE => Op::Beside(reader.u32()),
            _ => Op::Exists,
        })
    }
}

/// Texts one after the other.
#[derive(Debug, Clone)]
pub(super) struct Texts<'p>(Reader<'p>);

impl<'p> Iterator for Texts<'p> {
    type Item = &'p [u8];

    #[inline]
    fn next(&mut self) -> Option<&'p [u8]> {
        (!self.0.0.is_empty()).then(|| self.0.text())
    }
}

/// Reads what [`Writer`] wrote. Past the end there are zeros and empty texts.
#[derive(Debug, Clone, Copy)]
struct Reader<'p>(&'p [u8]);

impl<'p> Reader<'p> {
    #[inline]
    fn take(&mut self, length: usize) -> &'p [u8] {
        let (taken, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let Some((chunk, rest)) = self.0.split_first_chunk() else {
            self.0 = &[];
            return [0; N];
        };
        self.0 = rest;
        *chunk
    }

    #[inline]
    fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    #[inline]
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u128(&mut self) -> u128 {
        u128::from_le_bytes(self.array())
    }

    #[inline]
    fn key(&mut self) -> Key {
        let order = i32::from_le_bytes(self.array());
        Key::from_parts(order, u64::from_le_bytes(self.array()))
    }

    /// A length: one byte, or 255 and four.
    #[inline]
    fn length(&mut self) -> usize {
        match self.u8() {
            u8::MAX => self.u32() as usize,
            short => short.into(),
        }
    }

    #[inline]
    fn text(&mut self) -> &'p [u8] {
        let length = self.length();
        self.take(length)
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn length(&mut self, length: usize) {
        match u8::try_from(length) {
            Ok(short) if short < u8::MAX => self.0.push(short),
            _ => {
                // Patterns are far shorter than that.
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                self.0.push(u8::MAX);
                self.0.extend_from_slice(&length.to_le_bytes());
            }
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.0.extend_from_slice(text);
    }

    fn coded_text(&mut self, code: u8, text: &str) {
        self.0.push(code);
        self.text(text.as_bytes());
    }

    fn key(&mut self, key: Key) {
        let (order, digits) = key.parts();
        self.0.extend_from_slice(&order.to_le_bytes());
        self.0.extend_from_slice(&digits.to_le_bytes());
    }

    fn texts<'t>(&mut self, code: u8, texts: impl Iterator<Item = &'t str>) {
        let mut inner = Self::default();
        texts.for_each(|text| inner.text(text.as_bytes()));
        self.0.push(code);
        self.text(&inner.0);
    }

    /// Writes a test. `false` when it has to stay beside.
    fn test(&mut self, test: &Test) -> bool {
        match test {
            Test::Null => self.0.push(code::NULL),
            Test::Bool(true) => self.0.push(code::TRUE),
            Test::Bool(false) => self.0.push(code::FALSE),
            Test::Exists => self.0.push(code::EXISTS),
            Test::String(s) => self.coded_text(code::TEXT, s),
            Test::Prefix(s) => self.coded_text(code::PREFIX, s),
            Test::Suffix(s) => self.coded_text(code::SUFFIX, s),
            Test::Folded(s) => self.coded_text(code::FOLDED, s.as_str()),
            Test::FoldedPrefix(s) => self.coded_text(code::FOLDED_PREFIX, s.as_str()),
            Test::FoldedSuffix(s) => self.coded_text(code::FOLDED_SUFFIX, s.as_str()),
            Test::Address(address) => {
                self.0.push(code::ADDRESS);
                let bits = Ipv6Addr::to_bits(*address);
                self.0.extend_from_slice(&bits.to_le_bytes());
            }
            Test::Cidr(block) => self.block(block),
            Test::Number(number) => match number.value() {
                Some(value) if value.is_short() => {
                    self.0.push(code::NUMBER);
                    self.key(value.key());
                }
                _ => return false,
            },
            Test::Range(range) => return self.range(range),
            Test::Contain(parts) => {
                self.texts(code::CONTAIN, parts.iter().map(SmolStr::as_str));
            }
            Test::Wildcard(wildcard) => match wildcard.pieces() {
                Some(pieces) => self.texts(code::WILDCARD, pieces),
                None => self.coded_text(code::TEXT, wildcard.ends().0),
            },
            Test::AnythingBut(excluded) => return self.excluded(excluded),
            Test::Regexp(_) => return false,
        }
        true
    }

    fn block(&mut self, block: &Block) {
        let bits = u8::try_from(block.bits()).unwrap_or(u8::MAX);
        match block {
            Block::V4 { network, .. } => {
                self.0.push(code::BLOCK4);
                self.0.extend_from_slice(&network.to_le_bytes());
            }
            Block::V6 { network, .. } => {
                self.0.push(code::BLOCK6);
                self.0.extend_from_slice(&network.to_le_bytes());
            }
        }
        self.0.push(bits);
    }

    fn range(&mut self, range: &Range) -> bool {
        let is_short = |bound: &Option<Bound>| bound.as_ref().is_none_or(|b| b.value.is_short());
        if !is_short(&range.low) || !is_short(&range.high) {
            return false;
        }
        let end = |bound: &Option<Bound>, there: u8, inclusive: u8| {
            bound
                .as_ref()
                .map_or(0, |b| there | if b.inclusive { inclusive } else { 0 })
        };
        self.0.push(
            code::RANGE
                | end(&range.low, code::LOW, code::LOW_INCLUSIVE)
                | end(&range.high, code::HIGH, code::HIGH_INCLUSIVE),
        );
        for bound in range.low.iter().chain(&range.high) {
            self.key(bound.value.key());
        }
        true
    }

    fn excluded(&mut self, excluded: &Excluded) -> bool {
        let mut inner = Self::default();
        match excluded {
            Excluded::Strings(list) => {
                list.iter().for_each(|s| inner.coded_text(code::TEXT, s));
            }
            Excluded::Numbers(list) => {
                for number in list {
                    if !number.is_short() {
                        return false;
                    }
                    inner.0.push(code::NUMBER);
                    inner.key(number.key());
                }
            }
            Excluded::Tests(tests) => {
                if !tests.iter().all(|test| inner.test(test)) {
                    return false;
                }
            }
        }
        self.0.push(code::NOT);
        self.text(&inner.0);
        true
    }
}

/// The programs of a pattern's branches. Counts their paths as used, and puts beside what does
/// not fit.
pub(super) fn programs(
    pattern: &Parsed,
    paths: &mut Paths,
    beside: &mut Arena<Beside>,
) -> Vec<Vec<u8>> {
    let mut program = |ids: &[u32]| {
        let mut fields: Vec<&Field> = ids
            .iter()
            .filter_map(|id| pattern.fields.get(*id as usize))
            .collect();
        // What is decided quickly comes first; the order plays no part otherwise.
        fields.sort_by_key(|field| field.cost());
        let mut writer = Writer::default();
        for field in fields {
            let mut ops = Writer::default();
            let mut put_beside = |ops: &mut Writer, what| {
                ops.0.push(code::BESIDE);
                ops.0.extend_from_slice(&beside.add(what).to_le_bytes());
            };
            for test in &field.tests {
                let before = ops.0.len();
                if !ops.test(test) {
                    ops.0.truncate(before);
                    let what = match test {
                        Test::Regexp(regexp) => Beside::Regexp(Arc::clone(regexp)),
                        test => Beside::Test(test.clone()),
                    };
                    put_beside(&mut ops, what);
                }
            }
            for wanted in &field.arrays {
                put_beside(&mut ops, Beside::Array(Arc::clone(wanted)));
            }
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            let wants_array = !field.arrays.is_empty();
            let wants_number = field.tests.iter().any(Test::wants_number);
            let path = paths.add(&field.path, wants_array);
            writer.0.extend_from_slice(&path.to_le_bytes());
            writer.0.push(
                flag(field.absent, ABSENT)
                    | flag(wants_number, WANTS_NUMBER)
                    | flag(wants_array, WANTS_ARRAY),
            );
            writer.text(&ops.0);
        }
        writer.0
    };
    pattern.branches.iter().map(|ids| program(ids)).collect()
}

/// Gives back what [`programs`] took.
pub(super) fn give_back(branch: &Branch, paths: &mut Paths, beside: &mut Arena<Beside>) {
    for field in branch.fields() {
        for op in field.ops() {
            if let Op::Beside(number) = op {
                beside.remove(number);
            }
        }
        paths.remove(field.path, field.wants_array());
    }
}
