//! The kind `feishu`: a custom bot of a Feishu or Lark group (飞书自定义机器人).
//!
//! `POST /open-apis/bot/v2/hook/…`; the verdict is `code`. The signature stands in the body. 100 messages a minute and 5
//! a second for each bot. Lark is the same at another address.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use belfry_egress::Url;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::message::escape::{LARK_MD, TEXT};
use crate::message::markup::{Markup, write};
use crate::message::{Look, Message};
use crate::messenger::{
    About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, below, code, is_plain_id,
};
use crate::secret::Secret;
use crate::settings::object;
use crate::signing::hmac;
use crate::target::ChannelLimit;

/// Most bytes of the whole body: 20 KB, without what the signature needs.
const BODY_BYTES_MAX: usize = 20_000 - 128;
/// The part that says the same as `post`, when a card is refused.
const POST: &str = "post";

/// Settings of a Feishu or Lark custom bot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FeishuSettings {
    /// What follows `/hook/` in the address that Feishu shows.
    token: Secret,
    /// The secret for signatures, if the bot's security setting asks for them (签名校验).
    secret: Option<Secret>,
    /// A keyword, if the bot's security setting asks for one (自定义关键词): it is added to messages without it.
    keyword: Option<String>,
    /// How messages are written.
    #[serde(default)]
    format: Format,
    /// Who is called by each message, except by one that tells of a recovery.
    #[serde(default, deserialize_with = "object")]
    mentions: Mentions,
    /// Where Feishu listens. Absent: `https://open.feishu.cn`; for Lark `https://open.larksuite.com`.
    base_url: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Format {
    /// An interactive card, coloured by severity.
    #[default]
    Card,
    /// Rich text.
    Post,
    /// Plain text.
    Text,
}

/// People to call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Mentions {
    /// Open ids (`ou_…`) or user ids.
    users: Vec<String>,
    /// Everybody in the group.
    all: bool,
}

/// A bot.
pub(crate) struct Feishu {
    base: Url,
    settings: FeishuSettings,
}

static CODES: &[Code] = &[
    code(
        "9499",
        Class::Permanent,
        "the request is not accepted in this form",
        "请求体格式不正确或过大",
    ),
    code(
        "9499 frequency",
        Class::Throttled(5_000),
        "too many messages",
        "发送过快",
    ),
    code(
        "11232",
        Class::Throttled(5_000),
        "more than 5 messages a second or 100 a minute",
        "超过每秒 5 条或每分钟 100 条的频率限制",
    ),
    code(
        "11246",
        Class::Permanent,
        "the card is not accepted",
        "卡片内容不合法",
    ),
    code(
        "200621",
        Class::Permanent,
        "the card is not accepted",
        "卡片内容不合法",
    ),
    code(
        "19001",
        Class::Misconfigured,
        "the token is wrong or the bot was removed",
        "机器人 token 错误，或机器人已被移除",
    ),
    code(
        "19002",
        Class::Permanent,
        "a parameter is wrong",
        "参数错误",
    ),
    code(
        "19021",
        Class::Misconfigured,
        "the signature does not match, or the clock is more than an hour off",
        "签名不匹配，或时间相差超过一小时",
    ),
    code(
        "19022",
        Class::Misconfigured,
        "this server's address is not on the bot's list",
        "本机 IP 不在机器人白名单中",
    ),
    code(
        "19024",
        Class::Misconfigured,
        "none of the bot's keywords is in the message; set keyword",
        "消息中没有机器人的自定义关键词，请设置 keyword",
    ),
];

impl Messenger for Feishu {
    type Settings = FeishuSettings;
    const ABOUT: About = About {
        name: "feishu",
        title: ("Feishu or Lark bot", "飞书群机器人"),
        about: (
            "Sends messages to a Feishu or Lark group through a custom bot.",
            "通过自定义机器人把消息发送到飞书（Lark）群。",
        ),
        vendor: "Feishu",
        secrets: &["token"],
        signing: &["secret"],
        base: "https://open.feishu.cn",
    };
    const ESCAPE: Escape = LARK_MD;

