//! The kind `wecom`: a group robot of WeCom (企业微信群机器人).
//!
//! `POST /cgi-bin/webhook/send?key=…`; HTTP 200 nearly always, the verdict is `errcode`. The key in the URL is the
//! secret, nothing is signed. 20 messages a minute for each robot.

use std::time::Duration;

use belfry_egress::Url;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::message::escape::{TEXT, WECOM, WECOM_CODE};
use crate::message::markup::{Markup, write};
use crate::message::{Link, Look, Message};
use crate::messenger::{
    About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, below, code, is_phone,
    is_plain_id,
};
use crate::secret::Secret;
use crate::settings::object;
use crate::target::ChannelLimit;

/// Most bytes of a `text`.
const TEXT_BYTES_MAX: usize = 2048;
/// Most bytes of a `markdown` or `markdown_v2`.
const MARKDOWN_BYTES_MAX: usize = 4096;
/// The part that calls people who cannot be called in the message itself.
const CALL: &str = "call";

/// Settings of a WeCom group robot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WeComSettings {
    /// The robot's key: what follows `key=` in the address that WeCom shows.
    key: Secret,
    /// How messages are written.
    #[serde(default)]
    format: Format,
    /// Who is called by each message, except by one that tells of a recovery.
    #[serde(default, deserialize_with = "object")]
    mentions: Mentions,
    /// Where WeCom listens. Absent: `https://qyapi.weixin.qq.com`.
    base_url: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// Headings, quotes and three colours.
    #[default]
    Markdown,
    /// Full Markdown without colours; old clients show its source.
    MarkdownV2,
    /// Plain text.
    Text,
}

/// People to call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Mentions {
    /// User ids.
    users: Vec<String>,
    /// Mobile numbers. WeCom reads them in a `text` only: with another format, a second, short message follows, which
    /// counts against the robot's limit too.
    mobiles: Vec<String>,
    /// Everybody in the group; needs a second message as well.
    all: bool,
}

/// A robot.
pub(crate) struct WeCom {
    base: Url,
    settings: WeComSettings,
}

static CODES: &[Code] = &[
    code("-1", Class::Retry, "the system is busy", "系统繁忙"),
    code(
        "40008",
        Class::Permanent,
        "this type of message does not exist",
        "不支持的消息类型",
    ),
    code(
        "40009",
        Class::Permanent,
        "the image is too large",
        "图片大小不合法",
    ),
    code(
        "40058",
        Class::Permanent,
        "a parameter is wrong or a text too long",
        "参数错误或内容超长",
    ),
    code(
        "44004",
        Class::Permanent,
        "the message is empty",
        "消息内容为空",
    ),
    code(
        "45009",
        Class::Throttled(60_000),
        "more than 20 messages a minute",
        "超过机器人每分钟 20 条的频率限制",
    ),
    code(
        "93000",
        Class::Misconfigured,
        "the key is wrong or the robot was deleted",
        "机器人 key 错误，或机器人已被删除",
    ),
    code(
        "301019",
        Class::Permanent,
        "the image does not have the MD5 that was said",
        "图片 MD5 不匹配",
    ),
];

impl Messenger for WeCom {
    type Settings = WeComSettings;
    const ABOUT: About = About {
        name: "wecom",
        title: ("WeCom group robot", "企业微信群机器人"),
        about: (
            "Sends messages to a WeCom group through a group robot.",
            "通过群机器人把消息发送到企业微信群。",
        ),
        vendor: "WeCom",
        secrets: &["key"],
        signing: &[],
        base: "https://qyapi.weixin.qq.com",
    };
    const ESCAPE: Escape = WECOM;

    fn example() -> Value {
        json!({ "key": "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa", "mentions": { "users": ["zhangsan"] } })
    }

    fn new(settings: WeComSettings, check: &mut Check<'_>) -> Option<Self> {
        check.token(
            "/key",
            &settings.key,
            "expected only the key: what follows key= in the robot's address",
        );
        let Mentions { users, mobiles, .. } = &settings.mentions;
        check.mentions(
            "/mentions/users",
            users,
            "expected the id of a user",
            is_plain_id,
        );
        check.mentions(
            "/mentions/mobiles",
            mobiles,
            "expected a mobile number",
            is_phone,
        );
        let base = check.base(settings.base_url.as_deref(), Self::ABOUT.base)?;
        Some(Self { base, settings })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        // 20 a minute, as a sliding window.
        let limit = ChannelLimit {
            permits: 14,
            per: Duration::from_mins(1),
            burst: 5,
        };
        Some((
            format!("{}\n{}", self.base, self.settings.key.expose()),
            limit,
        ))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let mentions = &self.settings.mentions;
        let calls = ask.message.look != Look::Recovered;
        if ask.part == Some(CALL) {
            // A title is short; it fits by itself.
            let title = ask
                .message
                .title_with(|value| TEXT.apply(value).into_owned());
            return self.text(&title, true);
        }
        match self.settings.format {
            Format::Text => {
                let render = |message: &Message| write(message, &PlainText);
                let message = ask.fitted(|message| render(message).len() <= TEXT_BYTES_MAX);
                self.text(&render(&message), calls)
            }
            Format::Markdown => {
                let users = if calls { &*mentions.users } else { &[] };
                let called: Vec<String> = users.iter().map(|user| format!("<@{user}>")).collect();
                let called = called.concat();
                let render = |message: &Message| {
                    let text = write(message, &Markdown);
                    if called.is_empty() {
                        text
                    } else {
                        format!("{text}\n{called}")
                    }
                };
                let message = ask.fitted(|message| render(message).len() <= MARKDOWN_BYTES_MAX);
                json!({ "msgtype": "markdown", "markdown": { "content": render(&message) } })
            }
            Format::MarkdownV2 => {
                let render = |message: &Message| write(message, &MarkdownV2);
                let message = ask.fitted(|message| render(message).len() <= MARKDOWN_BYTES_MAX);
                json!({ "msgtype": "markdown_v2", "markdown_v2": { "content": render(&message) } })
            }
        }
    }

