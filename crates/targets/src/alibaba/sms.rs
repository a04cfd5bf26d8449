//! The kind `alibaba-sms`: short messages by an approved template.
//!
//! `POST /?PhoneNumbers=...` with `x-acs-action: SendSms`. A request could name many numbers, but its answer has one code
//! for all of them, so that one wrong number would keep the message from everybody: each number has its own.

use std::collections::BTreeMap;
use std::time::Duration;

use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::{Account, Action, check_template, judge, number};
use crate::message::escape::SMS_PARAM;
use crate::message::settings::Common;
use crate::messenger::{About, Answer, Ask, Check};
use crate::phone::variable::{Named, check_sign_name};
use crate::phone::{Call, Heard, Phone};
use crate::secret::Secret;
use crate::target::ChannelLimit;

const ACTION: Action = Action {
    name: "SendSms",
    version: "2017-05-25",
};
/// Far below what an account may do in a second; numbers have limits of their own.
const LIMIT: ChannelLimit = ChannelLimit {
    permits: 60,
    per: Duration::from_mins(1),
    burst: 20,
};

/// Settings of an Alibaba SMS target.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SmsSettings {
    /// The id of an `AccessKey`.
    access_key_id: String,
    /// The secret of the same key.
    access_key_secret: Secret,
    /// The approved signature, without its brackets.
    sign_name: String,
    /// The code of the approved template (`SMS_...`).
    template_code: String,
    /// What stands in the template's variables, by their names (at most 10).
    #[serde(default)]
    variables: Named,
    /// The longest value of a variable, in characters (1 to 100); the template's approval says what is allowed.
    #[serde(default = "variable_chars_default")]
    #[schemars(range(min = 1, max = 100))]
    variable_chars_max: usize,
    /// Where the API listens, such as `https://dysmsapi.ap-southeast-1.aliyuncs.com` for the account's region. Absent: `https://dysmsapi.aliyuncs.com`.
    #[serde(default)]
    base_url: Option<String>,
}

const fn variable_chars_default() -> usize {
    20
}

/// An Alibaba SMS target.
pub(crate) struct AlibabaSms {
    account: Account,
    sign_name: String,
    template_code: String,
    variables: Named,
    variable_chars_max: usize,
}

impl Phone for AlibabaSms {
    type Settings = SmsSettings;
    const ABOUT: About = About {
        name: "alibaba-sms",
        title: ("Alibaba Cloud SMS", "阿里云短信"),
        about: (
            "Sends short messages through Alibaba Cloud, by a template that was approved.",
            "通过阿里云短信按已审批的模板发送短信。",
        ),
        vendor: "Alibaba Cloud SMS",
        secrets: &["accessKeySecret"],
        signing: &[],
        base: "https://dysmsapi.aliyuncs.com",
    };
    const ESCAPE: Escape = SMS_PARAM;
    const NUMBERS_MAX: usize = 1;

    fn example() -> Value {
        json!({
            "accessKeyId": "LTAIexample0123456789", "accessKeySecret": "example-secret-key-0123456789",
            "signName": "演示", "templateCode": "SMS_100001",
            "variables": { "level": "severity", "event": "event", "id": "resource", "time": "time" },
            "to": ["+8613800000000"], "people": { "groups": ["on-call"] }
        })
    }

    fn new(settings: SmsSettings, check: &mut Check<'_>) -> Option<Self> {
        check.need(
            !settings.sign_name.is_empty(),
            "/signName",
            "expected an approved signature",
        );
        check_sign_name(check, &settings.sign_name);
        check_template(check, "/templateCode", &settings.template_code);
        settings.variables.check(check, settings.variable_chars_max);
        let account = Account::new(
            settings.base_url.as_deref(),
            Self::ABOUT.base,
            settings.access_key_id,
            settings.access_key_secret,
            check,
        )?;
        Some(Self {
            account,
            sign_name: settings.sign_name,
            template_code: settings.template_code,
            variables: settings.variables,
            variable_chars_max: settings.variable_chars_max,
        })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        Some((self.account.counted_by().to_owned(), LIMIT))
    }

    fn call(&self, ask: &Ask<'_>, common: &Common, numbers: &[&str]) -> Result<Call, String> {
        let called = numbers.first().copied().unwrap_or_default();
        let values = self
            .variables
            .values(ask, common.time_zone, self.variable_chars_max);
        let parameters = BTreeMap::from([
            ("PhoneNumbers", number(called).to_owned()),
            ("SignName", self.sign_name.clone()),
            ("TemplateCode", self.template_code.clone()),
            ("TemplateParam", values.to_string()),
            ("OutId", ask.job.delivery.to_string()),
        ]);
        Ok(self.account.call(&ACTION, &parameters, ask.now_ms))
    }

    fn judge(&self, answer: &Answer<'_>, _: &[&str]) -> Heard {
        judge(answer)
    }
}
