//! The engine as the rest of the product sees it: start, accept, reload, redrive, shut down.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use belfry_model::delivery::DeliveryStatus;
use belfry_model::replay::ReplayPlan;
use belfry_model::{BusName, DeliveryId, Event, EventId, TargetId};
use belfry_pattern::Scratch;
use belfry_store::{AuditEntry, IdempotencyRecord, Joined, Membership, NodeIdentity, StoreError};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use crate::api::{
    AcceptContext, AcceptError, Accepted, Collaborators, DeliveryNotice, EngineSettings,
    EngineStatus, LaneStatus, StartError,
};
use crate::committer::{AcceptOp, Committer, Incoming};
use crate::dedup::{Key, Recent};
use crate::gate::Signed;
use crate::idempotency::InProgress;
use crate::membership::Lease;
use crate::replay::{ReplayCount, ReplayError};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::{keeper, loader, membership, metrics, replay, report};

/// Results that may wait for the committer; lanes wait when it is full.
const DONE_QUEUE: usize = 8192;
/// Keys read at once when the memory of repeats is rebuilt.
const KEYS_PAGE: u32 = 1000;
/// A shorter lease would run out between two looks at it.
const LEASE_MIN: Duration = Duration::from_millis(100);
/// What a sender is told to wait when too much is waiting.
const BUSY_RETRY: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// The running data plane. Cheap to clone; ends with [`Engine::shutdown`].
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    accepts: mpsc::Sender<AcceptOp>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Takes a node's number with what its last holder left, loads the configuration and starts working.
    pub async fn start(with: Collaborators, settings: EngineSettings) -> Result<Self, StartError> {
        let now_ms = with.clock.now_ms();
        let length = settings.node_lease.max(LEASE_MIN);
        let who = NodeIdentity {
            name: settings.node_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lease_ms: i64::try_from(membership::held(length).as_millis()).unwrap_or(i64::MAX / 4),
        };
        let begun = Instant::now();
        let Joined { member, recovered } = with.store.join(&who, now_ms).await?;
        let nodes = with.store.list_nodes(now_ms).await?;
        let lease = Lease::new(member, length, begun, &nodes);
        tracing::info!(node = member.node.0, epoch = member.epoch, "this node");
        if recovered.unfinished + recovered.reclaimed > 0 {
            tracing::info!(
                unfinished = recovered.unfinished,
                reclaimed = recovered.reclaimed,
                "deliveries left by an earlier run go on"
            );
        }
        let (done_in, done_out) = mpsc::channel(DONE_QUEUE);
        let (accepts_in, accepts_out) = mpsc::channel(settings.waiting_events_max.max(1));
        let shared = Arc::new(Shared::new(with, settings, done_in, lease));
        keeper::reload(&shared).await?;
        let recent = remember(&shared).await?;
        let committer = Committer::new(
            Arc::clone(&shared),
            accepts_out,
            done_out,
            recovered.newest,
            recent,
        );
        shared.tracker.spawn(committer.run());
        shared.tracker.spawn(loader::run(Arc::clone(&shared)));
        shared.tracker.spawn(keeper::run(Arc::clone(&shared)));
        shared.tracker.spawn(replay::run(Arc::clone(&shared)));
        shared.tracker.spawn(membership::run(Arc::clone(&shared)));
        Ok(Self {
            shared,
            accepts: accepts_in,
        })
    }

    pub(crate) fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    /// Tells on bus `system` what Belfry did by itself. `document` is an event in the lenient form. Own events wait for no
    /// room and are not refused.
    pub async fn report(&self, document: &serde_json::Value) {
        let now_ms = self.shared.clock.now_ms();
        self.shared
            .own_event(report::on_system(document, now_ms))
            .await;
    }

    /// The configuration in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Accepts events, all or none. Returns after they are durable; after [`EngineSettings::answer_timeout`] in any case.
    pub async fn accept(
        &self,
        bus: &BusName,
        events: Vec<Event>,
        cx: AcceptContext,
    ) -> Result<Vec<Accepted>, AcceptError> {
        let until = Instant::now() + self.shared.settings.answer_timeout;
        tokio::time::timeout_at(until, self.accept_until(until, bus, events, cx))
            .await
            .unwrap_or(Err(AcceptError::Unavailable))
    }

    async fn accept_until(
        &self,
        until: Instant,
        bus: &BusName,
        events: Vec<Event>,
        cx: AcceptContext,
    ) -> Result<Vec<Accepted>, AcceptError> {
        if self.shared.closing.is_cancelled() {
            return Err(AcceptError::ShuttingDown);
        }
        let snapshot = self.shared.snapshot.load_full();
        let rules = snapshot
            .bus(bus)
            .ok_or_else(|| AcceptError::UnknownBus(bus.to_string()))?;
        let idempotency = match cx.idempotency {
            None => None,
            Some(key) => {
                let held = InProgress::take(&self.shared, key.scope)
                    .ok_or(AcceptError::IdempotencyInProgress)?;
                match self.shared.store.find_idempotency(&key.scope).await {
                    Ok(None) => Some((key, held)),
                    Ok(Some(record)) if record.fingerprint == key.fingerprint => {
                        return serde_json::from_slice(&record.answer)
                            .map_err(|_| AcceptError::Unavailable);
                    }
                    Ok(Some(_)) => return Err(AcceptError::IdempotencyMismatch),
                    Err(_) => return Err(AcceptError::Unavailable),
                }
            }
        };
        if events.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(problem) = self.shared.disk.problem() {
            return Err(AcceptError::Full(problem));
        }
        let bytes: usize = events.iter().map(|event| event.doc().len()).sum();
        let Some(waiting) = self.shared.reserve(events.len(), bytes) else {
            metrics::refused(bus.as_str(), events.len());
            return Err(AcceptError::Busy {
                retry_after: BUSY_RETRY,
            });
        };
        let begun = Instant::now();
        let count = events.len();
        let events: Vec<Incoming> = SCRATCH.with_borrow_mut(|scratch| {
            events
                .into_iter()
                .map(|event| Incoming {
                    fan: rules.fan_out(&event, scratch),
                    archives: rules.archives_of(&event, scratch),
                    sign: Signed::of(&event).map(Box::new),
                    event,
                })
                .collect()
        });
        let matched = events.iter().filter(|item| !item.fan.is_empty()).count();
        self.shared
            .metrics
            .matched(bus.as_str(), count, matched, begun.elapsed());
        let (reply, answer) = oneshot::channel();
        let op = AcceptOp {
            bus: Arc::clone(rules),
            events,
            trace_id: cx.trace_id,
            idempotency,
            waiting,
            bytes,
            until,
            reply,
        };
        match self.accepts.try_send(op) {
            Ok(()) => {
                let (accepted, filled) = answer.await.unwrap_or(Err(AcceptError::ShuttingDown))?;
                // Where the CPUs are busy, what waits in memory goes first; elsewhere this costs nothing. Else more is
                // accepted than can be sent, and what has no room is written once more, claimed, and removed.
                for _ in 0..filled {
                    tokio::task::yield_now().await;
                }
                Ok(accepted)
            }
            Err(mpsc::error::TrySendError::Full(_)) => Err(AcceptError::Busy {
                retry_after: BUSY_RETRY,
            }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AcceptError::ShuttingDown),
        }
    }

    /// Puts the stored configuration in force; call it after every change. Returns when it is.
    pub async fn reload(&self) -> Result<(), StoreError> {
        keeper::reload(&self.shared).await
    }

    /// Makes ended deliveries pending again, with a fresh retry budget. Returns those that were in a state to be taken
    /// (one of `only`, or any final one).
    ///
    /// `audit` and `idempotency` are written with it; then all of `ids` are taken, or none
    /// ([`StoreError::Conflict`]).
    pub async fn redrive(
        &self,
        ids: &[DeliveryId],
        only: &[DeliveryStatus],
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        // What lanes have handed over already must be committed first, else a delivery that has just ended is missed.
        self.flush().await;
        let _look = LookAfter {
            shared: &self.shared,
            targets: ids.iter().map(|delivery| delivery.target).collect(),
        };
        let now_ms = self.shared.clock.now_ms();
        let store = &self.shared.store;
        store.redrive(ids, only, now_ms, audit, idempotency).await
    }

    /// Counts what a replay would put back, looking at no more than about `looked_at_max` events. Also tells whether
    /// the plan fits the configuration.
    pub async fn count_replay(
        &self,
        plan: &ReplayPlan,
        looked_at_max: u64,
    ) -> Result<ReplayCount, ReplayError> {
        replay::count(&self.shared, plan, looked_at_max).await
    }

    /// Whether a replay with this plan could be done as things are.
    pub fn check_replay(&self, plan: &ReplayPlan) -> Result<(), ReplayError> {
        replay::check(&self.shared, plan)
    }

    /// A replay was started or resumed.
    pub fn wake_replays(&self) {
        self.shared.replay_wanted.notify_one();
    }

    /// Returns when everything handed over before is committed.
    pub async fn flush(&self) {
        self.shared.flush().await;
    }

    /// Listens to what happens to deliveries from now on.
    pub fn notices(&self) -> broadcast::Receiver<DeliveryNotice> {
        self.shared.notices.subscribe()
    }

    /// A target's lane at this moment.
    pub fn lane_status(&self, target: TargetId) -> Option<LaneStatus> {
        self.shared.lane(target).map(|lane| lane.status())
    }

    /// How many nodes the limits are divided among; `None`: this one has just come, and the others do not know it yet.
    pub fn divided_among(&self) -> Option<usize> {
        self.shared.lease.divided_among()
    }

    /// How many requests at once this node may make to a target; 0: other nodes send.
    pub fn slots(&self, target: TargetId) -> Option<usize> {
        self.shared.lane(target).map(|lane| lane.slots())
    }

    /// The engine's health.
    pub fn status(&self) -> EngineStatus {
        let (mut queued, mut in_flight, mut open_circuits) = (0, 0, 0);
        for lane in self.shared.lanes() {
            let status = lane.status();
            queued += status.queued;
            in_flight += status.in_flight;
            open_circuits += usize::from(status.circuit != "closed");
        }
        let mut problems = Vec::new();
        if self.shared.closing.is_cancelled() {
            problems.push("the server is shutting down".to_owned());
        }
        problems.extend(self.shared.lease.problem().map(str::to_owned));
        problems.extend(self.shared.disk.problem());
        if !self.shared.store_ok.load(Ordering::Relaxed) {
            problems.push("the last commit failed".to_owned());
        }
        if self.accepts.is_closed() && !self.shared.closed.is_cancelled() {
            problems.push("the writer has ended; this is a defect, restart the server".to_owned());
        }
        EngineStatus {
            accepting: problems.is_empty(),
            problems,
            waiting_events: self.shared.waiting_events.load(Ordering::Relaxed),
            queued,
            in_flight,
            config_version: self.shared.snapshot.load().version,
            open_circuits,
        }
    }

    /// What is held for work under way: all zero when there is none. For tests, which look for leaks with it.
    #[doc(hidden)]
    pub fn held(&self) -> [usize; 6] {
        let lanes = self.shared.lanes();
        let (reserved, bytes) = lanes
            .iter()
            .map(|lane| lane.held())
            .fold((0, 0), |sum, lane| (sum.0 + lane.0, sum.1 + lane.1));
        [
            reserved,
            bytes,
            self.shared.lanes_bytes.load(Ordering::Relaxed),
            self.shared.on_the_wire(),
            self.shared.waiting_bytes.load(Ordering::Relaxed),
            self.shared.open_events.load(Ordering::Relaxed),
        ]
    }

    /// Stops: accepts nothing more, begins no more attempts, lets those on the wire finish for at most `limit`, commits
    /// what came of them. What is left becomes pending, for the other nodes or the next start. Returns whether everything ended in time.
    pub async fn shutdown(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        self.shared.lease.leave();
        self.shared.closing.cancel();
        self.shared.in_flight.close();
        let mut in_time = true;
        while self.shared.on_the_wire() > 0 {
            if Instant::now() >= deadline {
                in_time = false;
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.shared.closed.cancel();
        self.shared.tracker.close();
        let rest = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(500));
        // Also when something still hangs: what others have handed over is to be committed.
        let ended = tokio::time::timeout(rest, self.shared.tracker.wait()).await;
        let left = tokio::time::timeout(rest, self.leave()).await;
        in_time && ended.is_ok() && left.is_ok()
    }

    /// Gives the number back, and what was in memory or claimed to whoever goes on.
    async fn leave(&self) {
        let shared = &self.shared;
        if shared.lease.fenced.is_cancelled() {
            return;
        }
        let now_ms = shared.clock.now_ms();
        match shared.store.leave(shared.lease.member, now_ms).await {
            Ok(Some(left)) if left.unfinished + left.reclaimed > 0 => tracing::info!(
                unfinished = left.unfinished,
                reclaimed = left.reclaimed,
                "deliveries are left to the other nodes or the next start"
            ),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "this node could not take its leave; the others notice when its lease ends");
            }
        }
    }

    /// Returns when another node has taken this one over: it is of no more use, and the process should end.
    pub async fn fenced(&self) {
        self.shared.lease.fenced.cancelled().await;
    }

    /// Whether another node has taken this one over.
    pub fn is_fenced(&self) -> bool {
        self.shared.lease.fenced.is_cancelled()
    }

    /// This node's number and epoch.
    pub fn member(&self) -> Membership {
        self.shared.lease.member
    }
}

