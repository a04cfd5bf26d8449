//! Indents JSON without reading it: numbers, escapes and repeated names stay as they were sent.

/// The same document, two spaces a level. Text that is no JSON comes back more or less as it was.
pub fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push(c);
                let mut escaped = false;
                for c in chars.by_ref() {
                    out.push(c);
                    match c {
                        _ if escaped => escaped = false,
                        '\\' => escaped = true,
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn numbers_escapes_and_repeated_names_stay_as_they_are() {
        let text =
            r#"{"a":1.50e3,"a":12345678901234567890123,"b":[ ],"c":{"d":"x\"{\u4e2d,"},"e":[1,2]}"#;
        assert_eq!(
            pretty(text),
            "{\n  \"a\": 1.50e3,\n  \"a\": 12345678901234567890123,\n  \"b\": [],\n  \"c\": {\n    \"d\": \"x\\\"{\\u4e2d,\"\n  },\n  \"e\": [\n    1,\n    2\n  ]\n}"
        );
        assert_eq!(pretty(&pretty(text)), pretty(text));
    }
}
