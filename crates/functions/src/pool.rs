//! Who gets a worker: idle ones, room for new ones, and those who wait.
//!
//! The most recently used idle worker goes first, so that the others can go. Room is bounded by program and altogether; who
//! waits longest gets it. A program whose workers die again and again is started only now and then.
//!
//! It must never know what a worker does.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::outcome::Outcome;
use crate::program::Program;
use crate::worker::Worker;

/// So many deaths within [`DEATHS_WITHIN`] are a crash loop.
const DEATHS: usize = 5;
const DEATHS_WITHIN: Duration = Duration::from_mins(1);
const SPACING_MIN: Duration = Duration::from_secs(1);
const SPACING_MAX: Duration = Duration::from_mins(1);

/// What somebody gets who needs a worker.
pub(crate) enum Offer {
    /// An idle one.
    Warm(Worker),
    /// Room to start one.
    Room(Slot),
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The server stops.
    Stopping,
    /// Too many wait already.
    QueueFull,
    /// Its workers die; the next start is after this time.
    Spaced(Duration),
}

/// A place in the pool, as long as it lives.
pub(crate) struct Slot {
    pools: Arc<Pools>,
    key: [u8; 32],
    pool: u64,
    /// Set when what runs here is not wanted any more.
    pub(crate) unwanted: watch::Receiver<Option<Outcome>>,
    armed: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let mut state = self.pools.lock();
        state.leave(&self.key, self.pool);
        state.serve(&self.pools);
    }
}

/// All pools of a runner.
pub(crate) struct Pools {
    state: Mutex<State>,
    workers_max: usize,
    queue_max: usize,
}

#[derive(Default)]
struct State {
    pools: HashMap<[u8; 32], Pool>,
    /// Workers in all, also those that start or end.
    workers: usize,
    waiting: usize,
    next_pool: u64,
    stopping: bool,
}

struct Pool {
    number: u64,
    program: Arc<Program>,
    /// The last is the most recently used.
    idle: Vec<Worker>,
    workers: usize,
    waiting: VecDeque<(Instant, oneshot::Sender<Offer>)>,
    unwanted: watch::Sender<Option<Outcome>>,
    retired: bool,
    deaths: VecDeque<Instant>,
    spacing: Duration,
    next_start: Option<Instant>,
    broken: Option<String>,
}

impl Pool {
    fn new(program: &Arc<Program>, number: u64) -> Self {
        Self {
            number,
            program: Arc::clone(program),
            idle: Vec::new(),
            workers: 0,
            waiting: VecDeque::new(),
            unwanted: watch::Sender::new(None),
            retired: false,
            deaths: VecDeque::new(),
            spacing: Duration::ZERO,
            next_start: None,
            broken: None,
        }
    }

    fn has_room(&self) -> bool {
        self.workers < self.program.limits.concurrency as usize
    }

    /// How long until it may be started again.
    fn spaced(&self) -> Option<Duration> {
        let wait = self.next_start?.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }

    fn min_warm(&self) -> usize {
        if self.retired {
            0
        } else {
            self.program.limits.min_warm as usize
        }
    }
}

impl State {
    fn leave(&mut self, key: &[u8; 32], number: u64) {
        self.workers = self.workers.saturating_sub(1);
        if let Some(pool) = self.pools.get_mut(key)
            && pool.number == number
        {
            pool.workers = pool.workers.saturating_sub(1);
        }
    }

    fn room(&mut self, pools: &Arc<Pools>, key: &[u8; 32]) -> Option<Slot> {
        let pool = self.pools.get_mut(key)?;
        if !pool.has_room() || self.workers >= pools.workers_max {
            return None;
        }
        pool.workers += 1;
        self.workers += 1;
        if !pool.spacing.is_zero() {
            pool.next_start = Some(Instant::now() + pool.spacing);
        }
        Some(Slot {
            pools: Arc::clone(pools),
            key: *key,
            pool: pool.number,
            unwanted: pool.unwanted.subscribe(),
            armed: true,
        })
    }

    /// The pool whose first has waited longest, among those that could start a worker if there was room.
    fn longest_waiting(&self) -> Option<([u8; 32], Instant)> {
        self.pools
            .iter()
            .filter(|(_, pool)| pool.has_room() && pool.spaced().is_none())
            .filter_map(|(key, pool)| Some((*key, pool.waiting.front()?.0)))
            .min_by_key(|(_, since)| *since)
    }

