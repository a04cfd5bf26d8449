//! The kind `bark`: push messages to an iPhone through Bark or a Bark server of one's own.
//!
//! `POST /push`; the verdict is `code` in the body. The message's id is the alarm's key, so that repeats and the
//! recovery take the place of what is on the phone. Texts are plain.

use std::time::Duration;

use belfry_egress::Url;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::message::escape::LINE;
use crate::message::markup::{Plain, write_body};
use crate::message::{Look, Message};
use crate::messenger::{
    About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, below, code,
};
use crate::secret::Secret;
use crate::target::ChannelLimit;

/// Most bytes of the whole body: Apple takes 4096 of what Bark makes of it.
const BODY_BYTES_MAX: usize = 3584;

/// Settings of a phone with Bark.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BarkSettings {
    /// The phone's key, as the app shows it.
    device_key: Secret,
    /// Whether criticals ring for half a minute.
    #[serde(default)]
    call: bool,
    /// The server. Absent: `https://api.day.app`.
    base_url: Option<String>,
}

/// A phone.
pub(crate) struct Bark {
    base: Url,
    settings: BarkSettings,
}

static CODES: &[Code] = &[
    code(
        "400",
        Class::Misconfigured,
        "the phone's key is wrong",
        "device key 错误",
    ),
    code(
        "404",
        Class::Misconfigured,
        "no Bark server at this address",
        "该地址没有 Bark 服务",
    ),
    code(
        "413",
        Class::TooLarge,
        "the message is too long",
        "消息过长",
    ),
    code(
        "429",
        Class::Throttled(10_000),
        "too many messages",
        "发送过快",
    ),
    code(
        "500",
        Class::Retry,
        "Apple did not take it",
        "推送到 Apple 失败",
    ),
];

impl Messenger for Bark {
    type Settings = BarkSettings;
    const ABOUT: About = About {
        name: "bark",
        title: ("Bark", "Bark 推送"),
        about: (
            "Pushes messages to an iPhone through the app Bark; criticals sound through silent mode.",
            "通过 Bark 推送到 iPhone，严重告警可突破静音。",
        ),
        vendor: "Bark",
        secrets: &["deviceKey"],
        signing: &[],
        base: "https://api.day.app",
    };
    const ESCAPE: Escape = LINE;
    const REPEATABLE: bool = true;

    fn example() -> Value {
        json!({ "deviceKey": "ynJ5Ft4atkMkWeo2PAvFhF" })
    }

    fn new(settings: BarkSettings, check: &mut Check<'_>) -> Option<Self> {
        check.token(
            "/deviceKey",
            &settings.device_key,
            "expected the phone's key, as the app shows it",
        );
        let base = check.base(settings.base_url.as_deref(), Self::ABOUT.base)?;
        Some(Self { base, settings })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        let limit = ChannelLimit {
            permits: 50,
            per: Duration::from_mins(1),
            burst: 10,
        };
        Some((
            format!("{}\n{}", self.base, self.settings.device_key.expose()),
            limit,
        ))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let build = |message: &Message| {
            let mut body = json!({
                "title": message.title(),
                "body": write_body(message, &Plain),
                "level": message.look.style().bark,
                "group": ask.alarm.product(),
                "id": ask.alarm_key(),
            });
            if let Some(link) = message.links.first() {
                body["url"] = json!(link.url);
            }
            if self.settings.call && message.look == Look::Critical {
                body["call"] = json!("1");
            }
            body
        };
        let message = ask.fitted(|message| build(message).to_string().len() <= BODY_BYTES_MAX);
        build(&message)
    }

    fn request(&self, _: &Ask<'_>, body: &mut Value) -> Outgoing {
        if let Some(body) = body.as_object_mut() {
            body.insert(
                "device_key".to_owned(),
                json!(self.settings.device_key.expose()),
            );
        }
        Outgoing::post(below(&self.base, "/push"))
    }

    fn judge(&self, _: &Ask<'_>, answer: &Answer<'_>) -> Said {
        let words = answer.word("/message").unwrap_or_default();
        match answer.number("/code") {
            Some(200) if answer.is_success() => Said::Taken { thread: None },
            Some(200) | None => Said::Unclear,
            Some(number) => {
                Said::refused(CODES, number.to_string(), words).wait(answer.retry_after_ms())
            }
        }
    }
}
