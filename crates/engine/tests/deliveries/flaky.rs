//! A store that fails when told to, around a real one.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use belfry_model::delivery::DeliveryStatus;
use belfry_model::replay::ReplayState;
use belfry_model::{
    AlarmId, ArchiveId, BusId, BusName, DeliveryId, DocumentId, EventId, LogName, NodeId, ReplayId,
    RuleName, TargetId, TargetName,
};
use belfry_store::{
    AlarmQuery, AlarmRecord, Alarms, ApiKey, ArchivePurge, ArchiveSize, Attempt, AuditEntry,
    AuditRecord, Backlog, Batch, BusPurge, BusPurged, BusSize, CallBacklog, CallClaim, CallRetry,
    Change, CircuitNote, Claim, Claimed, ClaimedCall, CodeInfo, ConfigDiff, ConfigStore,
    DeliveryQuery, DeliveryQueue, DeliveryRecord, EventKey, EventLog, EventQuery, EventRecord,
    Freed, Functions, History, IdempotencyRecord, InvocationQuery, Joined, LeftBehind, LogEntry,
    LogInfo, LogQuery, Maintenance, Membership, NewCall, NewInvocation, NewReplay, NodeIdentity,
    NodeInfo, Nodes, Page, Purged, RecentKeys, Recovered, Replay, ReplayAnswer, ReplayPage,
    ReplayRead, Replays, Result, Retention, Sources, Store, StoreError, TargetPath, Told, Unparsed,
    Usage,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use uuid::Uuid;

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is wrong.
    None,
    /// The database cannot be reached.
    Unavailable,
    /// The disk is full.
    Full,
    /// A mistake in the program or in the data.
    Internal,
    /// It is committed, and reported as failed.
    Lost,
    /// It takes this long.
    Slow(Duration),
}

impl Fault {
    fn error(self) -> StoreError {
        match self {
            Self::Full => StoreError::Full("flaky".into()),
            Self::Internal => StoreError::Internal("flaky".to_owned()),
            _ => StoreError::Unavailable("flaky".into()),
        }
    }
}

type Refuse = dyn Fn(&Batch) -> bool + Send + Sync;

/// Sees what the store was made to do, at the moment when it was done and before the caller knows.
pub(crate) trait Watch: Send + Sync {
    /// A batch is durable.
    fn committed(&self, batch: &Batch);
    /// What a node had left was made ready: for its next start, as it left, or by another that takes it over.
    fn recovered(&self, node: NodeId, now_ms: i64, found: &Recovered);
    /// Work was claimed.
    fn claimed(&self, claim: &Claim, claimed: &[Claimed]);
    /// Deliveries were made pending again.
    fn redriven(&self, taken: &[DeliveryId], now_ms: i64);
}

/// A store that fails when told to, around a real one.
pub(crate) struct Flaky {
    inner: Arc<dyn Store>,
    /// Where the real one runs when it is to answer at once, whatever the clock of the caller's runtime says.
    outside: Option<Arc<Runtime>>,
    watch: Option<Arc<dyn Watch>>,
    pace: Mutex<Option<Box<dyn FnMut() -> Duration + Send>>>,
    killed: AtomicBool,
    silent: watch::Sender<bool>,
    commits: Mutex<VecDeque<Fault>>,
    always: Mutex<Fault>,
    refuse: Mutex<Option<Box<Refuse>>>,
    draw: Mutex<Option<Box<dyn FnMut() -> Fault + Send>>>,
    claims: AtomicUsize,
    failed: AtomicUsize,
    claimed: AtomicUsize,
    reads_fail: AtomicBool,
    loads_fail: AtomicBool,
    loads_whole: AtomicBool,
    redrives_hang: AtomicBool,
    dead: AtomicBool,
    member: Mutex<Option<Membership>>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flaky {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Self::watched(inner, None, None)
    }

