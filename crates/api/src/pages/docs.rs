//! The documentation, rendered from the API document.

use serde_json::Value;

use super::html::{escape, inline, page, paragraphs};
use crate::problem::TYPES;

/// Writes into a text, which cannot fail.
macro_rules! push {
    ($out:expr, $($text:tt)*) => {
        $out.push_str(&format!($($text)*))
    };
}

const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "options"];

/// Renders the whole page.
pub(super) fn render(document: &Value) -> String {
    let mut out = String::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    push!(
        out,
        "<header><h1>{} <small>{}</small></h1>{}</header>",
        escape(&text(&document["info"]["title"])),
        escape(&text(&document["info"]["version"])),
        paragraphs(&text(&document["info"]["description"]))
    );
    let tags: Vec<_> = document["tags"].as_array().into_iter().flatten().collect();
    contents(&mut out, &tags);
    for tag in &tags {
        let name = text(&tag["name"]);
        push!(
            out,
            "<section id=\"tag-{0}\"><h2>{0}</h2><p>{1}</p>",
            escape(&name),
            inline(&text(&tag["description"]))
        );
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for method in METHODS {
                let operation = &item[method];
                if operation["tags"]
                    .as_array()
                    .is_some_and(|tags| tags.iter().any(|tag| tag == name.as_str()))
                {
                    render_operation(&mut out, method, path, operation);
                }
            }
        }
        out.push_str("</section>");
    }
    render_problems(&mut out);
    out.push_str("<section id=\"schemas\"><h2>schemas</h2>");
    for (name, schema) in document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
    {
        push!(
            out,
            "<details id=\"schema-{0}\"><summary><code>{0}</code></summary>",
            escape(name)
        );
        out.push_str(&paragraphs(
            schema["description"].as_str().unwrap_or_default(),
        ));
        render_properties(&mut out, schema);
        out.push_str("</details>");
    }
    out.push_str("</section>");
    page("Belfry API", &out)
}

fn contents(out: &mut String, tags: &[&Value]) {
    out.push_str("<nav aria-label=\"Contents\"><ul>");
    let names = tags.iter().filter_map(|tag| tag["name"].as_str());
    for name in names {
        push!(out, "<li><a href=\"#tag-{0}\">{0}</a></li>", escape(name));
    }
    out.push_str("<li><a href=\"#problems\">problems</a></li><li><a href=\"#schemas\">schemas</a></li><li><a href=\"/openapi.json\">openapi.json</a></li></ul></nav>");
}

fn render_operation(out: &mut String, method: &str, path: &str, operation: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    push!(
        out,
        "<details class=\"operation\" id=\"{}\"><summary><b class=\"{method}\">{}</b> <code>{}</code> <span>{}</span></summary>",
        escape(&text(&operation["operationId"])),
        method.to_uppercase(),
        escape(path),
        inline(&text(&operation["summary"]))
    );
    out.push_str(&paragraphs(&text(&operation["description"])));
    match operation["security"][0]["key"][0].as_str() {
        Some(scope) => {
            push!(out, "<p>Needs scope <code>{}</code>.</p>", escape(scope));
        }
        None => out.push_str("<p>Needs no key.</p>"),
    }
    let parameters: Vec<_> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    if !parameters.is_empty() {
        out.push_str("<table><caption>Parameters</caption><tbody>");
        for parameter in parameters {
            push!(
                out,
                "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&text(&parameter["name"])),
                escape(&text(&parameter["in"])),
                type_of(&parameter["schema"]),
                inline(&text(&parameter["description"]))
            );
        }
        out.push_str("</tbody></table>");
    }
    if let Some(content) = operation["requestBody"]["content"].as_object() {
        out.push_str("<p>Body: ");
        let kinds: Vec<_> = content
            .iter()
            .map(|(kind, body)| {
                format!("<code>{}</code> {}", escape(kind), type_of(&body["schema"]))
            })
            .collect();
        out.push_str(&kinds.join(", "));
        out.push_str("</p>");
    }
    out.push_str("<table><caption>Answers</caption><tbody>");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let body = response["content"]
            .as_object()
            .and_then(|content| content.values().next());
        let (what, kind) = if response["$ref"].is_string() {
            ("A problem document".to_owned(), link("Problem"))
        } else {
            (
                inline(&text(&response["description"])),
                body.map(|body| type_of(&body["schema"]))
                    .unwrap_or_default(),
            )
        };
        push!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{what}</td><td>{kind}</td></tr>",
            escape(status)
        );
    }
    out.push_str("</tbody></table></details>");
}

fn render_problems(out: &mut String) {
    out.push_str("<section id=\"problems\"><h2>problems</h2><p>What <code>code</code> says, and what to do about it.</p><table><tbody>");
    for kind in TYPES {
        push!(
            out,
            "<tr><th scope=\"row\"><a href=\"/problems/{}\"><code>{}</code></a></th><td>{}</td><td>{}</td></tr>",
            kind.slug(),
            kind.code,
            kind.status,
            inline(kind.about)
        );
    }
    out.push_str("</tbody></table></section>");
}

fn render_properties(out: &mut String, schema: &Value) {
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let Some(properties) = schema["properties"].as_object() else {
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<_> = words
                .iter()
                .map(|word| format!("<code>{}</code>", escape(&word.to_string())))
                .collect();
            push!(out, "<p>One of {}.</p>", words.join(", "));
        }
        return;
    };
    out.push_str("<table><tbody>");
    for (name, property) in properties {
        push!(
            out,
            "<tr><th scope=\"row\"><code>{}</code>{}</th><td>{}</td><td>{}</td></tr>",
            escape(name),
            if required.contains(&name.as_str()) {
                ""
            } else {
                " <small>optional</small>"
            },
            type_of(property),
            inline(property["description"].as_str().unwrap_or_default())
        );
    }
    out.push_str("</tbody></table>");
}

fn link(name: &str) -> String {
    format!("<a href=\"#schema-{0}\">{0}</a>", escape(name))
}

/// A schema's type in a few characters.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        return link(name);
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
    let kind = match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds: Vec<_> = kinds
                .iter()
                .filter_map(Value::as_str)
                .filter(|kind| *kind != "null")
                .collect();
            kinds.join(" or ")
        }
        _ => "any".to_owned(),
    };
    match kind.as_str() {
        "array" => format!("list of {}", type_of(&schema["items"])),
        _ => escape(&kind),
    }
}
