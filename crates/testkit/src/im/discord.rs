//! Discord: a webhook of a channel.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::{
    Im, Pass, Said, Service, Window, answer, between, forbidden_mention, is_json, path, query,
    text, texts,
};
use crate::sink::Received;

impl Im {
    /// A webhook: 5 requests in two seconds, 30 a minute.
    pub async fn discord() -> Result<Self> {
        let path = "/api/webhooks/1234567890123456789/aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE9f";
        let windows = vec![
            Window::new(30, Duration::from_mins(1)),
            Window::new(5, Duration::from_secs(2)),
        ];
        let webhook = Discord {
            path,
            messages: HashSet::new(),
        };
        Self::start(path, webhook, windows).await
    }
}

struct Discord {
    path: &'static str,
    messages: HashSet<String>,
}

impl Service for Discord {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        let says = |status: u16, code: i64, words: &str| {
            let body = json!({ "code": code, "message": words, "errors": {} });
            Said::Refused(code.to_string(), answer(status, &body))
        };
        let Some(below) = path(request).strip_prefix(self.path) else {
            return says(404, 10_015, "Unknown Webhook");
        };
        if !is_json(request) || !body.is_object() {
            return says(400, 50_109, "The request body contains invalid JSON.");
        }
        let changed = below.strip_prefix("/messages/");
        match (&request.method, changed) {
            (&Method::POST, None) if below.is_empty() => {}
            (&Method::PATCH, Some(id)) if self.messages.contains(id) => {}
            (&Method::PATCH, Some(_)) => return says(404, 10_008, "Unknown Message"),
            _ => return says(405, 0, "405: Method Not Allowed"),
        }
        if !fits(body) {
            return says(400, 50_035, "Invalid Form Body");
        }
        let embeds = body["embeds"].as_array().is_some_and(|all| !all.is_empty());
        if text(body, "/content").is_empty() && !embeds {
            return says(400, 50_006, "Cannot send an empty message");
        }
        // Without it, every text pings whom it names.
        let Some(parse) = body
            .pointer("/allowed_mentions/parse")
            .and_then(Value::as_array)
        else {
            return forbidden_mention();
        };
        let parsed = parse.iter().filter_map(Value::as_str);
        let named =
            texts(body, "/allowed_mentions/users").chain(texts(body, "/allowed_mentions/roles"));
        let content = text(body, "/content");
        let called = between(content, "<@", ">").into_iter();
        let called = called.map(|who| who.trim_start_matches('&'));
        if !pass.may_call(parsed.chain(named).chain(called)) {
            return forbidden_mention();
        }
        if !pass.in_time() {
            let body = json!({ "message": "You are being rate limited.", "retry_after": 0.65, "global": false });
            return Said::Refused("429".to_owned(), answer(429, &body));
        }
        let id = changed.map_or_else(
            || format!("{}", 1_100_000_000_000_000_001 + self.messages.len()),
            str::to_owned,
        );
        self.messages.insert(id.clone());
        if query(request, "wait").as_deref() == Some("true") || changed.is_some() {
            return Said::Taken(answer(200, &json!({ "id": id, "type": 0 })));
        }
        Said::Taken(crate::sink::Reply::status(204))
    }
}

fn fits(body: &Value) -> bool {
    let chars = |text: &str| text.chars().count();
    if chars(text(body, "/content")) > 2000 {
        return false;
    }
    let embeds: &[Value] = body["embeds"].as_array().map_or(&[], Vec::as_slice);
    let mut all = 0;
    for embed in embeds {
        let (title, description) = (text(embed, "/title"), text(embed, "/description"));
        let footer = text(embed, "/footer/text");
        if chars(title) > 256 || chars(description) > 4096 || chars(footer) > 2048 {
            return false;
        }
        all += chars(title) + chars(description) + chars(footer);
        let fields: &[Value] = embed["fields"].as_array().map_or(&[], Vec::as_slice);
        if fields.len() > 25 {
            return false;
        }
        for field in fields {
            let (name, value) = (chars(text(field, "/name")), chars(text(field, "/value")));
            if !(1..=256).contains(&name) || !(1..=1024).contains(&value) {
                return false;
            }
            all += name + value;
        }
    }
    embeds.len() <= 10 && all <= 6000
}
