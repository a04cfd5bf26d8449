//! The filters behind `|`: their arguments at save, their effect per event.
//!
//! A filter never fails on a value. What it cannot work on passes through unchanged (`date` of a
//! text that is no time) or is treated as text: a badly formatted alarm beats a lost one.

use std::borrow::Cow;
use std::fmt::Write as _;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, FixedOffset, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::escape::Escape;
use crate::path::list_text;
use crate::scan;

/// A value on its way from the event through the filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// The path found nothing.
    Missing,
    /// JSON text, as it stands in the event.
    Json(Cow<'a, str>),
    /// What a path with a wildcard selected.
    List(&'a [&'a str]),
    /// The result of a filter that makes text.
    Text(Cow<'a, str>),
}

/// A value grew beyond the limit on its way through the filters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl<'a> Value<'a> {
    /// True for a missing value and for `null`.
    pub(crate) fn is_nothing(&self) -> bool {
        match self {
            Self::Missing => true,
            Self::Json(raw) => raw == "null",
            Self::List(_) | Self::Text(_) => false,
        }
    }

    /// True for a text and for a JSON string.
    pub(crate) fn is_string(&self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Json(raw) => scan::string_inner(raw).is_some(),
            Self::Missing | Self::List(_) => false,
        }
    }

    /// Bytes that reading this value takes, roughly.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Json(text) | Self::Text(text) => text.len(),
            Self::List(list) => list.iter().map(|raw| raw.len() + 1).sum(),
        }
    }

    /// The value as plain text; `null` and missing are empty.
    pub(crate) fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Missing => Cow::Borrowed(""),
            Self::Text(text) => text,
            Self::List(list) => Cow::Owned(list_text(list)),
            Self::Json(Cow::Borrowed(raw)) => plain(raw),
            Self::Json(Cow::Owned(raw)) => Cow::Owned(plain(&raw).into_owned()),
        }
    }

    /// The value as JSON text.
    pub(crate) fn into_json(self) -> Cow<'a, str> {
        match self {
            Self::Missing => Cow::Borrowed("null"),
            Self::Text(text) => Cow::Owned(scan::quote(&text)),
            Self::List(list) => Cow::Owned(list_text(list)),
            Self::Json(raw) => raw,
        }
    }

    /// The elements when the value is a list or a JSON array.
    fn elements(&self) -> Option<Box<dyn Iterator<Item = &str> + '_>> {
        match self {
            Self::List(list) => Some(Box::new(list.iter().copied())),
            Self::Json(raw) => {
                scan::elements(raw).map(|all| Box::new(all) as Box<dyn Iterator<Item = &str>>)
            }
            Self::Missing | Self::Text(_) => None,
        }
    }

    fn into_first(self) -> Self {
        let list = match self {
            Self::List(list) => list,
            Self::Json(Cow::Borrowed(raw)) => match scan::elements(raw) {
                Some(mut all) => {
                    return all
                        .next()
                        .map_or(Self::Missing, |raw| Self::Json(raw.into()));
                }
                None => return Self::Json(raw.into()),
            },
            other => return other,
        };
        list.first()
            .map_or(Self::Missing, |raw| Self::Json(Cow::Borrowed(*raw)))
    }

    fn length(&self) -> usize {
        if let Some(elements) = self.elements() {
            return elements.count();
        }
        match self {
            Self::Json(raw) => match scan::members(raw) {
                Some(members) => members
                    .map(|(name, _)| scan::unescape(scan::string_inner(name).unwrap_or(name)))
                    .collect::<std::collections::HashSet<_>>()
                    .len(),
                None if raw == "null" => 0,
                None => plain(raw).chars().count(),
            },
            Self::Text(text) => text.chars().count(),
            Self::Missing | Self::List(_) => 0,
        }
    }
}

/// A JSON value as text for people: strings without quotes, `null` empty, the rest as written.
fn plain(raw: &str) -> Cow<'_, str> {
    match scan::string_inner(raw) {
        Some(inner) => scan::unescape(inner),
        None if raw == "null" => Cow::Borrowed(""),
        None => Cow::Borrowed(raw),
    }
}

