//! The kind `gotify`: push messages through a Gotify server of one's own. Texts are plain; there is no rate limit.

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

/// Most bytes of a message; Gotify has no limit, but nobody reads more on a phone.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Settings of a Gotify application.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GotifySettings {
    /// The server, such as `https://gotify.example.com`.
    base_url: String,
    /// The token of an application.
    token: Secret,
}

/// An application.
pub(crate) struct Gotify {
    base: Url,
    token: String,
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
        "the token is wrong",
        "token 错误",
    ),
    code(
        "403",
        Class::Misconfigured,
        "the token is not that of an application",
        "token 无权限",
    ),
    code(
        "404",
        Class::Misconfigured,
        "no Gotify server at this address",
        "该地址没有 Gotify 服务",
    ),
];

impl Messenger for Gotify {
    type Settings = GotifySettings;
    const ABOUT: About = About {
        name: "gotify",
        title: ("Gotify", "Gotify 推送"),
        about: (
            "Pushes messages through a Gotify server of your own.",
            "通过自建的 Gotify 服务器推送消息。",
        ),
        vendor: "Gotify",
        secrets: &["token"],
        signing: &[],
        base: "",
    };
    const ESCAPE: Escape = LINE;

    fn example() -> Value {
        json!({ "baseUrl": "https://gotify.example.com", "token": "AKfz1.xampleToken" })
    }

    fn new(settings: GotifySettings, check: &mut Check<'_>) -> Option<Self> {
        check.token(
            "/token",
            &settings.token,
            "expected the token of an application",
        );
        let base = check.base(Some(&settings.base_url), "")?;
        Some(Self {
            base,
            token: settings.token.expose().to_owned(),
        })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        None
    }

    fn body(&self, ask: &Ask<'_>) -> Value {
        let text = |message: &Message| write_body(message, &Plain);
        let message = ask.fitted(|message| text(message).len() <= MESSAGE_BYTES_MAX);
        let mut extras = json!({ "client::display": { "contentType": "text/plain" } });
        if let Some(link) = message.links.first() {
            extras["client::notification"] = json!({ "click": { "url": link.url } });
        }
        json!({
            "title": message.title(),
            "message": text(&message),
            "priority": message.look.style().gotify,
            "extras": extras,
        })
    }

    fn request(&self, _: &Ask<'_>, _: &mut Value) -> Outgoing {
        Outgoing {
            headers: vec![("x-gotify-key", self.token.clone())],
            ..Outgoing::post(below(&self.base, "/message"))
        }
    }

    fn judge(&self, _: &Ask<'_>, answer: &Answer<'_>) -> Said {
        if answer.is_success() {
            return match answer.number("/id") {
                Some(_) => Said::Taken { thread: None },
                None => Said::Unclear,
            };
        }
        let words = answer.word("/errorDescription").unwrap_or_default();
        match (answer.number("/errorCode"), answer.status) {
            (Some(_), status @ (400 | 401 | 403 | 404)) => {
                Said::refused(CODES, status.to_string(), words)
            }
            _ => Said::Unclear,
        }
    }
}
