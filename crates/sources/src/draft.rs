//! An event in the making, and the document it becomes.

use std::fmt::Write;

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::event::{SPEC_VERSION, timestamp};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Longest `id`, `source`, `type` and `subject`, in bytes: what an event takes.
pub(crate) const IDENTITY_BYTES_MAX: usize = 1024;
/// Longest title, name and value, in bytes.
const LINE_BYTES_MAX: usize = 1024;
/// Longest summary, in bytes.
const SUMMARY_BYTES_MAX: usize = 8 * 1024;
/// Longest name of a label, and longest region, in bytes.
const LABEL_BYTES_MAX: usize = 128;
/// Longest value of a label, in bytes. With all bounds at their worst, an event is still one that a bus takes.
const LABEL_VALUE_BYTES_MAX: usize = 256;
/// Most labels.
const LABELS_MAX: usize = 64;
/// Most links.
const LINKS_MAX: usize = 8;
/// Longest link, in bytes.
const LINK_BYTES_MAX: usize = 2048;
/// Most bytes of a body that are kept with the event.
pub(crate) const RAW_BYTES_MAX: usize = 64 * 1024;

/// An event in the making. Every text is as the sender wrote it; [`Self::document`] makes it fit.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The sender's own id of the notification, or one of [`hash`].
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) kind: String,
    pub(crate) subject: Option<String>,
    /// When it happened, ms since 1970.
    pub(crate) time_ms: Option<i64>,
    pub(crate) status: AlarmState,
    pub(crate) severity: Severity,
    pub(crate) region: Option<String>,
    pub(crate) key: AlarmKey,
    pub(crate) facts: Facts,
    /// The part of the body that is about this event, where it is not all of it.
    pub(crate) raw: Option<String>,
}

/// What a message says of the alarm beside the attributes: `data.alarm`.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) title: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) resource_name: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) threshold: Option<String>,
    pub(crate) started_at_ms: Option<i64>,
    pub(crate) ended_at_ms: Option<i64>,
    /// What is there, and the address.
    pub(crate) links: Vec<(&'static str, Option<String>)>,
    pub(crate) labels: Vec<(String, String)>,
}

impl Draft {
    /// The event as a structured event. `raw` is the body as text, if it is kept.
    pub(crate) fn document(self, raw: Option<&str>) -> Bytes {
        let mut top = Map::new();
        let mut set = |name: &str, value: Value| {
            top.insert(name.to_owned(), value);
        };
        set("specversion", json!(SPEC_VERSION));
        set("id", json!(identity(&self.id)));
        set("source", json!(line(&self.source, IDENTITY_BYTES_MAX)));
        set("type", json!(line(&self.kind, IDENTITY_BYTES_MAX)));
        let subject = self.subject.map(|text| line(&text, IDENTITY_BYTES_MAX));
        if let Some(subject) = subject.filter(|text| !text.is_empty()) {
            set("subject", json!(subject));
        }
        if let Some(time) = self.time_ms.and_then(timestamp) {
            set("time", json!(time));
        }
        set("datacontenttype", json!("application/json"));
        set("status", json!(self.status.status()));
        set("severity", json!(self.severity));
        let region = self.region.map(|text| line(&text, LABEL_BYTES_MAX));
        if let Some(region) = region.filter(|text| !text.is_empty()) {
            set("region", json!(region));
        }
        set("alarmkey", json!(self.key.as_str()));
        // The body goes in as text: its numbers keep their spelling, its members their order.
        let mut doc = Value::Object(top).to_string();
        doc.pop();
        let alarm = self.facts.value();
        // Writing to a string cannot fail.
        write!(doc, ",\"data\":{{\"alarm\":{alarm}").ok();
        if let Some(raw) = raw.map(|raw| self.raw.as_deref().unwrap_or(raw)) {
            if raw.len() <= RAW_BYTES_MAX {
                write!(doc, ",\"raw\":{raw}").ok();
            } else {
                let start = Value::from(cut(raw, RAW_BYTES_MAX));
                write!(doc, ",\"raw\":{start},\"rawTruncated\":true").ok();
            }
        }
        doc.push_str("}}");
        Bytes::from(doc)
    }
}