    fn request(&self, _: &Ask<'_>, _: &mut Value) -> Outgoing {
        let mut url = below(&self.base, "/cgi-bin/webhook/send");
        url.query_pairs_mut()
            .append_pair("key", self.settings.key.expose());
        Outgoing::post(url)
    }

    fn judge(&self, _: &Ask<'_>, answer: &Answer<'_>) -> Said {
        match answer.number("/errcode") {
            Some(0) if answer.is_success() => Said::Taken { thread: None },
            Some(0) | None => Said::Unclear,
            Some(code) => Said::refused(
                CODES,
                code.to_string(),
                answer.word("/errmsg").unwrap_or_default(),
            ),
        }
    }

    fn after(&self, ask: &Ask<'_>) -> Option<String> {
        let Mentions {
            users,
            mobiles,
            all,
        } = &self.settings.mentions;
        let apart = match self.settings.format {
            Format::Text => false,
            Format::Markdown => *all || !mobiles.is_empty(),
            Format::MarkdownV2 => *all || !mobiles.is_empty() || !users.is_empty(),
        };
        (apart && ask.part.is_none() && ask.message.look != Look::Recovered)
            .then(|| CALL.to_owned())
    }
}

impl WeCom {
    fn text(&self, content: &str, calls: bool) -> Value {
        let Mentions {
            users,
            mobiles,
            all,
        } = &self.settings.mentions;
        let mut text = json!({ "content": content });
        if calls && (*all || !users.is_empty()) {
            let everybody = all.then(|| "@all".to_owned());
            let list: Vec<_> = users.iter().cloned().chain(everybody).collect();
            text["mentioned_list"] = json!(list);
        }
        if calls && !mobiles.is_empty() {
            text["mentioned_mobile_list"] = json!(mobiles);
        }
        json!({ "msgtype": "text", "text": text })
    }
}

struct Markdown;

impl Markup for Markdown {
    const BREAK: &'static str = "\n";
    fn value(&self, value: &str) -> String {
        WECOM.apply(value).into_owned()
    }
    fn code(&self, value: &str) -> String {
        WECOM_CODE.apply(value).into_owned()
    }
    fn title(&self, title: &str, look: Look) -> String {
        let colour = look.style().wecom;
        format!("<font color=\"{colour}\">{title}</font>")
    }
    fn fact(&self, label: &str, value: &str) -> String {
        format!("> {label}: {value}")
    }
    fn link(&self, link: &Link) -> String {
        format!("[{}]({})", self.value(&link.label), link.url)
    }
    fn footer(&self, text: &str) -> String {
        format!("<font color=\"comment\">{text}</font>")
    }
}

struct MarkdownV2;

impl Markup for MarkdownV2 {
    const BREAK: &'static str = "\n";
    fn value(&self, value: &str) -> String {
        WECOM.apply(value).into_owned()
    }
    fn code(&self, value: &str) -> String {
        WECOM_CODE.apply(value).into_owned()
    }
    fn title(&self, title: &str, look: Look) -> String {
        format!("### {} {}", look.style().emoji, title)
    }
    fn fact(&self, label: &str, value: &str) -> String {
        format!("- **{label}**: {value}")
    }
    fn line(&self, look: Look, text: &str) -> String {
        format!("- {} {text}", look.style().emoji)
    }
    fn link(&self, link: &Link) -> String {
        format!("\n[{}]({})", self.value(&link.label), link.url)
    }
    fn footer(&self, text: &str) -> String {
        format!("\n*{text}*")
    }
}

struct PlainText;

impl Markup for PlainText {
    const BREAK: &'static str = "\n";
    fn value(&self, value: &str) -> String {
        TEXT.apply(value).into_owned()
    }
    fn title(&self, title: &str, look: Look) -> String {
        format!("{} {}", look.style().emoji, title)
    }
}
