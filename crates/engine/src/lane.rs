//! One target's way out: a bounded queue, workers up to the target's concurrency, its circuit and rate limit.
//!
//! A lane never writes: what its workers find out goes to the committer. It never waits for another lane, so a target
//! that is slow, hanging or dead delays nobody else. Work it has no room for, or may not send now, is not its business:
//! [`Lane::admit`] says so and the committer makes it pending. How gated targets differ is in `gated`.

mod gated;

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use belfry_alarm::Sign;
use belfry_functions::Outcome;
use belfry_model::config::RateLimit;
use belfry_model::delivery::Reason;
use belfry_model::{AttemptId, NodeId, TargetId};
use belfry_store::{Attempt, CircuitNote, EventFacts, NewLogEntry};
use belfry_targets::{Attempted, Folded, Job, RequestRecord, ResponseRecord, Verdict};
use belfry_transform::Rendered;
use futures_util::FutureExt as _;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tracing::Instrument as _;

use crate::api::LaneStatus;
use crate::batch::Batches;
use crate::channel::{self, Channel, drawn_by};
use crate::circuit::{Bucket, Change, Circuit, Rate};
use crate::gate::{Known, Left};
use crate::outbox::Outboxes;
use crate::outcome::{self, Facts, Next};
use crate::render::Occasion;
use crate::report;
use crate::shared::Shared;
use crate::shares::Part;
use crate::snapshot::TargetEntry;
use crate::work::{Deferred, Done, Finished, Work};

/// Time beyond a target's own limit after which an attempt is given up by us; only a mistake in a target gets there.
const GRACE_MS: u64 = 5_000;
/// A claim lasts for the target's own limit and this.
const LEASE_MARGIN_MS: i64 = 60_000;
/// The same where a delivery may wait in memory for a digest, and for its turn after that.
const GATED_MARGIN_MS: i64 = 180_000;
/// So much of a claim is kept for the commit of what came of it.
const COMMIT_MARGIN_MS: i64 = 10_000;
/// A receiver may ask for a pause of at most a day.
const PAUSE_MS_MAX: i64 = 86_400_000;
/// When to ask again for a target that other nodes send to: a change of the nodes says so earlier.
const NEVER_MS: i64 = 3_600_000;
/// When to ask again for a target that another node is about to probe.
const KEPT_BACK_MS: i64 = 500;
/// How long after another node's open time its probe is waited for.
const PROBE_GRACE_MS: i64 = 3_000;
/// A target whose receiver says so often in a row that it is set up wrong is disabled.
const MISCONFIGURED_MAX: u32 = 3;
/// The longest wait for room.
const BUSY_MS_MAX: u64 = 60_000;
/// After how long a batch goes on without the one of its deliveries whose time was over.
const BATCH_AGAIN_MS: i64 = 60_000;
/// Most that an attempt may leave behind for the next.
const PROGRESS_BYTES_MAX: usize = 64 * 1024;

/// One target's way out.
pub(crate) struct Lane {
    pub(crate) target: TargetId,
    entry: ArcSwap<TargetEntry>,
    deleted: AtomicBool,
    state: Mutex<State>,
    /// A place on the wire that is this target's alone, so that others which hang cannot take all there are.
    own_place: Semaphore,
    /// What its vendors count limits by.
    channels: ArcSwap<HashMap<channel::Key, Arc<Channel>>>,
    /// Something has come into the queue of a gated target, or a message has gone.
    stirred: Notify,
    shared: Arc<Shared>,
}

struct State {
    queue: VecDeque<Arc<Work>>,
    /// What may be sent and waits for its turn; only of a gated target.
    outboxes: Outboxes,
    /// What waits until there are enough; only where the target takes many at once.
    batches: Batches,
    /// Its messages on the wire.
    sending: usize,
    /// Deliveries looked at in a row.
    looked: u32,
    /// How often in a row the receiver said that it is set up wrong.
    misconfigured: u32,
    /// Admitted, but not yet pushed.
    reserved: usize,
    /// Behind another delivery of their key, which is queued or being sent.
    behind: usize,
    /// Of everything reserved, queued or being sent.
    bytes: usize,
    workers: usize,
    in_flight: usize,
    circuit: Circuit,
    /// This node's part of the target's concurrency; 0: other nodes send.
    slots: usize,
    bucket: Option<Bucket>,
    /// Whether deliveries wait in the store for the rate limit: newer ones wait behind them.
    throttled: bool,
    /// A receiver's Retry-After.
    paused_until_ms: i64,
    /// What another node says about the receiver.
    elsewhere: Option<CircuitNote>,
}

impl State {
    /// Until when another node's word keeps this one from sending. After an open time that node probes, and is given a
    /// little time to say what came of it.
    fn kept_back(&self, now_ms: i64, open_max_ms: i64) -> Option<(i64, Reason)> {
        let note = self.elsewhere?;
        // Further ahead than any can be: said before the clocks were set.
        if note.paused_until_ms > now_ms && note.paused_until_ms - now_ms <= PAUSE_MS_MAX {
            return Some((note.paused_until_ms, Reason::RateLimited));
        }
        let ahead = note.open_until_ms.saturating_sub(now_ms);
        (-PROBE_GRACE_MS..=open_max_ms)
            .contains(&ahead)
            .then(|| (note.open_until_ms.max(now_ms), Reason::CircuitOpen))
    }
}

/// A lane that is as full as it may be.
pub(crate) const FULL: usize = 8;

/// Whether a delivery can be kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Room is reserved; [`Lane::push`] or [`Lane::release`] must follow. So much of the room, by number or
    /// bytes, is taken, in parts of [`FULL`].
    Memory { filled: usize },
    /// It has to wait in the store.
    Later { due_at_ms: i64, reason: Reason },
}

