//! One target's circuit and rate limit: when something may be sent. Pure; times are passed in.

use std::time::Duration;

use belfry_model::config::RateLimit;

/// Opens after failures in a row; while open nothing is sent; then one probe decides.
#[derive(Debug)]
pub(crate) struct Circuit {
    failures_max: u32,
    open_first_ms: i64,
    open_max_ms: i64,
    failures: u32,
    next_open_ms: i64,
    /// The end of the last open time.
    open_until_ms: i64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until_ms: i64 },
    Probing,
}

/// A change worth a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Opened { until_ms: i64 },
    Closed,
}

impl Circuit {
    pub(crate) fn new(failures_max: u32, open_first: Duration, open_max: Duration) -> Self {
        let ms = |time: Duration| {
            i64::try_from(time.as_millis())
                .unwrap_or(i64::MAX / 4)
                .max(1)
        };
        Self {
            failures_max: failures_max.max(1),
            open_first_ms: ms(open_first),
            open_max_ms: ms(open_max).max(ms(open_first)),
            failures: 0,
            next_open_ms: ms(open_first),
            open_until_ms: 0,
            state: State::Closed,
        }
    }

    /// Asks to send. `Err` says when to ask again. An `Ok` after an open time makes the sender the probe.
    pub(crate) fn ask(&mut self, now_ms: i64) -> Result<(), i64> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until_ms } if self.is_ahead(until_ms, now_ms) => Err(until_ms),
            State::Open { .. } => {
                self.state = State::Probing;
                Ok(())
            }
            State::Probing => Err(now_ms + self.open_first_ms),
        }
    }

    /// Whether `ask` would succeed, and how many may be sent at once.
    pub(crate) fn room(&self, now_ms: i64) -> usize {
        match self.state {
            State::Closed => usize::MAX,
            State::Open { until_ms } if !self.is_ahead(until_ms, now_ms) => 1,
            _ => 0,
        }
    }

    /// Whether an open time is still to end. One that is further ahead than any can be was set before the clock
    /// stepped back, and is over.
    fn is_ahead(&self, until_ms: i64, now_ms: i64) -> bool {
        until_ms > now_ms && until_ms - now_ms <= self.open_max_ms
    }

    /// Whether what is already queued has to wait in the store.
    pub(crate) fn is_open(&self, now_ms: i64) -> Option<i64> {
        match self.state {
            State::Open { until_ms } if self.is_ahead(until_ms, now_ms) => Some(until_ms),
            State::Open { .. } => Some(now_ms),
            _ => None,
        }
    }

    /// The receiver took a request.
    pub(crate) fn succeeded(&mut self) -> Option<Change> {
        let was = std::mem::replace(&mut self.state, State::Closed);
        self.failures = 0;
        self.next_open_ms = self.open_first_ms;
        (was != State::Closed).then_some(Change::Closed)
    }

    /// The receiver answered, if not with success: as a probe that is enough.
    pub(crate) fn answered(&mut self) -> Option<Change> {
        (self.state == State::Probing)
            .then(|| self.succeeded())
            .flatten()
    }

    /// The receiver failed in a way that says something about it.
    pub(crate) fn failed(&mut self, now_ms: i64) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        match self.state {
            State::Probing => {
                // Only the first opening is worth a report.
                self.open(now_ms);
                None
            }
            State::Closed if self.failures >= self.failures_max => Some(Change::Opened {
                until_ms: self.open(now_ms),
            }),
            _ => None,
        }
    }

    /// The probe said nothing about the receiver (it was dropped, or the fault was ours): the next may probe.
    pub(crate) fn inconclusive(&mut self, now_ms: i64) {
        if self.state == State::Probing {
            self.state = State::Open { until_ms: now_ms };
        }
    }

    fn open(&mut self, now_ms: i64) -> i64 {
        let until_ms = now_ms.saturating_add(self.next_open_ms);
        self.open_until_ms = until_ms;
        self.state = State::Open { until_ms };
        self.next_open_ms = (self.next_open_ms * 2).min(self.open_max_ms);
        until_ms
    }

    /// The end of its open time, unless it is closed; also while it is probed.
    pub(crate) fn open_until_ms(&self) -> Option<i64> {
        (self.state != State::Closed).then_some(self.open_until_ms)
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.state {
            State::Closed => "closed",
            State::Open { .. } => "open",
            State::Probing => "probing",
        }
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

/// What a bucket is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Tokens that come in each span.
    pub(crate) count: u32,
    /// The span, ms.
    pub(crate) per_ms: i64,
    /// The most at once.
    pub(crate) burst: u32,
}

impl From<RateLimit> for Rate {
    fn from(limit: RateLimit) -> Self {
        Self {
            count: limit.count,
            per_ms: i64::from(limit.per_seconds.max(1)) * 1000,
            burst: limit.count,
        }
    }
}

/// A token bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// In parts of a token such that a millisecond adds `count` parts exactly: nothing is lost to rounding. Below zero
    /// when more was taken than there was, because two looked at the same time; that is paid back.
    level: i64,
    filled_at_ms: i64,
}

