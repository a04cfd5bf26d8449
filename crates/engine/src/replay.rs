//! Replays: stored events go onto their bus again, as new events that say what they repeat.
//!
//! A replay belongs to one node at a time, by a lease in its row. Its worker reads a page of events, picks those that are
//! asked for, matches them as the rules are now and hands them to the committer, which stores them and moves the replay
//! on in one transaction. So a crash anywhere leaves a replay where its events are, and whoever takes it over goes on
//! from there. Correctness does not rest on the lease: a step from a place where the replay is not any more stores nothing.
//!
//! A step takes room in the same budget as events from senders, and only while half of it is free.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use belfry_model::replay::{ReplayPlan, ReplayState};
use belfry_model::{Event, EventId, ReplayId, TargetId};
use belfry_pattern::{Pattern, Scratch};
use belfry_store::{Replay, ReplayProgress, ReplayRead, Store, StoreError};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::metrics;
use crate::shared::{Shared, Waiting};
use crate::snapshot::{BusRules, Snapshot};
use crate::work::Done;

/// How often running replays are looked for, whatever the hints say.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a node's word holds. A dead node's replays stand still for so long.
const LEASE_MS: i64 = 15_000;
/// A worker that commits nothing says so often that it is still there.
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// Events looked at in one read, and reads of one step in which nothing is picked.
const SCAN_PAGE: u32 = 500;
const READS_MAX: u32 = 20;
/// Events and about how many bytes of them one step puts back.
const STEP_EVENTS_MAX: usize = 200;
const STEP_BYTES_MAX: u64 = 1 << 20;
/// A step takes about a quarter of a second's share, so that the speed is even.
const STEPS_A_SECOND: u32 = 4;
const BUSY_WAIT: Duration = Duration::from_millis(50);
const FAILED_WAIT: Duration = Duration::from_secs(1);
/// So many times in a row a step may be refused for what is in it.
const REFUSALS_MAX: u32 = 5;

/// Events put back, and how far the replay has got with them.
pub(crate) struct Replayed {
    pub(crate) bus: Arc<BusRules>,
    pub(crate) events: Vec<Picked>,
    pub(crate) progress: ReplayProgress,
    pub(crate) waiting: Waiting,
    /// Dropped without an answer when the step is not stored.
    pub(crate) reply: oneshot::Sender<()>,
}

impl std::fmt::Debug for Replayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replayed")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// An event to be put back.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) of: EventId,
    pub(crate) event: Event,
    pub(crate) fan: Vec<TargetId>,
}

/// How many events a replay would put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayCount {
    /// Events it would put back.
    pub events: u64,
    /// Events looked at.
    pub looked_at: u64,
    /// Whether that were all; else `events` is a lower bound.
    pub exact: bool,
}

/// Why a replay cannot go on, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The plan does not fit the configuration (any more).
    #[error("{0}")]
    Impossible(String),
    /// The store failed.
    #[error("the events cannot be read: {0}")]
    Store(String),
}

impl From<StoreError> for ReplayError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// A plan, made ready to pick events under one configuration.
struct Picker<'p> {
    plan: &'p ReplayPlan,
    pattern: Option<Pattern>,
    bus: Arc<BusRules>,
    /// Only targets of these rules (places in the bus), if not of all.
    rules: Option<HashSet<String>>,
    to: Option<TargetId>,
}