    pub(crate) fn watched(
        inner: Arc<dyn Store>,
        outside: Option<Arc<Runtime>>,
        watch: Option<Arc<dyn Watch>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            outside,
            watch,
            pace: Mutex::default(),
            killed: AtomicBool::new(false),
            silent: watch::Sender::new(false),
            commits: Mutex::default(),
            always: Mutex::new(Fault::None),
            refuse: Mutex::default(),
            draw: Mutex::default(),
            claims: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            claimed: AtomicUsize::new(0),
            reads_fail: AtomicBool::new(false),
            loads_fail: AtomicBool::new(false),
            loads_whole: AtomicBool::new(false),
            redrives_hang: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            member: Mutex::default(),
        })
    }

    /// What becomes of the next commits; afterwards they succeed.
    pub(crate) fn commits(&self, faults: impl IntoIterator<Item = Fault>) {
        *lock(&self.commits) = faults.into_iter().collect();
    }

    /// Batches of which this is true cannot be stored, for ever.
    pub(crate) fn refuse(&self, refuse: impl Fn(&Batch) -> bool + Send + Sync + 'static) {
        *lock(&self.refuse) = Some(Box::new(refuse));
    }

    /// Asked before every commit and claim, until the next call.
    pub(crate) fn draw(&self, draw: Option<Box<dyn FnMut() -> Fault + Send>>) {
        *lock(&self.draw) = draw;
    }

    /// So many of the next claims fail.
    pub(crate) fn fail_claims(&self, count: usize) {
        self.claims.store(count, Ordering::SeqCst);
    }

    /// Every commit meets this fault until it is [`Fault::None`].
    pub(crate) fn all_commits(&self, fault: Fault) {
        *lock(&self.always) = fault;
    }

    /// Commits that have failed or were reported as failed.
    pub(crate) fn failed(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }

    /// Claims that have been asked for.
    pub(crate) fn claimed(&self) -> usize {
        self.claimed.load(Ordering::SeqCst)
    }

    /// Whether reading fails.
    pub(crate) fn fail_reads(&self, fail: bool) {
        self.reads_fail.store(fail, Ordering::SeqCst);
    }

    /// Whether loading the configuration fails.
    pub(crate) fn fail_loads(&self, fail: bool) {
        self.loads_fail.store(fail, Ordering::SeqCst);
    }

    /// Whether the whole configuration is loaded each time, not only what has changed.
    pub(crate) fn whole_loads(&self, whole: bool) {
        self.loads_whole.store(whole, Ordering::SeqCst);
    }

    /// Redrives are made, and nobody hears of it.
    pub(crate) fn hang_redrives(&self) {
        self.redrives_hang.store(true, Ordering::SeqCst);
    }

    /// From now on everything fails, as if the process that uses it were gone. Its number is free, as a lock file that
    /// nobody holds would show.
    pub(crate) async fn die(&self) {
        self.hang_up();
        let member = *lock(&self.member);
        if let Some(member) = member {
            // Of a node that has left nothing is to be ended.
            let _ours = self.inner.renew(member, false, 0, i64::MIN).await;
        }
    }

    /// From now on everything fails, as if the database could not be reached from here.
    pub(crate) fn hang_up(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// From now on nothing answers: the process that uses it was killed. What is asked already may still happen.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
    }

    /// Whether the way to the store is silent: what is asked, and what is answered, waits until it no longer is.
    pub(crate) fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// How long the way to the store takes, asked before and after each call.
    pub(crate) fn pace(&self, pace: impl FnMut() -> Duration + Send + 'static) {
        *lock(&self.pace) = Some(Box::new(pace));
    }

    async fn way(&self) {
        let time = lock(&self.pace).as_mut().map(|pace| pace());
        if let Some(time) = time.filter(|time| !time.is_zero()) {
            tokio::time::sleep(time).await;
        }
        // The sender lives as long as we do.
        drop(self.silent.subscribe().wait_for(|silent| !silent).await);
        if self.killed.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// The database can be reached again.
    pub(crate) fn back(&self) {
        self.dead.store(false, Ordering::SeqCst);
    }

    fn alive(&self) -> Result<()> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(Fault::Unavailable.error());
        }
        Ok(())
    }

    async fn run<T: Send>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let Some(outside) = &self.outside else {
            return work.await;
        };
        // Nothing of the caller's runtime moves meanwhile.
        std::thread::scope(|scope| scope.spawn(|| outside.block_on(work)).join()).unwrap()
    }

    async fn call<T: Send>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.call_seen(work, |_, _| {}).await
    }

    /// `seen` is told of a success at the moment when it happened.
    async fn call_seen<T: Send>(
        &self,
        work: impl Future<Output = Result<T>> + Send,
        seen: impl FnOnce(&dyn Watch, &T) + Send,
    ) -> Result<T> {
        self.way().await;
        self.alive()?;
        let result = self.run(work).await;
        if let (Some(watch), Ok(answer)) = (&self.watch, &result) {
            seen(&**watch, answer);
        }
        self.way().await;
        result
    }

    async fn look<T: Send>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(Fault::Unavailable.error());
        }
        self.call(work).await
    }

    async fn try_commit(&self, batch: &Batch) -> Result<()> {
        self.alive()?;
        if lock(&self.refuse)
            .as_ref()
            .is_some_and(|refuse| refuse(batch))
        {
            return Err(Fault::Internal.error());
        }
        let fault = self.fault();
        match fault {
            Fault::None | Fault::Lost => {}
            Fault::Slow(time) => tokio::time::sleep(time).await,
            _ => return Err(fault.error()),
        }
        self.call_seen(self.inner.commit(batch), |watch, ()| watch.committed(batch))
            .await?;
        self.alive()?;
        if fault == Fault::Lost {
            return Err(fault.error());
        }
        Ok(())
    }

    fn fault(&self) -> Fault {
        if let Some(planned) = lock(&self.commits).pop_front() {
            return planned;
        }
        let always = *lock(&self.always);
        if always == Fault::None {
            return self.drawn();
        }
        always
    }

    fn drawn(&self) -> Fault {
        lock(&self.draw).as_mut().map_or(Fault::None, |draw| draw())
    }
}

