//! The kind `dingtalk`: a custom robot of a DingTalk group (钉钉自定义机器人).
//!
//! `POST /robot/send?access_token=…&timestamp=…&sign=…`; HTTP 200 nearly always, the verdict is `errcode`. 20 messages a
//! minute for each robot, and ten minutes of silence for who sends more.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use belfry_egress::Url;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use crate::message::escape::DINGTALK;
use crate::message::markup::{Markup, write};
use crate::message::{Link, Look, Message};
use crate::messenger::{
    About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, below, code, is_phone,
    is_plain_id,
};
use crate::secret::Secret;
use crate::settings::object;
use crate::signing::hmac;
use crate::target::ChannelLimit;

/// Most bytes of the whole body.
const BODY_BYTES_MAX: usize = 20_000;
/// The part that says the same without links, when DingTalk finds one unsafe.
const NO_LINKS: &str = "no-links";

/// Settings of a DingTalk custom robot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DingTalkSettings {
    /// What follows `access_token=` in the address that DingTalk shows.
    access_token: Secret,
    /// The secret for signatures (`SEC…`), if the robot's security setting is "signature" (加签).
    secret: Option<Secret>,
    /// A keyword, if the robot's security setting is "keywords" (自定义关键词): it is added to messages without it.
    keyword: Option<String>,
    /// How messages are written.
    #[serde(default)]
    format: Format,
    /// Who is called by each message, except by one that tells of a recovery. Not with `actionCard`.
    #[serde(default, deserialize_with = "object")]
    mentions: Mentions,
    /// Where DingTalk listens. Absent: `https://oapi.dingtalk.com`.
    base_url: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Format {
    /// A Markdown message.
    #[default]
    Markdown,
    /// A card with buttons for the links.
    ActionCard,
}

/// People to call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Mentions {
    /// Mobile numbers; foreign ones as `+1-1234567890`.
    mobiles: Vec<String>,
    /// User ids.
    users: Vec<String>,
    /// Everybody in the group.
    all: bool,
}

/// A robot.
pub(crate) struct DingTalk {
    base: Url,
    settings: DingTalkSettings,
}

static CODES: &[Code] = &[
    code("-1", Class::Retry, "the system is busy", "系统繁忙"),
    code(
        "310000 keywords",
        Class::Misconfigured,
        "none of the robot's keywords is in the message; set keyword",
        "消息中没有机器人的自定义关键词，请设置 keyword",
    ),
    code(
        "310000 sign",
        Class::Misconfigured,
        "the signature does not match; check secret",
        "签名不匹配，请检查 secret",
    ),
    code(
        "310000 timestamp",
        Class::Misconfigured,
        "the timestamp is more than an hour off; check this server's clock",
        "时间戳无效，请检查本机时钟",
    ),
    code(
        "310000 ip",
        Class::Misconfigured,
        "this server's address is not on the robot's list",
        "本机 IP 不在机器人白名单中",
    ),
    code(
        "310000",
        Class::Misconfigured,
        "the robot's security setting is not met",
        "不符合机器人的安全设置",
    ),
    code(
        "300001",
        Class::Misconfigured,
        "the access token is wrong",
        "access_token 错误",
    ),
    code(
        "300005",
        Class::Misconfigured,
        "the access token does not exist",
        "access_token 不存在",
    ),
    code(
        "400101",
        Class::Misconfigured,
        "the access token does not exist",
        "access_token 不存在",
    ),
    code(
        "400102",
        Class::Misconfigured,
        "the robot is stopped",
        "机器人已停用",
    ),
    code(
        "400105",
        Class::Permanent,
        "this type of message does not exist",
        "不支持的消息类型",
    ),
    code(
        "400106",
        Class::Misconfigured,
        "the robot does not exist",
        "机器人不存在",
    ),
    code(
        "400013",
        Class::Misconfigured,
        "the group was dissolved",
        "群已被解散",
    ),
    code(
        "40035",
        Class::Permanent,
        "a parameter is missing",
        "缺少参数",
    ),
    code(
        "43002",
        Class::Permanent,
        "not sent by POST",
        "需要使用 POST",
    ),
    code(
        "43004",
        Class::Permanent,
        "the content type is wrong",
        "Content-Type 不正确",
    ),
    code(
        "460101",
        Class::TooLarge,
        "longer than 20000 bytes",
        "消息超过 20000 字节",
    ),
    code(
        "130101",
        Class::Throttled(600_000),
        "more than 20 messages a minute; the robot is blocked for 10 minutes",
        "超过每分钟 20 条，机器人被限流 10 分钟",
    ),
    code(
        "410100",
        Class::Throttled(600_000),
        "too many messages; the robot is blocked for 10 minutes",
        "发送过快，机器人被限流 10 分钟",
    ),
    code(
        "430101",
        Class::Permanent,
        "an unsafe link",
        "含有不安全的链接",
    ),
    code(
        "430102",
        Class::Permanent,
        "an unsuitable text",
        "含有不合适的文本",
    ),
    code(
        "430103",
        Class::Permanent,
        "an unsuitable image",
        "含有不合适的图片",
    ),
    code(
        "430104",
        Class::Permanent,
        "unsuitable content",
        "含有不合适的内容",
    ),
];