/// Whether a delivery may be made now.
enum Check {
    Go,
    /// Its row brings it back.
    Left,
    Ends(Next),
    Waits(i64, Reason),
}

/// A delivery with what is known of its alarm, if its target asks.
struct Piece {
    work: Arc<Work>,
    about: Option<(Sign, Known)>,
    /// What the transformation made of it; only in a batch, where it is known before.
    body: Option<Rendered>,
}

/// What goes out as one message.
struct Letter {
    first: Piece,
    /// Further deliveries that it tells of.
    folded: Vec<Piece>,
    /// Whether they are together because of a storm.
    digest: bool,
    /// Whether they are together because the target takes many at once: they share what becomes of them.
    batch: bool,
    /// Which it goes through.
    channel: Option<Arc<Channel>>,
}

impl Letter {
    fn alone(first: Piece) -> Self {
        Self {
            first,
            folded: Vec::new(),
            digest: false,
            batch: false,
            channel: None,
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        std::iter::once(&self.first).chain(&self.folded)
    }
}

/// What became of a delivery that was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    /// It has ended: what is behind it may go.
    Ended,
    /// It waits in the store for its time.
    Waits,
    /// The same, since there was no room for it, and none for others either for so long.
    Busy { wait_ms: u64 },
    /// Nothing was done about it.
    Left,
}

impl Lane {
    pub(crate) fn new(entry: Arc<TargetEntry>, shared: Arc<Shared>) -> Self {
        let settings = &shared.settings;
        let now_ms = shared.clock.now_ms();
        let circuit = Circuit::new(
            settings.circuit_failures,
            settings.circuit_open,
            settings.circuit_open_max,
        );
        let part = part(&entry, &shared);
        Self {
            target: entry.target.id,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                outboxes: Outboxes::default(),
                batches: Batches::default(),
                sending: 0,
                looked: 0,
                misconfigured: 0,
                reserved: 0,
                behind: 0,
                bytes: 0,
                workers: 0,
                in_flight: 0,
                circuit,
                slots: part.slots,
                // Beside others the tokens at hand are theirs; what comes from now on is divided.
                bucket: rate(&entry, part).map(|limit| {
                    if shared.lease.has_others() {
                        Bucket::empty(limit, now_ms)
                    } else {
                        Bucket::new(limit, now_ms)
                    }
                }),
                throttled: false,
                paused_until_ms: 0,
                elsewhere: None,
            }),
            own_place: Semaphore::new(1),
            channels: ArcSwap::from_pointee(channels_of(&entry, &shared)),
            stirred: Notify::new(),
            entry: ArcSwap::new(entry),
            deleted: AtomicBool::new(false),
            shared,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock; a poisoned one still holds a usable state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a changed target.
    pub(crate) fn update(&self, entry: Arc<TargetEntry>) {
        let before = self.entry.load_full();
        if Arc::ptr_eq(&before, &entry) {
            return;
        }
        let mut state = self.lock();
        let part = part(&entry, &self.shared);
        state.slots = part.slots;
        if before.target.spec.rate_limit != entry.target.spec.rate_limit {
            state.bucket =
                rate(&entry, part).map(|limit| Bucket::new(limit, self.shared.clock.now_ms()));
        }
        if before.target.revision != entry.target.revision {
            // A changed target gets a fresh chance at once.
            let settings = &self.shared.settings;
            state.circuit = Circuit::new(
                settings.circuit_failures,
                settings.circuit_open,
                settings.circuit_open_max,
            );
            state.paused_until_ms = 0;
            state.elsewhere = None;
            state.misconfigured = 0;
        }
        self.ask_again(&mut state);
        self.channels
            .store(Arc::new(channels_of(&entry, &self.shared)));
        self.entry.store(entry);
        drop(state);
        self.stirred.notify_one();
        self.shared
            .hints
            .wake(self.target, self.shared.clock.now_ms());
    }

    /// Takes up another part of the target's limits, because nodes have come or gone.
    pub(crate) fn divide(&self) {
        let entry = self.entry.load_full();
        let part = part(&entry, &self.shared);
        let now_ms = self.shared.clock.now_ms();
        let mut state = self.lock();
        state.slots = part.slots;
        state.bucket = match (state.bucket.take(), rate(&entry, part)) {
            (Some(mut bucket), Some(limit)) => {
                if bucket.rate() != Rate::from(limit) {
                    bucket.resize(limit, now_ms);
                }
                Some(bucket)
            }
            (None, Some(limit)) => Some(Bucket::empty(limit, now_ms)),
            (_, None) => None,
        };
        self.ask_again(&mut state);
        drop(state);
        self.stirred.notify_one();
        self.shared.hints.wake(self.target, now_ms);
    }

    /// This node's part of the target's concurrency.
    pub(crate) fn slots(&self) -> usize {
        self.lock().slots
    }

    /// What this node has found out about the receiver, for the others.
    pub(crate) fn note(&self, node: NodeId, now_ms: i64) -> Option<CircuitNote> {
        let state = self.lock();
        let open_until_ms = state.circuit.open_until_ms();
        let paused_until_ms = state.paused_until_ms.max(self.channel_pause(now_ms));
        let paused = paused_until_ms > now_ms;
        (open_until_ms.is_some() || paused).then(|| CircuitNote {
            target: self.target,
            node,
            open_until_ms: open_until_ms.unwrap_or(0),
            paused_until_ms: if paused { paused_until_ms } else { 0 },
            failures: state.circuit.failures(),
        })
    }

