//! What can be wrong with a pattern or an event, and where.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::json::{self, Problem, ProblemKind, Value};

/// What is wrong with a pattern, as a stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The text is no JSON.
    NotJson,
    /// The top of the pattern is no object.
    NotObject,
    /// `{}` where a field or pattern is due.
    EmptyObject,
    /// `[]` as a field or as an argument.
    EmptyList,
    /// A list directly in a list of alternatives.
    NestedList,
    /// No operator has this name.
    UnknownOperator,
    /// An alternative is an object without exactly one member.
    OneOperator,
    /// The operator does not take this kind of argument.
    BadArgument,
    /// `numeric` out of order or shape.
    BadRange,
    /// A number that has no numeric value.
    BadNumber,
    /// `anything-but` with strings and numbers together.
    MixedList,
    /// A malformed wildcard.
    BadWildcard,
    /// A malformed regular expression.
    BadRegexp,
    /// A malformed address block.
    BadCidr,
    /// A bare scalar under the name of an operator: the list around the operator is missing.
    BareOperator,
    /// A member of an `$or` object is named like an operator.
    ReservedName,
    /// The pattern or a part of it is too long.
    TooLarge,
    /// The pattern or a part of it would cost too much.
    TooComplex,
}

impl ErrorCode {
    /// The code as clients see it.
    ///
    /// ```
    /// assert_eq!(belfry_pattern::ErrorCode::BadWildcard.as_str(), "bad-wildcard");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::NotObject => "not-object",
            Self::EmptyObject => "empty-object",
            Self::EmptyList => "empty-list",
            Self::NestedList => "nested-list",
            Self::UnknownOperator => "unknown-operator",
            Self::OneOperator => "one-operator",
            Self::BadArgument => "bad-argument",
            Self::BadRange => "bad-range",
            Self::BadNumber => "bad-number",
            Self::MixedList => "mixed-list",
            Self::BadWildcard => "bad-wildcard",
            Self::BadRegexp => "bad-regexp",
            Self::BadCidr => "bad-cidr",
            Self::BareOperator => "bare-operator",
            Self::ReservedName => "reserved-name",
            Self::TooLarge => "too-large",
            Self::TooComplex => "too-complex",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing that is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PatternError {
    /// What is wrong, for programs.
    pub code: ErrorCode,
    /// The offending value as a JSON pointer (RFC 6901); empty for the whole pattern.
    pub pointer: String,
    /// Line of the offending text, from 1.
    pub line: u32,
    /// Column of the offending text in characters, from 1.
    pub column: u32,
    /// What is wrong, for a person.
    pub message: String,
    /// What would be right, where that can be told.
    pub hint: Option<String>,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        write!(f, " [{}]", self.code)
    }
}

impl std::error::Error for PatternError {}

/// Everything found wrong with a pattern, in the order of the text. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PatternErrors(Vec<PatternError>);

impl PatternErrors {
    /// `None` when there is no error.
    pub(crate) fn new(errors: Vec<PatternError>) -> Option<Self> {
        if errors.is_empty() {
            None
        } else {
            Some(Self(errors))
        }
    }

    /// The errors, at least one.
    pub fn as_slice(&self) -> &[PatternError] {
        &self.0
    }

    /// The errors by value, at least one.
    pub fn into_vec(self) -> Vec<PatternError> {
        self.0
    }
}

impl From<PatternError> for PatternErrors {
    fn from(error: PatternError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for PatternErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PatternErrors {}

/// Why an event cannot be matched at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EventErrorCode {
    /// The text is no JSON (or not UTF-8, or has half a surrogate pair).
    NotJson,
    /// The top is no object.
    NotObject,
    /// Nested deeper than [`MAX_EVENT_DEPTH`](crate::limits::MAX_EVENT_DEPTH).
    TooDeep,
    /// Longer than [`MAX_EVENT_BYTES`](crate::limits::MAX_EVENT_BYTES).
    TooLarge,
}

/// An event that is not a JSON object within the limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
#[serde(rename_all = "camelCase")]
pub struct EventError {
    /// What is wrong, for programs.
    pub code: EventErrorCode,
    /// Line of the offending text, from 1.
    pub line: u32,
    /// Column of the offending text in characters, from 1.
    pub column: u32,
    /// What is wrong, for a person.
    pub message: String,
}

impl EventError {
    /// Why a text could not be read.
    pub(crate) fn unreadable(source: &[u8], problem: Problem) -> Self {
        let code = match problem.kind {
            ProblemKind::Syntax => EventErrorCode::NotJson,
            ProblemKind::TooDeep => EventErrorCode::TooDeep,
            ProblemKind::TooLarge => EventErrorCode::TooLarge,
        };
        Self::at(source, problem.offset, code, problem.message)
    }

    /// JSON, but no object.
    pub(crate) fn not_object(source: &[u8], offset: usize, found: Value<'_>) -> Self {
        let message = format!("an event is an object, not {}", found.described());
        Self::at(source, offset, EventErrorCode::NotObject, message)
    }

    fn at(source: &[u8], offset: usize, code: EventErrorCode, message: String) -> Self {
        let (line, column) = json::position(source, offset);
        Self {
            code,
            line,
            column,
            message,
        }
    }
}
