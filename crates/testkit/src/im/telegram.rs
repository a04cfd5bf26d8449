//! Telegram: a bot in one chat.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Im, Pass, Said, Service, Window, answer, forbidden_mention, is_json, text};
use crate::sink::Received;

impl Im {
    /// A bot in one chat: 20 messages a minute if it is a group (its number is negative), else one a second.
    pub async fn telegram(token: &str, chat_id: i64) -> Result<Self> {
        let window = if chat_id < 0 {
            Window::new(20, Duration::from_mins(1))
        } else {
            Window::new(60, Duration::from_mins(1))
        };
        let bot = Telegram {
            token: token.to_owned(),
            chat_id,
            sent: 0,
        };
        Self::start("", bot, vec![window]).await
    }
}

struct Telegram {
    token: String,
    chat_id: i64,
    sent: i64,
}

impl Service for Telegram {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        let says = |number: u16, words: &str| {
            let body = json!({ "ok": false, "error_code": number, "description": words });
            Said::Refused(number.to_string(), answer(number, &body))
        };
        if request.path != format!("/bot{}/sendMessage", self.token) {
            return says(401, "Unauthorized");
        }
        if !is_json(request) {
            return says(400, "Bad Request: message text is empty");
        }
        if body["chat_id"] != json!(self.chat_id) {
            return says(400, "Bad Request: chat not found");
        }
        let html = body["parse_mode"] == "HTML";
        let said = text(body, "/text");
        let parsed = if html {
            parse(said)
        } else {
            Ok(said.to_owned())
        };
        let plain = match parsed {
            Ok(plain) => plain,
            Err(why) => return says(400, &format!("Bad Request: can't parse entities: {why}")),
        };
        if plain.trim().is_empty() {
            return says(400, "Bad Request: message text is empty");
        }
        if plain.encode_utf16().count() > 4096 {
            return says(400, "Bad Request: message is too long");
        }
        if !pass.may_call(called(&plain)) {
            return forbidden_mention();
        }
        if !pass.in_time() {
            let body = json!({
                "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 3",
                "parameters": { "retry_after": 3 },
            });
            return Said::Refused("429".to_owned(), answer(429, &body));
        }
        self.sent += 1;
        let body = json!({ "ok": true, "result": { "message_id": self.sent, "chat": { "id": self.chat_id } } });
        Said::Taken(answer(200, &body))
    }
}

/// The users whose names stand in a text, apart from addresses.
fn called(text: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let at = text.match_indices('@');
    at.filter(|(at, _)| !text[..*at].ends_with(is_name))
        .map(|(at, _)| {
            let rest = &text[at + 1..];
            &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())]
        })
        .filter(|name| name.len() >= 4)
        .collect()
}

/// The text of Telegram's HTML; strict about tags and entities.
fn parse(html: &str) -> Result<String, String> {
    const TAGS: [&str; 8] = ["b", "i", "u", "s", "code", "pre", "a", "blockquote"];
    let mut plain = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        match c {
            '<' => {
                let Some((tag, after)) = rest[1..].split_once('>') else {
                    return Err("unclosed start tag".to_owned());
                };
                if let Some(name) = tag.strip_prefix('/') {
                    if open.pop() != Some(name) {
                        return Err(format!("unexpected end tag {name}"));
                    }
                } else {
                    let name = tag.split(' ').next().unwrap_or_default();
                    if !TAGS.contains(&name) {
                        return Err(format!("unsupported start tag \"{name}\""));
                    }
                    open.push(name);
                }
                rest = after;
            }
            '&' => {
                let known = [
                    ("&lt;", '<'),
                    ("&gt;", '>'),
                    ("&amp;", '&'),
                    ("&quot;", '"'),
                    ("&#39;", '\''),
                ];
                match known.iter().find(|(entity, _)| rest.starts_with(entity)) {
                    Some((entity, c)) => {
                        plain.push(*c);
                        rest = &rest[entity.len()..];
                    }
                    None => return Err("an ampersand by itself".to_owned()),
                }
            }
            c => {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    if open.is_empty() {
        Ok(plain)
    } else {
        Err(format!("can't find end tag of {open:?}"))
    }
}
