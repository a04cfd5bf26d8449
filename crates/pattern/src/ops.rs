//! What one alternative asks of one value.

pub(crate) mod address;
pub(crate) mod array;
pub(crate) mod fold;
pub(crate) mod regexp;
pub(crate) mod regexp_syntax;
pub(crate) mod wildcard;

use std::{net::Ipv6Addr, sync::Arc};

use smol_str::SmolStr;

use self::{address::Block, fold::Folded, regexp::Regexp, wildcard::Wildcard};
use crate::number::{Decimal, Range};

/// A leaf value of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaf<'a> {
    Null,
    Bool(bool),
    /// The value is `None` for numbers that have none, and when no test at the path asks for it
    /// (see [`Test::wants_number`]).
    Number {
        text: &'a str,
        value: Option<&'a Decimal>,
    },
    String(&'a str),
}

/// A number that a pattern asks for by value.
#[derive(Debug, Clone)]
pub(crate) struct NumberTest {
    text: Box<str>,
    value: Option<Decimal>,
}

impl NumberTest {
    pub(crate) const fn value(&self) -> Option<&Decimal> {
        self.value.as_ref()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            value: Decimal::parse(text),
        }
    }

    /// A number without numeric value equals only its own spelling.
    pub(crate) fn holds(&self, text: &str, value: Option<&Decimal>) -> bool {
        match &self.value {
            Some(wanted) => value == Some(wanted),
            None => *text == *self.text,
        }
    }
}

/// What a value has to be. Absence and `array` are not about one value and are kept apart.
///
/// Copied into every index that holds the pattern, so it is small, and cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Null,
    Bool(bool),
    Number(Arc<NumberTest>),
    String(SmolStr),
    /// A string that is an IPv6 address and stands for all of its spellings. An IPv4 address has
    /// only one.
    Address(Ipv6Addr),
    Prefix(SmolStr),
    Suffix(SmolStr),
    Folded(Folded),
    FoldedPrefix(Folded),
    FoldedSuffix(Folded),
    Wildcard(Arc<Wildcard>),
    Regexp(Arc<Regexp>),
    /// All of them have to be in the string.
    Contain(Arc<[SmolStr]>),
    Range(Arc<Range>),
    Cidr(Arc<Block>),
    Exists,
    AnythingBut(Arc<Excluded>),
}

/// What `anything-but` excludes.
#[derive(Debug, Clone)]
pub(crate) enum Excluded {
    Strings(Box<[SmolStr]>),
    Numbers(Box<[Decimal]>),
    /// Values that satisfy any of the tests.
    Tests(Box<[Test]>),
}

impl Excluded {
    fn holds(&self, leaf: Leaf<'_>) -> bool {
        match (self, leaf) {
            (Self::Strings(list), Leaf::String(s)) => list.iter().any(|x| x.as_str() == s),
            (
                Self::Numbers(list),
                Leaf::Number {
                    value: Some(value), ..
                },
            ) => list.contains(value),
            (Self::Tests(tests), leaf) => tests.iter().any(|test| test.holds(leaf)),
            _ => false,
        }
    }
}

impl Test {
    /// The test that an exact string stands for.
    pub(crate) fn string(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::String(text.into()), Self::Address)
    }

    pub(crate) fn holds(&self, leaf: Leaf<'_>) -> bool {
        match (self, leaf) {
            (Self::Exists, _) | (Self::Null, Leaf::Null) => true,
            (Self::AnythingBut(excluded), leaf) => !excluded.holds(leaf),
            (Self::Bool(wanted), Leaf::Bool(b)) => *wanted == b,
            (Self::Number(number), Leaf::Number { text, value }) => number.holds(text, value),
            (Self::Range(range), Leaf::Number { value, .. }) => {
                value.is_some_and(|value| range.contains(value))
            }
            (test, Leaf::String(s)) => test.holds_string(s),
            _ => false,
        }
    }

    fn holds_string(&self, s: &str) -> bool {
        match self {
            Self::String(wanted) => wanted.as_str() == s,
            Self::Address(wanted) => s
                .parse::<Ipv6Addr>()
                .is_ok_and(|address| address == *wanted),
            Self::Prefix(prefix) => s.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => s.ends_with(suffix.as_str()),
            Self::Folded(folded) => folded.equals(s),
            Self::FoldedPrefix(folded) => folded.starts(s),
            Self::FoldedSuffix(folded) => folded.ends(s),
            Self::Wildcard(wildcard) => wildcard.fits(s),
            Self::Regexp(regexp) => regexp.fits(s),
            Self::Contain(parts) => parts.iter().all(|part| s.contains(part.as_str())),
            Self::Cidr(block) => block.contains(s),
            Self::Exists => true,
            Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::Range(_)
            | Self::AnythingBut(_) => false,
        }
    }

    /// Whether the test has to know a number's value.
    pub(crate) fn wants_number(&self) -> bool {
        match self {
            Self::Number(_) | Self::Range(_) => true,
            Self::AnythingBut(excluded) => matches!(**excluded, Excluded::Numbers(_)),
            _ => false,
        }
    }

    /// Whether any value of the leaf's kind could satisfy the test.
    pub(crate) const fn accepts_kind(&self, leaf: Leaf<'_>) -> bool {
        match self {
            Self::Exists | Self::AnythingBut(_) => true,
            Self::Null => matches!(leaf, Leaf::Null),
            Self::Bool(_) => matches!(leaf, Leaf::Bool(_)),
            Self::Number(_) | Self::Range(_) => matches!(leaf, Leaf::Number { .. }),
            _ => matches!(leaf, Leaf::String(_)),
        }
    }
}
