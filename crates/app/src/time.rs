//! Times as clients write and read them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// A moment in milliseconds since 1970; RFC 3339 in UTC with milliseconds in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-11-21T03:57:46.120Z"))]
pub struct Stamp(pub i64);

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse(&text, None)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(EXPECTED))
    }
}

const EXPECTED: &str = "expected a time such as 2026-11-21T08:00:00Z";

/// The latest time that is taken: the end of the year 9999.
const MAX_MS: i64 = 253_402_300_799_999;

/// Reads RFC 3339, or (with the time of day) `now` and spans such as `-90s`, `-15m`, `-1h`, `-7d`.
fn parse(text: &str, now_ms: Option<i64>) -> Option<i64> {
    if let Some(now_ms) = now_ms {
        if text == "now" {
            return Some(now_ms);
        }
        if let Some(span) = text.strip_prefix('-') {
            let unit = span.chars().next_back()?;
            let count: i64 = span
                .strip_suffix(unit)?
                .parse()
                .ok()
                .filter(|count| *count >= 0)?;
            let unit_ms = match unit {
                's' => 1000,
                'm' => 60_000,
                'h' => 3_600_000,
                'd' => 86_400_000,
                'w' => 7 * 86_400_000,
                _ => return None,
            };
            return Some(now_ms.saturating_sub(count.saturating_mul(unit_ms)).max(0));
        }
    }
    let ms = DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
    (0..=MAX_MS).contains(&ms).then_some(ms)
}

/// A span of time of a filter, either end of it open.
pub(crate) type Span = (Option<i64>, Option<i64>);

/// Reads `since` and `until` of a filter that stands at `prefix`.
pub(crate) fn read_span(
    prefix: &str,
    since: Option<&str>,
    until: Option<&str>,
    now_ms: i64,
) -> Result<Span> {
    let since = read_time(&format!("{prefix}since"), since, now_ms)?;
    let until = read_time(&format!("{prefix}until"), until, now_ms)?;
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(Error::field(
            format!("{prefix}until"),
            "until lies before since; nothing is between them",
        ));
    }
    Ok((since, until))
}

fn read_time(pointer: &str, text: Option<&str>, now_ms: i64) -> Result<Option<i64>> {
    text.map(|text| {
        parse(text, Some(now_ms)).ok_or_else(|| {
            let mut detail = format!("{EXPECTED}, or a span back from now such as -15m, -1h, -7d");
            if parse(&text.replace(' ', "+"), None).is_some() {
                detail.push_str("; in a query + means a space, so write %2B");
            }
            Error::field(pointer, detail)
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_back_from_now() {
        let now = 1_700_000_000_000;
        assert_eq!(parse("-1h", Some(now)), Some(now - 3_600_000));
        assert_eq!(parse("-0s", Some(now)), Some(now));
        assert_eq!(parse("-99999999999999999999d", Some(now)), None);
        assert_eq!(parse("-999999999999d", Some(now)), Some(0));
        assert_eq!(parse("2023-11-14T22:13:20Z", Some(now)), Some(now));
        assert_eq!(parse("2023-11-15T06:13:20+08:00", None), Some(now));
        for bad in [
            "",
            "-",
            "-h",
            "1h",
            "-1y",
            "-1ü",
            "--1h",
            "yesterday",
            "-1h ",
            "1969-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(bad, Some(now)), None, "{bad}");
        }
    }

    #[test]
    fn stamps_have_milliseconds() {
        assert_eq!(Stamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            serde_json::to_string(&Stamp(1_700_000_000_001)).unwrap(),
            "\"2023-11-14T22:13:20.001Z\""
        );
    }
}
