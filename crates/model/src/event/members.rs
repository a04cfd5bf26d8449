//! Reading the top level of a document: what each member holds, and what of it an [`Event`] keeps at hand.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::{Event, trace};
use crate::json::Members;

/// How a binary-mode document starts when white space around its JSON body belongs to the payload. No JSON writer
/// puts a tab there and nothing else between the tokens, so that the mark cannot be met by chance.
pub(super) const KEEP_SPACE: &str = "{\t\"specversion\":\"1.0\",";

/// A range of the document, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    /// The text in the range.
    pub(super) fn of(self, doc: &[u8]) -> &str {
        doc.get(self.start..self.end)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

/// Where `part`, a slice of `whole`, stands in it.
pub(super) fn span_of(whole: &[u8], part: &str) -> Option<Span> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(Span { start, end })
}

/// A member's value, as far as attributes need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    /// `true` or `false`, as written.
    Bool(&'a str),
    /// A number, as written.
    Number(&'a str),
    /// A string, decoded.
    Text(Cow<'a, str>),
    /// An array or object, as written.
    Nested(&'a str),
}

impl<'a> Value<'a> {
    /// Takes the text of one JSON value.
    pub(super) fn of(raw: &'a str) -> Self {
        match raw.as_bytes().first() {
            Some(b'"') => Self::Text(text_of(raw)),
            Some(b't' | b'f') => Self::Bool(raw),
            Some(b'n') | None => Self::Null,
            Some(b'{' | b'[') => Self::Nested(raw),
            Some(_) => Self::Number(raw),
        }
    }

    /// The string, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }
}

/// What a JSON string says.
pub(super) fn text_of(raw: &str) -> Cow<'_, str> {
    let inner = raw
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(raw);
    if inner.as_bytes().contains(&b'\\') {
        Cow::Owned(serde_json::from_str(raw).unwrap_or_default())
    } else {
        Cow::Borrowed(inner)
    }
}

/// Milliseconds since 1970 as alarm sources write them: a whole number, or the same in quotes. Fewer digits in
/// quotes could be anything, such as a date.
pub(super) fn millis(value: &Value<'_>) -> Option<i64> {
    let digits = match value {
        Value::Number(number) => *number,
        Value::Text(text) if (12..=14).contains(&text.len()) => &**text,
        _ => return None,
    };
    let whole = digits.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let ms = if whole {
        digits.parse().ok()?
    } else {
        return None;
    };
    super::timestamp(ms).map(|_| ms)
}

/// The time a value means, in milliseconds since 1970.
pub(super) fn moment(value: &Value<'_>) -> Option<i64> {
    value
        .text()
        .and_then(super::parse_timestamp_ms)
        .or_else(|| millis(value))
}

/// Where the payload stands in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// No payload.
    None,
    /// A JSON value; the payload is its text.
    Json(Span),
    /// A JSON string under a content type that is not JSON; the payload is what it says.
    Text(Span),
    /// A JSON string of base64.
    Base64(Span),
}

/// What an [`Event`] knows of its document without looking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: Box<str>,
    pub(super) source: Box<str>,
    pub(super) kind: Box<str>,
    pub(super) subject: Option<Box<str>>,
    pub(super) traceparent: Option<Box<str>>,
    pub(super) expires_at_ms: Option<i64>,
    /// The value of `status`, in the document.
    pub(super) status: Option<Span>,
    /// The JSON string with the content type, in the document.
    pub(super) content_type: Option<Span>,
    pub(super) data: Data,
    /// Whether the document is legal by the letter.
    pub(super) cloudevent: bool,
    /// Whether any attribute is `null`, which is legal but trips receivers up.
    pub(super) nulls: bool,
}

impl Head {
    /// Gathers what is needed from `members` of `doc`, which have been found in order.
    pub(super) fn gather(doc: &[u8], members: &Members<'_>, cloudevent: bool) -> Self {
        let mut head = Self {
            id: Box::from(""),
            source: Box::from(""),
            kind: Box::from(""),
            subject: None,
            traceparent: None,
            expires_at_ms: None,
            status: None,
            content_type: None,
            data: Data::None,
            cloudevent,
            nulls: false,
        };
        let (mut data, mut base64, mut json) = (None, None, true);
        for &(ref name, raw) in &members.0 {
            let value = || Value::of(raw);
            let boxed =
                |good: fn(&str) -> bool| value().text().filter(|text| good(text)).map(Box::from);
            let filled: fn(&str) -> bool = |text| !text.is_empty();
            match &**name {
                "id" => head.id = boxed(filled).unwrap_or_default(),
                "source" => head.source = boxed(filled).unwrap_or_default(),
                "type" => head.kind = boxed(filled).unwrap_or_default(),
                "subject" => {
                    head.subject = boxed(filled);
                }
                "traceparent" => {
                    head.traceparent = boxed(trace::valid_traceparent);
                }
                "expirytime" => head.expires_at_ms = moment(&value()),
                "status" => head.status = span_of(doc, raw),
                "datacontenttype" => {
                    if let Some(text) = value().text() {
                        head.content_type = span_of(doc, raw);
                        json = super::text::is_json(text);
                    }
                }
                "data" => data = Some(raw),
                "data_base64" if raw != "null" => base64 = Some(raw),
                _ => {}
            }
            head.nulls |= raw == "null" && &**name != "data";
        }
        head.data = match (base64, data) {
            (Some(raw), _) => span_of(doc, raw).map_or(Data::None, Data::Base64),
            // Without a JSON content type, null can only mean that there is nothing.
            (None, Some("null")) if !json => {
                head.nulls = true;
                Data::None
            }
            (None, Some(raw)) => span_of(doc, raw).map_or(Data::None, |span| {
                if !json && raw.starts_with('"') {
                    Data::Text(span)
                } else {
                    Data::Json(span)
                }
            }),
            (None, None) => Data::None,
        };
        if let (Data::Json(span), true) = (head.data, doc.starts_with(KEEP_SPACE.as_bytes())) {
            head.data = Data::Json(with_space(doc, span));
        }
        // `data: null` beside data_base64 is no payload either.
        head.nulls |= matches!(head.data, Data::Base64(_)) && data.is_some();
        head
    }

    pub(super) fn into_event(self, doc: Bytes, plain_names: bool) -> Event {
        Event {
            doc,
            head: Arc::new(self),
            plain_names,
        }
    }
}

/// `span` and the white space on both sides of it.
fn with_space(doc: &[u8], span: Span) -> Span {
    let (before, after) = (
        doc.get(..span.start).unwrap_or_default(),
        doc.get(span.end..).unwrap_or_default(),
    );
    let space = |b: &&u8| matches!(**b, b' ' | b'\t' | b'\n' | b'\r');
    Span {
        start: span.start - before.iter().rev().take_while(space).count(),
        end: span.end + after.iter().take_while(space).count(),
    }
}
