//! The one writer of the hot path.
//!
//! One task takes whatever waits (events from senders, results from lanes), makes it one transaction, and only after its
//! commit tells anybody: senders get their answer, lanes get their deliveries, the loader its hints. So nothing that another
//! task acts upon is ever visible before it is durable. When a commit fails, senders are told so, room taken in lanes is
//! given back, and results wait for the next round: they describe what has happened already and must not be lost.
//! A commit whose answer was lost is looked up before anything else is written.
//!
//! It alone knows which deliveries are in memory without a pending row (`open`), and with that the watermark.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use belfry_functions::{Invocation, Record, log_text};
use belfry_model::config::DedupMode;
use belfry_model::delivery::{DeliveryStatus, Reason, Trigger};
use belfry_model::replay::ReplayMark;
use belfry_model::{
    ArchiveId, BusName, DeliveryId, Event, EventId, EventIdSource, NodeId, OrderKey, TargetId,
};
use belfry_pattern::Scratch;
use belfry_store::{
    Batch, EventKey, IdempotencyRecord, NewEvent, NewInvocation, Outcome, Pending, Release,
    StoreError,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::{AcceptError, Accepted, DeliveryNotice, IdempotencyKey};
use crate::dedup::{Key, Recent, event_key};
use crate::gate::Signed;
use crate::idempotency::InProgress;
use crate::lane::{Admission, FULL, Lane, detail_of, reason_of};
use crate::metrics;
use crate::outcome::Next;
use crate::replay::Replayed;
use crate::shared::{Shared, Waiting};
use crate::snapshot::{BusRules, Snapshot};
use crate::work::{Deferred, Done, Finished, Work};

/// So many are worth a commit at once. For fewer the other tasks run once first: some are just about to hand something over, and
/// it costs nothing where nothing else is to be done. A wait by the clock, which has whole milliseconds, costs more than it saves.
const MANY_OPERATIONS: usize = 64;
/// How often slow deliveries are given a pending row and an idle watermark is written.
const TICK: Duration = Duration::from_secs(1);
/// Without an event for so long, a node moves its watermark all the same.
const IDLE_MS: i64 = 10_000;
/// Waits between rounds while the store fails.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Events from one request.
#[derive(Debug)]
pub(crate) struct AcceptOp {
    pub(crate) bus: Arc<BusRules>,
    pub(crate) events: Vec<Incoming>,
    pub(crate) trace_id: Option<String>,
    pub(crate) idempotency: Option<(IdempotencyKey, InProgress)>,
    pub(crate) waiting: Waiting,
    pub(crate) bytes: usize,
    /// When its sender stops waiting.
    pub(crate) until: Instant,
    pub(crate) reply: Reply,
}

/// Gets what has become of the events, and how far the fullest of their lanes is filled, in parts of [`FULL`].
pub(crate) type Reply = oneshot::Sender<Result<(Vec<Accepted>, usize), AcceptError>>;

impl AcceptOp {
    fn is_strict(&self) -> bool {
        self.bus.bus.spec.dedup.mode == DedupMode::Strict
    }
}

/// An event with the targets that matched and the archives that get a copy.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) event: Event,
    pub(crate) fan: Vec<TargetId>,
    pub(crate) archives: Vec<ArchiveId>,
    /// What it says of an alarm.
    pub(crate) sign: Option<Box<Signed>>,
}

/// The one writer.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    accepts: mpsc::Receiver<AcceptOp>,
    done: mpsc::Receiver<Done>,
    ids: EventIdSource,
    recent: Recent,
    /// Events with deliveries in memory that have no pending row, and how many.
    open: BTreeMap<EventId, u32>,
    /// Deliveries in memory by acceptance, to find those that take long.
    young: VecDeque<(EventId, Weak<Work>)>,
    newest: EventId,
    watermark: EventId,
    /// Results that could not be committed yet.
    carry: Vec<Done>,
    /// Keys of ordered targets that the last commit touched, where others commit at the same time: looked at again.
    recheck: HashSet<(TargetId, OrderKey)>,
    /// A commit that failed while nobody could say whether it happened all the same, and its results.
    doubt: Option<(Round, Vec<Done>)>,
    scratch: Scratch,
}

/// A transaction in the making, and what is to happen after it.
#[derive(Default)]
struct Round {
    batch: Batch,
    answers: Vec<(Vec<Accepted>, usize)>,
    memory: Vec<(Arc<Lane>, Arc<Work>)>,
    opened: Vec<EventId>,
    closed: Vec<EventId>,
    parked: Vec<(Arc<Work>, i64)>,
    hints: Vec<(TargetId, i64)>,
    /// Targets of which the first delivery of a key may have become due.
    urgent: HashSet<TargetId>,
    /// Keys of which a delivery ended in this round.
    ended_keys: HashSet<(TargetId, OrderKey)>,
    /// Keys that are set free in this round.
    released: HashSet<(TargetId, OrderKey)>,
    notices: Vec<DeliveryNotice>,
    ended: Vec<(TargetId, DeliveryStatus, i64)>,
    /// Whether anybody listens to notices.
    listened: bool,
    touched: Vec<DeliveryId>,
    first: Option<EventId>,
    /// The newest event before this round.
    newest: Option<EventId>,
}

