//! The documentation, rendered from the API document and from what the kinds of targets say about themselves.

mod schema;

use belfry_app::config::TargetKindView;
use serde_json::Value;

use super::html::{escape, inline, page, paragraphs, push};
use crate::problem::TYPES;
use schema::{members, type_of};

const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "options"];

/// Sections after those of the operations: anchor and title.
const SECTIONS: [(&str, &str); 3] = [
    ("kinds", "Kinds of targets"),
    ("problems", "Problems"),
    ("schemas", "Schemas"),
];

const FIRST_STEPS: &str = "<pre><code>export BELFRY_API_KEY=bfy_...\n\
    curl -sS -H \"Authorization: Bearer $BELFRY_API_KEY\" -H 'Content-Type: application/json' \\\n     \
    -d '{\"source\":\"/me\",\"type\":\"hello\",\"data\":{\"n\":1}}' $BELFRY_URL/v1/buses/default/events</code></pre>";

/// An operation with its place.
struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    about: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        text(&self.about["operationId"])
    }

    /// The path without what many begin with, for the narrow list of contents.
    fn short_path(&self) -> String {
        let path = self.path.strip_prefix("/v1").unwrap_or(self.path);
        match path.strip_prefix("/buses/{bus}/rules/{rule}/") {
            Some(rest) => format!("…/{rest}"),
            None => path.to_owned(),
        }
    }
}

/// Renders the whole page.
pub(super) fn render(document: &Value, kinds: &[TargetKindView]) -> String {
    let tags: Vec<_> = document["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tag| {
            let name = text(&tag["name"]);
            (name, text(&tag["description"]), operations(document, name))
        })
        .collect();
    let mut out = String::from("<div class=\"docs\">");
    contents(&mut out, &tags);
    push!(
        out,
        "<main><header><h1>{} <small>{}</small></h1>{}{FIRST_STEPS}</header>",
        escape(text(&document["info"]["title"])),
        escape(text(&document["info"]["version"])),
        paragraphs(text(&document["info"]["description"]))
    );
    for (name, about, operations) in &tags {
        section(&mut out, &format!("tag-{name}"), &capital(name));
        push!(out, "<p>{}.</p>", inline(about));
        for operation in operations {
            render_operation(&mut out, document, operation);
        }
        out.push_str("</section>");
    }
    render_kinds(&mut out, kinds);
    render_problems(&mut out);
    render_schemas(&mut out, document);
    out.push_str("</main></div>");
    page("Belfry API", &out)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

fn operations<'a>(document: &'a Value, tag: &str) -> Vec<Operation<'a>> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let about = &item[method];
            let tags = about["tags"].as_array();
            if tags.is_some_and(|tags| tags.iter().any(|known| known == tag)) {
                found.push(Operation {
                    method,
                    path,
                    about,
                });
            }
        }
    }
    found
}

