//! Writing HTML: everything that comes from elsewhere is escaped.

/// Writes into a text, which cannot fail.
macro_rules! push {
    ($out:expr, $($text:tt)*) => {
        $out.push_str(&format!($($text)*))
    };
}
pub(super) use push;

/// Text as HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Text in which backquotes mark code, as HTML.
pub(super) fn inline(text: &str) -> String {
    let mut out = String::new();
    let parts: Vec<_> = text.split('`').collect();
    // An odd number of backquotes marks nothing.
    if parts.len() % 2 == 0 {
        return escape(text);
    }
    for (index, part) in parts.iter().enumerate() {
        if index % 2 == 0 {
            out.push_str(&escape(part));
        } else {
            out.push_str("<code>");
            out.push_str(&escape(part));
            out.push_str("</code>");
        }
    }
    out
}

/// Paragraphs, separated by empty lines.
pub(super) fn paragraphs(text: &str) -> String {
    let parts: Vec<_> = text.split("\n\n").map(inline).collect();
    format!("<p>{}</p>", parts.join("</p><p>"))
}

/// A page of one column.
pub(super) fn simple_page(title: &str, body: &str) -> String {
    page(title, &format!("<main class=\"simple\">{body}</main>"))
}

/// A whole page.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>{}</title><link rel=\"stylesheet\" \
         href=\"/docs/style.css\"></head><body>{body}</body></html>",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<a href='x'>&\"</a>"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;"
        );
        assert_eq!(inline("say `a<b` now"), "say <code>a&lt;b</code> now");
        assert_eq!(inline("a ` b"), "a ` b");
    }
}
