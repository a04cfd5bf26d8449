//! The kind `tencent-sms`: short messages by an approved template.
//!
//! `POST /` with `X-TC-Action: SendSms`; the answer has a code for each number.

use std::time::Duration;

use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::{Account, Action, check_ids, error, refusal};
use crate::message::escape::SMS_PARAM;
use crate::message::settings::Common;
use crate::messenger::{About, Answer, Ask, Check};
use crate::phone::variable::{Variable, check_sign_name, check_variables, values};
use crate::phone::{Call, Heard, One, Phone};
use crate::secret::Secret;
use crate::target::ChannelLimit;

const ACTION: Action = Action {
    service: "sms",
    name: "SendSms",
    version: "2021-01-11",
};
/// Below what an account may do in a second; numbers have limits of their own.
const LIMIT: ChannelLimit = ChannelLimit {
    permits: 60,
    per: Duration::from_mins(1),
    burst: 20,
};

/// Settings of a Tencent SMS target.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SmsSettings {
    /// The `SecretId` of an API key.
    secret_id: String,
    /// The `SecretKey` of the same key.
    secret_key: Secret,
    /// The region of the API.
    #[serde(default = "region_default")]
    region: String,
    /// The `SdkAppId` of the SMS application.
    app_id: String,
    /// The approved signature, without its brackets. Numbers outside of mainland China need none.
    #[serde(default)]
    sign_name: String,
    /// The id of the approved template.
    template_id: String,
    /// What stands in the template's variables, in their order (at most 10).
    #[serde(default = "variables_default")]
    #[schemars(length(max = 10))]
    variables: Vec<Variable>,
    /// The longest value of a variable, in characters (1 to 100); the template's approval says what is allowed.
    #[serde(default = "variable_chars_default")]
    #[schemars(range(min = 1, max = 100))]
    variable_chars_max: usize,
    /// Where the API listens. Absent: `https://sms.tencentcloudapi.com`.
    #[serde(default)]
    base_url: Option<String>,
}

pub(super) fn region_default() -> String {
    "ap-guangzhou".to_owned()
}
fn variables_default() -> Vec<Variable> {
    vec![
        Variable::Severity,
        Variable::Event,
        Variable::Resource,
        Variable::Time,
    ]
}
const fn variable_chars_default() -> usize {
    20
}

/// A Tencent SMS target.
pub(crate) struct TencentSms {
    account: Account,
    settings: Ids,
}

struct Ids {
    app_id: String,
    sign_name: String,
    template_id: String,
    variables: Vec<Variable>,
    variable_chars_max: usize,
}

impl Phone for TencentSms {
    type Settings = SmsSettings;
    const ABOUT: About = About {
        name: "tencent-sms",
        title: ("Tencent Cloud SMS", "腾讯云短信"),
        about: (
            "Sends short messages through Tencent Cloud, by a template that was approved.",
            "通过腾讯云短信按已审批的模板发送短信。",
        ),
        vendor: "Tencent Cloud SMS",
        secrets: &["secretKey"],
        signing: &[],
        base: "https://sms.tencentcloudapi.com",
    };
    const ESCAPE: Escape = SMS_PARAM;
    const NUMBERS_MAX: usize = 200;

    fn example() -> Value {
        json!({
            "secretId": "AKIDexample0123456789", "secretKey": "example-secret-key-0123456789",
            "appId": "1400000000", "signName": "演示", "templateId": "100001",
            "variables": ["severity", "event", "resource", "time"],
            "to": ["+8613800000000"], "people": { "groups": ["on-call"] }
        })
    }

    fn new(settings: SmsSettings, check: &mut Check<'_>) -> Option<Self> {
        check_ids(check, &settings.app_id, &settings.template_id);
        check_sign_name(check, &settings.sign_name);
        check_variables(check, settings.variables.len(), settings.variable_chars_max);
        let account = Account::new(
            settings.base_url.as_deref(),
            Self::ABOUT.base,
            settings.secret_id,
            settings.secret_key,
            settings.region,
            check,
        )?;
        Some(Self {
            account,
            settings: Ids {
                app_id: settings.app_id,
                sign_name: settings.sign_name,
                template_id: settings.template_id,
                variables: settings.variables,
                variable_chars_max: settings.variable_chars_max,
            },
        })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        Some((
            format!("{}\n{}", self.account.counted_by(), self.settings.app_id),
            LIMIT,
        ))
    }

    fn together(&self, one: &str, other: &str) -> bool {
        // All of the mainland, or none.
        one.starts_with("+86") == other.starts_with("+86")
    }

    fn call(&self, ask: &Ask<'_>, common: &Common, numbers: &[&str]) -> Result<Call, String> {
        let ids = &self.settings;
        let values = values(
            &ids.variables,
            ask,
            common.time_zone,
            ids.variable_chars_max,
        );
        let body = json!({
            "PhoneNumberSet": numbers,
            "SmsSdkAppId": ids.app_id,
            "SignName": ids.sign_name,
            "TemplateId": ids.template_id,
            "TemplateParamSet": values,
            "SessionContext": ask.job.delivery.to_string(),
        });
        Ok(self.account.call(&ACTION, &body, ask.now_ms))
    }

    fn judge(&self, answer: &Answer<'_>, numbers: &[&str]) -> Heard {
        if let Some(refusal) = error(answer) {
            return Heard::Refused(refusal);
        }
        let statuses = answer.json.pointer("/Response/SendStatusSet");
        let Some(statuses) = statuses.and_then(Value::as_array) else {
            return Heard::Unclear;
        };
        let word = |status: &Value, member: &str| {
            status
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut each = Vec::new();
        let mut account = None;
        for (n, number) in numbers.iter().enumerate() {
            let named = statuses
                .iter()
                .find(|status| word(status, "PhoneNumber") == *number);
            let Some(status) = named.or_else(|| statuses.get(n)) else {
                continue;
            };
            let code = word(status, "Code");
            each.push(if code == "Ok" {
                One::Taken
            } else {
                let refusal = refusal(&code, &word(status, "Message"));
                One::of(&refusal).unwrap_or_else(|| {
                    let why = refusal.in_words();
                    account.get_or_insert(refusal);
                    One::Never(why)
                })
            });
        }
        match account {
            // Signature, template or balance: nobody got it, and nobody will.
            Some(refusal) if !each.contains(&One::Taken) => Heard::Refused(refusal),
            _ => Heard::Each(each),
        }
    }
}
