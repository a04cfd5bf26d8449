//! Access keys: what of a branch is looked up by hash.
//!
//! A value has *features* that can be looked up: its text, its text without regard to case, its
//! first or last few bytes, the block its address is in, each three bytes of it. A *shape* says
//! which features of which paths make up a key; a branch hangs under one or more keys of a shape.
//! For an event the features of its values are computed and each shape is looked up with them.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

use foldhash::fast::FixedState;

use super::paths::PathId;
use crate::number::Key;

/// Most parts of a shape.
pub(super) const MAX_PARTS: usize = 5;

/// Bytes of a gram, the piece of a string that is looked up for `contain` and inner pieces of
/// wildcards. One Chinese character has three.
pub(super) const GRAM: usize = 3;

/// Longest beginning or end that is looked up; what is longer is cut to that.
const LONGEST: usize = 64;

/// Hashing with a secret of the set, so that nobody can choose values that meet on purpose.
#[derive(Debug, Clone)]
pub(super) struct Hash(FixedState);

impl Hash {
    pub(super) fn random() -> Self {
        Self(FixedState::with_seed(RandomState::new().hash_one(0)))
    }

    /// A text, or a part of one.
    #[inline]
    pub(super) fn text(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    #[inline]
    fn number(&self, number: u64) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(number);
        hasher.finish()
    }

    /// A member name of a node.
    pub(super) fn name(&self, node: PathId, name: &[u8]) -> u32 {
        finish(mix(u64::from(node), self.text(name)))
    }

    /// A number by its first digits.
    pub(super) fn decimal(&self, value: Key) -> u64 {
        let (order, digits) = value.parts();
        mix(u64::from(order.cast_unsigned()), self.number(digits))
    }

    pub(super) fn address(&self, bits: u128) -> u64 {
        self.text(&bits.to_le_bytes())
    }
}

/// One of the words of JSON.
pub(super) const fn word(value: Option<bool>) -> u64 {
    match value {
        None => 0x6eed_0e9d_a4d9_4a4f,
        Some(false) => 0x1d8e_4e27_c47d_124f,
        Some(true) => 0xeb44_acca_b455_d165,
    }
}

/// Adds one more hash to a key.
#[inline]
pub(super) const fn mix(key: u64, hash: u64) -> u64 {
    let wide = (key ^ 0x2d35_8dcc_aa6c_78a5) as u128 * (hash ^ 0x8bb8_4b93_962e_acc9) as u128;
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    {
        (wide as u64) ^ ((wide >> 64) as u64)
    }
}

/// A key as the table takes it.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "half of the bits are enough"
)]
pub(super) const fn finish(key: u64) -> u32 {
    (key ^ key >> 32) as u32
}

/// Something of a value that can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Feature {
    /// A string.
    Text,
    /// A string without regard to case.
    Folded,
    /// A number by its value.
    Number,
    /// `true`, `false` or `null`.
    Word,
    /// A string that is an IPv6 address.
    Address,
    /// So many bytes that a string starts or ends with.
    Prefix(u8),
    Suffix(u8),
    /// The same of the folded string.
    FoldedPrefix(u8),
    FoldedSuffix(u8),
    /// A string that is an address, by so many bits.
    Block4(u8),
    Block6(u8),
    /// Every [`GRAM`] bytes of a string.
    Gram,
    /// There is a value at all, or an array.
    Present,
}

/// The length under which a beginning or end of this length is looked up. There are only 25, which
/// bounds how many look-ups a value needs.
pub(super) fn affix_length(length: usize) -> u8 {
    let length = match length {
        0..=12 => length,
        13..=24 => length & !1,
        25..=40 => length & !3,
        41..LONGEST => length & !7,
        _ => LONGEST,
    };
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// The bit of a hash in [`Shape::seen`].
#[inline]
pub(super) const fn seen_bit(hash: u64) -> u64 {
    1 << (hash >> 58)
}

/// One part of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Part {
    pub(super) path: PathId,
    pub(super) feature: Feature,
}

/// Which features make up a key. No part at all: branches that every event has to be tried for.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) parts: Box<[Part]>,
    /// What keys of this shape start with.
    pub(super) salt: u64,
    /// For each part, a bit for every hash that one of the keys has there, by its upper bits. With
    /// few keys most events are told apart by the first part; with many all bits are set.
    pub(super) seen: [u64; MAX_PARTS],
    /// Keys in use. Without any, the shape is forgotten.
    pub(super) keys: u32,
}
