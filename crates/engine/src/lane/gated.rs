//! A gated target's way out: one worker asks of each delivery whether it may be told ([`gate`]), keeps what may in the
//! outbox, and sends it when the channel gives a permit. Where many events go at once, they gather in batches instead. How many messages go at once is bounded; nothing is looked at in
//! vain: the worker rests until something comes, ends or becomes due.
//!
//! Deliveries of an alarm are in order (its key), so nothing is decided before what came earlier has ended and is known to
//! the store.

use std::sync::Arc;
use std::time::Duration;

use belfry_alarm::{Alarm, Quiet, Sign, Silence};
use belfry_model::delivery::{Reason, Trigger};
use belfry_targets::{Batch, Part};
use tracing::Instrument as _;

use super::{Check, Lane, Letter, OnTheWire, Piece, State, Went, failed};
use crate::channel::{Channel, Key, Rank};
use crate::gate::{self, Known, Refusal};
use crate::outbox::{Parcel, Ready, Turn};
use crate::outcome::Next;
use crate::snapshot::TargetEntry;
use crate::work::{Done, Finished, Work};

/// Messages of one target on the wire at once; each may need as long as the target's limit.
const SENDS_MAX: usize = 4;
/// So many deliveries are looked at in a row at most, if something waits for its turn: more than one claim brings.
const LOOKS_MAX: u32 = 1024;
/// When the store is asked again that did not tell what is known of an alarm.
const UNKNOWN_MS: i64 = 1_000;

/// When a delivery is looked at again whose channel is for other nodes alone.
const ELSEWHERE_MS: i64 = 1_000;

/// What the worker does next.
enum Step {
    Look(Arc<Work>),
    /// The most urgent message of each channel, the most urgent of them first.
    Send(Vec<Way>),
    /// Until this time, ms since 1970, or until something happens.
    Rest(Option<i64>),
    /// Goes on looking.
    Again,
    End,
}

/// A message that may go when its channel gives a permit.
struct Way {
    part: Part,
    channel: Option<Arc<Channel>>,
    rank: Rank,
}

impl Way {
    async fn permit(&self) -> Self {
        if let Some(channel) = &self.channel {
            channel.permit(self.rank).await;
        }
        Self {
            part: self.part,
            channel: self.channel.clone(),
            rank: self.rank,
        }
    }

    /// The permit was not used.
    fn give_back(&self) {
        if let Some(channel) = &self.channel {
            channel.give_back();
        }
    }
}

/// Tells a channel how many wait for it here.
fn count_waiting(channel: Option<&Channel>, before: usize, after: usize) {
    if let Some(channel) = channel {
        let signed = |count| isize::try_from(count).unwrap_or(isize::MAX);
        channel.wait_more(signed(after) - signed(before));
    }
}

/// What is known of a delivery that may be sent.
#[derive(Default)]
struct Found {
    /// What it tells of; not asked where that does not matter.
    alarm: Option<Alarm>,
    about: Option<(Sign, Known)>,
}

/// Whether a target is to be told.
enum Judgement {
    Refused(Refusal),
    May(Box<Found>),
    /// The store did not tell.
    Unknown,
}

impl Lane {
    pub(super) fn is_gated(&self) -> bool {
        self.entry.load().is_gated()
    }

    /// The channel that all its requests go through.
    fn channel(&self) -> Option<Arc<Channel>> {
        self.channel_of(self.entry.load().channel.map(|channel| channel.key))
    }

    fn channel_of(&self, key: Option<Key>) -> Option<Arc<Channel>> {
        self.channels.load().get(&key?).map(Arc::clone)
    }

    /// Until when the vendor wants nothing through the target's channel; 0: it does not say so.
    pub(super) fn channel_pause(&self, now_ms: i64) -> i64 {
        self.channel()
            .map_or(0, |channel| channel.paused_until_ms(now_ms))
    }

    /// Whether a message would have to wait for the channel now.
    pub(crate) fn is_channel_busy(&self, now_ms: i64) -> bool {
        self.channel()
            .is_some_and(|channel| channel.is_busy(now_ms))
    }

