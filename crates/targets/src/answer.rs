//! What an HTTP answer means by its status alone.

use belfry_egress::{HeaderMap, SendError, StatusCode};
use belfry_model::delivery::Reason;
use chrono::DateTime;

use crate::target::Verdict;

/// The longest pause a receiver may ask for: a day.
const RETRY_AFTER_MS_MAX: u64 = 24 * 3600 * 1000;

/// The verdict on an answer. `success` are the statuses that mean delivered; absent: 200 to 299.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    success: Option<&[u16]>,
    now_ms: i64,
) -> Verdict {
    let code = status.as_u16();
    if success.map_or_else(|| status.is_success(), |known| known.contains(&code)) {
        return Verdict::Delivered;
    }
    let said = described(status);
    let reason = match code {
        410 => return Verdict::Gone { detail: said },
        413 => {
            return Verdict::Permanent {
                reason: Reason::RequestTooLarge,
                detail: said,
            };
        }
        415 => {
            return Verdict::Permanent {
                reason: Reason::Http4xx,
                detail: said,
            };
        }
        // 408 and 425 ask for another try by themselves, whatever the target says about other 4xx.
        408 => Reason::Timeout,
        425 | 429 => Reason::RateLimited,
        300..=399 => Reason::Redirect,
        400..=499 => Reason::Http4xx,
        500..=599 => Reason::Http5xx,
        200..=299 => Reason::ProviderRejected,
        _ => Reason::BadResponse,
    };
    let detail = match reason {
        Reason::Redirect => {
            format!("{said}; redirects are never followed, so put the final address into url")
        }
        Reason::ProviderRejected => format!("{said}, which is not among successStatus"),
        _ => said,
    };
    Verdict::Retry {
        reason,
        detail,
        retry_after_ms: retry_after_ms(headers, now_ms),
    }
}

/// The verdict on an answer that is none of the vendor's: 2xx is no success, something in between has answered.
pub(crate) fn judge_unclear(
    status: StatusCode,
    headers: &HeaderMap,
    vendor: &str,
    now_ms: i64,
) -> Verdict {
    match judge(status, headers, None, now_ms) {
        Verdict::Delivered => Verdict::Retry {
            reason: Reason::BadResponse,
            detail: format!(
                "the answer has status {} but does not say what {vendor} says when it takes a message",
                status.as_u16()
            ),
            retry_after_ms: None,
        },
        other => other,
    }
}

/// The verdict on an answer that did not come, or not completely.
pub(crate) fn judge_failure(error: &SendError, success: Option<&[u16]>, now_ms: i64) -> Verdict {
    if let Some(answered) = &error.answered {
        // The headers say it all unless they promise success: then the rest of the answer is missing.
        let verdict = judge(answered.status, &answered.headers, success, now_ms);
        if verdict != Verdict::Delivered {
            return verdict;
        }
    }
    match error.reason {
        Reason::InvalidTarget => Verdict::Permanent {
            reason: error.reason,
            detail: error.detail.clone(),
        },
        reason => Verdict::Retry {
            reason,
            detail: error.detail.clone(),
            retry_after_ms: None,
        },
    }
}

/// "the receiver answered 503 Service Unavailable". The phrase is ours, not the receiver's.
fn described(status: StatusCode) -> String {
    let phrase = status.canonical_reason().unwrap_or_default();
    format!("the receiver answered {} {phrase}", status.as_u16())
        .trim_end()
        .to_owned()
}

/// `Retry-After` in seconds or as a date; at most a day, nothing if it cannot be read.
pub(crate) fn retry_after_ms(headers: &HeaderMap, now_ms: i64) -> Option<u64> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let wait_ms = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds still mean "long".
        text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000)
    } else {
        let at = DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis();
        u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0)
    };
    Some(wait_ms.min(RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT

    fn verdict(code: u16, retry_after: Option<&str>) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert("retry-after", text.parse().unwrap());
        }
        judge(StatusCode::from_u16(code).unwrap(), &headers, None, NOW_MS)
    }

    #[test]
    fn every_status_has_its_meaning() {
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(verdict(code, None), Verdict::Delivered);
        }
        for (code, expected) in [
            (301, Reason::Redirect),
            (302, Reason::Redirect),
            (304, Reason::Redirect),
            (307, Reason::Redirect),
            (400, Reason::Http4xx),
            (401, Reason::Http4xx),
            (404, Reason::Http4xx),
            (408, Reason::Timeout),
            (425, Reason::RateLimited),
            (429, Reason::RateLimited),
            (500, Reason::Http5xx),
            (503, Reason::Http5xx),
            (599, Reason::Http5xx),
            (999, Reason::BadResponse),
            (101, Reason::BadResponse),
        ] {
            let Verdict::Retry {
                reason,
                retry_after_ms,
                ..
            } = verdict(code, None)
            else {
                panic!("{code}")
            };
            assert_eq!((reason, retry_after_ms), (expected, None), "{code}");
        }
        assert!(matches!(verdict(410, None), Verdict::Gone { .. }));
        assert!(matches!(
            verdict(413, None),
            Verdict::Permanent {
                reason: Reason::RequestTooLarge,
                ..
            }
        ));
        assert!(matches!(
            verdict(415, None),
            Verdict::Permanent {
                reason: Reason::Http4xx,
                ..
            }
        ));
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        for (text, expected) in [
            ("120", Some(120_000)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Fri, 06 Nov 2099 08:49:00 GMT", Some(RETRY_AFTER_MS_MAX)),
            ("99999999999999999999999999", Some(RETRY_AFTER_MS_MAX)),
            ("soon", None),
            ("-5", None),
            ("1.5", None),
            ("", None),
        ] {
            for code in [429, 503, 404] {
                let Verdict::Retry { retry_after_ms, .. } = verdict(code, Some(text)) else {
                    panic!()
                };
                assert_eq!(retry_after_ms, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn the_statuses_that_mean_success_can_be_named() {
        let judged = |code: u16| {
            judge(
                StatusCode::from_u16(code).unwrap(),
                &HeaderMap::new(),
                Some(&[200, 409]),
                NOW_MS,
            )
        };
        assert_eq!(judged(409), Verdict::Delivered);
        assert!(matches!(
            judged(204),
            Verdict::Retry {
                reason: Reason::ProviderRejected,
                ..
            }
        ));
    }
}
