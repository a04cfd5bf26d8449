//! Simple case folding: one character to one character, the same for patterns and events.

/// A string with every character folded.
#[derive(Debug, Clone)]
pub(crate) struct Folded(Box<[char]>);

impl Folded {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().map(fold).collect())
    }

    pub(crate) fn equals(&self, s: &str) -> bool {
        s.chars().map(fold).eq(self.0.iter().copied())
    }

    pub(crate) fn starts(&self, s: &str) -> bool {
        let mut chars = s.chars().map(fold);
        self.0.iter().all(|&wanted| chars.next() == Some(wanted))
    }

    pub(crate) fn ends(&self, s: &str) -> bool {
        let mut chars = s.chars().rev().map(fold);
        self.0
            .iter()
            .rev()
            .all(|&wanted| chars.next() == Some(wanted))
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