    /// What a delivery waits for that is in memory for long, if anything is known of it.
    pub(crate) fn waits_for(&self, now_ms: i64) -> Option<Reason> {
        if self.is_channel_busy(now_ms) {
            return Some(Reason::ChannelLimit);
        }
        self.entry.load().batch.map(|_| Reason::Grouped)
    }

    /// Something has changed: of what waits for its turn it is asked again whether it may be sent.
    pub(super) fn ask_again(&self, state: &mut State) {
        let mut again = Vec::new();
        for (part, outbox) in state.outboxes.all() {
            let waited = outbox.drain();
            count_waiting(self.channel_of(part.channel).as_deref(), waited.len(), 0);
            again.extend(waited.into_iter().map(|ready| ready.work));
        }
        state.queue.extend(again);
        let gathered = state.batches.drain();
        state.queue.extend(gathered);
    }

    /// One step of the worker. `false`: it has ended.
    pub(super) async fn take_a_turn(self: &Arc<Self>) -> bool {
        let stirred = self.stirred.notified();
        match self.step() {
            Step::End => return false,
            Step::Look(work) => self.look(work).await,
            Step::Again => {}
            Step::Rest(until_ms) => {
                let wait = until_ms.map(|until| until - self.shared.clock.now_ms());
                let wait = wait.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
                tokio::select! {
                    biased;
                    () = self.shared.closing.cancelled() => {}
                    () = stirred => {}
                    () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                }
            }
            Step::Send(ways) => {
                let asks = ways.iter().map(|way| Box::pin(way.permit()));
                let permit = futures_util::future::select_all(asks);
                tokio::select! {
                    biased;
                    () = self.shared.closing.cancelled() => {}
                    (way, ..) = permit => {
                        if let Some(parcel) = self.take(&way) {
                            let lane = Arc::clone(self);
                            self.shared.tracker.spawn(async move { lane.send(parcel, way).await });
                        } else {
                            way.give_back();
                        }
                    }
                    // Something better may have come, or has been there all the time.
                    () = stirred => {}
                    () = std::future::ready(()), if self.has_queue() => {}
                }
            }
        }
        true
    }

    fn step(&self) -> Step {
        let (folds, batch) = self.together();
        let now_ms = self.shared.clock.now_ms();
        let mut state = self.lock();
        // What is left in memory then, the watermark and pending rows know about.
        if self.shared.closing.is_cancelled() || state.workers > 1 {
            state.workers -= 1;
            return Step::End;
        }
        // A flood of what is not to be told must not keep back what is.
        let turns = state.outboxes.len() + state.batches.len();
        if (state.looked < LOOKS_MAX || turns == 0)
            && let Some(work) = state.queue.pop_front()
        {
            state.looked = state.looked.saturating_add(1);
            state.in_flight += 1;
            return Step::Look(work);
        }
        state.looked = 0;
        let (mut ways, mut next) = (Vec::new(), None);
        let mut add = |part, channel, turn| match turn {
            Turn::Send(rank) => ways.push(Way {
                part,
                channel,
                rank,
            }),
            Turn::Wait(at_ms) => next = Some(next.map_or(at_ms, |other: i64| other.min(at_ms))),
            Turn::Nothing => {}
        };
        if let Some(batch) = batch {
            add(Part::default(), None, state.batches.turn(batch, now_ms));
        }
        for (part, outbox) in state.outboxes.all() {
            let channel = self.channel_of(part.channel);
            let load = channel.as_ref().map(|channel| channel.load());
            add(part, channel, outbox.turn(load, folds, now_ms));
        }
        // Of those with a permit the most urgent goes.
        ways.sort_by_key(|way| way.rank);
        if !ways.is_empty() && state.sending < SENDS_MAX.min(state.slots.max(1)) {
            return Step::Send(ways);
        }
        if !state.queue.is_empty() {
            return Step::Again;
        }
        if !ways.is_empty() {
            return Step::Rest(None);
        }
        if next.is_some() {
            return Step::Rest(next);
        }
        state.workers -= 1;
        Step::End
    }

    fn has_queue(&self) -> bool {
        !self.lock().queue.is_empty()
    }

    /// Whether a message can tell of several events, and how many it takes at once.
    fn together(&self) -> (bool, Option<Batch>) {
        let entry = self.entry.load();
        (entry.folds, entry.batch)
    }

