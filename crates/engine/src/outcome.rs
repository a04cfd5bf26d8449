//! What follows from an attempt: the state table of `docs/ARCHITECTURE.md` as one pure function.

use belfry_model::config::RetryPolicy;
use belfry_model::delivery::Reason;
use belfry_targets::Verdict;

/// A receiver may ask for a pause of at most a day.
const RETRY_AFTER_MS_MAX: u64 = 86_400_000;

/// What the decision depends on besides the attempt itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Attempts made, the one just made included, since acceptance or the last redrive.
    pub(crate) made: u32,
    /// From when the age counts, ms since 1970.
    pub(crate) since_ms: i64,
    /// The event's own end, ms since 1970.
    pub(crate) expires_at_ms: Option<i64>,
    pub(crate) retry: &'a RetryPolicy,
    pub(crate) retry_on_4xx: bool,
    pub(crate) now_ms: i64,
    /// 0.0 to 1.0, where in the jitter this wait falls.
    pub(crate) chance: f64,
}

/// What becomes of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    Delivered,
    /// A part is done; the rest follows at once.
    More {
        detail: String,
    },
    Retry {
        due_at_ms: i64,
        reason: Reason,
        detail: String,
    },
    Dead {
        reason: Reason,
        detail: String,
    },
    Expired {
        reason: Reason,
        detail: String,
    },
    Skipped {
        reason: Reason,
        detail: String,
    },
}

/// Whether a delivery is too old to be tried, before an attempt is made.
pub(crate) fn too_old(
    since_ms: i64,
    expires_at_ms: Option<i64>,
    retry: &RetryPolicy,
    now_ms: i64,
) -> Option<Next> {
    if expires_at_ms.is_some_and(|at| at <= now_ms) {
        return Some(Next::Expired {
            reason: Reason::EventExpired,
            detail: "the event's expirytime has passed".to_owned(),
        });
    }
    (now_ms.saturating_sub(since_ms) > retry.max_age_ms()).then(|| Next::Expired {
        reason: Reason::TooOld,
        detail: format!(
            "older than the retry policy allows ({} s)",
            retry.max_age_ms() / 1000
        ),
    })
}

/// What follows from an attempt.
pub(crate) fn decide(facts: Facts<'_>, verdict: Verdict) -> Next {
    match verdict {
        Verdict::Delivered => Next::Delivered,
        Verdict::More { detail } => Next::More { detail },
        Verdict::Skipped { reason, detail } => Next::Skipped { reason, detail },
        Verdict::Later {
            reason,
            detail,
            wait_ms,
        }
        // Whoever makes attempts does not ask about this one, since it was none.
        | Verdict::Busy {
            reason,
            detail,
            wait_ms,
        } => again(facts, reason, detail, Some(wait_ms)),
        Verdict::Permanent { reason, detail } => Next::Dead { reason, detail },
        Verdict::Gone { detail } => Next::Dead {
            reason: Reason::Gone,
            detail,
        },
        Verdict::Retry {
            reason: Reason::Http4xx,
            detail,
            ..
        } if !facts.retry_on_4xx => Next::Dead {
            reason: Reason::Http4xx,
            detail,
        },
        Verdict::Retry {
            reason,
            detail,
            retry_after_ms,
        } => again(facts, reason, detail, retry_after_ms),
    }
}

/// Another attempt, if the policy still allows one.
fn again(facts: Facts<'_>, reason: Reason, detail: String, asked_ms: Option<u64>) -> Next {
    let waits = match reason {
        // A time of the week that has not come is no failure, and has no schedule. Whoever asks for another run of a function says
        // when, and how often: not as often as a receiver that is away.
        Reason::OutsideWindow
        | Reason::FunctionError
        | Reason::FunctionTimeout
        | Reason::FunctionOom
        | Reason::FunctionDisk
        | Reason::FunctionExit
        | Reason::FunctionInitTimeout => Some(0),
        _ => facts.retry.wait_ms(facts.made),
    };
    let Some(wait_ms) = waits else {
        return Next::Dead { reason, detail };
    };
    let due_at_ms = facts.now_ms.saturating_add(wait(facts, wait_ms, asked_ms));
    if facts.expires_at_ms.is_some_and(|at| at <= due_at_ms) {
        return Next::Expired {
            reason: Reason::EventExpired,
            detail: format!("{detail}; the event expires before the next attempt"),
        };
    }
    if due_at_ms.saturating_sub(facts.since_ms) > facts.retry.max_age_ms() {
        return Next::Expired {
            reason: Reason::TooOld,
            detail: format!(
                "{detail}; the next attempt would come after the age limit of {} s",
                facts.retry.max_age_ms() / 1000
            ),
        };
    }
    Next::Retry {
        due_at_ms,
        reason,
        detail,
    }
}

