//! A delivery in memory, and what comes back from working on it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use belfry_functions::Invocation;
use belfry_model::delivery::{Reason, Trigger};
use belfry_model::replay::ReplayMark;
use belfry_model::{BusName, DeliveryId, Event, OrderKey};
use belfry_store::{Attempt, Claimed, NewLogEntry, Pending, Told};
use tokio::sync::oneshot;

use crate::api::OwnEvent;
use crate::outcome::Next;
use crate::replay::Replayed;

/// A delivery in memory. It holds the event's document, so it is dropped as soon as its attempt has ended.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) delivery: DeliveryId,
    pub(crate) event: Event,
    pub(crate) trace_id: Option<String>,
    /// Set when a replay has put the event back.
    pub(crate) replay: Option<ReplayMark>,
    /// Attempts made so far, and how many of them before the last redrive.
    pub(crate) attempts: u32,
    pub(crate) attempts_before: u32,
    pub(crate) since_ms: i64,
    pub(crate) trigger: Trigger,
    /// Set where the target keeps order.
    pub(crate) order: Option<OrderKey>,
    /// What the last attempt left behind for the next.
    pub(crate) progress: Option<String>,
    /// Deliveries of the same key that were claimed with it, to be made after it.
    behind: Mutex<VecDeque<Arc<Self>>>,
    /// Whether more of its key were claimed behind it.
    pub(crate) has_behind: bool,
    /// End of the lease of its pending row; 0 when it has none.
    lease_until_ms: AtomicI64,
}

impl Work {
    /// A delivery that has just been accepted.
    pub(crate) fn new(
        delivery: DeliveryId,
        event: Event,
        trace_id: Option<String>,
        replay: Option<ReplayMark>,
    ) -> Self {
        Self {
            delivery,
            since_ms: delivery.event.time_ms(),
            event,
            trace_id,
            replay,
            attempts: 0,
            attempts_before: 0,
            trigger: Trigger::Initial,
            order: None,
            progress: None,
            behind: Mutex::default(),
            has_behind: false,
            lease_until_ms: AtomicI64::new(0),
        }
    }

    /// A delivery claimed from the store.
    pub(crate) fn claimed(claimed: Claimed) -> Self {
        Self::of_run(claimed, false)
    }

    /// Deliveries of one key that were claimed together, as the first of them. `None` if there are none.
    pub(crate) fn run(claimed: Vec<Claimed>) -> Option<Self> {
        let last = claimed.len().saturating_sub(1);
        let mut works = claimed
            .into_iter()
            .enumerate()
            .map(|(n, item)| Self::of_run(item, n < last));
        let mut first = works.next()?;
        first.behind = Mutex::new(works.map(Arc::new).collect());
        Some(first)
    }

    fn of_run(claimed: Claimed, has_behind: bool) -> Self {
        let pending = claimed.pending;
        Self {
            delivery: pending.delivery,
            event: claimed.event,
            trace_id: claimed.trace_id,
            replay: claimed.replay,
            attempts: pending.attempts,
            attempts_before: pending.attempts_before,
            since_ms: pending.since_ms,
            trigger: pending.trigger,
            order: pending.order,
            progress: pending.progress,
            behind: Mutex::default(),
            has_behind,
            lease_until_ms: AtomicI64::new(pending.due_at_ms),
        }
    }

    /// What is to be made after it. Taken: so each can be dropped when it has ended.
    pub(crate) fn take_behind(&self) -> VecDeque<Arc<Self>> {
        std::mem::take(&mut *self.behind.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first of what was behind another takes the rest over.
    pub(crate) fn put_behind(&self, behind: VecDeque<Arc<Self>>) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    /// Whether somebody has asked for it, whatever speaks against it.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.replay.is_some() || self.trigger == Trigger::Redrive
    }

    /// As work to be done later, as far as it knows by itself.
    pub(crate) fn pending(&self, due_at_ms: i64) -> Pending {
        Pending {
            delivery: self.delivery,
            due_at_ms,
            attempts: self.attempts,
            attempts_before: self.attempts_before,
            since_ms: self.since_ms,
            trigger: self.trigger,
            owner: None,
            order: self.order,
            progress: self.progress.clone(),
        }
    }

    /// How many deliveries it stands for with those behind it, and their bytes.
    pub(crate) fn run_size(&self) -> (usize, usize) {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = behind.iter().map(|work| work.bytes()).sum();
        (1 + behind.len(), self.bytes() + bytes)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.event.doc().len()
    }

    /// The end of its lease, if it has a pending row.
    pub(crate) fn lease_until_ms(&self) -> Option<i64> {
        Some(self.lease_until_ms.load(Ordering::Acquire)).filter(|&until| until != 0)
    }

    /// Its pending row has been committed.
    pub(crate) fn parked(&self, lease_until_ms: i64) {
        self.lease_until_ms.store(lease_until_ms, Ordering::Release);
    }
}

/// What a lane or another task has for the committer.
#[derive(Debug)]
pub(crate) enum Done {
    /// A delivery was worked on; boxed, for it is by far the largest.
    Finished(Box<Finished>),
    /// A delivery has to wait in the store; no attempt was made.
    Deferred(Box<Deferred>),
    /// A delivery waits in memory, and why; nothing else about it has changed.
    Waiting(Arc<Work>, Reason, i64),
    /// Claimed deliveries of one key that are not made now, for one before them has not ended.
    GivenBack(Vec<Arc<Work>>),
    /// An event of Belfry's own.
    Own(Box<OwnEvent>),
    /// Events that a replay puts back.
    Replay(Box<Replayed>),
    /// Answers when everything handed over before is committed.
    Flush(oneshot::Sender<()>),
}

/// A delivery that was worked on.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) work: Arc<Work>,
    pub(crate) next: Next,
    /// The request that was made; none when it ended before one.
    pub(crate) attempt: Option<Attempt>,
    pub(crate) log_entry: Option<NewLogEntry>,
    /// The run of a function that it was.
    pub(crate) invocation: Option<Box<Invocation>>,
    /// Further deliveries that its message told of: they share its fate.
    pub(crate) folded: Vec<Arc<Work>>,
    /// Whether they are a batch.
    pub(crate) batch: bool,
    /// Whether what the next attempt has to know is the same for all of them.
    pub(crate) shares: bool,
    /// What the target has been told of alarms by it.
    pub(crate) told: Vec<Told>,
    /// What the next attempt has to know.
    pub(crate) progress: Option<String>,
    /// Events of Belfry's own that tell of it, and the buses that they go to: dead letters, results of functions.
    pub(crate) own_events: Vec<(BusName, Event)>,
    pub(crate) at_ms: i64,
}

impl Finished {
    /// One that ends without a request.
    pub(crate) fn unsent(work: Arc<Work>, next: Next, at_ms: i64) -> Self {
        Self {
            progress: work.progress.clone(),
            work,
            next,
            attempt: None,
            log_entry: None,
            invocation: None,
            folded: Vec::new(),
            batch: false,
            shares: false,
            told: Vec::new(),
            own_events: Vec::new(),
            at_ms,
        }
    }
}

/// A delivery that has to wait in the store.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(crate) work: Arc<Work>,
    pub(crate) due_at_ms: i64,
    pub(crate) reason: Reason,
    /// For people, where there is more to say.
    pub(crate) detail: Option<String>,
    /// A run of a function that does not count as an attempt.
    pub(crate) invocation: Option<Box<Invocation>>,
    pub(crate) at_ms: i64,
}
