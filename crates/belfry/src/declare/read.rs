//! From text to documents: envelope, names, references.

use std::path::Path;

use belfry_app::documents::{KINDS, unknown_word};
use belfry_model::DocumentName;
use belfry_model::json::{FieldError, from_slice, pointer_to, push_pointer};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::raw::RawObject;
use super::{Document, Identity, Place, Variables};
use crate::failure::chain;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    kind: Kind,
    metadata: Metadata,
    spec: Option<Box<RawValue>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Bus,
    Rule,
    Archive,
    /// A named document; the place of its kind among [`KINDS`].
    Named(usize),
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let others = [
            ("Bus", Self::Bus),
            ("Rule", Self::Rule),
            ("Archive", Self::Archive),
        ];
        let named = KINDS.iter().enumerate();
        let named = named.map(|(at, kind)| (kind.title(), Self::Named(at)));
        let all: Vec<_> = others.into_iter().chain(named).collect();
        let found = all.iter().find(|(known, _)| *known == word);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|(known, _)| *known).collect();
            D::Error::custom(unknown_word(&word, &known))
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    bus: Option<String>,
}

type Errors = Vec<FieldError>;

/// Adds the documents of one file, and what is wrong with the others.
pub(super) fn documents(
    file: &Path,
    text: &str,
    variables: Variables<'_>,
    documents: &mut Vec<Document>,
    errors: &mut Vec<String>,
) {
    let is_json =
        file.extension().is_some_and(|end| end == "json") || text.trim_start().starts_with('{');
    let texts = if is_json {
        json_texts(text)
    } else {
        yaml_texts(text)
    };
    let mut found = 0;
    for (index, text) in texts.into_iter().enumerate() {
        let place = Place {
            file: file.to_owned(),
            number: index + 1,
        };
        match text {
            Ok(None) => {}
            Ok(Some(text)) => {
                found += 1;
                match document(&text, place.clone(), variables) {
                    Ok(document) => documents.push(document),
                    Err(found) => errors.extend(found.iter().map(|error| {
                        let pointer = if error.pointer.is_empty() {
                            "(whole document)"
                        } else {
                            &error.pointer
                        };
                        format!("{place}: {pointer}: {}", error.detail)
                    })),
                }
            }
            Err(detail) => {
                found += 1;
                errors.push(format!("{place}: {detail}"));
            }
        }
    }
    if found == 0 {
        errors.push(format!("{}: no document in it", file.display()));
    }
}

fn json_texts(text: &str) -> Vec<Result<Option<String>, String>> {
    let mut texts = Vec::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>() {
        match document {
            Ok(raw) => texts.push(Ok(Some(raw.get().to_owned()))),
            Err(error) => {
                texts.push(Err(format!("this is no JSON: {error}")));
                break;
            }
        }
    }
    texts
}

fn yaml_texts(text: &str) -> Vec<Result<Option<String>, String>> {
    let mut texts = Vec::new();
    for document in yaml_serde::Deserializer::from_str(text) {
        // First as YAML: its own value notices names that stand there twice.
        match yaml_serde::Value::deserialize(document) {
            Ok(yaml_serde::Value::Null) => texts.push(Ok(None)),
            Ok(value) => texts.push(
                serde_json::to_string(&value)
                    .map(Some)
                    .map_err(|error| format!("this has no form in JSON: {error}")),
            ),
            Err(error) => {
                texts.push(Err(format!("this is no YAML: {}", chain(&error))));
                break;
            }
        }
    }
    texts
}

fn document(text: &str, place: Place, variables: Variables<'_>) -> Result<Document, Errors> {
    let Envelope {
        kind,
        metadata,
        spec,
    } = from_slice(text.as_bytes())?;
    let name_error =
        |at: &str, error: &dyn std::error::Error| vec![FieldError::new(at, error.to_string())];
    let on_bus = |name: Option<&str>| {
        let name = name.unwrap_or("default");
        name.parse()
            .map_err(|error| name_error("/metadata/bus", &error))
    };
    let identity = match kind {
        Kind::Bus if metadata.bus.is_some() => {
            return Err(vec![FieldError::new(
                "/metadata/bus",
                "a Bus is on no bus; it has only a name",
            )]);
        }
        Kind::Named(at) => {
            let on_a_bus = KINDS.get(at).is_some_and(|kind| kind.is_on_bus());
            let bus = match metadata.bus.as_deref() {
                bus if on_a_bus => Some(on_bus(bus)?),
                None => None,
                Some(_) => {
                    return Err(vec![FieldError::new(
                        "/metadata/bus",
                        "documents of this kind are on no bus; leave it out",
                    )]);
                }
            };
            let name: DocumentName = metadata
                .name
                .parse()
                .map_err(|error| name_error("/metadata/name", &error))?;
            let parts = KINDS.get(at).map_or(&["name"] as &[_], |kind| kind.parts());
            if name.parts().count() != parts.len() {
                let detail = format!("expected {}, got {name}", parts.join("/"));
                return Err(vec![FieldError::new("/metadata/name", detail)]);
            }
            Identity::Named(at, bus, name)
        }
        Kind::Bus => Identity::Bus(
            metadata
                .name
                .parse()
                .map_err(|error| name_error("/metadata/name", &error))?,
        ),
        Kind::Rule => Identity::Rule(
            on_bus(metadata.bus.as_deref())?,
            metadata
                .name
                .parse()
                .map_err(|error| name_error("/metadata/name", &error))?,
        ),
        Kind::Archive => Identity::Archive(
            on_bus(metadata.bus.as_deref())?,
            metadata
                .name
                .parse()
                .map_err(|error| name_error("/metadata/name", &error))?,
        ),
    };
    let mut has_references = false;
    let shown = spec.as_ref().map_or("{}", |spec| spec.get()).to_owned();
    let body = match (kind, spec) {
        (Kind::Bus, _) | (Kind::Archive | Kind::Named(_), None) => shown.clone(),
        (Kind::Rule, None) => {
            return Err(vec![FieldError::new(
                "/spec",
                "a Rule needs a spec with a pattern",
            )]);
        }
        (Kind::Rule | Kind::Archive | Kind::Named(_), Some(spec)) => {
            let directory = place.file.parent().unwrap_or_else(|| Path::new("."));
            let mut references = References {
                directory,
                variables,
                found: false,
                errors: Vec::new(),
            };
            let body = match kind {
                Kind::Named(_) => replaced(&spec, "/spec", &mut references)?.get().to_owned(),
                _ => body_of(&spec, &mut references)?,
            };
            if !references.errors.is_empty() {
                return Err(references.errors);
            }
            has_references = references.found;
            body
        }
    };
    Ok(Document {
        identity,
        body,
        shown,
        has_references,
        place,
    })
}