fn contents(out: &mut String, tags: &[(&str, &str, Vec<Operation<'_>>)]) {
    out.push_str("<nav aria-label=\"Contents\"><p><a href=\"/\">Belfry</a></p><ul>");
    for (name, _, operations) in tags {
        push!(
            out,
            "<li><a href=\"#tag-{}\">{}</a><ul>",
            escape(name),
            escape(&capital(name))
        );
        for operation in operations {
            push!(
                out,
                "<li><a href=\"#{}\"><b class=\"{1}\">{1}</b> <code>{2}</code></a></li>",
                escape(operation.id()),
                operation.method,
                escape(&operation.short_path())
            );
        }
        out.push_str("</ul></li>");
    }
    for (id, title) in SECTIONS {
        push!(out, "<li><a href=\"#{id}\">{title}</a></li>");
    }
    out.push_str("<li><a href=\"/openapi.json\">openapi.json</a></li></ul></nav>");
}

fn section(out: &mut String, id: &str, title: &str) {
    push!(
        out,
        "<section id=\"{0}\"><h2>{1}{2}</h2>",
        escape(id),
        escape(title),
        anchor(id)
    );
}

fn anchor(id: &str) -> String {
    format!(
        " <a class=\"anchor\" href=\"#{}\" aria-label=\"Link to this place\">#</a>",
        escape(id)
    )
}

fn render_operation(out: &mut String, document: &Value, operation: &Operation<'_>) {
    let about = operation.about;
    push!(
        out,
        "<article id=\"{}\"><h3><b class=\"{}\">{}</b> <code>{}</code>{}</h3><p><strong>{}</strong> ",
        escape(operation.id()),
        operation.method,
        operation.method.to_uppercase(),
        escape(operation.path),
        anchor(operation.id()),
        inline(text(&about["summary"]))
    );
    match about["security"][0]["key"][0].as_str() {
        Some(scope) => push!(
            out,
            "<small>Needs scope <code>{}</code>.</small></p>",
            escape(scope)
        ),
        None => out.push_str("<small>Needs no key.</small></p>"),
    }
    if let Some(description) = about["description"].as_str() {
        out.push_str(&paragraphs(description));
    }
    render_parameters(out, &about["parameters"]);
    render_body(out, document, &about["requestBody"]);
    render_answers(out, document, &about["responses"]);
    out.push_str("</article>");
}

fn render_parameters(out: &mut String, parameters: &Value) {
    let Some(parameters) = parameters.as_array().filter(|list| !list.is_empty()) else {
        return;
    };
    out.push_str("<table><caption>Parameters</caption><tbody>");
    for parameter in parameters {
        push!(
            out,
            "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(text(&parameter["name"])),
            escape(text(&parameter["in"])),
            type_of(&parameter["schema"]),
            inline(text(&parameter["description"]))
        );
    }
    out.push_str("</tbody></table>");
}

fn render_body(out: &mut String, document: &Value, body: &Value) {
    let Some(content) = body["content"].as_object() else {
        return;
    };
    out.push_str("<h4>Body</h4>");
    if let Some(description) = body["description"].as_str() {
        push!(out, "<p>{}.</p>", inline(description));
    }
    out.push_str("<p>");
    for (kind, body) in content {
        push!(
            out,
            "<code>{}</code> {}<br>",
            escape(kind),
            type_of(&body["schema"])
        );
    }
    out.push_str("</p>");
    let mut shown = Vec::new();
    for body in content.values() {
        let members = members(document, &body["schema"]);
        if !shown.contains(&members) {
            out.push_str(&members);
            shown.push(members);
        }
    }
}

fn render_answers(out: &mut String, document: &Value, responses: &Value) {
    out.push_str("<table><caption>Answers</caption><tbody>");
    let (mut problems, mut bodies) = (Vec::new(), Vec::new());
    for (status, response) in responses.as_object().into_iter().flatten() {
        if response["$ref"].is_string() {
            problems.push(status.as_str());
            continue;
        }
        let content = response["content"].as_object();
        let schema = content.and_then(|content| Some(&content.values().next()?["schema"]));
        push!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
            escape(status),
            inline(text(&response["description"])),
            schema.map(type_of).unwrap_or_default()
        );
        bodies.extend(schema.filter(|schema| !bodies.contains(schema)));
    }
    push!(
        out,
        "<tr><th scope=\"row\">{}</th><td>A problem document</td><td>{}</td></tr></tbody></table>",
        escape(&problems.join(", ")),
        schema::link("Problem")
    );
    for schema in bodies {
        out.push_str(&members(document, schema));
    }
}

fn render_kinds(out: &mut String, kinds: &[TargetKindView]) {
    section(out, "kinds", "Kinds of targets");
    out.push_str(
        "<p>What stands in <code>settings</code> of a target depends on its <code>type</code>.</p>",
    );
    for kind in kinds {
        let id = format!("kind-{}", kind.name);
        push!(
            out,
            "<article id=\"{}\"><h3><code>{}</code>{}</h3><p>{}</p>",
            escape(&id),
            escape(&kind.name),
            anchor(&id),
            inline(kind.about.get("en").copied().unwrap_or_default())
        );
        out.push_str(&schema::of_kind(&kind.name, &kind.schema));
        let example = serde_json::to_string_pretty(&kind.example).unwrap_or_default();
        push!(
            out,
            "<h4>Example</h4><pre><code>{}</code></pre></article>",
            escape(&example)
        );
    }
    out.push_str("</section>");
}

fn render_problems(out: &mut String) {
    section(out, "problems", "Problems");
    out.push_str("<p>What <code>code</code> says, and what to do about it.</p><table><tbody>");
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

fn render_schemas(out: &mut String, document: &Value) {
    section(out, "schemas", "Schemas");
    let schemas = document["components"]["schemas"].as_object();
    for (name, schema) in schemas.into_iter().flatten() {
        // A page of a list is shown where it is answered.
        if name.starts_with("Listing_") {
            continue;
        }
        push!(
            out,
            "<article id=\"schema-{0}\"><h3><code>{0}</code>{1}</h3>",
            escape(name),
            anchor(&format!("schema-{name}"))
        );
        out.push_str(&paragraphs(text(&schema["description"])));
        out.push_str(&schema::table(schema));
        out.push_str("</article>");
    }
    out.push_str("</section>");
}
