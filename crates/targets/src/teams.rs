//! The kind `teams`: a workflow webhook of Microsoft Teams, which takes Adaptive Cards.
//!
//! The whole address is the secret. 202 says that the flow has taken the card, not that it was shown. Values stand in
//! text runs, in which nothing is parsed.

use std::time::Duration;

use belfry_egress::Url;
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::message::escape::ADAPTIVE;
use crate::message::{Look, Message};
use crate::messenger::{About, Answer, Ask, Check, Class, Code, Messenger, Outgoing, Said, code};
use crate::secret::Secret;
use crate::target::ChannelLimit;

/// Most bytes of the whole body.
const BODY_BYTES_MAX: usize = 28 * 1024;

/// Settings of a Teams workflow.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TeamsSettings {
    /// The address of a workflow "when a webhook request is received". Secret.
    url: Secret,
    /// Who is called by each message, except by one that tells of a recovery.
    #[serde(default)]
    mentions: Vec<Mention>,
}

/// Somebody to call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mention {
    /// The user principal name, such as `zs@corp.example`, or the object id.
    id: String,
    /// The name that is shown.
    name: String,
}

/// A workflow.
pub(crate) struct Teams {
    url: Url,
    mentions: Vec<Mention>,
}

static CODES: &[Code] = &[
    code(
        "400",
        Class::Permanent,
        "the card is not accepted",
        "卡片不合法",
    ),
    code(
        "401",
        Class::Misconfigured,
        "the address is wrong or not valid any more",
        "地址错误或已失效",
    ),
    code(
        "403",
        Class::Misconfigured,
        "the flow may not be used from here",
        "流程拒绝了此请求",
    ),
    code(
        "404",
        Class::Misconfigured,
        "the flow does not exist or is turned off",
        "流程不存在或已关闭",
    ),
    code(
        "413",
        Class::TooLarge,
        "larger than 28 KB",
        "消息超过 28 KB",
    ),
];

impl Messenger for Teams {
    type Settings = TeamsSettings;
    const ABOUT: About = About {
        name: "teams",
        title: ("Microsoft Teams", "Microsoft Teams"),
        about: (
            "Sends cards to a Microsoft Teams channel or chat through a workflow webhook.",
            "通过工作流 webhook 把卡片发送到 Microsoft Teams 频道或聊天。",
        ),
        vendor: "Teams",
        secrets: &["url"],
        signing: &[],
        base: "",
    };
    const ESCAPE: Escape = ADAPTIVE;

    fn example() -> Value {
        json!({ "url": "https://prod-01.westeurope.logic.azure.com/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sig=aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE9f" })
    }

    fn new(settings: TeamsSettings, check: &mut Check<'_>) -> Option<Self> {
        let TeamsSettings { url, mentions } = settings;
        check.need(mentions.len() <= 50, "/mentions", "at most 50");
        for (n, Mention { id, name }) in mentions.iter().enumerate() {
            let plain = |text: &str| {
                (1..=128).contains(&text.len())
                    && !text
                        .chars()
                        .any(|c| c.is_control() || matches!(c, '<' | '>'))
            };
            check.need(
                plain(id),
                &format!("/mentions/{n}/id"),
                "expected a user principal name or object id",
            );
            check.need(
                plain(name),
                &format!("/mentions/{n}/name"),
                "expected a name",
            );
        }
        let url = check.url("/url", url.expose())?;
        Some(Self { url, mentions })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        let limit = ChannelLimit {
            permits: 60,
            per: Duration::from_mins(1),
            burst: 3,
        };
        Some((self.url.to_string(), limit))
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let message = ask.fitted(|message| self.card(message).to_string().len() <= BODY_BYTES_MAX);
        self.card(&message)
    }

    fn request(&self, _: &Ask<'_>, _: &mut Value) -> Outgoing {
        Outgoing::post(self.url.clone())
    }

    fn judge(&self, _: &Ask<'_>, answer: &Answer<'_>) -> Said {
        match (answer.status, answer.text.trim()) {
            // Some flows answer 200, with nothing; a page comes from something in between.
            (202, _) | (200, "" | "1") => Said::Taken { thread: None },
            (status @ (400 | 401 | 403 | 404 | 413), _) => {
                let words = answer.word("/error/message").unwrap_or_default();
                Said::refused(CODES, status.to_string(), words)
            }
            _ => Said::Unclear,
        }
    }
}

impl Teams {
    fn card(&self, message: &Message) -> Value {
        let run = |text: &str| json!({ "type": "TextRun", "text": text });
        let bold = |text: &str| json!({ "type": "TextRun", "text": text, "weight": "Bolder" });
        let rich = |runs: Vec<Value>| json!({ "type": "RichTextBlock", "inlines": runs, "spacing": "Small" });
        let mut body = vec![json!({
            "type": "RichTextBlock",
            "inlines": [{
                "type": "TextRun",
                "text": message.title(),
                "weight": "Bolder",
                "size": "Medium",
                "color": message.look.style().teams,
            }],
        })];
        if let Some(text) = &message.text {
            body.push(json!({ "type": "TextBlock", "text": text, "wrap": true }));
        } else {
            for fact in &message.told() {
                let label = bold(&format!("{}: ", fact.label));
                let mut runs = vec![label];
                if let Some(code) = &fact.code {
                    runs.push(json!({ "type": "TextRun", "text": code, "fontType": "Monospace" }));
                    if !fact.value.is_empty() {
                        runs.push(run(&format!(" {}", fact.value)));
                    }
                } else {
                    runs.push(run(&fact.value));
                }
                body.push(rich(runs));
            }
            for line in &message.lines {
                let text = format!("{} {}", line.look.style().emoji, line.text);
                body.push(rich(vec![run(&text)]));
            }
            body.extend(message.more().map(|more| rich(vec![run(&more)])));
        }
        if let Some(footer) = &message.footer {
            body.push(rich(vec![
                json!({ "type": "TextRun", "text": footer, "isSubtle": true, "size": "Small" }),
            ]));
        }
        let mut msteams = json!({ "width": "full" });
        if !self.mentions.is_empty() && message.look != Look::Recovered {
            let called: Vec<String> = self
                .mentions
                .iter()
                .map(|who| format!("<at>{}</at>", who.name))
                .collect();
            body.push(json!({ "type": "TextBlock", "text": called.join(" "), "wrap": true }));
            let entities: Vec<Value> = self
                .mentions
                .iter()
                .map(|who| {
                    json!({
                        "type": "mention",
                        "text": format!("<at>{}</at>", who.name),
                        "mentioned": { "id": who.id, "name": who.name },
                    })
                })
                .collect();
            msteams["entities"] = json!(entities);
        }
        let actions: Vec<Value> = message
            .links
            .iter()
            .map(|link| json!({ "type": "Action.OpenUrl", "title": link.label, "url": link.url }))
            .collect();
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "fallbackText": message.title(),
                    "msteams": msteams,
                    "body": body,
                    "actions": actions,
                },
            }],
        })
    }
}