impl<'p> Picker<'p> {
    fn new(plan: &'p ReplayPlan, snapshot: &Snapshot) -> Result<Self, ReplayError> {
        let impossible = |text: String| ReplayError::Impossible(text);
        let bus = snapshot
            .buses()
            .find(|bus| bus.bus.id == plan.bus)
            .ok_or_else(|| impossible(format!("bus {} was deleted", plan.bus_name)))?;
        if let Some((id, name)) = &plan.archive
            && !bus.archives.list.iter().any(|archive| archive.id == *id)
        {
            let bus = &bus.bus.name;
            return Err(impossible(format!(
                "archive {name} of bus {bus} was deleted"
            )));
        }
        let rule = |name: &belfry_model::RuleName| {
            bus.rules()
                .find(|entry| entry.rule.name == *name)
                .ok_or_else(|| impossible(format!("bus {} has no rule {name}", bus.bus.name)))
        };
        let pattern = plan
            .pattern
            .as_ref()
            .map(|text| Pattern::parse(text.as_str().as_bytes()))
            .transpose()
            .map_err(|error| impossible(format!("the pattern cannot be read: {error}")))?;
        let mut rules = None;
        if let Some(names) = &plan.rules {
            let found: Result<HashSet<_>, _> = names
                .iter()
                .map(|name| rule(name).map(|entry| entry.rule.name.to_string()))
                .collect();
            rules = Some(found?);
        }
        let mut to = None;
        if let Some(wanted) = &plan.to {
            let entry = rule(&wanted.rule)?;
            let named = |id: &&TargetId| {
                snapshot
                    .target(**id)
                    .is_some_and(|entry| entry.target.name == wanted.target)
            };
            let id = entry.targets.iter().find(named).ok_or_else(|| {
                impossible(format!(
                    "rule {} has no target {}",
                    wanted.rule, wanted.target
                ))
            })?;
            to = Some(*id);
        }
        Ok(Self {
            plan,
            pattern,
            bus: Arc::clone(bus),
            rules,
            to,
        })
    }

    /// The targets of an event, if it is to be put back.
    fn pick(&self, event: &Event, scratch: &mut Scratch) -> Option<Vec<TargetId>> {
        if let Some(pattern) = &self.pattern
            && !pattern.matches(event.doc()).unwrap_or(false)
        {
            return None;
        }
        let mut fan = self.bus.fan_out_of(event, scratch, |rule| {
            self.rules
                .as_ref()
                .is_none_or(|rules| rules.contains(rule.rule.name.as_str()))
        });
        if let Some(to) = self.to {
            fan.retain(|target| *target == to);
        }
        (!fan.is_empty() || self.plan.takes_unmatched()).then_some(fan)
    }
}

/// What was picked after a place.
struct Step {
    events: Vec<Picked>,
    reached: EventId,
    looked_at: u64,
    ended: bool,
}

/// Reads on until there is something to put back, the end, or enough was looked at.
async fn pick(
    store: &dyn Store,
    picker: &Picker<'_>,
    after: EventId,
    events_max: usize,
    scratch: &mut Scratch,
) -> Result<Step, StoreError> {
    let plan = picker.plan;
    let mut step = Step {
        events: Vec::new(),
        reached: after,
        looked_at: 0,
        ended: false,
    };
    for _ in 0..READS_MAX {
        let read = ReplayRead {
            bus: plan.bus,
            archive: plan.archive.as_ref().map(|(id, _)| *id),
            events: plan.events.as_deref(),
            after: step.reached,
            before: plan.high,
            scan_max: SCAN_PAGE,
            bytes_max: STEP_BYTES_MAX,
        };
        let page = store.read_for_replay(&read).await?;
        for (id, event) in page.events {
            step.looked_at += 1;
            step.reached = id;
            if let Some(fan) = picker.pick(&event, scratch) {
                step.events.push(Picked { of: id, event, fan });
            }
            if step.events.len() >= events_max {
                return Ok(step);
            }
        }
        step.reached = page.reached;
        step.ended = page.ended;
        if page.ended || !step.events.is_empty() {
            break;
        }
    }
    Ok(step)
}

/// Whether a plan fits the configuration.
pub(crate) fn check(shared: &Shared, plan: &ReplayPlan) -> Result<(), ReplayError> {
    Picker::new(plan, &shared.snapshot.load()).map(drop)
}