    /// Goes by what another node has found out; `None`: there is nothing (any more).
    pub(crate) fn heed(&self, note: Option<CircuitNote>) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.elsewhere, note);
        drop(state);
        if before.is_some() && note.is_none() {
            self.shared
                .hints
                .wake(self.target, self.shared.clock.now_ms());
        }
    }

    /// Another node has got through to the receiver.
    pub(crate) fn closed_elsewhere(&self) {
        let closed = self.lock().circuit.succeeded();
        if closed.is_some() {
            self.shared
                .hints
                .wake(self.target, self.shared.clock.now_ms());
        }
    }

    /// The target was deleted: what is queued ends as skipped.
    pub(crate) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        let mut state = self.lock();
        self.ask_again(&mut state);
        drop(state);
        self.stirred.notify_one();
    }

    /// Whether nothing of it is in memory.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.held() + state.in_flight == 0
    }

    /// Asks for room for a delivery of `bytes`.
    pub(crate) fn admit(&self, bytes: usize, now_ms: i64) -> Admission {
        let mut state = self.lock();
        let settings = &self.shared.settings;
        if state.slots == 0 {
            return Admission::Later {
                due_at_ms: now_ms,
                reason: Reason::OtherNode,
            };
        }
        if state.paused_until_ms > now_ms {
            return Admission::Later {
                due_at_ms: state.paused_until_ms,
                reason: Reason::RateLimited,
            };
        }
        if let Some((due_at_ms, reason)) = state.kept_back(now_ms, self.open_max_ms()) {
            return Admission::Later { due_at_ms, reason };
        }
        let (count_max, bytes_max) = self.limits();
        let held = state.held();
        // A lane that holds nothing may always take one: other targets' backlogs must not keep it waiting.
        let full = held >= count_max
            || (held > 0 && state.bytes + bytes > bytes_max)
            || (state.bytes > 0
                && self.shared.lanes_bytes.load(Ordering::Relaxed) + bytes
                    > settings.lanes_bytes_max);
        if full {
            return Admission::Later {
                due_at_ms: now_ms,
                reason: Reason::QueueFull,
            };
        }
        let state = &mut *state;
        if let Some(bucket) = &mut state.bucket {
            let none = bucket.tokens(now_ms) == 0;
            if none || state.throttled {
                state.throttled = true;
                return Admission::Later {
                    due_at_ms: if none { bucket.next_at_ms() } else { now_ms },
                    reason: Reason::Throttled,
                };
            }
        }
        if let Err(due_at_ms) = state.circuit.ask(now_ms) {
            return Admission::Later {
                due_at_ms,
                reason: Reason::CircuitOpen,
            };
        }
        if let Some(bucket) = &mut state.bucket {
            bucket.take();
        }
        state.reserved += 1;
        state.bytes += bytes;
        self.shared.lanes_bytes.fetch_add(bytes, Ordering::Relaxed);
        let part = |held: usize, max: usize| (held * FULL).checked_div(max).unwrap_or(FULL);
        let filled = part(held, count_max).max(part(state.bytes, bytes_max));
        Admission::Memory {
            // An event that is larger than the room is let in alone.
            filled: filled.min(FULL),
        }
    }

    /// Gives reserved room back, because the commit failed.
    pub(crate) fn release(&self, bytes: usize) {
        let mut state = self.lock();
        state.reserved = state.reserved.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(bytes);
        if let Some(bucket) = &mut state.bucket {
            bucket.give_back();
        }
        let now_ms = self.shared.clock.now_ms();
        state.circuit.inconclusive(now_ms);
        drop(state);
        self.shared.lanes_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Queues a delivery that room was reserved for.
    pub(crate) fn push(self: &Arc<Self>, work: Arc<Work>) {
        let mut state = self.lock();
        state.reserved = state.reserved.saturating_sub(1);
        state.queue.push_back(work);
        // One in any case: what is queued without a slot is handed on to other nodes.
        let gated = self.is_gated();
        let start = if gated {
            state.workers == 0
        } else {
            state.workers < state.slots.max(1)
                && state.workers < state.queue.len() + state.in_flight
        };
        if start {
            state.workers += 1;
        }
        drop(state);
        if gated {
            self.stirred.notify_one();
        }
        if start {
            let lane = Arc::clone(self);
            self.shared.tracker.spawn(async move { lane.work().await });
        }
    }

    /// How much work the loader may claim: count and bytes, or when to ask again.
    pub(crate) fn room(&self, now_ms: i64) -> Result<(usize, usize), i64> {
        let mut state = self.lock();
        let settings = &self.shared.settings;
        if state.slots == 0 {
            return Err(now_ms + NEVER_MS);
        }
        let paused_until_ms = state.paused_until_ms.max(self.channel_pause(now_ms));
        if paused_until_ms > now_ms {
            return Err(paused_until_ms);
        }
        if let Some((until_ms, _)) = state.kept_back(now_ms, self.open_max_ms()) {
            return Err(until_ms.max(now_ms + KEPT_BACK_MS));
        }
        let soon = now_ms + 50;
        let circuit = state.circuit.room(now_ms);
        if circuit == 0 {
            return Err(state.circuit.is_open(now_ms).unwrap_or(soon).max(soon));
        }
        let tokens = match &mut state.bucket {
            Some(bucket) => match bucket.tokens(now_ms) {
                0 => return Err(bucket.next_at_ms().max(soon)),
                tokens => tokens,
            },
            None => usize::MAX,
        };
        // Claimed work fills half of the queue at most, so that first attempts do not wait behind late retries.
        let (count_max, bytes_max) = self.limits();
        let half = count_max.div_ceil(2);
        let held = state.held();
        let all = settings
            .lanes_bytes_max
            .saturating_sub(self.shared.lanes_bytes.load(Ordering::Relaxed));
        let bytes = (bytes_max / 2)
            .saturating_sub(state.bytes)
            .min(all)
            .max(usize::from(state.bytes == 0));
        let count = half.saturating_sub(held).min(circuit).min(tokens);
        if count == 0 || bytes == 0 {
            Err(soon)
        } else {
            Ok((count, bytes))
        }
    }

    /// Queues claimed work, with what was claimed behind it. It has a pending row already, so it is always taken.
    pub(crate) fn push_claimed(self: &Arc<Self>, work: Arc<Work>, now_ms: i64) {
        let (count, bytes) = work.run_size();
        let mut state = self.lock();
        if let Some(bucket) = &mut state.bucket {
            for _ in 0..count {
                bucket.take();
            }
        }
        // `room` has said that the circuit lets it pass; a circuit that opened since is noticed by the worker.
        let _asked = state.circuit.ask(now_ms);
        state.reserved += 1;
        state.behind += count - 1;
        state.bytes += bytes;
        drop(state);
        self.shared.lanes_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.push(work);
    }

    /// Nothing of what waits in the store is due: newer deliveries overtake nobody.
    pub(crate) fn caught_up(&self) {
        self.lock().throttled = false;
    }

    fn open_max_ms(&self) -> i64 {
        i64::try_from(self.shared.settings.circuit_open_max.as_millis()).unwrap_or(i64::MAX / 4)
    }

    /// How many deliveries and bytes may wait in memory: two batches at least, one of which may be on its way.
    fn limits(&self) -> (usize, usize) {
        let settings = &self.shared.settings;
        let usual = (settings.lane_deliveries_max, settings.lane_bytes_max);
        self.entry.load().batch.map_or(usual, |batch| {
            (usual.0.max(2 * batch.count), usual.1.max(2 * batch.bytes))
        })
    }

    /// How long a claim for this lane lasts.
    pub(crate) fn lease_ms(&self) -> i64 {
        let margin_ms = if self.is_gated() {
            GATED_MARGIN_MS
        } else {
            LEASE_MARGIN_MS
        };
        self.timeout_ms() + margin_ms
    }

    fn timeout_ms(&self) -> i64 {
        let limit = self
            .entry
            .load()
            .handler
            .as_ref()
            .map_or(0, |handler| handler.timeout().as_millis());
        i64::try_from(limit).unwrap_or(0) + i64::try_from(GRACE_MS).unwrap_or(0)
    }

    /// Deliveries admitted but not pushed, and bytes held.
    pub(crate) fn held(&self) -> (usize, usize) {
        let state = self.lock();
        (state.reserved, state.bytes)
    }

    pub(crate) fn status(&self) -> LaneStatus {
        let state = self.lock();
        let now_ms = self.shared.clock.now_ms();
        let kept_back = state.kept_back(now_ms, self.open_max_ms());
        let paused = state
            .circuit
            .is_open(now_ms)
            .unwrap_or(0)
            .max(state.paused_until_ms)
            .max(self.channel_pause(now_ms))
            .max(kept_back.map_or(0, |(until_ms, _)| until_ms));
        LaneStatus {
            target: Some(self.target),
            circuit: match kept_back {
                Some((_, Reason::CircuitOpen)) if state.circuit.open_until_ms().is_none() => "open",
                _ => state.circuit.word(),
            },
            paused_until_ms: (paused > now_ms).then_some(paused),
            failures: state.circuit.failures(),
            queued: state.queue.len() + state.outboxes.len() + state.batches.len() + state.behind,
            in_flight: state.in_flight,
        }
    }

    /// A worker: takes work until there is none.
    ///
    /// What it awaits is large, some 20 KB. In a box it is made once; in the task it would be copied eight times before the
    /// first poll.
    async fn work(self: Arc<Self>) {
        loop {
            if self.is_gated() {
                if !Box::pin(self.take_a_turn()).await {
                    return;
                }
            } else {
                let Some(work) = self.next() else { return };
                Box::pin(self.run(work)).await;
            }
        }
    }

    /// Makes a delivery, and those behind it one after the other for as long as each ends.
    async fn run(&self, first: Arc<Work>) {
        let mut behind = first.take_behind();
        let mut next = Some(first);
        while let Some(work) = next.take() {
            let bytes = work.bytes();
            let went = self.on_the_wire(Arc::clone(&work)).await;
            match went {
                // While the store fails somebody else may take over what is behind, so it is not sent.
                Went::Ended if self.shared.stalled.load(Ordering::Relaxed) => {
                    self.give_back(std::mem::take(&mut behind)).await;
                }
                Went::Ended => next = behind.pop_front(),
                Went::Waits | Went::Busy { .. } => {
                    self.give_back(std::mem::take(&mut behind)).await;
                }
                Went::Left => self.leave(work, std::mem::take(&mut behind)).await,
            }
            self.finish_one(bytes, next.is_some());
            self.rest(went).await;
        }
    }

    /// Where there was no room for a delivery there is none for the next: whoever made it waits, so that a backlog is not
    /// taken out of the store and put back in vain.
    async fn rest(&self, went: Went) {
        if let Went::Busy { wait_ms } = went {
            let wait = std::time::Duration::from_millis(wait_ms.min(BUSY_MS_MAX));
            tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Nothing was done about a delivery: its own place in the order is given back with those behind it. Without order
    /// nothing has to be: the watermark or its pending row knows about it.
    async fn leave(&self, work: Arc<Work>, mut behind: VecDeque<Arc<Work>>) {
        if work.order.is_some() {
            let bytes = work.bytes();
            let mut state = self.lock();
            // It was counted when it was taken from the queue.
            state.behind += 1;
            state.bytes += bytes;
            drop(state);
            self.shared.lanes_bytes.fetch_add(bytes, Ordering::Relaxed);
            behind.push_front(work);
        }
        self.give_back(behind).await;
    }

    /// Handles a delivery when there is a place on the wire for it.
    async fn on_the_wire(&self, work: Arc<Work>) -> Went {
        let place = self.place().await;
        let _counted = OnTheWire::new(&self.shared);
        // Else it is left for the next start.
        if place.is_none() || self.shared.closing.is_cancelled() {
            return Went::Left;
        }
        self.handle(work).await
    }

    /// A place on the wire, when this node is sure of its lease; `None`: the engine closes.
    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        let place = tokio::select! {
            biased;
            own = self.own_place.acquire() => own,
            shared = self.shared.in_flight.acquire() => shared,
        };
        self.shared.lease.sure(&self.shared.closing).await;
        place.ok()
    }

    /// Deliveries behind one that did not end wait in the store again.
    async fn give_back(&self, works: VecDeque<Arc<Work>>) {
        if works.is_empty() {
            return;
        }
        let bytes: usize = works.iter().map(|work| work.bytes()).sum();
        {
            let mut state = self.lock();
            state.behind = state.behind.saturating_sub(works.len());
            state.bytes = state.bytes.saturating_sub(bytes);
            if let Some(bucket) = &mut state.bucket {
                for _ in &works {
                    bucket.give_back();
                }
            }
        }
        self.shared.lanes_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shared.hand_over(Done::GivenBack(works.into())).await;
    }

    fn next(&self) -> Option<Arc<Work>> {
        let mut state = self.lock();
        let surplus = state.workers > state.slots.max(1);
        let work = if surplus {
            None
        } else {
            state.queue.pop_front()
        };
        if work.is_some() {
            state.in_flight += 1;
        } else {
            state.workers -= 1;
        }
        drop(state);
        work
    }

    /// A delivery is no longer in memory; `next`: the worker goes on with the one behind it.
    fn finish_one(&self, bytes: usize, next: bool) {
        let mut state = self.lock();
        if next {
            state.behind = state.behind.saturating_sub(1);
        } else {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.shared.lanes_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    async fn handle(&self, work: Arc<Work>) -> Went {
        let now_ms = self.shared.clock.now_ms();
        let entry = self.entry.load_full();
        match self.check(&work, &entry, now_ms) {
            Check::Go => {}
            Check::Left => return Went::Left,
            Check::Ends(next) => {
                let finished = Finished::unsent(work, next, now_ms);
                return self.finish(&entry, finished).await;
            }
            Check::Waits(due_at_ms, reason) => {
                return self.defer(work, due_at_ms, reason, now_ms).await;
            }
        }
        let span = tracing::debug_span!("delivery", delivery.id = %work.delivery, attempt = work.attempts + 1);
        let letter = Letter::alone(Piece {
            work,
            about: None,
            body: None,
        });
        let (went, _) = self.attempt(letter, &entry, now_ms).instrument(span).await;
        went
    }

    /// Whether a delivery may be made now. If not, it was no probe.
    fn check(&self, work: &Work, entry: &TargetEntry, now_ms: i64) -> Check {
        let check = self.may_go(work, entry, now_ms);
        if !matches!(check, Check::Go) {
            // It may have been the probe; the next one must not wait for its answer.
            self.lock().circuit.inconclusive(now_ms);
        }
        check
    }

    fn may_go(&self, work: &Work, entry: &TargetEntry, now_ms: i64) -> Check {
        if let Some(left_ms) = work.lease_until_ms().map(|until| until - now_ms)
            && left_ms < self.timeout_ms() + COMMIT_MARGIN_MS
        {
            // It waited too long in the queue: somebody may claim it before we could finish. Where an attempt may take long,
            // so may its lease; then it is put back, as long as that is certain to be done in time.
            return if left_ms > LEASE_MARGIN_MS {
                Check::Waits(now_ms, Reason::QueueFull)
            } else {
                // Its row brings it back.
                Check::Left
            };
        }
        if self.deleted.load(Ordering::Acquire) {
            return Check::Ends(skipped(Reason::TargetDeleted, "the target was deleted"));
        }
        if let Some(why) = entry.disabled() {
            return Check::Ends(skipped(Reason::TargetDisabled, &why));
        }
        if let Some(next) = outcome::too_old(
            work.since_ms,
            work.event.expires_at_ms(),
            &entry.retry,
            now_ms,
        ) {
            return Check::Ends(next);
        }
        let state = self.lock();
        let elsewhere = (state.slots == 0).then_some((now_ms, Reason::OtherNode));
        let paused_until_ms = state.paused_until_ms.max(self.channel_pause(now_ms));
        let paused = (paused_until_ms > now_ms).then_some((paused_until_ms, Reason::RateLimited));
        let open = state.circuit.is_open(now_ms);
        let waits = elsewhere
            .or_else(|| open.map(|until| (until, Reason::CircuitOpen)))
            .or(paused)
            .or_else(|| state.kept_back(now_ms, self.open_max_ms()));
        waits.map_or(Check::Go, |(due_at_ms, reason)| {
            Check::Waits(due_at_ms, reason)
        })
    }

    async fn defer(&self, work: Arc<Work>, due_at_ms: i64, reason: Reason, at_ms: i64) -> Went {
        let deferred = Deferred {
            work,
            due_at_ms,
            reason,
            detail: None,
            invocation: None,
            at_ms,
        };
        self.put_back(deferred).await
    }

    async fn put_back(&self, deferred: Deferred) -> Went {
        self.shared
            .hand_over(Done::Deferred(Box::new(deferred)))
            .await;
        Went::Waits
    }

    /// There was no room for a message: that was no attempt.
    async fn busy(
        &self,
        letter: Letter,
        attempted: Attempted,
        (reason, detail, wait_ms): (Reason, String, u64),
        at_ms: i64,
    ) -> (Went, Went) {
        self.lock().circuit.inconclusive(at_ms);
        let wait_ms = wait_ms.min(BUSY_MS_MAX);
        let due_at_ms = at_ms + i64::try_from(wait_ms).unwrap_or(0);
        // One that only waited has nothing to tell.
        let mut invocation = attempted
            .invocation
            .filter(|run| run.outcome != Outcome::Throttled);
        for piece in std::iter::once(letter.first).chain(letter.folded) {
            let deferred = Deferred {
                work: piece.work,
                due_at_ms,
                reason,
                detail: Some(detail.clone()),
                invocation: invocation.take(),
                at_ms,
            };
            self.put_back(deferred).await;
        }
        let busy = Went::Busy { wait_ms };
        (busy, busy)
    }

    /// Makes the message. Tells what became of its first delivery, and of the others.
    async fn attempt(
        &self,
        letter: Letter,
        entry: &TargetEntry,
        started_at_ms: i64,
    ) -> (Went, Went) {
        let work = Arc::clone(&letter.first.work);
        let begun = tokio::time::Instant::now();
        let mut attempted = AssertUnwindSafe(self.deliver(&letter, entry))
            .catch_unwind()
            .await
            .unwrap_or_else(|_panic| {
                tracing::error!(delivery.id = %work.delivery, "a target panicked");
                failed(internal(
                    "the target's code failed; this is a defect of Belfry",
                ))
            });
        if attempted.duration_ms == 0 {
            attempted.duration_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        }
        self.conclude(letter, entry, started_at_ms, attempted).await
    }

    /// Hands over what has become of a message.
    async fn conclude(
        &self,
        letter: Letter,
        entry: &TargetEntry,
        started_at_ms: i64,
        mut attempted: Attempted,
    ) -> (Went, Went) {
        let now_ms = self.shared.clock.now_ms().max(started_at_ms);
        if let Verdict::Busy {
            reason,
            detail,
            wait_ms,
        } = &attempted.verdict
        {
            let why = (*reason, detail.clone(), *wait_ms);
            return self.busy(letter, attempted, why, now_ms).await;
        }
        let work = Arc::clone(&letter.first.work);
        let progress = progress(&work, &mut attempted);
        self.learn(entry, &attempted, letter.channel.as_deref(), now_ms)
            .await;
        self.shared
            .metrics
            .attempted(&entry.target.spec.kind, &attempted);
        let number = work.attempts + 1;
        let facts = Facts {
            made: number - work.attempts_before.min(number - 1),
            since_ms: work.since_ms,
            expires_at_ms: work.event.expires_at_ms(),
            retry: &entry.retry,
            retry_on_4xx: entry.retry_on_4xx,
            now_ms,
            chance: fraction(self.shared.with.random.number()),
        };
        let delivered = matches!(attempted.verdict, Verdict::Delivered);
        let record = record(
            &attempted,
            !delivered || self.shared.settings.record_successes,
        );
        let append = attempted.append.take();
        let left = Left::by(&attempted);
        let next = outcome::decide(facts, attempted.verdict);
        let attempt = Some(Attempt {
            delivery: work.delivery,
            number,
            trace_id: work.trace_id.clone(),
            trigger: work.trigger,
            started_at_ms,
            duration_ms: attempted.duration_ms,
            status_code: attempted.status,
            reason: reason_of(&next),
            detail: detail_of(&next).or(attempted.note),
            next_at_ms: match next {
                Next::Retry { due_at_ms, .. } => Some(due_at_ms),
                Next::More { .. } => Some(now_ms),
                _ => None,
            },
            record,
        });
        let log_entry = append.map(|append| NewLogEntry {
            log: append.log,
            delivery: work.delivery,
            event: facts_of(&work.event),
            text: append.text,
        });
        let told = |piece: &Piece| {
            let (sign, known) = piece.about.as_ref()?;
            let event = piece.work.delivery.event;
            Some(known.told_of(sign, event, self.target, &left, now_ms))
        };
        let told = if delivered {
            letter.pieces().filter_map(told).collect()
        } else {
            Vec::new()
        };
        let mut folded: Vec<_> = letter.folded.into_iter().map(|piece| piece.work).collect();
        let mut others = None;
        if let Next::Expired { reason, .. } = &next {
            // How old they may become is each one's own. A batch would come again at once as often as it has deliveries.
            let due_at_ms = now_ms + if letter.batch { BATCH_AGAIN_MS } else { 0 };
            for work in std::mem::take(&mut folded) {
                others = Some(self.defer(work, due_at_ms, *reason, now_ms).await);
            }
        }
        // Of a message that tells of several, the parts that are done are done for all of them.
        let shares = letter.batch
            || matches!(next, Next::More { .. })
            || entry
                .next_part(&work.event, progress.as_deref(), |_| 0)
                .done
                != 0;
        let own_events = match next {
            Next::Delivered | Next::Dead { .. } | Next::Expired { .. } => attempted.emit,
            _ => Vec::new(),
        };
        let finished = Finished {
            work,
            next,
            attempt,
            log_entry,
            invocation: attempted.invocation,
            folded,
            batch: letter.batch,
            shares,
            told,
            progress,
            own_events,
            at_ms: now_ms,
        };
        let went = self.finish(entry, finished).await;
        (went, others.unwrap_or(went))
    }

    /// Transforms and delivers; whatever goes wrong becomes a verdict.
    async fn deliver(&self, letter: &Letter, entry: &TargetEntry) -> Attempted {
        let work = &letter.first.work;
        let Some(handler) = &entry.handler else {
            let problem = entry
                .problem
                .clone()
                .unwrap_or_else(|| "the target's settings cannot be used".to_owned());
            return failed(Verdict::Retry {
                reason: Reason::InvalidTarget,
                detail: problem,
                retry_after_ms: None,
            });
        };
        let rendered;
        let body = if letter.batch {
            letter.first.body.as_ref()
        } else {
            rendered = match self.render(work, entry).await {
                Ok(rendered) => rendered,
                Err(verdict) => return failed(verdict),
            };
            rendered.as_ref()
        };
        let folded: Vec<Folded> = letter
            .folded
            .iter()
            .map(|piece| Folded {
                delivery: piece.work.delivery,
                event: piece.work.event.clone(),
                body: piece.body.clone(),
            })
            .collect();
        let link = self.shared.settings.delivery_link(work.delivery);
        let about = letter.first.about.as_ref();
        let alarm = about.map(|(sign, known)| known.life(sign));
        let job = Job {
            delivery: work.delivery,
            attempt: work.attempts + 1,
            event: &work.event,
            body,
            bus: entry.bus.as_str(),
            rule: &entry.rule,
            target: entry.target.name.as_str(),
            accepted_at_ms: work.delivery.event.time_ms(),
            replay: work.replay.map(|mark| mark.replay),
            traceparent: work.trace_id.as_deref().map(|trace_id| {
                traceparent(
                    trace_id,
                    AttemptId {
                        delivery: work.delivery,
                        number: work.attempts + 1,
                    },
                )
            }),
            alarm: alarm.as_ref(),
            folded: &folded,
            digest: letter.digest,
            progress: work.progress.as_deref(),
            link: link.as_deref(),
            trial: false,
            note: None,
            channel: letter.channel.as_ref().map(|channel| channel.key()),
        };
        let limit = handler.timeout() + std::time::Duration::from_millis(GRACE_MS);
        tokio::time::timeout(limit, handler.deliver(&job))
            .await
            .unwrap_or_else(|_elapsed| {
                failed(internal(
                    "the target's code ran past its own time limit; this is a defect of Belfry",
                ))
            })
    }

    /// What the target's transformation makes of a delivery.
    async fn render(&self, work: &Work, entry: &TargetEntry) -> Result<Option<Rendered>, Verdict> {
        let occasion = Occasion {
            delivery: work.delivery,
            attempt: work.attempts + 1,
            now_ms: self.shared.clock.now_ms(),
        };
        let escape = entry.handler.as_ref().map(|handler| handler.escape());
        let templates = &self.shared.with.templates;
        entry
            .render(&work.event, occasion, escape.unwrap_or_default(), templates)
            .await
    }

    /// What an attempt says about the receiver: circuit, pause, disablement.
    async fn learn(
        &self,
        entry: &TargetEntry,
        attempted: &Attempted,
        channel: Option<&Channel>,
        now_ms: i64,
    ) {
        // A receiver that answers is there, also when it does not want this event.
        let answered = |state: &mut State| {
            if attempted.status.is_some() {
                return state.circuit.answered();
            }
            state.circuit.inconclusive(now_ms);
            None
        };
        let throttled = attempted.verdict.throttled().or(attempted.throttled);
        if let (Some(channel), Some(throttled)) = (channel, throttled) {
            channel.pause(throttled.retry_after_ms);
            self.shared.lease.look();
            if self.channels.load().len() > 1 {
                // What waits for it may have another way.
                self.ask_again(&mut self.lock());
                self.stirred.notify_one();
            }
        }
        let change = {
            let mut state = self.lock();
            match &attempted.verdict {
                Verdict::Delivered | Verdict::More { .. } => state.circuit.succeeded(),
                Verdict::Retry {
                    reason,
                    retry_after_ms,
                    ..
                } => {
                    if let Some(pause) = retry_after_ms {
                        let until = now_ms
                            .saturating_add(i64::try_from((*pause).min(86_400_000)).unwrap_or(0));
                        state.paused_until_ms = state.paused_until_ms.max(until);
                        self.shared.lease.look();
                    }
                    match reason {
                        // Says something about this event, or about us, not about the receiver. Functions have a back-off of
                        // their own.
                        Reason::Http4xx
                        | Reason::Internal
                        | Reason::FunctionUnavailable
                        | Reason::FunctionInternal => answered(&mut state),
                        _ => state.circuit.failed(now_ms),
                    }
                }
                _ => answered(&mut state),
            }
        };
        if change.is_some() {
            self.shared.lease.look();
        }
        match change {
            Some(Change::Opened { until_ms }) => {
                tracing::warn!(target.id = %self.target, "circuit opened");
                self.shared
                    .own_event(report::circuit(entry, "opened", Some(until_ms), now_ms))
                    .await;
            }
            Some(Change::Closed) => {
                tracing::info!(target.id = %self.target, "circuit closed");
                self.shared.hints.wake(self.target, now_ms);
                self.shared
                    .own_event(report::circuit(entry, "closed", None, now_ms))
                    .await;
            }
            None => {}
        }
        if let Some(detail) = self.set_up_wrong(&attempted.verdict) {
            self.shared.disable(
                self.target,
                entry.target.revision,
                format!("misconfigured: {detail}"),
            );
        }
        if let Verdict::Gone { detail } = &attempted.verdict {
            self.shared.disable(
                self.target,
                entry.target.revision,
                format!("gone: {detail}"),
            );
        }
    }

    /// Counts answers that say that the target is set up wrong; with the last of too many, what it said.
    fn set_up_wrong<'v>(&self, verdict: &'v Verdict) -> Option<&'v str> {
        let mut state = self.lock();
        match verdict {
            Verdict::Permanent {
                reason: Reason::Misconfigured,
                detail,
            } => {
                state.misconfigured += 1;
                (state.misconfigured >= MISCONFIGURED_MAX).then_some(detail)
            }
            // Says nothing about it: the receiver did not come to look.
            Verdict::Retry { .. }
            | Verdict::Later { .. }
            | Verdict::Busy { .. }
            | Verdict::Skipped { .. } => None,
            _ => {
                state.misconfigured = 0;
                None
            }
        }
    }

    async fn finish(&self, entry: &TargetEntry, mut finished: Finished) -> Went {
        let next = &finished.next;
        let went = match next {
            Next::Retry { .. } | Next::More { .. } => Went::Waits,
            _ => Went::Ended,
        };
        let given_up = matches!(next, Next::Dead { .. } | Next::Expired { .. });
        if let (Some(wanted), true) = (&entry.target.spec.dead_letter, given_up) {
            let letters: Vec<_> = std::iter::once(&finished.work)
                .chain(&finished.folded)
                .filter(|work| work.event.kind() != report::DEAD_LETTER)
                .filter_map(|work| report::dead_letter(entry, work, next, finished.at_ms))
                .map(|event| (wanted.bus.clone(), event))
                .collect();
            finished.own_events.extend(letters);
        }
        self.shared
            .hand_over(Done::Finished(Box::new(finished)))
            .await;
        went
    }
}

impl State {
    /// Deliveries in memory that are not being sent.
    fn held(&self) -> usize {
        self.queue.len() + self.outboxes.len() + self.batches.len() + self.reserved + self.behind
    }
}

/// Counts a request as long as it lives.
struct OnTheWire<'a>(&'a Shared);