    fn take(&self, way: &Way) -> Option<Parcel> {
        let (folds, batch) = self.together();
        let now_ms = self.shared.clock.now_ms();
        let mut state = self.lock();
        let parcel = if let Some(batch) = batch {
            state.batches.take(batch, now_ms)?
        } else {
            let channel = way.channel.as_deref();
            let outbox = state.outboxes.of(way.part);
            let before = outbox.len();
            let parcel = outbox.take(channel.map(Channel::load), folds, now_ms)?;
            count_waiting(channel, before, outbox.len());
            parcel
        };
        state.in_flight += parcel.works.len();
        state.sending += 1;
        Some(parcel)
    }

    /// Finds out whether a delivery may be sent, and keeps it for its turn.
    async fn look(self: &Arc<Self>, work: Arc<Work>) {
        let now_ms = self.shared.clock.now_ms();
        let entry = self.entry.load_full();
        let Some(found) = self.pass(&work, &entry, now_ms).await else {
            return;
        };
        if entry.batch.is_some() {
            let mut state = self.lock();
            state.in_flight = state.in_flight.saturating_sub(1);
            state.batches.push(work, now_ms);
            return;
        }
        let part = self.part_to_go(&work, &entry, now_ms);
        let channel = self.channel_of(part.channel);
        if channel.as_ref().is_some_and(|channel| !channel.has_part()) {
            // Other nodes may send through it, this one may not.
            let went = self
                .defer(
                    Arc::clone(&work),
                    now_ms + ELSEWHERE_MS,
                    Reason::OtherNode,
                    now_ms,
                )
                .await;
            return self.settle(work, went).await;
        }
        let alarm = found.alarm.unwrap_or_else(|| Alarm::read(&work.event));
        let wishes = entry.target.spec.alarms.as_ref();
        let group = gate::group(wishes, &alarm);
        if let (Some(group), Some(wishes)) = (group, wishes) {
            let due_at_ms = {
                let mut state = self.lock();
                if work.trigger == Trigger::Initial {
                    let since_ms = work.since_ms;
                    let outbox = state.outboxes.of(part);
                    outbox.group_due(group, wishes, since_ms, now_ms)
                } else {
                    state.outboxes.of(part).group_now(group, now_ms)
                }
            };
            if due_at_ms > now_ms {
                self.lock().circuit.inconclusive(now_ms);
                let deferred = Arc::clone(&work);
                let went = self
                    .defer(deferred, due_at_ms, Reason::Grouped, now_ms)
                    .await;
                return self.settle(work, went).await;
            }
        }
        let ready = Ready::new(work, &alarm, group);
        self.keep(ready, part, channel, now_ms).await;
    }

    async fn keep(&self, ready: Ready, part: Part, channel: Option<Arc<Channel>>, now_ms: i64) {
        let channel = channel.as_deref();
        let busy = channel.is_some_and(|channel| channel.is_busy(now_ms));
        let waits = busy && !ready.is_grouped();
        let work = Arc::clone(&ready.work);
        {
            let mut state = self.lock();
            state.in_flight = state.in_flight.saturating_sub(1);
            let outbox = state.outboxes.of(part);
            let before = outbox.len();
            outbox.push(ready);
            count_waiting(channel, before, outbox.len());
        }
        if waits {
            let waiting = Done::Waiting(work, Reason::ChannelLimit, now_ms);
            self.shared.hand_over(waiting).await;
        }
    }

    /// The part of a delivery that goes next: the one that waits least for its channel.
    fn part_to_go(&self, work: &Work, entry: &TargetEntry, now_ms: i64) -> Part {
        entry.next_part(&work.event, work.progress.as_deref(), |key| {
            self.channel_of(Some(*key))
                .map_or(0, |channel| channel.wait_ms(now_ms))
        })
    }

