//! Keeping a message within what its channel takes.
//!
//! What is cut is the model, never what was rendered: a rendered text that is cut may end inside a tag, a link or an
//! escape. Only the operator's own text is markup already; it is cut at a place outside of both, and what is open there
//! is closed.

use super::Message;

/// What a channel counts a text in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes of UTF-8.
    Bytes,
    /// Code points.
    Chars,
    /// Units of UTF-16.
    Utf16,
}

impl Unit {
    /// The length of a text.
    pub(crate) fn count(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Chars => text.chars().count(),
            Self::Utf16 => text.encode_utf16().count(),
        }
    }

    /// The longest beginning of a text that is no longer than `limit`.
    fn beginning(self, text: &str, limit: usize) -> &str {
        let mut used = 0;
        let mut end = 0;
        for c in text.chars() {
            used += match self {
                Self::Bytes => c.len_utf8(),
                Self::Chars => 1,
                Self::Utf16 => c.len_utf16(),
            };
            if used > limit {
                break;
            }
            end += c.len_utf8();
        }
        text.get(..end).unwrap_or_default()
    }
}

/// A value longer than this is shortened before anything that matters is dropped, in bytes.
const VALUE_BYTES: usize = 200;

/// A plain text within `limit`, with `marker` at its end if it was cut.
pub(crate) fn cut_text(text: &str, limit: usize, unit: Unit, marker: &str) -> String {
    if unit.count(text) <= limit {
        return text.to_owned();
    }
    let room = limit.saturating_sub(unit.count(marker));
    if room == 0 {
        return unit.beginning(text, limit).to_owned();
    }
    format!("{}{marker}", unit.beginning(text, room))
}

/// The operator's own markup within about `bytes`: not cut inside a tag or a link, and what is open is closed.
pub(crate) fn cut_markup(text: &str, bytes: usize, marker: &str) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut kept = Unit::Bytes.beginning(text, bytes);
    // A tag, an entity or a link that has begun and not ended goes as a whole.
    loop {
        let begun = [
            unended(kept, '<', '>'),
            unended(kept, '&', ';').filter(|at| kept.len() - at <= 8),
            link_begun(kept),
        ];
        let Some(at) = begun.into_iter().flatten().min() else {
            break;
        };
        kept = kept.get(..at).unwrap_or_default();
    }
    // A backslash would escape the marker instead of what followed it.
    let kept = kept.trim_end_matches('\\');
    let mut cut = format!("{kept}{marker}");
    if kept.matches("```").count() % 2 == 1 {
        cut.push_str("\n```");
    } else if kept.replace("```", "").matches('`').count() % 2 == 1 {
        cut.push('`');
    }
    for tag in open_tags(kept).into_iter().rev() {
        cut.push_str("</");
        cut.push_str(tag);
        cut.push('>');
    }
    cut
}

/// Where the last `open` stands that no `close` follows.
fn unended(text: &str, open: char, close: char) -> Option<usize> {
    let at = text.rfind(open)?;
    (!text.get(at..)?.contains(close)).then_some(at)
}

/// Where `[text](address` has begun and not ended.
fn link_begun(text: &str) -> Option<usize> {
    let at = text.rfind('[')?;
    let rest = text.get(at..)?;
    // Beyond that it is no link but a bracket.
    if rest.len() > 4096 || rest.contains('\n') {
        return None;
    }
    match rest.find(']') {
        None => Some(at),
        Some(end) => {
            let after = rest.get(end + 1..)?;
            // The parenthesis may be what was cut off.
            (after.is_empty() || (after.starts_with('(') && !after.contains(')'))).then_some(at)
        }
    }
}

/// Names of the tags that are open at the end, in the order in which they were opened.
fn open_tags(text: &str) -> Vec<&str> {
    let mut open = Vec::new();
    for piece in text.split('<').skip(1) {
        let Some((tag, _)) = piece.split_once('>') else {
            continue;
        };
        if let Some(name) = tag.strip_prefix('/') {
            if let Some(at) = open.iter().rposition(|one| *one == name) {
                open.truncate(at);
            }
        } else if !tag.ends_with('/') {
            let name = tag.split([' ', '=']).next().unwrap_or_default();
            let known = [
                "font",
                "b",
                "i",
                "u",
                "s",
                "a",
                "code",
                "pre",
                "strong",
                "em",
                "at",
                "blockquote",
                "tg-spoiler",
            ];
            if known.contains(&name) {
                open.push(name);
            }
        }
    }
    open
}