/// A compiled filter.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    Default(String),
    Upper,
    Lower,
    Trim,
    Truncate(usize),
    Json,
    Date {
        items: Vec<Item<'static>>,
        zone: Zone,
    },
    Join(String),
    Escape(Escape),
    First,
    Len,
    Map {
        cases: Vec<(String, String)>,
        otherwise: Option<String>,
    },
}

/// The zone in which `date` shows a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Zone {
    Fixed(FixedOffset),
    Named(Tz),
}

/// One argument as written: quotes and escapes already undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arg {
    pub(crate) text: String,
    /// Where the first `=` outside quotes is, for `map`.
    pub(crate) equals: Option<usize>,
    /// Where the argument starts in the template.
    pub(crate) offset: usize,
}

/// Why a filter is refused; `offset` is `None` when the filter's name is the place to show.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) offset: Option<usize>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Refusal {
    fn new(offset: Option<usize>, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
            hint: None,
        }
    }
}

/// All names, for hints and for the documentation's test.
pub(crate) const NAMES: [&str; 14] = [
    "date", "default", "first", "html", "join", "json", "len", "lower", "map", "md", "trim",
    "truncate", "upper", "url",
];

const DATE_FORMAT_CHARS_MAX: usize = 256;

impl Filter {
    pub(crate) fn compile(name: &str, args: &[Arg]) -> Result<Self, Refusal> {
        let simple = match name {
            "upper" => Some(Self::Upper),
            "lower" => Some(Self::Lower),
            "trim" => Some(Self::Trim),
            "json" => Some(Self::Json),
            "md" => Some(Self::Escape(Escape::Markdown)),
            "html" => Some(Self::Escape(Escape::Html)),
            "url" => Some(Self::Escape(Escape::Url)),
            "first" => Some(Self::First),
            "len" => Some(Self::Len),
            _ => None,
        };
        if let Some(filter) = simple {
            return match args.first() {
                None => Ok(filter),
                Some(arg) => Err(Refusal::new(
                    Some(arg.offset),
                    format!("`{name}` takes no argument"),
                )),
            };
        }
        match name {
            "default" => one(name, args, "a text").map(|arg| Self::Default(arg.text.clone())),
            "join" => Ok(Self::Join(match args {
                [] => ", ".to_owned(),
                _ => one(name, args, "a separator")?.text.clone(),
            })),
            "truncate" => {
                let arg = one(name, args, "a number of characters")?;
                match arg.text.parse::<usize>() {
                    Ok(length) if length > 0 => Ok(Self::Truncate(length)),
                    _ => Err(Refusal::new(
                        Some(arg.offset),
                        "`truncate` needs a whole number of characters from 1",
                    )),
                }
            }
            "date" => date(args),
            "map" => map(args),
            _ => Err(Refusal {
                hint: nearest(name, NAMES).map(|near| format!("did you mean `{near}`?")),
                ..Refusal::new(None, format!("unknown filter `{name}`"))
            }),
        }
    }

    /// The escape that this filter's output already carries.
    pub(crate) fn escape(&self) -> Option<Escape> {
        match self {
            Self::Escape(escape) => Some(*escape),
            _ => None,
        }
    }

