//! The plainest store there is: a few maps behind one lock. It says what the engine may rely on, without SQL.
//!
//! Simulations run on it because it is fast, and beside it when they run on a real store: both must answer alike. What
//! the engine never asks for is refused.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use belfry_model::config::{Bus, Document, Rule, Target};
use belfry_model::delivery::{DeliveryStatus, Reason, Trigger};
use belfry_model::replay::ReplayState;
use belfry_model::{
    AlarmId, ArchiveId, BusId, BusName, DeliveryId, DocumentId, EventId, LogName, NodeId, OrderKey,
    ReplayId, RuleId, RuleName, TargetId, TargetName,
};
use belfry_store::{
    AlarmQuery, AlarmRecord, Alarms, ApiKey, ArchivePurge, ArchiveSize, Attempt, AuditEntry,
    AuditRecord, BLOCKED_MS, Backlog, Batch, BusPurge, BusPurged, BusSize, CallBacklog, CallClaim,
    CallRetry, Change, CircuitNote, Claim, Claimed, ClaimedCall, CodeInfo, Config, ConfigDiff,
    ConfigStore, DeliveryQuery, DeliveryQueue, DeliveryRecord, EventFacts, EventKey, EventLog,
    EventQuery, EventRecord, Expect, Freed, Functions, History, IdempotencyRecord, InvocationQuery,
    Joined, LeftBehind, LogEntry, LogInfo, LogQuery, Maintenance, Membership, NewCall, NewEvent,
    NewInvocation, NewLogEntry, NewReplay, NodeIdentity, NodeInfo, NodeState, Nodes, Outcome, Page,
    Pending, Purged, RecentKey, RecentKeys, Recovered, Replay, ReplayAnswer, ReplayPage,
    ReplayRead, Replays, Result, Retention, Sources, StoreError, TargetPath, Told, Unparsed, Usage,
};
use uuid::Uuid;

/// A few maps behind one lock.
#[derive(Default)]
pub(crate) struct Maps(Mutex<Rows>);

/// A node's number and who has it.
struct Seat {
    epoch: i64,
    name: String,
    state: NodeState,
    lease_until_ms: i64,
}

#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) events: BTreeMap<EventId, NewEvent>,
    pub(crate) outcomes: BTreeMap<DeliveryId, Outcome>,
    pub(crate) attempts: BTreeMap<(DeliveryId, u32), Attempt>,
    pub(crate) pending: BTreeMap<DeliveryId, Pending>,
    pub(crate) alarms: BTreeMap<(BusId, String), AlarmRecord>,
    pub(crate) told: BTreeMap<(AlarmId, TargetId), Told>,
    pub(crate) watermarks: BTreeMap<NodeId, EventId>,
    /// Whether there may be several nodes; else a start is the proof that the one before has ended.
    pub(crate) several: bool,
    seats: BTreeMap<NodeId, Seat>,
    circuits: BTreeMap<TargetId, CircuitNote>,
    pub(crate) log_entries: BTreeMap<(LogName, DeliveryId), NewLogEntry>,
    pub(crate) invocations: BTreeMap<Uuid, NewInvocation>,
    idempotency: HashMap<[u8; 32], IdempotencyRecord>,
    strict: HashMap<(BusId, EventKey), EventId>,
    config: Config,
    /// The last number given to a bus, a rule, a target; never given out again.
    ids: [i32; 3],
}

fn unasked<T>() -> Result<T> {
    Err(StoreError::Internal(
        "the engine was not known to ask for this".to_owned(),
    ))
}

impl Maps {
    /// For several nodes at once.
    pub(crate) fn shared() -> Self {
        Self(Mutex::new(Rows {
            several: true,
            ..Rows::default()
        }))
    }

