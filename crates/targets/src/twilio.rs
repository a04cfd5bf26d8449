//! The kind `twilio`: short messages and calls through Twilio.
//!
//! `POST /2010-04-01/Accounts/<sid>/Messages.json` or `Calls.json`, a form, one number for each request; 201 with a
//! `sid` means taken, else `code` and `message` say why not. A recovery calls nobody.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use belfry_alarm::{Alarm, AlarmState, PHONE_NUMBER_EXPECTED, is_phone_number};
use belfry_egress::{Method, Url};
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::message::cut::Unit;
use crate::message::escape::LINE;
use crate::message::markup::{Plain, write};
use crate::message::settings::Common;
use crate::messenger::{About, Answer, Ask, Check, Class, Code, Refusal, below, code};
use crate::phone::{Call, Heard, One, Phone};
use crate::secret::Secret;
use crate::target::ChannelLimit;

/// Most characters of a message.
const BODY_CHARS_MAX: usize = 1600;
/// Twilio queues what comes faster; a call a second is what a number may make.
const LIMIT: ChannelLimit = ChannelLimit {
    permits: 50,
    per: Duration::from_mins(1),
    burst: 10,
};

/// Settings of a Twilio target.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TwilioSettings {
    /// The account's SID (`AC...`).
    account_sid: String,
    /// The account's token.
    auth_token: Secret,
    /// A message, or a call that reads it aloud.
    #[serde(default)]
    medium: Medium,
    /// The number it comes from, E.164. Needed for calls; for messages this or `messagingServiceSid`.
    #[serde(default)]
    from: Option<String>,
    /// The messaging service that chooses the number (`MG...`).
    #[serde(default)]
    messaging_service_sid: Option<String>,
    /// The longest message, in characters (70 to 1,600); a provider bills each 67 to 153 of them.
    #[serde(default = "chars_default")]
    #[schemars(range(min = 70, max = 1600))]
    chars_max: usize,
    /// Where Twilio listens. Absent: `https://api.twilio.com`.
    #[serde(default)]
    base_url: Option<String>,
}

/// How people are reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Medium {
    /// A short message.
    #[default]
    Sms,
    /// A call.
    Call,
}

const fn chars_default() -> usize {
    320
}

/// A Twilio target.
pub(crate) struct Twilio {
    url: Url,
    authorization: String,
    account_sid: String,
    medium: Medium,
    from: (&'static str, String),
    chars_max: usize,
}

static CODES: &[Code] = &[
    code(
        "20003",
        Class::Misconfigured,
        "the account or its token is not accepted",
        "账号或令牌不被接受",
    ),
    code(
        "20404",
        Class::Misconfigured,
        "the account does not exist",
        "账号不存在",
    ),
    code(
        "20429",
        Class::Throttled(10_000),
        "too many requests",
        "请求过于频繁",
    ),
    code(
        "14107",
        Class::Throttled(60_000),
        "too many messages",
        "发送过快",
    ),
    code(
        "21201",
        Class::Permanent,
        "no number to call",
        "缺少被叫号码",
    ),
    code(
        "21210",
        Class::Misconfigured,
        "the number in from is not yours",
        "from 号码未验证",
    ),
    code(
        "21211",
        Class::Permanent,
        "the number is not a phone number",
        "号码无效",
    ),
    code(
        "21212",
        Class::Misconfigured,
        "the number in from is not valid",
        "from 号码无效",
    ),
    code(
        "21214",
        Class::Permanent,
        "the number cannot be called",
        "号码无法接通",
    ),
    code(
        "21215",
        Class::Misconfigured,
        "calls to this country are not allowed by the account",
        "账号未开通该国家的呼叫",
    ),
    code(
        "21217",
        Class::Permanent,
        "the number is not a phone number",
        "号码无效",
    ),
    code(
        "21408",
        Class::Misconfigured,
        "messages to this country are not allowed by the account",
        "账号未开通该国家的短信",
    ),
    code(
        "21606",
        Class::Misconfigured,
        "the number in from cannot send messages",
        "from 号码不能发送短信",
    ),
    code(
        "21608",
        Class::Permanent,
        "a trial account reaches only verified numbers",
        "试用账号只能发送给已验证的号码",
    ),
    code(
        "21610",
        Class::Permanent,
        "the number wants no messages",
        "对方已退订",
    ),
    code(
        "21611",
        Class::Throttled(60_000),
        "too many messages wait at Twilio",
        "Twilio 队列已满",
    ),
    code(
        "21614",
        Class::Permanent,
        "the number takes no messages",
        "号码不能接收短信",
    ),
    code(
        "21617",
        Class::TooLarge,
        "longer than 1600 characters",
        "超过 1600 字符",
    ),
    code(
        "21701",
        Class::Misconfigured,
        "the messaging service does not exist",
        "消息服务不存在",
    ),
    code(
        "21703",
        Class::Misconfigured,
        "the messaging service has no number",
        "消息服务没有号码",
    ),
];

impl Phone for Twilio {
    type Settings = TwilioSettings;
    const ABOUT: About = About {
        name: "twilio",
        title: ("Twilio", "Twilio 短信与电话"),
        about: (
            "Sends short messages or makes calls through Twilio.",
            "通过 Twilio 发送短信或拨打电话。",
        ),
        vendor: "Twilio",
        secrets: &["authToken"],
        signing: &[],
        base: "https://api.twilio.com",
    };
    const ESCAPE: Escape = LINE;
    const NUMBERS_MAX: usize = 1;