impl Round {
    /// Tells of a delivery after the commit, if somebody listens; usually nobody does.
    fn notice(
        &mut self,
        snapshot: &Snapshot,
        outcome: &Outcome,
        event: &Event,
        next_at_ms: Option<i64>,
    ) {
        if self.listened {
            self.notices
                .push(notice(snapshot, outcome, event, next_at_ms));
        }
    }

    /// Sets the first delivery of a key free, if it is blocked.
    fn release(&mut self, target: TargetId, key: OrderKey, due_at_ms: i64) {
        if self.released.insert((target, key)) {
            self.batch.release.push(Release {
                target,
                key,
                due_at_ms,
            });
        }
    }
}

impl Committer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        accepts: mpsc::Receiver<AcceptOp>,
        done: mpsc::Receiver<Done>,
        newest: Option<EventId>,
        recent: Recent,
    ) -> Self {
        let newest_id = newest.unwrap_or(EventId::first_at(0));
        Self {
            ids: EventIdSource::new(shared.lease.member.node, newest),
            shared,
            accepts,
            done,
            recent,
            open: BTreeMap::new(),
            young: VecDeque::new(),
            newest: newest_id,
            watermark: newest_id,
            carry: Vec::new(),
            recheck: HashSet::new(),
            doubt: None,
            scratch: Scratch::default(),
        }
    }

    /// Runs until the engine has closed and everything handed over is committed.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = BACKOFF_FIRST;
        loop {
            let mut accepts = Vec::new();
            let mut done = std::mem::take(&mut self.carry);
            let mut ticked = false;
            let closed = self.shared.closed.clone();
            tokio::select! {
                biased;
                () = closed.cancelled() => break self.last_rounds(done).await,
                // Before the queues: under load these are never empty.
                _ = tick.tick() => ticked = true,
                () = tokio::time::sleep(backoff), if !done.is_empty() || self.doubt.is_some() => {}
                () = std::future::ready(()), if !self.recheck.is_empty() => {}
                Some(op) = self.accepts.recv() => accepts.push(op),
                Some(op) = self.done.recv() => done.push(op),
            }
            if self.accepts.len() + self.done.len() < MANY_OPERATIONS {
                tokio::task::yield_now().await;
            }
            self.gather(&mut accepts, &mut done);
            refuse_late(&mut accepts);
            backoff = if self.round(accepts, done, ticked).await {
                BACKOFF_FIRST
            } else {
                (backoff * 2).min(BACKOFF_MAX)
            };
            self.note_stall();
            let open = self.open.len();
            self.shared.open_events.store(open, Ordering::Relaxed);
        }
    }

    /// After a failure, until everything that waited is committed.
    fn note_stall(&self) {
        let waits = !self.carry.is_empty() || self.doubt.is_some();
        let was = self.shared.stalled.load(Ordering::Relaxed);
        let stalled = waits || (was && !self.done.is_empty());
        self.shared.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Takes what waits, up to the limits of one commit.
    fn gather(&mut self, accepts: &mut Vec<AcceptOp>, done: &mut Vec<Done>) {
        let settings = &self.shared.settings;
        let mut bytes: usize = accepts.iter().map(|op| op.bytes).sum();
        let mut events: usize = accepts.iter().map(|op| op.events.len()).sum();
        while done.len() < settings.batch_ops_max {
            let Ok(op) = self.done.try_recv() else { break };
            done.push(op);
        }
        while events < settings.batch_ops_max && bytes < settings.batch_bytes_max {
            let Ok(op) = self.accepts.try_recv() else {
                break;
            };
            bytes += op.bytes;
            events += op.events.len();
            accepts.push(op);
        }
    }

    /// Commits what is left when the engine closes. What the store refuses even now is found again at the next start.
    async fn last_rounds(mut self, mut done: Vec<Done>) {
        self.accepts.close();
        self.done.close();
        for _ in 0..20 {
            let mut accepts = Vec::new();
            self.gather(&mut accepts, &mut done);
            if accepts.is_empty() && done.is_empty() && self.doubt.is_none() {
                break;
            }
            if !self.round(accepts, std::mem::take(&mut done), false).await {
                tokio::time::sleep(BACKOFF_FIRST).await;
            }
            done = std::mem::take(&mut self.carry);
        }
        // The watermark of a clean end, so that the next start has nothing to look through.
        self.round(Vec::new(), done, true).await;
    }

    /// One transaction. `false` when the store failed.
    async fn round(
        &mut self,
        mut accepts: Vec<AcceptOp>,
        mut done: Vec<Done>,
        ticked: bool,
    ) -> bool {
        if !self.resolve_doubt(&mut done).await {
            refuse(accepts, &AcceptError::Unavailable);
            self.carry.append(&mut done);
            return false;
        }
        let strict = match self.find_strict(&accepts).await {
            Ok(strict) => strict,
            Err(error) => {
                tracing::error!(%error, "repeats on strict buses cannot be looked up; their senders are refused");
                let (asked, others) = accepts.into_iter().partition(AcceptOp::is_strict);
                refuse(asked, &refusal(&error));
                accepts = others;
                HashMap::new()
            }
        };
        let begun = Instant::now();
        let snapshot = self.shared.snapshot.load_full();
        let now_ms = self.shared.clock.now_ms();
        if ticked && accepts.is_empty() {
            self.step_forward(now_ms);
        }
        let mut round = Round {
            newest: Some(self.newest),
            listened: self.shared.notices.receiver_count() > 0,
            ..Round::default()
        };
        round.batch.by = Some(self.shared.lease.member);
        let recheck = std::mem::take(&mut self.recheck);
        for (target, key) in &recheck {
            round.release(*target, *key, now_ms);
            round.urgent.insert(*target);
        }
        for op in &done {
            self.add_done(&mut round, &snapshot, op, now_ms);
        }
        for op in &accepts {
            self.add_accept(&mut round, &snapshot, op, &strict, now_ms);
        }
        if ticked {
            self.park_slow(&mut round, now_ms);
        }
        self.set_watermark(&mut round, ticked);
        let operations = accepts.len() + done.len();
        if round.batch.is_empty() {
            self.after(round, accepts, done);
            return true;
        }
        let result = self.shared.store.commit(&round.batch).await;
        self.shared
            .metrics
            .committed(operations, begun.elapsed(), result.is_ok());
        self.shared
            .store_ok
            .store(result.is_ok(), Ordering::Relaxed);
        let Err(error) = result else {
            self.committed(round, accepts, done);
            return true;
        };
        if matches!(error, StoreError::Fenced) {
            // What was done here is done, or done again, by whoever took over.
            self.undo(&round);
            self.shared.fence();
            refuse(accepts, &AcceptError::ShuttingDown);
            return true;
        }
        self.shared.stalled.store(true, Ordering::Relaxed);
        match self.is_stored(&round).await {
            Ok(false) => {
                self.undo(&round);
                Box::pin(self.refused(error, accepts, done)).await
            }
            Ok(true) => {
                tracing::warn!(%error, "a commit was reported as failed, but it has happened");
                self.committed(round, accepts, done);
                true
            }
            Err(_) => {
                tracing::error!(%error, cause = ?cause(&error), "a commit failed, and the store does not say whether it happened; senders are refused, results wait");
                refuse(accepts, &refusal(&error));
                self.doubt = Some((round, done));
                false
            }
        }
    }

    /// Finds out whether a doubtful commit has happened; until then nothing is written. `false`: still not known.
    async fn resolve_doubt(&mut self, done: &mut Vec<Done>) -> bool {
        let Some((round, mut results)) = self.doubt.take() else {
            return true;
        };
        match self.is_stored(&round).await {
            Ok(true) => self.committed(round, Vec::new(), results),
            Ok(false) => {
                self.undo(&round);
                results.append(done);
                *done = results;
            }
            Err(_) => {
                self.doubt = Some((round, results));
                return false;
            }
        }
        true
    }

    /// Whether a round whose commit failed is stored all the same: a transaction is there as a whole, so its first event
    /// tells. A round without events may be written twice.
    async fn is_stored(&self, round: &Round) -> Result<bool, StoreError> {
        let Some(first) = round.first else {
            return Ok(false);
        };
        let below = EventId::from_stored(first.get() - 1);
        let stored = self.shared.store.event_ids_after(below, 1).await?;
        Ok(stored == [first])
    }

    fn committed(&mut self, round: Round, accepts: Vec<AcceptOp>, done: Vec<Done>) {
        if let Some((_, watermark)) = round.batch.watermark {
            self.watermark = watermark;
        }
        if !self.shared.store.commits_one_by_one() {
            let added = round.batch.pending.iter();
            let added = added.filter_map(|work| Some((work.delivery.target, work.order?)));
            self.recheck.extend(added);
            self.recheck.extend(round.ended_keys.iter().copied());
        }
        self.after(round, accepts, done);
        let now_ms = self.shared.clock.now_ms();
        let window_start = self.shared.snapshot.load().dedup_since_ms(now_ms);
        self.recent
            .forget(window_start, self.shared.settings.dedup_entries_max);
    }

    /// After the commit, and only then: answers, deliveries, hints, notices.
    fn after(&mut self, round: Round, accepts: Vec<AcceptOp>, done: Vec<Done>) {
        for (op, (accepted, filled)) in accepts.into_iter().zip(round.answers) {
            let bus = op.bus.bus.name.as_str();
            let duplicates = accepted.iter().filter(|event| event.duplicate).count();
            self.shared
                .metrics
                .ingested(bus, accepted.len() - duplicates, duplicates);
            drop(op.waiting);
            answer(op.reply, Ok((accepted, filled)));
        }
        for (work, lease_until_ms) in round.parked {
            work.parked(lease_until_ms);
        }
        for (lane, work) in round.memory {
            self.young
                .push_back((work.delivery.event, Arc::downgrade(&work)));
            lane.push(work);
        }
        while self
            .young
            .front()
            .is_some_and(|(_, work)| work.strong_count() == 0)
        {
            self.young.pop_front();
        }
        for (target, due_at_ms) in round.hints {
            self.shared.hints.wake(target, due_at_ms);
        }
        let now_ms = self.shared.clock.now_ms();
        for target in round.urgent {
            self.shared.hints.wake_now(target, now_ms);
        }
        let snapshot = self.shared.snapshot.load();
        for (target, status, age_ms) in round.ended {
            let kind = snapshot
                .target(target)
                .map_or("deleted", |entry| entry.target.spec.kind.as_str());
            self.shared.metrics.delivery(kind, status, age_ms);
        }
        for notice in round.notices {
            // The last listener may have gone since.
            let _listeners = self.shared.notices.send(notice);
        }
        for op in done {
            match op {
                Done::Flush(reply) => {
                    let _gone = reply.send(());
                }
                Done::Replay(step) => {
                    drop(step.waiting);
                    let _gone = step.reply.send(());
                }
                Done::Finished(_)
                | Done::Deferred(_)
                | Done::Waiting(..)
                | Done::GivenBack(_)
                | Done::Own(_) => {}
            }
        }
    }

    /// Takes back what the round has changed in memory.
    fn undo(&mut self, round: &Round) {
        if let Some(first) = round.first {
            self.recent.retract_from(first);
        }
        // The watermark must not pass ids that were never stored: after a restart they may be given out again.
        self.newest = round.newest.unwrap_or(self.newest);
        for (work, _) in round.parked.iter().rev() {
            self.young
                .push_front((work.delivery.event, Arc::downgrade(work)));
        }
        for event in &round.closed {
            *self.open.entry(*event).or_insert(0) += 1;
        }
        for event in &round.opened {
            self.close_one(*event);
        }
        for (lane, work) in &round.memory {
            lane.release(work.bytes());
        }
    }

    /// The store did not commit: senders are told, results wait.
    async fn refused(
        &mut self,
        error: StoreError,
        accepts: Vec<AcceptOp>,
        mut done: Vec<Done>,
    ) -> bool {
        match error {
            StoreError::IdempotencyConflict => {
                // Another process has just recorded one of the keys. Its senders ask again; the others are not held up.
                let (keyed, others): (Vec<_>, Vec<_>) =
                    accepts.into_iter().partition(|op| op.idempotency.is_some());
                refuse(keyed, &AcceptError::IdempotencyInProgress);
                self.round(others, done, false).await
            }
            StoreError::Full(_) | StoreError::Unavailable(_) => {
                tracing::error!(%error, cause = ?cause(&error), "a commit failed; senders are refused, results wait");
                refuse(accepts, &refusal(&error));
                self.carry.append(&mut done);
                false
            }
            other => {
                // A conflict is a step of a replay that was paused, ended or taken over in the meantime.
                if !matches!(other, StoreError::Conflict) {
                    tracing::error!(error = %other, "a commit failed for a reason of ours");
                }
                self.isolate(accepts, done, other).await
            }
        }
    }

    /// What the store cannot take for a reason of its own must not hold up everything else: it is found by halves. A
    /// sender is told; a result is tried without its details, and what fails even then is left to the next start's
    /// recovery.
    async fn isolate(
        &mut self,
        mut accepts: Vec<AcceptOp>,
        mut done: Vec<Done>,
        error: StoreError,
    ) -> bool {
        let (later_accepts, mut later_done) = match (accepts.len(), done.len()) {
            (0, 1) if matches!(done.first(), Some(Done::Replay(_))) => {
                // Its worker sees that it was not taken, and looks where the replay stands.
                if matches!(error, StoreError::Conflict) {
                    tracing::debug!(step = ?done, "a step of a replay that does not go on here was not stored");
                } else {
                    tracing::warn!(%error, step = ?done, "a step of a replay was not stored");
                }
                return true;
            }
            (0, 1) => {
                let Some(op) = done.pop().and_then(|op| without_details(op, &error)) else {
                    metrics::dropped("unstorable_result");
                    return true;
                };
                done.push(op);
                (Vec::new(), Vec::new())
            }
            (0 | 1, 0) => {
                refuse(accepts, &AcceptError::Unavailable);
                return true;
            }
            (0, many) => (Vec::new(), done.split_off(many / 2)),
            (many, 0) => (accepts.split_off(many / 2), Vec::new()),
            _ => (std::mem::take(&mut accepts), Vec::new()),
        };
        if !Box::pin(self.round(accepts, done, false)).await {
            refuse(later_accepts, &AcceptError::Unavailable);
            self.carry.append(&mut later_done);
            return false;
        }
        if later_accepts.is_empty() && later_done.is_empty() {
            return true;
        }
        Box::pin(self.round(later_accepts, later_done, false)).await
    }

    /// For strict buses: what the database knows already.
    async fn find_strict(&self, accepts: &[AcceptOp]) -> Result<HashMap<Key, EventId>, StoreError> {
        let keys: Vec<_> = accepts
            .iter()
            .filter(|op| op.is_strict())
            .flat_map(|op| {
                op.events.iter().map(|item| {
                    (
                        op.bus.bus.id,
                        event_key(item.event.source(), item.event.id()),
                    )
                })
            })
            .collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.shared.store.find_strict(&keys).await?;
        Ok(keys
            .into_iter()
            .zip(found)
            .filter_map(|((bus, key), id)| id.map(|id| (Key::of(bus, &key), id)))
            .collect())
    }

    fn add_accept(
        &mut self,
        round: &mut Round,
        snapshot: &Snapshot,
        op: &AcceptOp,
        strict: &HashMap<Key, EventId>,
        now_ms: i64,
    ) {
        let dedup = &op.bus.bus.spec.dedup;
        let mut answers = Vec::with_capacity(op.events.len());
        let mut fullest = 0;
        for item in &op.events {
            let event_key = event_key(item.event.source(), item.event.id());
            let key = Key::of(op.bus.bus.id, &event_key);
            let known = match dedup.mode {
                DedupMode::Off => None,
                DedupMode::Memory => self
                    .recent
                    .find(&key, now_ms - i64::from(dedup.window_seconds) * 1000),
                DedupMode::Strict => strict
                    .get(&key)
                    .copied()
                    .or_else(|| self.recent.find(&key, 0)),
            };
            let accepted = |event_uid, duplicate| Accepted {
                id: item.event.id().to_owned(),
                source: item.event.source().to_owned(),
                event_uid,
                duplicate,
            };
            if let Some(first) = known {
                answers.push(accepted(first, true));
                continue;
            }
            let id = self.ids.next(now_ms);
            if dedup.mode != DedupMode::Off {
                self.recent.insert(key, id);
            }
            let kept = (dedup.mode != DedupMode::Off).then_some(event_key);
            let filled = self.add_event(
                round,
                snapshot,
                id,
                op.bus.bus.id,
                &item.event,
                &item.fan,
                item.archives.clone(),
                item.sign.as_deref(),
                op.trace_id.clone(),
                (kept, dedup.mode == DedupMode::Strict),
                None,
                now_ms,
            );
            fullest = fullest.max(filled);
            answers.push(accepted(id, false));
        }
        if let Some((key, _)) = &op.idempotency {
            round.batch.idempotency.push(IdempotencyRecord {
                scope: key.scope,
                fingerprint: key.fingerprint,
                at_ms: now_ms,
                answer: serde_json::to_vec(&answers).unwrap_or_default(),
            });
        }
        round.answers.push((answers, fullest));
    }

    /// An event row, and for each target of its fan-out: memory, pending, or skipped. Gives how far the fullest of their lanes
    /// is filled, in parts of [`FULL`].
    #[expect(clippy::too_many_arguments, reason = "the columns of one row")]
    fn add_event(
        &mut self,
        round: &mut Round,
        snapshot: &Snapshot,
        id: EventId,
        bus: belfry_model::BusId,
        event: &Event,
        fan: &[TargetId],
        archives: Vec<ArchiveId>,
        sign: Option<&Signed>,
        trace_id: Option<String>,
        (key, strict): (Option<EventKey>, bool),
        replay: Option<ReplayMark>,
        now_ms: i64,
    ) -> usize {
        round.first.get_or_insert(id);
        let mut fullest = 0;
        self.newest = id;
        for target in fan {
            let delivery = DeliveryId {
                event: id,
                target: *target,
            };
            let plain = |status, reason, detail: Option<String>| Outcome {
                delivery,
                status,
                attempts: 0,
                status_code: None,
                duration_ms: 0,
                at_ms: now_ms,
                reason: Some(reason),
                detail,
            };
            let waits = |due_at_ms, order| Pending {
                delivery,
                due_at_ms,
                attempts: 0,
                attempts_before: 0,
                since_ms: now_ms,
                trigger: Trigger::Initial,
                owner: None,
                order,
                progress: None,
            };
            let (entry, lane) = (snapshot.target(*target), self.shared.lane(*target));
            let (Some(entry), Some(lane)) = (entry, lane) else {
                let outcome = plain(DeliveryStatus::Skipped, Reason::TargetDeleted, None);
                round.ended.push((*target, outcome.status, 0));
                round.batch.outcomes.push(outcome);
                continue;
            };
            if let Some(why) = entry.disabled() {
                let outcome = plain(DeliveryStatus::Skipped, Reason::TargetDisabled, Some(why));
                round.ended.push((*target, outcome.status, 0));
                round.notice(snapshot, &outcome, event, None);
                round.batch.outcomes.push(outcome);
                continue;
            }
            let order = match (&entry.order, sign) {
                (Some(order), _) => order.key(event),
                (None, Some(sign)) if entry.tells_alarms() => Some(sign.order()),
                _ => None,
            };
            if let Some(key) = order {
                let reason = if lane.is_channel_busy(now_ms) {
                    Reason::ChannelLimit
                } else {
                    Reason::WaitsInOrder
                };
                let outcome = plain(DeliveryStatus::Queued, reason, None);
                round.batch.outcomes.push(outcome);
                round.batch.pending.push(waits(now_ms, Some(key)));
                round.urgent.insert(*target);
                continue;
            }
            match lane.admit(event.doc().len(), now_ms) {
                Admission::Memory { filled } => {
                    fullest = fullest.max(filled);
                    *self.open.entry(id).or_insert(0) += 1;
                    round.opened.push(id);
                    round.memory.push((
                        lane,
                        Arc::new(Work::new(delivery, event.clone(), trace_id.clone(), replay)),
                    ));
                }
                Admission::Later { due_at_ms, reason } => {
                    if reason == Reason::QueueFull {
                        fullest = FULL;
                    }
                    round
                        .batch
                        .outcomes
                        .push(plain(DeliveryStatus::Queued, reason, None));
                    round.batch.pending.push(waits(due_at_ms, None));
                    round.hints.push((*target, due_at_ms));
                }
            }
        }
        if let Some(sign) = sign {
            round.batch.signs.push(sign.noted(id, bus, event));
        }
        round.batch.events.push(NewEvent {
            id,
            bus,
            event: event.clone(),
            fan: fan.to_vec(),
            archives,
            trace_id,
            key,
            strict,
            replay,
        });
        fullest
    }

    fn add_done(&mut self, round: &mut Round, snapshot: &Snapshot, op: &Done, now_ms: i64) {
        match op {
            Done::Finished(finished) => self.add_finished(round, snapshot, finished, now_ms),
            Done::Deferred(deferred) => self.add_deferred(round, snapshot, deferred),
            Done::Waiting(work, reason, at_ms) => {
                let outcome = waiting(work, *reason, *at_ms);
                round.notice(snapshot, &outcome, &work.event, None);
                round.batch.outcomes.push(outcome);
            }
            Done::GivenBack(works) => Self::add_given_back(round, works, now_ms),
            Done::Own(own) => self.add_own(round, snapshot, &own.bus, &own.event, None, now_ms),
            Done::Replay(step) => self.add_replay(round, snapshot, step, now_ms),
            Done::Flush(_) => {}
        }
    }

    /// Events that a replay puts back, and its progress. They are repeats on purpose, so nobody asks whether they are.
    fn add_replay(&mut self, round: &mut Round, snapshot: &Snapshot, step: &Replayed, now_ms: i64) {
        for picked in &step.events {
            let id = self.ids.next(now_ms);
            let mark = ReplayMark {
                replay: step.progress.replay,
                of: picked.of,
            };
            self.add_event(
                round,
                snapshot,
                id,
                step.bus.bus.id,
                &picked.event,
                &picked.fan,
                // What is in an archive need not go there again.
                Vec::new(),
                // It tells of what is long past.
                None,
                None,
                (None, false),
                Some(mark),
                now_ms,
            );
        }
        round.batch.replays.push(step.progress.clone());
    }

    /// A delivery leaves memory: it counts no longer against the watermark.
    fn settle(&mut self, round: &mut Round, work: &Work) {
        round.touched.push(work.delivery);
        if work.lease_until_ms().is_some() {
            round.batch.done.push(work.delivery);
        } else {
            self.close_one(work.delivery.event);
            round.closed.push(work.delivery.event);
        }
    }

    fn close_one(&mut self, event: EventId) {
        if let Some(count) = self.open.get_mut(&event) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&event);
            }
        }
    }

    fn add_finished(
        &mut self,
        round: &mut Round,
        snapshot: &Snapshot,
        finished: &Finished,
        now_ms: i64,
    ) {
        let work = &finished.work;
        self.settle(round, work);
        let status = match finished.next {
            Next::Delivered => DeliveryStatus::Delivered,
            // A part of it is there; nothing has failed.
            Next::More { .. } => DeliveryStatus::Queued,
            Next::Retry { .. } => DeliveryStatus::Retrying,
            Next::Dead { .. } => DeliveryStatus::Dead,
            Next::Expired { .. } => DeliveryStatus::Expired,
            Next::Skipped { .. } => DeliveryStatus::Skipped,
        };
        let attempts = work.attempts + u32::from(finished.attempt.is_some());
        let outcome = Outcome {
            delivery: work.delivery,
            status,
            attempts,
            status_code: finished
                .attempt
                .as_ref()
                .and_then(|attempt| attempt.status_code),
            duration_ms: finished
                .attempt
                .as_ref()
                .map_or(0, |attempt| attempt.duration_ms),
            at_ms: finished.at_ms,
            reason: reason_of(&finished.next),
            // Of a success: what the target has to say of it.
            detail: detail_of(&finished.next).or_else(|| finished.attempt.as_ref()?.detail.clone()),
        };
        Self::release_next(round, work, status, now_ms);
        let again = Pending {
            attempts,
            trigger: Trigger::Retry,
            progress: finished.progress.clone(),
            ..work.pending(now_ms)
        };
        let mut next_at_ms = None;
        match finished.next {
            Next::Retry { due_at_ms, .. } => {
                next_at_ms = Some(due_at_ms);
                round.hints.push((work.delivery.target, due_at_ms));
                round.batch.pending.push(Pending { due_at_ms, ..again });
            }
            Next::More { .. } => {
                next_at_ms = Some(now_ms);
                round.urgent.insert(work.delivery.target);
                round.batch.pending.push(Pending {
                    // It counts as little against the retry policy as what was before a redrive.
                    attempts_before: work.attempts_before + 1,
                    trigger: work.trigger,
                    ..again
                });
            }
            _ => {}
        }
        round.ended.push((
            work.delivery.target,
            status,
            finished.at_ms - work.delivery.event.time_ms(),
        ));
        round.notice(snapshot, &outcome, &work.event, next_at_ms);
        round.batch.outcomes.push(outcome);
        round.batch.attempts.extend(finished.attempt.clone());
        round.batch.log_entries.extend(finished.log_entry.clone());
        round.batch.told.extend(finished.told.iter().cloned());
        let run = finished.invocation.iter();
        let node = self.shared.lease.member.node;
        round
            .batch
            .invocations
            .extend(run.map(|run| kept(run, node)));
        for folded in &finished.folded {
            self.add_folded(round, snapshot, finished, status, folded, now_ms);
        }
        for (bus, event) in &finished.own_events {
            self.add_own(round, snapshot, bus, event, work.trace_id.clone(), now_ms);
        }
    }

    /// A delivery that was told of in another's message shares its fate.
    fn add_folded(
        &mut self,
        round: &mut Round,
        snapshot: &Snapshot,
        finished: &Finished,
        status: DeliveryStatus,
        work: &Work,
        now_ms: i64,
    ) {
        self.settle(round, work);
        let carrier = finished.work.delivery;
        let together = if finished.batch { "batch" } else { "message" };
        let detail = match detail_of(&finished.next) {
            Some(detail) => format!("in the {together} of {carrier}: {detail}"),
            None => format!("in the {together} of {carrier}"),
        };
        let outcome = Outcome {
            delivery: work.delivery,
            status,
            attempts: work.attempts,
            status_code: None,
            duration_ms: 0,
            at_ms: finished.at_ms,
            reason: reason_of(&finished.next),
            detail: Some(detail),
        };
        Self::release_next(round, work, status, now_ms);
        let (next_at_ms, trigger) = match finished.next {
            Next::Retry { due_at_ms, .. } => (Some(due_at_ms), Trigger::Retry),
            Next::More { .. } => (Some(now_ms), work.trigger),
            _ => (None, work.trigger),
        };
        if let Some(due_at_ms) = next_at_ms {
            round.hints.push((work.delivery.target, due_at_ms));
            let again = work.pending(due_at_ms);
            round.batch.pending.push(Pending {
                trigger,
                progress: if finished.shares {
                    finished.progress.clone()
                } else {
                    again.progress
                },
                ..again
            });
        }
        round.ended.push((
            work.delivery.target,
            status,
            finished.at_ms - work.delivery.event.time_ms(),
        ));
        round.notice(snapshot, &outcome, &work.event, next_at_ms);
        round.batch.outcomes.push(outcome);
    }

    /// The next of a key goes when the one before it has ended.
    fn release_next(round: &mut Round, work: &Work, status: DeliveryStatus, now_ms: i64) {
        if let (Some(key), true) = (work.order, status.is_final()) {
            let target = work.delivery.target;
            round.release(target, key, now_ms);
            round.ended_keys.insert((target, key));
            if !work.has_behind {
                round.urgent.insert(target);
            }
        }
    }

    /// Deliveries of one key that are not made now: they wait again, the first of them for nothing if it is the first.
    fn add_given_back(round: &mut Round, works: &[Arc<Work>], now_ms: i64) {
        for work in works {
            round.touched.push(work.delivery);
            let lease = work.lease_until_ms().unwrap_or(0);
            round.batch.unclaimed.push((work.delivery, lease));
            if let Some(key) = work.order {
                round.release(work.delivery.target, key, now_ms);
                round.urgent.insert(work.delivery.target);
            }
        }
    }

    fn add_deferred(&mut self, round: &mut Round, snapshot: &Snapshot, deferred: &Deferred) {
        let work = &deferred.work;
        self.settle(round, work);
        let outcome = Outcome {
            detail: deferred.detail.clone(),
            ..waiting(work, deferred.reason, deferred.at_ms)
        };
        round.notice(snapshot, &outcome, &work.event, Some(deferred.due_at_ms));
        round.batch.outcomes.push(outcome);
        round.hints.push((work.delivery.target, deferred.due_at_ms));
        round.batch.pending.push(work.pending(deferred.due_at_ms));
        let run = deferred.invocation.iter();
        let node = self.shared.lease.member.node;
        round
            .batch
            .invocations
            .extend(run.map(|run| kept(run, node)));
    }

    /// An event of Belfry's own, matched like any other.
    fn add_own(
        &mut self,
        round: &mut Round,
        snapshot: &Snapshot,
        bus: &BusName,
        event: &Event,
        trace_id: Option<String>,
        now_ms: i64,
    ) {
        let Some(rules) = snapshot.bus(bus) else {
            metrics::dropped("no_bus_for_own_event");
            tracing::error!(bus.name = %bus, event.id = event.id(), "there is no such bus any more; an event of Belfry's own is not stored");
            return;
        };
        let fan = rules.fan_out(event, &mut self.scratch);
        let archives = rules.archives_of(event, &mut self.scratch);
        let id = self.ids.next(now_ms);
        self.add_event(
            round,
            snapshot,
            id,
            rules.bus.id,
            event,
            &fan,
            archives,
            None,
            trace_id,
            (None, false),
            None,
            now_ms,
        );
    }

    /// Gives deliveries that take long a pending row, so that the watermark can move on.
    fn park_slow(&mut self, round: &mut Round, now_ms: i64) {
        let touched: HashSet<_> = round.touched.iter().copied().collect();
        let park_after =
            i64::try_from(self.shared.settings.park_after.as_millis()).unwrap_or(i64::MAX);
        while let Some((event, work)) = self.young.front() {
            if now_ms - event.time_ms() < park_after {
                break;
            }
            let work = work.upgrade();
            self.young.pop_front();
            let Some(work) = work else { continue };
            if work.lease_until_ms().is_some() || touched.contains(&work.delivery) {
                continue;
            }
            let lane = self.shared.lane(work.delivery.target);
            let lease_until_ms = now_ms + lane.as_ref().map_or(60_000, |lane| lane.lease_ms());
            round.batch.pending.push(Pending {
                owner: Some(self.shared.lease.member.node),
                order: None,
                ..work.pending(lease_until_ms)
            });
            round.batch.outcomes.push(Outcome {
                delivery: work.delivery,
                status: DeliveryStatus::Queued,
                attempts: work.attempts,
                status_code: None,
                duration_ms: 0,
                at_ms: now_ms,
                reason: lane.and_then(|lane| lane.waits_for(now_ms)),
                detail: None,
            });
            round.hints.push((work.delivery.target, lease_until_ms));
            self.close_one(work.delivery.event);
            round.closed.push(work.delivery.event);
            round.parked.push((work, lease_until_ms));
        }
    }

    /// A node with nothing to do moves its watermark on with the time, or whoever takes it over would look through all
    /// that the others have written since. No id at or below it is given out any more, even if the clock steps back.
    fn step_forward(&mut self, now_ms: i64) {
        let idle_ms = now_ms.saturating_sub(self.newest.time_ms());
        if idle_ms > IDLE_MS && self.open.is_empty() && self.shared.lease.has_others() {
            self.newest = EventId::first_at(now_ms);
            self.ids = EventIdSource::new(self.shared.lease.member.node, Some(self.newest));
        }
    }

    /// The smallest event still open in memory, minus one. An idle change alone is written only with the tick, which
    /// also tries a store that has failed: nobody else may be left to do so.
    fn set_watermark(&mut self, round: &mut Round, ticked: bool) {
        let below_open = self
            .open
            .first_key_value()
            .map(|(event, _)| EventId::from_stored(event.get() - 1));
        let watermark = below_open.unwrap_or(self.newest);
        let changed = watermark > self.watermark && (ticked || !round.batch.is_empty());
        if changed || (ticked && !self.shared.store_ok.load(Ordering::Relaxed)) {
            round.batch.watermark = Some((self.shared.lease.member.node, watermark));
        }
    }
}

