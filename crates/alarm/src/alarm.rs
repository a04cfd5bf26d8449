//! Everything that a message says of an event.

use std::borrow::Cow;

use belfry_model::Event;
use belfry_model::event::parse_timestamp_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalog::{self, Entry};
use crate::severity::Severity;
use crate::sign::AlarmKey;
use crate::state::AlarmState;

/// A text in English and in Chinese.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// Where more can be read. Only `http` and `https`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What is there; may be empty.
    pub label: String,
    /// The address.
    pub url: String,
}

/// The facts of an event as a person is told them. Every text comes from outside and may say anything.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// The alarm's key; of an event that is none, what it would be.
    pub key: AlarmKey,
    /// Fires, has recovered, or neither.
    pub state: AlarmState,
    /// How bad it is.
    pub severity: Severity,
    /// Where it happened.
    pub source: String,
    /// What happened.
    pub kind: String,
    /// What it happened to: the resource's id.
    pub subject: Option<String>,
    /// What the resource is called.
    pub resource_name: Option<String>,
    /// The vendor's id of the region.
    pub region: Option<String>,
    /// The account it belongs to.
    pub account: Option<String>,
    /// What the sender calls the alarm.
    pub title: Option<String>,
    /// What the sender says of it.
    pub summary: Option<String>,
    /// The value that was measured, with its unit.
    pub value: Option<String>,
    /// What it was compared with.
    pub threshold: Option<String>,
    /// When the event happened, ms since 1970.
    pub time_ms: Option<i64>,
    /// When the alarm began, ms since 1970.
    pub started_at_ms: Option<i64>,
    /// When it ended, ms since 1970.
    pub ended_at_ms: Option<i64>,
    /// Where more can be read.
    pub links: Vec<Link>,
    /// The sender's labels.
    pub labels: Vec<(String, String)>,
    /// The catalog's entry.
    pub entry: Option<&'static Entry>,
}

impl Alarm {
    /// Reads the facts; what is absent or not what it should be is left out.
    pub fn read(event: &Event) -> Self {
        let doc: Value = serde_json::from_slice(event.doc()).unwrap_or_default();
        let top = doc.as_object();
        let get = |name: &str| top.and_then(|top| top.get(name)).and_then(text);
        let empty = Map::new();
        let data = doc.get("data").and_then(Value::as_object).unwrap_or(&empty);
        let alarm = data
            .get("alarm")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let fact = |name: &str| alarm.get(name).and_then(text);
        let entry = catalog::find(event.source(), event.kind());
        let time_ms = get("time").and_then(|time| moment(&time));
        let state = get("status").map_or_else(
            || entry.map_or(AlarmState::Stateless, |entry| entry.state),
            |status| AlarmState::parse(&status),
        );
        let severity = get("severity")
            .and_then(|word| Severity::parse(&word))
            .or_else(|| entry.map(|entry| entry.severity))
            .unwrap_or(Severity::Info);
        let key = get("alarmkey").map_or_else(
            || {
                let kind = entry.map_or_else(|| event.kind(), Entry::alarm_type);
                AlarmKey::of([event.source(), kind, event.subject().unwrap_or_default()])
            },
            |key| AlarmKey::given(&key),
        );
        Self {
            key,
            state,
            severity,
            source: event.source().to_owned(),
            kind: event.kind().to_owned(),
            subject: event
                .subject()
                .filter(|subject| !subject.is_empty())
                .map(str::to_owned)
                .or_else(|| data.get("instanceId").and_then(text)),
            resource_name: fact("resourceName").or_else(|| {
                let more = data.get("additionalMsg").and_then(Value::as_object);
                more.and_then(|more| more.get("alias")).and_then(text)
            }),
            region: get("region"),
            account: get("account").or_else(|| data.get("appId").and_then(text)),
            title: fact("title"),
            summary: fact("summary"),
            value: fact("value"),
            threshold: fact("threshold"),
            time_ms,
            started_at_ms: fact("startedAt").and_then(|time| moment(&time)),
            ended_at_ms: fact("endedAt").and_then(|time| moment(&time)),
            links: links(alarm.get("links")),
            labels: labels(alarm.get("labels")),
            entry,
        }
    }

    /// A label by its name: `severity`, `status`, `source`, `type`, `subject`, `region`, `product`, `alarmkey`,
    /// `resource`, or one of the sender's own. Absent is the empty text.
    pub fn label(&self, name: &str) -> Cow<'_, str> {
        let own = match name {
            "severity" => Some(self.severity.as_str()),
            "status" => Some(self.state.status()),
            "source" => Some(self.source.as_str()),
            "type" => Some(self.kind.as_str()),
            "subject" => Some(self.subject.as_deref().unwrap_or_default()),
            "region" => Some(self.region.as_deref().unwrap_or_default()),
            "resource" => Some(self.resource_name.as_deref().unwrap_or_default()),
            "alarmkey" => Some(self.key.as_str()),
            "product" => Some(self.product()),
            _ => None,
        };
        let sent = || {
            self.labels
                .iter()
                .find(|(label, _)| label == name)
                .map_or("", |(_, value)| value)
        };
        Cow::Borrowed(own.unwrap_or_else(sent))
    }

    /// The product's code: what stands before the first colon of the type, else from the catalog. So events that the
    /// catalog does not know go with those of the same product that it knows.
    pub fn product(&self) -> &str {
        self.kind.split_once(':').map_or_else(
            || self.entry.map_or("", |entry| entry.product.as_str()),
            |(product, _)| product,
        )
    }
}

/// The text of a string, number or boolean.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// RFC 3339, or milliseconds since 1970.
fn moment(text: &str) -> Option<i64> {
    parse_timestamp_ms(text).or_else(|| text.parse().ok())
}

/// A list of addresses, or of `{label, url}`, or an object from label to address.
fn links(value: Option<&Value>) -> Vec<Link> {
    const LINKS_MAX: usize = 8;
    let one = |label: &str, url: &str| {
        let web = url.starts_with("https://") || url.starts_with("http://");
        (web && url.len() <= 2048 && !url.chars().any(char::is_control)).then(|| Link {
            label: label.to_owned(),
            url: url.to_owned(),
        })
    };
    let found: Vec<Link> = match value {
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(|item| match item {
                Value::String(url) => one("", url),
                item => one(
                    item.get("label")
                        .and_then(Value::as_str)
                        .unwrap_or_default(),
                    item.get("url")?.as_str()?,
                ),
            })
            .collect(),
        Some(Value::Object(map)) => map
            .iter()
            .filter_map(|(label, url)| one(label, url.as_str()?))
            .collect(),
        _ => Vec::new(),
    };
    found.into_iter().take(LINKS_MAX).collect()
}

fn labels(value: Option<&Value>) -> Vec<(String, String)> {
    const LABELS_MAX: usize = 64;
    let Some(map) = value.and_then(Value::as_object) else {
        return Vec::new();
    };
    map.iter()
        .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
        .take(LABELS_MAX)
        .collect()
}