/// Counts what a plan would put back, looking at no more than about `looked_at_max` events.
pub(crate) async fn count(
    shared: &Shared,
    plan: &ReplayPlan,
    looked_at_max: u64,
) -> Result<ReplayCount, ReplayError> {
    let picker = Picker::new(plan, &shared.snapshot.load())?;
    let mut scratch = Scratch::default();
    let mut count = ReplayCount {
        events: 0,
        looked_at: 0,
        exact: false,
    };
    let mut after = EventId::from_stored(plan.low.get() - 1);
    // Pages of other buses' events cost a look, too.
    let pages_max = looked_at_max.div_ceil(u64::from(SCAN_PAGE) * u64::from(READS_MAX)) + 200;
    for _ in 0..pages_max {
        let store = &*shared.store;
        let step = pick(store, &picker, after, usize::MAX, &mut scratch).await?;
        count.events += u64::try_from(step.events.len()).unwrap_or(u64::MAX);
        count.looked_at += step.looked_at;
        after = step.reached;
        if step.ended {
            count.exact = true;
            break;
        }
        if count.looked_at >= looked_at_max {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(count)
}

/// Looks for replays that nobody works on, until the engine closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut workers: JoinSet<ReplayId> = JoinSet::new();
    let mut here = HashSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => break,
            Some(done) = workers.join_next() => {
                match done {
                    Ok(id) => drop(here.remove(&id)),
                    // A worker that panicked is begun again with the others.
                    Err(error) => {
                        tracing::error!(%error, "a replay's worker has ended early");
                        if workers.is_empty() {
                            here.clear();
                        }
                    }
                }
                continue;
            }
            () = shared.replay_wanted.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let max = u32::try_from(shared.settings.replays_max).unwrap_or(u32::MAX);
        let running = match shared.store.running_replays(max).await {
            Ok(running) => running,
            Err(error) => {
                tracing::debug!(%error, "replays could not be looked for; trying again");
                continue;
            }
        };
        let node = shared.lease.member.node;
        let now_ms = shared.clock.now_ms();
        for replay in running {
            let taken =
                replay.owner.is_some_and(|owner| owner != node) && replay.lease_until_ms > now_ms;
            if !taken && here.insert(replay.id) {
                let shared = Arc::clone(&shared);
                workers.spawn(async move {
                    work(&shared, replay.id).await;
                    replay.id
                });
            }
        }
    }
    // They see by themselves that the engine closes, at the latest when their step is not taken any more.
    while workers.join_next().await.is_some() {}
}

/// What a worker does next.
enum Then {
    /// The next step, not before this time.
    Go(Instant),
    /// Nothing: it is ended, paused or somebody else's.
    Stop,
}

/// Works on one replay until it ends or is somebody else's.
async fn work(shared: &Arc<Shared>, id: ReplayId) {
    let mut scratch = Scratch::default();
    let mut refusals = 0;
    let mut next_at = Instant::now();
    let mut renew_at = next_at;
    loop {
        if shared.closing.is_cancelled() {
            return;
        }
        if Instant::now() >= renew_at {
            match claim(shared, id).await {
                Ok(true) => renew_at = Instant::now() + RENEW_EVERY,
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(%error, replay.id = %id, "a replay could not be claimed; trying again");
                    pause(shared, Instant::now() + FAILED_WAIT).await;
                    continue;
                }
            }
        }
        if Instant::now() < next_at {
            // Not past the time to renew, and in pieces, so that a pause or an end is seen soon.
            let piece = Instant::now() + LOOK_EVERY;
            pause(shared, next_at.min(renew_at).min(piece)).await;
            if Instant::now() < next_at && !runs(shared, id).await {
                return;
            }
            continue;
        }
        let replay = match shared.store.find_replay(id).await {
            Ok(Some(replay)) if replay.state == ReplayState::Running => replay,
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(%error, replay.id = %id, "a replay could not be read; trying again");
                next_at = Instant::now() + FAILED_WAIT;
                continue;
            }
        };
        match step(shared, &replay, &mut scratch, &mut refusals).await {
            Ok(Then::Go(at)) => next_at = at.max(next_at),
            Ok(Then::Stop) => return,
            Err(StoreError::Unavailable(_) | StoreError::Full(_)) => {
                next_at = Instant::now() + FAILED_WAIT;
            }
            Err(error) => {
                fail(shared, id, &format!("its events cannot be read: {error}")).await;
                return;
            }
        }
    }
}