    pub(crate) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    /// Whether a delivery needs nothing more.
    pub(crate) fn has_ended(&self, delivery: DeliveryId) -> bool {
        self.outcomes
            .get(&delivery)
            .is_some_and(|outcome| outcome.status.is_final())
    }

    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<()> {
        if batch
            .events
            .iter()
            .any(|new| self.events.contains_key(&new.id))
        {
            return Err(StoreError::Internal("an event is there already".to_owned()));
        }
        if batch
            .idempotency
            .iter()
            .any(|record| self.idempotency.contains_key(&record.scope))
        {
            return Err(StoreError::IdempotencyConflict);
        }
        for new in &batch.events {
            if let Some(key) = new.key.filter(|_| new.strict) {
                self.strict.entry((new.bus, key)).or_insert(new.id);
            }
            self.events.insert(new.id, new.clone());
        }
        for outcome in &batch.outcomes {
            self.outcomes.insert(outcome.delivery, outcome.clone());
        }
        for attempt in &batch.attempts {
            let key = (attempt.delivery, attempt.number);
            self.attempts.insert(key, attempt.clone());
        }
        for sign in &batch.signs {
            let key = (sign.bus, sign.key.clone());
            let after = AlarmRecord::after(self.alarms.get(&key), sign);
            self.alarms.insert(key, after);
        }
        for told in &batch.told {
            self.told.insert((told.alarm, told.target), told.clone());
        }
        for delivery in &batch.done {
            self.pending.remove(delivery);
        }
        for (delivery, lease_until_ms) in &batch.unclaimed {
            let held = self.pending.get_mut(delivery);
            if let Some(held) = held.filter(|held| held.due_at_ms == *lease_until_ms) {
                held.due_at_ms = BLOCKED_MS;
                held.owner = None;
            }
        }
        for pending in &batch.pending {
            let mut pending = pending.clone();
            let mut others = batch.pending.iter().chain(self.pending.values());
            if others.any(|one| is_before(one, &pending)) {
                pending.due_at_ms = BLOCKED_MS;
            }
            self.pending.insert(pending.delivery, pending);
        }
        for free in &batch.release {
            let first = self.of_key(free.target, free.key).next();
            let first = first.map(|one| one.delivery);
            let first = first.and_then(|delivery| self.pending.get_mut(&delivery));
            if let Some(first) = first.filter(|first| first.due_at_ms == BLOCKED_MS) {
                first.due_at_ms = free.due_at_ms;
            }
        }
        for entry in &batch.log_entries {
            let key = (entry.log.clone(), entry.delivery);
            self.log_entries.entry(key).or_insert_with(|| entry.clone());
        }
        for run in &batch.invocations {
            self.invocations.insert(run.request_id, run.clone());
        }
        for record in &batch.idempotency {
            self.idempotency.insert(record.scope, record.clone());
        }
        if let Some((node, watermark)) = batch.watermark {
            let mark = self.watermarks.entry(node).or_insert(watermark);
            *mark = (*mark).max(watermark);
        }
        Ok(())
    }

    /// What the next start of a node would find unfinished.
    pub(crate) fn unfinished(&self, node: NodeId) -> Vec<DeliveryId> {
        let above = self.watermarks.get(&node).copied();
        self.events
            .values()
            .filter(|new| node_of(new.id) == node && above.is_none_or(|mark| new.id > mark))
            .flat_map(|new| {
                new.fan.iter().map(|target| DeliveryId {
                    event: new.id,
                    target: *target,
                })
            })
            .filter(|id| !self.has_ended(*id) && !self.pending.contains_key(id))
            .collect()
    }

    pub(crate) fn recover(&mut self, node: NodeId, now_ms: i64) -> Recovered {
        let mut found = Recovered {
            newest: self.events.keys().next_back().copied(),
            ..Recovered::default()
        };
        for pending in self.pending.values_mut() {
            if pending.owner == Some(node) {
                pending.owner = None;
                pending.due_at_ms = now_ms;
                found.reclaimed += 1;
            }
        }
        for delivery in self.unfinished(node) {
            let made = self.outcomes.get(&delivery).map_or(0, |one| one.attempts);
            let pending = Pending {
                delivery,
                due_at_ms: now_ms,
                attempts: made,
                attempts_before: 0,
                since_ms: delivery.event.time_ms(),
                trigger: if made > 0 {
                    Trigger::Retry
                } else {
                    Trigger::Initial
                },
                owner: None,
                order: None,
                progress: None,
            };
            self.pending.insert(delivery, pending);
            found.unfinished += 1;
        }
        self.skip_to_newest(node);
        found
    }

    /// Nothing of this number is unfinished.
    fn skip_to_newest(&mut self, node: NodeId) -> Recovered {
        let newest = self.events.keys().next_back().copied();
        if let Some(newest) = newest {
            let mark = self.watermarks.entry(node).or_insert(newest);
            *mark = (*mark).max(newest);
        }
        Recovered {
            newest,
            ..Recovered::default()
        }
    }

    /// The number of a node, unless somebody else has had it since.
    fn seat(&mut self, member: Membership) -> Option<&mut Seat> {
        let seat = self.seats.get_mut(&member.node);
        seat.filter(|seat| seat.epoch == member.epoch)
    }

