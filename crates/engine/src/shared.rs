//! What every part of the engine holds on to.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use belfry_model::{Clock, TargetId};
use belfry_store::{Store, StoreError};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Collaborators, DeliveryNotice, EngineSettings, OwnEvent};
use crate::channel::Channels;
use crate::lane::Lane;
use crate::membership::Lease;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::work::Done;

/// Far longer than any of the questions asked in the background takes.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// What every part of the engine holds on to.
pub(crate) struct Shared {
    pub(crate) settings: EngineSettings,
    pub(crate) with: Collaborators,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    lanes: RwLock<HashMap<TargetId, Arc<Lane>>>,
    /// Lanes of deleted targets that may still have something on the wire.
    leaving: Mutex<Vec<Arc<Lane>>>,
    pub(crate) hints: Hints,
    /// To the committer.
    pub(crate) done: mpsc::Sender<Done>,
    pub(crate) notices: broadcast::Sender<DeliveryNotice>,
    /// What vendors count their limits by.
    pub(crate) channels: Channels,
    /// Places on the wire that all targets share; each has one more of its own.
    pub(crate) in_flight: Semaphore,
    /// Requests on the wire, those of deleted targets included.
    pub(crate) requests: AtomicUsize,
    /// Bytes of events in all lanes.
    pub(crate) lanes_bytes: AtomicUsize,
    /// Events and bytes waiting for their commit.
    pub(crate) waiting_events: AtomicUsize,
    pub(crate) waiting_bytes: AtomicUsize,
    /// No more events are accepted and no more attempts begun.
    pub(crate) closing: CancellationToken,
    /// The committer and the housekeeping stop.
    pub(crate) closed: CancellationToken,
    pub(crate) tracker: TaskTracker,
    pub(crate) disk: DiskGuard,
    pub(crate) metrics: Metrics,
    /// Targets to be disabled, with their revision and the reason; done by the keeper.
    disables: Mutex<Vec<(TargetId, i64, String)>>,
    pub(crate) disable_wanted: Notify,
    /// A replay was started or resumed.
    pub(crate) replay_wanted: Notify,
    /// Requests with an `Idempotency-Key` that are under way.
    pub(crate) idempotent: Mutex<HashSet<[u8; 32]>>,
    /// Whether the last commit succeeded.
    pub(crate) store_ok: AtomicBool,
    /// Results wait for a store that fails: nothing further is claimed, for it could not be recorded either.
    pub(crate) stalled: AtomicBool,
    /// Events with deliveries in memory that have no pending row: the watermark is below them.
    pub(crate) open_events: AtomicUsize,
    pub(crate) lease: Lease,
    /// Configurations are compiled one after the other.
    pub(crate) reloading: tokio::sync::Mutex<()>,
}

/// Whether there is room on the disk.
#[derive(Default)]
pub(crate) struct DiskGuard(Mutex<Option<String>>);

impl DiskGuard {
    /// Why nothing may be accepted now.
    pub(crate) fn problem(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// When each target's pending work is due, as far as this process knows. Only hints: a lost one costs a sweep's time.
#[derive(Default)]
pub(crate) struct Hints {
    due: Mutex<HashMap<TargetId, i64>>,
    pub(crate) changed: Notify,
    /// Something is due that has no other way than through the loader.
    pub(crate) urgent: Notify,
}

impl Hints {
    /// Work of this target is due at `at_ms`. Called after the commit that made it pending, never before.
    pub(crate) fn wake(&self, target: TargetId, at_ms: i64) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = due.entry(target).or_insert(i64::MAX);
        *entry = (*entry).min(at_ms);
        drop(due);
        self.changed.notify_one();
    }

    /// Work of this target is due that should not wait for the loader's next turn.
    pub(crate) fn wake_now(&self, target: TargetId, now_ms: i64) {
        self.wake(target, now_ms);
        self.urgent.notify_one();
    }

    /// Takes the targets that have work due; their hints are gone until somebody wakes them again.
    pub(crate) fn take_due(&self, now_ms: i64) -> Vec<TargetId> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready: Vec<(i64, TargetId)> = due
            .iter()
            .filter(|(_, at)| **at <= now_ms)
            .map(|(target, at)| (*at, *target))
            .collect();
        // Who has waited longest comes first, and the order does not hang on the map's.
        ready.sort_unstable();
        let ready: Vec<TargetId> = ready.into_iter().map(|(_, target)| target).collect();
        for target in &ready {
            due.remove(target);
        }
        ready
    }

    /// The earliest due time.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.due
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .min()
            .copied()
    }
}

impl Shared {
    pub(crate) fn new(
        with: Collaborators,
        settings: EngineSettings,
        done: mpsc::Sender<Done>,
        lease: Lease,
    ) -> Self {
        let (notices, _) = broadcast::channel(1024);
        Self {
            store: Arc::clone(&with.store),
            clock: Arc::clone(&with.clock),
            in_flight: Semaphore::new(settings.in_flight_max.max(1)),
            settings,
            with,
            snapshot: ArcSwap::default(),
            lanes: RwLock::default(),
            leaving: Mutex::default(),
            hints: Hints::default(),
            done,
            notices,
            channels: Channels::default(),
            requests: AtomicUsize::new(0),
            lanes_bytes: AtomicUsize::new(0),
            waiting_events: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            tracker: TaskTracker::new(),
            disk: DiskGuard::default(),
            metrics: Metrics::new(),
            disables: Mutex::default(),
            disable_wanted: Notify::new(),
            replay_wanted: Notify::new(),
            idempotent: Mutex::default(),
            store_ok: AtomicBool::new(true),
            stalled: AtomicBool::new(false),
            open_events: AtomicUsize::new(0),
            lease,
            reloading: tokio::sync::Mutex::new(()),
        }
    }

