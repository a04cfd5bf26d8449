//! One pattern.

use std::sync::Arc;

use crate::{
    error::{EventError, PatternErrors},
    event::{Found, Paths},
    explain::{Explanation, explain},
    matcher::{self, Branch},
    parse::{self, Parsed},
};

/// A parsed and validated pattern. Cloning is cheap.
///
/// ```
/// use belfry_pattern::Pattern;
///
/// let pattern = Pattern::parse(br#"{"data":{"value":[{"numeric":[">",90]}],"zone":["a",{"prefix":"b-"}]}}"#)?;
/// assert!(pattern.matches(br#"{"data":{"value":91,"zone":"b-2"}}"#)?);
/// assert!(!pattern.matches(br#"{"data":{"value":90,"zone":"b-2"}}"#)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pattern {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parsed: Arc<Parsed>,
    paths: Paths,
    branches: Box<[Branch]>,
}

impl Pattern {
    /// Reads a pattern as it was written; the bytes must not have gone through another JSON
    /// library, which would change numbers and drop repeated names.
    ///
    /// ```
    /// use belfry_pattern::{ErrorCode, Pattern};
    ///
    /// let errors = Pattern::parse(br#"{"name":[{"prefixx":"a"}]}"#).unwrap_err();
    /// let error = &errors.as_slice()[0];
    /// assert_eq!(error.code, ErrorCode::UnknownOperator);
    /// assert_eq!((error.line, error.column), (1, 11));
    /// assert_eq!(error.pointer, "/name/0/prefixx");
    /// assert_eq!(error.hint.as_deref(), Some("did you mean `prefix`?"));
    /// ```
    pub fn parse(text: &[u8]) -> Result<Self, PatternErrors> {
        let parsed = Arc::new(parse::parse(text)?);
        let mut paths = Paths::default();
        let branches = matcher::compile(&parsed, &mut paths);
        Ok(Self {
            inner: Arc::new(Inner {
                parsed,
                paths,
                branches,
            }),
        })
    }

    /// The text as given to [`Pattern::parse`].
    pub fn text(&self) -> &str {
        &self.inner.parsed.text
    }

    /// Whether the event matches. For many patterns use a [`RuleSet`](crate::RuleSet), which reads
    /// the event once for all of them.
    pub fn matches(&self, event: &[u8]) -> Result<bool, EventError> {
        let mut found = Found::default();
        let event = found.read(event, &self.inner.paths)?;
        Ok(matcher::holds(
            &self.inner.parsed,
            &self.inner.branches,
            &event,
        ))
    }

    /// Whether the event matches, and what each field of the pattern had to do with it. The
    /// verdict is always that of [`Pattern::matches`].
    ///
    /// ```
    /// use belfry_pattern::{LeafOutcome, Pattern};
    ///
    /// let pattern = Pattern::parse(br#"{"source":["cvm"],"code":[300]}"#)?;
    /// let explanation = pattern.explain(br#"{"source":"cvm","code":"300"}"#)?;
    /// assert!(!explanation.matched);
    /// assert_eq!(explanation.leaves[0].outcome, LeafOutcome::Matched);
    /// assert_eq!(explanation.leaves[1].outcome, LeafOutcome::WrongType);
    /// assert_eq!(explanation.leaves[1].found, [r#""300""#]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, event: &[u8]) -> Result<Explanation, EventError> {
        let mut found = Found::default();
        let event = found.read(event, &self.inner.paths)?;
        Ok(explain(&self.inner.parsed, &self.inner.branches, &event))
    }

    pub(crate) fn parsed(&self) -> &Arc<Parsed> {
        &self.inner.parsed
    }
}