    fn example() -> Value {
        json!({ "token": "d1c2b3a4-5e6f-4789-90ab-cdef01234567", "secret": "feishu-demo-secret" })
    }

    fn new(settings: FeishuSettings, check: &mut Check<'_>) -> Option<Self> {
        check.token(
            "/token",
            &settings.token,
            "expected only the token: what follows /hook/ in the bot's address",
        );
        if let Some(secret) = &settings.secret {
            check.token("/secret", secret, "expected the secret for signatures");
        }
        if let Some(keyword) = &settings.keyword {
            let good = (1..=64).contains(&keyword.chars().count())
                && !keyword.chars().any(char::is_control);
            check.need(
                good,
                "/keyword",
                "expected one of the bot's keywords, 1 to 64 characters",
            );
        }
        let users = &settings.mentions.users;
        check.mentions(
            "/mentions/users",
            users,
            "expected an open id such as ou_...",
            is_plain_id,
        );
        let base = check.base(settings.base_url.as_deref(), Self::ABOUT.base)?;
        Some(Self { base, settings })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        // 5 a second: 3 at once and the next ones a second apart.
        let limit = ChannelLimit {
            permits: 60,
            per: Duration::from_mins(1),
            burst: 3,
        };
        Some((
            format!("{}\n{}", self.base, self.settings.token.expose()),
            limit,
        ))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let format = if ask.part == Some(POST) {
            Format::Post
        } else {
            self.settings.format
        };
        let build = |message: &Message| {
            let message = &self.with_keyword(message);
            match format {
                Format::Card => self.card(message),
                Format::Post => self.post(message),
                Format::Text => self.text(message),
            }
        };
        let message = ask.fitted(|message| build(message).to_string().len() <= BODY_BYTES_MAX);
        build(&message)
    }

    fn request(&self, ask: &Ask<'_>, body: &mut Value) -> Outgoing {
        let path = format!("/open-apis/bot/v2/hook/{}", self.settings.token.expose());
        let mut secrets = Vec::new();
        if let Some(secret) = &self.settings.secret {
            let seconds = ask.now_ms.div_euclid(1000).to_string();
            let sign = signature(secret.expose(), &seconds);
            if let Some(body) = body.as_object_mut() {
                body.insert("timestamp".to_owned(), json!(seconds));
                body.insert("sign".to_owned(), json!(sign));
            }
            secrets.push(sign);
        }
        Outgoing {
            secrets,
            ..Outgoing::post(below(&self.base, &path))
        }
    }

    fn judge(&self, ask: &Ask<'_>, answer: &Answer<'_>) -> Said {
        let words = answer
            .word("/msg")
            .or_else(|| answer.word("/StatusMessage"))
            .unwrap_or_default();
        let Some(number) = answer
            .number("/code")
            .or_else(|| answer.number("/StatusCode"))
        else {
            return Said::Unclear;
        };
        match number {
            0 if answer.is_success() => Said::Taken { thread: None },
            0 => Said::Unclear,
            9499 if words.to_lowercase().contains("frequency") => {
                Said::refused(CODES, "9499 frequency", words).shown_as(number)
            }
            11_246 | 200_621 if ask.part.is_none() && self.settings.format == Format::Card => {
                Said::Again {
                    part: POST.to_owned(),
                    detail: format!("{number} ({words}): once more as rich text instead of a card"),
                }
            }
            number => Said::refused(CODES, number.to_string(), words),
        }
    }
}

/// `base64(HMAC-SHA256("<seconds>\n<secret>", ""))`: the key is what other vendors sign.
pub(crate) fn signature(secret: &str, seconds: &str) -> String {
    let key = format!("{seconds}\n{secret}");
    BASE64_STANDARD.encode(hmac(key.as_bytes(), b""))
}

impl Feishu {
    /// Whom this message calls.
    fn called(&self, message: &Message) -> Vec<&str> {
        if message.look == Look::Recovered {
            return Vec::new();
        }
        let mentions = &self.settings.mentions;
        let everybody = mentions.all.then_some("all");
        mentions
            .users
            .iter()
            .map(String::as_str)
            .chain(everybody)
            .collect()
    }

