//! What can be wrong with a transform (at save) and with rendering one (per event).

use std::fmt;

use serde::Serialize;

use crate::limits::ERRORS_MAX;

/// Says what is wrong with a transform, and where, so that an editor can mark the place.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TransformError {
    /// JSON pointer into the spec, `/template` for example.
    pub pointer: String,
    /// Line within the text at `pointer`, from 1; absent when the whole member is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column within that line in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What the author may have meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl TransformError {
    /// An error that concerns the whole member at `pointer`.
    pub(crate) fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            line: None,
            column: None,
            message: message.into(),
            hint: None,
        }
    }

    /// An error at byte `offset` of `text`, the text found at `pointer`.
    pub(crate) fn within(
        pointer: impl Into<String>,
        text: &str,
        offset: usize,
        message: impl Into<String>,
    ) -> Self {
        let (line, column) = line_column(text, offset);
        Self {
            line: Some(line),
            column: Some(column),
            ..Self::at(pointer, message)
        }
    }

    pub(crate) fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for TransformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pointer)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, " line {line} column {column}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for TransformError {}

/// Line and column (in characters), both from 1, of a byte offset.
pub(crate) fn line_column(text: &str, offset: usize) -> (u32, u32) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = text.get(..end).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (
        u32::try_from(line).unwrap_or(u32::MAX),
        u32::try_from(column).unwrap_or(u32::MAX),
    )
}

/// Collects errors up to a bound: a broken text must not answer with a megabyte of messages.
#[derive(Default)]
pub(crate) struct Errors(Vec<TransformError>);

impl Errors {
    pub(crate) fn push(&mut self, error: TransformError) {
        if self.0.len() < ERRORS_MAX {
            self.0.push(error);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= ERRORS_MAX
    }

    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Gives `value` when nothing was pushed.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Vec<TransformError>> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self.0)
        }
    }
}

/// Says why one event could not be rendered; the same input gives the same error again.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenderError {
    /// The event is not a JSON value.
    #[error("event is not valid JSON: {message}")]
    InvalidEvent {
        /// What the parser said.
        message: String,
    },
    /// The output, or one value on its way into it, is larger than allowed.
    #[error("output exceeds {limit} bytes at {place}")]
    TooLarge {
        /// Stable reason code: `template_error` or `transform_error`.
        code: &'static str,
        /// The bound that was hit.
        limit: usize,
        /// The placeholder or path at which it was hit.
        place: String,
    },
    /// Evaluating the paths of this transform over this event takes too many steps.
    #[error("paths select too much of the event: {message}")]
    TooMuchWork {
        /// Stable reason code: `template_error` or `transform_error`.
        code: &'static str,
        /// Which bound was hit.
        message: String,
    },
    /// The rendered text claims to be JSON and is not.
    #[error("rendered text is not valid JSON: {message}")]
    InvalidJson {
        /// What the parser said, with line and column in the output.
        message: String,
    },
    /// A value of the event does not have the form that this step needs.
    #[error("{place}: {message}")]
    Value {
        /// The path or step that failed.
        place: String,
        /// What was expected.
        message: String,
    },
    /// A Jinja template or a script, which is evaluated by whoever has a helper process.
    #[error("templates and scripts of this kind are evaluated in a helper process")]
    Elsewhere,
    /// The transform decided that this event is not to be sent; not a failure.
    #[error("event is not sent on: {step} did not match")]
    Filtered {
        /// The step that refused it.
        step: &'static str,
    },
}

/// Reason code of errors in templates.
pub(crate) const TEMPLATE_ERROR: &str = "template_error";
/// Reason code of all other errors.
pub(crate) const TRANSFORM_ERROR: &str = "transform_error";

impl RenderError {
    /// Stable reason code as stored with an attempt: `template_error`, `transform_error`, or
    /// `transform_filtered` when the event is not to be sent.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { code, .. } | Self::TooMuchWork { code, .. } => code,
            Self::InvalidJson { .. } | Self::Elsewhere => TEMPLATE_ERROR,
            Self::InvalidEvent { .. } | Self::Value { .. } => TRANSFORM_ERROR,
            Self::Filtered { .. } => "transform_filtered",
        }
    }

    /// True when the transform chose not to send this event: record a skip, not a failure, and
    /// do not fall back to the original.
    pub fn is_filtered(&self) -> bool {
        matches!(self, Self::Filtered { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        assert_eq!(line_column("告警\n级别x", 13), (2, 3));
        assert_eq!(line_column("abc", 99), (1, 4));
        assert_eq!(line_column("", 0), (1, 1));
    }

    #[test]
    fn an_error_reads_as_one_sentence() {
        let error = TransformError::within("/template", "a\nbc", 3, "unknown filter `uper`")
            .with_hint(Some("did you mean `upper`?".to_owned()));
        assert_eq!(
            error.to_string(),
            "/template line 2 column 2: unknown filter `uper` (did you mean `upper`?)"
        );
    }
}
