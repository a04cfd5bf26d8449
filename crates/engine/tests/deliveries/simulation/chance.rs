//! Chance from a seed, and a clock that the simulation moves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use belfry_engine::Random;
use belfry_model::Clock;
use tokio::time::Instant;

/// Xorshift: the same numbers for the same seed, whatever the version of a library.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        chance.next();
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    pub(crate) fn count(&mut self, first: u64, last: u64) -> usize {
        usize::try_from(first + self.below(last - first + 1)).unwrap()
    }

    pub(crate) fn millis(&mut self, first: u64, last: u64) -> Duration {
        Duration::from_millis(first + self.below(last - first + 1))
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn of_all<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.count(0, all.len() as u64 - 1)]
    }

    /// A source of its own, for a part that asks in its own order.
    pub(crate) fn part(&mut self) -> Self {
        Self::of(self.next())
    }
}

/// Chance for the engine.
pub(crate) struct Shared(Mutex<Chance>);

impl Shared {
    pub(crate) fn new(chance: Chance) -> Self {
        Self(Mutex::new(chance))
    }
}

impl Random for Shared {
    fn number(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

/// 2026-01-01.
const START_MS: i64 = 1_767_225_600_000;

/// The time of day: as far from its start as the runtime's own clock, and what it was put forward or back.
#[derive(Debug)]
pub(crate) struct Wall {
    begun: Instant,
    moved_ms: AtomicI64,
}

impl Wall {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            moved_ms: AtomicI64::new(0),
        }
    }

    pub(crate) fn put(&self, ms: i64) {
        self.moved_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Wall {
    fn now_ms(&self) -> i64 {
        let run = i64::try_from(self.begun.elapsed().as_millis()).unwrap();
        START_MS + run + self.moved_ms.load(Ordering::Relaxed)
    }
}
