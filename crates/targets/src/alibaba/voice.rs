//! The kind `alibaba-voice`: calls that read an approved template aloud.
//!
//! `POST /?CalledNumber=...` with `x-acs-action: SingleCallByTts`, one number for each request. A recovery calls nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use belfry_alarm::{Alarm, AlarmState};
use belfry_transform::Escape;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::{Account, Action, check_template, judge, number};
use crate::message::escape::SMS_PARAM;
use crate::message::settings::Common;
use crate::messenger::{About, Answer, Ask, Check, is_phone};
use crate::phone::variable::Named;
use crate::phone::{Call, Heard, Phone};
use crate::secret::Secret;
use crate::target::ChannelLimit;

const ACTION: Action = Action {
    name: "SingleCallByTts",
    version: "2017-05-25",
};
const LIMIT: ChannelLimit = ChannelLimit {
    permits: 20,
    per: Duration::from_mins(1),
    burst: 10,
};

/// Settings of an Alibaba voice target.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VoiceSettings {
    /// The id of an `AccessKey`.
    access_key_id: String,
    /// The secret of the same key.
    access_key_secret: Secret,
    /// The number that calls, as the console shows it. Absent: one of the vendor's (公共模式).
    #[serde(default)]
    called_show_number: Option<String>,
    /// The code of the approved template (`TTS_...`).
    tts_code: String,
    /// What stands in the template's variables, by their names (at most 10).
    #[serde(default)]
    variables: Named,
    /// The longest value of a variable, in characters (1 to 100).
    #[serde(default = "variable_chars_default")]
    #[schemars(range(min = 1, max = 100))]
    variable_chars_max: usize,
    /// How often the text is read (1 to 3).
    #[serde(default = "play_times_default")]
    #[schemars(range(min = 1, max = 3))]
    play_times: u8,
    /// Where the API listens. Absent: `https://dyvmsapi.aliyuncs.com`.
    #[serde(default)]
    base_url: Option<String>,
}

const fn variable_chars_default() -> usize {
    40
}
const fn play_times_default() -> u8 {
    2
}

/// An Alibaba voice target.
pub(crate) struct AlibabaVoice {
    account: Account,
    called_show_number: Option<String>,
    tts_code: String,
    variables: Named,
    variable_chars_max: usize,
    play_times: u8,
}

impl Phone for AlibabaVoice {
    type Settings = VoiceSettings;
    const ABOUT: About = About {
        name: "alibaba-voice",
        title: ("Alibaba Cloud voice call", "阿里云语音通知"),
        about: (
            "Calls phones through Alibaba Cloud and reads a template aloud that was approved. For what somebody has to get up for.",
            "通过阿里云语音按已审批的模板拨打电话，用于必须立即处理的告警。",
        ),
        vendor: "Alibaba Cloud voice",
        secrets: &["accessKeySecret"],
        signing: &[],
        base: "https://dyvmsapi.aliyuncs.com",
    };
    const ESCAPE: Escape = SMS_PARAM;
    const NUMBERS_MAX: usize = 1;
    const PAUSE_SECONDS: u32 = 300;

    fn example() -> Value {
        json!({
            "accessKeyId": "LTAIexample0123456789", "accessKeySecret": "example-secret-key-0123456789",
            "calledShowNumber": "057100000000", "ttsCode": "TTS_100001",
            "variables": { "product": "product", "name": "name", "event": "event" },
            "to": ["+8613800000000"]
        })
    }

    fn new(settings: VoiceSettings, check: &mut Check<'_>) -> Option<Self> {
        if let Some(shown) = &settings.called_show_number {
            check.need(
                is_phone(shown),
                "/calledShowNumber",
                "expected the number that calls, in digits",
            );
        }
        check_template(check, "/ttsCode", &settings.tts_code);
        settings.variables.check(check, settings.variable_chars_max);
        check.need(
            (1..=3).contains(&settings.play_times),
            "/playTimes",
            "expected 1 to 3",
        );
        let account = Account::new(
            settings.base_url.as_deref(),
            Self::ABOUT.base,
            settings.access_key_id,
            settings.access_key_secret,
            check,
        )?;
        Some(Self {
            account,
            called_show_number: settings.called_show_number,
            tts_code: settings.tts_code,
            variables: settings.variables,
            variable_chars_max: settings.variable_chars_max,
            play_times: settings.play_times,
        })
    }

    fn channel(&self) -> Option<(String, ChannelLimit)> {
        Some((self.account.counted_by().to_owned(), LIMIT))
    }

    fn skips(&self, alarm: &Alarm) -> Option<&'static str> {
        (alarm.state == AlarmState::Recovered).then_some("nobody is called for a recovery")
    }

    fn call(&self, ask: &Ask<'_>, common: &Common, numbers: &[&str]) -> Result<Call, String> {
        let called = numbers.first().copied().unwrap_or_default();
        let values = self
            .variables
            .values(ask, common.time_zone, self.variable_chars_max);
        let mut parameters = BTreeMap::from([
            ("CalledNumber", number(called).to_owned()),
            ("TtsCode", self.tts_code.clone()),
            ("TtsParam", values.to_string()),
            ("PlayTimes", self.play_times.to_string()),
        ]);
        if let Some(shown) = &self.called_show_number {
            parameters.insert("CalledShowNumber", shown.clone());
        }
        Ok(self.account.call(&ACTION, &parameters, ask.now_ms))
    }

    fn judge(&self, answer: &Answer<'_>, _: &[&str]) -> Heard {
        judge(answer)
    }
}
