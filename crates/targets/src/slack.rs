//! The kind `slack`: an incoming webhook, or a bot that writes to a channel through the Web API.
//!
//! A webhook answers in plain words (`ok`), the Web API with `ok` in JSON and status 200. A bot keeps one alarm in one
//! conversation: repeats go into the thread of its first message, a recovery turns that message green and is told in
//! the thread as well. About one message a second for each channel.

use std::time::Duration;

use belfry_egress::Url;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::message::cut::Unit;
use crate::message::escape::SLACK;
use crate::message::{Fact, Look, Message};
use crate::messenger::{
    About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, below, code, is_plain_id,
};
use crate::secret::Secret;
use crate::settings::object;
use crate::target::ChannelLimit;

/// Most characters of `text`, as Slack advises.
const TEXT_CHARS_MAX: usize = 4000;
/// Most characters of a section's text.
const SECTION_CHARS_MAX: usize = 3000;
/// Most characters of a field, and most fields of a section.
const FIELD_CHARS_MAX: usize = 2000;
const FIELDS_MAX: usize = 10;
/// Most characters of a button.
const BUTTON_CHARS_MAX: usize = 75;
/// Most buttons in a row.
const BUTTONS_MAX: usize = 5;
/// The part that tells of a recovery in the thread, after the first message has turned green.
const TELL: &str = "tell";
/// The part that tells of it in a message of its own, since the first one cannot be changed.
const ANEW: &str = "anew";

/// Settings of a Slack target: `url`, or `token` and `channel`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SlackSettings {
    /// The address of an incoming webhook. Secret.
    url: Option<Secret>,
    /// A bot's token (`xoxb-…`) with the scope `chat:write`.
    token: Option<Secret>,
    /// The id of the channel that the bot writes to, such as `C0123456789`.
    channel: Option<String>,
    /// Who is called by each message, except by one that tells of a recovery.
    #[serde(default, deserialize_with = "object")]
    mentions: Mentions,
    /// Where the Web API listens. Absent: `https://slack.com`.
    base_url: Option<String>,
}

/// People to call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Mentions {
    /// Member ids (`U…`).
    users: Vec<String>,
    /// Ids of user groups (`S…`).
    groups: Vec<String>,
    /// Everybody who is active in the channel.
    here: bool,
    /// Everybody in the channel.
    channel: bool,
}

/// How messages get to Slack.
enum Way {
    Webhook(Url),
    Bot {
        base: Url,
        token: String,
        channel: String,
    },
}

/// A webhook or a bot.
pub(crate) struct Slack {
    way: Way,
    mentions: Mentions,
}