impl Messenger for DingTalk {
    type Settings = DingTalkSettings;
    const ABOUT: About = About {
        name: "dingtalk",
        title: ("DingTalk robot", "钉钉群机器人"),
        about: (
            "Sends messages to a DingTalk group through a custom robot.",
            "通过自定义机器人把消息发送到钉钉群。",
        ),
        vendor: "DingTalk",
        secrets: &["accessToken"],
        signing: &["secret"],
        base: "https://oapi.dingtalk.com",
    };
    const ESCAPE: Escape = DINGTALK;

    fn example() -> Value {
        json!({
            "accessToken": "5c7d1f0e9a8b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d",
            "secret": "SEC0123456789abcdef",
            "mentions": { "mobiles": ["13800000000"] }
        })
    }

    fn new(settings: DingTalkSettings, check: &mut Check<'_>) -> Option<Self> {
        check.token(
            "/accessToken",
            &settings.access_token,
            "expected only the token: what follows access_token= in the robot's address",
        );
        if let Some(secret) = &settings.secret {
            check.token(
                "/secret",
                secret,
                "expected the secret for signatures, which begins with SEC",
            );
        }
        if let Some(keyword) = &settings.keyword {
            let good = (1..=64).contains(&keyword.chars().count())
                && !keyword.chars().any(char::is_control);
            check.need(
                good,
                "/keyword",
                "expected one of the robot's keywords, 1 to 64 characters",
            );
        }
        let Mentions {
            mobiles,
            users,
            all,
        } = &settings.mentions;
        check.mentions(
            "/mentions/mobiles",
            mobiles,
            "expected a mobile number",
            is_phone,
        );
        check.mentions(
            "/mentions/users",
            users,
            "expected the id of a user",
            is_plain_id,
        );
        let calls = *all || !mobiles.is_empty() || !users.is_empty();
        check.need(
            !(calls && settings.format == Format::ActionCard),
            "/mentions",
            "a card calls nobody; use format markdown",
        );
        let base = check.base(settings.base_url.as_deref(), Self::ABOUT.base)?;
        Some(Self { base, settings })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        let limit = ChannelLimit {
            permits: 13,
            per: Duration::from_mins(1),
            burst: 5,
        };
        Some((
            format!("{}\n{}", self.base, self.settings.access_token.expose()),
            limit,
        ))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let build = |message: &Message| self.built(message);
        let message = ask.fitted(|message| build(message).to_string().len() <= BODY_BYTES_MAX);
        if ask.part == Some(NO_LINKS) {
            let mut message = message;
            message.links.clear();
            return build(&message);
        }
        build(&message)
    }

    fn request(&self, ask: &Ask<'_>, _: &mut Value) -> Outgoing {
        let mut url = below(&self.base, "/robot/send");
        url.query_pairs_mut()
            .append_pair("access_token", self.settings.access_token.expose());
        let mut secrets = Vec::new();
        if let Some(secret) = &self.settings.secret {
            let sign = signature(secret.expose(), ask.now_ms);
            // Encoded once, here: an encoded value that is encoded again is refused as a wrong signature.
            url.query_pairs_mut()
                .append_pair("timestamp", &ask.now_ms.to_string())
                .append_pair("sign", &sign);
            // As it is written in the URL too, which somebody may echo.
            secrets.push(byte_serialize(sign.as_bytes()).collect());
            secrets.push(sign);
        }
        Outgoing {
            secrets,
            ..Outgoing::post(url)
        }
    }

