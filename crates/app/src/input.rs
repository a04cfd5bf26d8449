//! Bodies as they are sent: JSON text, of which some members must stay text.
//!
//! A pattern and a transform are kept as they were written, and the pattern language has its own opinion about
//! repeated names; so these members are taken out as text before anything strict looks at the rest.

use std::fmt;

use belfry_model::FieldError;
use belfry_model::json::{self, JsonLimits, JsonText, pointer_to};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::error::{Code, Error, Fault, Result, faults_under};

/// What a body is that should be an object.
const NO_OBJECT: &str = "expected a JSON object";

/// Reads a body.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    json::check(body, &JsonLimits::default())
        .map_err(|error| Error::invalid(Code::InvalidJson, vec![error.into()]))?;
    json::from_slice(body)
        .map_err(|errors| Error::invalid(Code::InvalidRequest, faults_under("", errors)))
}

/// Cuts a body into its members. Every member but those in `verbatim` is checked.
pub(crate) fn read_members(body: &[u8], verbatim: &[&str]) -> Result<Members> {
    Members::cut(body, verbatim).map_err(|faults| {
        let is_json = faults.iter().all(|fault| fault.detail == NO_OBJECT);
        let code = if is_json {
            Code::InvalidRequest
        } else {
            Code::InvalidJson
        };
        Error::invalid(code, faults)
    })
}

/// Members that a merge patch removes, and that no `T` can have: a misspelt name must not pass for "nothing to do".
pub(crate) fn unknown_nulls<T: DeserializeOwned>(patch: &Value) -> Vec<Fault> {
    unknown_nulls_by(patch, |alone| {
        json::from_slice::<T>(alone.to_string().as_bytes())
            .err()
            .unwrap_or_default()
    })
}

/// The same for what `read` reads: every null is shown to it alone, and asked about is only whether its name is known.
pub(crate) fn unknown_nulls_by(
    patch: &Value,
    read: impl Fn(&Value) -> Vec<FieldError>,
) -> Vec<Fault> {
    let mut nulls = Vec::new();
    find_nulls(patch, &mut Vec::new(), &mut nulls);
    let unknown = |path: Vec<&str>| {
        let pointer: String = path.iter().map(|name| pointer_to(name)).collect();
        let alone = path
            .iter()
            .rev()
            .fold(Value::Null, |inner, name| json!({ *name: inner }));
        read(&alone)
            .into_iter()
            .find(|error| error.pointer == pointer && error.detail.starts_with("unknown member"))
    };
    nulls
        .into_iter()
        .filter_map(unknown)
        .map(Fault::from)
        .collect()
}

fn find_nulls<'a>(value: &'a Value, path: &mut Vec<&'a str>, found: &mut Vec<Vec<&'a str>>) {
    for (name, member) in value.as_object().into_iter().flatten() {
        path.push(name);
        if member.is_null() {
            found.push(path.clone());
        }
        find_nulls(member, path, found);
        path.pop();
    }
}

/// The members of an object, each as its text.
#[derive(Debug)]
pub(crate) struct Members(Vec<(String, JsonText)>);