/// Has the loader look at targets when it is dropped: also when whoever asked for a change waits no longer, or the database has
/// made it and could not say so.
struct LookAfter<'a> {
    shared: &'a Shared,
    targets: BTreeSet<TargetId>,
}

impl Drop for LookAfter<'_> {
    fn drop(&mut self) {
        let now_ms = self.shared.clock.now_ms();
        for target in &self.targets {
            self.shared.hints.wake(*target, now_ms);
        }
    }
}

/// Rebuilds the memory of repeats from the log.
async fn remember(shared: &Shared) -> Result<Recent, StoreError> {
    let entries_max = shared.settings.dedup_entries_max;
    let since = EventId::first_at(shared.snapshot.load().dedup_since_ms(shared.clock.now_ms()));
    let mut keys = Vec::new();
    let mut before = Some(EventId::from_stored(i64::MAX));
    while let Some(end) = before.filter(|_| keys.len() < entries_max) {
        let page = shared.store.recent_keys(since, end, KEYS_PAGE).await?;
        let found = page.keys.iter();
        keys.extend(found.map(|recent| (recent.id, Key::of(recent.bus, &recent.key))));
        before = page.next;
    }
    Ok(Recent::of(keys, entries_max))
}

#[cfg(test)]
mod tests {
    use belfry_egress::{EgressClient, EgressLimits, EgressPolicy, SystemResolver};
    use belfry_model::SystemClock;
    use belfry_model::config::{BusSpec, RuleSpec, Target};
    use belfry_model::delivery::Reason;
    use belfry_model::json::JsonText;
    use belfry_store::{
        Change, ConfigStore as _, Expect, History as _, SqliteOptions, SqliteStore,
    };
    use belfry_targets::ConnectContext;
    use belfry_transform::{Transform, TransformSpec};
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Unseal;
    use crate::snapshot::TargetEntry;