    fn judge(&self, ask: &Ask<'_>, answer: &Answer<'_>) -> Said {
        let words = answer.word("/errmsg").unwrap_or_default();
        let number = match answer.number("/errcode") {
            Some(0) if answer.is_success() => return Said::Taken { thread: None },
            Some(0) | None => return Said::Unclear,
            Some(number) => number,
        };
        if words.contains("exceed 20000 bytes") {
            return Said::refused(CODES, "460101", words).shown_as(number);
        }
        match number {
            310_000 => {
                let lower = words.to_lowercase();
                let row = ["keywords", "sign", "timestamp", "ip"]
                    .into_iter()
                    .find(|word| lower.contains(word))
                    .map_or_else(|| "310000".to_owned(), |word| format!("310000 {word}"));
                Said::refused(CODES, row, words).shown_as(number)
            }
            430_101..=430_104 if ask.part.is_none() && !ask.message.links.is_empty() => {
                Said::Again {
                    part: NO_LINKS.to_owned(),
                    detail: format!("{number} ({words}): once more without links"),
                }
            }
            number => Said::refused(CODES, number.to_string(), words),
        }
    }
}

/// `base64(HMAC-SHA256(secret, "<ms>\n<secret>"))`.
pub(crate) fn signature(secret: &str, now_ms: i64) -> String {
    let signed = format!("{now_ms}\n{secret}");
    BASE64_STANDARD.encode(hmac(secret.as_bytes(), signed.as_bytes()))
}

impl DingTalk {
    fn built(&self, message: &Message) -> Value {
        let Mentions {
            mobiles,
            users,
            all,
        } = &self.settings.mentions;
        let emoji = message.look.style().emoji;
        // The title is all that a locked phone shows; it knows no markup.
        let mut title = format!("{emoji} {}", message.title());
        let card = self.settings.format == Format::ActionCard && !message.links.is_empty();
        let mut text = if card {
            let mut without = message.clone();
            without.links.clear();
            write(&without, &Markdown)
        } else {
            write(message, &Markdown)
        };
        if let Some(keyword) = &self.settings.keyword
            && !text.contains(keyword.as_str())
        {
            title = format!("{title} {keyword}");
            text = format!("{text}\n\n{keyword}");
        }
        if card {
            let buttons: Vec<Value> = message
                .links
                .iter()
                .map(|link| json!({ "title": link.label, "actionURL": link.url }))
                .collect();
            return json!({
                "msgtype": "actionCard",
                "actionCard": { "title": title, "text": text, "btnOrientation": "0", "btns": buttons },
            });
        }
        let mut body = json!({ "msgtype": "markdown", "markdown": { "title": title } });
        if message.look != Look::Recovered && (*all || !mobiles.is_empty() || !users.is_empty()) {
            let called: Vec<String> = mobiles
                .iter()
                .chain(users)
                .map(|who| format!("@{who}"))
                .collect();
            if !called.is_empty() {
                text = format!("{text}\n\n{}", called.join(" "));
            }
            body["at"] = json!({ "atMobiles": mobiles, "atUserIds": users, "isAtAll": all });
        }
        body["markdown"]["text"] = json!(text);
        body
    }
}

struct Markdown;

impl Markup for Markdown {
    // A single line feed is a blank here.
    const BREAK: &'static str = "\n\n";
    fn value(&self, value: &str) -> String {
        DINGTALK.apply(value).into_owned()
    }
    fn title(&self, title: &str, look: Look) -> String {
        format!("### {} {}", look.style().emoji, title)
    }
    fn fact(&self, label: &str, value: &str) -> String {
        format!("**{label}**: {value}")
    }
    fn link(&self, link: &Link) -> String {
        format!("[{}]({})", self.value(&link.label), link.url)
    }
    fn footer(&self, text: &str) -> String {
        format!("> {text}")
    }
}