impl Members {
    /// Cuts an object into its members. Every member but those in `verbatim` is checked.
    pub(crate) fn cut(body: &[u8], verbatim: &[&str]) -> std::result::Result<Self, Vec<Fault>> {
        let raw: Raw<'_> = serde_json::from_slice(body).map_err(|error| {
            // Not JSON: the check finds the place. An object is all that is left to ask for.
            match json::check(body, &JsonLimits::default()) {
                Err(fault) => vec![Fault::from(fault)],
                Ok(_) if error.is_data() => vec![Fault::new("", NO_OBJECT)],
                Ok(_) => vec![Fault::new("", format!("not valid JSON: {error}"))],
            }
        })?;
        let mut members: Vec<(String, JsonText)> = Vec::with_capacity(raw.0.len());
        let mut errors = Vec::new();
        for (name, value) in raw.0 {
            let pointer = pointer_to(&name);
            if members.iter().any(|(known, _)| *known == name) {
                errors.push(Fault::new(
                    pointer,
                    "the name stands twice in the same object; keep one",
                ));
                continue;
            }
            if !verbatim.contains(&name.as_str())
                && let Err(error) = json::check(value.get().as_bytes(), &JsonLimits::default())
            {
                errors.push(Fault::from(without_place(error)).under(&pointer));
            }
            match JsonText::parse(value.get()) {
                Ok(text) => members.push((name, text)),
                Err(error) => errors.push(Fault::new(pointer, format!("not valid JSON: {error}"))),
            }
        }
        if errors.is_empty() {
            Ok(Self(members))
        } else {
            Err(errors)
        }
    }

    /// The text of a member.
    pub(crate) fn get(&self, name: &str) -> Option<&JsonText> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, text)| text)
    }

    /// Takes a member out; a `null` counts as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<JsonText> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        let (_, text) = self.0.remove(at);
        (text.as_str() != "null").then_some(text)
    }

    /// Drops members that only the server writes, so that what was read can be written back. One of them that names
    /// another thing than the request does is a mistake.
    pub(crate) fn drop_read_only(
        &mut self,
        names: &[&str],
        path: &[(&str, &str)],
    ) -> std::result::Result<(), Vec<Fault>> {
        let mut errors = Vec::new();
        for (name, value) in path {
            if let Some(text) = self.get(name)
                && serde_json::from_str::<String>(text.as_str())
                    .ok()
                    .as_deref()
                    != Some(*value)
            {
                errors.push(Fault::new(
                    pointer_to(name),
                    format!("expected {value:?}, as in the path, or nothing"),
                ));
            }
        }
        self.0.retain(|(name, _)| {
            !names.contains(&name.as_str()) && !path.iter().any(|(known, _)| known == name)
        });
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// The members, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &JsonText)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text))
    }

    /// Replaces a member's text, or adds it.
    pub(crate) fn set(&mut self, name: &str, text: JsonText) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = text,
            None => self.0.push((name.to_owned(), text)),
        }
    }

    /// The members as an object again, those in `hidden` as null.
    pub(crate) fn text(&self, hidden: &[&str]) -> String {
        let mut out = String::from("{");
        for (name, text) in &self.0 {
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(&Value::from(name.as_str()).to_string());
            out.push(':');
            out.push_str(if hidden.contains(&name.as_str()) {
                "null"
            } else {
                text.as_str()
            });
        }
        out.push('}');
        out
    }
}

/// An error without its line and column, which count within a part of the body only.
fn without_place(mut error: FieldError) -> FieldError {
    if let Some(at) = error.detail.rfind(" at line ") {
        error.detail.truncate(at);
    }
    error
}

/// The members as they come, with repeats.
struct Raw<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Raw<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Raw(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbatim_members_keep_their_text_and_are_not_checked() {
        let body = br#"{"pattern": {"a":[1.0,1e3], "a":["\u0041"]}, "enabled" : true}"#;
        let members = Members::cut(body, &["pattern"]).unwrap();
        assert_eq!(
            members.get("pattern").unwrap().as_str(),
            r#"{"a":[1.0,1e3], "a":["\u0041"]}"#
        );
        assert_eq!(
            members.text(&["pattern"]),
            r#"{"pattern":null,"enabled":true}"#
        );
    }

    #[test]
    fn others_are_checked_and_errors_have_pointers() {
        let errors = Members::cut(br#"{"settings": {"a":1,"a":2}}"#, &["pattern"]).unwrap_err();
        assert_eq!(errors.first().unwrap().pointer, "/settings/a");
        // Within the member it would be another place than within the body.
        assert!(!errors.first().unwrap().detail.contains("line"));
        let errors = Members::cut(br#"{"a":1,"a":2}"#, &["a"]).unwrap_err();
        assert_eq!(errors.first().unwrap().pointer, "/a");
        for bad in ["", "[]", "{", "nul", "{\"a\":1}x", "\"x\""] {
            assert!(Members::cut(bad.as_bytes(), &[]).is_err(), "{bad}");
        }
        assert!(Members::cut(b"{\"a\":\"\xff\"}", &[]).is_err());
    }

    #[test]
    fn a_null_for_a_name_that_nothing_has_is_a_mistake() {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its names are used")]
        struct Outer {
            a: String,
            inner: Inner,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its names are used")]
        struct Inner {
            b: u32,
        }
        let pointers = |patch| -> Vec<_> {
            unknown_nulls::<Outer>(&patch)
                .into_iter()
                .map(|fault| fault.pointer)
                .collect()
        };
        assert!(pointers(json!({"a": null, "inner": {"b": null}})).is_empty());
        assert!(pointers(json!({"inner": null, "a": "x"})).is_empty());
        assert_eq!(
            pointers(json!({"aa": null, "inner": {"bb": null, "b": 1}})),
            ["/aa", "/inner/bb"]
        );
    }

    #[test]
    fn read_only_members_may_be_sent_back() {
        let mut members = Members::cut(br#"{"name":"a","revision":3,"x":1}"#, &[]).unwrap();
        assert!(
            members
                .drop_read_only(&["revision"], &[("name", "a")])
                .is_ok()
        );
        assert_eq!(members.text(&[]), r#"{"x":1}"#);
        let mut members = Members::cut(br#"{"name":"b"}"#, &[]).unwrap();
        let faults = members.drop_read_only(&[], &[("name", "a")]).unwrap_err();
        assert_eq!(faults.len(), 1);
    }
}