fn object(raw: &RawValue, at: &str) -> Result<RawObject, Errors> {
    serde_json::from_str(raw.get()).map_err(|error| {
        vec![FieldError::new(
            at,
            format!("expected an object: {}", without_position(&error)),
        )]
    })
}

/// The position would be one inside a part of the document.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or_else(|| text.clone(), |(text, _)| text.to_owned())
}

fn raw(value: &impl serde::Serialize, at: &str) -> Result<Box<RawValue>, Errors> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| vec![FieldError::new(at, error.to_string())])
}

/// Replaces references in the settings of targets and unpacks JSON written as text; the rest stays as written.
fn body_of(spec: &RawValue, references: &mut References<'_>) -> Result<String, Errors> {
    let mut spec = object(spec, "/spec")?;
    for (name, value) in &mut spec.0 {
        match name.as_str() {
            "pattern" => *value = unpack(value, "/spec/pattern")?,
            "targets" => {
                let mut targets = object(value, "/spec/targets")?;
                for (name, target) in &mut targets.0 {
                    let at = format!("/spec/targets{}", pointer_to(name));
                    *target = target_body(target, &at, references)?;
                }
                *value = raw(&targets, "/spec/targets")?;
            }
            _ => {}
        }
    }
    raw(&spec, "/spec").map(|raw| raw.get().to_owned())
}

fn target_body(
    target: &RawValue,
    at: &str,
    references: &mut References<'_>,
) -> Result<Box<RawValue>, Errors> {
    let mut target = object(target, at)?;
    for (name, value) in &mut target.0 {
        match name.as_str() {
            "transform" => *value = unpack(value, &format!("{at}/transform"))?,
            "settings" => *value = replaced(value, &format!("{at}/settings"), references)?,
            _ => {}
        }
    }
    raw(&target, at)
}

/// A value with its references replaced; one that has none stays as written.
fn replaced(
    value: &RawValue,
    at: &str,
    references: &mut References<'_>,
) -> Result<Box<RawValue>, Errors> {
    if !value.get().contains("\"$") {
        return Ok(value.to_owned());
    }
    let mut read: Value = serde_json::from_str(value.get())
        .map_err(|error| vec![FieldError::new(at, error.to_string())])?;
    references.replace(&mut read, at);
    raw(&read, at)
}

/// A text is JSON written as text: in YAML the only way to keep numbers and escapes as they are.
fn unpack(value: &RawValue, at: &str) -> Result<Box<RawValue>, Errors> {
    let Ok(text) = serde_json::from_str::<String>(value.get()) else {
        return Ok(value.to_owned());
    };
    RawValue::from_string(text)
        .map_err(|error| vec![FieldError::new(at, format!("the text is no JSON: {error}"))])
}

struct References<'a> {
    directory: &'a Path,
    variables: Variables<'a>,
    found: bool,
    errors: Errors,
}

impl References<'_> {
    fn replace(&mut self, value: &mut Value, at: &str) {
        if let Some(reference) = reference_of(value) {
            self.found = true;
            match self.resolve(&reference) {
                Ok(text) => *value = Value::String(text),
                Err(detail) => self.errors.push(FieldError::new(at, detail)),
            }
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let mut at = at.to_owned();
                    push_pointer(&mut at, name);
                    self.replace(member, &at);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.replace(item, &format!("{at}/{index}"));
                }
            }
            _ => {}
        }
    }

    fn resolve(&self, reference: &Reference) -> Result<String, String> {
        match reference {
            Reference::Variable(name) => (self.variables)(name)
                .ok_or_else(|| format!("the environment variable {name} is not set")),
            Reference::File(path) => std::fs::read_to_string(self.directory.join(path))
                .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                .map_err(|error| format!("the file {path} cannot be read: {error}")),
        }
    }
}

enum Reference {
    Variable(String),
    File(String),
}

fn reference_of(value: &Value) -> Option<Reference> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, value) = members.iter().next()?;
    let value = value.as_str()?.to_owned();
    match name.as_str() {
        "$env" => Some(Reference::Variable(value)),
        "$file" => Some(Reference::File(value)),
        _ => None,
    }
}
