//! Any JSON and any form, its parts found by paths that the operator gives; `docs/reference/sources.md` describes them.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;
use belfry_transform::Path;
use serde_json::Value;

use crate::body::{Node, visible};
use crate::draft::{Draft, Facts, digest};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};
use crate::spec::{GenericSpec, StatusSpec};

pub(crate) static FORMAT: Format = Format {
    name: "generic",
    title: ("Any JSON or form", "任意 JSON 或表单"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

/// What a fixed text starts with.
const CONST: &str = "const:";
/// Most parts of a key, and most words for a status.
const LIST_MAX: usize = 16;
/// Words for firing where the operator gives none, in lower case.
const FIRING: [&str; 12] = [
    "1",
    "firing",
    "alert",
    "alerting",
    "alarm",
    "problem",
    "triggered",
    "down",
    "critical",
    "open",
    "failed",
    "error",
];
/// Words for recovered.
const RECOVERED: [&str; 10] = [
    "0",
    "ok",
    "resolved",
    "recovered",
    "normal",
    "up",
    "closed",
    "success",
    "green",
    "healthy",
];

/// Fits whatever nothing else fits.
pub(crate) fn seen(_: &Request<'_>) -> bool {
    true
}

/// A part of the event.
#[derive(Debug, Clone)]
enum Part {
    Const(String),
    Path(Path),
}

impl Part {
    fn parse(pointer: &str, text: &str, errors: &mut Vec<FieldError>) -> Option<Self> {
        if let Some(text) = text.strip_prefix(CONST) {
            return Some(Self::Const(text.to_owned()));
        }
        match Path::parse(text) {
            Ok(path) => Some(Self::Path(path)),
            Err(error) => {
                let hint = error.hint.as_deref().map(|hint| format!("; {hint}"));
                let hint = hint.unwrap_or_default();
                let detail = format!("{error}{hint} (a fixed text starts with const:)");
                errors.push(FieldError::new(pointer, detail));
                None
            }
        }
    }

    fn read(&self, body: &str) -> Option<String> {
        match self {
            Self::Const(text) => visible(text),
            Self::Path(path) => visible(&path.find_text(body.as_bytes())?),
        }
    }
}

/// How a body becomes an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    id: Option<Part>,
    source: Option<Part>,
    kind: Option<Part>,
    subject: Option<Part>,
    time: Option<Part>,
    severity: Option<Part>,
    status: Option<Status>,
    region: Option<Part>,
    key: Vec<Part>,
    title: Option<Part>,
    summary: Option<Part>,
    resource_name: Option<Part>,
    value: Option<Part>,
    threshold: Option<Part>,
    link: Option<Part>,
}

#[derive(Debug, Clone)]
struct Status {
    path: Part,
    firing: Vec<String>,
    recovered: Vec<String>,
}

impl Mapping {
    /// Compiles the paths; pointers of errors are into the source.
    pub(crate) fn compile(spec: Option<&GenericSpec>) -> Result<Self, Vec<FieldError>> {
        let Some(spec) = spec else {
            return Ok(Self::default());
        };
        let mut errors = Vec::new();
        let mut part = |name: &str, text: &Option<String>| {
            Part::parse(&format!("/generic/{name}"), text.as_deref()?, &mut errors)
        };
        let mut mapping = Self {
            id: part("id", &spec.id),
            source: part("source", &spec.source),
            kind: part("type", &spec.kind),
            subject: part("subject", &spec.subject),
            time: part("time", &spec.time),
            severity: part("severity", &spec.severity),
            region: part("region", &spec.region),
            title: part("title", &spec.title),
            summary: part("summary", &spec.summary),
            resource_name: part("resourceName", &spec.resource_name),
            value: part("value", &spec.value),
            threshold: part("threshold", &spec.threshold),
            link: part("link", &spec.link),
            status: None,
            key: Vec::new(),
        };
        if let Some(status) = &spec.status {
            mapping.status = Status::compile(status, &mut errors);
        }
        if spec.alarmkey.len() > LIST_MAX {
            let detail = format!("expected at most {LIST_MAX} parts");
            errors.push(FieldError::new("/generic/alarmkey", detail));
        }
        for (n, text) in spec.alarmkey.iter().enumerate() {
            let pointer = format!("/generic/alarmkey/{n}");
            mapping.key.extend(Part::parse(&pointer, text, &mut errors));
        }
        if errors.is_empty() {
            Ok(mapping)
        } else {
            Err(errors)
        }
    }
}

impl Status {
    fn compile(spec: &StatusSpec, errors: &mut Vec<FieldError>) -> Option<Self> {
        for (name, words) in [("firing", &spec.firing), ("recovered", &spec.recovered)] {
            if words.len() > LIST_MAX {
                let detail = format!("expected at most {LIST_MAX} words");
                errors.push(FieldError::new(format!("/generic/status/{name}"), detail));
            }
        }
        let or = |words: &[String], usual: &[&str]| {
            let own = !spec.firing.is_empty() || !spec.recovered.is_empty();
            let words: Vec<&str> = if own {
                words.iter().map(String::as_str).collect()
            } else {
                usual.to_vec()
            };
            words
                .iter()
                .map(|word| word.trim().to_lowercase())
                .collect()
        };
        Some(Self {
            path: Part::parse("/generic/status/path", &spec.path, errors)?,
            firing: or(&spec.firing, &FIRING),
            recovered: or(&spec.recovered, &RECOVERED),
        })
    }

    fn read(&self, body: &str) -> AlarmState {
        let Some(word) = self.path.read(body) else {
            return AlarmState::Stateless;
        };
        let word = word.to_lowercase();
        if self.firing.contains(&word) {
            AlarmState::Firing
        } else if self.recovered.contains(&word) {
            AlarmState::Recovered
        } else {
            AlarmState::Stateless
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of the functions of a format")]
fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let mapping = &request.source.mapping;
    let text = request.body.text.as_str();
    let find = |part: &Option<Part>| part.as_ref().and_then(|part| part.read(text));
    let body = request.node();
    let first = |names: &[&str]| names.iter().find_map(|name| body.get(name).text());

    let source = find(&mapping.source).unwrap_or_else(|| "custom.webhook".to_owned());
    let kind = find(&mapping.kind).unwrap_or_else(|| "custom:Event:generic".to_owned());
    let subject = find(&mapping.subject);
    let status = mapping.status.as_ref();
    let parts: Vec<String> = if !mapping.key.is_empty() {
        let parts = mapping.key.iter();
        parts
            .map(|part| part.read(text).unwrap_or_default())
            .collect()
    } else if mapping.status.is_some() {
        vec![kind.clone(), subject.clone().unwrap_or_default()]
    } else {
        // Nothing says what belongs together: each body is an alarm of its own.
        vec![digest(request.bytes())]
    };
    let key =
        AlarmKey::of(std::iter::once(source.as_str()).chain(parts.iter().map(String::as_str)));
    let word = find(&mapping.severity);
    let word = word.or_else(|| first(&["severity", "level"]));
    let time = find(&mapping.time);
    Ok(request.event(Draft {
        id: find(&mapping.id).unwrap_or_else(|| request.hash_id("generic")),
        source,
        kind,
        subject,
        time_ms: time.and_then(|time| request.time(Node(&Value::from(time)))),
        status: status.map_or(AlarmState::Stateless, |status| status.read(text)),
        severity: word
            .and_then(|word| Severity::parse(&word))
            .unwrap_or(Severity::Info),
        region: find(&mapping.region),
        key,
        facts: Facts {
            title: find(&mapping.title).or_else(|| first(&["title", "name", "message", "msg"])),
            summary: find(&mapping.summary),
            resource_name: find(&mapping.resource_name),
            value: find(&mapping.value),
            threshold: find(&mapping.threshold),
            links: vec![("source", find(&mapping.link))],
            ..Facts::default()
        },
        raw: None,
    }))
}
