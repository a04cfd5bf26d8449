//! The kind `discord`: a webhook of a Discord channel.
//!
//! The whole address is the secret. `?wait=true` makes Discord answer with the message, whose id is kept: a recovery
//! turns the first message green and is told in a message of its own. Pings are switched off but for those that are
//! set. 5 requests in two seconds and 30 a minute.

use std::time::Duration;

use belfry_egress::{Method, Url};
use belfry_model::event::timestamp;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::message::cut::Unit;
use crate::message::escape::DISCORD;
use crate::message::{Fact, Look, Message};
use crate::messenger::{About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, code};
use crate::secret::Secret;
use crate::settings::object;
use crate::target::ChannelLimit;

/// Most characters of an embed's title, description, field name, field value, footer, and of all of it.
const TITLE_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 4096;
const VALUE_CHARS_MAX: usize = 1024;
const FOOTER_CHARS_MAX: usize = 2048;
const ALL_CHARS_MAX: usize = 6000;
/// Most fields.
const FIELDS_MAX: usize = 25;
/// The part that tells of a recovery, after the first message has turned green.
const TELL: &str = "tell";

/// Settings of a Discord webhook.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DiscordSettings {
    /// The webhook's address. Secret.
    url: Secret,
    /// Who is called by each message, except by one that tells of a recovery.
    #[serde(default, deserialize_with = "object")]
    mentions: Mentions,
}

/// People to call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Mentions {
    /// Ids of users.
    users: Vec<String>,
    /// Ids of roles.
    roles: Vec<String>,
    /// Everybody.
    everyone: bool,
}

/// A webhook.
pub(crate) struct Discord {
    url: Url,
    mentions: Mentions,
}

static CODES: &[Code] = &[
    code(
        "10003",
        Class::Misconfigured,
        "the channel does not exist",
        "频道不存在",
    ),
    code(
        "10008",
        Class::Permanent,
        "the message does not exist",
        "消息不存在",
    ),
    code(
        "10015",
        Class::Misconfigured,
        "the webhook does not exist",
        "webhook 不存在",
    ),
    code(
        "50006",
        Class::Permanent,
        "the message is empty",
        "消息为空",
    ),
    code(
        "50013",
        Class::Misconfigured,
        "the webhook lacks a permission",
        "webhook 缺少权限",
    ),
    code(
        "50027",
        Class::Misconfigured,
        "the webhook's token is wrong",
        "webhook token 错误",
    ),
    code(
        "50035",
        Class::Permanent,
        "a part of the message is not accepted",
        "消息内容不合法",
    ),
    code(
        "400",
        Class::Permanent,
        "the request is not accepted",
        "请求不合法",
    ),
    code(
        "401",
        Class::Misconfigured,
        "the address is wrong",
        "地址错误",
    ),
    code(
        "403",
        Class::Misconfigured,
        "the webhook may not do this",
        "webhook 无权限",
    ),
    code(
        "404",
        Class::Misconfigured,
        "the webhook does not exist",
        "webhook 不存在",
    ),
    code(
        "429",
        Class::Throttled(500),
        "too many messages",
        "发送过快",
    ),
];

impl Messenger for Discord {
    type Settings = DiscordSettings;
    const ABOUT: About = About {
        name: "discord",
        title: ("Discord webhook", "Discord webhook"),
        about: (
            "Sends messages to a Discord channel through a webhook.",
            "通过 webhook 把消息发送到 Discord 频道。",
        ),
        vendor: "Discord",
        secrets: &["url"],
        signing: &[],
        base: "",
    };
    const ESCAPE: Escape = DISCORD;

    fn example() -> Value {
        json!({ "url": "https://discord.com/api/webhooks/1234567890123456789/aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE9f" })
    }

    fn new(settings: DiscordSettings, check: &mut Check<'_>) -> Option<Self> {
        let DiscordSettings { url, mentions } = settings;
        let is_id = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        check.mentions(
            "/mentions/users",
            &mentions.users,
            "expected the id of a user: digits",
            is_id,
        );
        check.mentions(
            "/mentions/roles",
            &mentions.roles,
            "expected the id of a role: digits",
            is_id,
        );
        let url = check.url("/url", url.expose())?;
        Some(Self { url, mentions })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        let limit = ChannelLimit {
            permits: 24,
            per: Duration::from_mins(1),
            burst: 4,
        };
        Some((self.url.to_string(), limit))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let message = ask.fitted(fits);
        let mut embed = json!({
            "title": title(&message),
            "description": description(&message),
            "color": message.look.style().rgb,
            "timestamp": timestamp(message.at_ms),
            "fields": fields(&message)
                .into_iter()
                .map(|(name, value)| json!({ "name": name, "value": value, "inline": value_is_short(&value) }))
                .collect::<Vec<_>>(),
        });
        if let Some(link) = message.links.first() {
            embed["url"] = json!(link.url);
        }
        if let Some(footer) = &message.footer {
            embed["footer"] = json!({ "text": footer });
        }
        json!({ "content": self.called(&message), "embeds": [embed] })
    }

