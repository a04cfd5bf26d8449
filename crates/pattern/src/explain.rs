//! Says why an event matches a pattern or does not.

use serde::Serialize;

use crate::{
    consistency::{Budget, Choice, consistent},
    event::{EntryKind, Event},
    json::{Document, Tree, Value},
    limits::{MAX_EXPECTED_CHARS, MAX_EXPLAINED_LEAVES, MAX_FOUND_CHARS, MAX_FOUND_VALUES},
    matcher::{Branch, Question, Standing, branch_holds, questions},
    ops::Test,
    parse::{Parsed, read_text},
};

/// The verdict on one event with its reasons. Texts quoted from pattern and event are cut to a
/// bounded length and then end in `...`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The verdict.
    pub matched: bool,
    /// The first `$or` branch that matches, from 0; 0 also where the pattern has no `$or`.
    pub matched_branch: Option<u32>,
    /// One verdict for each field of each branch; at most
    /// [`MAX_EXPLAINED_LEAVES`](crate::limits::MAX_EXPLAINED_LEAVES).
    pub leaves: Vec<LeafVerdict>,
    /// What the leaves alone do not tell: which branch matched, or why values that are all there
    /// do not go together.
    pub reason: Option<String>,
}

/// What became of one field of the pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeafVerdict {
    /// The field's path, names joined with dots.
    pub path: String,
    /// The field's list of alternatives as a JSON pointer into the pattern.
    pub pointer: String,
    /// The `$or` branch, from 0.
    pub branch: u32,
    /// The alternatives, as JSON text.
    pub expected: String,
    /// Values that the event has at the path, as JSON text; the first few.
    pub found: Vec<String>,
    /// Whether the event satisfies the field. A branch matches when all of its fields do.
    pub satisfied: bool,
    /// What became of it, for programs.
    pub outcome: LeafOutcome,
    /// What became of it, for a person.
    pub message: String,
}

/// What became of one field of the pattern, as a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LeafOutcome {
    /// Satisfied.
    Matched,
    /// The event has no value at the path.
    FieldAbsent,
    /// The event has values of a right kind, but none that satisfies.
    ValueDiffers,
    /// The event has only values of a kind that none of the alternatives takes.
    WrongType,
    /// There are values that satisfy, but in other array elements than those of other fields.
    ArrayInconsistent,
    /// The path should have no value, and has one.
    PresentButMustNot,
}

pub(crate) fn explain(pattern: &Parsed, branches: &[Branch], event: &Event<'_>) -> Explanation {
    // Pointers and texts are not kept with a pattern: explaining is rare, patterns are many.
    let mut tree = Tree::default();
    let text = read_text(pattern.text.as_bytes(), &mut tree).unwrap_or_default();
    let written = Document::new(text, &tree);

    let mut given_up = false;
    let mut leaves = Vec::new();
    let mut omitted = 0_usize;
    let mut matched_branch = None;
    let mut inconsistent = false;
    for (number, branch) in (0_u32..).zip(branches) {
        let mut budget = Budget::new();
        let holds = branch_holds(pattern, branch, event, &mut budget);
        given_up |= budget.is_spent();
        if holds && matched_branch.is_none() {
            matched_branch = Some(number);
        }
        if leaves.len().saturating_add(branch.len()) > MAX_EXPLAINED_LEAVES {
            omitted = omitted.saturating_add(branch.len());
            continue;
        }
        let outcomes = outcomes(pattern, branch, event, holds);
        inconsistent |= outcomes.contains(&LeafOutcome::ArrayInconsistent);
        for (question, outcome) in questions(pattern, branch, event).zip(outcomes) {
            leaves.push(leaf(&question, number, outcome, written, event));
        }
    }
    let mut reasons = Vec::new();
    match matched_branch {
        Some(number) if branches.len() > 1 => {
            reasons.push(format!(
                "$or: branch {number} of {} matches",
                branches.len()
            ));
        }
        Some(_) => {}
        None => {
            if branches.len() > 1 {
                reasons.push(format!(
                    "$or: none of the {} branches matches",
                    branches.len()
                ));
            }
            if given_up {
                reasons.push(
                    "the event reaches the same paths through too many arrays; the search for \
                     values that go together was given up"
                        .to_owned(),
                );
            } else if inconsistent {
                reasons.push(
                    "the fields are satisfied one by one, but only by values from different \
                     elements of the same array; all values must come from one element"
                        .to_owned(),
                );
            }
        }
    }
    if omitted > 0 {
        reasons.push(format!("{omitted} further fields are not listed"));
    }
    Explanation {
        matched: matched_branch.is_some(),
        matched_branch,
        leaves,
        reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
    }
}