async fn runs(shared: &Shared, id: ReplayId) -> bool {
    match shared.store.find_replay(id).await {
        Ok(found) => found.is_some_and(|replay| replay.state == ReplayState::Running),
        Err(_) => true,
    }
}

async fn claim(shared: &Shared, id: ReplayId) -> Result<bool, StoreError> {
    let now_ms = shared.clock.now_ms();
    let (store, node) = (&shared.store, shared.lease.member.node);
    store
        .claim_replay(id, node, now_ms, now_ms + LEASE_MS)
        .await
}

async fn pause(shared: &Shared, until: Instant) {
    tokio::select! {
        () = shared.closing.cancelled() => {}
        () = tokio::time::sleep_until(until) => {}
    }
}

async fn fail(shared: &Shared, id: ReplayId, why: &str) {
    tracing::error!(replay.id = %id, why, "a replay has failed");
    let from = [ReplayState::Running, ReplayState::Paused];
    let now_ms = shared.clock.now_ms();
    let store = &shared.store;
    let failed = ReplayState::Failed;
    if let Err(error) = store
        .set_replay_state(id, &from, failed, Some(why), now_ms, &[])
        .await
    {
        // It still runs, so it is taken up and fails again.
        tracing::warn!(%error, replay.id = %id, "the failure of a replay could not be written down");
    }
}

/// One page: picked, stored with the progress, or put off.
async fn step(
    shared: &Arc<Shared>,
    replay: &Replay,
    scratch: &mut Scratch,
    refusals: &mut u32,
) -> Result<Then, StoreError> {
    let begun = Instant::now();
    let plan = &replay.plan;
    let rate = plan.rate_per_second.max(1);
    let picker = match Picker::new(plan, &shared.snapshot.load()) {
        Ok(picker) => picker,
        Err(error) => {
            fail(shared, replay.id, &error.to_string()).await;
            return Ok(Then::Stop);
        }
    };
    let share = usize::try_from(rate.div_ceil(STEPS_A_SECOND)).unwrap_or(1);
    let events_max = share.min(STEP_EVENTS_MAX);
    let step = pick(&*shared.store, &picker, replay.cursor, events_max, scratch).await?;
    let count = u32::try_from(step.events.len()).unwrap_or(u32::MAX);
    let bytes = step.events.iter().map(|one| one.event.doc().len()).sum();
    let Some(waiting) = shared.reserve_idle(step.events.len(), bytes) else {
        return Ok(Then::Go(Instant::now() + BUSY_WAIT));
    };
    let now_ms = shared.clock.now_ms();
    let (answer, stored) = oneshot::channel();
    let ended = step.ended;
    let replayed = Replayed {
        bus: Arc::clone(&picker.bus),
        progress: ReplayProgress {
            replay: replay.id,
            owner: shared.lease.member.node,
            from: replay.cursor,
            to: step.reached,
            looked_at: step.looked_at,
            replayed: u64::from(count),
            completed: ended,
            at_ms: now_ms,
            lease_until_ms: now_ms + LEASE_MS,
        },
        events: step.events,
        waiting,
        reply: answer,
    };
    shared.hand_over(Done::Replay(Box::new(replayed))).await;
    if stored.await.is_err() {
        // Taken over by another node, or not to be stored: the row tells, and the claim.
        *refusals += 1;
        if *refusals >= REFUSALS_MAX && claim(shared, replay.id).await? {
            fail(shared, replay.id, "its events could not be stored again").await;
            return Ok(Then::Stop);
        }
        if shared.closing.is_cancelled() || !claim(shared, replay.id).await? {
            return Ok(Then::Stop);
        }
        return Ok(Then::Go(Instant::now() + FAILED_WAIT));
    }
    *refusals = 0;
    metrics::replayed(
        picker.bus.bus.name.as_str(),
        usize::try_from(count).unwrap_or(usize::MAX),
    );
    if ended {
        tracing::info!(replay.id = %replay.id, "a replay has completed");
        return Ok(Then::Stop);
    }
    Ok(Then::Go(begun + Duration::from_secs(1) * count / rate))
}