static CODES: &[Code] = &[
    code(
        "invalid_payload",
        Class::Permanent,
        "the request is not accepted in this form",
        "请求体不合法",
    ),
    code(
        "no_text",
        Class::Permanent,
        "the message is empty",
        "消息为空",
    ),
    code(
        "invalid_blocks",
        Class::Permanent,
        "the blocks are not accepted",
        "blocks 不合法",
    ),
    code(
        "invalid_attachments",
        Class::Permanent,
        "the attachments are not accepted",
        "attachments 不合法",
    ),
    code(
        "too_many_attachments",
        Class::Permanent,
        "too many attachments",
        "附件过多",
    ),
    code(
        "msg_too_long",
        Class::TooLarge,
        "the message is too long",
        "消息过长",
    ),
    code(
        "restricted_action",
        Class::Misconfigured,
        "the workspace does not allow it",
        "工作区不允许此操作",
    ),
    code(
        "action_prohibited",
        Class::Misconfigured,
        "an administrator has forbidden it",
        "管理员禁止了此操作",
    ),
    code(
        "invalid_token",
        Class::Misconfigured,
        "the webhook is not valid any more",
        "webhook 已失效",
    ),
    code(
        "no_service",
        Class::Misconfigured,
        "the webhook was removed or is disabled",
        "webhook 已被移除或停用",
    ),
    code(
        "no_team",
        Class::Misconfigured,
        "the workspace does not exist",
        "工作区不存在",
    ),
    code(
        "user_not_found",
        Class::Misconfigured,
        "the member does not exist",
        "成员不存在",
    ),
    code(
        "channel_not_found",
        Class::Misconfigured,
        "the channel does not exist, or the bot cannot see it",
        "频道不存在，或机器人看不到它",
    ),
    code(
        "channel_is_archived",
        Class::Misconfigured,
        "the channel is archived",
        "频道已归档",
    ),
    code(
        "is_archived",
        Class::Misconfigured,
        "the channel is archived",
        "频道已归档",
    ),
    code(
        "not_in_channel",
        Class::Misconfigured,
        "the bot is not in the channel; invite it",
        "机器人不在该频道中，请先邀请",
    ),
    code(
        "not_authed",
        Class::Misconfigured,
        "no token was sent",
        "没有提供 token",
    ),
    code(
        "invalid_auth",
        Class::Misconfigured,
        "the token is wrong",
        "token 错误",
    ),
    code(
        "account_inactive",
        Class::Misconfigured,
        "the bot's account is disabled",
        "机器人账号已停用",
    ),
    code(
        "token_revoked",
        Class::Misconfigured,
        "the token was revoked",
        "token 已被撤销",
    ),
    code(
        "token_expired",
        Class::Misconfigured,
        "the token has expired",
        "token 已过期",
    ),
    code(
        "missing_scope",
        Class::Misconfigured,
        "the token lacks the scope chat:write",
        "token 缺少 chat:write 权限",
    ),
    code(
        "ratelimited",
        Class::Throttled(1000),
        "too many messages",
        "发送过快",
    ),
    code(
        "rate_limited",
        Class::Throttled(1000),
        "too many messages",
        "发送过快",
    ),
    code(
        "internal_error",
        Class::Retry,
        "an error inside Slack",
        "Slack 内部错误",
    ),
    code(
        "fatal_error",
        Class::Retry,
        "an error inside Slack",
        "Slack 内部错误",
    ),
    code(
        "service_unavailable",
        Class::Retry,
        "Slack is not available",
        "Slack 暂不可用",
    ),
    code(
        "request_timeout",
        Class::Retry,
        "Slack did not get the whole request",
        "Slack 未收到完整请求",
    ),
    code(
        "rollup_error",
        Class::Retry,
        "an error inside Slack",
        "Slack 内部错误",
    ),
];

/// Why a message that was sent cannot be changed any more.
const UNCHANGEABLE: [&str; 3] = [
    "message_not_found",
    "cant_update_message",
    "edit_window_closed",
];

impl Messenger for Slack {
    type Settings = SlackSettings;
    const ABOUT: About = About {
        name: "slack",
        title: ("Slack", "Slack"),
        about: (
            "Sends messages to a Slack channel, through an incoming webhook or by a bot that keeps an alarm in one thread.",
            "把消息发送到 Slack 频道：通过 incoming webhook，或通过机器人把同一告警保持在一个会话中。",
        ),
        vendor: "Slack",
        secrets: &["url", "token"],
        signing: &[],
        base: "https://slack.com",
    };
    const ESCAPE: Escape = SLACK;

    fn example() -> Value {
        json!({ "url": "https://hooks.slack.com/services/T00000000/B00000000/abcd1234efgh5678ijkl9012" })
    }

