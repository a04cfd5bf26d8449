//! The text of an event, and what is known about it.

use crate::{
    error::EventError,
    json::{self, Value},
    limits::{MAX_EVENT_BYTES, MAX_EVENT_DEPTH},
};

/// An event that is known to be one JSON object, so that matching need not check it again.
///
/// ```
/// use belfry_pattern::{EventText, Pattern, RuleSet, Scratch};
///
/// let mut rules = RuleSet::new();
/// rules.add(1, &Pattern::parse(br#"{"status":["1"]}"#)?);
/// let event = EventText::check(br#"{"status":"1"}"#)?;
/// assert_eq!(rules.matches_text(event, &mut Scratch::default()), [1]);
/// assert!(EventText::check(b"[1]").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EventText<'a> {
    text: &'a str,
    unique_paths: bool,
}

impl<'a> EventText<'a> {
    /// Reads the whole text: it must be one JSON object by RFC 8259, within
    /// [`MAX_EVENT_BYTES`] and [`MAX_EVENT_DEPTH`].
    pub fn check(bytes: &'a [u8]) -> Result<Self, EventError> {
        let text = json::check(bytes, MAX_EVENT_DEPTH, MAX_EVENT_BYTES)
            .map_err(|problem| EventError::unreadable(bytes, problem))?;
        let start = text.len() - text.trim_ascii_start().len();
        let found = match text.as_bytes().get(start) {
            Some(b'{') => return Ok(Self::trusted(text)),
            Some(b'[') => Value::Array,
            Some(b'"') => Value::String(""),
            Some(b't' | b'f') => Value::Bool(true),
            Some(b'n') => Value::Null,
            _ => Value::Number(""),
        };
        Err(EventError::not_object(bytes, start, found))
    }

    /// Takes a text that the caller has checked already. Should it not be what
    /// [`EventText::check`] accepts, then which rules match is anyone's guess; nothing worse
    /// happens.
    pub const fn trusted(text: &'a str) -> Self {
        Self {
            text,
            unique_paths: false,
        }
    }

    /// Vouches that nothing in the event is spelled two ways: no object repeats a name, and no
    /// name contains a dot or an escape. Reading then stops as soon as everything that patterns
    /// ask for has been seen; where the promise does not hold, later values are missed.
    #[must_use]
    pub const fn with_unique_paths(self) -> Self {
        Self {
            unique_paths: true,
            ..self
        }
    }

    pub(crate) const fn has_unique_paths(self) -> bool {
        self.unique_paths
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.text
    }
}
