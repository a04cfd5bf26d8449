//! Many patterns against one event, one after the other: the oracle.
//!
//! Nothing here is clever, so that it can be checked by reading. [`RuleSet`](crate::RuleSet) must
//! always give the same answer; tests and benchmarks compare the two.

use std::sync::Arc;

use crate::{
    error::EventError,
    event::{Found, Paths},
    matcher::{self, Branch},
    parse::Parsed,
    pattern::Pattern,
};

/// A list of rules that tries every rule for every event. For tests and comparisons; in earnest
/// use a [`RuleSet`](crate::RuleSet), which gives the same answers.
///
/// ```
/// use belfry_pattern::{Pattern, RuleList};
///
/// let mut rules = RuleList::default();
/// rules.add(7, &Pattern::parse(br#"{"status":["1"]}"#)?);
/// rules.add(3, &Pattern::parse(br#"{"status":[{"exists":true}]}"#)?);
/// assert_eq!(rules.matches(br#"{"status":"1"}"#)?, [3, 7]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct RuleList {
    paths: Paths,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    id: u32,
    pattern: Arc<Parsed>,
    branches: Box<[Branch]>,
}

impl RuleList {
    /// Adds a rule. The same number may be added more than once: it matches when any of its
    /// patterns does.
    pub fn add(&mut self, id: u32, pattern: &Pattern) {
        let pattern = Arc::clone(pattern.parsed());
        let branches = matcher::compile(&pattern, &mut self.paths);
        self.rules.push(Rule {
            id,
            pattern,
            branches,
        });
    }

    /// Takes away all patterns of a number, and says whether there were any.
    pub fn remove(&mut self, id: u32) -> bool {
        let before = self.rules.len();
        self.rules.retain(|rule| rule.id != id);
        self.rules.len() < before
    }

    /// The numbers of all rules that the event matches, ascending, each once.
    pub fn matches(&self, event: &[u8]) -> Result<Vec<u32>, EventError> {
        let mut found = Found::default();
        let event = found.read(event, &self.paths)?;
        let holds = |rule: &&Rule| matcher::holds(&rule.pattern, &rule.branches, &event);
        let mut matched: Vec<u32> = self
            .rules
            .iter()
            .filter(holds)
            .map(|rule| rule.id)
            .collect();
        matched.sort_unstable();
        matched.dedup();
        Ok(matched)
    }
}