    pub(crate) fn claim(&mut self, claim: &Claim) -> Vec<Claimed> {
        let mut due: Vec<_> = self
            .pending
            .values()
            .filter(|one| {
                one.delivery.target == claim.target
                    && one.due_at_ms <= claim.until_ms()
                    && !claim.is_held(one.due_at_ms, one.owner)
            })
            .map(|one| (one.due_at_ms, one.delivery))
            .collect();
        due.sort_unstable();
        due.truncate(claim.limit as usize);
        let mut room = Room {
            count: claim.limit as usize,
            bytes: claim.bytes_max,
            any: false,
        };
        let (mut taken, mut found) = (Vec::new(), Vec::<(OrderKey, Vec<DeliveryId>)>::new());
        for (_, delivery) in due {
            if let Some(key) = self.pending.get(&delivery).and_then(|one| one.order) {
                match found.iter_mut().find(|one| one.0 == key) {
                    Some((_, due)) => due.push(delivery),
                    None => found.push((key, vec![delivery])),
                }
            } else if room.take(self.bytes(delivery)) {
                taken.push(delivery);
            } else {
                break;
            }
        }
        let share = room.count / found.len().max(1);
        let run = share.clamp(1, claim.run_max.max(1) as usize);
        for (key, due) in found {
            let first: Vec<_> = self.of_key(claim.target, key).take(run).collect();
            let head = first.first().map(|one| one.delivery);
            let free = |one: &&&Pending| {
                (one.due_at_ms <= claim.until_ms() || one.due_at_ms == BLOCKED_MS)
                    && !claim.is_held(one.due_at_ms, one.owner)
            };
            let from = taken.len();
            for one in first.iter().take_while(free) {
                if !room.take(self.bytes(one.delivery)) {
                    break;
                }
                taken.push(one.delivery);
            }
            for delivery in due {
                let stays = !taken[from..].contains(&delivery) && Some(delivery) != head;
                if let Some(one) = self.pending.get_mut(&delivery).filter(|_| stays) {
                    one.due_at_ms = BLOCKED_MS;
                    one.owner = None;
                }
            }
        }
        taken
            .into_iter()
            .filter_map(|delivery| {
                let new = self.events.get(&delivery.event)?;
                let pending = self.pending.get_mut(&delivery)?;
                pending.due_at_ms = claim.lease_until_ms;
                pending.owner = Some(claim.owner);
                Some(Claimed {
                    pending: pending.clone(),
                    bus: new.bus,
                    event: new.event.clone(),
                    trace_id: new.trace_id.clone(),
                    replay: new.replay,
                })
            })
            .collect()
    }

    /// The work of a key, in its order.
    fn of_key(&self, target: TargetId, key: OrderKey) -> impl Iterator<Item = &Pending> {
        let all = self.pending.values();
        all.filter(move |one| one.delivery.target == target && one.order == Some(key))
    }

    fn bytes(&self, delivery: DeliveryId) -> u64 {
        let new = self.events.get(&delivery.event);
        new.map_or(0, |new| new.event.doc().len() as u64)
    }

    pub(crate) fn redrive(
        &mut self,
        deliveries: &[DeliveryId],
        only: &[DeliveryStatus],
        now_ms: i64,
    ) -> Vec<DeliveryId> {
        let mut taken = Vec::new();
        for delivery in deliveries {
            let stored = self.events.contains_key(&delivery.event);
            let Some(outcome) = self.outcomes.get_mut(delivery) else {
                continue;
            };
            let asked = only.is_empty() || only.contains(&outcome.status);
            if !stored || !asked || !outcome.status.is_final() {
                continue;
            }
            outcome.status = DeliveryStatus::Queued;
            outcome.reason = Some(Reason::Redriven);
            outcome.detail = None;
            outcome.at_ms = now_ms;
            let pending = Pending {
                delivery: *delivery,
                due_at_ms: now_ms,
                attempts: outcome.attempts,
                attempts_before: outcome.attempts,
                since_ms: now_ms,
                trigger: Trigger::Redrive,
                owner: None,
                order: None,
                progress: None,
            };
            self.pending.insert(*delivery, pending);
            taken.push(*delivery);
        }
        taken
    }

    fn id(&mut self, of: usize) -> i32 {
        self.ids[of] += 1;
        self.ids[of]
    }

    fn bus(&self, name: &BusName) -> Result<BusId> {
        let found = self.config.buses.iter().find(|bus| bus.name == *name);
        found.map(|bus| bus.id).ok_or(StoreError::NotFound("bus"))
    }

    fn rule(&self, bus: &BusName, name: &RuleName) -> Result<RuleId> {
        let bus = self.bus(bus)?;
        let mut rules = self.config.rules.iter();
        rules
            .find(|rule| rule.bus == bus && rule.name == *name)
            .map(|rule| rule.id)
            .ok_or(StoreError::NotFound("rule"))
    }

