//! Times as senders write them.

use chrono::{FixedOffset, LocalResult, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use serde_json::Value;

/// Numbers up to here are seconds since 1970 (the year 5138), up to a thousand times as much milliseconds, then
/// microseconds.
const SECONDS_MAX: i64 = 100_000_000_000;
/// The end of the year 9999, in milliseconds: what RFC 3339 can write.
const MS_MAX: i64 = 253_402_300_799_999;
/// No text longer than this is a time.
const TEXT_BYTES_MAX: usize = 64;

/// The milliseconds since 1970 that a value means; `None` for anything that is no time, or none that can be: month
/// 13, the year 1 (an absent time of Go and .NET), zero.
///
/// Taken are seconds, milliseconds and microseconds since 1970, as a number or as digits; RFC 3339, also with a blank
/// for the `T`, slashes or nothing in the date, and an offset without its colon. `zone` is that of a text that names
/// none.
pub(crate) fn of(value: &Value, zone: Tz) -> Option<i64> {
    match value {
        Value::Number(number) => epoch(number.as_i64().or_else(|| whole(number.as_f64()?))?),
        Value::String(text) => of_text(text, zone),
        _ => None,
    }
}

/// The same for a text.
pub(crate) fn of_text(text: &str, zone: Tz) -> Option<i64> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit()) && text.len() != 14 && text.len() != 8 {
        return epoch(text.parse().ok()?);
    }
    let mut scan = Scan(text.as_bytes());
    let date = scan.date()?;
    let time = scan.time()?;
    let at = NaiveDateTime::new(date, time);
    let ms = match scan.offset()? {
        Some(offset) => match offset.from_local_datetime(&at) {
            LocalResult::Single(at) => at.timestamp_millis(),
            _ => return None,
        },
        // An hour that comes twice a year means the first one; one that does not come at all is no time.
        None => zone.from_local_datetime(&at).earliest()?.timestamp_millis(),
    };
    within(ms, date)
}

/// Seconds with a fraction.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded in the line before"
)]
fn whole(seconds: f64) -> Option<i64> {
    const BOUND: f64 = 1e17;
    if !seconds.is_finite() || seconds.abs() > BOUND {
        return None;
    }
    let small = seconds.abs() < 1e11;
    // Only of seconds does the fraction count: as milliseconds they are a whole number again.
    Some(if small && seconds.fract() != 0.0 {
        (seconds * 1000.0) as i64
    } else {
        seconds as i64
    })
}

fn epoch(number: i64) -> Option<i64> {
    let ms = match number {
        ..=0 => return None,
        n if n < SECONDS_MAX => n * 1000,
        n if n < SECONDS_MAX * 1000 => n,
        n => n / 1000,
    };
    (ms <= MS_MAX).then_some(ms)
}

fn within(ms: i64, date: NaiveDate) -> Option<i64> {
    use chrono::Datelike;
    (date.year() > 1 && ms <= MS_MAX).then_some(ms)
}