#[async_trait]
impl EventLog for Flaky {
    fn commits_one_by_one(&self) -> bool {
        self.inner.commits_one_by_one()
    }
    async fn commit(&self, batch: &Batch) -> Result<()> {
        let result = self.try_commit(batch).await;
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::SeqCst);
        }
        result
    }

    async fn event_ids_after(&self, after: EventId, limit: u32) -> Result<Vec<EventId>> {
        self.look(self.inner.event_ids_after(after, limit)).await
    }
    async fn recent_keys(
        &self,
        after: EventId,
        before: EventId,
        commits_max: u32,
    ) -> Result<RecentKeys> {
        self.look(self.inner.recent_keys(after, before, commits_max))
            .await
    }
    async fn purge_keys(&self, before: EventId, commits_max: u32) -> Result<u64> {
        self.look(self.inner.purge_keys(before, commits_max)).await
    }
    async fn find_strict(&self, keys: &[(BusId, EventKey)]) -> Result<Vec<Option<EventId>>> {
        self.look(self.inner.find_strict(keys)).await
    }
    async fn find_idempotency(&self, scope: &[u8; 32]) -> Result<Option<IdempotencyRecord>> {
        self.look(self.inner.find_idempotency(scope)).await
    }
    async fn usage(&self) -> Result<Usage> {
        self.look(self.inner.usage()).await
    }
}