    fn apply(&mut self, change: &Change, now_ms: i64) -> Result<()> {
        match change {
            Change::PutBus { name, spec, .. } => {
                let bus = Bus {
                    id: BusId(self.id(0)),
                    name: name.clone(),
                    spec: spec.clone(),
                    revision: 1,
                    created_at_ms: now_ms,
                    updated_at_ms: now_ms,
                };
                self.config.buses.push(bus);
            }
            Change::PutRule {
                bus, name, spec, ..
            } => {
                let rule = Rule {
                    id: RuleId(self.id(1)),
                    bus: self.bus(bus)?,
                    name: name.clone(),
                    spec: spec.clone(),
                    revision: 1,
                    created_at_ms: now_ms,
                    updated_at_ms: now_ms,
                };
                self.config.rules.push(rule);
            }
            Change::PutTarget {
                bus,
                rule,
                name,
                spec,
                expect,
            } => {
                let (rule_id, bus_id) = (self.rule(bus, rule)?, self.bus(bus)?);
                let next = TargetId(self.ids[2] + 1);
                let mut targets = self.config.targets.iter_mut();
                let known = targets.find(|one| one.rule == rule_id && one.name == *name);
                match (known, expect) {
                    (None, Expect::Absent) => {
                        let target = Target {
                            id: next,
                            rule: rule_id,
                            bus: bus_id,
                            name: name.clone(),
                            spec: (**spec).clone(),
                            disabled: None,
                            revision: 1,
                            created_at_ms: now_ms,
                            updated_at_ms: now_ms,
                        };
                        self.config.targets.push(target);
                        self.ids[2] = next.0;
                    }
                    (Some(target), Expect::Revision(revision)) if target.revision == *revision => {
                        target.spec = (**spec).clone();
                        target.disabled = None;
                        target.revision += 1;
                        target.updated_at_ms = now_ms;
                    }
                    _ => return Err(StoreError::Conflict),
                }
            }
            Change::DeleteTarget {
                bus,
                rule,
                name,
                revision,
            } => {
                let rule = self.rule(bus, rule)?;
                let before = self.config.targets.len();
                self.config.targets.retain(|one| {
                    one.rule != rule || one.name != *name || one.revision != *revision
                });
                if self.config.targets.len() == before {
                    return Err(StoreError::Conflict);
                }
            }
            Change::DisableTarget { target, disabled } => {
                let mut targets = self.config.targets.iter_mut();
                let found = targets.find(|one| one.id == *target);
                let target = found.ok_or(StoreError::NotFound("target"))?;
                target.disabled.clone_from(disabled);
                target.revision += 1;
                target.updated_at_ms = now_ms;
            }
            Change::PutDocument { place, spec, .. } => {
                let bus = place.bus.as_ref().map(|bus| self.bus(bus)).transpose()?;
                let number = self.config.documents.len() + 1;
                let document = Document {
                    id: DocumentId(i32::try_from(number).unwrap()),
                    kind: place.kind.clone(),
                    bus,
                    name: place.name.clone(),
                    spec: spec.clone(),
                    revision: 1,
                    created_at_ms: now_ms,
                    updated_at_ms: now_ms,
                };
                self.config.documents.push(document);
            }
            _ => return unasked(),
        }
        Ok(())
    }

    fn record(&self, id: DeliveryId) -> Option<DeliveryRecord> {
        let new = self.events.get(&id.event)?;
        let outcome = self.outcomes.get(&id).cloned().unwrap_or_else(|| Outcome {
            delivery: id,
            status: DeliveryStatus::Queued,
            attempts: 0,
            status_code: None,
            duration_ms: 0,
            at_ms: id.event.time_ms(),
            reason: None,
            detail: None,
        });
        Some(DeliveryRecord {
            outcome,
            due_at_ms: self
                .pending
                .get(&id)
                .map(|one| one.due_at_ms)
                .filter(|due| *due != BLOCKED_MS),
            bus: new.bus,
            event: facts(new),
            trace_id: new.trace_id.clone(),
            replay: new.replay,
        })
    }
}

/// What a claim may still take; the first item is taken however big.
struct Room {
    count: usize,
    bytes: u64,
    any: bool,
}

impl Room {
    fn take(&mut self, bytes: u64) -> bool {
        let takes = self.count > 0 && (!self.any || bytes <= self.bytes);
        if takes {
            self.count -= 1;
            self.bytes = self.bytes.saturating_sub(bytes);
            self.any = true;
        }
        takes
    }
}

/// Whether `one` comes before `other` in the order of their key.
fn is_before(one: &Pending, other: &Pending) -> bool {
    one.order.is_some()
        && one.order == other.order
        && one.delivery.target == other.delivery.target
        && one.delivery.event < other.delivery.event
}

