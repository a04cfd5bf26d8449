//! Many patterns against one event: the set that users hold.

use crate::{
    error::EventError,
    index::{Index, Room, Work},
    pattern::Pattern,
    text::EventText,
};

/// Many patterns, compiled together, so that an event is read once for all of them and only the
/// few are looked at that can match it.
///
/// A clone costs next to nothing and shares everything; a change to one of the two copies only
/// what it touches, some kilobytes, however many rules there are. So a set can be changed while
/// others go on matching with it: clone it, change the clone, publish the clone.
///
/// ```
/// use belfry_pattern::{Pattern, RuleSet, Scratch};
///
/// let mut rules = RuleSet::new();
/// rules.add(7, &Pattern::parse(br#"{"status":["1"]}"#)?);
/// rules.add(3, &Pattern::parse(br#"{"status":[{"exists":true}]}"#)?);
/// let before = rules.clone();
/// rules.add(5, &Pattern::parse(br#"{"status":[1]}"#)?);
/// rules.remove(3);
///
/// let mut scratch = Scratch::default();
/// assert_eq!(rules.matches(br#"{"status":"1"}"#, &mut scratch)?, [7]);
/// assert_eq!(rules.matches(br#"{"status":1}"#, &mut scratch)?, [5]);
/// assert_eq!(before.matches(br#"{"status":1}"#, &mut scratch)?, [3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    index: Index,
}

/// Working memory for [`RuleSet::matches`]: keep one per thread and use it again, for any set.
/// It grows to what the largest event so far needed.
#[derive(Debug, Default)]
pub struct Scratch {
    room: Room,
}

impl Scratch {
    /// What the last event took.
    pub const fn work(&self) -> Work {
        self.room.work
    }
}

impl RuleSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule. The same number may be added more than once: it matches when any of its
    /// patterns does.
    pub fn add(&mut self, id: u32, pattern: &Pattern) {
        self.index.add(id, pattern.parsed());
    }

    /// Takes away all patterns of a number, and says whether there were any.
    pub fn remove(&mut self, id: u32) -> bool {
        self.index.remove(id)
    }

    /// Whether there is a pattern of this number.
    pub fn contains(&self, id: u32) -> bool {
        self.index.contains(id)
    }

    /// How many patterns there are.
    pub const fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no pattern at all.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers of all rules that the event matches, ascending, each once. The event is
    /// checked first: see [`EventText::check`].
    pub fn matches<'s>(
        &self,
        event: &[u8],
        scratch: &'s mut Scratch,
    ) -> Result<&'s [u32], EventError> {
        Ok(self.matches_text(EventText::check(event)?, scratch))
    }

    /// The numbers of all rules that an event known to be JSON matches, ascending, each once.
    pub fn matches_text<'s>(&self, event: EventText<'_>, scratch: &'s mut Scratch) -> &'s [u32] {
        self.index.matches(event, &mut scratch.room)
    }
}