    pub(crate) fn apply<'a>(&self, value: Value<'a>, limit: usize) -> Result<Value<'a>, Full> {
        let value = self.applied(value, limit)?;
        match &value {
            // Escapes multiply when chained, so each step is bounded, not only the last one.
            Value::Text(text) if text.len() > limit => Err(Full),
            _ => Ok(value),
        }
    }

    fn applied<'a>(&self, value: Value<'a>, limit: usize) -> Result<Value<'a>, Full> {
        let text = |text: String| Ok(Value::Text(Cow::Owned(text)));
        match self {
            Self::First => return Ok(value.into_first()),
            Self::Len => return Ok(Value::Json(Cow::Owned(value.length().to_string()))),
            Self::Json => return Ok(Value::Text(value.into_json())),
            Self::Default(other) => {
                return if value.is_nothing()
                    || matches!(&value, Value::Json(raw) if raw == "\"\"")
                    || matches!(&value, Value::Text(text) if text.is_empty())
                {
                    text(other.clone())
                } else {
                    Ok(value)
                };
            }
            Self::Map { cases, otherwise } => {
                let found = if value.is_nothing() {
                    otherwise.as_ref()
                } else {
                    let key = match &value {
                        Value::Json(raw) => plain(raw),
                        Value::Text(text) => Cow::Borrowed(&**text),
                        Value::List(list) => Cow::Owned(list_text(list)),
                        Value::Missing => Cow::Borrowed(""),
                    };
                    cases
                        .iter()
                        .find(|(case, _)| *case == key)
                        .map(|(_, word)| word)
                        .or(otherwise.as_ref())
                };
                return match found {
                    Some(word) => text(word.clone()),
                    None => Ok(value),
                };
            }
            _ if value.is_nothing() => return Ok(value),
            _ => {}
        }
        match self {
            Self::Date { items, zone } => match instant(&value) {
                Some(time) => text(show(time, items, *zone)),
                None => Ok(value),
            },
            Self::Join(separator) => {
                let Some(elements) = value.elements() else {
                    return Ok(value);
                };
                let mut out = String::new();
                for (i, raw) in elements.enumerate() {
                    if i > 0 {
                        out.push_str(separator);
                    }
                    out.push_str(&plain(raw));
                    if out.len() > limit {
                        return Err(Full);
                    }
                }
                text(out)
            }
            Self::Upper => text(value.into_text().to_uppercase()),
            Self::Lower => text(value.into_text().to_lowercase()),
            Self::Trim => Ok(Value::Text(match value.into_text() {
                Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
                Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
            })),
            Self::Truncate(length) => Ok(Value::Text(truncate(value.into_text(), *length))),
            Self::Escape(escape) => {
                let plain = value.into_text();
                match escape.apply(&plain) {
                    Cow::Owned(escaped) => text(escaped),
                    Cow::Borrowed(_) => Ok(Value::Text(plain)),
                }
            }
            _ => Ok(value),
        }
    }
}

fn one<'a>(name: &str, args: &'a [Arg], what: &str) -> Result<&'a Arg, Refusal> {
    match args {
        [arg] => Ok(arg),
        [] => Err(Refusal::new(
            None,
            format!("`{name}` needs {what}: `{name}:…`"),
        )),
        [_, second, ..] => Err(Refusal {
            hint: Some("quote an argument that holds `,`, `|` or `}`".to_owned()),
            ..Refusal::new(Some(second.offset), format!("`{name}` takes one argument"))
        }),
    }
}

fn date(args: &[Arg]) -> Result<Filter, Refusal> {
    let (format, zone) = match args {
        [format] => (format, None),
        [format, zone] => (format, Some(zone)),
        [] => return Err(Refusal::new(None, "`date` needs a format: `date:%Y-%m-%d`")),
        [_, _, third, ..] => {
            return Err(Refusal {
                hint: Some("quote a format that holds `,`".to_owned()),
                ..Refusal::new(Some(third.offset), "`date` takes a format and a zone")
            });
        }
    };
    if format.text.is_empty() || format.text.chars().count() > DATE_FORMAT_CHARS_MAX {
        let message = format!("a date format has 1 to {DATE_FORMAT_CHARS_MAX} characters");
        return Err(Refusal::new(Some(format.offset), message));
    }
    let Ok(items) = StrftimeItems::new(&format.text).parse_to_owned() else {
        return Err(Refusal {
            hint: Some("for example `%Y-%m-%d %H:%M:%S`; `%%` is a literal `%`".to_owned()),
            ..Refusal::new(
                Some(format.offset),
                format!("invalid date format `{}`", format.text),
            )
        });
    };
    let zone = match zone {
        None => Zone::Fixed(Utc.fix()),
        Some(arg) => zone_named(&arg.text).ok_or_else(|| Refusal {
            hint: Some(
                match nearest(&arg.text, chrono_tz::TZ_VARIANTS.iter().map(|z| z.name())) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "for example `Asia/Shanghai` or `+08:00`".to_owned(),
                },
            ),
            ..Refusal::new(
                Some(arg.offset),
                format!("unknown time zone `{}`", arg.text),
            )
        })?,
    };
    Ok(Filter::Date { items, zone })
}

