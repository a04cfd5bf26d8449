//! Simple case folding: one character to one character, the same for patterns and events.

use smol_str::SmolStr;

/// A string with every character folded.
#[derive(Debug, Clone)]
pub(crate) struct Folded(SmolStr);

impl Folded {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().map(fold).collect())
    }

    pub(crate) fn equals(&self, s: &str) -> bool {
        s.chars().map(fold).eq(self.0.chars())
    }

    pub(crate) fn starts(&self, s: &str) -> bool {
        let mut chars = s.chars().map(fold);
        self.0.chars().all(|wanted| chars.next() == Some(wanted))
    }

    pub(crate) fn ends(&self, s: &str) -> bool {
        let mut chars = s.chars().rev().map(fold);
        self.0
            .chars()
            .rev()
            .all(|wanted| chars.next() == Some(wanted))
    }
}

/// Appends the folded string.
pub(crate) fn fold_into(s: &str, out: &mut String) {
    if s.is_ascii() {
        let from = out.len();
        out.push_str(s);
        if let Some(new) = out.get_mut(from..) {
            new.make_ascii_lowercase();
        }
    } else {
        out.extend(s.chars().map(fold));
    }
}

/// To upper case and then to lower case, each where that is a single character. Going up first
/// brings σ and ς together, and the k with the Kelvin sign.
fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let upper = single(c.to_uppercase()).unwrap_or(c);
    single(upper.to_lowercase()).unwrap_or(upper)
}

fn single(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let only = chars.next();
    if chars.next().is_none() { only } else { None }
}