pub(crate) fn node_of(id: EventId) -> NodeId {
    NodeId(u8::try_from((id.get() >> 14) & 255).unwrap_or(0))
}

fn facts(new: &NewEvent) -> EventFacts {
    EventFacts {
        id: new.event.id().to_owned(),
        source: new.event.source().to_owned(),
        kind: new.event.kind().to_owned(),
        subject: new.event.subject().map(str::to_owned),
    }
}

#[async_trait]
impl Nodes for Maps {
    async fn join(&self, who: &NodeIdentity, now_ms: i64) -> Result<Joined> {
        let mut rows = self.rows();
        let rows = &mut *rows;
        let mut numbers = (0..=u8::MAX).map(NodeId);
        let free = |node: &NodeId| {
            rows.seats.get(node).is_none_or(|seat| {
                !rows.several
                    || !seat.state.is_present()
                    || (seat.lease_until_ms <= now_ms && seat.name == who.name)
            })
        };
        let node = numbers.find(free).unwrap();
        let before = rows.seats.get(&node);
        let left = before.is_none_or(|seat| !seat.state.is_present());
        let epoch = before.map_or(0, |seat| seat.epoch) + 1;
        let seat = Seat {
            epoch,
            name: who.name.clone(),
            state: NodeState::Live,
            lease_until_ms: now_ms.saturating_add(who.lease_ms),
        };
        rows.seats.insert(node, seat);
        let recovered = if left && rows.several {
            rows.skip_to_newest(node)
        } else {
            rows.recover(node, now_ms)
        };
        let member = Membership { node, epoch };
        Ok(Joined { member, recovered })
    }
    async fn renew(
        &self,
        member: Membership,
        leaving: bool,
        lease_ms: i64,
        now_ms: i64,
    ) -> Result<bool> {
        let mut rows = self.rows();
        let seat = rows.seat(member);
        Ok(seat.is_some_and(|seat| {
            seat.lease_until_ms = now_ms.saturating_add(lease_ms);
            seat.state = if leaving {
                NodeState::Leaving
            } else {
                NodeState::Live
            };
            true
        }))
    }
    async fn leave(&self, member: Membership, now_ms: i64) -> Result<Option<Recovered>> {
        let mut rows = self.rows();
        let Some(seat) = rows.seat(member) else {
            return Ok(None);
        };
        seat.epoch += 1;
        seat.state = NodeState::Left;
        Ok(Some(rows.recover(member.node, now_ms)))
    }
    async fn list_nodes(&self, now_ms: i64) -> Result<Vec<NodeInfo>> {
        let rows = self.rows();
        let seats = rows.seats.iter().filter(|_| rows.several);
        let info = |(node, seat): (&NodeId, &Seat)| NodeInfo {
            member: Membership {
                node: *node,
                epoch: seat.epoch,
            },
            name: seat.name.clone(),
            version: String::new(),
            state: seat.state,
            lease_left_ms: seat.lease_until_ms.saturating_sub(now_ms),
            started_at_ms: 0,
            watermark: rows
                .watermarks
                .get(node)
                .copied()
                .unwrap_or(EventId::first_at(0)),
        };
        Ok(seats.map(info).collect())
    }
    async fn take_over(&self, dead: Membership, now_ms: i64) -> Result<Option<Recovered>> {
        let mut rows = self.rows();
        let seat = rows.seat(dead);
        let Some(seat) = seat.filter(|seat| seat.lease_until_ms <= now_ms) else {
            return Ok(None);
        };
        seat.epoch += 1;
        seat.state = NodeState::Dead;
        Ok(Some(rows.recover(dead.node, now_ms)))
    }
    async fn note_circuits(
        &self,
        notes: &[CircuitNote],
        closed: &[TargetId],
        _now_ms: i64,
    ) -> Result<()> {
        let circuits = &mut self.rows().circuits;
        circuits.extend(notes.iter().map(|note| (note.target, *note)));
        circuits.retain(|target, _| !closed.contains(target));
        Ok(())
    }
    async fn list_circuits(&self) -> Result<Vec<CircuitNote>> {
        Ok(self.rows().circuits.values().copied().collect())
    }
}

