//! Times of the week.

use belfry_model::FieldError;
use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone as _};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The time zone where nobody names one.
pub const ZONE_DEFAULT: &str = "Asia/Shanghai";
/// Most windows of one [`Weekly`].
pub const WINDOWS_MAX: usize = 100;
const DAY_SECONDS: u32 = 86_400;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the days speak for themselves")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Times that come back every week, in a time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Weekly {
    /// The IANA name of the time zone. Absent: `Asia/Shanghai`, or that of whoever is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The windows; any of them is enough.
    pub windows: Vec<TimeWindow>,
}

/// A window on some days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeWindow {
    /// On which days it begins. Empty or absent: on all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// When it begins, `HH:MM` or `HH:MM:SS`.
    pub from: String,
    /// When it ends; before `from`: on the day after. `24:00` is the end of the day.
    pub to: String,
}

/// [`Weekly`], ready to be asked.
#[derive(Debug, Clone)]
pub struct Week {
    zone: Tz,
    windows: Vec<Span>,
}

/// A window in seconds of the local day on which it begins; `to` may lie on the day after.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// By days since Monday.
    days: [bool; 7],
    from: u32,
    to: u32,
}

impl Weekly {
    /// Reads zone and times; pointers are relative to this.
    pub fn compile(&self) -> Result<Week, Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = self.time_zone.as_deref().unwrap_or(ZONE_DEFAULT);
        let zone = name.parse::<Tz>();
        if zone.is_err() {
            let shown: String = name.chars().take(64).collect();
            let detail = format!(
                "expected the IANA name of a time zone such as {ZONE_DEFAULT}, got {shown:?}"
            );
            errors.push(FieldError::new("/timeZone", detail));
        }
        if self.windows.is_empty() || self.windows.len() > WINDOWS_MAX {
            let detail = format!(
                "expected 1 to {WINDOWS_MAX} windows, got {}",
                self.windows.len()
            );
            errors.push(FieldError::new("/windows", detail));
        }
        let mut windows = Vec::new();
        for (n, window) in self.windows.iter().enumerate() {
            match window.compile() {
                Ok(span) => windows.push(span),
                Err(found) => {
                    let prefix = format!("/windows/{n}");
                    errors.extend(found.into_iter().map(|error| error.under(&prefix)));
                }
            }
        }
        match zone {
            Ok(zone) if errors.is_empty() => Ok(Week { zone, windows }),
            _ => Err(errors),
        }
    }
}

impl TimeWindow {
    fn compile(&self) -> Result<Span, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut time = |pointer: &str, text: &str| {
            seconds(text).unwrap_or_else(|| {
                let shown: String = text.chars().take(64).collect();
                let detail = format!("expected a time of day, HH:MM or HH:MM:SS, got {shown:?}");
                errors.push(FieldError::new(pointer, detail));
                0
            })
        };
        let (from, to) = (time("/from", &self.from), time("/to", &self.to));
        if errors.is_empty() && from == to {
            errors.push(FieldError::new(
                "/to",
                "a window that ends when it begins is none; for a whole day write 00:00 to 24:00",
            ));
        }
        if from >= DAY_SECONDS {
            errors.push(FieldError::new("/from", "a window begins before 24:00"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut days = [self.days.is_empty(); 7];
        for day in &self.days {
            if let Some(there) = days.get_mut(*day as usize) {
                *there = true;
            }
        }
        let to = if to < from { to + DAY_SECONDS } else { to };
        Ok(Span { days, from, to })
    }
}

/// `HH:MM` or `HH:MM:SS` in seconds; `24:00` is the end of the day.
fn seconds(text: &str) -> Option<u32> {
    if text == "24:00" || text == "24:00:00" {
        return Some(DAY_SECONDS);
    }
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b':');
    let shape = match text.len() {
        5 => "%H:%M",
        8 => "%H:%M:%S",
        _ => return None,
    };
    let time = plain.then(|| NaiveTime::parse_from_str(text, shape).ok())??;
    u32::try_from(time.signed_duration_since(NaiveTime::MIN).num_seconds()).ok()
}

impl Week {
    /// Whether a time (ms since 1970) lies in one of the windows. Windows are in local time, so that one over a change
    /// of the clock is an hour longer or shorter.
    pub fn holds(&self, at_ms: i64) -> bool {
        let Some(local) = self.local(at_ms) else {
            return false;
        };
        let time = local.naive_local();
        [0, 1].into_iter().any(|before| {
            let Some(date) = time.date().checked_sub_days(Days::new(before)) else {
                return false;
            };
            let since = time
                .signed_duration_since(date.and_time(NaiveTime::MIN))
                .num_seconds();
            self.on(date)
                .any(|span| (i64::from(span.from)..i64::from(span.to)).contains(&since))
        })
    }

