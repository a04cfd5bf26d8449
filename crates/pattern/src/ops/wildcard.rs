//! Wildcards: literal pieces with any run of characters between them.

use crate::{error::ErrorCode, limits::MAX_STARS};

#[cfg(test)]
mod tests;

/// A parsed `wildcard` or `shellstyle`.
#[derive(Debug, Clone)]
pub(crate) struct Wildcard {
    first: Box<str>,
    /// Pieces between two stars.
    middle: Box<[Box<str>]>,
    /// What follows the last star; `None` when there is no star at all.
    last: Option<Box<str>>,
}

/// Why a wildcard is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WildcardError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

impl Wildcard {
    /// Parses a wildcard; in `shellstyle` the backslash is an ordinary character.
    pub(crate) fn parse(text: &str, shellstyle: bool) -> Result<Self, WildcardError> {
        let bad = |message: String, hint| WildcardError {
            code: ErrorCode::BadWildcard,
            message,
            hint: Some(hint),
        };
        let mut pieces: Vec<Box<str>> = Vec::new();
        let mut piece = String::new();
        let mut after_star = false;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '*' if after_star => {
                    return Err(bad(
                        "two `*` next to each other".into(),
                        "one `*` is enough",
                    ));
                }
                '*' => {
                    pieces.push(std::mem::take(&mut piece).into());
                    if pieces.len() > MAX_STARS {
                        return Err(WildcardError {
                            code: ErrorCode::TooComplex,
                            message: format!("more than {MAX_STARS} `*` in one wildcard"),
                            hint: None,
                        });
                    }
                }
                '\\' if !shellstyle => match chars.next() {
                    Some(c @ ('*' | '\\')) => piece.push(c),
                    Some(c) => {
                        let hint = "only `\\*` and `\\\\` are escapes; in JSON text they are \
                                    `\\\\*` and `\\\\\\\\`";
                        return Err(bad(format!("`\\{c}` is no escape in a wildcard"), hint));
                    }
                    None => {
                        let hint = "a backslash is `\\\\`, in JSON text `\\\\\\\\`";
                        return Err(bad("the wildcard ends in a lone backslash".into(), hint));
                    }
                },
                c => piece.push(c),
            }
            // An escaped star is no star, but it came through the backslash arm.
            after_star = c == '*';
        }
        let tail: Box<str> = piece.into();
        if pieces.is_empty() {
            return Ok(Self {
                first: tail,
                middle: Box::default(),
                last: None,
            });
        }
        let middle = pieces.split_off(1).into();
        Ok(Self {
            first: pieces.pop().unwrap_or_default(),
            middle,
            last: Some(tail),
        })
    }

    /// The literal beginning and end of what fits.
    pub(crate) fn ends(&self) -> (&str, &str) {
        (&self.first, self.last.as_deref().unwrap_or_default())
    }

    /// The literal pieces around the stars; `None` when there is no star.
    pub(crate) fn pieces(&self) -> Option<impl Iterator<Item = &str>> {
        let last = self.last.iter();
        let pieces = std::iter::once(&self.first).chain(&self.middle).chain(last);
        self.last.is_some().then(|| pieces.map(|piece| &**piece))
    }

    pub(crate) fn fits(&self, value: &str) -> bool {
        self.search(value, |_| ())
    }

    /// Finds the pieces in order, each at its first place behind the one before: where any
    /// placement works, this one does, so there is nothing to go back for. `step` is told how many
    /// bytes each search went over; together never more than the value has.
    fn search(&self, value: &str, mut step: impl FnMut(usize)) -> bool {
        let Some(last) = &self.last else {
            return *self.first == *value;
        };
        let Some(rest) = value.strip_prefix(&*self.first) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(&**last) else {
            return false;
        };
        for piece in &self.middle {
            let Some(found) = rest.find(&**piece) else {
                step(rest.len());
                return false;
            };
            let end = found + piece.len();
            step(end);
            rest = rest.get(end..).unwrap_or_default();
        }
        true
    }
}
