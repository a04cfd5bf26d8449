//! The kind `opsgenie`: alarms create and close alerts.
//!
//! `POST /v2/alerts` and `/v2/alerts/{alias}/close`; the alias is the alarm's key, so that repeats only count.

use std::time::Duration;

use belfry_alarm::AlarmState;
use belfry_egress::Url;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::message::Message;
use crate::message::cut::{Unit, cut_text};
use crate::message::markup::{Plain, write_body};
use crate::messenger::{
    About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, below, code,
};
use crate::secret::Secret;
use crate::target::ChannelLimit;

/// Most characters of the message and of the description.
const MESSAGE_CHARS_MAX: usize = 130;
const DESCRIPTION_CHARS_MAX: usize = 15_000;

/// Settings of an Opsgenie integration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OpsgenieSettings {
    /// The key of an API integration.
    api_key: Secret,
    /// Names of the teams that are to respond.
    #[serde(default)]
    teams: Vec<String>,
    /// Where Opsgenie listens. Absent: `https://api.opsgenie.com`; in the EU `https://api.eu.opsgenie.com`.
    base_url: Option<String>,
}

/// An integration.
pub(crate) struct Opsgenie {
    base: Url,
    settings: OpsgenieSettings,
}

static CODES: &[Code] = &[
    code(
        "400",
        Class::Permanent,
        "the alert is not accepted",
        "请求不合法",
    ),
    code(
        "401",
        Class::Misconfigured,
        "the key is wrong",
        "API key 错误",
    ),
    code(
        "403",
        Class::Misconfigured,
        "the key may not create alerts",
        "API key 无权限",
    ),
    code(
        "404",
        Class::Misconfigured,
        "nothing listens at this address",
        "地址错误",
    ),
    code(
        "422",
        Class::Permanent,
        "the alert is not accepted",
        "告警内容不合法",
    ),
    code(
        "429",
        Class::Throttled(10_000),
        "too many alerts",
        "发送过快",
    ),
];

impl Messenger for Opsgenie {
    type Settings = OpsgenieSettings;
    const ABOUT: About = About {
        name: "opsgenie",
        title: ("Opsgenie", "Opsgenie"),
        about: (
            "Creates an alert when an alarm fires, and closes it when the alarm has recovered.",
            "告警触发时创建 Opsgenie 告警，恢复时自动关闭。",
        ),
        vendor: "Opsgenie",
        secrets: &["apiKey"],
        signing: &[],
        base: "https://api.opsgenie.com",
    };
    const ESCAPE: Escape = Escape::None;
    const FOLDS: bool = false;
    const REPEATABLE: bool = true;

    fn example() -> Value {
        json!({ "apiKey": "eb243592-faa2-4ba2-a551-1afdf565c889", "teams": ["ops"] })
    }

    fn new(settings: OpsgenieSettings, check: &mut Check<'_>) -> Option<Self> {
        check.token(
            "/apiKey",
            &settings.api_key,
            "expected the key of an API integration",
        );
        let is_name = |name: &str| !name.is_empty() && !name.chars().any(char::is_control);
        check.mentions(
            "/teams",
            &settings.teams,
            "expected the name of a team",
            is_name,
        );
        let base = check.base(settings.base_url.as_deref(), Self::ABOUT.base)?;
        Some(Self { base, settings })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        let limit = ChannelLimit {
            permits: 60,
            per: Duration::from_mins(1),
            burst: 10,
        };
        Some((
            format!("{}\n{}", self.base, self.settings.api_key.expose()),
            limit,
        ))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        if ask.alarm.state == AlarmState::Recovered {
            return json!({
                "source": "Belfry",
                "note": cut_text(&ask.message.title(), DESCRIPTION_CHARS_MAX, Unit::Chars, "…"),
            });
        }
        let chars = |message: &Message| Unit::Chars.count(&write_body(message, &Plain));
        let message = ask.fitted(|message| chars(message) <= DESCRIPTION_CHARS_MAX);
        let alarm = ask.alarm;
        let details: Map<String, Value> = [
            ("type", Some(alarm.kind.as_str())),
            ("source", Some(alarm.source.as_str())),
            ("region", alarm.region.as_deref()),
            ("account", alarm.account.as_deref()),
            ("link", ask.job.link),
        ]
        .into_iter()
        .filter_map(|(name, value)| {
            Some((
                name.to_owned(),
                json!(cut_text(value?, 1000, Unit::Chars, "…")),
            ))
        })
        .collect();
        let mut body = json!({
            "message": cut_text(&ask.headline(&message), MESSAGE_CHARS_MAX, Unit::Chars, "…"),
            "alias": ask.alarm_key(),
            "description": write_body(&message, &Plain),
            "priority": message.look.style().opsgenie,
            "source": "Belfry",
            "entity": cut_text(alarm.subject.as_deref().unwrap_or_default(), 500, Unit::Chars, "…"),
            "tags": [alarm.severity.as_str()],
            "details": details,
        });
        if !self.settings.teams.is_empty() {
            let responders = self.settings.teams.iter();
            let responders: Vec<Value> = responders
                .map(|name| json!({ "type": "team", "name": name }))
                .collect();
            body["responders"] = json!(responders);
        }
        body
    }

    fn request(&self, ask: &Ask<'_>, _: &mut Value) -> Outgoing {
        let mut url = below(&self.base, "/v2/alerts");
        if ask.alarm.state == AlarmState::Recovered {
            if let Ok(mut path) = url.path_segments_mut() {
                path.push(&ask.alarm_key()).push("close");
            }
            url.query_pairs_mut().append_pair("identifierType", "alias");
        }
        let key = self.settings.api_key.expose();
        Outgoing {
            headers: vec![("authorization", format!("GenieKey {key}"))],
            ..Outgoing::post(url)
        }
    }

    fn judge(&self, _: &Ask<'_>, answer: &Answer<'_>) -> Said {
        if answer.is_success() {
            return match answer.word("/requestId") {
                Some(_) => Said::Taken { thread: None },
                None => Said::Unclear,
            };
        }
        let words = answer.word("/message").unwrap_or_default();
        match answer.status {
            429 => Said::refused(CODES, "429", words).wait(answer.retry_after_ms()),
            status @ (400 | 401 | 403 | 404 | 422) => {
                Said::refused(CODES, status.to_string(), words)
            }
            _ => Said::Unclear,
        }
    }
}
