//! Requests per second of a key, counted in memory.
//!
//! The generic cell rate algorithm: one number per key, the time at which its allowance would be whole again. A key
//! may use a second's allowance at once. Only keys that exist are counted, so the map is bounded by them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What is left of a key's allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateState {
    /// Requests per second.
    pub quota: u32,
    /// Requests that may come at once.
    pub remaining: u32,
    /// Until the allowance is whole again.
    pub reset: Duration,
}

/// The limiter.
#[derive(Debug, Default)]
pub(crate) struct Limiter(Mutex<HashMap<String, i64>>);

const SECOND_US: i64 = 1_000_000;

impl Limiter {
    /// Counts one request of `key`; the error says how long to wait.
    pub(crate) fn take(
        &self,
        key: &str,
        per_second: u32,
        now_ms: i64,
    ) -> Result<RateState, (RateState, Duration)> {
        let quota = per_second.max(1);
        let gap = (SECOND_US / i64::from(quota)).max(1);
        let now = now_ms.saturating_mul(1000);
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = cells.entry(key.to_owned()).or_insert(now);
        // A clock that stepped back must not lock a key out: nobody owes more than one second.
        let due = (*full).clamp(now, now.saturating_add(SECOND_US));
        *full = due;
        let next = due.saturating_add(gap);
        let state = |full: i64| RateState {
            quota,
            remaining: u32::try_from((now.saturating_add(SECOND_US) - full).max(0) / gap)
                .unwrap_or(0),
            reset: micros(full.saturating_sub(now)),
        };
        if next > now.saturating_add(SECOND_US) {
            return Err((state(due), micros(next - now - SECOND_US)));
        }
        *full = next;
        Ok(state(next))
    }

    /// Forgets keys that are gone.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key, _| keep(key));
    }
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_allowance_may_be_used_at_once_and_comes_back_evenly() {
        let limiter = Limiter::default();
        for left in (0..4).rev() {
            assert_eq!(limiter.take("k", 4, 10_000).unwrap().remaining, left);
        }
        let (state, wait) = limiter.take("k", 4, 10_000).unwrap_err();
        assert_eq!((state.remaining, wait), (0, Duration::from_millis(250)));
        assert!(limiter.take("k", 4, 10_249).is_err());
        assert!(limiter.take("k", 4, 10_250).is_ok());
        assert!(limiter.take("other", 4, 10_250).is_ok());
    }

    #[test]
    fn a_clock_that_steps_back_does_not_lock_a_key_out() {
        let limiter = Limiter::default();
        limiter.take("k", 1, 1_000_000).unwrap();
        let (_, wait) = limiter.take("k", 1, 10_000).unwrap_err();
        assert!(wait <= Duration::from_secs(1));
        assert!(limiter.take("k", 1, 11_000).is_ok());
    }
}