#[async_trait]
impl EventLog for Maps {
    fn commits_one_by_one(&self) -> bool {
        true
    }
    async fn commit(&self, batch: &Batch) -> Result<()> {
        let mut rows = self.rows();
        if batch.by.is_some_and(|by| rows.seat(by).is_none()) {
            return Err(StoreError::Fenced);
        }
        rows.commit(batch)
    }
    async fn event_ids_after(&self, after: EventId, limit: u32) -> Result<Vec<EventId>> {
        let rows = self.rows();
        let later = rows
            .events
            .range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
        Ok(later.take(limit as usize).map(|(id, _)| *id).collect())
    }
    async fn recent_keys(&self, after: EventId, before: EventId, _max: u32) -> Result<RecentKeys> {
        let rows = self.rows();
        let among = (
            std::ops::Bound::Excluded(after),
            std::ops::Bound::Excluded(before),
        );
        let recent = rows.events.range(among).filter_map(|(id, new)| {
            Some(RecentKey {
                id: *id,
                bus: new.bus,
                key: new.key?,
            })
        });
        Ok(RecentKeys {
            keys: recent.collect(),
            next: None,
        })
    }
    async fn purge_keys(&self, _before: EventId, _commits_max: u32) -> Result<u64> {
        Ok(0)
    }
    async fn find_strict(&self, keys: &[(BusId, EventKey)]) -> Result<Vec<Option<EventId>>> {
        let rows = self.rows();
        Ok(keys
            .iter()
            .map(|key| rows.strict.get(key).copied())
            .collect())
    }
    async fn find_idempotency(&self, scope: &[u8; 32]) -> Result<Option<IdempotencyRecord>> {
        Ok(self.rows().idempotency.get(scope).cloned())
    }
    async fn usage(&self) -> Result<Usage> {
        let rows = self.rows();
        Ok(Usage {
            oldest_event: rows.events.keys().next().copied(),
            newest_event: rows.events.keys().next_back().copied(),
            ..Usage::default()
        })
    }
}