    /// The lane of a target.
    pub(crate) fn lane(&self, target: TargetId) -> Option<Arc<Lane>> {
        self.lanes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&target)
            .cloned()
    }

    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Puts a new configuration into force, in which these targets are new, different or gone: lanes first, so that whoever sees a
    /// target finds its lane.
    pub(crate) fn put_in_force(self: &Arc<Self>, snapshot: Snapshot, touched: &[TargetId]) {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        for target in touched {
            if let Some(entry) = snapshot.target(*target) {
                if let Some(lane) = lanes.get(target) {
                    lane.update(Arc::clone(entry));
                } else {
                    let lane = Arc::new(Lane::new(Arc::clone(entry), Arc::clone(self)));
                    lanes.insert(*target, lane);
                }
            } else if let Some(lane) = lanes.remove(target) {
                lane.delete();
                self.leaving
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(lane);
                // What is pending for it is to end as skipped now, not at the next sweep.
                self.hints.wake(*target, self.clock.now_ms());
            }
        }
        drop(lanes);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Whether a deleted target still has something in memory, which is to end as what it becomes.
    pub(crate) fn is_leaving(&self, target: TargetId) -> bool {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain(|lane| !lane.is_idle());
        leaving.iter().any(|lane| lane.target == target)
    }

    /// This node's number is somebody else's by now: nothing more is accepted, begun or written.
    pub(crate) fn fence(&self) {
        if self.lease.fenced.is_cancelled() {
            return;
        }
        tracing::error!(
            node = self.lease.member.node.0,
            "another node has taken this one over, since its lease was not renewed in time; it writes nothing any more"
        );
        self.lease.fenced.cancel();
        self.closing.cancel();
        self.in_flight.close();
    }

    /// What the store answers, if it does: a connection of which nothing is heard any more must not end what goes on in
    /// the background for as long as the process lives.
    pub(crate) async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.ask_within(SILENCE_MAX, question).await
    }

    /// The same, for those who cannot wait so long.
    pub(crate) async fn ask_within<T>(
        &self,
        limit: Duration,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout(limit, question)
            .await
            .unwrap_or_else(|_elapsed| {
                Err(StoreError::Unavailable("the database is silent".into()))
            })
    }

    /// Gives a result to the committer. After the committer has ended (shutdown) the result is dropped: the watermark
    /// or a pending row brings the delivery back at the next start.
    pub(crate) async fn hand_over(&self, done: Done) {
        if self.done.send(done).await.is_err() {
            tracing::debug!(
                "a result came after the end; its delivery is repeated at the next start"
            );
        }
    }

    /// Returns when everything handed over before is committed.
    pub(crate) async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        self.hand_over(Done::Flush(reply)).await;
        let _ended = done.await;
    }

    /// Puts an event of Belfry's own onto its bus.
    pub(crate) async fn own_event(&self, event: Option<OwnEvent>) {
        if let Some(event) = event {
            self.hand_over(Done::Own(Box::new(event))).await;
        }
    }

    /// Asks for a target to be disabled, unless it has been changed since this revision.
    pub(crate) fn disable(&self, target: TargetId, revision: i64, reason: String) {
        self.disables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((target, revision, reason));
        self.disable_wanted.notify_one();
    }

    pub(crate) fn take_disables(&self) -> Vec<(TargetId, i64, String)> {
        std::mem::take(&mut *self.disables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Requests on the wire, those of deleted targets included.
    pub(crate) fn on_the_wire(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Reserves room for events that can wait for a better time: only while half of it is free.
    pub(crate) fn reserve_idle(self: &Arc<Self>, events: usize, bytes: usize) -> Option<Waiting> {
        let idle = self.waiting_events.load(Ordering::Relaxed) * 2
            <= self.settings.waiting_events_max
            && self.waiting_bytes.load(Ordering::Relaxed) * 2 <= self.settings.waiting_bytes_max
            && self.disk.problem().is_none()
            && !self.stalled.load(Ordering::Relaxed);
        if idle {
            self.reserve(events, bytes)
        } else {
            None
        }
    }

    /// Reserves room for events that wait for their commit.
    pub(crate) fn reserve(self: &Arc<Self>, events: usize, bytes: usize) -> Option<Waiting> {
        let count = self.waiting_events.fetch_add(events, Ordering::AcqRel) + events;
        let total = self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let waiting = Waiting {
            shared: Arc::clone(self),
            events,
            bytes,
        };
        // One request is always let through, however large: its size has its own limit.
        let alone = count == events;
        let fits =
            count <= self.settings.waiting_events_max && total <= self.settings.waiting_bytes_max;
        (alone || fits).then_some(waiting)
    }
}

/// Room taken by events that wait for their commit; given back when dropped.
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    events: usize,
    bytes: usize,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("events", &self.events)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared
            .waiting_events
            .fetch_sub(self.events, Ordering::AcqRel);
        self.shared
            .waiting_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
