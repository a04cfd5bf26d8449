//! What a gateway's answer means, by conditions of the operator's.

use belfry_transform::Path;
use serde_json::Value;

use super::config::{Answers, Condition};
use crate::messenger::{Answer, Check, Class, Refusal};
use crate::phone::{Heard, One};

/// Most conditions of one meaning.
const CONDITIONS_MAX: usize = 20;
/// How long a gateway rests that says nothing of how long.
const THROTTLED_MS: u64 = 60_000;

/// Conditions, ready to be asked.
pub(crate) struct Meanings {
    misconfigured: Vec<Test>,
    throttled: Vec<Test>,
    retry: Vec<Test>,
    permanent: Vec<Test>,
    delivered: Vec<Test>,
    words: Option<Path>,
}

struct Test {
    condition: Condition,
    path: Option<Path>,
}

impl Test {
    fn holds(&self, answer: &Answer<'_>) -> bool {
        let Condition {
            status, is, holds, ..
        } = &self.condition;
        let value = |path: &Path| path.find_text(answer.text.as_bytes());
        (status.is_empty() || status.contains(&answer.status))
            && holds.as_ref().is_none_or(|text| answer.text.contains(text))
            && self.path.as_ref().is_none_or(|path| {
                value(path).is_some_and(|found| is.iter().any(|one| same(one, &found)))
            })
    }
}

/// Whether a value of the settings is the text that stands in an answer.
fn same(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value == text,
        value => *text == *value.to_string(),
    }
}

impl Meanings {
    /// Checks the conditions and takes them.
    pub(crate) fn new(answers: &Answers, check: &mut Check<'_>) -> Self {
        let mut tests = |name: &str, conditions: &[Condition]| -> Vec<Test> {
            let at = format!("/answer/{name}");
            check.need(conditions.len() <= CONDITIONS_MAX, &at, "at most 20");
            conditions
                .iter()
                .enumerate()
                .map(|(n, condition)| {
                    let at = format!("{at}/{n}");
                    check.need(
                        !condition.status.is_empty()
                            || condition.path.is_some()
                            || condition.holds.is_some(),
                        &at,
                        "expected status, path and is, or holds",
                    );
                    check.need(
                        condition.path.is_some() != condition.is.is_empty(),
                        &format!("{at}/is"),
                        "path and is belong together: the value there is one of these",
                    );
                    Test {
                        path: condition
                            .path
                            .as_deref()
                            .and_then(|text| path(&format!("{at}/path"), text, check)),
                        condition: condition.clone(),
                    }
                })
                .collect()
        };
        Self {
            misconfigured: tests("misconfigured", &answers.misconfigured),
            throttled: tests("throttled", &answers.throttled),
            retry: tests("retry", &answers.retry),
            permanent: tests("permanent", &answers.permanent),
            delivered: tests("delivered", &answers.delivered),
            words: answers
                .words
                .as_deref()
                .and_then(|text| path("/answer/words", text, check)),
        }
    }

    /// What an answer means, for all of `numbers`.
    pub(crate) fn judge(&self, answer: &Answer<'_>, numbers: &[&str]) -> Heard {
        let any = |tests: &[Test]| tests.iter().any(|test| test.holds(answer));
        let words = || {
            let said = self
                .words
                .as_ref()
                .and_then(|path| path.find_text(answer.text.as_bytes()));
            said.unwrap_or_default().into_owned()
        };
        let refused = |class, why| {
            Heard::Refused(Refusal {
                class,
                code: answer.status.to_string(),
                words: words(),
                why,
                retry_after_ms: answer.retry_after_ms(),
            })
        };
        if any(&self.misconfigured) {
            let why = ("credentials or settings are wrong", "凭证或配置错误");
            return refused(Class::Misconfigured, why);
        }
        if any(&self.throttled) {
            return refused(
                Class::Throttled(THROTTLED_MS),
                ("too many requests", "请求过于频繁"),
            );
        }
        if any(&self.retry) {
            return refused(Class::Retry, ("not for now", "暂时不可用"));
        }
        if any(&self.permanent) {
            let words = words();
            let why = if words.is_empty() {
                format!("the gateway refused it with status {}", answer.status)
            } else {
                words
            };
            return Heard::Each(numbers.iter().map(|_| One::Never(why.clone())).collect());
        }
        let delivered = if self.delivered.is_empty() {
            answer.is_success()
        } else {
            any(&self.delivered)
        };
        if delivered {
            return Heard::Each(numbers.iter().map(|_| One::Taken).collect());
        }
        Heard::Unclear
    }
}

fn path(at: &str, text: &str, check: &mut Check<'_>) -> Option<Path> {
    match Path::parse(text) {
        Ok(path) => Some(path),
        Err(error) => {
            check.error(at, error.to_string());
            None
        }
    }
}
