//! ntfy, Gotify, Bark.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Im, Pass, Said, Service, Window, answer, is_json, path, text};
use crate::sink::Received;

impl Im {
    /// An ntfy server with one protected topic.
    pub async fn ntfy(topic: &str, token: &str) -> Result<Self> {
        let server = Ntfy {
            topic: topic.to_owned(),
            token: token.to_owned(),
        };
        let windows = vec![Window::new(60, Duration::from_mins(1))];
        Self::start("", server, windows).await
    }

    /// A Gotify server with one application.
    pub async fn gotify(token: &str) -> Result<Self> {
        let server = Gotify {
            token: token.to_owned(),
        };
        Self::start("", server, Vec::new()).await
    }

    /// A Bark server with one phone.
    pub async fn bark(device_key: &str) -> Result<Self> {
        let server = Bark {
            device_key: device_key.to_owned(),
        };
        Self::start("", server, Vec::new()).await
    }
}

struct Ntfy {
    topic: String,
    token: String,
}

impl Service for Ntfy {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        let says = |code: i64, words: &str| {
            let status = u16::try_from(code / 100).unwrap_or(500);
            let body = json!({ "code": code, "http": status, "error": words });
            Said::Refused(code.to_string(), answer(status, &body))
        };
        if path(request) != "/" || !body.is_object() {
            return says(40_017, "invalid request: request body must be message JSON");
        }
        if text(body, "/topic") != self.topic
            || request.header("authorization") != Some(&format!("Bearer {}", self.token))
        {
            return says(40_301, "forbidden");
        }
        let priority = body["priority"].as_u64().unwrap_or(3);
        if !(1..=5).contains(&priority) {
            return says(40_007, "invalid priority parameter");
        }
        if body["actions"].as_array().is_some_and(|all| all.len() > 3) {
            return says(40_018, "invalid request: actions invalid");
        }
        if text(body, "/message").len() > 4096 {
            return says(41_301, "attachment too large, or bandwidth limit reached");
        }
        if !pass.in_time() {
            return says(42_901, "limit reached: too many requests");
        }
        Said::Taken(answer(
            200,
            &json!({ "id": "sPs71M8A2T", "event": "message" }),
        ))
    }
}

struct Gotify {
    token: String,
}

impl Service for Gotify {
    fn answer(&mut self, request: &Received, body: &Value, _: &mut Pass) -> Said {
        let says = |status: u16, error: &str, words: &str| {
            let body = json!({ "error": error, "errorCode": status, "errorDescription": words });
            Said::Refused(status.to_string(), answer(status, &body))
        };
        if request.header("x-gotify-key") != Some(&self.token) {
            let words =
                "you need to provide a valid access token or user credentials to access this api";
            return says(401, "Unauthorized", words);
        }
        if path(request) != "/message" {
            return says(404, "Not Found", "page not found");
        }
        if !is_json(request) || text(body, "/message").is_empty() {
            return says(400, "Bad Request", "Field 'message' is required");
        }
        Said::Taken(answer(200, &json!({ "id": 25, "appid": 5 })))
    }
}

struct Bark {
    device_key: String,
}

impl Service for Bark {
    fn answer(&mut self, request: &Received, body: &Value, _: &mut Pass) -> Said {
        let says = |code: u16, words: &str| {
            let body = json!({ "code": code, "message": words, "timestamp": 1_700_000_000 });
            Said::Refused(code.to_string(), answer(code, &body))
        };
        if path(request) != "/push" || !is_json(request) {
            return says(404, "Cannot POST");
        }
        if text(body, "/device_key") != self.device_key {
            return says(
                400,
                "failed to get device token: failed to get [x] device token from database",
            );
        }
        let levels = ["critical", "active", "timeSensitive", "passive"];
        if text(body, "/body").is_empty() || !levels.contains(&text(body, "/level")) {
            return says(400, "request bind failed");
        }
        if request.body.len() > 4096 {
            return says(413, "push failed: PayloadTooLarge");
        }
        let body = json!({ "code": 200, "message": "success", "timestamp": 1_700_000_000 });
        Said::Taken(answer(200, &body))
    }
}