#[async_trait]
impl Alarms for Flaky {
    async fn find_told(
        &self,
        bus: BusId,
        key: &str,
        target: TargetId,
    ) -> Result<Option<(AlarmRecord, Option<Told>)>> {
        self.look(self.inner.find_told(bus, key, target)).await
    }
    async fn find_alarm(&self, id: AlarmId) -> Result<Option<AlarmRecord>> {
        self.look(self.inner.find_alarm(id)).await
    }
    async fn list_told(&self, ids: &[AlarmId]) -> Result<Vec<Told>> {
        self.look(self.inner.list_told(ids)).await
    }
    async fn list_alarms(&self, query: &AlarmQuery) -> Result<Page<AlarmRecord, EventId>> {
        self.look(self.inner.list_alarms(query)).await
    }
    async fn purge_alarms(&self, before: EventId, alarms_max: u32) -> Result<u64> {
        self.look(self.inner.purge_alarms(before, alarms_max)).await
    }
}

#[async_trait]
impl Functions for Flaky {
    async fn put_code(&self, sha256: &[u8; 32], bytes: &[u8], now_ms: i64) -> Result<()> {
        self.call(self.inner.put_code(sha256, bytes, now_ms)).await
    }
    async fn read_code(&self, sha256: &[u8; 32]) -> Result<Option<Vec<u8>>> {
        self.look(self.inner.read_code(sha256)).await
    }
    async fn list_codes(&self) -> Result<Vec<CodeInfo>> {
        self.look(self.inner.list_codes()).await
    }
    async fn delete_codes(&self, sha256s: &[[u8; 32]], before_ms: i64) -> Result<u64> {
        self.call(self.inner.delete_codes(sha256s, before_ms)).await
    }
    async fn put_invocations(&self, invocations: &[NewInvocation]) -> Result<()> {
        self.call(self.inner.put_invocations(invocations)).await
    }
    async fn find_invocation(&self, request_id: Uuid) -> Result<Option<NewInvocation>> {
        self.look(self.inner.find_invocation(request_id)).await
    }
    async fn list_invocations(&self, query: &InvocationQuery) -> Result<Page<NewInvocation, Uuid>> {
        self.look(self.inner.list_invocations(query)).await
    }
    async fn purge_invocations(&self, before_ms: i64, invocations_max: u32) -> Result<u64> {
        self.look(self.inner.purge_invocations(before_ms, invocations_max))
            .await
    }
    async fn free_functions(&self, node: NodeId, lost: &str, now_ms: i64) -> Result<LeftBehind> {
        self.call(self.inner.free_functions(node, lost, now_ms))
            .await
    }
    async fn put_call(&self, call: &NewCall) -> Result<()> {
        self.call(self.inner.put_call(call)).await
    }
    async fn claim_calls(&self, claim: &CallClaim) -> Result<Vec<ClaimedCall>> {
        self.call(self.inner.claim_calls(claim)).await
    }
    async fn finish_call(&self, id: Uuid, invocation: &NewInvocation) -> Result<()> {
        self.call(self.inner.finish_call(id, invocation)).await
    }
    async fn retry_call(
        &self,
        retry: &CallRetry,
        invocation: Option<&NewInvocation>,
    ) -> Result<()> {
        self.call(self.inner.retry_call(retry, invocation)).await
    }
    async fn call_backlog(&self) -> Result<CallBacklog> {
        self.look(self.inner.call_backlog()).await
    }
}