    /// What is known of a delivery's alarm, if it may be sent; else it is on its way elsewhere.
    async fn pass(
        self: &Arc<Self>,
        work: &Arc<Work>,
        entry: &TargetEntry,
        now_ms: i64,
    ) -> Option<Box<Found>> {
        let end = |next| Finished::unsent(Arc::clone(work), next, now_ms);
        let went = match self.check(work, entry, now_ms) {
            Check::Left => Went::Left,
            Check::Ends(next) => self.finish(entry, end(next)).await,
            Check::Waits(due_at_ms, reason) => {
                self.defer(Arc::clone(work), due_at_ms, reason, now_ms)
                    .await
            }
            Check::Go => match self.judge(work, entry, now_ms).await {
                Judgement::May(found) => return Some(found),
                Judgement::Refused((reason, detail)) => {
                    self.lock().circuit.inconclusive(now_ms);
                    let next = Next::Skipped { reason, detail };
                    self.finish(entry, end(next)).await
                }
                Judgement::Unknown => {
                    self.lock().circuit.inconclusive(now_ms);
                    let due_at_ms = now_ms + UNKNOWN_MS;
                    self.defer(Arc::clone(work), due_at_ms, Reason::Internal, now_ms)
                        .await
                }
            },
        };
        self.settle(Arc::clone(work), went).await;
        None
    }

    async fn judge(&self, work: &Work, entry: &TargetEntry, now_ms: i64) -> Judgement {
        if !entry.tells_alarms() {
            return Judgement::May(Box::default());
        }
        let alarm = Alarm::read(&work.event);
        let wishes = entry.target.spec.alarms.as_ref();
        let first = work.attempts == 0 && !work.is_asked_for();
        if !work.is_asked_for()
            && let Some(refusal) = self.silenced(entry, &alarm, now_ms)
        {
            return Judgement::Refused(refusal);
        }
        if first && let Some(refusal) = gate::too_mild(wishes, &alarm) {
            return Judgement::Refused(refusal);
        }
        // A replay tells of what is long past.
        let sign = Sign::of(&work.event).filter(|_| work.replay.is_none());
        let may = |about| {
            Judgement::May(Box::new(Found {
                alarm: Some(alarm),
                about,
            }))
        };
        let Some(sign) = sign else {
            return may(None);
        };
        let found =
            self.shared
                .store
                .find_told(entry.target.bus, sign.key.as_str(), entry.target.id);
        let known = match self.shared.ask(found).await {
            Ok(Some((alarm, told))) => Known { alarm, told },
            // Forgotten since: it is older than the history.
            Ok(None) => return may(None),
            Err(error) => {
                tracing::warn!(%error, delivery.id = %work.delivery, "what is known of an alarm could not be read; trying again");
                return Judgement::Unknown;
            }
        };
        let event = work.delivery.event;
        if first && let Some(refusal) = gate::refuses(wishes, &sign, event, &known, now_ms) {
            return Judgement::Refused(refusal);
        }
        may(Some((sign, known)))
    }

    /// The first silence that is in force for an alarm.
    fn silenced(&self, entry: &TargetEntry, alarm: &Alarm, now_ms: i64) -> Option<Refusal> {
        let snapshot = self.shared.snapshot.load();
        let mut silences = snapshot.documents::<Quiet>(Silence::KIND, Some(entry.target.bus));
        let (name, _) = silences.find(|(_, quiet)| quiet.holds(alarm, now_ms))?;
        Some((
            Reason::Silenced,
            format!("silence {name} is in force for it"),
        ))
    }

