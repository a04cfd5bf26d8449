//! What is true outside of the engine: who was told what, which requests were made, what the store was made to do. Every
//! step is held against what Belfry promises, at the moment when it happens.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use belfry_engine::{AcceptError, Accepted};
use belfry_model::config::RetryPolicy;
use belfry_model::delivery::{DeliveryStatus, Trigger};
use belfry_model::{BusId, Clock, DeliveryId, EventId, NodeId, OrderKey, TargetId};
use belfry_store::{BLOCKED_MS, Batch, Claim, Claimed, Pending, Recovered};
use belfry_targets::Job;

use super::chance::{Chance, Wall};
use super::maps::{Maps, node_of};
use super::receiver::{Answer, Manner};
use crate::flaky::Watch;

/// Told at most so many.
const WRONG_MAX: usize = 5;

/// What a target was configured to be, as far as it bears on what may be sent.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) retry: RetryPolicy,
    /// The largest it ever was.
    pub(crate) concurrency: usize,
    pub(crate) log: bool,
    pub(crate) dead_letter: bool,
}

pub(crate) struct World {
    pub(crate) clock: Arc<Wall>,
    /// What the store must hold; the store itself, unless a real one is simulated on.
    pub(crate) maps: Arc<Maps>,
    /// The maps are beside the store under test, and follow it.
    beside: bool,
    state: Mutex<State>,
}

pub(crate) struct State {
    chance: Chance,
    several: bool,
    /// Went on after they were skipped: by a node that had not heard yet that the target is disabled or gone.
    pub(crate) unheard: BTreeSet<DeliveryId>,
    /// The commit that stored an event.
    stored: BTreeMap<EventId, u64>,
    pub(crate) manners: BTreeMap<String, Manner>,
    pub(crate) terms: BTreeMap<TargetId, Terms>,
    /// The bus of dead letters.
    pub(crate) dead: Option<BusId>,
    /// Engines that have not been killed.
    lives: BTreeSet<u64>,
    /// The engine behind each number.
    holders: BTreeMap<NodeId, u64>,
    /// Engines whose number was given up or taken over.
    over: BTreeSet<u64>,
    /// How often something happened that nobody can tell from a lost worker: the clock was put to another time (a lease
    /// ends early), or the store has done what it said it had not.
    pub(crate) doubts: u32,
    wire: BTreeMap<DeliveryId, (u64, u32)>,
    taken: BTreeMap<DeliveryId, (u64, u32)>,
    /// Of deliveries in order: those that were taken at some time, by target and key.
    in_order: BTreeMap<(TargetId, OrderKey), BTreeSet<EventId>>,
    ended: BTreeMap<DeliveryId, DeliveryStatus>,
    /// Of redriven ones: when, and how many attempts were made before.
    redriven: BTreeMap<DeliveryId, (i64, u32)>,
    leases: BTreeMap<DeliveryId, (NodeId, i64)>,
    marks: BTreeMap<NodeId, EventId>,
    pub(crate) accepted: BTreeMap<EventId, String>,
    pub(crate) refused: BTreeSet<String>,
    pub(crate) requests: u64,
    pub(crate) commits: u64,
    wrong: Vec<String>,
    history: DefaultHasher,
    told: bool,
}