    fn new(settings: SlackSettings, check: &mut Check<'_>) -> Option<Self> {
        let SlackSettings {
            url,
            token,
            channel,
            mentions,
            base_url,
        } = settings;
        let ids = "expected an id such as U0123456789";
        check.mentions("/mentions/users", &mentions.users, ids, is_plain_id);
        check.mentions(
            "/mentions/groups",
            &mentions.groups,
            "expected an id such as S0123456789",
            is_plain_id,
        );
        let way = match (url, token) {
            (Some(url), None) => {
                check.need(
                    channel.is_none(),
                    "/channel",
                    "a webhook has its own channel; leave this out",
                );
                check.need(
                    base_url.is_none(),
                    "/baseUrl",
                    "a webhook has its own address; leave this out",
                );
                Way::Webhook(check.url("/url", url.expose())?)
            }
            (None, Some(token)) => {
                check.token(
                    "/token",
                    &token,
                    "expected a bot's token, which begins with xoxb-",
                );
                let Some(channel) = channel else {
                    check.error("/channel", "this member is required and missing");
                    return None;
                };
                check.need(
                    channel.len() <= 128 && is_plain_id(channel.trim_start_matches('#')),
                    "/channel",
                    "expected the id of a channel such as C0123456789",
                );
                Way::Bot {
                    base: check.base(base_url.as_deref(), Self::ABOUT.base)?,
                    token: token.expose().to_owned(),
                    channel,
                }
            }
            (Some(_), Some(_)) => {
                check.error("/token", "expected either url or token, not both");
                return None;
            }
            (None, None) => {
                check.error(
                    "/url",
                    "expected url (an incoming webhook), or token and channel (a bot)",
                );
                return None;
            }
        };
        Some(Self { way, mentions })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        let limit = ChannelLimit {
            permits: 50,
            per: Duration::from_mins(1),
            burst: 3,
        };
        let by = match &self.way {
            Way::Webhook(url) => url.to_string(),
            Way::Bot {
                base,
                token,
                channel,
            } => format!("{base}\n{token}\n{channel}"),
        };
        Some((by, limit))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let message = ask.fitted(|message| self.fits(message));
        self.built(&message)
    }

    fn request(&self, ask: &Ask<'_>, body: &mut Value) -> Outgoing {
        match &self.way {
            Way::Webhook(url) => Outgoing::post(url.clone()),
            Way::Bot {
                base,
                token,
                channel,
            } => {
                let first = ask.thread().and_then(|thread| thread.split_once(' '));
                let mut path = "/api/chat.postMessage";
                if let Some(body) = body.as_object_mut() {
                    body.insert("channel".to_owned(), json!(channel));
                    match first {
                        Some((channel, ts)) if updates(ask) => {
                            path = "/api/chat.update";
                            body.insert("channel".to_owned(), json!(channel));
                            body.insert("ts".to_owned(), json!(ts));
                        }
                        Some((channel, ts)) if ask.part != Some(ANEW) => {
                            body.insert("channel".to_owned(), json!(channel));
                            body.insert("thread_ts".to_owned(), json!(ts));
                        }
                        _ => {}
                    }
                }
                Outgoing {
                    headers: vec![("authorization", format!("Bearer {token}"))],
                    ..Outgoing::post(below(base, path))
                }
            }
        }
    }

    fn judge(&self, ask: &Ask<'_>, answer: &Answer<'_>) -> Said {
        match &self.way {
            Way::Webhook(_) => {
                let word = answer.text.trim();
                if answer.status == 200 && word == "ok" {
                    return Said::Taken { thread: None };
                }
                if CODES.iter().any(|row| row.code == word) {
                    return Said::refused(CODES, word, "").wait(answer.retry_after_ms());
                }
                Said::Unclear
            }
            Way::Bot { .. } => match (answer.json.get("ok"), answer.word("/error")) {
                (Some(Value::Bool(true)), _) if answer.is_success() => {
                    // The first message stays what others refer to.
                    let new = ask.thread().is_none() || ask.part == Some(ANEW);
                    let thread = match (answer.word("/channel"), answer.word("/ts")) {
                        (Some(channel), Some(ts)) if new => Some(format!("{channel} {ts}")),
                        _ => None,
                    };
                    Said::Taken { thread }
                }
                (Some(Value::Bool(false)), Some(word))
                    if updates(ask) && UNCHANGEABLE.contains(&word) =>
                {
                    Said::Again {
                        part: ANEW.to_owned(),
                        detail: format!(
                            "{word}: the first message cannot be changed, so a new one follows"
                        ),
                    }
                }
                (Some(Value::Bool(false)), Some(word)) => {
                    Said::refused(CODES, word, "").wait(answer.retry_after_ms())
                }
                _ => Said::Unclear,
            },
        }
    }