    /// Sends one message, if it may still be sent: it has waited for its turn.
    async fn send(self: Arc<Self>, parcel: Parcel, way: Way) {
        let place = self.place().await;
        let counted = OnTheWire::new(&self.shared);
        let entry = self.entry.load_full();
        let mut pieces = Vec::new();
        for work in parcel.works {
            if place.is_none() || self.shared.closing.is_cancelled() {
                self.settle(work, Went::Left).await;
                continue;
            }
            let now_ms = self.shared.clock.now_ms();
            // As long as the part that it waited for may go, it goes.
            let own_first = |key: &Key| {
                if way.part.channel == Some(*key) {
                    -1
                } else {
                    1
                }
            };
            if !parcel.batch
                && entry.next_part(&work.event, work.progress.as_deref(), own_first) != way.part
            {
                self.turn_back(work);
                continue;
            }
            if let Some(found) = self.pass(&work, &entry, now_ms).await {
                pieces.push(Piece {
                    work,
                    about: found.about,
                    body: None,
                });
            }
        }
        let pieces = match entry.batch {
            Some(limit) if parcel.batch => self.bodies(pieces, &entry, limit).await,
            _ => pieces,
        };
        let mut pieces = pieces.into_iter();
        let mut went = None;
        if let Some(first) = pieces.next() {
            let letter = Letter {
                first,
                folded: pieces.collect(),
                digest: parcel.digest,
                batch: parcel.batch,
                channel: way.channel,
            };
            let first = Arc::clone(&letter.first.work);
            let folded: Vec<_> = letter
                .folded
                .iter()
                .map(|piece| Arc::clone(&piece.work))
                .collect();
            let span = tracing::debug_span!("delivery", delivery.id = %first.delivery, attempt = first.attempts + 1, folded = folded.len());
            let now_ms = self.shared.clock.now_ms();
            let (of_first, of_folded) = self.attempt(letter, &entry, now_ms).instrument(span).await;
            self.settle(first, of_first).await;
            for work in folded {
                self.settle(work, of_folded).await;
            }
            went = Some(of_first);
        } else {
            way.give_back();
        }
        drop(counted);
        drop(place);
        if let Some(went) = went {
            self.rest(went).await;
        }
        let mut state = self.lock();
        state.sending = state.sending.saturating_sub(1);
        drop(state);
        self.stirred.notify_one();
    }

    /// What is sent of each delivery of a batch. One of which nothing can be sent ends by itself; what is too much, for a
    /// transformation has made more of it, goes with the next batch.
    async fn bodies(
        self: &Arc<Self>,
        pieces: Vec<Piece>,
        entry: &TargetEntry,
        limit: Batch,
    ) -> Vec<Piece> {
        let (mut ready, mut rest, mut bytes) = (Vec::new(), Vec::new(), 0);
        for mut piece in pieces {
            let now_ms = self.shared.clock.now_ms();
            match self.render(&piece.work, entry).await {
                Ok(body) => {
                    bytes += match &body {
                        Some(rendered) => rendered.body.len(),
                        None => piece.work.bytes(),
                    };
                    piece.body = body;
                    if ready.is_empty() || bytes <= limit.bytes {
                        ready.push(piece);
                    } else {
                        rest.push(piece.work);
                    }
                }
                Err(verdict) => {
                    let work = Arc::clone(&piece.work);
                    let letter = Letter::alone(piece);
                    let (went, _) = self.conclude(letter, entry, now_ms, failed(verdict)).await;
                    self.settle(work, went).await;
                }
            }
        }
        if !rest.is_empty() {
            let mut state = self.lock();
            state.in_flight = state.in_flight.saturating_sub(rest.len());
            for work in rest.into_iter().rev() {
                state.queue.push_front(work);
            }
        }
        ready
    }

    /// A delivery leaves memory; what was claimed behind it follows when it has ended.
    async fn settle(self: &Arc<Self>, work: Arc<Work>, went: Went) {
        let bytes = work.bytes();
        let mut behind = work.take_behind();
        match went {
            Went::Ended
                if self
                    .shared
                    .stalled
                    .load(std::sync::atomic::Ordering::Relaxed) =>
            {
                self.give_back(behind).await;
            }
            Went::Ended => {
                if let Some(next) = behind.pop_front() {
                    next.put_behind(behind);
                    let lane = Arc::clone(self);
                    self.shared
                        .tracker
                        .spawn(async move { lane.follow(next).await });
                }
            }
            Went::Waits | Went::Busy { .. } => self.give_back(behind).await,
            Went::Left => self.leave(work, behind).await,
        }
        self.finish_one(bytes, false);
    }

    /// Looks at a delivery again.
    fn turn_back(self: &Arc<Self>, work: Arc<Work>) {
        {
            let mut state = self.lock();
            state.in_flight = state.in_flight.saturating_sub(1);
            state.reserved += 1;
        }
        self.push(work);
    }

    /// The next of a key, when what came of the one before is known to the store.
    async fn follow(self: Arc<Self>, next: Arc<Work>) {
        self.shared.flush().await;
        {
            let mut state = self.lock();
            state.behind = state.behind.saturating_sub(1);
            state.reserved += 1;
        }
        self.push(next);
    }
}
