//! Making values harmless in each channel's own markup.
//!
//! Every value of an event was typed by somebody else. Three attacks come back: forged markup
//! (`</font><font color="info">recovered`), forged links, forged calls to everybody (`<!channel>`, `<@all>`,
//! `@everyone`). Values pass through here one by one, when they are put between markup that is ours.

use std::borrow::Cow;
use std::fmt::Write as _;

use belfry_transform::Escape;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::{Position, Url};

/// `WeCom` `markdown`; no escape is documented, so that markup characters become look-alikes.
pub(crate) const WECOM: Escape = Escape::Custom(look_alike);
/// `WeCom` code span, with its backticks: what is to be copied keeps its stars and brackets.
pub(crate) const WECOM_CODE: Escape = Escape::Custom(wecom_code);
/// Plain texts in which `<...>` still calls people (`WeCom` and Feishu `text`).
pub(crate) const TEXT: Escape = Escape::Custom(text);
/// `DingTalk` `markdown`; look-alikes as for `WeCom`.
pub(crate) const DINGTALK: Escape = Escape::Custom(look_alike);
/// Feishu `lark_md`: numeric entities.
pub(crate) const LARK_MD: Escape = Escape::Custom(lark_md);
/// Slack `mrkdwn`: exactly three entities.
pub(crate) const SLACK: Escape = Escape::Angle;
/// Telegram with `parse_mode` HTML.
pub(crate) const TELEGRAM: Escape = Escape::Custom(telegram_html);
/// Discord: backslashes. Pings are switched off besides, by `allowed_mentions`.
pub(crate) const DISCORD: Escape = Escape::Custom(discord);
/// Text blocks of Adaptive Cards (Teams): backslashes.
pub(crate) const ADAPTIVE: Escape = Escape::Custom(adaptive);
/// HTML of a mail.
pub(crate) const EMAIL_HTML: Escape = Escape::Html;
/// One line of a mail's head, or any other plain line.
pub(crate) const LINE: Escape = Escape::Line;
/// A variable of an SMS or voice template: the brackets would delimit a signature.
pub(crate) const SMS_PARAM: Escape = Escape::Custom(sms_param);

/// Every dialect by its name.
pub static DIALECTS: &[(&str, Escape)] = &[
    ("wecom_markdown", WECOM),
    ("wecom_code", WECOM_CODE),
    ("text", TEXT),
    ("dingtalk_markdown", DINGTALK),
    ("feishu_lark_md", LARK_MD),
    ("slack_mrkdwn", SLACK),
    ("telegram_html", TELEGRAM),
    ("telegram_markdownv2", Escape::Custom(telegram_markdown)),
    ("discord", DISCORD),
    ("adaptive_card", ADAPTIVE),
    ("email_html", EMAIL_HTML),
    ("email_header", LINE),
    ("sms_param", SMS_PARAM),
];

/// A value on one line: line breaks become ` ⏎ `, what cannot be seen is dropped.
pub(crate) fn one_line(value: &str) -> String {
    let value = value.trim();
    if value.contains(['\n', '\r', '\u{2028}', '\u{2029}']) {
        let lines: Vec<&str> = value
            .split(['\n', '\r', '\u{2028}', '\u{2029}'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        return Escape::Line.apply(&lines.join(" ⏎ ")).into_owned();
    }
    Escape::Line.apply(value).into_owned()
}

/// What could end the markup around a link.
const MARKUP: &AsciiSet = &CONTROLS
    .add(b'(')
    .add(b')')
    .add(b'[')
    .add(b']')
    .add(b'<')
    .add(b'>')
    .add(b'|')
    .add(b'"')
    .add(b'\'')
    .add(b'`')
    .add(b'*')
    .add(b'\\')
    .add(b'^')
    .add(b'{')
    .add(b'}');

/// A link that may be shown: `http` or `https`, and nothing in it that could end the markup around it.
pub(crate) fn safe_link(link: &str) -> Option<String> {
    let url = Url::parse(link.trim()).ok()?;
    if !matches!(url.scheme(), "http" | "https")
        || url.host_str().is_none_or(str::is_empty)
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return None;
    }
    // The authority may hold brackets (IPv6); after it they are markup.
    let mut safe = url[..Position::BeforePath].to_owned();
    safe.extend(utf8_percent_encode(&url[Position::BeforePath..], MARKUP));
    Some(safe)
}

/// A text in which no character needs a change is not copied.
fn mapped(value: &str, change: impl Fn(char, &mut String) -> bool) -> Cow<'_, str> {
    let value = if value.contains('\n') {
        Cow::Owned(value.replace('\n', " ⏎ "))
    } else {
        Cow::Borrowed(value)
    };
    // Drops what cannot be seen.
    let value = match value {
        Cow::Borrowed(text) => Escape::Line.apply(text),
        Cow::Owned(text) => Cow::Owned(Escape::Line.apply(&text).into_owned()),
    };
    let mut out = String::with_capacity(value.len() + value.len() / 8);
    let mut changed = false;
    for c in value.chars() {
        if change(c, &mut out) {
            changed = true;
        } else {
            out.push(c);
        }
    }
    if changed { Cow::Owned(out) } else { value }
}

