//! The kind `telegram`: a bot that writes to a chat.
//!
//! `POST /bot<token>/sendMessage`; the verdict is `ok`, with `error_code` and `description`. Repeats and the recovery of an
//! alarm answer its first message. One message a second for each chat, 20 a minute for each group.

use std::time::Duration;

use belfry_egress::Url;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::message::cut::Unit;
use crate::message::escape::TELEGRAM;
use crate::message::markup::{Markup, Plain, write};
use crate::message::{Link, Look, Message};
use crate::messenger::{
    About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, below, code,
};
use crate::secret::Secret;
use crate::target::ChannelLimit;

/// Most characters of a text once its markup is read, in units of UTF-16.
const TEXT_UNITS_MAX: usize = 4096;
/// The part that says the same without markup.
const PLAIN: &str = "plain";
/// The part that says the same to the chat that took the place of the one that is set.
const MOVED: &str = "chat:";

/// Settings of a Telegram bot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TelegramSettings {
    /// The bot's token.
    token: Secret,
    /// The chat: its number, such as `-1001234567890`, or `@name` of a public channel.
    chat_id: String,
    /// The topic within a group that has them.
    thread_id: Option<i64>,
    /// Names of users to call (`@name`) by each message, except by one that tells of a recovery.
    #[serde(default)]
    mentions: Vec<String>,
    /// Where Telegram listens. Absent: `https://api.telegram.org`.
    base_url: Option<String>,
}

/// A bot.
pub(crate) struct Telegram {
    base: Url,
    settings: TelegramSettings,
}

static CODES: &[Code] = &[
    code(
        "400",
        Class::Permanent,
        "the request is not accepted",
        "请求不合法",
    ),
    code(
        "400 chat",
        Class::Misconfigured,
        "the chat does not exist, or the bot was never there",
        "会话不存在，或机器人不在其中",
    ),
    code(
        "400 long",
        Class::TooLarge,
        "longer than 4096 characters",
        "消息超过 4096 字符",
    ),
    code(
        "400 thread",
        Class::Misconfigured,
        "the topic does not exist",
        "话题不存在",
    ),
    code(
        "401",
        Class::Misconfigured,
        "the token is wrong",
        "token 错误",
    ),
    code(
        "403",
        Class::Misconfigured,
        "the bot was removed or blocked",
        "机器人已被移除或屏蔽",
    ),
    code(
        "404",
        Class::Misconfigured,
        "the token is wrong",
        "token 错误",
    ),
    code(
        "429",
        Class::Throttled(1000),
        "too many messages",
        "发送过快",
    ),
    code(
        "500",
        Class::Retry,
        "an error inside Telegram",
        "Telegram 内部错误",
    ),
    code(
        "502",
        Class::Retry,
        "an error inside Telegram",
        "Telegram 内部错误",
    ),
];

impl Messenger for Telegram {
    type Settings = TelegramSettings;
    const ABOUT: About = About {
        name: "telegram",
        title: ("Telegram bot", "Telegram 机器人"),
        about: (
            "Sends messages to a Telegram chat, group or channel by a bot.",
            "通过机器人把消息发送到 Telegram 会话、群组或频道。",
        ),
        vendor: "Telegram",
        secrets: &["token"],
        signing: &[],
        base: "https://api.telegram.org",
    };
    const ESCAPE: Escape = TELEGRAM;

    fn example() -> Value {
        json!({ "token": "123456789:AAF-example-token-0123456789abcdefgh", "chatId": "-1001234567890" })
    }

    fn new(settings: TelegramSettings, check: &mut Check<'_>) -> Option<Self> {
        check.token(
            "/token",
            &settings.token,
            "expected the bot's token, as BotFather shows it",
        );
        let chat = &settings.chat_id;
        let good =
            chat.parse::<i64>().is_ok() || is_name(chat.strip_prefix('@').unwrap_or_default());
        check.need(
            good,
            "/chatId",
            "expected the chat's number as a text, or @name of a public channel",
        );
        check.mentions(
            "/mentions",
            &settings.mentions,
            "expected the name of a user, without @",
            is_name,
        );
        let base = check.base(settings.base_url.as_deref(), Self::ABOUT.base)?;
        Some(Self { base, settings })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        let group = self.settings.chat_id.starts_with(['-', '@']);
        let limit = ChannelLimit {
            permits: if group { 16 } else { 50 },
            per: Duration::from_mins(1),
            burst: if group { 3 } else { 1 },
        };
        let TelegramSettings { token, chat_id, .. } = &self.settings;
        Some((
            format!("{}\n{}\n{chat_id}", self.base, token.expose()),
            limit,
        ))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let mentions = match ask.message.look {
            Look::Recovered => &[][..],
            _ => &self.settings.mentions,
        };
        let called: Vec<String> = mentions.iter().map(|name| format!("\n@{name}")).collect();
        let called = called.concat();
        let plain = ask.part == Some(PLAIN);
        let render = |message: &Message| {
            let text = if plain {
                write(message, &Plain)
            } else {
                write(message, &Html)
            };
            text + &called
        };
        let units = |message: &Message| {
            let text = render(message);
            if plain {
                Unit::Utf16.count(&text)
            } else {
                read_units(&text)
            }
        };
        let message = ask.fitted(|message| units(message) <= TEXT_UNITS_MAX);
        let mut body = json!({
            "text": render(&message),
            "link_preview_options": { "is_disabled": true },
        });
        if !plain {
            body["parse_mode"] = json!("HTML");
        }
        body
    }

