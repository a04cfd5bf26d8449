//! What one event has at the paths of interest. The memory is used again for the next event.

use super::{
    keys::{Feature, GRAM, Hash, mix, word},
    paths::PathId,
};
use crate::{
    event::Mark,
    json::{self, Document, Tree},
    limits::{MAX_EVENT_BYTES, MAX_EVENT_DEPTH},
    number::Decimal,
    ops::{
        Leaf,
        address::{mask4, mask6},
        array::Wanted,
        fold::fold_into,
    },
};

const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Values {
    list: Vec<Value>,
    marks: Vec<Mark>,
    slots: Vec<Slot>,
    /// The paths that the event has something at.
    touched: Vec<PathId>,
    /// A slot of another round is empty.
    round: u32,
    /// Strings that had escapes, decoded, one after the other.
    pub(super) decoded: String,
    folded: String,
    numbers: Vec<Option<Decimal>>,
    /// The whole event, read when an `array` operator first asks for it.
    tree: Tree,
    has_tree: bool,
    /// Times that alternatives were tried on a value, and bytes read into the tree.
    pub(super) tests: usize,
    tree_bytes: usize,
}

/// What is at one path, in the order of the event.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    round: u32,
    first: u32,
    last: u32,
    count: u32,
    /// Whether its numbers have been read.
    numbers: bool,
}

/// A value, or an array as a whole.
#[derive(Debug, Clone, Copy)]
struct Value {
    kind: Kind,
    path: PathId,
    /// Where it stands in the text, or among the decoded strings.
    from: u32,
    to: u32,
    marks: (u32, u32),
    next: u32,
    /// Which of the numbers it is; [`NONE`] when it is none or has not been read.
    number: u32,
    folded: (u32, u32),
    /// Of its text; 0 when not yet known.
    hash: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    /// A string without escapes; without its quotes.
    Text,
    /// A string in [`Values::decoded`].
    Decoded,
    Array,
}

/// Number of a value within the event.
pub(super) type ValueId = u32;

/// No value.
pub(super) const NO_VALUE: ValueId = NONE;