/// What became of each field of a branch.
fn outcomes(
    pattern: &Parsed,
    branch: &[(u32, u32)],
    event: &Event<'_>,
    holds: bool,
) -> Vec<LeafOutcome> {
    if holds {
        return vec![LeafOutcome::Matched; branch.len()];
    }
    let standings: Vec<Standing> = questions(pattern, branch, event)
        .map(|question| question.standing(event))
        .collect();
    // Do those fields go together that do not fail by themselves?
    let choices: Vec<Choice<'_>> = questions(pattern, branch, event)
        .zip(&standings)
        .filter(|(_, standing)| **standing != Standing::Failed)
        .map(|(question, _)| question.choice(event))
        .collect();
    let rest_consistent = choices.len() < branch.len() && consistent(&choices, &mut Budget::new());
    let outcome = |(question, standing): (Question<'_>, &Standing)| match standing {
        Standing::Satisfied => LeafOutcome::Matched,
        Standing::Failed => failure(&question, event),
        _ if rest_consistent => LeafOutcome::Matched,
        Standing::Value => LeafOutcome::ArrayInconsistent,
        Standing::Absence => LeafOutcome::PresentButMustNot,
    };
    questions(pattern, branch, event)
        .zip(&standings)
        .map(outcome)
        .collect()
}

/// Why a field fails that no choice for the others can save.
fn failure(question: &Question<'_>, event: &Event<'_>) -> LeafOutcome {
    let field = question.field;
    let mut leaves = question
        .entries
        .iter()
        .filter_map(|entry| event.leaf(entry))
        .peekable();
    let has_array = question
        .entries
        .iter()
        .any(|entry| entry.kind == EntryKind::Array);
    if !field.arrays.is_empty() && has_array {
        return LeafOutcome::ValueDiffers;
    }
    if leaves.peek().is_none() {
        return LeafOutcome::FieldAbsent;
    }
    if field.tests.is_empty() && field.absent {
        return LeafOutcome::PresentButMustNot;
    }
    let accepted = |leaf| field.tests.iter().any(|test| test.accepts_kind(leaf));
    if leaves.any(accepted) {
        LeafOutcome::ValueDiffers
    } else {
        LeafOutcome::WrongType
    }
}

fn leaf(
    question: &Question<'_>,
    branch: u32,
    outcome: LeafOutcome,
    written: Document<'_>,
    event: &Event<'_>,
) -> LeafVerdict {
    let field = question.field;
    let is_list = written.value(field.node) == Value::Array;
    let raw = written.raw(field.node);
    let expected = if is_list {
        raw.to_owned()
    } else {
        format!("[{raw}]")
    };
    let found: Vec<String> = question
        .entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Leaf)
        .take(MAX_FOUND_VALUES)
        .map(|entry| cut(event.doc.raw(entry.node), MAX_FOUND_CHARS))
        .collect();
    LeafVerdict {
        message: message(question, outcome, event, &found),
        path: field.path.to_string(),
        pointer: written.pointer(field.node),
        branch,
        expected: cut(&expected, MAX_EXPECTED_CHARS),
        found,
        satisfied: outcome == LeafOutcome::Matched,
        outcome,
    }
}

fn message(
    question: &Question<'_>,
    outcome: LeafOutcome,
    event: &Event<'_>,
    found: &[String],
) -> String {
    let field = question.field;
    let path = cut(&field.path, MAX_FOUND_CHARS);
    let count = question
        .entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Leaf)
        .count();
    let first = found.first().map_or("", String::as_str);
    let seen = match count {
        0 => "nothing".to_owned(),
        1 => first.to_owned(),
        _ => format!("{count} values, the first is {first}"),
    };
    match outcome {
        LeafOutcome::Matched if count == 0 => format!("`{path}` is satisfied without a value"),
        LeafOutcome::Matched => format!("`{path}` is satisfied; the event has {seen}"),
        LeafOutcome::FieldAbsent => {
            let kind = question.entries.last().map(|entry| entry.kind);
            match kind {
                Some(EntryKind::Object) => format!(
                    "the event has an object at `{path}`, not a value; name one of its members"
                ),
                Some(_) => format!("the event has an array without values at `{path}`"),
                None => format!("the event has no `{path}`"),
            }
        }
        LeafOutcome::ValueDiffers if !field.arrays.is_empty() => {
            format!("no element of an array at `{path}` is as asked for")
        }
        LeafOutcome::ValueDiffers => {
            format!("no alternative fits what the event has at `{path}`: {seen}")
        }
        LeafOutcome::WrongType => {
            let kind = question
                .entries
                .iter()
                .find(|entry| entry.kind == EntryKind::Leaf)
                .map_or("nothing", |entry| event.doc.value(entry.node).described());
            let wanted = wanted_kinds(&field.tests);
            format!("`{path}` is {kind} in the event ({seen}); the pattern asks for {wanted}")
        }
        LeafOutcome::ArrayInconsistent => format!(
            "`{path}` has values that fit, but in other array elements than the other fields"
        ),
        LeafOutcome::PresentButMustNot => {
            format!("`{path}` must not be there, but the event has {seen}")
        }
    }
}

/// The kinds of value that any of the tests takes.
fn wanted_kinds(tests: &[Test]) -> String {
    let mut kinds: Vec<&str> = tests
        .iter()
        .map(|test| match test {
            Test::Null => "null",
            Test::Bool(_) => "a boolean",
            Test::Number(_) | Test::Range(_) => "a number",
            _ => "a string",
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        "an array of objects".to_owned()
    } else {
        kinds.join(" or ")
    }
}

/// At most so many characters of the text.
fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}