    /// Gives room to those who wait for it.
    fn serve(&mut self, pools: &Arc<Pools>) {
        while self.waiting > 0 && self.workers < pools.workers_max {
            let Some((key, _)) = self.longest_waiting() else {
                return;
            };
            let Some(slot) = self.room(pools, &key) else {
                return;
            };
            let number = slot.pool;
            let waiting = self
                .pools
                .get_mut(&key)
                .and_then(|pool| pool.waiting.pop_front());
            let Some((_, waiting)) = waiting else {
                return;
            };
            self.waiting -= 1;
            if let Err(Offer::Room(mut slot)) = waiting.send(Offer::Room(slot)) {
                // Whoever waited has gone. The lock is held: the place is given back by hand.
                slot.armed = false;
                self.leave(&key, number);
            }
        }
    }
}

/// A program's workers, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// The function.
    pub function: String,
    /// The version.
    pub version: String,
    /// Workers that have nothing to do.
    pub idle: usize,
    /// Workers that start, run or end.
    pub busy: usize,
    /// Invocations that wait for one.
    pub waiting: usize,
    /// Why it is broken: its code cannot be loaded, or its workers die again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// How long until it is started again, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_start_ms: Option<u64>,
}

impl Pools {
    pub(crate) fn new(workers_max: usize, queue_max: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            workers_max: workers_max.max(1),
            queue_max,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker, room for one, or a place in the queue.
    pub(crate) fn take(
        self: &Arc<Self>,
        program: &Arc<Program>,
    ) -> Result<Result<Offer, oneshot::Receiver<Offer>>, Refused> {
        // Dropped after the lock.
        let mut dead = Vec::new();
        let mut evicted = None;
        let mut state = self.lock();
        if state.stopping {
            return Err(Refused::Stopping);
        }
        let key = program.key;
        let is_gone = |pool: &Pool| pool.unwanted.borrow().is_some();
        if state.pools.get(&key).is_none_or(is_gone) {
            state.next_pool += 1;
            let pool = Pool::new(program, state.next_pool);
            state.pools.insert(key, pool);
        }
        let Some(pool) = state.pools.get_mut(&key) else {
            return Err(Refused::Stopping);
        };
        while let Some(mut worker) = pool.idle.pop() {
            if worker.is_alive() {
                drop(state);
                drop(dead);
                return Ok(Ok(Offer::Warm(worker)));
            }
            dead.push(worker);
        }
        if !pool.has_room() {
        } else if let Some(wait) = pool.spaced() {
            return Err(Refused::Spaced(wait));
        } else if let Some(slot) = state.room(self, &key) {
            return Ok(Ok(Offer::Room(slot)));
        } else {
            evicted = evict(&mut state, &key);
        }
        let Some(pool) = state.pools.get_mut(&key) else {
            return Err(Refused::Stopping);
        };
        pool.waiting.retain(|(_, sender)| !sender.is_closed());
        if pool.waiting.len() >= self.queue_max {
            return Err(Refused::QueueFull);
        }
        let (sender, receiver) = oneshot::channel();
        pool.waiting.push_back((Instant::now(), sender));
        state.waiting = state.pools.values().map(|pool| pool.waiting.len()).sum();
        drop(state);
        drop(evicted);
        drop(dead);
        Ok(Err(receiver))
    }

    /// A worker that can go on.
    pub(crate) fn give_back(&self, program: &Program, mut worker: Worker) {
        worker.idle_since = Instant::now();
        let mut state = self.lock();
        let is_full = state.workers >= self.workers_max && state.waiting > 0;
        let starved = if is_full {
            state.longest_waiting()
        } else {
            None
        };
        let is_stopping = state.stopping;
        let Some(pool) = state.pools.get_mut(&program.key) else {
            return;
        };
        let first = pool.waiting.front().map(|(since, _)| *since);
        let other_first = starved.is_some_and(|(key, since)| {
            key != program.key && first.is_none_or(|first| since < first)
        });
        // Dropped after the lock: its place serves those who wait.
        if is_stopping || other_first || pool.unwanted.borrow().is_some() {
            drop(state);
            return;
        }
        let mut taken = 0;
        let mut left = Some(worker);
        while let Some(worker) = left.take() {
            let Some((_, waiting)) = pool.waiting.pop_front() else {
                left = Some(worker);
                break;
            };
            taken += 1;
            if let Err(Offer::Warm(back)) = waiting.send(Offer::Warm(worker)) {
                left = Some(back);
            }
        }
        if let Some(worker) = left.take() {
            if pool.retired {
                left = Some(worker);
            } else {
                pool.idle.push(worker);
            }
        }
        state.waiting = state.waiting.saturating_sub(taken);
        drop(state);
        drop(left);
    }

    /// A worker has died by its program's fault. `load`: its code cannot be loaded. Returns whether this begins a crash loop.
    pub(crate) fn died(&self, program: &Program, why: &str, load: bool) -> bool {
        let mut state = self.lock();
        let Some(pool) = state.pools.get_mut(&program.key) else {
            return false;
        };
        let now = Instant::now();
        pool.deaths.push_back(now);
        while pool.deaths.len() > DEATHS {
            pool.deaths.pop_front();
        }
        if load {
            pool.broken = Some(why.to_owned());
        }
        let loops = pool.deaths.len() >= DEATHS
            && pool
                .deaths
                .front()
                .is_some_and(|first| now - *first <= DEATHS_WITHIN);
        // A loop goes on at the first death after a spaced start.
        if !loops && pool.spacing.is_zero() {
            return false;
        }
        let begins = pool.spacing.is_zero();
        pool.spacing = (pool.spacing * 2).clamp(SPACING_MIN, SPACING_MAX);
        pool.next_start = Some(now + pool.spacing);
        pool.broken = Some(why.to_owned());
        begins
    }

    /// An invocation has succeeded: whatever was broken is not.
    pub(crate) fn succeeded(&self, program: &Program) {
        let mut state = self.lock();
        if let Some(pool) = state.pools.get_mut(&program.key)
            && (pool.broken.is_some() || !pool.deaths.is_empty())
        {
            pool.broken = None;
            pool.deaths.clear();
            pool.spacing = Duration::ZERO;
            pool.next_start = None;
        }
    }

    /// Programs of a function other than these get no new workers, and their idle ones go.
    pub(crate) fn retire(&self, is_retired: impl Fn(&Program) -> bool) {
        let mut gone = Vec::new();
        let mut state = self.lock();
        for pool in state.pools.values_mut() {
            if is_retired(&pool.program) {
                pool.retired = true;
                gone.append(&mut pool.idle);
            }
        }
        drop(state);
        drop(gone);
    }

    /// What runs of these programs is not wanted any more, for this reason.
    pub(crate) fn forget(&self, is_forgotten: impl Fn(&Program) -> bool, outcome: Outcome) {
        let mut gone = Vec::new();
        let mut state = self.lock();
        for pool in state.pools.values_mut() {
            if is_forgotten(&pool.program) {
                pool.unwanted.send_replace(Some(outcome));
                pool.waiting.clear();
                gone.append(&mut pool.idle);
            }
        }
        state.waiting = state.pools.values().map(|pool| pool.waiting.len()).sum();
        drop(state);
        drop(gone);
    }

    /// Why nothing of this program is wanted any more.
    pub(crate) fn unwanted(&self, program: &Program) -> Option<Outcome> {
        let state = self.lock();
        if state.stopping {
            return Some(Outcome::Stopped);
        }
        state
            .pools
            .get(&program.key)
            .and_then(|pool| *pool.unwanted.borrow())
    }

    /// From here on nobody gets a worker; idle ones go.
    pub(crate) fn stop(&self) {
        let mut gone = Vec::new();
        let mut state = self.lock();
        state.stopping = true;
        for pool in state.pools.values_mut() {
            pool.waiting.clear();
            gone.append(&mut pool.idle);
        }
        state.waiting = 0;
        drop(state);
        drop(gone);
    }

    /// Workers in all, also those that start or end.
    pub(crate) fn workers(&self) -> usize {
        self.lock().workers
    }

    /// Ends workers that have been idle for too long, forgets pools that nobody needs, serves those who wait. Returns programs
    /// that want more warm workers, with room for each.
    pub(crate) fn keep_house(self: &Arc<Self>) -> Vec<(Arc<Program>, Slot)> {
        let now = Instant::now();
        let (mut gone, mut wanted) = (Vec::new(), Vec::new());
        let mut state = self.lock();
        for pool in state.pools.values_mut() {
            let dead = pool.idle.extract_if(.., |worker| !worker.is_alive());
            gone.extend(dead);
            while pool.idle.len() > pool.min_warm()
                && pool
                    .idle
                    .first()
                    .is_some_and(|worker| now - worker.idle_since >= pool.program.limits.idle)
            {
                gone.push(pool.idle.remove(0));
            }
        }
        state.pools.retain(|_, pool| {
            pool.waiting.retain(|(_, sender)| !sender.is_closed());
            let remembers = pool
                .deaths
                .back()
                .is_some_and(|death| now - *death < SPACING_MAX * 2);
            pool.workers > 0
                || !pool.waiting.is_empty()
                || pool.min_warm() > 0
                || remembers && !pool.retired
        });
        state.waiting = state.pools.values().map(|pool| pool.waiting.len()).sum();
        state.serve(self);
        if !state.stopping {
            let keys: Vec<_> = state.pools.keys().copied().collect();
            for key in keys {
                while let Some(pool) = state.pools.get(&key)
                    && pool.workers < pool.min_warm()
                    && pool.unwanted.borrow().is_none()
                    && pool.spaced().is_none()
                {
                    let program = Arc::clone(&pool.program);
                    let Some(slot) = state.room(self, &key) else {
                        break;
                    };
                    wanted.push((program, slot));
                }
            }
        }
        drop(state);
        drop(gone);
        wanted
    }

    /// Makes sure that there is a pool.
    pub(crate) fn know(&self, program: &Arc<Program>) {
        let mut state = self.lock();
        state.next_pool += 1;
        let number = state.next_pool;
        state
            .pools
            .entry(program.key)
            .or_insert_with(|| Pool::new(program, number));
    }

    pub(crate) fn status(&self) -> Vec<PoolStatus> {
        let state = self.lock();
        let mut all: Vec<_> = state
            .pools
            .values()
            .map(|pool| PoolStatus {
                function: pool.program.function.to_string(),
                version: pool.program.version.clone(),
                idle: pool.idle.len(),
                busy: pool.workers.saturating_sub(pool.idle.len()),
                waiting: pool.waiting.len(),
                broken: pool.broken.clone(),
                next_start_ms: pool
                    .spaced()
                    .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            })
            .collect();
        all.sort_by(|a, b| (&a.function, &a.version).cmp(&(&b.function, &b.version)));
        all
    }
}

/// Ends the idle worker of another program that was used least recently; its place goes to who waits longest.
fn evict(state: &mut State, but: &[u8; 32]) -> Option<Worker> {
    let key = state
        .pools
        .iter()
        .filter(|(key, pool)| *key != but && pool.idle.len() > pool.min_warm())
        .filter_map(|(key, pool)| Some((*key, pool.idle.first()?.idle_since)))
        .min_by_key(|(_, since)| *since)?
        .0;
    let pool = state.pools.get_mut(&key)?;
    Some(pool.idle.remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests_support::program;

    #[tokio::test(start_paused = true)]
    async fn a_crash_loop_is_started_ever_more_seldom_until_it_succeeds() {
        let pools = Pools::new(10, 10);
        let program = Arc::new(program(&"default/loops".parse().unwrap()));
        let start = || match pools.take(&program) {
            Ok(Ok(Offer::Room(_))) => Ok(()),
            Err(Refused::Spaced(wait)) => Err(wait.as_millis()),
            _ => panic!("neither room nor a wait"),
        };
        // Five deaths, each within a minute of the first.
        for death in 1..=5 {
            assert_eq!(start(), Ok(()));
            assert_eq!(pools.died(&program, "it threw", false), death == 5);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(start(), Err(wait.as_millis()));
            assert_eq!(pools.status()[0].broken.as_deref(), Some("it threw"));
            tokio::time::advance(wait).await;
            assert_eq!(start(), Ok(()));
            // While that one is being tried nobody else is.
            assert!(start().is_err());
            assert!(!pools.died(&program, "it threw", false));
        }
        pools.succeeded(&program);
        assert_eq!(pools.status()[0].broken, None);
        for _ in 1..5 {
            assert_eq!(start(), Ok(()));
            assert!(!pools.died(&program, "it threw", false));
            tokio::time::advance(Duration::from_secs(16)).await;
        }
        // The fifth comes more than a minute after the first: no loop.
        assert!(!pools.died(&program, "it threw", false));
        assert_eq!(start(), Ok(()));
    }
}
