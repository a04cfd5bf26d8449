//! The kind `pagerduty`: alarms trigger and resolve incidents through the Events API v2.
//!
//! `POST /v2/enqueue`. The alarm's key is the `dedup_key`, so that repeats and a request that is sent twice add nothing.
//! 120 events a minute for each routing key.

use std::time::Duration;

use belfry_alarm::AlarmState;
use belfry_egress::Url;
use belfry_model::event::timestamp;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::message::Message;
use crate::message::cut::{Unit, cut_text};
use crate::message::escape::one_line;
use crate::messenger::{
    About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, below, code,
};
use crate::secret::Secret;
use crate::target::ChannelLimit;

/// Most bytes of the whole body.
const BODY_BYTES_MAX: usize = 512_000;
/// Most characters of the summary.
const SUMMARY_CHARS_MAX: usize = 1024;

/// Settings of a `PagerDuty` service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PagerDutySettings {
    /// The integration key of the service (Events API v2).
    routing_key: Secret,
    /// Where `PagerDuty` listens. Absent: `https://events.pagerduty.com`; in the EU `https://events.eu.pagerduty.com`.
    base_url: Option<String>,
}

/// A service.
pub(crate) struct PagerDuty {
    base: Url,
    routing_key: String,
}

static CODES: &[Code] = &[
    code(
        "400",
        Class::Permanent,
        "the event is not accepted",
        "事件不合法",
    ),
    code(
        "400 key",
        Class::Misconfigured,
        "the routing key is wrong",
        "routing key 错误",
    ),
    code(
        "401",
        Class::Misconfigured,
        "the routing key is wrong",
        "routing key 错误",
    ),
    code(
        "403",
        Class::Misconfigured,
        "the routing key may not be used",
        "routing key 无权限",
    ),
    code(
        "404",
        Class::Misconfigured,
        "nothing listens at this address",
        "地址错误",
    ),
    code(
        "413",
        Class::TooLarge,
        "larger than 512 KB",
        "事件超过 512 KB",
    ),
    code(
        "429",
        Class::Throttled(10_000),
        "more than 120 events a minute",
        "超过每分钟 120 个事件",
    ),
];

impl Messenger for PagerDuty {
    type Settings = PagerDutySettings;
    const ABOUT: About = About {
        name: "pagerduty",
        title: ("PagerDuty", "PagerDuty"),
        about: (
            "Triggers an incident when an alarm fires, and resolves it when the alarm has recovered.",
            "告警触发时创建 PagerDuty 事件，恢复时自动关闭。",
        ),
        vendor: "PagerDuty",
        secrets: &["routingKey"],
        signing: &[],
        base: "https://events.pagerduty.com",
    };
    const ESCAPE: Escape = Escape::None;
    const FOLDS: bool = false;
    const REPEATABLE: bool = true;

    fn example() -> Value {
        json!({ "routingKey": "0123456789abcdef0123456789abcdef" })
    }

    fn new(settings: PagerDutySettings, check: &mut Check<'_>) -> Option<Self> {
        check.token(
            "/routingKey",
            &settings.routing_key,
            "expected the integration key, 32 characters",
        );
        let base = check.base(settings.base_url.as_deref(), Self::ABOUT.base)?;
        Some(Self {
            base,
            routing_key: settings.routing_key.expose().to_owned(),
        })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        let limit = ChannelLimit {
            permits: 100,
            per: Duration::from_mins(1),
            burst: 10,
        };
        Some((format!("{}\n{}", self.base, self.routing_key), limit))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        if ask.alarm.state == AlarmState::Recovered {
            return json!({ "event_action": "resolve", "dedup_key": ask.alarm_key() });
        }
        let message =
            ask.fitted(|message| trigger(ask, message).to_string().len() <= BODY_BYTES_MAX);
        trigger(ask, &message)
    }

    fn request(&self, _: &Ask<'_>, body: &mut Value) -> Outgoing {
        if let Some(body) = body.as_object_mut() {
            body.insert("routing_key".to_owned(), json!(self.routing_key));
        }
        Outgoing::post(below(&self.base, "/v2/enqueue"))
    }

    fn judge(&self, _: &Ask<'_>, answer: &Answer<'_>) -> Said {
        if answer.is_success() {
            return match answer.word("/status") {
                Some("success") => Said::Taken { thread: None },
                _ => Said::Unclear,
            };
        }
        let errors = answer.json.get("errors").and_then(Value::as_array);
        let errors: Vec<&str> = errors
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let words = match (errors.as_slice(), answer.word("/message")) {
            ([], message) => message.unwrap_or_default().to_owned(),
            (errors, _) => errors.join(", "),
        };
        match answer.status {
            400 if words.to_lowercase().contains("routing key")
                || words.contains("routing_key") =>
            {
                Said::refused(CODES, "400 key", &words).shown_as(400)
            }
            429 => Said::refused(CODES, "429", &words).wait(answer.retry_after_ms()),
            status @ (400 | 401 | 403 | 404 | 413) => {
                Said::refused(CODES, status.to_string(), &words)
            }
            _ => Said::Unclear,
        }
    }
}

fn trigger(ask: &Ask<'_>, message: &Message) -> Value {
    let alarm = ask.alarm;
    let mut details: Map<String, Value> = message
        .told()
        .iter()
        .map(|fact| (fact.label.to_owned(), json!(fact.plain())))
        .collect();
    if let Some(text) = &message.text {
        details.insert("text".to_owned(), json!(text));
    }
    if let Some(footer) = &message.footer {
        details.insert("belfry".to_owned(), json!(footer));
    }
    let links: Vec<Value> = message
        .links
        .iter()
        .map(|link| json!({ "href": link.url, "text": link.label }))
        .collect();
    let source = [alarm.subject.as_deref(), Some(alarm.source.as_str())];
    let source = source.into_iter().flatten().map(one_line);
    let source = source.into_iter().find(|source| !source.is_empty());
    let source = source.unwrap_or_else(|| "-".to_owned());
    let mut body = json!({
        "event_action": "trigger",
        "dedup_key": ask.alarm_key(),
        "client": "Belfry",
        "links": links,
        "payload": {
            "summary": cut_text(&ask.headline(message), SUMMARY_CHARS_MAX, Unit::Chars, message.cut_marker()),
            "source": cut_text(&source, SUMMARY_CHARS_MAX, Unit::Chars, "…"),
            "severity": message.look.style().pagerduty,
            "timestamp": timestamp(message.at_ms),
            "component": alarm.product(),
            "group": alarm.region.as_deref().unwrap_or_default(),
            "class": alarm.kind,
            "custom_details": details,
        },
    });
    if let Some(link) = ask.job.link {
        body["client_url"] = json!(link);
    }
    body
}
