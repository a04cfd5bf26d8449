//! Event patterns: what a rule asks of an event.
//!
//! This crate owns the pattern language - parsing and checking it, matching events against one or
//! many patterns, and explaining a verdict. It knows nothing of buses, rules, storage, HTTP or
//! time, does no I/O, and never panics on what it is given.
//!
//! ```
//! use belfry_pattern::{Pattern, RuleSet, Scratch};
//!
//! let pattern = Pattern::parse(br#"{"source":"cvm.cloud.tencent","data":{"value":[{"numeric":[">",90]}]}}"#)?;
//! let event = br#"{"source":"cvm.cloud.tencent","data":{"value":97.5}}"#;
//! assert!(pattern.matches(event)?);
//!
//! let mut rules = RuleSet::new();
//! rules.add(1, &pattern);
//! assert_eq!(rules.matches(event, &mut Scratch::default())?, [1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Text, not values
//!
//! Patterns and events are taken as the bytes that were received. Numbers are compared by their
//! exact decimal value from their own text, and a name repeated in an event counts with every one
//! of its values; a general JSON value loses both. The reader in [`json`] accepts RFC 8259 and
//! nothing more; half a surrogate pair is refused.
//!
//! # How matching works
//!
//! [`parse`] turns a pattern into branches (what `$or` multiplies to), each a list of fields.
//!
//! There are two matchers. The *plain* one ([`RuleList`], [`Pattern::matches`], [`Pattern::explain`])
//! states the language so that it can be read: an event becomes a flat tree, what stands at the
//! paths of interest is collected with the array elements it stands in ([`event`]), [`matcher`]
//! decides each branch, and only where values from array elements meet does [`consistency`] search
//! for values that go together. The *index* ([`RuleSet`], in [`index`]) finds the few branches that
//! can match and decides only these. Both always agree.

#![forbid(unsafe_code)]
#![cfg_attr(doctest, doc = include_str!("../README.md"))]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the module text guides through the source"
)]

mod consistency;
mod error;
mod event;
mod explain;
mod index;
mod json;
pub mod limits;
mod matcher;
mod number;
mod ops;
mod parse;
mod pattern;
mod rule_list;
mod rule_set;
mod text;

pub use error::{ErrorCode, EventError, EventErrorCode, PatternError, PatternErrors};
pub use explain::{Explanation, LeafOutcome, LeafVerdict};
pub use index::Work;
pub use pattern::Pattern;
pub use rule_list::RuleList;
pub use rule_set::{RuleSet, Scratch};
pub use text::EventText;
