//! The kind `ntfy`: push messages to a topic of ntfy.sh or of an ntfy server of one's own.
//!
//! JSON to the server's root: headers could not carry Chinese. Texts are plain.

use std::time::Duration;

use belfry_egress::Url;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::message::Message;
use crate::message::escape::LINE;
use crate::message::markup::{Plain, write_body};
use crate::messenger::{
    About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, below, code,
};
use crate::secret::Secret;
use crate::target::ChannelLimit;

/// Most bytes of a message; a longer one would become an attachment.
const MESSAGE_BYTES_MAX: usize = 4096;
/// Most buttons.
const ACTIONS_MAX: usize = 3;

/// Settings of an ntfy topic.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NtfySettings {
    /// The topic. Whoever knows it can read it, unless the server asks for a login.
    topic: Secret,
    /// An access token (`tk_…`), if the topic is protected.
    token: Option<Secret>,
    /// The server. Absent: `https://ntfy.sh`.
    base_url: Option<String>,
}

/// A topic.
pub(crate) struct Ntfy {
    base: Url,
    settings: NtfySettings,
}

static CODES: &[Code] = &[
    code(
        "400",
        Class::Permanent,
        "the message is not accepted",
        "消息不合法",
    ),
    code(
        "401",
        Class::Misconfigured,
        "the token is wrong, or the topic is protected",
        "token 错误，或该 topic 需要认证",
    ),
    code(
        "403",
        Class::Misconfigured,
        "the token may not write to this topic",
        "无权写入该 topic",
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
        "the message is too long",
        "消息过长",
    ),
    code(
        "429",
        Class::Throttled(10_000),
        "too many messages",
        "发送过快",
    ),
    code("507", Class::Retry, "the server is full", "服务器空间不足"),
];

impl Messenger for Ntfy {
    type Settings = NtfySettings;
    const ABOUT: About = About {
        name: "ntfy",
        title: ("ntfy", "ntfy 推送"),
        about: (
            "Pushes messages to phones and desktops through ntfy.sh or an ntfy server of your own.",
            "通过 ntfy.sh 或自建的 ntfy 服务器推送到手机和桌面。",
        ),
        vendor: "ntfy",
        secrets: &["topic", "token"],
        signing: &[],
        base: "https://ntfy.sh",
    };
    const ESCAPE: Escape = LINE;

    fn example() -> Value {
        json!({ "topic": "ops-alarms-7f3a9c", "token": "tk_0123456789abcdef0123456789abc" })
    }

    fn new(settings: NtfySettings, check: &mut Check<'_>) -> Option<Self> {
        let topic = settings.topic.expose();
        let good = (1..=64).contains(&topic.len())
            && topic
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        check.need(good, "/topic", "expected 1 to 64 of a-z A-Z 0-9 - _");
        if let Some(token) = &settings.token {
            check.token(
                "/token",
                token,
                "expected an access token, which begins with tk_",
            );
        }
        let base = check.base(settings.base_url.as_deref(), Self::ABOUT.base)?;
        Some(Self { base, settings })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        // ntfy.sh: 60 at once, then one every 5 seconds.
        let limit = ChannelLimit {
            permits: 12,
            per: Duration::from_mins(1),
            burst: 20,
        };
        Some((
            format!("{}\n{}", self.base, self.settings.topic.expose()),
            limit,
        ))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let text = |message: &Message| write_body(message, &Plain);
        let message = ask.fitted(|message| text(message).len() <= MESSAGE_BYTES_MAX);
        let style = message.look.style();
        let mut body = json!({
            "title": message.title(),
            "message": text(&message),
            "priority": style.ntfy,
            "tags": [style.ntfy_tag],
        });
        if let Some(link) = message.links.first() {
            body["click"] = json!(link.url);
            let links = message.links.iter().take(ACTIONS_MAX);
            let actions: Vec<Value> = links
                .map(|link| json!({ "action": "view", "label": link.label, "url": link.url }))
                .collect();
            body["actions"] = json!(actions);
        }
        body
    }

    fn request(&self, _: &Ask<'_>, body: &mut Value) -> Outgoing {
        if let Some(body) = body.as_object_mut() {
            body.insert("topic".to_owned(), json!(self.settings.topic.expose()));
        }
        let token = self.settings.token.as_ref();
        let headers = token.map(|token| ("authorization", format!("Bearer {}", token.expose())));
        Outgoing {
            headers: headers.into_iter().collect(),
            ..Outgoing::post(below(&self.base, "/"))
        }
    }

    fn judge(&self, _: &Ask<'_>, answer: &Answer<'_>) -> Said {
        if answer.is_success() {
            return match answer.word("/id") {
                Some(_) => Said::Taken { thread: None },
                None => Said::Unclear,
            };
        }
        // The code is the status with two more digits.
        let words = answer.word("/error").unwrap_or_default();
        match (answer.number("/code"), answer.status) {
            (Some(number), status) if CODES.iter().any(|row| row.code == status.to_string()) => {
                Said::refused(CODES, status.to_string(), words)
                    .shown_as(number)
                    .wait(answer.retry_after_ms())
            }
            _ => Said::Unclear,
        }
    }
}
