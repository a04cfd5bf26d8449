//! Variables of the templates that providers of SMS and calls approve: free text is refused, so a message is a few short
//! values, told apart by their order or by their names.

use std::collections::BTreeMap;

use belfry_alarm::AlarmState;
use belfry_model::json::pointer_to;
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::message::cut::{Unit, cut_text};
use crate::message::escape::SMS_PARAM;
use crate::message::{what, words};
use crate::messenger::{Ask, Check};

/// Most variables of a template.
const VARIABLES_MAX: usize = 10;
/// Longest name of a variable, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What stands in a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Variable {
    /// How bad, what, which resource; of a group or digest, how many.
    Title,
    /// The same without how bad.
    Subject,
    /// How bad: `严重`, `critical`.
    Severity,
    /// `告警` or `恢复`, `firing` or `recovered`.
    State,
    /// The product, such as `cvm`.
    Product,
    /// What happened.
    Event,
    /// The resource's id.
    Resource,
    /// The resource's name, or its id.
    Name,
    /// The region.
    Region,
    /// The account.
    Account,
    /// The value that was measured.
    Value,
    /// When, as `11-15 06:13`.
    Time,
}

impl Variable {
    fn text(self, ask: &Ask<'_>, zone: Tz) -> String {
        let (alarm, message) = (ask.alarm, ask.message);
        let language = message.language;
        // Several alarms have nothing in common but that they are several.
        let several = !ask.job.folded.is_empty();
        let of_one = |text: Option<&str>| text.filter(|_| !several).unwrap_or_default().to_owned();
        match self {
            Self::Title => message.title(),
            Self::Subject => message.subject.clone(),
            Self::Event if several => message.subject.clone(),
            Self::Event if ask.job.trial => {
                let test = words::say(language, "test", "测试");
                format!("{test} {}", what(alarm, language))
            }
            Self::Event => what(alarm, language),
            Self::Severity => {
                words::say(language, alarm.severity.as_str(), alarm.severity.zh()).to_owned()
            }
            Self::State => match alarm.state {
                AlarmState::Recovered => words::say(language, "recovered", "恢复"),
                AlarmState::Firing => words::say(language, "firing", "告警"),
                AlarmState::Stateless => words::say(language, "event", "事件"),
            }
            .to_owned(),
            Self::Product => of_one(Some(alarm.product())),
            Self::Resource => of_one(alarm.subject.as_deref()),
            Self::Name => of_one(alarm.resource_name.as_deref().or(alarm.subject.as_deref())),
            Self::Region => of_one(alarm.region.as_deref()),
            Self::Account => of_one(alarm.account.as_deref()),
            Self::Value => of_one(alarm.value.as_deref()),
            // A time that is never "today" has its day.
            Self::Time => words::clock_time(message.at_ms, i64::MAX, zone),
        }
    }
}

/// The values of variables as a provider takes them; those that the operator's own transformation made, if it made a
/// list.
pub(crate) fn values(
    variables: &[Variable],
    ask: &Ask<'_>,
    zone: Tz,
    chars_max: usize,
) -> Vec<String> {
    match own::<Vec<String>>(ask) {
        Some(own) => own
            .iter()
            .take(VARIABLES_MAX)
            .map(|text| clean(text, chars_max))
            .collect(),
        None => variables
            .iter()
            .map(|variable| clean(&variable.text(ask, zone), chars_max))
            .collect(),
    }
}

/// What the operator's own transformation made, if it has this form. It tells of one event, so not of several.
fn own<T: DeserializeOwned>(ask: &Ask<'_>) -> Option<T> {
    let own = ask.job.body.filter(|_| ask.job.folded.is_empty())?;
    serde_json::from_slice(&own.body).ok()
}

/// Variables of a template that have names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, extend("maxProperties" = VARIABLES_MAX))]
pub(crate) struct Named(BTreeMap<String, Variable>);

impl Named {
    /// Whether a template can have these.
    pub(crate) fn check(&self, check: &mut Check<'_>, chars_max: usize) {
        check_variables(check, self.0.len(), chars_max);
        for name in self.0.keys() {
            let pointer = format!("/variables{}", pointer_to(name));
            let plain = (1..=NAME_BYTES_MAX).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            check.need(
                plain,
                &pointer,
                "expected letters, digits and _, at most 64",
            );
        }
    }

    /// Their values as an object of texts; those that the operator's own transformation made, if it made such an object.
    pub(crate) fn values(&self, ask: &Ask<'_>, zone: Tz, chars_max: usize) -> Value {
        let values: Map<String, Value> = match own::<BTreeMap<String, String>>(ask) {
            Some(own) => own
                .into_iter()
                .take(VARIABLES_MAX)
                .map(|(name, text)| (name, clean(&text, chars_max).into()))
                .collect(),
            None => self
                .0
                .iter()
                .map(|(name, variable)| {
                    let text = variable.text(ask, zone);
                    (name.clone(), clean(&text, chars_max).into())
                })
                .collect(),
        };
        values.into()
    }
}

/// How many variables there are and how long their values may be.
pub(crate) fn check_variables(check: &mut Check<'_>, count: usize, chars_max: usize) {
    check.need(count <= VARIABLES_MAX, "/variables", "at most 10");
    check.need(
        (1..=100).contains(&chars_max),
        "/variableCharsMax",
        "expected 1 to 100",
    );
}

/// The approved signature of a short message; providers put brackets around it.
pub(crate) fn check_sign_name(check: &mut Check<'_>, name: &str) {
    check.need(
        name.chars().count() <= 32 && !name.contains(['【', '】', '[', ']']),
        "/signName",
        "expected the signature without its brackets",
    );
}

/// A value as providers take it: one line, short, without addresses (refused) and without the brackets that delimit a
/// signature. An empty one is refused too.
fn clean(text: &str, chars_max: usize) -> String {
    let text = SMS_PARAM.apply(text);
    let is_address = |word: &str| {
        let word = word.to_ascii_lowercase();
        word.contains("://") || word.contains("www.")
    };
    let words: Vec<&str> = text
        .split_whitespace()
        .filter(|word| !is_address(word))
        .collect();
    let text = cut_text(&words.join(" "), chars_max, Unit::Chars, "…");
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_short_and_holds_nothing_that_providers_refuse() {
        for (text, cleaned) in [
            ("ins-demo0001", "ins-demo0001"),
            ("【验证码】 1234 [x]", "验证码 1234 x"),
            ("see https://evil.example/x now", "see now"),
            ("WWW.evil.example", "-"),
            ("a\r\nb\tc", "a b c"),
            ("", "-"),
            ("一二三四五六七八九十一二", "一二三四五六七八九…"),
        ] {
            assert_eq!(
                clean(text, 10),
                if text.starts_with("一") {
                    cleaned.to_owned()
                } else {
                    clean(cleaned, 10)
                },
                "{text}"
            );
        }
        assert_eq!(clean("【验证码】 1234 [x]", 40), "验证码 1234 x");
        assert_eq!(clean("see https://evil.example/x now", 40), "see now");
    }
}