impl<'a> OnTheWire<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.requests.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for OnTheWire<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::SeqCst);
    }
}

/// This node's part of a target's limits.
fn part(entry: &TargetEntry, shared: &Shared) -> Part {
    let count = entry.target.spec.rate_limit.map(|limit| limit.count);
    let mut part = shared
        .lease
        .share(entry.target.id)
        .part(entry.concurrency.max(1), count);
    if let Some(channel) = &entry.channel {
        let share = shared.lease.share(drawn_by(&channel.key));
        // Without a permit there is nothing to do here.
        if channel::part(channel.limit, share).is_none() {
            part.slots = 0;
        }
    }
    part
}

fn channels_of(entry: &TargetEntry, shared: &Shared) -> HashMap<channel::Key, Arc<Channel>> {
    let share = |target| shared.lease.share(target);
    let of = |wanted| shared.channels.of(wanted, share, &shared.clock);
    let wanted = entry.channels.iter();
    wanted.map(|wanted| (wanted.key, of(wanted))).collect()
}

/// What the next attempt has to know. One that is too long ends the delivery: it must not grow without a bound.
fn progress(work: &Work, attempted: &mut Attempted) -> Option<String> {
    let Some(progress) = attempted.progress.take() else {
        return work.progress.clone();
    };
    if progress.len() <= PROGRESS_BYTES_MAX && !progress.contains('\0') {
        return Some(progress);
    }
    tracing::error!(delivery.id = %work.delivery, bytes = progress.len(), "a target leaves too much behind for its next attempt");
    if matches!(
        attempted.verdict,
        Verdict::More { .. } | Verdict::Later { .. } | Verdict::Retry { .. }
    ) {
        attempted.verdict = Verdict::Permanent {
            reason: Reason::Internal,
            detail: format!(
                "what is done cannot be kept: more than {PROGRESS_BYTES_MAX} bytes; this is a defect of Belfry"
            ),
        };
    }
    None
}