#[async_trait]
impl DeliveryQueue for Flaky {
    async fn claim_due(&self, claim: &Claim) -> Result<Vec<Claimed>> {
        self.alive()?;
        self.claimed.fetch_add(1, Ordering::SeqCst);
        let fail = |left: usize| left.checked_sub(1);
        let planned = self
            .claims
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fail)
            .is_ok();
        if planned || !matches!(self.drawn(), Fault::None | Fault::Lost | Fault::Slow(_)) {
            return Err(Fault::Unavailable.error());
        }
        self.call_seen(self.inner.claim_due(claim), |watch, claimed| {
            watch.claimed(claim, claimed);
        })
        .await
    }
    async fn next_due(&self, targets: &[TargetId]) -> Result<Vec<(TargetId, i64)>> {
        self.look(self.inner.next_due(targets)).await
    }
    async fn free_stuck(
        &self,
        after: Option<DeliveryId>,
        rows_max: u32,
        now_ms: i64,
    ) -> Result<Freed> {
        self.call(self.inner.free_stuck(after, rows_max, now_ms))
            .await
    }
    async fn targets_with_pending(&self) -> Result<Vec<TargetId>> {
        self.look(self.inner.targets_with_pending()).await
    }
    async fn backlog(&self, count_max: u32) -> Result<Vec<Backlog>> {
        self.look(self.inner.backlog(count_max)).await
    }
    async fn redrive(
        &self,
        deliveries: &[DeliveryId],
        only: &[DeliveryStatus],
        now_ms: i64,
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
    ) -> Result<Vec<DeliveryId>> {
        let redrive = self
            .inner
            .redrive(deliveries, only, now_ms, audit, idempotency);
        let taken = self.call_seen(redrive, |watch, taken| watch.redriven(taken, now_ms));
        let taken = taken.await;
        if self.redrives_hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        taken
    }
}

#[async_trait]
impl Nodes for Flaky {
    async fn join(&self, who: &NodeIdentity, now_ms: i64) -> Result<Joined> {
        if self.outside.is_some() {
            // In a simulation on a real store a start is the proof that the one before has ended.
            for node in self.run(self.inner.list_nodes(now_ms)).await? {
                if node.state.is_present() {
                    let ended = self.inner.renew(node.member, false, 0, i64::MIN);
                    self.run(ended).await?;
                }
            }
        }
        let joined = self
            .call_seen(self.inner.join(who, now_ms), |watch, joined| {
                watch.recovered(joined.member.node, now_ms, &joined.recovered);
            })
            .await?;
        *lock(&self.member) = Some(joined.member);
        Ok(joined)
    }
    async fn renew(
        &self,
        member: Membership,
        leaving: bool,
        lease_ms: i64,
        now_ms: i64,
    ) -> Result<bool> {
        self.call(self.inner.renew(member, leaving, lease_ms, now_ms))
            .await
    }
    async fn leave(&self, member: Membership, now_ms: i64) -> Result<Option<Recovered>> {
        self.call_seen(self.inner.leave(member, now_ms), |watch, left| {
            if let Some(left) = left {
                watch.recovered(member.node, now_ms, left);
            }
        })
        .await
    }
    async fn list_nodes(&self, now_ms: i64) -> Result<Vec<NodeInfo>> {
        self.call(self.inner.list_nodes(now_ms)).await
    }
    async fn take_over(&self, dead: Membership, now_ms: i64) -> Result<Option<Recovered>> {
        self.call_seen(self.inner.take_over(dead, now_ms), |watch, taken| {
            if let Some(found) = taken {
                watch.recovered(dead.node, now_ms, found);
            }
        })
        .await
    }
    async fn note_circuits(
        &self,
        notes: &[CircuitNote],
        closed: &[TargetId],
        now_ms: i64,
    ) -> Result<()> {
        self.call(self.inner.note_circuits(notes, closed, now_ms))
            .await
    }
    async fn list_circuits(&self) -> Result<Vec<CircuitNote>> {
        self.call(self.inner.list_circuits()).await
    }
}

