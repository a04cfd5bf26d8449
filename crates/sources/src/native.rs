//! Events that are CloudEvents already: their payload is not touched; status, severity and key are added, and what no
//! event may hold is taken out of the attributes.

use std::fmt;

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::event::{EventLimits, Fill, parse_timestamp_ms, timestamp};
use belfry_model::{Event, FieldError};
use bytes::Bytes;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::body::{Node, missing};
use crate::draft::{IDENTITY_BYTES_MAX, hash, identity, line};
use crate::moment;
use crate::source::{Outcome, Request};
use chrono_tz::Tz;

/// What a format adds to an event.
pub(crate) struct Added {
    pub(crate) subject: Option<String>,
    pub(crate) status: AlarmState,
    pub(crate) severity: Severity,
    pub(crate) region: Option<String>,
    pub(crate) key: AlarmKey,
}

/// Finds out what is to be added to an event.
pub(crate) type Look = fn(&Head, Node<'_>) -> Added;

/// The attributes that every event has, on one line each.
pub(crate) struct Head {
    pub(crate) source: String,
    pub(crate) kind: String,
    pub(crate) subject: Option<String>,
}

/// Whether a value has what makes it a `CloudEvent`.
pub(crate) fn is_event(node: Node<'_>) -> bool {
    ["specversion", "type", "source"]
        .iter()
        .all(|name| node.get(name).exists())
}

/// The one event in the body.
pub(crate) fn one(request: &Request<'_>, look: Look) -> Result<Outcome, FieldError> {
    let document = document(&request.body.text, request.node(), look, "ce")?;
    Ok(Outcome::Events(vec![document]))
}

/// An event with what is added to it.
pub(crate) fn document(
    text: &str,
    node: Node<'_>,
    look: Look,
    prefix: &str,
) -> Result<Bytes, FieldError> {
    let need = |name: &str| {
        let text = node.get(name).text();
        let text = text.map(|text| line(&text, IDENTITY_BYTES_MAX));
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| missing(&[name]))
    };
    let version = need("specversion")?;
    if version != "1.0" {
        let detail = "expected the version \"1.0\" of CloudEvents";
        return Err(FieldError::new("/specversion", detail));
    }
    let subject = node.get("subject").text();
    let mut head = Head {
        source: need("source")?,
        kind: need("type")?,
        subject: subject.map(|text| line(&text, IDENTITY_BYTES_MAX)),
    };
    let added = look(&head, node);
    head.subject = added.subject.map(|text| line(&text, IDENTITY_BYTES_MAX));
    let id = node.get("id").text().map_or_else(
        || format!("{prefix}-{}", hash(text.as_bytes())),
        |id| identity(&id),
    );
    let time = node.get("time");
    let sent = time
        .0
        .as_str()
        .filter(|text| parse_timestamp_ms(text).is_some());
    let time = sent.map(str::to_owned).or_else(|| {
        // Only Chinese clouds write anything else.
        moment::of(time.0, Tz::Asia__Shanghai).and_then(timestamp)
    });
    let text_of = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Value::from);
    let attributes = [
        ("specversion", Some(Value::from(version))),
        ("id", Some(Value::from(id))),
        ("source", Some(Value::from(head.source))),
        ("type", Some(Value::from(head.kind))),
        ("subject", text_of(head.subject)),
        ("time", text_of(time)),
        ("status", Some(Value::from(added.status.status()))),
        ("severity", Some(Value::from(added.severity.as_str()))),
        ("region", text_of(added.region.map(|text| line(&text, 128)))),
        ("alarmkey", Some(Value::from(added.key.as_str()))),
    ];
    let members = members(text)?;
    let mut doc = String::with_capacity(text.len() + 256);
    let mut put = |name: &str, value: &str| {
        doc.push(if doc.is_empty() { '{' } else { ',' });
        doc.push_str(&Value::from(name).to_string());
        doc.push(':');
        doc.push_str(value);
    };
    let is_data = |name: &str| matches!(name, "data" | "data_base64");
    for (name, raw) in members.iter().filter(|(name, _)| !is_data(name)) {
        match attributes.iter().find(|(known, _)| known == name) {
            Some((_, Some(value))) => put(name, &value.to_string()),
            // An attribute that says nothing is left out.
            Some((_, None)) => {}
            None => put(name, raw.get()),
        }
    }
    for (name, value) in &attributes {
        if let Some(value) = value
            .as_ref()
            .filter(|_| members.iter().all(|(m, _)| m != name))
        {
            put(name, &value.to_string());
        }
    }
    for (name, raw) in members.iter().filter(|(name, _)| is_data(name)) {
        put(name, raw.get());
    }
    doc.push('}');
    let doc = Bytes::from(doc);
    // The bytes are for the caller to bound.
    let limits = EventLimits {
        event_bytes: usize::MAX,
        ..EventLimits::default()
    };
    match Event::lenient(doc.clone(), &mut Nothing, &limits) {
        Ok(_) => Ok(doc),
        Err(errors) => Err(errors
            .errors
            .into_iter()
            .next()
            .unwrap_or_else(|| FieldError::new("", "this is no event"))),
    }
}

/// The names and values at the top of an object.
fn members(text: &str) -> Result<Vec<(String, &RawValue)>, FieldError> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(text)
        .deserialize_map(Members)
        .map_err(|_| FieldError::new("", "expected an object"))
}

/// Fills in what is absent where an event is only looked at.
struct Nothing;

impl Fill for Nothing {
    fn id(&mut self) -> String {
        "-".to_owned()
    }

    fn now_ms(&mut self) -> i64 {
        0
    }
}
