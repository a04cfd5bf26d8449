//! Walks JSON text without building a tree.
//!
//! Values that are copied whole must come out byte for byte as they came in (`1.10` stays `1.10`,
//! `\u4e2d` stays escaped), so everything here works on slices of the event. The text is checked
//! once by [`validate`]; the walkers rely on that but never panic when it is not true.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// Checks that `bytes` are one JSON value and gives its text without surrounding blanks.
pub(crate) fn validate(bytes: &[u8]) -> Result<&str, serde_json::Error> {
    // serde_json skips over raw values iteratively: no recursion, whatever the nesting.
    serde_json::from_slice::<&RawValue>(bytes).map(RawValue::get)
}

fn slice(text: &str, from: usize, to: usize) -> &str {
    text.get(from..to).unwrap_or("")
}

fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// `at` is on the opening quote; gives the place after the closing one.
fn skip_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    loop {
        // Most bytes of an event are inside strings: eight at a time where nothing ends.
        while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_ne_bytes(*word);
            if has_byte(word, b'"') || has_byte(word, b'\\') {
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// Whether one of the eight bytes is `byte`: the usual carry trick, exact for "none at all".
fn has_byte(word: u64, byte: u8) -> bool {
    let zeroed = word ^ (0x0101_0101_0101_0101 * u64::from(byte));
    zeroed.wrapping_sub(0x0101_0101_0101_0101) & !zeroed & 0x8080_8080_8080_8080 != 0
}

fn skip_value(bytes: &[u8], mut at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'{' | b'[') => {
            let mut depth = 0_usize;
            loop {
                match bytes.get(at) {
                    None => return bytes.len(),
                    Some(b'"') => {
                        at = skip_string(bytes, at);
                        continue;
                    }
                    Some(b'{' | b'[') => depth += 1,
                    Some(b'}' | b']') => {
                        depth = depth.saturating_sub(1);
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    Some(_) => {}
                }
                at += 1;
            }
        }
        _ => {
            while let Some(byte) = bytes.get(at) {
                if matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r') {
                    break;
                }
                at += 1;
            }
            at
        }
    }
}

/// Iterates over the members of a JSON object: name as written (with its quotes) and value.
pub(crate) struct Members<'e> {
    text: &'e str,
    at: usize,
}

/// Gives the members of `value`, or `None` when it is not an object.
pub(crate) fn members(value: &str) -> Option<Members<'_>> {
    value
        .starts_with('{')
        .then_some(Members { text: value, at: 1 })
}

impl<'e> Iterator for Members<'e> {
    type Item = (&'e str, &'e str);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        let mut at = skip_blanks(bytes, self.at);
        if bytes.get(at) == Some(&b',') {
            at = skip_blanks(bytes, at + 1);
        }
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let name_end = skip_string(bytes, at);
        let name = slice(self.text, at, name_end);
        let colon = skip_blanks(bytes, name_end);
        let value_start = skip_blanks(bytes, colon + 1);
        let value_end = skip_value(bytes, value_start);
        self.at = value_end;
        Some((name, slice(self.text, value_start, value_end)))
    }
}

/// Iterates over the elements of a JSON array.
pub(crate) struct Elements<'e> {
    text: &'e str,
    at: usize,
}

/// Gives the elements of `value`, or `None` when it is not an array.
pub(crate) fn elements(value: &str) -> Option<Elements<'_>> {
    value
        .starts_with('[')
        .then_some(Elements { text: value, at: 1 })
}

impl<'e> Iterator for Elements<'e> {
    type Item = &'e str;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        let mut at = skip_blanks(bytes, self.at);
        if bytes.get(at) == Some(&b',') {
            at = skip_blanks(bytes, at + 1);
        }
        if matches!(bytes.get(at), None | Some(b']')) {
            return None;
        }
        let end = skip_value(bytes, at);
        if end == at {
            return None;
        }
        self.at = end;
        Some(slice(self.text, at, end))
    }
}