#[async_trait]
impl ConfigStore for Flaky {
    async fn load_config_since(&self, since: i64) -> Result<ConfigDiff> {
        if self.loads_fail.load(Ordering::SeqCst) {
            return Err(Fault::Unavailable.error());
        }
        let whole = self.loads_whole.load(Ordering::SeqCst);
        let since = if whole { 0 } else { since };
        self.look(self.inner.load_config_since(since)).await
    }
    async fn config_changed(&self) {
        self.inner.config_changed().await;
    }
    async fn config_version(&self) -> Result<i64> {
        self.call(self.inner.config_version()).await
    }
    async fn apply(
        &self,
        changes: &[Change],
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
        now_ms: i64,
    ) -> Result<i64> {
        self.call(self.inner.apply(changes, audit, idempotency, now_ms))
            .await
    }
    async fn target_names(&self, targets: &[TargetId]) -> Result<Vec<TargetPath>> {
        self.call(self.inner.target_names(targets)).await
    }
    async fn find_targets(
        &self,
        bus: Option<&BusName>,
        rule: Option<&RuleName>,
        target: Option<&TargetName>,
    ) -> Result<Vec<TargetId>> {
        self.call(self.inner.find_targets(bus, rule, target)).await
    }
    async fn bus_names(&self, buses: &[BusId]) -> Result<Vec<(BusId, BusName)>> {
        self.call(self.inner.bus_names(buses)).await
    }
    async fn list_keys(&self) -> Result<Vec<ApiKey>> {
        self.call(self.inner.list_keys()).await
    }
    async fn put_key(
        &self,
        key: &ApiKey,
        audit: &[AuditEntry],
        idempotency: Option<&IdempotencyRecord>,
    ) -> Result<()> {
        self.call(self.inner.put_key(key, audit, idempotency)).await
    }
    async fn list_audit(
        &self,
        before: Option<i64>,
        resource_prefix: &str,
        limit: u32,
    ) -> Result<Vec<AuditRecord>> {
        self.call(self.inner.list_audit(before, resource_prefix, limit))
            .await
    }
    async fn add_audit(&self, audit: &[AuditEntry]) -> Result<()> {
        self.call(self.inner.add_audit(audit)).await
    }
    async fn list_logs(&self) -> Result<Vec<LogInfo>> {
        self.call(self.inner.list_logs()).await
    }
    async fn put_log(
        &self,
        name: &LogName,
        retention_days: u32,
        audit: &[AuditEntry],
    ) -> Result<()> {
        self.call(self.inner.put_log(name, retention_days, audit))
            .await
    }
    async fn get_meta(&self, key: &str) -> Result<Option<String>> {
        self.call(self.inner.get_meta(key)).await
    }
    async fn set_meta(&self, key: &str, value: &str) -> Result<()> {
        self.call(self.inner.set_meta(key, value)).await
    }
}

#[async_trait]
impl History for Flaky {
    async fn list_events(&self, query: &EventQuery) -> Result<Page<EventRecord, EventId>> {
        self.look(self.inner.list_events(query)).await
    }
    async fn find_event(&self, id: EventId) -> Result<Option<EventRecord>> {
        self.look(self.inner.find_event(id)).await
    }
    async fn list_event_deliveries(&self, id: EventId) -> Result<Vec<DeliveryRecord>> {
        self.look(self.inner.list_event_deliveries(id)).await
    }
    async fn list_deliveries(
        &self,
        query: &DeliveryQuery,
    ) -> Result<Page<DeliveryRecord, DeliveryId>> {
        self.look(self.inner.list_deliveries(query)).await
    }
    async fn find_delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
        self.look(self.inner.find_delivery(id)).await
    }
    async fn find_predecessor(&self, id: DeliveryId) -> Result<Option<DeliveryId>> {
        self.look(self.inner.find_predecessor(id)).await
    }
    async fn list_attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>> {
        self.look(self.inner.list_attempts(id)).await
    }
    async fn list_log_entries(
        &self,
        log: &LogName,
        query: &LogQuery,
    ) -> Result<Option<Page<LogEntry, DeliveryId>>> {
        self.look(self.inner.list_log_entries(log, query)).await
    }
}

