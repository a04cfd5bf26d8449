//! JSON Schemas as tables.

use serde_json::Value;

use super::super::html::{escape, inline, push};

/// The members of what a body holds, folded away; nothing if it has none.
pub(super) fn members(document: &Value, schema: &Value) -> String {
    let (list, schema) = match &schema["items"] {
        Value::Null => (false, schema),
        items => (true, items),
    };
    let (name, found) = resolve(document, schema);
    // The rows of a page are what a reader looks for.
    let (name, found) = match &found["properties"]["items"]["items"] {
        Value::Null => (name, found),
        rows => resolve(document, rows),
    };
    let table = table(found);
    if table.is_empty() {
        return String::new();
    }
    let of = match name {
        Some(name) if !name.starts_with("Listing_") => format!(" of <code>{}</code>", escape(name)),
        _ if list => " of each".to_owned(),
        _ => String::new(),
    };
    format!("<details><summary>Members{of}</summary>{table}</details>")
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
    match name_of(schema) {
        Some(name) => (Some(name), &document["components"]["schemas"][name]),
        None => (None, schema),
    }
}

fn name_of(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// The settings of a kind of target: its schema and the parts that it refers to.
pub(super) fn of_kind(kind: &str, schema: &Value) -> String {
    let mut out = table(schema);
    for (name, part) in schema["$defs"].as_object().into_iter().flatten() {
        let table = table(part);
        let about = part["description"].as_str().unwrap_or_default();
        push!(
            out,
            "<h4 id=\"kind-{}-{1}\"><code>{1}</code></h4><p>{2}</p>{table}",
            escape(kind),
            escape(name),
            inline(about)
        );
    }
    // A reference within the kind leads to its part of the page.
    out.replace(
        "href=\"#schema-",
        &format!("href=\"#kind-{}-", escape(kind)),
    )
}

/// The members of an object, the words of an enumeration, or the alternatives.
pub(super) fn table(schema: &Value) -> String {
    let mut out = String::new();
    if let Some(words) = words(schema) {
        push!(out, "<p>One of {words}.</p>");
    }
    for all in ["oneOf", "anyOf"] {
        for one in schema[all].as_array().into_iter().flatten() {
            if let Some(word) = one["const"].as_str() {
                let about = one["description"].as_str().unwrap_or_default();
                push!(
                    out,
                    "<p><code>{}</code> {}</p>",
                    escape(word),
                    inline(about)
                );
            } else {
                out.push_str(&alternative(one));
            }
        }
    }
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let Some(properties) = schema["properties"].as_object() else {
        return out;
    };
    out.push_str("<table><tbody>");
    for (name, property) in properties {
        let needed = required.contains(&name.as_str());
        push!(
            out,
            "<tr><th scope=\"row\"><code>{}</code>{}</th><td>{}</td><td>{}{}</td></tr>",
            escape(name),
            if needed {
                ""
            } else {
                " <small>optional</small>"
            },
            type_of(property),
            inline(property["description"].as_str().unwrap_or_default()),
            bounds(property)
        );
    }
    out.push_str("</tbody></table>");
    out
}

fn alternative(schema: &Value) -> String {
    let about = schema["description"].as_str().unwrap_or_default();
    let kind = name_of(schema).map(link).unwrap_or_default();
    format!("<p>{kind} {}</p>{}", inline(about), table(schema))
}

fn words(schema: &Value) -> Option<String> {
    let words: Vec<_> = schema["enum"]
        .as_array()?
        .iter()
        .map(|word| match word.as_str() {
            Some(word) => format!("<code>{}</code>", escape(word)),
            None => format!("<code>{}</code>", escape(&word.to_string())),
        })
        .collect();
    Some(words.join(", "))
}

/// Default and limits of a member, and its fixed word.
fn bounds(schema: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(word) = schema["const"].as_str() {
        parts.push(format!("always <code>{}</code>", escape(word)));
    }
    match (&schema["minimum"], &schema["maximum"]) {
        (Value::Null, Value::Null) => {}
        (Value::Number(low), Value::Null) if low.as_i64() == Some(0) => {}
        (low, Value::Null) => parts.push(format!("from {low}")),
        (Value::Null, high) => parts.push(format!("to {high}")),
        (low, high) => parts.push(format!("{low} to {high}")),
    }
    match &schema["default"] {
        Value::Null => {}
        Value::String(word) => parts.push(format!("default <code>{}</code>", escape(word))),
        other => parts.push(format!(
            "default <code>{}</code>",
            escape(&other.to_string())
        )),
    }
    if parts.is_empty() {
        return String::new();
    }
    format!(" <small>({})</small>", parts.join("; "))
}

/// The way to a schema of the document.
pub(super) fn link(name: &str) -> String {
    format!("<a href=\"#schema-{0}\">{0}</a>", escape(name))
}

/// A schema's type in a few characters.
pub(super) fn type_of(schema: &Value) -> String {
    if let Some(name) = name_of(schema) {
        return match name.strip_prefix("Listing_") {
            Some(row) => format!("page of {}", link(row)),
            None => link(name),
        };
    }
    if let Some(words) = words(schema) {
        return words;
    }
    for all in ["oneOf", "anyOf", "allOf"] {
        if let Some(list) = schema[all].as_array() {
            let kinds: Vec<_> = list
                .iter()
                .filter(|one| one["type"] != "null")
                .map(type_of)
                .collect();
            return kinds.join(" or ");
        }
    }
    let kinds: Vec<_> = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect(),
        _ => vec!["any"],
    };
    match kinds.join(" or ").as_str() {
        "array" => format!("list of {}", type_of(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&schema["additionalProperties"]))
        }
        kind => escape(kind),
    }
}