#[async_trait]
impl Retention for Maps {
    async fn prepare_days(&self) -> Result<()> {
        Ok(())
    }
    async fn purge_events(&self, before: EventId, _events_max: u32) -> Result<Purged> {
        if self
            .rows()
            .events
            .keys()
            .next()
            .is_some_and(|oldest| *oldest < before)
        {
            return unasked();
        }
        Ok(Purged::default())
    }
    async fn purge_for_room(&self, _before: EventId, _events_max: u32) -> Result<Purged> {
        unasked()
    }
    async fn purge_buses(&self, _what: &BusPurge) -> Result<BusPurged> {
        unasked()
    }
    async fn purge_archive(&self, _what: &ArchivePurge) -> Result<(u64, u64)> {
        unasked()
    }
    async fn purge_logs(&self, _now_ms: i64, _before_ms: i64, _rows_max: u32) -> Result<u64> {
        Ok(0)
    }
    async fn bus_sizes(&self) -> Result<Vec<BusSize>> {
        unasked()
    }
    async fn archive_sizes(&self) -> Result<Vec<ArchiveSize>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Alarms for Maps {
    async fn find_told(
        &self,
        bus: BusId,
        key: &str,
        target: TargetId,
    ) -> Result<Option<(AlarmRecord, Option<Told>)>> {
        let rows = self.rows();
        let alarm = rows.alarms.get(&(bus, key.to_owned())).cloned();
        Ok(alarm.map(|alarm| {
            let told = rows.told.get(&(alarm.id, target)).cloned();
            (alarm, told)
        }))
    }
    async fn find_alarm(&self, _id: AlarmId) -> Result<Option<AlarmRecord>> {
        unasked()
    }
    async fn list_told(&self, _ids: &[AlarmId]) -> Result<Vec<Told>> {
        unasked()
    }
    async fn list_alarms(&self, _query: &AlarmQuery) -> Result<Page<AlarmRecord, EventId>> {
        unasked()
    }
    async fn purge_alarms(&self, _before: EventId, _alarms_max: u32) -> Result<u64> {
        Ok(0)
    }
}

#[async_trait]
impl Functions for Maps {
    async fn put_code(&self, _sha256: &[u8; 32], _bytes: &[u8], _now_ms: i64) -> Result<()> {
        unasked()
    }
    async fn read_code(&self, _sha256: &[u8; 32]) -> Result<Option<Vec<u8>>> {
        unasked()
    }
    async fn list_codes(&self) -> Result<Vec<CodeInfo>> {
        unasked()
    }
    async fn delete_codes(&self, _sha256s: &[[u8; 32]], _before_ms: i64) -> Result<u64> {
        unasked()
    }
    async fn put_invocations(&self, _invocations: &[NewInvocation]) -> Result<()> {
        unasked()
    }
    async fn find_invocation(&self, _request_id: Uuid) -> Result<Option<NewInvocation>> {
        unasked()
    }
    async fn list_invocations(
        &self,
        _query: &InvocationQuery,
    ) -> Result<Page<NewInvocation, Uuid>> {
        unasked()
    }
    async fn purge_invocations(&self, _before_ms: i64, _invocations_max: u32) -> Result<u64> {
        Ok(0)
    }
    async fn free_functions(&self, _node: NodeId, _lost: &str, _now_ms: i64) -> Result<LeftBehind> {
        unasked()
    }
    async fn put_call(&self, _call: &NewCall) -> Result<()> {
        unasked()
    }
    async fn claim_calls(&self, _claim: &CallClaim) -> Result<Vec<ClaimedCall>> {
        unasked()
    }
    async fn finish_call(&self, _id: Uuid, _invocation: &NewInvocation) -> Result<()> {
        unasked()
    }
    async fn retry_call(
        &self,
        _retry: &CallRetry,
        _invocation: Option<&NewInvocation>,
    ) -> Result<()> {
        unasked()
    }
    async fn call_backlog(&self) -> Result<CallBacklog> {
        unasked()
    }
}

#[async_trait]
impl DeliveryQueue for Maps {
    async fn claim_due(&self, claim: &Claim) -> Result<Vec<Claimed>> {
        Ok(self.rows().claim(claim))
    }
    async fn next_due(&self, targets: &[TargetId]) -> Result<Vec<(TargetId, i64)>> {
        let rows = self.rows();
        let due = |target: &TargetId| {
            let its = rows.pending.values();
            its.filter(|one| one.delivery.target == *target && one.due_at_ms != BLOCKED_MS)
                .map(|one| one.due_at_ms)
                .min()
        };
        Ok(targets
            .iter()
            .filter_map(|target| due(target).map(|at_ms| (*target, at_ms)))
            .collect())
    }
    async fn free_stuck(
        &self,
        _after: Option<DeliveryId>,
        _rows_max: u32,
        _now_ms: i64,
    ) -> Result<Freed> {
        Ok(Freed::default())
    }
    async fn targets_with_pending(&self) -> Result<Vec<TargetId>> {
        let rows = self.rows();
        let mut targets: Vec<_> = rows.pending.keys().map(|id| id.target).collect();
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    }
    async fn backlog(&self, _count_max: u32) -> Result<Vec<Backlog>> {
        Ok(Vec::new())
    }
    async fn redrive(
        &self,
        deliveries: &[DeliveryId],
        only: &[DeliveryStatus],
        now_ms: i64,
        _audit: &[AuditEntry],
        _idempotency: Option<&IdempotencyRecord>,
    ) -> Result<Vec<DeliveryId>> {
        Ok(self.rows().redrive(deliveries, only, now_ms))
    }
}

#[async_trait]
impl ConfigStore for Maps {
    async fn load_config_since(&self, _since: i64) -> Result<ConfigDiff> {
        Ok(ConfigDiff {
            made: self.rows().config.clone(),
            whole: true,
            ..ConfigDiff::default()
        })
    }
    async fn config_changed(&self) {
        std::future::pending::<()>().await;
    }
    async fn config_version(&self) -> Result<i64> {
        Ok(self.rows().config.version)
    }
    async fn apply(
        &self,
        changes: &[Change],
        _audit: &[AuditEntry],
        _idempotency: Option<&IdempotencyRecord>,
        now_ms: i64,
    ) -> Result<i64> {
        let mut rows = self.rows();
        for change in changes {
            rows.apply(change, now_ms)?;
        }
        rows.config.version += 1;
        Ok(rows.config.version)
    }
    async fn target_names(&self, _targets: &[TargetId]) -> Result<Vec<TargetPath>> {
        unasked()
    }
    async fn find_targets(
        &self,
        _bus: Option<&BusName>,
        _rule: Option<&RuleName>,
        _target: Option<&TargetName>,
    ) -> Result<Vec<TargetId>> {
        unasked()
    }
    async fn bus_names(&self, _buses: &[BusId]) -> Result<Vec<(BusId, BusName)>> {
        unasked()
    }
    async fn list_keys(&self) -> Result<Vec<ApiKey>> {
        unasked()
    }
    async fn put_key(
        &self,
        _key: &ApiKey,
        _audit: &[AuditEntry],
        _idempotency: Option<&IdempotencyRecord>,
    ) -> Result<()> {
        unasked()
    }
    async fn list_audit(
        &self,
        _before: Option<i64>,
        _resource_prefix: &str,
        _limit: u32,
    ) -> Result<Vec<AuditRecord>> {
        unasked()
    }
    async fn add_audit(&self, _audit: &[AuditEntry]) -> Result<()> {
        unasked()
    }
    async fn list_logs(&self) -> Result<Vec<LogInfo>> {
        unasked()
    }
    async fn put_log(&self, _name: &LogName, _days: u32, _audit: &[AuditEntry]) -> Result<()> {
        unasked()
    }
    async fn get_meta(&self, _key: &str) -> Result<Option<String>> {
        unasked()
    }
    async fn set_meta(&self, _key: &str, _value: &str) -> Result<()> {
        unasked()
    }
}

#[async_trait]
impl History for Maps {
    async fn list_events(&self, _query: &EventQuery) -> Result<Page<EventRecord, EventId>> {
        unasked()
    }
    async fn find_event(&self, _id: EventId) -> Result<Option<EventRecord>> {
        unasked()
    }
    async fn list_event_deliveries(&self, _id: EventId) -> Result<Vec<DeliveryRecord>> {
        unasked()
    }
    async fn list_deliveries(
        &self,
        query: &DeliveryQuery,
    ) -> Result<Page<DeliveryRecord, DeliveryId>> {
        let rows = self.rows();
        let asked = |outcome: &&Outcome| {
            let (id, targets) = (outcome.delivery, query.targets.as_deref());
            targets.is_none_or(|targets| targets.contains(&id.target))
                && query.statuses.contains(&outcome.status)
                && query
                    .until_ms
                    .is_none_or(|until| id.event.time_ms() < until)
        };
        let newest_first = rows.outcomes.values().rev().filter(asked);
        Ok(Page {
            items: newest_first
                .take(query.limit as usize)
                .filter_map(|outcome| rows.record(outcome.delivery))
                .collect(),
            next: None,
        })
    }
    async fn find_delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
        Ok(self.rows().record(id))
    }
    async fn find_predecessor(&self, _id: DeliveryId) -> Result<Option<DeliveryId>> {
        Ok(None)
    }
    async fn list_attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>> {
        let rows = self.rows();
        let its = rows.attempts.range((id, 0)..=(id, u32::MAX));
        Ok(its.map(|(_, attempt)| attempt.clone()).collect())
    }
    async fn list_log_entries(
        &self,
        _log: &LogName,
        _query: &LogQuery,
    ) -> Result<Option<Page<LogEntry, DeliveryId>>> {
        unasked()
    }
}

