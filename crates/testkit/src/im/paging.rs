//! `PagerDuty` and Opsgenie.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::{Im, Pass, Said, Service, Window, answer, is_json, path, query, text};
use crate::sink::{Received, Reply};

impl Im {
    /// The Events API v2 of `PagerDuty`, with one service: 120 events a minute.
    pub async fn pagerduty(routing_key: &str) -> Result<Self> {
        let service = PagerDuty {
            routing_key: routing_key.to_owned(),
            open: HashMap::new(),
        };
        let windows = vec![Window::new(120, Duration::from_mins(1))];
        Self::start("", service, windows).await
    }

    /// The alert API of Opsgenie, with one integration.
    pub async fn opsgenie(api_key: &str) -> Result<Self> {
        let integration = Opsgenie {
            api_key: api_key.to_owned(),
        };
        let windows = vec![Window::new(100, Duration::from_mins(1))];
        Self::start("", integration, windows).await
    }
}

struct PagerDuty {
    routing_key: String,
    /// Whether an incident is open.
    open: HashMap<String, bool>,
}

impl Service for PagerDuty {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        let invalid = |why: &str| {
            let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [why] });
            Said::Refused("400".to_owned(), answer(400, &body))
        };
        if request.path != "/v2/enqueue" || request.method != Method::POST {
            return Said::Refused("404".to_owned(), Reply::status(404));
        }
        if request.body.len() > 512_000 {
            return Said::Refused("413".to_owned(), Reply::status(413));
        }
        if !is_json(request) || !body.is_object() {
            return invalid("not JSON");
        }
        if text(body, "/routing_key") != self.routing_key {
            return invalid("Invalid routing key");
        }
        let key = text(body, "/dedup_key");
        if key.chars().count() > 255 {
            return invalid("'dedup_key' is longer than 255 characters");
        }
        match text(body, "/event_action") {
            "trigger" => {
                let severities = ["critical", "error", "warning", "info"];
                let summary = text(body, "/payload/summary");
                if summary.is_empty() || summary.chars().count() > 1024 {
                    return invalid("'payload.summary' is missing, blank or too long");
                }
                if text(body, "/payload/source").is_empty() {
                    return invalid("'payload.source' is missing or blank");
                }
                if !severities.contains(&text(body, "/payload/severity")) {
                    return invalid("'payload.severity' is invalid");
                }
            }
            "resolve" | "acknowledge" if !key.is_empty() => {}
            _ => return invalid("'event_action' is invalid"),
        }
        if !pass.in_time() {
            return Said::Refused("429".to_owned(), Reply::retry_after(429, 30));
        }
        let open = text(body, "/event_action") == "trigger";
        self.open.insert(key.to_owned(), open);
        let body = json!({ "status": "success", "message": "Event processed", "dedup_key": key });
        Said::Taken(answer(202, &body))
    }
}

struct Opsgenie {
    api_key: String,
}

impl Service for Opsgenie {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        let says = |status: u16, words: &str| {
            let body = json!({ "message": words, "took": 0.001, "requestId": "r-0" });
            Said::Refused(status.to_string(), answer(status, &body))
        };
        if request.header("authorization") != Some(&format!("GenieKey {}", self.api_key)) {
            return says(401, "Could not authenticate");
        }
        let closes = path(request).starts_with("/v2/alerts/") && path(request).ends_with("/close");
        if closes {
            if query(request, "identifierType").as_deref() != Some("alias") {
                return says(422, "Request body is not processable");
            }
        } else if path(request) != "/v2/alerts" {
            return says(404, "Not found");
        } else {
            let message = text(body, "/message").chars().count();
            let fits = (1..=130).contains(&message)
                && text(body, "/alias").chars().count() <= 512
                && text(body, "/entity").chars().count() <= 512
                && text(body, "/description").chars().count() <= 15_000
                && ["P1", "P2", "P3", "P4", "P5"].contains(&text(body, "/priority"));
            if !fits || !is_json(request) {
                return says(422, "Request body is not processable");
            }
        }
        if !pass.in_time() {
            return says(429, "You are making too many requests!");
        }
        let body =
            json!({ "result": "Request will be processed", "took": 0.1, "requestId": "r-1" });
        Said::Taken(answer(202, &body))
    }
}
