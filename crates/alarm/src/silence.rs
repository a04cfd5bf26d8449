//! When nobody is to be told of some alarms.

use belfry_model::FieldError;
use belfry_model::event::parse_timestamp_ms;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alarm::Alarm;
use crate::matcher::{Match, Matcher};
use crate::window::{Week, Weekly};

/// Most matchers of a silence.
pub const MATCHERS_MAX: usize = 32;

/// A silence as a client writes it: alarms that match all matchers are not told of while it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Silence {
    /// Which alarms; at least one matcher that does not match the empty text.
    pub matchers: Vec<Matcher>,
    /// From when, RFC 3339. Absent: from when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// Until when, RFC 3339: every silence ends.
    pub ends_at: String,
    /// Only at these times of the week. Absent: all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<Weekly>,
    /// Who made it.
    pub author: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// The kind of its documents, as it stands in paths.
    pub const KIND: &str = "silences";
}

/// A [`Silence`], ready to be asked.
#[derive(Debug, Clone)]
pub struct Quiet {
    matchers: Vec<Match>,
    starts_at_ms: i64,
    ends_at_ms: i64,
    week: Option<Week>,
}

impl Silence {
    /// Reads matchers and times; pointers are relative to the silence.
    pub fn compile(&self) -> Result<Quiet, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut matchers = Vec::new();
        for (n, matcher) in self.matchers.iter().enumerate() {
            match matcher.compile() {
                Ok(found) => matchers.push(found),
                Err(error) => errors.push(error.under(&format!("/matchers/{n}"))),
            }
        }
        let all_hold = matchers.iter().all(|found| found.holds_for(""));
        if self.matchers.is_empty() || self.matchers.len() > MATCHERS_MAX {
            let detail = format!(
                "expected 1 to {MATCHERS_MAX} matchers, got {}",
                self.matchers.len()
            );
            errors.push(FieldError::new("/matchers", detail));
        } else if errors.is_empty() && all_hold {
            errors.push(FieldError::new(
                "/matchers",
                "expected at least one that does not match the empty text: this would silence everything",
            ));
        }
        let mut time = |pointer: &str, text: &str| {
            parse_timestamp_ms(text).unwrap_or_else(|| {
                let detail = "expected a time such as 2026-11-26T18:00:00+08:00";
                errors.push(FieldError::new(pointer, detail));
                0
            })
        };
        let starts_at_ms = self
            .starts_at
            .as_deref()
            .map(|text| time("/startsAt", text));
        let ends_at_ms = time("/endsAt", &self.ends_at);
        if errors.is_empty() && starts_at_ms.is_some_and(|start| start >= ends_at_ms) {
            errors.push(FieldError::new("/endsAt", "expected a time after startsAt"));
        }
        let week = self.weekly.as_ref().map(Weekly::compile).transpose();
        match week {
            Ok(week) if errors.is_empty() => Ok(Quiet {
                matchers,
                starts_at_ms: starts_at_ms.unwrap_or(i64::MIN),
                ends_at_ms,
                week,
            }),
            Ok(_) => Err(errors),
            Err(found) => {
                errors.extend(found.into_iter().map(|error| error.under("/weekly")));
                Err(errors)
            }
        }
    }
}

impl Quiet {
    /// Whether nobody is told of an alarm at a time, ms since 1970.
    pub fn holds(&self, alarm: &Alarm, at_ms: i64) -> bool {
        self.is_in_force(at_ms) && self.matchers.iter().all(|found| found.holds(alarm))
    }

    /// Whether it is in force at a time, ms since 1970.
    pub fn is_in_force(&self, at_ms: i64) -> bool {
        (self.starts_at_ms..self.ends_at_ms).contains(&at_ms)
            && self.week.as_ref().is_none_or(|week| week.holds(at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(change: &serde_json::Value) -> Silence {
        let mut text = serde_json::json!({
            "matchers": [{"name": "severity", "op": "!=", "value": "critical"}, {"name": "region", "value": "ap-guangzhou"}],
            "startsAt": "2026-11-26T10:00:00Z", "endsAt": "2026-11-26T12:00:00Z", "author": "ops", "comment": "moving racks",
        });
        text.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        serde_json::from_value(text).unwrap()
    }

    fn alarm(severity: &str, region: &str) -> Alarm {
        use belfry_model::event::{EventLimits, Fill};
        struct None;
        impl Fill for None {
            fn id(&mut self) -> String {
                "1".to_owned()
            }
            fn now_ms(&mut self) -> i64 {
                0
            }
        }
        let text = serde_json::json!({"source": "s", "type": "t", "status": "1", "severity": severity, "region": region});
        let event = belfry_model::Event::lenient(
            text.to_string().into(),
            &mut None,
            &EventLimits::default(),
        );
        Alarm::read(&event.unwrap())
    }

    #[test]
    fn it_holds_for_alarms_that_match_all_from_its_start_to_its_end() {
        let quiet = silence(&serde_json::json!({})).compile().unwrap();
        let at = |text: &str| parse_timestamp_ms(text).unwrap();
        let inside = at("2026-11-26T10:00:00Z");
        assert!(quiet.holds(&alarm("warning", "ap-guangzhou"), inside));
        assert!(!quiet.holds(&alarm("critical", "ap-guangzhou"), inside));
        assert!(!quiet.holds(&alarm("warning", "ap-beijing"), inside));
        for outside in ["2026-11-26T09:59:59.999Z", "2026-11-26T12:00:00Z"] {
            assert!(!quiet.holds(&alarm("warning", "ap-guangzhou"), at(outside)));
        }
    }

    #[test]
    fn one_that_would_silence_everything_or_never_ends_is_refused() {
        let all = serde_json::json!({"matchers": [{"name": "team", "op": "=~", "value": ".*"}]});
        for (change, place) in [
            (all, "/matchers"),
            (serde_json::json!({"matchers": []}), "/matchers"),
            (
                serde_json::json!({"endsAt": "2026-11-26T10:00:00Z"}),
                "/endsAt",
            ),
            (serde_json::json!({"endsAt": "tomorrow"}), "/endsAt"),
            (
                serde_json::json!({"weekly": {"windows": [{"from": "1", "to": "02:00"}]}}),
                "/weekly/windows/0/from",
            ),
        ] {
            let errors = silence(&change).compile().unwrap_err();
            assert_eq!(errors[0].pointer, place, "{errors:?}");
        }
    }
}