    fn request(&self, ask: &Ask<'_>, body: &mut Value) -> Outgoing {
        if let Some(body) = body.as_object_mut() {
            let moved = ask.part.and_then(|part| part.strip_prefix(MOVED));
            let chat = moved.unwrap_or(&self.settings.chat_id);
            let chat = chat
                .parse::<i64>()
                .map_or_else(|_| json!(chat), |number| json!(number));
            body.insert("chat_id".to_owned(), chat);
            if let Some(thread) = self.settings.thread_id {
                body.insert("message_thread_id".to_owned(), json!(thread));
            }
            if let Some(Ok(first)) = ask.thread().map(str::parse::<i64>) {
                let reply = json!({ "message_id": first, "allow_sending_without_reply": true });
                body.insert("reply_parameters".to_owned(), reply);
            }
        }
        let path = format!("/bot{}/sendMessage", self.settings.token.expose());
        Outgoing::post(below(&self.base, &path))
    }

    fn judge(&self, ask: &Ask<'_>, answer: &Answer<'_>) -> Said {
        let words = answer.word("/description").unwrap_or_default();
        match (answer.json.get("ok"), answer.number("/error_code")) {
            (Some(Value::Bool(true)), _) if answer.is_success() => {
                let id = answer.number("/result/message_id");
                let thread = id
                    .filter(|_| ask.thread().is_none())
                    .map(|id| id.to_string());
                Said::Taken { thread }
            }
            (Some(Value::Bool(false)), Some(number)) => {
                let lower = words.to_lowercase();
                if let Some(chat) = answer.number("/parameters/migrate_to_chat_id")
                    && ask.part.is_none()
                {
                    return Said::Again {
                        part: format!("{MOVED}{chat}"),
                        detail: format!("the group has become {chat}; set chatId to that"),
                    };
                }
                if number == 400 && lower.contains("can't parse entities") && ask.part.is_none() {
                    return Said::Again {
                        part: PLAIN.to_owned(),
                        detail: format!("{words}: once more without markup"),
                    };
                }
                let row = match number {
                    400 if lower.contains("chat not found") => "400 chat".to_owned(),
                    400 if lower.contains("too long") => "400 long".to_owned(),
                    400 if lower.contains("thread not found") => "400 thread".to_owned(),
                    number => number.to_string(),
                };
                let seconds = answer.number("/parameters/retry_after");
                let wait = seconds.and_then(|seconds| u64::try_from(seconds).ok());
                Said::refused(CODES, row, words)
                    .shown_as(number)
                    .wait(wait.map(|seconds| seconds.saturating_mul(1000)))
            }
            _ => Said::Unclear,
        }
    }
}

/// A user's or channel's name, without `@`.
fn is_name(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// How long a text is once its tags and entities are read.
fn read_units(html: &str) -> usize {
    let mut units = 0;
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '<' => rest.find('>').map(|end| (end + 1, 0)),
            '&' => rest
                .find(';')
                .filter(|end| *end <= 8)
                .map(|end| (end + 1, 1)),
            _ => None,
        };
        let (bytes, count) = skipped.unwrap_or_else(|| (c.len_utf8(), c.len_utf16()));
        units += count;
        rest = rest.get(bytes..).unwrap_or_default();
    }
    units
}

struct Html;

impl Markup for Html {
    const BREAK: &'static str = "\n";
    fn value(&self, value: &str) -> String {
        TELEGRAM.apply(value).into_owned()
    }
    fn code(&self, value: &str) -> String {
        format!("<code>{}</code>", self.value(value))
    }
    fn title(&self, title: &str, look: Look) -> String {
        format!("{} <b>{}</b>", look.style().emoji, title)
    }
    fn link(&self, link: &Link) -> String {
        let url = link.url.replace('&', "&amp;");
        format!("<a href=\"{url}\">{}</a>", self.value(&link.label))
    }
    fn footer(&self, text: &str) -> String {
        format!("<i>{text}</i>")
    }
}
