//! A body as JSON values, whether it came as JSON or as a form; reading members of it.

use belfry_model::event::EventLimits;
use belfry_model::json::{JsonLimits, check, pointer_to};
use belfry_model::{Event, FieldError};
use serde_json::{Map, Value};

use crate::draft::forbidden;
use crate::source::Incoming;

/// Most levels of a body: it stands two levels down in the event.
const DEPTH_MAX: usize = 61;
/// Most fields of a form.
const FIELDS_MAX: usize = 256;
/// What an absent value is given as when there is nothing behind it to read.
static NULL: Value = Value::Null;

/// A body that has been read.
#[derive(Debug)]
pub(crate) struct Body {
    /// What it says; of a form an object of texts.
    pub(crate) value: Value,
    /// The same as text: of JSON as it was sent.
    pub(crate) text: String,
    /// Whether it came as a form.
    pub(crate) form: bool,
}

impl Body {
    /// Reads the body; where it is empty, the query: some vendors send with GET.
    pub(crate) fn read(incoming: &Incoming) -> Result<Self, FieldError> {
        let media_type = incoming.content_type.as_deref().unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let query = incoming.query.as_deref().unwrap_or_default();
        if ["ce-specversion", "ce-type", "ce-source"]
            .iter()
            .all(|name| incoming.header(name).is_some())
        {
            return Self::binary(incoming);
        }
        if incoming.body.trim_ascii().is_empty() {
            let fields = form(query.as_bytes())?;
            let given = |(name, _): &(&String, &Value)| *name != "format";
            return match fields.get("data").and_then(Value::as_str) {
                Some(json) => Self::json(json.as_bytes()),
                None if fields.iter().any(|field| given(&field)) => Ok(Self::of_fields(fields)),
                None => Err(FieldError::new("", "the body is empty")),
            };
        }
        let is_form = essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        // `curl -d '{...}'` calls everything a form.
        let is_json = matches!(incoming.body.trim_ascii_start().first(), Some(b'{' | b'['));
        if is_form && !is_json {
            form(&incoming.body).map(Self::of_fields)
        } else {
            Self::json(&incoming.body)
        }
    }

    fn json(bytes: &[u8]) -> Result<Self, FieldError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            FieldError::new("", format!("expected UTF-8; byte {at} is not"))
        })?;
        let text = without_nul(text.trim_start_matches('\u{feff}').trim());
        let value = parse(&text)?;
        if !value.is_object() && !value.is_array() {
            return Err(FieldError::new("", "expected a JSON object"));
        }
        Ok(Self {
            value,
            text,
            form: false,
        })
    }

    /// A `CloudEvent` whose attributes are headers, as the one document it means.
    fn binary(incoming: &Incoming) -> Result<Self, FieldError> {
        let headers: Vec<(String, Vec<u8>)> = incoming
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("ce-")?, value)))
            .map(|(name, value)| (name.to_owned(), value.clone().into_bytes()))
            .collect();
        let content_type = incoming.content_type.as_deref().map(str::as_bytes);
        // The bytes are for the caller to bound.
        let limits = EventLimits {
            event_bytes: usize::MAX,
            ..EventLimits::default()
        };
        match Event::binary(content_type, &headers, incoming.body.clone(), &limits) {
            Ok(event) => Self::json(event.doc()),
            Err(errors) => Err(errors
                .errors
                .into_iter()
                .next()
                .unwrap_or_else(|| FieldError::new("", "this is no event"))),
        }
    }

    fn of_fields(fields: Map<String, Value>) -> Self {
        let value = Value::Object(fields);
        Self {
            text: value.to_string(),
            value,
            form: true,
        }
    }

    pub(crate) fn node(&self) -> Node<'_> {
        Node(&self.value)
    }
}

/// Reads JSON by the same rules wherever it stands: no name twice, not too deep, no U+0000.
fn parse(text: &str) -> Result<Value, FieldError> {
    check(text.as_bytes(), &JsonLimits { depth: DEPTH_MAX })?;
    serde_json::from_str(text)
        .map_err(|error| FieldError::new("", format!("not valid JSON: {error}")))
}

/// `\u0000` becomes a blank: an alarm is not lost for a character that nobody can see and no store takes.
fn without_nul(text: &str) -> String {
    const NUL: &str = "\\u0000";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(NUL) {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        // Behind an odd number of backslashes the next one is only a letter of the text.
        let slashes = out.bytes().rev().take_while(|b| *b == b'\\').count();
        out.push_str(if slashes % 2 == 0 { " " } else { NUL });
        rest = behind.get(NUL.len()..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Reads `application/x-www-form-urlencoded`. Values are decoded once, after the fields have been told apart.
fn form(bytes: &[u8]) -> Result<Map<String, Value>, FieldError> {
    let mut fields = Map::new();
    for field in bytes.trim_ascii().split(|b| *b == b'&') {
        if field.is_empty() {
            continue;
        }
        let mut halves = field.splitn(2, |b| *b == b'=');
        let name = decoded(halves.next().unwrap_or_default())
            .ok_or_else(|| FieldError::new("", "the name of a form field is not UTF-8"))?;
        let value = decoded(halves.next().unwrap_or_default())
            .ok_or_else(|| FieldError::new(pointer_to(&name), "the form field is not UTF-8"))?;
        if fields.len() == FIELDS_MAX {
            let detail = format!("a form has at most {FIELDS_MAX} fields");
            return Err(FieldError::new("", detail));
        }
        if fields.contains_key(&name) {
            let detail = "the form field is given twice";
            return Err(FieldError::new(pointer_to(&name), detail));
        }
        fields.insert(name, Value::String(value));
    }
    Ok(fields)
}

fn decoded(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digits = rest.clone();
                let mut digit = || char::from(digits.next()?).to_digit(16);
                match digit().zip(digit()) {
                    Some((high, low)) => {
                        out.push(u8::try_from(high * 16 + low).ok()?);
                        rest = digits;
                    }
                    None => out.push(b'%'),
                }
            }
            other => out.push(other),
        }
    }
    let text = String::from_utf8(out).ok()?;
    Some(if text.contains('\0') {
        text.replace('\0', " ")
    } else {
        text
    })
}