/// The rate of this node, if the target has one.
fn rate(entry: &TargetEntry, part: Part) -> Option<RateLimit> {
    let limit = entry.target.spec.rate_limit?;
    let count = part.rate.filter(|count| *count > 0)?;
    Some(RateLimit { count, ..limit })
}

fn skipped(reason: Reason, detail: &str) -> Next {
    Next::Skipped {
        reason,
        detail: detail.to_owned(),
    }
}

fn internal(detail: &str) -> Verdict {
    Verdict::Retry {
        reason: Reason::Internal,
        detail: detail.to_owned(),
        retry_after_ms: None,
    }
}

fn failed(verdict: Verdict) -> Attempted {
    Attempted::unsent(verdict)
}

/// Request and response as they are kept, if they are; and where a run of a function is on record.
fn record(attempted: &Attempted, whole: bool) -> Option<String> {
    #[derive(serde::Serialize)]
    struct Record<'a> {
        request: Option<&'a RequestRecord>,
        response: Option<&'a ResponseRecord>,
        #[serde(skip_serializing_if = "Option::is_none")]
        invocation: Option<Link<'a>>,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Link<'a> {
        request_id: String,
        outcome: &'static str,
        version: Option<&'a str>,
        duration_ms: u64,
    }
    let run = attempted.invocation.as_deref();
    let record = Record {
        request: attempted.request.as_ref().filter(|_| whole),
        response: attempted.response.as_ref().filter(|_| whole),
        invocation: run.map(|run| Link {
            request_id: run.request_id.to_string(),
            outcome: run.outcome.as_str(),
            version: run.version.as_deref(),
            duration_ms: run.duration_us / 1000,
        }),
    };
    if record.request.is_none() && record.response.is_none() && record.invocation.is_none() {
        return None;
    }
    serde_json::to_string(&record).ok()
}

