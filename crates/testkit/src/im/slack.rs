//! Slack: an incoming webhook, and the Web API.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Im, Pass, Said, Service, Window, answer, between, forbidden_mention, is_json, path, text,
};
use crate::sink::{Received, Reply};

/// About one a second, with short bursts.
fn windows() -> Vec<Window> {
    vec![
        Window::new(60, Duration::from_mins(1)),
        Window::new(5, Duration::from_secs(2)),
    ]
}

impl Im {
    /// An incoming webhook of Slack.
    pub async fn slack_webhook() -> Result<Self> {
        let path = "/services/T00000000/B00000000/abcd1234efgh5678ijkl9012";
        Self::start(path, Webhook { path }, windows()).await
    }

    /// The Web API of Slack, with one bot in one channel.
    pub async fn slack_api(token: &str, channel: &str) -> Result<Self> {
        let api = Api {
            token: token.to_owned(),
            channel: channel.to_owned(),
            messages: BTreeMap::new(),
        };
        Self::start("", api, windows()).await
    }
}

/// What is wrong with a message, in Slack's word.
fn fault(body: &Value) -> Option<&'static str> {
    let long = |text: &str, max: usize| text.chars().count() > max;
    if text(body, "/text").is_empty() {
        return Some("no_text");
    }
    if long(text(body, "/text"), 40_000) {
        return Some("msg_too_long");
    }
    let attachments = body["attachments"].as_array();
    for attachment in attachments.into_iter().flatten() {
        let blocks = attachment["blocks"].as_array();
        if blocks.is_some_and(|blocks| blocks.len() > 50) {
            return Some("invalid_blocks");
        }
        for block in blocks.into_iter().flatten() {
            let fields = block["fields"].as_array();
            let good = match text(block, "/type") {
                "header" => !long(text(block, "/text/text"), 150),
                "section" => {
                    let fields_fit = fields.is_none_or(|fields| {
                        (1..=10).contains(&fields.len())
                            && fields.iter().all(|field| {
                                let said = text(field, "/text");
                                !said.is_empty() && !long(said, 2000)
                            })
                    });
                    let said = text(block, "/text/text");
                    fields_fit && (fields.is_some() || !said.is_empty()) && !long(said, 3000)
                }
                "actions" => block["elements"].as_array().is_some_and(|all| {
                    (1..=25).contains(&all.len())
                        && all.iter().all(|button| {
                            let said = text(button, "/text/text");
                            !said.is_empty()
                                && !long(said, 75)
                                && text(button, "/text/type") == "plain_text"
                        })
                }),
                "context" => block["elements"]
                    .as_array()
                    .is_some_and(|all| (1..=10).contains(&all.len())),
                "divider" => true,
                _ => false,
            };
            if !good {
                return Some("invalid_blocks");
            }
        }
    }
    None
}

/// The texts that Slack parses; a `plain_text` is none.
fn marked<'b>(value: &'b Value, found: &mut Vec<&'b str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| marked(item, found)),
        Value::Object(members) => {
            if text(value, "/type") == "mrkdwn" {
                found.push(text(value, "/text"));
            }
            members.values().for_each(|member| marked(member, found));
        }
        _ => {}
    }
}

/// Everybody that `<...>` in a text calls. The fallback of an attachment is plain.
fn called(body: &Value) -> Vec<&str> {
    let mut said = vec![text(body, "/text")];
    marked(body, &mut said);
    let mut called = Vec::new();
    for said in said {
        for who in between(said, "<", ">") {
            // Links and dates call nobody.
            if let Some(who) = who.strip_prefix('!').or_else(|| who.strip_prefix('@')) {
                called.push(who.trim_start_matches("subteam^"));
            }
        }
    }
    called
}

struct Webhook {
    path: &'static str,
}

impl Service for Webhook {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        let says = |status: u16, word: &str| {
            let reply = Reply::Answer {
                status,
                headers: Vec::new(),
                body: word.to_owned(),
            };
            Said::Refused(word.to_owned(), reply)
        };
        if request.path != self.path {
            return says(404, "no_service");
        }
        if !is_json(request) || !body.is_object() {
            return says(400, "invalid_payload");
        }
        if let Some(word) = fault(body) {
            return says(400, word);
        }
        if !pass.may_call(called(body)) {
            return forbidden_mention();
        }
        if !pass.in_time() {
            return Said::Refused("429".to_owned(), Reply::retry_after(429, 1));
        }
        Said::Taken(Reply::Answer {
            status: 200,
            headers: Vec::new(),
            body: "ok".to_owned(),
        })
    }
}

struct Api {
    token: String,
    channel: String,
    messages: BTreeMap<String, Value>,
}

impl Service for Api {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        let says = |word: &str| {
            let body = json!({ "ok": false, "error": word });
            Said::Refused(word.to_owned(), answer(200, &body))
        };
        if request.header("authorization") != Some(&format!("Bearer {}", self.token)) {
            return says("invalid_auth");
        }
        if !is_json(request) || !body.is_object() {
            return says("invalid_payload");
        }
        if text(body, "/channel") != self.channel {
            return says("channel_not_found");
        }
        if let Some(word) = fault(body) {
            return says(word);
        }
        if !pass.may_call(called(body)) {
            return forbidden_mention();
        }
        if !pass.in_time() {
            let reply = Reply::Answer {
                status: 429,
                headers: vec![("retry-after".to_owned(), "1".to_owned())],
                body: json!({ "ok": false, "error": "ratelimited" }).to_string(),
            };
            return Said::Refused("ratelimited".to_owned(), reply);
        }
        let ts = match path(request) {
            "/api/chat.postMessage" => {
                let thread = text(body, "/thread_ts");
                if !thread.is_empty() && !self.messages.contains_key(thread) {
                    return says("thread_not_found");
                }
                format!("1700000000.{:06}", self.messages.len() + 1)
            }
            "/api/chat.update" => {
                let ts = text(body, "/ts").to_owned();
                if !self.messages.contains_key(&ts) {
                    return says("message_not_found");
                }
                ts
            }
            _ => return says("unknown_method"),
        };
        self.messages.insert(ts.clone(), body.clone());
        let body = json!({ "ok": true, "channel": self.channel, "ts": ts });
        Said::Taken(answer(200, &body))
    }
}