    struct Clear;

    impl Unseal for Clear {
        fn unseal(&self, _place: &str, target: &Target) -> Result<Value, String> {
            Ok(target.spec.settings.clone())
        }
    }

    async fn store() -> Arc<SqliteStore> {
        let store = SqliteStore::open(SqliteOptions::memory()).await.unwrap();
        let spec = json!({
            "type": "log", "settings": {"log": "lines"},
            "concurrency": 1, "retry": {"schedule": "none"},
        });
        let (bus, rule): (BusName, _) = ("default".parse().unwrap(), "all".parse().unwrap());
        let changes = [
            Change::PutBus {
                name: bus.clone(),
                spec: BusSpec::default(),
                expect: Expect::Absent,
            },
            Change::PutRule {
                bus: bus.clone(),
                name: "all".parse().unwrap(),
                spec: RuleSpec {
                    description: String::new(),
                    enabled: true,
                    pattern: JsonText::parse(r#"{"source":["tests"]}"#).unwrap(),
                },
                expect: Expect::Absent,
            },
            Change::PutTarget {
                bus,
                rule,
                name: "lines".parse().unwrap(),
                spec: Box::new(serde_json::from_value(spec).unwrap()),
                expect: Expect::Absent,
            },
        ];
        store.apply(&changes, &[], None, 1).await.unwrap();
        Arc::new(store)
    }

    /// A transformation that panics on every event.
    fn panicking() -> Transform {
        let spec: TransformSpec = serde_json::from_value(json!({
            "kind": "tencent", "EtlFilter": {"Filter": "{}"},
            "Transform": {"OutputStructs": [{"Key": "a", "Value": "1", "ValueType": "NUMBER"}]},
        }))
        .unwrap();
        Transform::compile_with(&spec, &|_| Ok(Arc::new(|_| panic!("as asked")))).unwrap()
    }

    #[tokio::test]
    async fn a_panic_in_an_attempt_ends_the_attempt_and_not_the_lane() {
        let store = store().await;
        let clock = Arc::new(SystemClock);
        let egress = EgressClient::new(
            EgressPolicy::permissive(),
            EgressLimits::default(),
            Arc::new(SystemResolver),
        );
        let with = Collaborators {
            store: Arc::<SqliteStore>::clone(&store),
            clock: Arc::<SystemClock>::clone(&clock),
            random: Arc::new(crate::api::SystemRandom),
            kinds: belfry_targets::find_kind,
            templates: Arc::new(belfry_eval::Templates::none()),
            unseal: Arc::new(Clear),
            documents: Arc::new(crate::documents::NoDocuments),
            connect: Arc::new(ConnectContext {
                egress: Arc::new(egress.unwrap()),
                clock,
                user_agent: "tests".to_owned(),
                directory: Arc::new(belfry_targets::NoDirectory),
                functions: Arc::new(belfry_functions::NoFunctions),
            }),
        };
        let engine = Engine::start(with, EngineSettings::default())
            .await
            .unwrap();
        let snapshot = engine.snapshot();
        let entry = snapshot.targets().next().unwrap();
        let lane = engine.shared.lane(entry.target.id).unwrap();
        lane.update(Arc::new(TargetEntry {
            channel: None,
            channels: Vec::new(),
            folds: false,
            batch: None,
            target: entry.target.clone(),
            bus: entry.bus.clone(),
            rule: entry.rule.clone(),
            retry: entry.retry.clone(),
            retry_on_4xx: entry.retry_on_4xx,
            concurrency: entry.concurrency,
            problem: None,
            transform: Some(panicking()),
            send_original: false,
            order: None,
            handler: entry.handler.clone(),
        }));
        let events = (0..3)
            .map(|n| format!(r#"{{"specversion":"1.0","id":"{n}","source":"tests","type":"t"}}"#))
            .map(|doc| Event::from_stored(doc.into()).unwrap())
            .collect();
        let bus = "default".parse().unwrap();
        let accepted = engine.accept(&bus, events, AcceptContext::default()).await;
        for one in accepted.unwrap() {
            let delivery = DeliveryId {
                event: one.event_uid,
                target: entry.target.id,
            };
            let limit = Instant::now() + Duration::from_secs(20);
            let outcome = loop {
                engine.flush().await;
                let record = store.find_delivery(delivery).await.unwrap().unwrap();
                if record.outcome.status.is_final() || Instant::now() > limit {
                    break record.outcome;
                }
                tokio::task::yield_now().await;
            };
            assert_eq!(outcome.status, DeliveryStatus::Dead);
            assert_eq!(outcome.reason, Some(Reason::Internal));
        }
        assert!(engine.shutdown(Duration::from_secs(5)).await);
    }
}
