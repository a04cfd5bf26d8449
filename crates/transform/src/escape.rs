//! Escaping of inserted values for the medium they land in.
//!
//! Values come from other people's systems; a text template is markup that the rule's author
//! wrote. The target knows what its channel understands, so the target picks the [`Escape`] and
//! every inserted value passes through it, whether or not the author thought of it.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 3986 does not call unreserved.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// How values inserted into a template are made harmless.
///
/// Applied to values only, never to the template's own text. In JSON templates it is applied to texts, before they are
/// quoted as the language asks for; numbers, objects and lists that are inserted as such stay as they are. A placeholder whose last filter is already the same
/// escape (`md`, `html`, `url`, `json`) is not escaped twice; the output of `url` is safe anywhere.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Escape {
    /// As it is.
    #[default]
    None,
    /// As the inside of a JSON string.
    Json,
    /// `CommonMark`: punctuation gets a backslash; the value stays on one line.
    Markdown,
    /// Markdown dialects without an escape character: markup characters become full-width
    /// look-alikes; the value stays on one line.
    LookAlike,
    /// HTML text and quoted attributes.
    Html,
    /// Exactly `&`, `<` and `>` become entities (Slack).
    Angle,
    /// Everything but unreserved characters is percent-encoded.
    Url,
    /// One line of plain text, for headers and titles: line breaks become blanks.
    Line,
    /// What a target needs beyond these; must be pure and linear.
    Custom(fn(&str) -> Cow<'_, str>),
}

impl Escape {
    /// Escapes one value.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::Custom(escape) => escape(text),
            Self::Json => mapped(
                text,
                |c| matches!(c, '"' | '\\') || c < ' ' || c == '\u{7f}',
                crate::scan::escape_into,
            ),
            Self::Markdown => mapped(
                text,
                |c| is_markdown(c) || is_unseen(c) || c == '\n' || c == '.',
                markdown,
            ),
            Self::LookAlike => mapped(
                text,
                |c| is_unseen(c) || matches!(c, '<' | '>' | '[' | ']' | '*' | '`' | '\n'),
                |out, text| {
                    for c in text.chars().filter(|c| !is_unseen(*c)) {
                        match c {
                            '<' => out.push('＜'),
                            '>' => out.push('＞'),
                            '[' => out.push('［'),
                            ']' => out.push('］'),
                            '*' => out.push('＊'),
                            '`' => out.push('ˋ'),
                            '\n' => out.push_str(" ⏎ "),
                            c => out.push(c),
                        }
                    }
                },
            ),
            Self::Html => mapped(
                text,
                |c| is_unseen(c) || matches!(c, '&' | '<' | '>' | '"' | '\''),
                |out, text| entities(out, text, true),
            ),
            Self::Angle => mapped(
                text,
                |c| is_unseen(c) || matches!(c, '&' | '<' | '>'),
                |out, text| entities(out, text, false),
            ),
            Self::Url => utf8_percent_encode(text, NOT_UNRESERVED).into(),
            Self::Line => mapped(
                text,
                |c| is_unseen(c) || matches!(c, '\n' | '\t'),
                |out, text| {
                    for c in text.chars().filter(|c| !is_unseen(*c)) {
                        out.push(if matches!(c, '\n' | '\t') { ' ' } else { c });
                    }
                },
            ),
        }
    }

    /// True when text that ends with the escape `done` needs nothing more for `self`.
    pub(crate) fn is_met_by(self, done: Self) -> bool {
        matches!(
            (self, done),
            (Self::None, _)
                | (
                    Self::Json | Self::Markdown | Self::Html | Self::Angle | Self::Url,
                    Self::Url
                )
                | (Self::Markdown, Self::Markdown)
                | (Self::Html, Self::Html)
        )
    }
}

/// Runs `write` only when some character needs it: most values pass through as they are.
fn mapped(
    text: &str,
    needs: impl Fn(char) -> bool,
    write: impl Fn(&mut String, &str),
) -> Cow<'_, str> {
    if !text.contains(needs) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + text.len() / 8 + 16);
    write(&mut out, text);
    Cow::Owned(out)
}

/// Control characters, bidirectional overrides and zero-width characters: they change how the text
/// around a value is read and never carry meaning in an alarm.
fn is_unseen(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}' | '\u{feff}')
}

fn is_markdown(c: char) -> bool {
    matches!(
        c,
        '\\' | '`'
            | '*'
            | '_'
            | '{'
            | '}'
            | '['
            | ']'
            | '('
            | ')'
            | '<'
            | '>'
            | '#'
            | '+'
            | '-'
            | '!'
            | '|'
            | '~'
            | '&'
            | '='
    )
}

fn markdown(out: &mut String, text: &str) {
    // `1.` at the start of a line opens a list; a dot elsewhere (addresses) is left alone.
    let mut only_digits = false;
    let mut fresh = true;
    for c in text.chars().filter(|c| !is_unseen(*c)) {
        match c {
            '\n' => out.push_str(" ⏎ "),
            '.' if only_digits => out.push_str("\\."),
            c => {
                if is_markdown(c) {
                    out.push('\\');
                }
                out.push(c);
            }
        }
        only_digits = c.is_ascii_digit() && (fresh || only_digits);
        fresh = fresh && c == ' ';
    }
}

fn entities(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars().filter(|c| !is_unseen(*c)) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if quotes => out.push_str("&quot;"),
            '\'' if quotes => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_escape_neutralises_its_markup() {
        for (escape, text, expected) in [
            (Escape::None, "<b>\"x\"", "<b>\"x\""),
            (Escape::Json, "a\"b\\\n", "a\\\"b\\\\\\n"),
            (
                Escape::Markdown,
                "[点我](http://e.example)",
                "\\[点我\\]\\(http://e.example\\)",
            ),
            (Escape::Markdown, "1. x", "1\\. x"),
            (Escape::Markdown, "10.0.0.1", "10\\.0.0.1"),
            (Escape::Markdown, "a_b*c\n# d", "a\\_b\\*c ⏎ \\# d"),
            (Escape::LookAlike, "a<b>c & d", "a＜b＞c & d"),
            (
                Escape::LookAlike,
                "[点我](http://evil.example)",
                "［点我］(http://evil.example)",
            ),
            (Escape::LookAlike, "i-ai0****net", "i-ai0＊＊＊＊net"),
            (Escape::LookAlike, "line1\nline2", "line1 ⏎ line2"),
            (Escape::LookAlike, "a\u{0}b\u{202e}c", "abc"),
            (
                Escape::Html,
                "<a href=\"x\">'&",
                "&lt;a href=&quot;x&quot;&gt;&#39;&amp;",
            ),
            (Escape::Html, "line1\nline2", "line1\nline2"),
            (
                Escape::Angle,
                "<!channel> & 'x'",
                "&lt;!channel&gt; &amp; 'x'",
            ),
            (Escape::Url, "a b/中&~", "a%20b%2F%E4%B8%AD%26~"),
            (Escape::Line, "line1\nline2\t\u{7}x", "line1 line2 x"),
            (
                Escape::Custom(|text| Cow::Owned(text.to_uppercase())),
                "ab",
                "AB",
            ),
        ] {
            assert_eq!(escape.apply(text), expected, "{escape:?} of {text:?}");
        }
    }

    #[test]
    fn harmless_text_is_not_copied() {
        for escape in [
            Escape::Json,
            Escape::Markdown,
            Escape::Html,
            Escape::Url,
            Escape::Line,
        ] {
            assert!(
                matches!(escape.apply("plain"), Cow::Borrowed("plain")),
                "{escape:?}"
            );
        }
    }
}