    fn after(&self, ask: &Ask<'_>) -> Option<String> {
        (matches!(self.way, Way::Bot { .. }) && updates(ask)).then(|| TELL.to_owned())
    }
}

/// Whether this part changes the alarm's first message: it has recovered.
fn updates(ask: &Ask<'_>) -> bool {
    ask.part.is_none() && ask.thread().is_some() && ask.message.look == Look::Recovered
}

impl Slack {
    fn called(&self, message: &Message) -> String {
        if message.look == Look::Recovered {
            return String::new();
        }
        let Mentions {
            users,
            groups,
            here,
            channel,
        } = &self.mentions;
        let users = users.iter().map(|id| format!("<@{id}> "));
        let groups = groups.iter().map(|id| format!("<!subteam^{id}> "));
        let here = here.then(|| "<!here> ".to_owned());
        let channel = channel.then(|| "<!channel> ".to_owned());
        users.chain(groups).chain(here).chain(channel).collect()
    }

    /// What a locked phone shows.
    fn text(&self, message: &Message) -> String {
        format!(
            "{}{} {}",
            self.called(message),
            message.look.style().emoji,
            message.title_with(|value| SLACK.apply(value).into_owned())
        )
    }

    fn fits(&self, message: &Message) -> bool {
        let chars = |text: &str| Unit::Chars.count(text);
        chars(&self.text(message)) <= TEXT_CHARS_MAX
            && said(message).is_none_or(|text| chars(&text) <= SECTION_CHARS_MAX)
            && message
                .told()
                .iter()
                .all(|fact| chars(&field(fact)) <= FIELD_CHARS_MAX)
            && message
                .footer
                .as_ref()
                .is_none_or(|footer| chars(&SLACK.apply(footer)) <= FIELD_CHARS_MAX)
    }

    fn built(&self, message: &Message) -> Value {
        let marked = |text: &str| json!({ "type": "mrkdwn", "text": text });
        let mut blocks = Vec::new();
        if message.text.is_none() {
            for facts in message.told().chunks(FIELDS_MAX) {
                let fields: Vec<Value> = facts.iter().map(|fact| marked(&field(fact))).collect();
                blocks.push(json!({ "type": "section", "fields": fields }));
            }
        }
        if let Some(text) = said(message) {
            blocks.push(json!({ "type": "section", "text": marked(&text) }));
        }
        let buttons: Vec<Value> = message
            .links
            .iter()
            .take(BUTTONS_MAX)
            .map(|link| {
                let label: String = link.label.chars().take(BUTTON_CHARS_MAX).collect();
                json!({ "type": "button", "text": { "type": "plain_text", "text": label }, "url": link.url })
            })
            .collect();
        if !buttons.is_empty() {
            blocks.push(json!({ "type": "actions", "elements": buttons }));
        }
        if let Some(footer) = &message.footer {
            let footer = marked(&SLACK.apply(footer));
            blocks.push(json!({ "type": "context", "elements": [footer] }));
        }
        json!({
            "text": self.text(message),
            // The colour needs an attachment; blocks inside it keep their layout.
            "attachments": [{
                "color": format!("#{:06X}", message.look.style().rgb),
                "fallback": message.title(),
                "blocks": blocks,
            }],
            "unfurl_links": false,
            "unfurl_media": false,
        })
    }
}

/// A section of text: the operator's own, or the lines.
fn said(message: &Message) -> Option<String> {
    if message.text.is_some() {
        return message.text.clone();
    }
    let lines: Vec<String> = message
        .lines
        .iter()
        .map(|line| format!("{} {}", line.look.style().emoji, SLACK.apply(&line.text)))
        .chain(message.more())
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn field(fact: &Fact) -> String {
    let value = match &fact.code {
        // A code span ends at the next backtick.
        Some(code) => format!(
            "`{}` {}",
            SLACK.apply(&code.replace('`', "ˋ")),
            SLACK.apply(&fact.value)
        ),
        None => SLACK.apply(&fact.value).into_owned(),
    };
    format!("*{}*\n{}", fact.label, value.trim_end())
}