impl World {
    pub(crate) fn new(maps: Arc<Maps>, beside: bool, chance: Chance, told: bool) -> Self {
        let several = maps.rows().several;
        Self {
            clock: Arc::new(Wall::new()),
            maps,
            beside,
            state: Mutex::new(State {
                chance,
                several,
                unheard: BTreeSet::new(),
                stored: BTreeMap::new(),
                manners: BTreeMap::new(),
                terms: BTreeMap::new(),
                dead: None,
                lives: BTreeSet::new(),
                holders: BTreeMap::new(),
                over: BTreeSet::new(),
                doubts: 0,
                wire: BTreeMap::new(),
                taken: BTreeMap::new(),
                in_order: BTreeMap::new(),
                ended: BTreeMap::new(),
                redriven: BTreeMap::new(),
                leases: BTreeMap::new(),
                marks: BTreeMap::new(),
                accepted: BTreeMap::new(),
                refused: BTreeSet::new(),
                requests: 0,
                commits: 0,
                wrong: Vec::new(),
                history: DefaultHasher::new(),
                told,
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found wrong.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.state().wrong.clone()
    }

    /// Notes what happened, and prints it when one seed is looked at.
    pub(crate) fn note(&self, what: &str) {
        self.state().note(self.clock.now_ms(), what);
    }

    pub(crate) fn object(&self, what: &str) {
        self.state().object(self.clock.now_ms(), what);
    }

    pub(crate) fn born(&self, life: u64) {
        self.state().lives.insert(life);
        self.note(&format!("life {life} begins"));
    }

    pub(crate) fn holds(&self, life: u64, node: NodeId) {
        self.state().holders.insert(node, life);
        self.note(&format!("life {life} is node {}", node.0));
    }

    /// An engine was killed: what it had on the wire is cut, and what it had not stored may happen again.
    pub(crate) fn killed(&self, life: u64) {
        self.state().ends(life);
        self.note(&format!("life {life} is killed"));
    }

    pub(crate) fn leap(&self, ms: i64) {
        self.clock.put(ms);
        let mut state = self.state();
        state.doubts += 1;
        drop(state);
        self.note(&format!("the clock doubts by {ms} ms"));
    }

    /// The store is about to do something and to say that it has not.
    pub(crate) fn loses_an_answer(&self) {
        self.state().doubts += 1;
        self.note("an answer of the store is lost");
    }

    pub(crate) fn answered(&self, ids: &[String], answer: &Result<Vec<Accepted>, AcceptError>) {
        self.note(&format!("{ids:?} answered: {answer:?}"));
        let now_ms = self.clock.now_ms();
        let mut state = self.state();
        match answer {
            Ok(all) => {
                for one in all {
                    let id = one.event_uid;
                    let stored = self.maps.rows().events.get(&id).cloned();
                    if stored.is_none_or(|new| new.event.id() != one.id) {
                        state.object(now_ms, &format!("{id} was accepted and is not stored"));
                    }
                    state.accepted.insert(id, one.id.clone());
                }
            }
            Err(_) => state.refused.extend(ids.iter().cloned()),
        }
    }

    /// A request reaches its receiver. `None` when whoever made it is no more.
    pub(crate) fn request(
        &self,
        life: u64,
        name: &str,
        job: &Job<'_>,
    ) -> Option<(Answer, Duration)> {
        let now_ms = self.clock.now_ms();
        let id = job.delivery;
        let mut guard = self.state();
        let state = &mut *guard;
        if !state.lives.contains(&life) {
            if state.over.contains(&life) {
                state.object(now_ms, &format!("{id} was sent by a node that is over"));
            }
            return None;
        }
        state.requests += 1;
        let manner = state.manners.get(name).copied().unwrap_or(Manner::WELL);
        let (answer, time) = manner.answer(&mut state.chance);
        state.note(
            now_ms,
            &format!(
                "{id} attempt {} by life {life}: {answer:?} after {time:?}",
                job.attempt
            ),
        );
        let rows = self.maps.rows();
        let doubts = state.doubts;
        let mut wrong = Vec::new();
        let stored = rows.events.get(&id.event);
        if !stored.is_some_and(|new| new.fan.contains(&id.target)) {
            wrong.push("was sent and is not durable");
        }
        let skipped = state.ended.get(&id) == Some(&DeliveryStatus::Skipped);
        let unheard = state.several && skipped;
        if rows.has_ended(id) && state.doubts == 0 && !unheard {
            wrong.push("was sent after it had ended");
        }
        let unmoved = |by: &(u64, u32)| by.1 == doubts;
        if state.taken.get(&id).is_some_and(unmoved) {
            wrong.push("was sent again after it was taken");
        }
        if state.wire.get(&id).is_some_and(unmoved) {
            wrong.push("is on the wire twice at once");
        }
        let (since_ms, before) = state
            .redriven
            .get(&id)
            .copied()
            .unwrap_or_else(|| (id.event.time_ms(), 0));
        let made = rows.outcomes.get(&id).map_or(0, |one| one.attempts);
        if job.attempt != made + 1 && state.doubts == 0 {
            wrong.push("has a number that does not follow");
        }
        let key = |id: &DeliveryId| rows.pending.get(id)?.order;
        if let Some(own) = key(&id).filter(|_| state.doubts == 0) {
            let mut wire = state.wire.keys().filter(|on| **on != id);
            let late =
                |on: &DeliveryId| state.late(on.event, id.event) || state.late(id.event, on.event);
            if wire.any(|on| on.target == id.target && key(on) == Some(own) && !late(on)) {
                wrong.push("is on the wire beside another of its key");
            }
            let mut before = rows.pending.range(..id).map(|one| one.1).filter(|one| {
                one.delivery.target == id.target && one.order == Some(own) && one.owner.is_none()
            });
            let waits = |one: &Pending| one.due_at_ms > now_ms && one.due_at_ms != BLOCKED_MS;
            if before.any(|one| waits(one) && !state.late(one.delivery.event, id.event)) {
                wrong.push("was sent while an earlier one of its key waits");
            }
        }
        if job.event.expires_at_ms().is_some_and(|at| at <= now_ms) {
            wrong.push("was sent after the event had expired");
        }
        if let Some(terms) = state.terms.get(&id.target) {
            let most = terms.retry.max_attempts.unwrap_or(u32::MAX);
            if job.attempt > before + most {
                wrong.push("was tried more often than its policy allows");
            }
            if now_ms - since_ms > terms.retry.max_age_ms() {
                wrong.push("was sent when it was too old");
            }
            let beside = state
                .wire
                .iter()
                .filter(|(on, by)| on.target == id.target && by.0 == life && **on != id);
            if beside.count() >= terms.concurrency {
                wrong.push("is more on the wire than the target allows");
            }
        }
        drop(rows);
        state.wire.insert(id, (life, doubts));
        for what in wrong {
            state.object(now_ms, &format!("{id} {what}"));
        }
        Some((answer, time))
    }

    /// The receiver has taken it. `false` when whoever sent it is no more.
    pub(crate) fn took(&self, life: u64, id: DeliveryId) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        let doubts = state.doubts;
        let alive = state.lives.contains(&life);
        if alive {
            state.taken.insert(id, (life, doubts));
            let work = self.maps.rows().pending.get(&id).cloned();
            if let Some(key) = work.and_then(|work| work.order) {
                let taken = state.in_order.entry((id.target, key)).or_default();
                let mut after = taken.range(id.event..).filter(|one| **one != id.event);
                let later = after.any(|one| !late(&state.stored, id.event, *one));
                if taken.insert(id.event) && later && doubts == 0 {
                    let now_ms = self.clock.now_ms();
                    let what = format!("{id} was taken after a later one of its key");
                    state.object(now_ms, &what);
                }
            }
        }
        alive
    }

    pub(crate) fn off_wire(&self, life: u64, id: DeliveryId) {
        let mut state = self.state();
        if state.wire.get(&id).is_some_and(|by| by.0 == life) {
            state.wire.remove(&id);
        }
    }
}

/// Whether one event was stored after another with a later id, as it happens with two nodes: they have no order then.
fn late(stored: &BTreeMap<EventId, u64>, one: EventId, other: EventId) -> bool {
    other > one && stored.get(&other) < stored.get(&one)
}

impl State {
    /// Equal for histories that went alike.
    pub(crate) fn digest(&self) -> u64 {
        self.history.finish()
    }

    fn late(&self, one: EventId, other: EventId) -> bool {
        late(&self.stored, one, other)
    }

    fn ends(&mut self, life: u64) {
        self.lives.remove(&life);
        self.over.remove(&life);
        self.wire.retain(|_, by| by.0 != life);
        self.taken.retain(|_, by| by.0 != life);
    }

    #[expect(clippy::print_stderr, reason = "one seed is looked at by a person")]
    fn note(&mut self, now_ms: i64, what: &str) {
        (now_ms, what).hash(&mut self.history);
        if self.told {
            eprintln!("{now_ms} {what}");
        }
    }

    fn object(&mut self, now_ms: i64, what: &str) {
        self.note(now_ms, &format!("WRONG: {what}"));
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(format!("at {now_ms}: {what}"));
        }
    }

    /// Of a batch that is durable: everything it says follows from what was.
    fn check_outcomes(&mut self, batch: &Batch, maps: &Maps) -> Vec<String> {
        let mut wrong = Vec::new();
        let rows = maps.rows();
        for outcome in &batch.outcomes {
            let (id, status) = (outcome.delivery, outcome.status);
            if !rows.events.contains_key(&id.event) {
                wrong.push(format!("{id} has a state and no event"));
            }
            let before = self.ended.get(&id);
            let unheard = self.several && before == Some(&DeliveryStatus::Skipped);
            if unheard && status != DeliveryStatus::Skipped {
                self.unheard.insert(id);
            }
            if before.is_some_and(|before| *before != status) && self.doubts == 0 && !unheard {
                wrong.push(format!("{id} had ended as {before:?} and is {status} now"));
            }
            if status == DeliveryStatus::Delivered {
                if !self.taken.contains_key(&id) && self.doubts == 0 && before.is_none() {
                    wrong.push(format!("{id} is delivered and nobody has taken it"));
                }
                let terms = self.terms.get(&id.target);
                let log = (super::receiver::LOG.parse().unwrap(), id);
                if terms.is_some_and(|terms| terms.log) && !rows.log_entries.contains_key(&log) {
                    wrong.push(format!("{id} is delivered without its entry"));
                }
            } else if outcome.reason.is_none() && status != DeliveryStatus::Queued {
                wrong.push(format!("{id} is {status} without a reason"));
            }
            let given_up = matches!(status, DeliveryStatus::Dead | DeliveryStatus::Expired);
            let letter = |new: &belfry_store::NewEvent| {
                Some(new.bus) == self.dead && new.event.subject() == Some(&id.to_string())
            };
            let terms = self.terms.get(&id.target);
            if given_up
                && terms.is_some_and(|terms| terms.dead_letter)
                && !batch.events.iter().any(letter)
            {
                wrong.push(format!("{id} is {status} without a dead letter"));
            }
            if status.is_final() {
                self.ended.insert(id, status);
            }
        }
        for attempt in &batch.attempts {
            let id = attempt.delivery;
            if attempt.number > 1 && !rows.attempts.contains_key(&(id, attempt.number - 1)) {
                wrong.push(format!(
                    "{id} has attempt {} without the one before",
                    attempt.number
                ));
            }
        }
        for pending in &batch.pending {
            let id = pending.delivery;
            let made = pending.attempts - pending.attempts_before;
            let attempt = batch.attempts.iter().find(|one| one.delivery == id);
            if let (Trigger::Retry, Some(terms), Some(attempt)) =
                (pending.trigger, self.terms.get(&id.target), attempt)
            {
                let wait_ms = terms.retry.wait_ms(made).unwrap_or(0);
                let begun_ms = attempt.started_at_ms;
                if pending.due_at_ms < begun_ms + i64::try_from(wait_ms).unwrap() {
                    wrong.push(format!("{id} is to be tried again too soon"));
                }
            }
        }
        wrong
    }

    fn check_work(&mut self, batch: &Batch, maps: &Maps) -> Vec<String> {
        let mut wrong = Vec::new();
        let rows = maps.rows();
        for id in &batch.done {
            self.leases.remove(id);
            if !rows.has_ended(*id) && !rows.pending.contains_key(id) {
                wrong.push(format!("{id} has neither ended nor waits"));
            }
        }
        for (id, lease_until_ms) in &batch.unclaimed {
            if self
                .leases
                .get(id)
                .is_some_and(|lease| lease.1 == *lease_until_ms)
            {
                self.leases.remove(id);
            }
        }
        for pending in &batch.pending {
            match pending.owner {
                Some(node) => self
                    .leases
                    .insert(pending.delivery, (node, pending.due_at_ms)),
                None => self.leases.remove(&pending.delivery),
            };
        }
        if let Some((node, watermark)) = batch.watermark {
            // A lower one than is stored changes nothing.
            let mark = self.marks.entry(node).or_insert(EventId::first_at(0));
            let from = *mark;
            *mark = watermark.max(from);
            let passed = rows.events.range(from..=*mark).map(|one| one.1);
            for new in passed.filter(|new| node_of(new.id) == node) {
                for target in &new.fan {
                    let id = DeliveryId {
                        event: new.id,
                        target: *target,
                    };
                    if !rows.has_ended(id) && !rows.pending.contains_key(&id) {
                        wrong.push(format!("the watermark passes {id}"));
                    }
                }
            }
        }
        wrong
    }
}

impl Watch for World {
    fn committed(&self, batch: &Batch) {
        let now_ms = self.clock.now_ms();
        if self.beside
            && let Err(error) = self.maps.rows().commit(batch)
        {
            self.object(&format!("the maps refuse what the store took: {error}"));
        }
        let mut state = self.state();
        state.commits += 1;
        let commit = state.commits;
        let events = batch.events.iter().map(|new| (new.id, commit));
        state.stored.extend(events);
        let told = format!(
            "commit: {} events, {:?}, {} attempts, {} pending, {} done, {:?}",
            batch.events.len(),
            batch
                .outcomes
                .iter()
                .map(|one| format!("{} {}", one.delivery, one.status))
                .collect::<Vec<_>>(),
            batch.attempts.len(),
            batch.pending.len(),
            batch.done.len(),
            batch.watermark,
        );
        state.note(now_ms, &told);
        let mut wrong = state.check_outcomes(batch, &self.maps);
        wrong.extend(state.check_work(batch, &self.maps));
        for what in wrong {
            state.object(now_ms, &what);
        }
    }