struct Scan<'t>(&'t [u8]);

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn eat(&mut self, wanted: &[u8]) -> bool {
        let found = self.peek().is_some_and(|b| wanted.contains(&b));
        if found {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        found
    }

    /// Exactly so many digits.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut number = 0;
        for digit in digits {
            number = number * 10 + char::from(*digit).to_digit(10)?;
        }
        self.0 = rest;
        Some(number)
    }

    fn date(&mut self) -> Option<NaiveDate> {
        let year = self.digits(4)?;
        let parted = self.eat(b"-/.");
        let month = self.digits(2)?;
        if self.eat(b"-/.") != parted {
            return None;
        }
        let day = self.digits(2)?;
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
    }

    /// A time of day; midnight where there is none.
    fn time(&mut self) -> Option<chrono::NaiveTime> {
        if self.0.is_empty() {
            return Some(chrono::NaiveTime::MIN);
        }
        // `20231115061320` has nothing between the two.
        let _blank = self.eat(b"Tt ");
        let hour = self.digits(2)?;
        let parted = self.eat(b":");
        let minute = self.digits(2)?;
        let mut second = 0;
        if parted {
            if self.eat(b":") {
                second = self.digits(2)?;
            }
        } else if self.peek().is_some_and(|b| b.is_ascii_digit()) {
            second = self.digits(2)?;
        }
        let mut nanos = 0;
        if self.eat(b".,") {
            let mut places = 0;
            while self.peek().is_some_and(|b| b.is_ascii_digit()) {
                let digit = self.digits(1)?;
                if places < 9 {
                    nanos = nanos * 10 + digit;
                    places += 1;
                }
            }
            if places == 0 {
                return None;
            }
            nanos *= 10_u32.pow(9 - places);
        }
        // A leap second is the second before it.
        chrono::NaiveTime::from_hms_nano_opt(hour, minute, second.min(59), nanos)
            .filter(|_| second <= 60)
    }

    /// The offset at the end; `Some(None)` when there is none.
    #[expect(
        clippy::option_option,
        reason = "no offset is no mistake, a bad one is"
    )]
    fn offset(&mut self) -> Option<Option<FixedOffset>> {
        const PRC: i32 = 8 * 3600;
        while self.eat(b" ") {}
        if self.0.is_empty() {
            return Some(None);
        }
        for (name, seconds) in [
            (&b"PRC"[..], PRC),
            (b"CST", PRC),
            (b"UTC", 0),
            (b"GMT", 0),
            (b"Z", 0),
            (b"z", 0),
        ] {
            if self.0 == name {
                return FixedOffset::east_opt(seconds).map(Some);
            }
        }
        if self.0.starts_with(b"GMT") || self.0.starts_with(b"UTC") {
            self.0 = self.0.get(3..)?;
        }
        let west = self.peek()? == b'-';
        if !self.eat(b"+-") {
            return None;
        }
        let hours = self.digits(2)?;
        let _colon = self.eat(b":");
        let minutes = if self.0.is_empty() {
            0
        } else {
            self.digits(2)?
        };
        if !self.0.is_empty() || minutes > 59 {
            return None;
        }
        let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
        FixedOffset::east_opt(if west { -seconds } else { seconds }).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHANGHAI: Tz = Tz::Asia__Shanghai;

    #[test]
    fn every_way_of_writing_a_time_is_read() {
        let at = 1_700_000_000_000; // 2023-11-14T22:13:20Z
        for value in [
            json!(1_700_000_000),
            json!(1_700_000_000_000_i64),
            json!(1_700_000_000_000_000_i64),
            json!(1_700_000_000.0),
            json!("1700000000"),
            json!("1700000000000"),
            json!("1700000000000000"),
            json!("2023-11-14T22:13:20Z"),
            json!("2023-11-14t22:13:20z"),
            json!("2023-11-14T22:13:20.000000000Z"),
            json!("2023-11-15T06:13:20+08:00"),
            json!("2023-11-15T06:13:20+0800"),
            json!("2023-11-15T06:13:20+08"),
            json!("20231115T061320.000+0800"),
            json!("2023-11-15 06:13:20"),
            json!("20231115061320"),
            json!("2023/11/15 06:13:20 GMT+08:00"),
            json!("2023-11-15T06:13:20.000PRC"),
            json!("2023-11-14 17:13:20-0500"),
            json!(" 2023-11-14T22:13:20Z "),
        ] {
            assert_eq!(of(&value, SHANGHAI), Some(at), "{value}");
        }
        assert_eq!(
            of_text("2023-11-14T22:13:20.1239Z", SHANGHAI),
            Some(at + 123)
        );
        assert_eq!(of(&json!(1_700_000_000.25), SHANGHAI), Some(at + 250));
        assert_eq!(
            of_text("2016-12-31T23:59:60Z", Tz::UTC),
            of_text("2016-12-31T23:59:59Z", Tz::UTC)
        );
    }

    #[test]
    fn what_is_no_time_is_absent() {
        for value in [
            json!(null),
            json!(true),
            json!([]),
            json!({}),
            json!(0),
            json!(-1),
            json!(1e300),
            json!(f64::MAX),
            json!(u64::MAX),
            json!(i64::MAX),
            json!(""),
            json!("0"),
            json!("null"),
            json!("0001-01-01T00:00:00Z"),
            json!("0000-00-00 00:00:00"),
            json!("2023-13-01T00:00:00Z"),
            json!("2023-02-30 10:00:00"),
            json!("2023-11-14T25:00:00Z"),
            json!("2023-11-14T22:13:20+99:00"),
            json!("2023-11-14T22:13:20.Z"),
            json!("2023-11-14T22:13:20Zjunk"),
            json!("2023-11-14T22:13:61Z"),
            json!("99999999999999999999999999"),
            json!("昨天"),
            json!("{EVENT.TIME}"),
            json!("9".repeat(10_000)),
        ] {
            assert_eq!(of(&value, SHANGHAI), None, "{value}");
        }
    }
}