    fn request(&self, ask: &Ask<'_>, body: &mut Value) -> Outgoing {
        let Mentions {
            users,
            roles,
            everyone,
        } = &self.mentions;
        let mut allowed = json!({ "parse": [] });
        if ask.message.look != Look::Recovered {
            if *everyone {
                allowed["parse"] = json!(["everyone"]);
            }
            if !users.is_empty() {
                allowed["users"] = json!(users);
            }
            if !roles.is_empty() {
                allowed["roles"] = json!(roles);
            }
        }
        if let Some(body) = body.as_object_mut() {
            // Whatever the text says.
            body.insert("allowed_mentions".to_owned(), allowed);
        }
        let mut url = self.url.clone();
        if let Some(first) = ask.thread().filter(|_| updates(ask)) {
            let path = format!("{}/messages/{first}", url.path().trim_end_matches('/'));
            url.set_path(&path);
            return Outgoing {
                method: Method::PATCH,
                ..Outgoing::post(url)
            };
        }
        url.query_pairs_mut().append_pair("wait", "true");
        Outgoing::post(url)
    }

    fn judge(&self, ask: &Ask<'_>, answer: &Answer<'_>) -> Said {
        if answer.is_success() {
            let id = answer.word("/id");
            if id.is_none() && answer.status != 204 {
                return Said::Unclear;
            }
            let thread = id.filter(|_| ask.thread().is_none()).map(str::to_owned);
            return Said::Taken { thread };
        }
        let words = answer.word("/message").unwrap_or_default();
        if updates(ask) && (answer.number("/code") == Some(10_008) || answer.status == 404) {
            return Said::Again {
                part: TELL.to_owned(),
                detail: "the first message cannot be changed, so a new one follows".to_owned(),
            };
        }
        if answer.status == 429 {
            let seconds = answer.json.get("retry_after").and_then(Value::as_f64);
            let seconds = seconds.filter(|seconds| (0.0..86_400.0).contains(seconds));
            let wait = seconds.map(|seconds| Duration::from_secs_f64(seconds).as_millis());
            let wait = wait.and_then(|ms| u64::try_from(ms).ok());
            return Said::refused(CODES, "429", words)
                .wait(wait.or_else(|| answer.retry_after_ms()));
        }
        match answer.number("/code") {
            Some(number) if CODES.iter().any(|row| row.code == number.to_string()) => {
                Said::refused(CODES, number.to_string(), words)
            }
            _ if matches!(answer.status, 400 | 401 | 403 | 404) => {
                Said::refused(CODES, answer.status.to_string(), words)
            }
            _ => Said::Unclear,
        }
    }

    fn after(&self, ask: &Ask<'_>) -> Option<String> {
        updates(ask).then(|| TELL.to_owned())
    }
}

/// Whether this part changes the alarm's first message: it has recovered.
fn updates(ask: &Ask<'_>) -> bool {
    ask.part.is_none() && ask.thread().is_some() && ask.message.look == Look::Recovered
}

impl Discord {
    fn called(&self, message: &Message) -> String {
        if message.look == Look::Recovered {
            return String::new();
        }
        let Mentions {
            users,
            roles,
            everyone,
        } = &self.mentions;
        let users = users.iter().map(|id| format!("<@{id}>"));
        let roles = roles.iter().map(|id| format!("<@&{id}>"));
        let everyone = everyone.then(|| "@everyone".to_owned());
        let called: Vec<String> = users.chain(roles).chain(everyone).collect();
        called.join(" ")
    }
}

fn title(message: &Message) -> String {
    format!(
        "{} {}",
        message.look.style().emoji,
        message.title_with(|value| DISCORD.apply(value).into_owned())
    )
}

/// The operator's own text, or lines; and links.
fn description(message: &Message) -> String {
    let mut lines = Vec::new();
    if let Some(text) = &message.text {
        lines.push(text.clone());
    } else {
        for line in &message.lines {
            lines.push(format!(
                "{} {}",
                line.look.style().emoji,
                DISCORD.apply(&line.text)
            ));
        }
        lines.extend(message.more());
    }
    for link in &message.links {
        lines.push(format!("[{}]({})", DISCORD.apply(&link.label), link.url));
    }
    lines.join("\n")
}

fn fields(message: &Message) -> Vec<(&'static str, String)> {
    if message.text.is_some() {
        return Vec::new();
    }
    message
        .told()
        .iter()
        .take(FIELDS_MAX)
        .map(|fact| (fact.label, value(fact)))
        .collect()
}

fn value(fact: &Fact) -> String {
    match &fact.code {
        // A code span ends at the next backtick, and nothing in it is escaped.
        Some(code) => format!(
            "`{}` {}",
            code.replace('`', "ˋ"),
            DISCORD.apply(&fact.value)
        )
        .trim_end()
        .to_owned(),
        None => DISCORD.apply(&fact.value).into_owned(),
    }
}

/// Short values stand beside each other.
fn value_is_short(value: &str) -> bool {
    Unit::Chars.count(value) <= 40
}

fn fits(message: &Message) -> bool {
    let chars = |text: &str| Unit::Chars.count(text);
    let (title, description) = (chars(&title(message)), chars(&description(message)));
    let footer = message.footer.as_deref().map_or(0, chars);
    let fields = fields(message);
    let all: usize = fields
        .iter()
        .map(|(name, value)| chars(name) + chars(value))
        .sum();
    title <= TITLE_CHARS_MAX
        && description <= DESCRIPTION_CHARS_MAX
        && footer <= FOOTER_CHARS_MAX
        && fields
            .iter()
            .all(|(_, value)| chars(value) <= VALUE_CHARS_MAX)
        && title + description + footer + all <= ALL_CHARS_MAX
}