#[async_trait]
impl Retention for Flaky {
    async fn prepare_days(&self) -> Result<()> {
        self.call(self.inner.prepare_days()).await
    }
    async fn purge_events(&self, before: EventId, events_max: u32) -> Result<Purged> {
        self.call(self.inner.purge_events(before, events_max)).await
    }
    async fn purge_logs(
        &self,
        now_ms: i64,
        idempotency_before_ms: i64,
        rows_max: u32,
    ) -> Result<u64> {
        self.call(
            self.inner
                .purge_logs(now_ms, idempotency_before_ms, rows_max),
        )
        .await
    }
    async fn purge_for_room(&self, before: EventId, events_max: u32) -> Result<Purged> {
        self.call(self.inner.purge_for_room(before, events_max))
            .await
    }
    async fn purge_buses(&self, what: &BusPurge) -> Result<BusPurged> {
        self.call(self.inner.purge_buses(what)).await
    }
    async fn purge_archive(&self, what: &ArchivePurge) -> Result<(u64, u64)> {
        self.call(self.inner.purge_archive(what)).await
    }
    async fn bus_sizes(&self) -> Result<Vec<BusSize>> {
        self.look(self.inner.bus_sizes()).await
    }
    async fn archive_sizes(&self) -> Result<Vec<ArchiveSize>> {
        self.look(self.inner.archive_sizes()).await
    }
}

#[async_trait]
impl Sources for Flaky {
    async fn keep_unparsed(&self, unparsed: &Unparsed, keep: u32) -> Result<()> {
        self.call(self.inner.keep_unparsed(unparsed, keep)).await
    }
    async fn list_unparsed(
        &self,
        source: DocumentId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Unparsed>> {
        self.look(self.inner.list_unparsed(source, before, limit))
            .await
    }
}

#[async_trait]
impl Maintenance for Flaky {
    async fn ping(&self) -> Result<()> {
        self.call(self.inner.ping()).await
    }
    async fn backup(&self, to: &Path) -> Result<()> {
        self.call(self.inner.backup(to)).await
    }
    async fn stats(&self) -> Result<Vec<(String, u64)>> {
        self.call(self.inner.stats()).await
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Replays for Flaky {
    async fn add_replay(
        &self,
        replay: &NewReplay,
        audit: &[AuditEntry],
        answer: Option<ReplayAnswer>,
    ) -> Result<ReplayId> {
        self.call(self.inner.add_replay(replay, audit, answer))
            .await
    }
    async fn purge_replays(&self, before_ms: i64, limit: u32) -> Result<u64> {
        self.call(self.inner.purge_replays(before_ms, limit)).await
    }
    async fn find_replay(&self, id: ReplayId) -> Result<Option<Replay>> {
        self.look(self.inner.find_replay(id)).await
    }
    async fn list_replays(&self, before: Option<ReplayId>, limit: u32) -> Result<Vec<Replay>> {
        self.look(self.inner.list_replays(before, limit)).await
    }
    async fn running_replays(&self, limit: u32) -> Result<Vec<Replay>> {
        self.look(self.inner.running_replays(limit)).await
    }
    async fn set_replay_state(
        &self,
        id: ReplayId,
        from: &[ReplayState],
        to: ReplayState,
        detail: Option<&str>,
        now_ms: i64,
        audit: &[AuditEntry],
    ) -> Result<bool> {
        self.call(
            self.inner
                .set_replay_state(id, from, to, detail, now_ms, audit),
        )
        .await
    }
    async fn claim_replay(
        &self,
        id: ReplayId,
        owner: NodeId,
        now_ms: i64,
        lease_until_ms: i64,
    ) -> Result<bool> {
        self.call(self.inner.claim_replay(id, owner, now_ms, lease_until_ms))
            .await
    }
    async fn read_for_replay(&self, read: &ReplayRead<'_>) -> Result<ReplayPage> {
        self.look(self.inner.read_for_replay(read)).await
    }
    async fn first_for_replay(
        &self,
        archive: Option<ArchiveId>,
        from: EventId,
    ) -> Result<Option<EventId>> {
        self.look(self.inner.first_for_replay(archive, from)).await
    }
}