pub(crate) fn reason_of(next: &Next) -> Option<Reason> {
    match next {
        Next::Delivered | Next::More { .. } => None,
        Next::Retry { reason, .. }
        | Next::Dead { reason, .. }
        | Next::Expired { reason, .. }
        | Next::Skipped { reason, .. } => Some(*reason),
    }
}

pub(crate) fn detail_of(next: &Next) -> Option<String> {
    match next {
        Next::Delivered => None,
        Next::More { detail }
        | Next::Retry { detail, .. }
        | Next::Dead { detail, .. }
        | Next::Expired { detail, .. }
        | Next::Skipped { detail, .. } => Some(detail.clone()),
    }
}

/// The members of an event that history can be filtered by.
pub(crate) fn facts_of(event: &belfry_model::Event) -> EventFacts {
    EventFacts {
        id: event.id().to_owned(),
        source: event.source().to_owned(),
        kind: event.kind().to_owned(),
        subject: event.subject().map(str::to_owned),
    }
}

/// A W3C trace context for the attempt's span of this trace.
fn traceparent(trace_id: &str, attempt: AttemptId) -> String {
    format!("00-{trace_id}-{:016x}-01", attempt.span())
}

/// A number as a fraction of all numbers: 0.0 to 1.0.
fn fraction(number: u64) -> f64 {
    // What a float can hold exactly.
    let bits = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    f64::from(bits) / f64::from(u32::MAX)
}