fn zone_named(text: &str) -> Option<Zone> {
    if text == "Z" {
        return Some(Zone::Fixed(Utc.fix()));
    }
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return text.parse().ok().map(Zone::Named),
    };
    let number = |part: &str| -> Option<i32> {
        let valid = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        if valid { part.parse().ok() } else { None }
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (number(hours)?, number(minutes)?),
        None => match digits.split_at_checked(2) {
            Some((hours, "")) => (number(hours)?, 0),
            Some((hours, minutes)) => (number(hours)?, number(minutes)?),
            None => return None,
        },
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    FixedOffset::east_opt(sign * (hours * 3600 + minutes * 60)).map(Zone::Fixed)
}

fn map(args: &[Arg]) -> Result<Filter, Refusal> {
    if args.is_empty() {
        return Err(Refusal::new(
            None,
            "`map` needs cases: `map:1=firing,0=resolved,*=unknown`",
        ));
    }
    let mut cases: Vec<(String, String)> = Vec::new();
    let mut otherwise = None;
    for arg in args {
        let split = arg
            .equals
            .and_then(|at| Some((arg.text.get(..at)?, arg.text.get(at + 1..)?)));
        let Some((case, word)) = split else {
            let message = format!("`{}` is no case of the form a=b", arg.text);
            return Err(Refusal::new(Some(arg.offset), message));
        };
        let repeated = if case == "*" {
            otherwise.replace(word.to_owned()).is_some()
        } else {
            let repeated = cases.iter().any(|(known, _)| known == case);
            cases.push((case.to_owned(), word.to_owned()));
            repeated
        };
        if repeated {
            let message = format!("`map` has the case `{case}` twice");
            return Err(Refusal::new(Some(arg.offset), message));
        }
    }
    Ok(Filter::Map { cases, otherwise })
}

/// The known name that `name` most likely stands for.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// Reads a value as a point in time: epoch seconds or milliseconds (a number or a text of digits,
/// with or without a fraction), or RFC 3339.
fn instant(value: &Value<'_>) -> Option<DateTime<Utc>> {
    let text = match value {
        Value::Json(raw) => plain(raw),
        Value::Text(text) => Cow::Borrowed(&**text),
        Value::Missing | Value::List(_) => return None,
    };
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.to_utc());
    }
    let sign = if unsigned.len() == text.len() { 1 } else { -1 };
    let whole: i64 = whole.parse().ok()?;
    // 10^11 seconds is the year 5138, 10^11 milliseconds is March 1973: no alarm is near either.
    let millis = if whole < 100_000_000_000 {
        let padded = format!("{fraction:0<3}");
        whole * 1000 + padded.get(..3)?.parse::<i64>().ok()?
    } else {
        whole
    };
    DateTime::from_timestamp_millis(sign * millis)
}

fn show(time: DateTime<Utc>, items: &[Item<'static>], zone: Zone) -> String {
    let mut out = String::new();
    // `write!` instead of `to_string`, which panics when a formatter reports an error.
    let done = match zone {
        Zone::Fixed(offset) => {
            let local = offset.from_utc_datetime(&time.naive_utc());
            write!(out, "{}", local.format_with_items(items.iter()))
        }
        Zone::Named(zone) => {
            let local = zone.from_utc_datetime(&time.naive_utc());
            write!(out, "{}", local.format_with_items(items.iter()))
        }
    };
    if done.is_err() {
        return rfc3339_millis(time.timestamp_millis());
    }
    out
}

/// A time in milliseconds since 1970 as `2026-11-21T03:40:15.123Z`.
pub(crate) fn rfc3339_millis(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms).map_or_else(
        || at_ms.to_string(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    )
}

/// A time in milliseconds since 1970 as `2026-11-21T11:40:15+08:00`.
pub(crate) fn rfc3339_china(at_ms: i64) -> String {
    let local = DateTime::from_timestamp_millis(at_ms)
        .zip(FixedOffset::east_opt(8 * 3600))
        .map(|(time, offset)| offset.from_utc_datetime(&time.naive_utc()));
    local.map_or_else(
        || at_ms.to_string(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, false),
    )
}

fn truncate(text: Cow<'_, str>, length: usize) -> Cow<'_, str> {
    // Only a text with more than `length` characters has a character at that place.
    if text.char_indices().nth(length).is_none() {
        return text;
    }
    let end = text.char_indices().nth(length - 1).map_or(0, |(at, _)| at);
    let mut out = text.get(..end).unwrap_or("").to_owned();
    out.push('…');
    Cow::Owned(out)
}