/// A place in a body; where nothing is, everything below is nothing too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'v>(pub(crate) &'v Value);

impl<'v> Node<'v> {
    /// The member of that name.
    pub(crate) fn get(self, name: &str) -> Self {
        Node(self.0.get(name).unwrap_or(&NULL))
    }

    /// The first element of a list.
    pub(crate) fn first(self) -> Self {
        Node(self.0.get(0).unwrap_or(&NULL))
    }

    /// The elements of a list; of anything else none.
    pub(crate) fn list(self) -> &'v [Value] {
        self.0.as_array().map_or(&[], Vec::as_slice)
    }

    /// The members of an object; of anything else none.
    pub(crate) fn members(self) -> impl Iterator<Item = (&'v str, Node<'v>)> {
        let members = self.0.as_object().into_iter().flatten();
        members.map(|(name, value)| (name.as_str(), Node(value)))
    }

    /// Whether anything but null is there.
    pub(crate) fn exists(self) -> bool {
        !self.0.is_null()
    }

    /// A text, number or boolean as text, without what nobody can see around it; `None` where nothing is left.
    pub(crate) fn text(self) -> Option<String> {
        match self.0 {
            Value::String(text) => visible(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(is) => Some(is.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// An object or list, whether it stands there or in a text of JSON.
    pub(crate) fn json(self) -> Option<Value> {
        match self.0 {
            Value::Object(_) | Value::Array(_) => Some(self.0.clone()),
            Value::String(text) => parse(&without_nul(text)).ok(),
            _ => None,
        }
    }

    /// The text of a member that must be there.
    pub(crate) fn need(self, name: &str) -> Result<String, FieldError> {
        self.get(name).text().ok_or_else(|| missing(&[name]))
    }
}

/// A text without blanks and control characters around it; `None` where nothing is left.
pub(crate) fn visible(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || forbidden(c));
    (!text.is_empty()).then(|| text.to_owned())
}

/// A member that must be there is not.
pub(crate) fn missing(path: &[&str]) -> FieldError {
    let pointer: String = path.iter().map(|name| pointer_to(name)).collect();
    FieldError::new(pointer, "this member is required and missing")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn read(content_type: &str, body: &[u8]) -> Result<Body, FieldError> {
        Body::read(&Incoming {
            content_type: Some(content_type.to_owned()),
            body: Bytes::copy_from_slice(body),
            ..Incoming::default()
        })
    }

    const FORM: &str = "application/x-www-form-urlencoded; charset=UTF-8";

    #[test]
    fn a_form_is_split_before_it_is_decoded() {
        let body = read(FORM, b"a=1%262%3D3&b=%E4%B8%AD+x&c&d=%zz%4&e=%00").unwrap();
        assert_eq!(
            body.text,
            r#"{"a":"1&2=3","b":"中 x","c":"","d":"%zz%4","e":" "}"#
        );
        assert!(body.form);
        assert_eq!(read(FORM, b"a=1&a=2").unwrap_err().pointer, "/a");
        assert_eq!(read(FORM, b"a=%FF").unwrap_err().pointer, "/a");
        assert!(read(FORM, &b"a&".repeat(3)).is_err());
    }

    #[test]
    fn json_is_taken_whatever_it_is_called_and_refused_for_what_nobody_agrees_on() {
        assert!(read("text/plain", b"{\"a\":1}").is_ok());
        assert!(read(FORM, b" {\"a\":1}").is_ok());
        let nul = read("application/json", br#"{"a":"x\u0000y\\u0000\\\u0000"}"#).unwrap();
        assert_eq!(nul.node().get("a").text().unwrap(), "x y\\u0000\\");
        let inner = read("application/json", br#"{"a":"{\"b\":\"c\\u0000d\"}"}"#).unwrap();
        let inner = inner.node().get("a").json().unwrap();
        assert_eq!(inner["b"], "c d");
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        for bad in [
            &b"{\"a\":1,\"a\":2}"[..],
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"",
            b"  ",
            b"1",
            b"\"text\"",
            b"{",
            b"{\"a\":1}x",
            b"<xml/>",
            deep.as_bytes(),
        ] {
            assert!(read("application/json", bad).is_err());
        }
    }

    #[test]
    fn without_a_body_the_query_is_read() {
        let read = |query: &str| {
            Body::read(&Incoming {
                query: Some(query.to_owned()),
                ..Incoming::default()
            })
        };
        assert_eq!(
            read("data=%7B%22a%22%3A1%7D&format=x").unwrap().text,
            "{\"a\":1}"
        );
        assert_eq!(read("a=1").unwrap().text, "{\"a\":\"1\"}");
        assert!(read("format=generic").is_err());
    }
}