fn position(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Values {
    /// Forgets the event before, and makes room for so many paths.
    pub(super) fn clear(&mut self, paths: usize) {
        self.list.clear();
        self.marks.clear();
        self.touched.clear();
        self.decoded.clear();
        self.folded.clear();
        self.numbers.clear();
        self.has_tree = false;
        self.tests = 0;
        self.tree_bytes = 0;
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.slots.fill(Slot::default());
            self.round = 1;
        }
        if self.slots.len() < paths {
            self.slots.resize(paths, Slot::default());
        }
    }

    /// Takes down the array elements that the next values stand in.
    pub(super) fn add_marks(&mut self, open: &[Mark]) -> (u32, u32) {
        let from = position(self.marks.len());
        self.marks.extend_from_slice(open);
        (from, position(self.marks.len()))
    }

    /// Takes down a value.
    #[inline]
    pub(super) fn add(
        &mut self,
        path: PathId,
        kind: Kind,
        (from, to): (usize, usize),
        marks: (u32, u32),
    ) {
        let id = position(self.list.len());
        self.list.push(Value {
            kind,
            path,
            from: position(from),
            to: position(to),
            marks,
            next: NONE,
            number: NONE,
            folded: (0, NONE),
            hash: 0,
        });
        let Some(slot) = self.slots.get_mut(path as usize) else {
            return;
        };
        if slot.round != self.round {
            *slot = Slot {
                round: self.round,
                first: id,
                last: id,
                count: 1,
                numbers: false,
            };
            self.touched.push(path);
            return;
        }
        let last = std::mem::replace(&mut slot.last, id);
        slot.count += 1;
        if let Some(value) = self.list.get_mut(last as usize) {
            value.next = id;
        }
    }

    /// The number-th path that the event has something at.
    #[inline]
    pub(super) fn touched(&self, number: usize) -> Option<PathId> {
        self.touched.get(number).copied()
    }

    #[inline]
    fn slot(&self, path: PathId) -> Option<&Slot> {
        self.slots
            .get(path as usize)
            .filter(|slot| slot.round == self.round)
    }

    #[inline]
    fn value(&self, id: ValueId) -> Option<&Value> {
        self.list.get(id as usize)
    }

    /// How many values there are at a path.
    #[inline]
    pub(super) fn count(&self, path: PathId) -> usize {
        self.slot(path).map_or(0, |slot| slot.count as usize)
    }

    /// See [`super::Work`].
    pub(super) const fn counted(&self) -> (usize, usize) {
        (self.tests, self.tree_bytes)
    }

    /// How many values there are.
    pub(super) const fn length(&self) -> usize {
        self.list.len()
    }

    /// The path that a value stands at.
    #[inline]
    pub(super) fn path(&self, id: ValueId) -> Option<PathId> {
        self.value(id).map(|value| value.path)
    }

    /// The first value at a path; see [`Values::next`].
    #[inline]
    pub(super) fn first(&self, path: PathId) -> Option<ValueId> {
        self.slot(path).map(|slot| slot.first)
    }

    /// The value behind this one at the same path.
    #[inline]
    pub(super) fn next(&self, id: ValueId) -> Option<ValueId> {
        self.value(id)
            .map(|value| value.next)
            .filter(|&next| next != NONE)
    }

    /// All values at a path.
    pub(super) fn at(&self, path: PathId) -> impl Iterator<Item = ValueId> + Clone {
        std::iter::successors(self.first(path), |&id| self.next(id))
    }

    /// The array elements that a value stands in, outermost first.
    #[inline]
    pub(super) fn marks(&self, id: ValueId) -> &[Mark] {
        self.value(id)
            .and_then(|value| {
                self.marks
                    .get(value.marks.0 as usize..value.marks.1 as usize)
            })
            .unwrap_or_default()
    }

    /// What a value is.
    #[inline]
    pub(super) fn kind(&self, id: ValueId) -> Kind {
        self.value(id).map_or(Kind::Null, |value| value.kind)
    }

    /// The text of a string, number or array.
    #[inline]
    fn text<'s>(&'s self, source: &'s str, value: &Value) -> &'s str {
        let range = value.from as usize..value.to as usize;
        match value.kind {
            Kind::Decoded => self.decoded.get(range),
            _ => source.get(range),
        }
        .unwrap_or_default()
    }

    /// The value as a string, if it is one.
    #[inline]
    pub(super) fn string_of<'s>(&'s self, source: &'s str, id: ValueId) -> Option<&'s str> {
        self.string(source, self.value(id)?)
    }

    #[inline]
    fn string<'s>(&'s self, source: &'s str, value: &Value) -> Option<&'s str> {
        matches!(value.kind, Kind::Text | Kind::Decoded).then(|| self.text(source, value))
    }

    /// Reads the numbers at a path, which [`Values::leaf`] then knows.
    pub(super) fn read_numbers(&mut self, source: &str, path: PathId) {
        let round = self.round;
        let Some(slot) = self.slots.get_mut(path as usize) else {
            return;
        };
        if slot.round != round || slot.numbers {
            return;
        }
        slot.numbers = true;
        let mut at = slot.first;
        while let Some(value) = self.list.get_mut(at as usize) {
            at = value.next;
            if value.kind == Kind::Number {
                value.number = position(self.numbers.len());
                let text = source.get(value.from as usize..value.to as usize);
                self.numbers.push(Decimal::parse(text.unwrap_or_default()));
            }
        }
    }

    /// The value of a number that was read.
    #[inline]
    pub(super) fn number(&self, id: ValueId) -> Option<&Decimal> {
        self.numbers
            .get(self.value(id)?.number as usize)
            .and_then(Option::as_ref)
    }

    /// The value as tests take it; `None` for an array.
    #[inline]
    pub(super) fn leaf<'s>(&'s self, source: &'s str, id: ValueId) -> Option<Leaf<'s>> {
        let value = self.value(id)?;
        Some(match value.kind {
            Kind::Text | Kind::Decoded => Leaf::String(self.text(source, value)),
            Kind::Number => Leaf::Number {
                text: self.text(source, value),
                value: self.number(id),
            },
            Kind::True => Leaf::Bool(true),
            Kind::False => Leaf::Bool(false),
            Kind::Null => Leaf::Null,
            Kind::Array => return None,
        })
    }

    /// Whether the value is an array with an element as wanted.
    pub(super) fn array_holds(&mut self, source: &str, id: ValueId, wanted: &Wanted) -> bool {
        let Some(value) = self.value(id).filter(|value| value.kind == Kind::Array) else {
            return false;
        };
        let from = value.from;
        if !self.has_tree {
            self.has_tree = true;
            self.tree_bytes = source.len();
            // A text that is no JSON leaves a part of a tree, in which the answer is wrong but
            // nothing else.
            let bytes = source.as_bytes();
            let _ignored = json::read(bytes, MAX_EVENT_DEPTH, MAX_EVENT_BYTES, &mut self.tree);
        }
        let doc = Document::new(source, &self.tree);
        doc.node_at(from)
            .is_some_and(|node| wanted.holds_in(doc, node))
    }

    /// The hash of a feature that a value has once; `None` when it does not have it.
    #[inline]
    pub(super) fn feature(
        &mut self,
        source: &str,
        id: ValueId,
        feature: Feature,
        hash: &Hash,
    ) -> Option<u64> {
        let value = self.value(id)?;
        match feature {
            Feature::Text => {
                if value.hash != 0 {
                    return Some(value.hash);
                }
                let known = hash.text(self.string(source, value)?.as_bytes());
                if let Some(value) = self.list.get_mut(id as usize) {
                    value.hash = known;
                }
                Some(known)
            }
            Feature::Word => match value.kind {
                Kind::Null => Some(word(None)),
                Kind::True => Some(word(Some(true))),
                Kind::False => Some(word(Some(false))),
                _ => None,
            },
            Feature::Number => {
                if value.kind != Kind::Number {
                    return None;
                }
                if value.number == NONE {
                    let number = position(self.numbers.len());
                    let text = self.text(source, value);
                    self.numbers.push(Decimal::parse(text));
                    if let Some(value) = self.list.get_mut(id as usize) {
                        value.number = number;
                    }
                }
                let value = self.value(id)?;
                Some(match self.number(id) {
                    Some(number) => hash.decimal(number.key()),
                    None => hash.text(self.text(source, value).as_bytes()),
                })
            }
            Feature::Address => {
                let text = self.string(source, value)?;
                // Parsing costs more than looking for what every IPv6 address has.
                if !text.as_bytes().contains(&b':') {
                    return None;
                }
                let address: std::net::Ipv6Addr = text.parse().ok()?;
                Some(hash.address(address.to_bits()))
            }
            Feature::Prefix(length) => {
                let text = self.string(source, value)?.as_bytes();
                Some(hash.text(text.get(..usize::from(length))?))
            }
            Feature::Suffix(length) => {
                let text = self.string(source, value)?.as_bytes();
                let from = text.len().checked_sub(usize::from(length))?;
                Some(hash.text(text.get(from..)?))
            }
            Feature::Folded => Some(hash.text(self.folded(source, id)?.as_bytes())),
            Feature::FoldedPrefix(length) => {
                let text = self.folded(source, id)?.as_bytes();
                Some(hash.text(text.get(..usize::from(length))?))
            }
            Feature::FoldedSuffix(length) => {
                let text = self.folded(source, id)?.as_bytes();
                let from = text.len().checked_sub(usize::from(length))?;
                Some(hash.text(text.get(from..)?))
            }
            Feature::Block4(bits) => {
                let address = ipv4(self.string(source, value)?.as_bytes())?;
                Some(block4(address, bits, hash))
            }
            Feature::Block6(bits) => {
                let text = self.string(source, value)?;
                let address: std::net::Ipv6Addr = text.parse().ok()?;
                Some(block6(address.to_bits(), bits, hash))
            }
            Feature::Present => Some(word(None)),
            Feature::Gram => None,
        }
    }

    /// The folded text of a string.
    pub(super) fn folded(&mut self, source: &str, id: ValueId) -> Option<&str> {
        let value = *self.value(id)?;
        let (from, to) = if value.folded.1 == NONE {
            let from = position(self.folded.len());
            match value.kind {
                Kind::Text => {
                    let text = source.get(value.from as usize..value.to as usize)?;
                    fold_into(text, &mut self.folded);
                }
                Kind::Decoded => {
                    let text = self.decoded.get(value.from as usize..value.to as usize)?;
                    fold_into(text, &mut self.folded);
                }
                _ => return None,
            }
            let to = position(self.folded.len());
            self.list.get_mut(id as usize)?.folded = (from, to);
            (from, to)
        } else {
            value.folded
        };
        self.folded.get(from as usize..to as usize)
    }

    /// Every gram of a string.
    pub(super) fn grams(
        &self,
        source: &str,
        id: ValueId,
        hash: &Hash,
        mut each: impl FnMut(u64),
    ) -> Option<()> {
        let text = self.string(source, self.value(id)?)?;
        for gram in text.as_bytes().windows(GRAM) {
            each(hash.text(gram));
        }
        Some(())
    }
}

/// The block of so many bits that an IPv4 address is in.
pub(super) fn block4(address: u32, bits: u8, hash: &Hash) -> u64 {
    mix(
        bits.into(),
        hash.address((address & mask4(bits.into())).into()),
    )
}

/// The same for IPv6.
pub(super) fn block6(address: u128, bits: u8, hash: &Hash) -> u64 {
    mix(bits.into(), hash.address(address & mask6(bits.into())))
}

/// An IPv4 address as the standard library reads it; it is not parsed for what cannot be one.
fn ipv4(text: &[u8]) -> Option<u32> {
    if !(7..=15).contains(&text.len()) {
        return None;
    }
    let address: std::net::Ipv4Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(address.to_bits())
}
