//! What the server says about a thing, in a form that can be compared with what a file says.

use serde_json::Value;

use crate::client::{Answer, problem};
use crate::failure::{Context as _, Result};

/// They go up with every change, also of a secret.
pub(super) fn revisions(value: &Value) -> Vec<i64> {
    let targets = value
        .get("targets")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|targets| targets.values());
    std::iter::once(value)
        .chain(targets)
        .filter_map(|one| one.get("revision").and_then(Value::as_i64))
        .collect()
}

/// Pointers of the server count from the body, which is the document's `spec`.
pub(super) fn under_spec(answer: &Answer) -> String {
    let Ok(mut problem) = answer.json() else {
        return problem::message(answer);
    };
    for error in problem
        .get_mut("errors")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(Value::String(pointer)) = error.get_mut("pointer")
            && (pointer.is_empty() || pointer.starts_with('/'))
        {
            pointer.insert_str(0, "/spec");
        }
    }
    problem::message(&Answer {
        status: answer.status,
        headers: answer.headers.clone(),
        body: problem.to_string().into(),
    })
}

/// Members that only the server writes.
const OF_SERVER: [&str; 11] = [
    "usage",
    "revision",
    "createdAt",
    "updatedAt",
    "dryRun",
    "generatedSecrets",
    "handshake",
    "disabled",
    "bus",
    "rule",
    "name",
];

/// What a person would have written to get this thing.
pub(super) fn comparable(value: &Value) -> Result<String> {
    let mut value = value.clone();
    strip(&mut value);
    if let Some(members) = value.as_object_mut() {
        // Of a bus: the number of its rules.
        if members.get("rules").is_some_and(Value::is_number) {
            members.shift_remove("rules");
        }
        for target in members
            .get_mut("targets")
            .and_then(Value::as_object_mut)
            .into_iter()
            .flat_map(|targets| targets.values_mut())
        {
            strip(target);
        }
    }
    yaml(&value)
}

fn strip(value: &mut Value) {
    if let Some(members) = value.as_object_mut() {
        for name in OF_SERVER {
            members.shift_remove(name);
        }
    }
}

pub(super) fn yaml(value: &Value) -> Result<String> {
    yaml_serde::to_string(value).context("this cannot be shown as YAML")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_the_server_writes_is_no_difference() {
        let stored = json!({
            "bus": "b", "name": "r", "description": "", "enabled": true, "pattern": {"type": ["a"], "bus": ["x"]},
            "targets": {"t": {"bus": "b", "rule": "r", "name": "t", "type": "log", "settings": {"log": "l", "name": "n"}, "revision": 3}},
            "revision": 7, "createdAt": "x", "updatedAt": "y",
        });
        let tried = json!({
            "bus": "b", "name": "r", "description": "", "enabled": true, "pattern": {"type": ["a"], "bus": ["x"]},
            "targets": {"t": {"bus": "b", "rule": "r", "name": "t", "type": "log", "settings": {"log": "l", "name": "n"}, "revision": 4, "dryRun": true}},
            "revision": 8, "createdAt": "x", "updatedAt": "z", "dryRun": true,
        });
        let (stored, tried) = (comparable(&stored).unwrap(), comparable(&tried).unwrap());
        assert_eq!(stored, tried);
        assert!(
            stored.contains("bus:") && stored.contains("name: n"),
            "{stored}"
        );
    }

    #[test]
    fn pointers_count_from_the_document() {
        let body = r#"{"title":"Invalid","errors":[{"pointer":"/pattern/a","detail":"x"},{"pointer":"header:x","detail":"y"}]}"#;
        let answer = Answer {
            status: StatusCode::BAD_REQUEST,
            headers: http::HeaderMap::new(),
            body: body.into(),
        };
        assert_eq!(
            under_spec(&answer),
            "Invalid\n  /spec/pattern/a: x\n  header:x: y"
        );
    }
}
