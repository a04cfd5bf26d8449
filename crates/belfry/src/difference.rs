//! Unified differences of two texts.

/// Lines of context around each change.
const CONTEXT: usize = 3;
/// Above this many lines on either side the table of the search would be too large; the texts are then shown whole.
const LINES_MAX: usize = 4000;

/// One line of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Lines were left out.
    Gap,
    /// On both sides.
    Same(&'a str),
    /// Only in the old text.
    Old(&'a str),
    /// Only in the new text.
    New(&'a str),
}

/// The difference with some context; empty when the texts are equal.
pub fn difference<'a>(old: &'a str, new: &'a str) -> Vec<Line<'a>> {
    if old == new {
        return Vec::new();
    }
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    shorten(&script(&old, &new))
}

/// Every line of both, by their longest common subsequence.
fn script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    if old.len() > LINES_MAX || new.len() > LINES_MAX {
        return old
            .iter()
            .copied()
            .map(Line::Old)
            .chain(new.iter().copied().map(Line::New))
            .collect();
    }
    // lengths[i * width + j]: length of the longest common subsequence of old[i..] and new[j..].
    let width = new.len() + 1;
    let mut lengths = vec![0_u16; (old.len() + 1) * width];
    let at = |lengths: &[u16], i: usize, j: usize| lengths.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let length = if a == b {
                at(&lengths, i + 1, j + 1) + 1
            } else {
                at(&lengths, i + 1, j).max(at(&lengths, i, j + 1))
            };
            if let Some(slot) = lengths.get_mut(i * width + j) {
                *slot = length;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::with_capacity(old.len() + new.len());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                lines.push(Line::Same(a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || at(&lengths, i + 1, j) >= at(&lengths, i, j + 1) => {
                lines.push(Line::Old(a));
                i += 1;
            }
            (_, Some(b)) => {
                lines.push(Line::New(b));
                j += 1;
            }
            _ => return lines,
        }
    }
}

fn shorten<'a>(lines: &[Line<'a>]) -> Vec<Line<'a>> {
    let is_change = |line: &Line<'_>| matches!(line, Line::Old(_) | Line::New(_));
    let mut kept = Vec::new();
    let mut gap = false;
    for (index, line) in lines.iter().enumerate() {
        let near = lines.get(index.saturating_sub(CONTEXT)..(index + CONTEXT + 1).min(lines.len()));
        if near.is_some_and(|near| near.iter().any(is_change)) {
            if std::mem::take(&mut gap) {
                kept.push(Line::Gap);
            }
            kept.push(*line);
        } else {
            gap = true;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_their_surroundings() {
        let old: String = (0..20).map(|n| n.to_string() + "\n").collect();
        let new = old.replace("10\n", "ten\n").replace("19\n", "");
        let shown = difference(&old, &new);
        assert_eq!(shown.first(), Some(&Line::Gap));
        let position = shown
            .iter()
            .position(|line| *line == Line::Old("10"))
            .unwrap();
        assert_eq!(shown.get(position + 1), Some(&Line::New("ten")));
        assert_eq!(position, 4);
        assert!(shown.contains(&Line::Old("19")));
        assert_eq!(shown.iter().filter(|line| **line == Line::Gap).count(), 2);
    }

    #[test]
    fn equal_texts_have_no_difference_and_new_ones_are_all_new() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), []);
        assert_eq!(difference("", "a\nb\n"), [Line::New("a"), Line::New("b")]);
        assert_eq!(difference("a\nb\n", ""), [Line::Old("a"), Line::Old("b")]);
    }
}