    fn with_keyword(&self, message: &Message) -> Message {
        let mut message = message.clone();
        if let Some(keyword) = &self.settings.keyword
            && !message.title().contains(keyword.as_str())
        {
            message.subject = format!("{} {keyword}", message.subject);
        }
        message
    }

    fn card(&self, message: &Message) -> Value {
        let plain = |text: &str| json!({ "tag": "plain_text", "content": text });
        let marked = |text: &str| json!({ "tag": "lark_md", "content": text });
        let mut elements = Vec::new();
        if let Some(text) = &message.text {
            elements.push(json!({ "tag": "div", "text": marked(text) }));
        } else {
            let fields: Vec<Value> = message
                .told()
                .iter()
                .flat_map(|fact| {
                    let label = format!("**{}**", fact.label);
                    [
                        json!({ "is_short": true, "text": marked(&label) }),
                        // Nothing is parsed in it.
                        json!({ "is_short": true, "text": plain(&fact.plain()) }),
                    ]
                })
                .collect();
            if !fields.is_empty() {
                elements.push(json!({ "tag": "div", "fields": fields }));
            }
            for line in &message.lines {
                let text = format!("{} {}", line.look.style().emoji, line.text);
                elements.push(json!({ "tag": "div", "text": plain(&text) }));
            }
            if let Some(more) = message.more() {
                elements.push(json!({ "tag": "div", "text": plain(&more) }));
            }
        }
        let called: Vec<String> = self
            .called(message)
            .iter()
            .map(|who| format!("<at id={who}></at>"))
            .collect();
        if !called.is_empty() {
            elements.push(json!({ "tag": "div", "text": marked(&called.concat()) }));
        }
        let buttons: Vec<Value> = message
            .links
            .iter()
            .enumerate()
            .map(|(n, link)| {
                let kind = if n == 0 { "primary" } else { "default" };
                json!({ "tag": "button", "type": kind, "text": plain(&link.label), "url": link.url })
            })
            .collect();
        if !buttons.is_empty() {
            elements.push(json!({ "tag": "action", "actions": buttons }));
        }
        if let Some(footer) = &message.footer {
            elements.push(json!({ "tag": "note", "elements": [plain(footer)] }));
        }
        json!({
            "msg_type": "interactive",
            "card": {
                "config": { "wide_screen_mode": true },
                "header": { "template": message.look.style().feishu, "title": plain(&message.title()) },
                "elements": elements,
            },
        })
    }

    fn post(&self, message: &Message) -> Value {
        let text = |text: &str| json!({ "tag": "text", "text": text });
        let mut lines: Vec<Vec<Value>> = Vec::new();
        if let Some(own) = &message.text {
            lines.extend(own.lines().map(|line| vec![text(line)]));
        } else {
            for fact in &message.told() {
                lines.push(vec![text(&format!("{}: {}", fact.label, fact.plain()))]);
            }
            for line in &message.lines {
                lines.push(vec![text(&format!(
                    "{} {}",
                    line.look.style().emoji,
                    line.text
                ))]);
            }
            lines.extend(message.more().map(|more| vec![text(&more)]));
        }
        for link in &message.links {
            lines.push(vec![
                json!({ "tag": "a", "text": link.label, "href": link.url }),
            ]);
        }
        lines.extend(message.footer.as_ref().map(|footer| vec![text(footer)]));
        let called: Vec<Value> = self
            .called(message)
            .iter()
            .map(|who| json!({ "tag": "at", "user_id": who }))
            .collect();
        if !called.is_empty() {
            lines.push(called);
        }
        let title = format!("{} {}", message.look.style().emoji, message.title());
        let language = message.say("en_us", "zh_cn");
        json!({
            "msg_type": "post",
            "content": { "post": { language: { "title": title, "content": lines } } },
        })
    }

    fn text(&self, message: &Message) -> Value {
        let called = self.called(message).into_iter();
        let called = called.map(|who| format!("<at user_id=\"{who}\"></at>"));
        let lines: Vec<String> = std::iter::once(write(message, &PlainText))
            .chain(called)
            .collect();
        json!({ "msg_type": "text", "content": { "text": lines.join("\n") } })
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