impl Bucket {
    pub(crate) fn new(rate: impl Into<Rate>, now_ms: i64) -> Self {
        let mut bucket = Self::empty(rate, now_ms);
        bucket.level = bucket.full();
        bucket
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Parts that make one token.
    fn token(&self) -> i64 {
        self.rate.per_ms.max(1)
    }

    fn full(&self) -> i64 {
        i64::from(self.rate.burst.max(1)).saturating_mul(self.token())
    }

    /// Whole tokens at hand.
    pub(crate) fn tokens(&mut self, now_ms: i64) -> usize {
        let elapsed = now_ms.saturating_sub(self.filled_at_ms).max(0);
        let added = elapsed.saturating_mul(i64::from(self.rate.count));
        self.level = self.level.saturating_add(added).min(self.full());
        // Also after the clock stepped back, else nothing would be filled until it has caught up.
        self.filled_at_ms = now_ms;
        usize::try_from(self.level / self.token()).unwrap_or(0)
    }

    /// Goes on with another rate. Tokens at hand stay, as far as they fit: they were part of the limit before.
    pub(crate) fn resize(&mut self, rate: impl Into<Rate>, now_ms: i64) {
        let _filled = self.tokens(now_ms);
        let tokens = i128::from(self.level) * 1000 / i128::from(self.token());
        self.rate = rate.into();
        let level = tokens * i128::from(self.token()) / 1000;
        self.level = i64::try_from(level).unwrap_or(i64::MAX).min(self.full());
    }

    /// Without a token.
    pub(crate) fn empty(rate: impl Into<Rate>, now_ms: i64) -> Self {
        Self {
            rate: rate.into(),
            level: 0,
            filled_at_ms: now_ms,
        }
    }

    /// Takes a token.
    pub(crate) fn take(&mut self) {
        self.level = self.level.saturating_sub(self.token());
    }

    /// Gives a token back that was not used.
    pub(crate) fn give_back(&mut self) {
        self.level = self.level.saturating_add(self.token()).min(self.full());
    }

    /// When the next whole token is there, ms since 1970.
    pub(crate) fn next_at_ms(&self) -> i64 {
        let missing = self.token().saturating_sub(self.level).max(0);
        let count = i64::from(self.rate.count.max(1));
        self.filled_at_ms
            .saturating_add((missing + count - 1) / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> Circuit {
        Circuit::new(3, Duration::from_secs(1), Duration::from_secs(4))
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_in_between_does_not() {
        let mut circuit = circuit();
        assert_eq!(circuit.failed(0), None);
        assert_eq!(circuit.failed(0), None);
        assert_eq!(circuit.succeeded(), None);
        assert_eq!(circuit.failed(0), None);
        assert_eq!(circuit.failed(0), None);
        assert_eq!(circuit.failed(0), Some(Change::Opened { until_ms: 1000 }));
        assert_eq!(circuit.ask(999), Err(1000));
    }

    #[test]
    fn one_probe_at_a_time_decides_and_the_open_time_doubles_to_its_limit() {
        let mut circuit = circuit();
        for _ in 0..3 {
            circuit.failed(0);
        }
        let mut now = 1000;
        for open in [2000, 4000, 4000] {
            assert_eq!(circuit.room(now), 1);
            assert_eq!(circuit.ask(now), Ok(()));
            assert_eq!(circuit.room(now), 0);
            assert!(circuit.ask(now).is_err());
            assert_eq!(circuit.failed(now), None);
            assert_eq!(circuit.ask(now + open - 1), Err(now + open));
            now += open;
        }
        assert_eq!(circuit.ask(now), Ok(()));
        assert_eq!(circuit.succeeded(), Some(Change::Closed));
        assert_eq!(circuit.ask(now), Ok(()));
    }

    #[test]
    fn a_lost_probe_does_not_keep_the_circuit_shut_for_ever() {
        let mut circuit = circuit();
        for _ in 0..3 {
            circuit.failed(0);
        }
        assert_eq!(circuit.ask(1000), Ok(()));
        circuit.inconclusive(1500);
        assert_eq!(circuit.ask(1500), Ok(()));
    }

    #[test]
    fn a_rate_limit_lets_through_what_it_says_over_time() {
        let mut bucket = Bucket::new(
            RateLimit {
                count: 20,
                per_seconds: 60,
            },
            0,
        );
        let mut sent = 0;
        for now in (0..=60_000).step_by(10) {
            if bucket.tokens(now) > 0 {
                bucket.take();
                sent += 1;
            }
        }
        assert_eq!(sent, 40, "the burst of 20 and 20 more in the minute");
        assert!(bucket.next_at_ms() > 60_000);
    }

    #[test]
    fn tokens_taken_beyond_what_was_there_are_paid_back() {
        let limit = RateLimit {
            count: 2,
            per_seconds: 1,
        };
        let mut bucket = Bucket::new(limit, 0);
        for _ in 0..4 {
            bucket.take();
        }
        assert_eq!(bucket.tokens(1000), 0);
        assert_eq!(bucket.next_at_ms(), 1500);
        assert_eq!(bucket.tokens(1500), 1);
    }

    #[test]
    fn tokens_given_back_can_be_taken_again() {
        let mut bucket = Bucket::new(
            RateLimit {
                count: 2,
                per_seconds: 1,
            },
            0,
        );
        bucket.take();
        bucket.take();
        assert_eq!(bucket.tokens(0), 0);
        bucket.give_back();
        assert_eq!(bucket.tokens(0), 1);
        assert_eq!(bucket.tokens(100_000), 2, "never more than the count");
    }

    #[test]
    fn a_clock_that_stepped_back_stops_neither_circuit_nor_rate_limit_until_it_has_caught_up() {
        let later = 3_600_000;
        let mut circuit = circuit();
        for _ in 0..3 {
            circuit.failed(later);
        }
        assert_eq!(circuit.is_open(0), Some(0), "what is queued waits no hour");
        assert_eq!(circuit.room(0), 1);
        assert_eq!(circuit.ask(0), Ok(()));
        let limit = RateLimit {
            count: 1,
            per_seconds: 1,
        };
        let mut bucket = Bucket::new(limit, later);
        bucket.take();
        assert_eq!(bucket.tokens(0), 0);
        assert_eq!(bucket.next_at_ms(), 1000);
        assert_eq!(bucket.tokens(1000), 1);
    }
}
