//! The kind `http-gateway`: any provider of SMS, calls or messages that takes an HTTP request.
//!
//! | module | owns |
//! |---|---|
//! | `config` | the settings |
//! | `form` | the request, out of templates |
//! | `answer` | what the provider's answer means, by conditions of the operator's |

mod answer;
mod config;
mod form;

use std::time::Duration;

use belfry_egress::Url;
use belfry_model::json::pointer_to;
use belfry_transform::Escape;
use serde_json::{Value, json};

use crate::message::escape::LINE;
use crate::message::settings::Common;
use crate::messenger::{About, Answer, Ask, Check};
use crate::phone::{Call, Heard, Phone};
use crate::record::{sensitive_name, sensitive_parameter};
use crate::target::ChannelLimit;
use crate::webhook::holds_secret;

use answer::Meanings;
use config::GatewaySettings;
use form::Form;

/// Deepest member of a body that is looked at for secrets.
const DEPTH_MAX: usize = 8;

/// A gateway.
pub(crate) struct Gateway {
    url: Url,
    form: Form,
    meanings: Meanings,
    per_minute: u32,
}

impl Phone for Gateway {
    type Settings = GatewaySettings;
    const ABOUT: About = About {
        name: "http-gateway",
        title: ("HTTP gateway", "HTTP 网关"),
        about: (
            "Sends through any provider of SMS, calls or messages: you say what the request looks like and what its answers mean.",
            "对接任意短信、语音或消息服务商：由您定义请求内容以及应答的含义。",
        ),
        vendor: "the gateway",
        secrets: &[],
        signing: &[],
        base: "",
    };
    const ESCAPE: Escape = LINE;
    const NUMBERS_MAX: usize = 100;
    const NOBODY: bool = true;

    fn example() -> Value {
        json!({
            "url": "https://sms.example.com/v1/send",
            "headers": { "x-api-key": "key-of-the-provider" },
            "body": { "json": { "to": "${$.number}", "text": "${$.title}" } },
            "to": ["+8613800000000"],
            "answer": {
                "delivered": [{ "path": "$.code", "is": [0] }],
                "throttled": [{ "path": "$.code", "is": [4290] }],
                "misconfigured": [{ "status": [401, 403] }],
                "words": "$.message"
            }
        })
    }

    fn new(settings: GatewaySettings, check: &mut Check<'_>) -> Option<Self> {
        let url = check.url("/url", &settings.url);
        let meanings = Meanings::new(&settings.answer, check);
        let per_minute = settings.per_minute;
        check.need(
            (1..=6000).contains(&per_minute),
            "/perMinute",
            "expected 1 to 6000",
        );
        let form = Form::new(settings, check);
        Some(Self {
            url: url?,
            form: form?,
            meanings,
            per_minute,
        })
    }

    fn secret_pointers(settings: &Value) -> Vec<String> {
        let mut pointers = Vec::new();
        if settings
            .get("url")
            .and_then(Value::as_str)
            .is_some_and(holds_secret)
        {
            pointers.push("/url".to_owned());
        }
        for member in ["headers", "query"] {
            for (name, value) in settings
                .get(member)
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                if value.is_string() && (sensitive_name(name) || sensitive_parameter(name)) {
                    pointers.push(format!("/{member}{}", pointer_to(name)));
                }
            }
        }
        for member in ["form", "json"] {
            let at = format!("/body/{member}");
            if let Some(body) = settings.pointer(&at) {
                secrets_in(body, &at, 0, &mut pointers);
            }
        }
        pointers
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        // What is possible at once and what follows within the minute are the limit together.
        let burst = (self.per_minute / 6).max(1);
        let limit = ChannelLimit {
            permits: (self.per_minute - burst).max(1),
            per: Duration::from_mins(1),
            burst,
        };
        Some((self.url.to_string(), limit))
    }

    fn numbers_max(&self) -> usize {
        self.form.numbers_max()
    }

    fn call(&self, ask: &Ask<'_>, common: &Common, numbers: &[&str]) -> Result<Call, String> {
        self.form.call(&self.url, ask, common, numbers)
    }

    fn judge(&self, answer: &Answer<'_>, numbers: &[&str]) -> Heard {
        self.meanings.judge(answer, numbers)
    }
}

/// Members of a body that are named like secrets.
fn secrets_in(value: &Value, at: &str, depth: usize, pointers: &mut Vec<String>) {
    let Some(members) = value.as_object().filter(|_| depth < DEPTH_MAX) else {
        return;
    };
    for (name, value) in members {
        let at = format!("{at}{}", pointer_to(name));
        if value.is_string() && (sensitive_name(name) || sensitive_parameter(name)) {
            pointers.push(at);
        } else {
            secrets_in(value, &at, depth + 1, pointers);
        }
    }
}
