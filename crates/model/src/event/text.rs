//! The alphabets of CloudEvents: names, strings, URIs, media types, times.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};

/// 0000-01-01 and the end of 9999, in milliseconds: what RFC 3339 can write.
const TIME_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// Whether `name` may be an attribute's name.
pub(super) fn legal_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Characters that no attribute may hold: control characters and Unicode non-characters.
pub(super) fn forbidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

/// Whether `text` may be an attribute of type String.
pub(super) fn legal_string(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, 0x20..=0x7e)) || !text.contains(forbidden)
}

fn uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

/// Whether every `%` starts an escape.
fn escapes_complete(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        rest.as_bytes()
            .get(..2)
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    })
}

/// The scheme and what follows its colon.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    good.then_some((scheme, rest))
}

fn authority_fits(authority: &str) -> bool {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let port = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, rest)) if !address.contains(['[', ']']) => rest,
        Some(_) => return false,
        None if host.contains(['[', ']']) => return false,
        None => host
            .find(':')
            .and_then(|at| host.get(at..))
            .unwrap_or_default(),
    };
    let user_clean = !authority
        .strip_suffix(host)
        .unwrap_or_default()
        .contains(['[', ']']);
    let port_good = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    user_clean && port_good
}

/// Whether `text` is a non-empty URI-reference (RFC 3986): absolute, or relative such as `/a/b` or `a.b.c`.
pub(super) fn uri_reference(text: &str) -> bool {
    if text.is_empty() || !text.bytes().all(uri_byte) || !escapes_complete(text) {
        return false;
    }
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let first_segment = text.split(['/', '?']).next().unwrap_or_default();
    let rest = match scheme(text) {
        Some((_, rest)) => rest,
        // Without a scheme, a colon in the first segment would be read as one.
        None if first_segment.contains(':') => return false,
        None => text,
    };
    let (authority, tail) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    authority_fits(authority) && !tail.contains(['[', ']']) && !fragment.contains(['#', '[', ']'])
}

/// Whether `text` is an absolute URI.
pub(super) fn absolute_uri(text: &str) -> bool {
    uri_reference(text) && scheme(text).is_some_and(|(_, rest)| !rest.is_empty())
}

/// The closest URI-reference: what may not stand in one becomes `%XX`.
pub(super) fn to_uri_reference(text: &str) -> String {
    let encode = |keep: &dyn Fn(u8) -> bool| {
        text.bytes()
            .fold(String::with_capacity(text.len() + 8), |mut out, byte| {
                if keep(byte) {
                    out.push(char::from(byte));
                } else {
                    // Writing to a string cannot fail.
                    write!(out, "%{byte:02X}").ok();
                }
                out
            })
    };
    let gentle = encode(&uri_byte);
    if uri_reference(&gentle) {
        return gentle;
    }
    encode(&|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte))
}

fn token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The part of a media type before its parameters.
pub(super) fn essence(media_type: &str) -> &str {
    media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

/// Whether `text` is a media type (RFC 2046) such as `text/plain; charset=utf-8`.
pub(super) fn media_type(text: &str) -> bool {
    let Some((kind, subtype)) = essence(text).split_once('/') else {
        return false;
    };
    let printable = text.bytes().all(|b| matches!(b, 0x20..=0x7e));
    printable && token(kind) && token(subtype) && parameters(text)
}

fn parameters(text: &str) -> bool {
    let mut rest = text
        .find(';')
        .and_then(|at| text.get(at..))
        .unwrap_or_default();
    loop {
        rest = rest.trim_ascii_start();
        let Some(parameter) = rest.strip_prefix(';') else {
            return rest.is_empty();
        };
        rest = parameter.trim_ascii_start();
        // An empty parameter (`text/plain;`) is no mistake worth an answer.
        if rest.is_empty() || rest.starts_with(';') {
            continue;
        }
        let Some((name, value)) = rest.split_once('=') else {
            return false;
        };
        let Some(after) = parameter_value(value).filter(|_| token(name)) else {
            return false;
        };
        rest = after;
    }
}

/// What follows a parameter's value.
fn parameter_value(value: &str) -> Option<&str> {
    let Some(quoted) = value.strip_prefix('"') else {
        let (value, rest) = value.split_at(value.find(';').unwrap_or(value.len()));
        return token(value.trim_ascii_end()).then_some(rest);
    };
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return quoted.get(at + 1..),
            _ => {}
        }
    }
    None
}

/// Whether a media type means JSON: `*/json` or `*/*+json`.
pub(super) fn is_json(media_type: &str) -> bool {
    let Some((_, subtype)) = essence(media_type).split_once('/') else {
        return false;
    };
    let tail = subtype
        .len()
        .checked_sub(5)
        .and_then(|at| subtype.get(at..));
    subtype.eq_ignore_ascii_case("json") || tail.is_some_and(|t| t.eq_ignore_ascii_case("+json"))
}

/// Reads an RFC 3339 time into milliseconds since 1970; an offset is mandatory.
pub fn parse_timestamp_ms(text: &str) -> Option<i64> {
    // chrono is more generous than the grammar (a blank for `T`, a Unicode minus), so the shape comes first.
    let (date_time, rest) = text.split_at_checked(19)?;
    let shaped = date_time
        .bytes()
        .zip(b"dddd-dd-ddTdd:dd:dd")
        .all(|(byte, want)| match want {
            b'd' => byte.is_ascii_digit(),
            b'T' => byte == b'T' || byte == b't',
            other => byte == *other,
        });
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if offset.len() == fraction.len() {
                return None;
            }
            offset
        }
        None => rest,
    };
    let numeric = |offset: &str| {
        offset.len() == 6
            && offset
                .bytes()
                .zip(b"sdd:dd")
                .all(|(byte, want)| match want {
                    b's' => byte == b'+' || byte == b'-',
                    b'd' => byte.is_ascii_digit(),
                    other => byte == *other,
                })
    };
    if !shaped || !(matches!(offset, "Z" | "z") || numeric(offset)) {
        return None;
    }
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.timestamp_millis())
}

/// Writes milliseconds since 1970 as RFC 3339 in UTC; `None` beyond the years 0 to 9999.
pub fn timestamp(ms: i64) -> Option<String> {
    let time = TIME_MS
        .contains(&ms)
        .then(|| DateTime::from_timestamp_millis(ms))??;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