    /// When the next window begins after a time, ms since 1970. A time that the clock leaves out counts as the first
    /// one after it.
    pub fn next_ms(&self, at_ms: i64) -> Option<i64> {
        let today = self.local(at_ms)?.naive_local().date();
        // A week and a day: today's may be over.
        (0..=8).find_map(|ahead| {
            let date = today.checked_add_days(Days::new(ahead))?;
            let begins = self
                .on(date)
                .filter_map(|span| self.instant(date, span.from));
            begins.filter(|begin| *begin > at_ms).min()
        })
    }

    fn local(&self, at_ms: i64) -> Option<DateTime<Tz>> {
        self.zone.timestamp_millis_opt(at_ms).single()
    }

    fn on(&self, date: NaiveDate) -> impl Iterator<Item = &Span> {
        let day = date.weekday().num_days_from_monday() as usize;
        self.windows
            .iter()
            .filter(move |span| span.days.get(day).copied().unwrap_or(false))
    }

    fn instant(&self, date: NaiveDate, second: u32) -> Option<i64> {
        const STEP_MINUTES: i64 = 15;
        let wanted = date.and_time(NaiveTime::MIN) + TimeDelta::seconds(i64::from(second));
        // No change of a clock leaves out more than a day.
        (0..96).find_map(|step| {
            let local = wanted + TimeDelta::minutes(step * STEP_MINUTES);
            let at = self.zone.from_local_datetime(&local).earliest()?;
            Some(at.timestamp_millis())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_millis()
    }

    fn weekly(zone: &str, windows: &[(&[Day], &str, &str)]) -> Week {
        let windows = windows.iter().map(|(days, from, to)| TimeWindow {
            days: days.to_vec(),
            from: (*from).to_owned(),
            to: (*to).to_owned(),
        });
        Weekly {
            time_zone: Some(zone.to_owned()),
            windows: windows.collect(),
        }
        .compile()
        .unwrap()
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let week = weekly("Asia/Shanghai", &[(&[Day::Fri], "22:00", "06:00")]);
        // 2026-11-27 is a Friday.
        for (time, holds) in [
            ("2026-11-27T21:59:59+08:00", false),
            ("2026-11-27T22:00:00+08:00", true),
            ("2026-11-28T05:59:59.999+08:00", true),
            ("2026-11-28T06:00:00+08:00", false),
            ("2026-11-27T01:00:00+08:00", false),
            ("2026-11-28T22:30:00+08:00", false),
        ] {
            assert_eq!(week.holds(at(time)), holds, "{time}");
        }
        let begin = at("2026-11-27T22:00:00+08:00");
        assert_eq!(week.next_ms(begin - 1), Some(begin));
        assert_eq!(week.next_ms(begin), Some(begin + 7 * 86_400_000));
    }

    #[test]
    fn a_whole_day_has_no_gap_and_a_left_out_hour_begins_after_it() {
        let week = weekly("Asia/Shanghai", &[(&[], "00:00", "24:00")]);
        assert!(week.holds(at("2026-11-27T00:00:00+08:00")));
        assert!(week.holds(at("2026-11-27T23:59:59.999+08:00")));
        // In Berlin the clock goes from 2 to 3 on 2026-03-29.
        let week = weekly("Europe/Berlin", &[(&[Day::Sun], "02:30", "04:00")]);
        assert_eq!(
            week.next_ms(at("2026-03-28T12:00:00Z")),
            Some(at("2026-03-29T03:00:00+02:00"))
        );
    }

    #[test]
    fn what_is_no_zone_day_or_time_is_told_with_its_place() {
        let text = r#"{"timeZone":"Mars/Base","windows":[{"from":"9:00","to":"24:01"},{"from":"08:00","to":"08:00"},{"from":"24:00","to":"01:00"}]}"#;
        let weekly: Weekly = serde_json::from_str(text).unwrap();
        let errors = weekly.compile().unwrap_err();
        let places: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            places,
            [
                "/timeZone",
                "/windows/0/from",
                "/windows/0/to",
                "/windows/1/to",
                "/windows/2/from"
            ]
        );
        let none = Weekly {
            time_zone: None,
            windows: Vec::new(),
        };
        assert_eq!(none.compile().unwrap_err()[0].pointer, "/windows");
    }

    proptest! {
        #[test]
        fn the_next_begin_is_the_first_time_at_which_a_window_holds(
            start in 1_700_000_000_000_i64..1_900_000_000_000, from in 0_u32..1440, minutes in 1_u32..1439, day in 0_usize..7,
        ) {
            let span = Span { days: std::array::from_fn(|n| n == day), from: from * 60, to: (from + minutes) * 60 };
            let week = Week { zone: Tz::Asia__Shanghai, windows: vec![span] };
            let next = week.next_ms(start).unwrap();
            prop_assert!(next > start && week.holds(next) && !week.holds(next - 1));
            prop_assert!(week.holds(next + i64::from(minutes) * 60_000 - 1));
            prop_assert!(!week.holds(next + i64::from(minutes) * 60_000));
        }
    }
}
