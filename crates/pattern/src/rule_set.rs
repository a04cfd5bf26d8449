//! Many patterns against one event.

use std::sync::Arc;

use crate::{
    error::EventError,
    event::{Found, Paths},
    matcher::{self, Branch},
    parse::Parsed,
    pattern::Pattern,
};

/// Many patterns, compiled together. Immutable: a changed set of rules is a new `RuleSet`.
///
/// ```
/// use belfry_pattern::{Pattern, RuleSet, Scratch};
///
/// let mut builder = RuleSet::builder();
/// builder.add(7, &Pattern::parse(br#"{"status":["1"]}"#)?);
/// builder.add(3, &Pattern::parse(br#"{"status":[{"exists":true}]}"#)?);
/// builder.add(5, &Pattern::parse(br#"{"status":[1]}"#)?);
/// let rules = builder.build();
///
/// let mut scratch = Scratch::default();
/// assert_eq!(rules.matches(br#"{"status":"1"}"#, &mut scratch)?, [3, 7]);
/// assert_eq!(rules.matches(br#"{"status":1}"#, &mut scratch)?, [3, 5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct RuleSet {
    paths: Paths,
    rules: Box<[Rule]>,
}

#[derive(Debug)]
struct Rule {
    id: u32,
    pattern: Arc<Parsed>,
    branches: Box<[Branch]>,
}

/// Collects the patterns of a [`RuleSet`].
#[derive(Debug, Default)]
pub struct RuleSetBuilder {
    paths: Paths,
    rules: Vec<Rule>,
}

/// Working memory for [`RuleSet::matches`]: keep one per thread and use it again, for any set.
#[derive(Debug, Default)]
pub struct Scratch {
    found: Found,
    matched: Vec<u32>,
}

impl RuleSetBuilder {
    /// Adds a rule. The same number may be added more than once: it matches when any of its
    /// patterns does.
    pub fn add(&mut self, id: u32, pattern: &Pattern) -> &mut Self {
        let pattern = Arc::clone(pattern.parsed());
        let branches = matcher::compile(&pattern, &mut self.paths);
        self.rules.push(Rule {
            id,
            pattern,
            branches,
        });
        self
    }

    /// Makes the set of all rules added.
    pub fn build(mut self) -> RuleSet {
        self.rules.sort_by_key(|rule| rule.id);
        RuleSet {
            paths: self.paths,
            rules: self.rules.into(),
        }
    }
}

impl RuleSet {
    /// Starts an empty set.
    pub fn builder() -> RuleSetBuilder {
        RuleSetBuilder::default()
    }

    /// The numbers of all rules that the event matches, ascending, each once.
    pub fn matches<'s>(
        &self,
        event: &[u8],
        scratch: &'s mut Scratch,
    ) -> Result<&'s [u32], EventError> {
        scratch.matched.clear();
        let event = scratch.found.read(event, &self.paths)?;
        for rule in &self.rules {
            if matcher::holds(&rule.pattern, &rule.branches, &event) {
                scratch.matched.push(rule.id);
            }
        }
        scratch.matched.dedup();
        Ok(&scratch.matched)
    }

    /// How many patterns were added.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}