/// The characters between the quotes of a JSON string as written, or `None` for other values.
pub(crate) fn string_inner(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

/// Decodes the inside of a JSON string.
///
/// A lone surrogate (`\ud800`), which JSON's grammar allows and Unicode does not, becomes U+FFFD.
pub(crate) fn unescape(inner: &str) -> Cow<'_, str> {
    let Some(first) = inner.find('\\') else {
        return Cow::Borrowed(inner);
    };
    let mut out = String::with_capacity(inner.len());
    out.push_str(slice(inner, 0, first));
    let mut rest = slice(inner, first, inner.len()).chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let high = hex4(&mut rest);
                let mut decoded = char::from_u32(high);
                if (0xd800..0xdc00).contains(&high) {
                    let mut ahead = rest.clone();
                    if ahead.next() == Some('\\') && ahead.next() == Some('u') {
                        let low = hex4(&mut ahead);
                        if (0xdc00..0xe000).contains(&low) {
                            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                            decoded = char::from_u32(code);
                            rest = ahead;
                        }
                    }
                }
                out.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Cow::Owned(out)
}

fn hex4(rest: &mut std::str::Chars<'_>) -> u32 {
    let mut code = 0;
    for _ in 0..4 {
        code = code * 16 + rest.next().and_then(|c| c.to_digit(16)).unwrap_or(0);
    }
    code
}

/// Appends `text` to `out` as the inside of a JSON string.
pub(crate) fn escape_into(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' || c == '\u{7f}' => {
                // Writing into a String cannot fail.
                write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default();
            }
            c => out.push(c),
        }
    }
}

/// Gives `text` as a JSON string with its quotes.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    escape_into(&mut out, text);
    out.push('"');
    out
}

/// Appends JSON text without the blanks outside its strings.
pub(crate) fn compact_into(out: &mut String, json: &str) {
    let mut in_string = false;
    let mut escaped = false;
    for c in json.chars() {
        if in_string {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == '"' {
                in_string = false;
            }
            out.push(c);
        } else if !matches!(c, ' ' | '\t' | '\n' | '\r') {
            in_string = c == '"';
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_the_text_of_values() {
        let text = r#"{ "a" : 1.10 , "b\"" : [1, {"x":"}"}] ,"c":"\u4e2d" }"#;
        let got: Vec<_> = members(text).unwrap().collect();
        assert_eq!(
            got,
            [
                ("\"a\"", "1.10"),
                (r#""b\"""#, r#"[1, {"x":"}"}]"#),
                ("\"c\"", r#""\u4e2d""#)
            ]
        );
        assert_eq!(members("{}").unwrap().count(), 0);
        assert!(members("[]").is_none());
    }

    #[test]
    fn elements_are_walked_in_order() {
        let got: Vec<_> = elements("[ 1 ,\"a,]\", [2,3] , null]").unwrap().collect();
        assert_eq!(got, ["1", "\"a,]\"", "[2,3]", "null"]);
        assert_eq!(elements("[ ]").unwrap().count(), 0);
    }

    #[test]
    fn broken_text_ends_the_walk_and_never_panics() {
        for text in [
            "{\"a", "{\"a\":", "{\"a\" 1", "[1,,]", "[\"\\", "[{", "{,", "[,",
        ] {
            if let Some(walk) = members(text) {
                assert!(walk.take(10).count() < 10, "{text}");
            }
            if let Some(walk) = elements(text) {
                assert!(walk.take(10).count() < 10, "{text}");
            }
        }
    }

    #[test]
    fn strings_are_decoded_as_serde_json_does() {
        for raw in [
            r#""plain""#,
            r#""a\"b\\c\/d\b\f\n\r\t""#,
            r#""\u4e2d\ud83d\ude00x""#,
            r#""告警""#,
        ] {
            let expected: String = serde_json::from_str(raw).unwrap();
            assert_eq!(unescape(string_inner(raw).unwrap()), expected);
        }
        assert_eq!(unescape(r"a\ud800b"), "a\u{fffd}b");
        assert_eq!(unescape(r"\ud800\u0041"), "\u{fffd}A");
    }

    #[test]
    fn a_quoted_text_reads_back() {
        for text in ["", "a\"b\\c\n\r\t\u{1}\u{7f}", "中文 😀"] {
            assert_eq!(serde_json::from_str::<String>(&quote(text)).unwrap(), text);
        }
    }

    #[test]
    fn compacting_leaves_strings_alone() {
        let mut out = String::new();
        compact_into(&mut out, "{ \"a b\" : [ 1 , \"x \\\" y\" ] }");
        assert_eq!(out, "{\"a b\":[1,\"x \\\" y\"]}");
    }
}
