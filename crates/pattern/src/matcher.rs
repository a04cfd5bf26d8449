//! Decides whether the fields of a branch can be satisfied by one event.

use crate::{
    consistency::{Budget, Candidate, Choice, consistent},
    event::{Entry, EntryKind, Event, Paths},
    ops::Test,
    parse::{Field, Parsed},
};

/// A branch ready for matching: its fields with the numbers of their paths.
pub(crate) type Branch = Box<[(u32, u32)]>;

/// Gives the paths of a pattern their numbers.
pub(crate) fn compile(pattern: &Parsed, paths: &mut Paths) -> Box<[Branch]> {
    let numbers: Vec<u32> = pattern
        .fields
        .iter()
        .map(|field| paths.add(&field.path, field.tests.iter().any(Test::wants_number)))
        .collect();
    let with_path = |id: &u32| numbers.get(*id as usize).map(|path| (*id, *path));
    pattern
        .branches
        .iter()
        .map(|branch| branch.iter().filter_map(with_path).collect())
        .collect()
}

/// Whether the event satisfies the pattern.
pub(crate) fn holds(pattern: &Parsed, branches: &[Branch], event: &Event<'_>) -> bool {
    branches
        .iter()
        .any(|branch| branch_holds(pattern, branch, event, &mut Budget::new()))
}

/// A field of a branch with what the event has at its path.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) field: &'a Field,
    pub(crate) entries: &'a [Entry],
}

/// How a field stands, looked at alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Satisfied, whatever is chosen for the other fields.
    Satisfied,
    /// Satisfied by values inside of array elements only.
    Value,
    /// Satisfied if the other fields' values exclude all values at its path.
    Absence,
    /// Never satisfied by this event.
    Failed,
}

/// Where the values at a path stand; each place counts more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leaves {
    None,
    /// Only in array elements.
    InElements,
    /// At least one outside of arrays.
    Free,
}

impl Leaves {
    /// With one more value, outside of arrays or in an element.
    pub(crate) fn and_one(self, is_free: bool) -> Self {
        self.max(if is_free {
            Self::Free
        } else {
            Self::InElements
        })
    }
}

impl Standing {
    /// How a field stands that no value outside of arrays satisfies; `satisfied` says whether one
    /// in an element does.
    pub(crate) fn in_elements(satisfied: bool, may_be_absent: bool, leaves: Leaves) -> Self {
        match (satisfied, may_be_absent) {
            (_, true) if leaves == Leaves::None => Self::Satisfied,
            (true, _) => Self::Value,
            (false, true) if leaves == Leaves::InElements => Self::Absence,
            (false, _) => Self::Failed,
        }
    }
}

pub(crate) fn questions<'a>(
    pattern: &'a Parsed,
    branch: &[(u32, u32)],
    event: &Event<'a>,
) -> impl Iterator<Item = Question<'a>> {
    branch.iter().filter_map(|&(id, path)| {
        let field = pattern.fields.get(id as usize)?;
        Some(Question {
            field,
            entries: event.entries(path),
        })
    })
}

pub(crate) fn branch_holds(
    pattern: &Parsed,
    branch: &[(u32, u32)],
    event: &Event<'_>,
    budget: &mut Budget,
) -> bool {
    let mut open = 0_usize;
    let mut absence = false;
    for question in questions(pattern, branch, event) {
        match question.standing(event) {
            Standing::Failed => return false,
            Standing::Satisfied => {}
            Standing::Value => open += 1,
            Standing::Absence => absence = true,
        }
    }
    // One field alone may take its value from any element.
    if open <= 1 && !absence {
        return true;
    }
    let choices: Vec<Choice<'_>> = questions(pattern, branch, event)
        .map(|question| question.choice(event))
        .collect();
    consistent(&choices, budget)
}

impl<'a> Question<'a> {
    pub(crate) fn standing(&self, event: &Event<'_>) -> Standing {
        let mut in_element = false;
        let mut leaves = Leaves::None;
        for entry in self.entries {
            let free = event.marks(entry).is_empty();
            if self.satisfied_by(entry, event) {
                if free {
                    return Standing::Satisfied;
                }
                in_element = true;
            }
            if entry.kind == EntryKind::Leaf {
                leaves = leaves.and_one(free);
            }
        }
        Standing::in_elements(in_element, self.field.absent, leaves)
    }

    /// Whether one thing at the path satisfies one of the alternatives.
    fn satisfied_by(&self, entry: &Entry, event: &Event<'_>) -> bool {
        match event.leaf(entry) {
            Some(leaf) => self.field.tests.iter().any(|test| test.holds(leaf)),
            None => {
                entry.kind == EntryKind::Array
                    && self
                        .field
                        .arrays
                        .iter()
                        .any(|array| array.holds_in(event.doc, entry.node))
            }
        }
    }

    /// Everything that could be chosen for the field.
    pub(crate) fn choice(&self, event: &Event<'a>) -> Choice<'a> {
        let candidate = |entry: &Entry| Candidate {
            marks: event.marks(entry),
            leaf: entry.kind == EntryKind::Leaf,
            satisfies: self.satisfied_by(entry, event),
        };
        let candidates = self.entries.iter().map(candidate);
        Choice {
            // What is neither a value nor satisfies plays no part.
            candidates: candidates.filter(|c| c.leaf || c.satisfies).collect(),
            may_be_absent: self.field.absent,
        }
    }
}
