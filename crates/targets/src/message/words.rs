//! The words of built-in messages in both languages, and times as people say them.

use belfry_alarm::Language;
use belfry_model::event::timestamp;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// One of two texts.
pub(crate) fn say<'t>(language: Language, en: &'t str, zh: &'t str) -> &'t str {
    match language {
        Language::En => en,
        Language::Zh => zh,
    }
}

/// What stands at the end of a text that was cut.
pub(crate) fn cut_marker(language: Language) -> &'static str {
    say(language, "…(cut)", "…(已截断)")
}

/// A moment in the operator's zone: `2023-11-15 06:13:20 CST (UTC+8)`.
pub(crate) fn local_time(ms: i64, zone: Tz) -> String {
    let Some((time, offset)) = at(ms, zone) else {
        return timestamp(ms).unwrap_or_default();
    };
    let name = time.format("%Z").to_string();
    let name = if name.starts_with(['+', '-']) || offset == "UTC" {
        String::new()
    } else {
        format!(" {name}")
    };
    format!("{}{name} ({offset})", time.format("%Y-%m-%d %H:%M:%S"))
}

/// Hour and minute in the operator's zone, with the day when it is not that of `now_ms`.
pub(crate) fn clock_time(ms: i64, now_ms: i64, zone: Tz) -> String {
    match (at(ms, zone), at(now_ms, zone)) {
        (Some((time, _)), Some((now, _))) if time.date_naive() == now.date_naive() => {
            time.format("%H:%M").to_string()
        }
        (Some((time, _)), _) => time.format("%m-%d %H:%M").to_string(),
        _ => timestamp(ms).unwrap_or_default(),
    }
}

/// The moment in the zone, and the zone's offset in words.
fn at(ms: i64, zone: Tz) -> Option<(DateTime<Tz>, String)> {
    let time = zone.timestamp_millis_opt(ms).single()?;
    let seconds = time.offset().fix().local_minus_utc();
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() % 3600 / 60);
    let sign = if seconds < 0 { '-' } else { '+' };
    let offset = match (hours, minutes) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("UTC{sign}{hours}"),
        (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
    };
    Some((time, offset))
}

/// A length of time in words, its two largest units: `1 小时 5 分钟`, `2 days 3 hours`.
pub(crate) fn duration(ms: i64, language: Language) -> String {
    const UNITS: [(i64, &str, &str); 4] = [
        (86_400, "day", "天"),
        (3600, "hour", "小时"),
        (60, "minute", "分钟"),
        (1, "second", "秒"),
    ];
    let seconds = ms.max(0) / 1000;
    let mut rest = seconds;
    let mut words: Vec<String> = Vec::new();
    for (unit, en, zh) in UNITS {
        let count = rest / unit;
        rest %= unit;
        let last = words.is_empty() && unit == 1;
        if count > 0 || last {
            words.push(match language {
                Language::Zh => format!("{count} {zh}"),
                Language::En if count == 1 => format!("{count} {en}"),
                Language::En => format!("{count} {en}s"),
            });
        } else if !words.is_empty() {
            // Days and minutes without hours between them read like a mistake.
            break;
        }
        if words.len() == 2 || (unit == 60 && seconds >= 600) {
            break;
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_zone_and_offset() {
        for (zone, text) in [
            (Tz::Asia__Shanghai, "2023-11-15 06:13:20 CST (UTC+8)"),
            (Tz::UTC, "2023-11-14 22:13:20 (UTC)"),
            (Tz::America__New_York, "2023-11-14 17:13:20 EST (UTC-5)"),
            (Tz::Asia__Kolkata, "2023-11-15 03:43:20 IST (UTC+5:30)"),
            (Tz::America__Sao_Paulo, "2023-11-14 19:13:20 (UTC-3)"),
        ] {
            assert_eq!(local_time(1_700_000_000_000, zone), text);
        }
        let now = 1_700_000_000_000;
        assert_eq!(clock_time(now, now, Tz::Asia__Shanghai), "06:13");
        assert_eq!(
            clock_time(now - 86_400_000, now, Tz::Asia__Shanghai),
            "11-14 06:13"
        );
        // Beyond what a calendar holds, nothing falls over.
        local_time(i64::MAX, Tz::UTC);
        clock_time(i64::MIN, i64::MAX, Tz::UTC);
    }

    #[test]
    fn durations_are_words() {
        for (seconds, zh, en) in [
            (0, "0 秒", "0 seconds"),
            (35, "35 秒", "35 seconds"),
            (61, "1 分钟 1 秒", "1 minute 1 second"),
            (720, "12 分钟", "12 minutes"),
            (725, "12 分钟", "12 minutes"),
            (3900, "1 小时 5 分钟", "1 hour 5 minutes"),
            (86_400 * 2 + 3600 * 3 + 59, "2 天 3 小时", "2 days 3 hours"),
            (86_400 + 300, "1 天", "1 day"),
        ] {
            assert_eq!(duration(seconds * 1000, Language::Zh), zh);
            assert_eq!(duration(seconds * 1000 + 999, Language::En), en);
        }
        assert_eq!(duration(-5, Language::Zh), "0 秒");
    }
}