/// Makes a message smaller until it `fits`. Kept to the end: what happened, how bad it is, and where to read more.
pub(crate) fn fit(message: &mut Message, fits: impl Fn(&Message) -> bool) {
    let marker = message.cut_marker();
    while !message.lines.is_empty() {
        if fits(message) {
            return;
        }
        message.lines.pop();
        message.lines_left_out += 1;
    }
    while let Some(at) = message.facts.iter().rposition(|fact| fact.optional) {
        if fits(message) {
            return;
        }
        message.facts.remove(at);
    }
    while !fits(message) {
        let longest = message
            .texts_mut()
            .filter(|text| text.len() > VALUE_BYTES)
            .max_by_key(|text| text.len());
        let Some(longest) = longest else {
            break;
        };
        *longest = cut_text(longest, VALUE_BYTES, Unit::Bytes, marker);
    }
    // Whoever sends events writes their links; however long these are, what has happened stays.
    while message.links.len() > 1 {
        if fits(message) {
            return;
        }
        message.links.pop();
    }
    if fits(message) {
        return;
    }
    if let Some(text) = message.text.take() {
        // The longest beginning that fits, found by halves.
        let (mut low, mut high) = (0, text.len());
        while low < high {
            let middle = (low + high).div_ceil(2);
            message.text = Some(cut_markup(&text, middle, marker));
            if fits(message) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        message.text = (low > 0).then(|| cut_markup(&text, low, marker));
        if fits(message) {
            return;
        }
        message.text = None;
    }
    while !fits(message) && message.drop_last() {}
    if fits(message) {
        return;
    }
    let title = std::mem::take(&mut message.subject);
    let (mut low, mut high) = (0, title.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        message.subject = cut_text(&title, middle, Unit::Bytes, marker);
        if fits(message) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    message.subject = cut_text(&title, low, Unit::Bytes, marker);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MARKER: &str = "…(已截断)";

    #[test]
    fn markup_is_cut_outside_of_tags_and_links_and_closed() {
        for (text, bytes, cut) in [
            ("abcdef", 6, "abcdef".to_owned()),
            ("abcdef", 3, format!("abc{MARKER}")),
            ("ab<font color=\"info\">x</font>", 10, format!("ab{MARKER}")),
            (
                "<font color=\"info\">xyz</font>",
                21,
                format!("<font color=\"info\">xy{MARKER}</font>"),
            ),
            ("a [t](http://a.example/b) c", 12, format!("a {MARKER}")),
            (
                "a [t](http://a.example/b) c",
                26,
                format!("a [t](http://a.example/b) {MARKER}"),
            ),
            ("a `code here`", 6, format!("a `cod{MARKER}`")),
            ("```\nlong block", 8, format!("```\nlong{MARKER}\n```")),
            (
                "<b>a <i>bc</i></b>",
                9,
                format!("<b>a <i>b{MARKER}</i></b>"),
            ),
            ("a &#60;b", 6, format!("a {MARKER}")),
            ("a\\*b", 2, format!("a{MARKER}")),
            ("磁盘磁盘", 7, format!("磁盘{MARKER}")),
        ] {
            assert_eq!(cut_markup(text, bytes, MARKER), cut, "{text} at {bytes}");
        }
    }

    proptest! {
        #[test]
        fn a_cut_text_is_within_its_limit_in_every_unit(text in "\\PC{0,60}", limit in 0_usize..80) {
            for unit in [Unit::Bytes, Unit::Chars, Unit::Utf16] {
                let cut = cut_text(&text, limit, unit, MARKER);
                prop_assert!(unit.count(&cut) <= limit);
                prop_assert!(unit.count(&text) > limit || cut == text);
            }
        }

        #[test]
        fn cutting_markup_never_falls_over(text in "[a`<>/bfont\\[\\]()&#;\\\\ 磁\n]{0,80}", bytes in 0_usize..90) {
            let cut = cut_markup(&text, bytes, MARKER);
            prop_assert!(text.len() <= bytes || cut.contains(MARKER));
        }
    }
}