    fn example() -> Value {
        json!({
            "accountSid": "AC00000000000000000000000000000001", "authToken": "example-token-0123456789abcdef",
            "medium": "sms", "from": "+12025550100", "to": ["+12025550123"], "language": "en"
        })
    }

    fn new(settings: TwilioSettings, check: &mut Check<'_>) -> Option<Self> {
        let sid = |text: &str, prefix: &str| {
            text.len() == 34
                && text.starts_with(prefix)
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let good = sid(&settings.account_sid, "AC");
        check.need(
            good,
            "/accountSid",
            "expected the SID of an account: AC and 32 digits or letters",
        );
        check.token(
            "/authToken",
            &settings.auth_token,
            "expected the token of the account",
        );
        if let Some(from) = &settings.from {
            check.need(is_phone_number(from), "/from", PHONE_NUMBER_EXPECTED);
        }
        if let Some(service) = &settings.messaging_service_sid {
            let good = sid(service, "MG");
            check.need(
                good,
                "/messagingServiceSid",
                "expected the SID of a messaging service: MG and 32 digits or letters",
            );
        }
        let chars = (70..=BODY_CHARS_MAX).contains(&settings.chars_max);
        check.need(chars, "/charsMax", "expected 70 to 1600");
        let from = match (
            settings.from,
            settings.messaging_service_sid,
            settings.medium,
        ) {
            (Some(from), None, _) => Some(("From", from)),
            (None, Some(service), Medium::Sms) => Some(("MessagingServiceSid", service)),
            (_, _, Medium::Call) => {
                check.error(
                    "/from",
                    "a call needs the number that it comes from, and no messaging service",
                );
                None
            }
            _ => {
                check.error("/from", "expected from or messagingServiceSid, one of them");
                None
            }
        };
        let base = check.base(settings.base_url.as_deref(), Self::ABOUT.base)?;
        let resource = match settings.medium {
            Medium::Sms => "Messages.json",
            Medium::Call => "Calls.json",
        };
        let path = format!("/2010-04-01/Accounts/{}/{resource}", settings.account_sid);
        let pair = format!("{}:{}", settings.account_sid, settings.auth_token.expose());
        Some(Self {
            url: below(&base, &path),
            authorization: format!("Basic {}", BASE64.encode(pair)),
            account_sid: settings.account_sid,
            medium: settings.medium,
            from: from?,
            chars_max: settings.chars_max,
        })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        Some((format!("{}\n{}", self.account_sid, self.from.1), LIMIT))
    }

    fn skips(&self, alarm: &Alarm) -> Option<&'static str> {
        let calls = self.medium == Medium::Call && alarm.state == AlarmState::Recovered;
        calls.then_some("nobody is called for a recovery")
    }

    fn call(&self, ask: &Ask<'_>, _: &Common, numbers: &[&str]) -> Result<Call, String> {
        let mut form = Serializer::new(String::new());
        form.append_pair("To", numbers.first().copied().unwrap_or_default());
        form.append_pair(self.from.0, &self.from.1);
        match self.medium {
            Medium::Sms => {
                let text = |message: &_| write(message, &Plain);
                let message =
                    ask.fitted(|message| Unit::Chars.count(&text(message)) <= self.chars_max);
                form.append_pair("Body", &text(&message));
            }
            Medium::Call => {
                let message = ask.message;
                let said = message.text.clone().unwrap_or_else(|| message.title());
                let said = Escape::Html.apply(&said);
                let language = message.say("en-US", "zh-CN");
                let twiml = format!(
                    "<Response><Say language=\"{language}\" loop=\"2\">{said}</Say></Response>"
                );
                form.append_pair("Twiml", &twiml);
            }
        }
        Ok(Call {
            method: Method::POST,
            url: self.url.clone(),
            headers: vec![("authorization".to_owned(), self.authorization.clone())],
            content_type: Some("application/x-www-form-urlencoded"),
            body: form.finish(),
        })
    }

    fn judge(&self, answer: &Answer<'_>, _: &[&str]) -> Heard {
        if answer.is_success() {
            return match answer.word("/sid") {
                Some(sid) if !sid.is_empty() => Heard::Each(vec![One::Taken]),
                _ => Heard::Unclear,
            };
        }
        let Some(code) = answer.number("/code").map(|code| code.to_string()) else {
            return Heard::Unclear;
        };
        if answer.status >= 500 && Code::find(CODES, &code).is_none() {
            return Heard::Unclear;
        }
        let refusal = Refusal {
            retry_after_ms: answer.retry_after_ms(),
            ..Refusal::of(CODES, code, answer.word("/message").unwrap_or_default())
        };
        match refusal.class {
            // What is wrong with the number ends it for this number only.
            Class::Permanent => Heard::Each(vec![One::Never(refusal.in_words())]),
            _ => Heard::Refused(refusal),
        }
    }
}