/// A delivery that waits.
fn waiting(work: &Work, reason: Reason, at_ms: i64) -> Outcome {
    Outcome {
        delivery: work.delivery,
        status: if work.attempts > work.attempts_before {
            DeliveryStatus::Retrying
        } else {
            DeliveryStatus::Queued
        },
        attempts: work.attempts,
        status_code: None,
        duration_ms: 0,
        at_ms,
        reason: Some(reason),
        detail: None,
    }
}

/// A run of a function as it is stored.
fn kept(run: &Invocation, node: NodeId) -> NewInvocation {
    NewInvocation {
        request_id: run.request_id,
        function: run.function.clone(),
        version: run.version.clone(),
        delivery: run.delivery,
        started_at_ms: run.started_at_ms,
        duration_us: run.duration_us,
        outcome: Some(run.outcome.as_str().to_owned()),
        node,
        record: Record::of(run).text(),
        log: log_text(&run.log),
    }
}

/// What a sender is told when the store fails.
fn refusal(error: &StoreError) -> AcceptError {
    match error {
        StoreError::Full(_) => {
            AcceptError::Full("the disk that holds the database is full".to_owned())
        }
        _ => AcceptError::Unavailable,
    }
}

/// What waited behind a store that hung. Its senders were told 503 and send it again: stored now, it would be there twice
/// where repeats are not looked for.
fn refuse_late(accepts: &mut Vec<AcceptOp>) {
    let now = Instant::now();
    let late = accepts.extract_if(.., |op| op.until <= now).collect();
    refuse(late, &AcceptError::Unavailable);
}