    fn recovered(&self, node: NodeId, now_ms: i64, found: &Recovered) {
        self.note(&format!("recovered: {found:?}"));
        if self.beside {
            let expected = self.maps.rows().recover(node, now_ms);
            if expected != *found {
                self.object(&format!(
                    "a recovery found {found:?} instead of {expected:?}"
                ));
            }
        }
        let mut state = self.state();
        let holder = state.holders.remove(&node);
        if let Some(life) = holder.filter(|life| state.lives.contains(life)) {
            // What it still has on the wire may arrive, and happens again.
            state.ends(life);
            state.over.insert(life);
        }
        state.leases.retain(|_, lease| lease.0 != node);
        if let Some(newest) = found.newest {
            state.marks.insert(node, newest);
        }
    }

    fn claimed(&self, claim: &Claim, claimed: &[Claimed]) {
        let ids: Vec<_> = claimed.iter().map(|one| one.pending.delivery).collect();
        self.note(&format!("claimed: {ids:?}"));
        if self.beside {
            let expected = self.maps.rows().claim(claim);
            let work =
                |all: &[Claimed]| -> Vec<_> { all.iter().map(|one| one.pending.clone()).collect() };
            if work(&expected) != work(claimed) {
                let (got, expected) = (work(claimed), work(&expected));
                self.object(&format!("a claim got {got:?} instead of {expected:?}"));
            }
        }
        let mut state = self.state();
        for id in ids {
            let lease = (claim.owner, claim.lease_until_ms);
            let before = state.leases.insert(id, lease);
            // Work of deleted targets is claimed whatever its due time.
            let orphan = claim.now_ms >= i64::MAX / 4;
            if !orphan && before.is_some_and(|before| before.1 > claim.now_ms) {
                state.object(
                    claim.now_ms,
                    &format!("{id} was claimed while it was leased"),
                );
            }
        }
    }

    fn redriven(&self, taken: &[DeliveryId], now_ms: i64) {
        self.note(&format!("redriven: {taken:?}"));
        if self.beside {
            let expected = self.maps.rows().redrive(taken, &[], now_ms);
            if expected != taken {
                self.object(&format!("redriven were {taken:?} instead of {expected:?}"));
            }
        }
        let mut state = self.state();
        for id in taken {
            if state.ended.remove(id).is_none() {
                state.object(now_ms, &format!("{id} was redriven and had not ended"));
            }
            state.taken.remove(id);
            let made = self
                .maps
                .rows()
                .outcomes
                .get(id)
                .map_or(0, |one| one.attempts);
            state.redriven.insert(*id, (now_ms, made));
        }
    }
}