impl Facts {
    fn value(self) -> Value {
        let mut alarm = Map::new();
        for (name, text, most) in [
            ("title", self.title, LINE_BYTES_MAX),
            ("resourceName", self.resource_name, LINE_BYTES_MAX),
            ("value", self.value, LINE_BYTES_MAX),
            ("threshold", self.threshold, LINE_BYTES_MAX),
        ] {
            let text = text.map(|text| line(&text, most));
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                alarm.insert(name.to_owned(), json!(text));
            }
        }
        if let Some(summary) = self.summary {
            let summary = cut(&lines(&summary), SUMMARY_BYTES_MAX);
            if !summary.is_empty() {
                alarm.insert("summary".to_owned(), json!(summary));
            }
        }
        for (name, ms) in [
            ("startedAt", self.started_at_ms),
            ("endedAt", self.ended_at_ms),
        ] {
            if let Some(time) = ms.and_then(timestamp) {
                alarm.insert(name.to_owned(), json!(time));
            }
        }
        let links: Vec<Value> = self
            .links
            .into_iter()
            .filter_map(|(label, url)| {
                let url = url.filter(|url| is_web(url))?;
                Some(json!({ "label": label, "url": url }))
            })
            .take(LINKS_MAX)
            .collect();
        if !links.is_empty() {
            alarm.insert("links".to_owned(), Value::Array(links));
        }
        let labels: Map<String, Value> = self
            .labels
            .into_iter()
            .take(LABELS_MAX)
            .map(|(name, value)| {
                let name = line(&name, LABEL_BYTES_MAX);
                (name, Value::String(line(&value, LABEL_VALUE_BYTES_MAX)))
            })
            .collect();
        if !labels.is_empty() {
            alarm.insert("labels".to_owned(), Value::Object(labels));
        }
        Value::Object(alarm)
    }
}

/// Whether a browser may open it; anything else (`javascript:`) is no link.
fn is_web(url: &str) -> bool {
    url.len() <= LINK_BYTES_MAX
        && (url.starts_with("https://") || url.starts_with("http://"))
        && !url.contains(|c: char| forbidden(c) || c == ' ')
}

/// Characters that no attribute may hold: control characters and Unicode non-characters.
pub(crate) fn forbidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

/// A text on one line: each run of what no attribute may hold becomes one blank; at most `most` bytes.
pub(crate) fn line(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    let mut blank = false;
    for c in text.trim().chars() {
        if forbidden(c) {
            blank = true;
            continue;
        }
        if std::mem::take(&mut blank) {
            out.push(' ');
        }
        out.push(c);
        if out.len() > most {
            break;
        }
    }
    cut(out.trim(), most)
}

/// A text of several lines.
fn lines(text: &str) -> String {
    let text: String = text
        .trim()
        .replace("\r\n", "\n")
        .chars()
        .map(|c| if c != '\n' && forbidden(c) { ' ' } else { c })
        .collect();
    text.trim().to_owned()
}

/// An id that fits: of a longer one the start, and the hash of all of it, so that two ids stay two.
pub(crate) fn identity(id: &str) -> String {
    let clean = line(id, id.len());
    if clean.len() <= IDENTITY_BYTES_MAX {
        return clean;
    }
    let start = cut(&clean, IDENTITY_BYTES_MAX / 2);
    format!("{start}-{}", hash(id.as_bytes()))
}

/// The start of a text, at most `most` bytes, whole characters only.
fn cut(text: &str, most: usize) -> String {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// The SHA-256 of a body in 64 hexadecimal digits.
pub(crate) fn digest(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The first 32 of them: for ids where the sender gives none.
pub(crate) fn hash(body: &[u8]) -> String {
    cut(&digest(body), 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_attribute_may_hold_becomes_one_blank() {
        for (text, expected) in [
            (" a\r\nb\t ", "a b"),
            ("\u{0}a\u{9f}\u{7f}b\u{fffe}", "a b"),
            ("\u{1}", ""),
            ("a b  c", "a b  c"),
        ] {
            assert_eq!(line(text, 100), expected);
        }
        assert_eq!(line("磁盘只读", 7), "磁盘");
        assert_eq!(lines("a\r\n\u{1}b\u{0} "), "a\n b");
    }

    #[test]
    fn two_long_ids_stay_two() {
        let long = "x".repeat(3000);
        let other = format!("{long}y");
        assert_ne!(identity(&long), identity(&other));
        assert!(identity(&long).len() <= IDENTITY_BYTES_MAX);
        assert_eq!(identity("a\nb"), "a b");
    }

    #[test]
    fn only_web_addresses_are_links() {
        for (url, good) in [
            ("https://a.example/x?y=1", true),
            ("http://a.example", true),
            ("javascript:alert(1)", false),
            ("https://a.example/ x", false),
            ("https://a.example/\u{7}", false),
            ("ftp://a.example", false),
        ] {
            assert_eq!(is_web(url), good, "{url}");
        }
    }
}
