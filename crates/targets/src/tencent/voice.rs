//! The kind `tencent-voice`: calls that read an approved template aloud.
//!
//! `POST /` with `X-TC-Action: SendTtsVoice`, one number for each request. A recovery calls nobody.

use std::time::Duration;

use belfry_alarm::{Alarm, AlarmState};
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::{Account, Action, check_ids, error};
use super::sms::region_default;
use crate::message::escape::SMS_PARAM;
use crate::message::settings::Common;
use crate::messenger::{About, Answer, Ask, Check};
use crate::phone::variable::{Variable, check_variables, values};
use crate::phone::{Call, Heard, One, Phone};
use crate::secret::Secret;
use crate::target::ChannelLimit;

const ACTION: Action = Action {
    service: "vms",
    name: "SendTtsVoice",
    version: "2020-09-02",
};
const LIMIT: ChannelLimit = ChannelLimit {
    permits: 20,
    per: Duration::from_mins(1),
    burst: 10,
};

/// Settings of a Tencent voice target.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VoiceSettings {
    /// The `SecretId` of an API key.
    secret_id: String,
    /// The `SecretKey` of the same key.
    secret_key: Secret,
    /// The region of the API.
    #[serde(default = "region_default")]
    region: String,
    /// The `SdkAppId` of the voice application.
    app_id: String,
    /// The id of the approved template.
    template_id: String,
    /// What stands in the template's variables, in their order (at most 10).
    #[serde(default = "variables_default")]
    #[schemars(length(max = 10))]
    variables: Vec<Variable>,
    /// The longest value of a variable, in characters (1 to 100).
    #[serde(default = "variable_chars_default")]
    #[schemars(range(min = 1, max = 100))]
    variable_chars_max: usize,
    /// How often the text is read (1 to 3).
    #[serde(default = "play_times_default")]
    #[schemars(range(min = 1, max = 3))]
    play_times: u8,
    /// Where the API listens. Absent: `https://vms.tencentcloudapi.com`.
    #[serde(default)]
    base_url: Option<String>,
}

fn variables_default() -> Vec<Variable> {
    vec![Variable::Product, Variable::Name, Variable::Event]
}
const fn variable_chars_default() -> usize {
    40
}
const fn play_times_default() -> u8 {
    2
}

/// A Tencent voice target.
pub(crate) struct TencentVoice {
    account: Account,
    app_id: String,
    template_id: String,
    variables: Vec<Variable>,
    variable_chars_max: usize,
    play_times: u8,
}

impl Phone for TencentVoice {
    type Settings = VoiceSettings;
    const ABOUT: About = About {
        name: "tencent-voice",
        title: ("Tencent Cloud voice call", "腾讯云语音通知"),
        about: (
            "Calls phones through Tencent Cloud and reads a template aloud that was approved. For what somebody has to get up for.",
            "通过腾讯云语音按已审批的模板拨打电话，用于必须立即处理的告警。",
        ),
        vendor: "Tencent Cloud voice",
        secrets: &["secretKey"],
        signing: &[],
        base: "https://vms.tencentcloudapi.com",
    };
    const ESCAPE: Escape = SMS_PARAM;
    const NUMBERS_MAX: usize = 1;
    const PAUSE_SECONDS: u32 = 300;

    fn example() -> Value {
        json!({
            "secretId": "AKIDexample0123456789", "secretKey": "example-secret-key-0123456789",
            "appId": "1400000001", "templateId": "200001", "variables": ["product", "name", "event"],
            "to": ["+8613800000000"]
        })
    }

    fn new(settings: VoiceSettings, check: &mut Check<'_>) -> Option<Self> {
        check_ids(check, &settings.app_id, &settings.template_id);
        check_variables(check, settings.variables.len(), settings.variable_chars_max);
        check.need(
            (1..=3).contains(&settings.play_times),
            "/playTimes",
            "expected 1 to 3",
        );
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
            app_id: settings.app_id,
            template_id: settings.template_id,
            variables: settings.variables,
            variable_chars_max: settings.variable_chars_max,
            play_times: settings.play_times,
        })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        Some((
            format!("{}\n{}", self.account.counted_by(), self.app_id),
            LIMIT,
        ))
    }

    fn skips(&self, alarm: &Alarm) -> Option<&'static str> {
        (alarm.state == AlarmState::Recovered).then_some("nobody is called for a recovery")
    }

    fn call(&self, ask: &Ask<'_>, common: &Common, numbers: &[&str]) -> Result<Call, String> {
        let values = values(
            &self.variables,
            ask,
            common.time_zone,
            self.variable_chars_max,
        );
        let body = json!({
            "TemplateId": self.template_id,
            "CalledNumber": numbers.first().copied().unwrap_or_default(),
            "VoiceSdkAppid": self.app_id,
            "TemplateParamSet": values,
            "PlayTimes": self.play_times,
            "SessionContext": ask.job.delivery.to_string(),
        });
        Ok(self.account.call(&ACTION, &body, ask.now_ms))
    }

    fn judge(&self, answer: &Answer<'_>, _: &[&str]) -> Heard {
        if let Some(refusal) = error(answer) {
            // What is wrong with a number ends it for this number only.
            return match One::of(&refusal) {
                Some(one @ One::Never(_)) => Heard::Each(vec![one]),
                Some(one) if refusal.code.contains("Number") => Heard::Each(vec![one]),
                _ => Heard::Refused(refusal),
            };
        }
        match answer.word("/Response/SendStatus/CallId") {
            Some(id) if !id.is_empty() => Heard::Each(vec![One::Taken]),
            _ => Heard::Unclear,
        }
    }
}