fn refuse(ops: Vec<AcceptOp>, why: &AcceptError) {
    for op in ops {
        answer(op.reply, Err(why.clone()));
    }
}

fn cause(error: &StoreError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}

/// A result that the store did not take, without what is not needed to end its delivery; `None` when nothing can be
/// left out.
fn without_details(op: Done, error: &StoreError) -> Option<Done> {
    let mut finished = match op {
        Done::Finished(finished) => finished,
        Done::Deferred(mut deferred) if deferred.invocation.is_some() => {
            deferred.invocation = None;
            tracing::error!(%error, delivery.id = %deferred.work.delivery, "the record of a run cannot be stored");
            return Some(Done::Deferred(deferred));
        }
        op => {
            tracing::error!(%error, result = ?op, "a result cannot be stored; its delivery is repeated at the next start");
            return None;
        }
    };
    let entry = finished.log_entry.take().is_some();
    let letter = !std::mem::take(&mut finished.own_events).is_empty();
    let run = finished.invocation.take().is_some();
    let attempt = finished.attempt.as_mut();
    let record = attempt.and_then(|attempt| attempt.record.take()).is_some();
    tracing::error!(%error, delivery.id = %finished.work.delivery, entry, letter, run, record, "a result cannot be stored as it is");
    if entry {
        // The entry was the delivery.
        if let Some(attempt) = &mut finished.attempt {
            attempt.reason = Some(Reason::Internal);
        }
        finished.next = Next::Dead {
            reason: Reason::Internal,
            detail: format!("its log entry cannot be stored: {error}"),
        };
    }
    (entry || letter || run || record).then_some(Done::Finished(finished))
}

/// A sender that has gone away does not want its answer any more; its events are stored all the same.
fn answer(reply: Reply, result: Result<(Vec<Accepted>, usize), AcceptError>) {
    let _gone = reply.send(result);
}

fn notice(
    snapshot: &Snapshot,
    outcome: &Outcome,
    event: &Event,
    next_at_ms: Option<i64>,
) -> DeliveryNotice {
    let entry = snapshot.target(outcome.delivery.target);
    DeliveryNotice {
        id: outcome.delivery,
        event_uid: outcome.delivery.event,
        bus: entry.map(|entry| entry.bus.clone()),
        rule: entry.map(|entry| entry.rule.clone()),
        target: entry.map(|entry| entry.target.name.to_string()),
        kind: event.kind().to_owned(),
        source: event.source().to_owned(),
        subject: event.subject().map(str::to_owned),
        status: outcome.status,
        attempts: outcome.attempts,
        status_code: outcome.status_code,
        duration_ms: outcome.duration_ms,
        reason: outcome.reason,
        detail: outcome.detail.clone(),
        at_ms: outcome.at_ms,
        next_at_ms,
    }
}