fn wait(facts: Facts<'_>, wait_ms: u64, retry_after_ms: Option<u64>) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a fraction of at most a few hours in milliseconds"
    )]
    let jitter = (facts.retry.jitter_ms(wait_ms) as f64 * facts.chance.clamp(0.0, 1.0)) as u64;
    let asked = retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX);
    i64::try_from((wait_ms + jitter).max(asked)).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use belfry_model::config::Schedule;

    use super::*;

    fn facts(retry: &RetryPolicy) -> Facts<'_> {
        Facts {
            made: 1,
            since_ms: 0,
            expires_at_ms: None,
            retry,
            retry_on_4xx: true,
            now_ms: 0,
            chance: 0.0,
        }
    }

    fn failed(reason: Reason, retry_after_ms: Option<u64>) -> Verdict {
        Verdict::Retry {
            reason,
            detail: "no".to_owned(),
            retry_after_ms,
        }
    }

    #[test]
    fn a_failure_waits_as_the_schedule_says_and_never_less() {
        let retry = RetryPolicy::default();
        for (chance, low, high) in [(0.0, 5000, 5000), (1.0, 5500, 5500), (0.5, 5250, 5250)] {
            let next = decide(
                Facts {
                    chance,
                    ..facts(&retry)
                },
                failed(Reason::Http5xx, None),
            );
            assert!(
                matches!(next, Next::Retry { due_at_ms, .. } if (low..=high).contains(&due_at_ms)),
                "{next:?}"
            );
        }
    }

    #[test]
    fn retry_after_is_obeyed_between_the_schedule_and_a_day() {
        let retry = RetryPolicy {
            max_age_seconds: Some(14 * 86_400),
            ..RetryPolicy::default()
        };
        for (asked, due) in [(1, 5000), (60_000, 60_000), (u64::MAX, 86_400_000)] {
            let next = decide(facts(&retry), failed(Reason::RateLimited, Some(asked)));
            assert!(
                matches!(next, Next::Retry { due_at_ms, .. } if due_at_ms == due),
                "{next:?}"
            );
        }
    }

    #[test]
    fn who_says_when_is_waited_for_whatever_the_schedule_says() {
        let retry = RetryPolicy::of(Schedule::None);
        let later = |reason| Verdict::Later {
            reason,
            detail: "not now".to_owned(),
            wait_ms: 3_600_000,
        };
        assert!(matches!(
            decide(facts(&retry), later(Reason::OutsideWindow)),
            Next::Retry {
                due_at_ms: 3_600_000,
                reason: Reason::OutsideWindow,
                ..
            }
        ));
        // A function's own fault has a schedule of its own, without chance in it.
        let exact = Facts {
            chance: 1.0,
            ..facts(&retry)
        };
        assert!(matches!(
            decide(exact, later(Reason::FunctionError)),
            Next::Retry {
                due_at_ms: 3_600_000,
                reason: Reason::FunctionError,
                ..
            }
        ));
        // A recipient who is never there is given up like any other failure.
        assert!(matches!(
            decide(facts(&retry), later(Reason::ProviderRejected)),
            Next::Dead { .. }
        ));
    }

    #[test]
    fn the_last_attempt_ends_dead_with_the_failure_as_reason() {
        let retry = RetryPolicy::of(Schedule::None);
        assert_eq!(
            decide(facts(&retry), failed(Reason::Timeout, None)),
            Next::Dead {
                reason: Reason::Timeout,
                detail: "no".to_owned()
            }
        );
    }

    #[test]
    fn a_4xx_is_tried_again_only_where_the_target_says_so() {
        let retry = RetryPolicy::default();
        let strict = Facts {
            retry_on_4xx: false,
            ..facts(&retry)
        };
        assert!(matches!(
            decide(strict, failed(Reason::Http4xx, None)),
            Next::Dead { .. }
        ));
        assert!(matches!(
            decide(strict, failed(Reason::RateLimited, None)),
            Next::Retry { .. }
        ));
        assert!(matches!(
            decide(facts(&retry), failed(Reason::Http4xx, None)),
            Next::Retry { .. }
        ));
    }

    #[test]
    fn what_would_come_too_late_expires_now() {
        let retry = RetryPolicy {
            max_age_seconds: Some(4),
            ..RetryPolicy::default()
        };
        assert!(matches!(
            decide(facts(&retry), failed(Reason::Http5xx, None)),
            Next::Expired {
                reason: Reason::TooOld,
                ..
            }
        ));
        let retry = RetryPolicy::default();
        let soon = Facts {
            expires_at_ms: Some(3000),
            ..facts(&retry)
        };
        assert!(matches!(
            decide(soon, failed(Reason::Http5xx, None)),
            Next::Expired {
                reason: Reason::EventExpired,
                ..
            }
        ));
    }

    #[test]
    fn an_expired_event_is_not_tried() {
        let retry = RetryPolicy::default();
        assert!(too_old(0, None, &retry, 86_400_000).is_none());
        assert!(matches!(
            too_old(0, None, &retry, 86_400_001),
            Some(Next::Expired {
                reason: Reason::TooOld,
                ..
            })
        ));
        assert!(matches!(
            too_old(0, Some(10), &retry, 10),
            Some(Next::Expired {
                reason: Reason::EventExpired,
                ..
            })
        ));
    }
}
