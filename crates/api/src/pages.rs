//! Pages for people: documentation rendered from the API document, problem types, a welcome.
//!
//! Everything is in the binary; the pages load nothing but their own style sheet and run no script.

mod docs;
mod html;

use std::sync::Arc;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use belfry_app::config::target_kinds;
use bytes::Bytes;
use serde_json::Value;

use crate::problem::ProblemType;
use html::{escape, inline, simple_page};

/// The style of all pages, light and dark.
pub(crate) const STYLE: &str = include_str!("pages/style.css");

const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Pages that never change while the program runs.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The API document.
    pub(crate) openapi: Bytes,
    /// `/docs`
    pub(crate) docs: Arc<str>,
    /// `/`
    pub(crate) welcome: Arc<str>,
}

impl Pages {
    pub(crate) fn new(document: &Value) -> Self {
        Self {
            openapi: Bytes::from(document.to_string()),
            docs: docs::render(document, &target_kinds()).into(),
            welcome: welcome(document["info"]["version"].as_str().unwrap_or_default()).into(),
        }
    }
}

/// A page as an answer.
#[derive(Debug)]
pub(crate) struct Page(pub(crate) Arc<str>);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, POLICY),
        ];
        (headers, self.0.to_string()).into_response()
    }
}

fn welcome(version: &str) -> String {
    let body = format!(
        "<h1>Belfry</h1><p>This is a self-hosted event bus, version {}. It takes events over HTTP, makes them durable, matches \
         them against patterns and delivers them to targets.</p>\
         <ul><li><a href=\"/docs\">How to talk to it</a></li><li><a href=\"/openapi.json\">The same for programs (OpenAPI)</a></li>\
         <li><a href=\"/readyz\">Whether it is ready</a></li></ul>\
         <h2>A first event</h2><pre><code>curl -sS -H 'Authorization: Bearer bfy_...' -H 'Content-Type: application/json' \\\n     \
         -d '{{\"source\":\"/me\",\"type\":\"hello\",\"data\":{{\"n\":1}}}}' \\\n     http://.../v1/buses/default/events</code></pre>",
        escape(version)
    );
    simple_page("Belfry", &body)
}

/// The page of a type of problem.
pub(crate) fn problem_page(kind: &ProblemType) -> String {
    let body = format!(
        "<p><a href=\"/docs\">Documentation</a></p><h1>{}</h1><p><code>{}</code> · HTTP {}</p><p>{}</p>",
        escape(kind.title),
        escape(kind.code),
        kind.status,
        inline(kind.about)
    );
    simple_page(kind.title, &body)
}