#[async_trait]
impl Sources for Maps {
    async fn keep_unparsed(&self, _unparsed: &Unparsed, _keep: u32) -> Result<()> {
        unasked()
    }
    async fn list_unparsed(
        &self,
        _source: DocumentId,
        _before: Option<i64>,
        _limit: u32,
    ) -> Result<Vec<Unparsed>> {
        unasked()
    }
}

#[async_trait]
impl Maintenance for Maps {
    async fn ping(&self) -> Result<()> {
        Ok(())
    }
    async fn backup(&self, _to: &Path) -> Result<()> {
        unasked()
    }
    async fn stats(&self) -> Result<Vec<(String, u64)>> {
        unasked()
    }
    async fn close(&self) {}
}

/// There are no replays here.
#[async_trait]
impl Replays for Maps {
    async fn add_replay(
        &self,
        _replay: &NewReplay,
        _audit: &[AuditEntry],
        _answer: Option<ReplayAnswer>,
    ) -> Result<ReplayId> {
        unasked()
    }
    async fn purge_replays(&self, _before_ms: i64, _limit: u32) -> Result<u64> {
        Ok(0)
    }
    async fn find_replay(&self, _id: ReplayId) -> Result<Option<Replay>> {
        Ok(None)
    }
    async fn list_replays(&self, _before: Option<ReplayId>, _limit: u32) -> Result<Vec<Replay>> {
        Ok(Vec::new())
    }
    async fn running_replays(&self, _limit: u32) -> Result<Vec<Replay>> {
        Ok(Vec::new())
    }
    async fn set_replay_state(
        &self,
        _id: ReplayId,
        _from: &[ReplayState],
        _to: ReplayState,
        _detail: Option<&str>,
        _now_ms: i64,
        _audit: &[AuditEntry],
    ) -> Result<bool> {
        unasked()
    }
    async fn claim_replay(
        &self,
        _id: ReplayId,
        _owner: NodeId,
        _now_ms: i64,
        _lease_until_ms: i64,
    ) -> Result<bool> {
        unasked()
    }
    async fn read_for_replay(&self, _read: &ReplayRead<'_>) -> Result<ReplayPage> {
        unasked()
    }
    async fn first_for_replay(
        &self,
        _archive: Option<ArchiveId>,
        _from: EventId,
    ) -> Result<Option<EventId>> {
        unasked()
    }
}