fn look_alike(value: &str) -> Cow<'_, str> {
    let value = Escape::LookAlike.apply(value);
    // A backslash at the end would make a text of the markup that follows.
    match value.strip_suffix('\\') {
        Some(rest) => Cow::Owned(format!("{rest}＼")),
        None => value,
    }
}

fn wecom_code(value: &str) -> Cow<'_, str> {
    let inner = mapped(value, |c, out| {
        match c {
            '`' => out.push('ˋ'),
            '<' => out.push('＜'),
            '>' => out.push('＞'),
            // A link inside a code span is a link on some phones.
            '(' if out.ends_with(']') => out.push_str(" ("),
            _ => return false,
        }
        true
    });
    Cow::Owned(format!("`{inner}`"))
}

fn text(value: &str) -> Cow<'_, str> {
    mapped(value, |c, out| {
        match c {
            '<' => out.push('＜'),
            '>' => out.push('＞'),
            _ => return false,
        }
        true
    })
}

fn lark_md(value: &str) -> Cow<'_, str> {
    mapped(value, |c, out| {
        let live = matches!(
            c,
            '&' | '<'
                | '>'
                | '['
                | ']'
                | '('
                | ')'
                | '`'
                | '*'
                | '_'
                | '~'
                | '!'
                | '#'
                | '|'
                | '\\'
        );
        if live {
            let _infallible = write!(out, "&#{};", u32::from(c));
        }
        live
    })
}

/// A backslash before each of `live`.
fn backslashed<'v>(value: &'v str, live: &str) -> Cow<'v, str> {
    mapped(value, |c, out| {
        let live = live.contains(c);
        if live {
            out.push('\\');
            out.push(c);
        }
        live
    })
}

fn discord(value: &str) -> Cow<'_, str> {
    backslashed(value, "\\`*_~|<>[]()#-@")
}

fn adaptive(value: &str) -> Cow<'_, str> {
    backslashed(value, "\\`*_[]()<>#")
}

fn telegram_html(value: &str) -> Cow<'_, str> {
    /// Shorter names of users do not exist.
    const NAME_CHARS_MIN: usize = 4;
    let value = Escape::Html.apply(value);
    if !value.contains('@') {
        return value;
    }
    // A name calls its user wherever it stands, but not within an address.
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::with_capacity(value.len() + 8);
    let mut rest = &*value;
    while let Some((before, after)) = rest.split_once('@') {
        out.push_str(before);
        let calls = !out.ends_with(is_name)
            && after.chars().take_while(|c| is_name(*c)).count() >= NAME_CHARS_MIN;
        out.push(if calls { '＠' } else { '@' });
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn telegram_markdown(value: &str) -> Cow<'_, str> {
    // Telegram keeps line breaks.
    let lines: Vec<Cow<'_, str>> = value
        .split('\n')
        .map(|line| backslashed(line, "\\_*[]()~`>#+-=|{}.!"))
        .collect();
    match lines.as_slice() {
        [Cow::Borrowed(line)] => Cow::Borrowed(line),
        _ => Cow::Owned(lines.join("\n")),
    }
}

fn sms_param(value: &str) -> Cow<'_, str> {
    let value = value.replace('\n', " ");
    Cow::Owned(mapped(&value, |c, _| matches!(c, '【' | '】' | '[' | ']')).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_links_are_shown_and_nothing_in_them_ends_the_markup_around() {
        for (link, safe) in [
            (
                "https://a.example/x?y=1#z",
                Some("https://a.example/x?y=1#z"),
            ),
            ("http://a.example", Some("http://a.example/")),
            ("https://[::1]:8443/a", Some("https://[::1]:8443/a")),
            (
                "https://a.example/a)[b](c|d>*`",
                Some("https://a.example/a%29%5Bb%5D%28c%7Cd%3E%2A%60"),
            ),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("//a.example", None),
            ("https://user:pass@a.example/", None),
            ("tel:110", None),
            ("", None),
        ] {
            assert_eq!(safe_link(link).as_deref(), safe, "{link}");
        }
    }

    #[test]
    fn a_value_is_one_line() {
        assert_eq!(
            one_line(" a\r\nb\n\n c\u{2028}d\u{202e}\u{0}\t"),
            "a ⏎ b ⏎ c ⏎ d"
        );
        assert_eq!(one_line("plain"), "plain");
    }
}
