//! Replays: stored events go onto their bus again, or to some of its targets.
//!
//! The engine does the work; here a request becomes a plan with nothing left to interpret, and a row becomes a view.
//! A redrive is another thing: it makes one and the same delivery again, and no new event.

use std::sync::Arc;

use belfry_engine::{IdempotencyKey, ReplayError};
use belfry_model::access::Scope;
use belfry_model::json::JsonText;
use belfry_model::replay::{
    EVENTS_MAX, RATE_MAX, RULES_MAX, ReplayPlan, ReplayState, ReplayTarget,
};
use belfry_model::{ArchiveName, BusName, EventId, ReplayId, RuleName};
use belfry_pattern::Pattern;
use belfry_store::{NewReplay, Replay, ReplayAnswer, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::App;
use crate::actor::Actor;
use crate::config::pattern_faults;
use crate::cursor::{self, Listing, PageRequest};
use crate::error::{Code, Error, Fault, Result};
use crate::idempotency::{Answered, sealed};
use crate::input;
use crate::time::{Stamp, read_span};

/// Longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = belfry_model::config::DESCRIPTION_BYTES_MAX;

/// What to replay.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StartReplay {
    /// For people.
    #[serde(default)]
    #[schema(required = false)]
    pub description: String,
    /// Where the events are read.
    pub from: ReplaySource,
    /// Accepted at or after this time (RFC 3339, or back from now such as `-1h`); absent: from the oldest on.
    #[schema(required = false, examples("-1h"))]
    pub since: Option<String>,
    /// Accepted before this time; absent, or later: up to the start of the replay.
    #[schema(required = false)]
    pub until: Option<String>,
    /// Only events that match this pattern.
    #[schema(value_type = Option<Object>, required = false, examples(json!({"type": ["disk.full"]})))]
    pub pattern: Option<JsonText>,
    /// Only these events (1 to 1,000).
    #[schema(required = false, examples(json!(["evt_01jd0c4z8k000"])))]
    pub event_uids: Option<Vec<String>>,
    /// Only to targets of these rules, as they are when an event is put back (1 to 100); absent: all rules of the bus.
    #[schema(value_type = Option<Vec<String>>, required = false)]
    pub rules: Option<Vec<RuleName>>,
    /// Only to this target. Its rule has to match.
    #[schema(required = false)]
    pub to: Option<ReplayTo>,
    /// Most events put back in a second (1 to 100,000); absent: the server's `limits.replay_rate`.
    #[schema(required = false)]
    pub rate_per_second: Option<u32>,
}

/// Where a replay reads its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplaySource {
    /// Events that were posted to this bus.
    #[schema(value_type = String, examples("default"))]
    pub bus: BusName,
    /// Of these, the copies in this archive of the bus; absent: the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, examples("orders"))]
    pub archive: Option<ArchiveName>,
}

/// The one target of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplayTo {
    /// Its rule.
    #[schema(value_type = String, examples("disk-full"))]
    pub rule: RuleName,
    /// Its name.
    #[schema(value_type = String, examples("on-call"))]
    pub target: belfry_model::TargetName,
}

/// How many events a replay would put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReplayCount)]
pub struct ReplayCountView {
    /// Events it would put back.
    pub count: u64,
    /// Whether `count` is exact; else the server has stopped counting, and it is a lower bound.
    pub exact: bool,
    /// Events looked at.
    pub looked_at: u64,
    /// Always true: nothing was started.
    pub dry_run: bool,
}

/// A replay, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Replay)]
pub struct ReplayView {
    /// Its id; events and deliveries of it name it.
    #[schema(value_type = String, examples("rpl_0000001"))]
    pub id: ReplayId,
    /// `running`, `paused`, `cancelled`, `completed` or `failed`.
    #[schema(value_type = String, examples("running"))]
    pub state: ReplayState,
    /// For people.
    pub description: String,
    /// Where the events are read.
    pub from: ReplaySource,
    /// Accepted at or after.
    pub since: Stamp,
    /// Accepted before.
    pub until: Stamp,
    /// Only events that match this pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub pattern: Option<JsonText>,
    /// Only these events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, required = false)]
    pub event_uids: Option<Vec<EventId>>,
    /// Only to targets of these rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, required = false)]
    pub rules: Option<Vec<RuleName>>,
    /// Only to this target.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub to: Option<ReplayTo>,
    /// Most events put back in a second.
    pub rate_per_second: u32,
    /// Events of the bus looked at so far.
    pub looked_at: u64,
    /// Events put back so far.
    pub replayed: u64,
    /// How much of the time span has been looked at, 0 to 100.
    pub percent: u8,
    /// About how long it will take at the pace so far; absent while that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub eta_seconds: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub error: Option<String>,
    /// Who started it.
    pub created_by: String,
    /// When it was started.
    pub created_at: Stamp,
    /// When it last moved.
    pub updated_at: Stamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub ended_at: Option<Stamp>,
}

impl From<Replay> for ReplayView {
    fn from(replay: Replay) -> Self {
        let (percent, eta_seconds) = progress(&replay);
        let plan = replay.plan;
        Self {
            id: replay.id,
            state: replay.state,
            description: plan.description,
            from: ReplaySource {
                bus: plan.bus_name,
                archive: plan.archive.map(|(_, name)| name),
            },
            since: Stamp(plan.low.time_ms()),
            until: Stamp(plan.high.time_ms()),
            pattern: plan.pattern,
            event_uids: plan.events,
            rules: plan.rules,
            to: plan.to.map(|to| ReplayTo {
                rule: to.rule,
                target: to.target,
            }),
            rate_per_second: plan.rate_per_second,
            looked_at: replay.looked_at,
            replayed: replay.replayed,
            percent,
            eta_seconds,
            error: replay.detail,
            created_by: replay.created_by,
            created_at: Stamp(replay.created_at_ms),
            updated_at: Stamp(replay.updated_at_ms),
            ended_at: replay.ended_at_ms.map(Stamp),
        }
    }
}

/// How much of it is done by the events' times, and how long the rest takes if it goes on like that.
fn progress(replay: &Replay) -> (u8, Option<u64>) {
    if replay.state == ReplayState::Completed {
        return (100, None);
    }
    let (low, high) = (replay.plan.low.time_ms(), replay.plan.high.time_ms());
    let all = high.saturating_sub(low).max(1);
    let done = replay.cursor.time_ms().saturating_sub(low).clamp(0, all);
    let percent = u8::try_from(i128::from(done) * 100 / i128::from(all)).unwrap_or(100);
    let took = replay.updated_at_ms.saturating_sub(replay.created_at_ms);
    let eta = (replay.state == ReplayState::Running && percent > 0 && took > 0).then(|| {
        let left = i128::from(took) * i128::from(all - done) / i128::from(done.max(1));
        u64::try_from(left / 1000).unwrap_or(u64::MAX)
    });
    (percent.min(99), eta)
}

impl App {
    /// Replays, newest first.
    pub async fn list_replays(
        &self,
        actor: &Actor,
        page: &PageRequest,
    ) -> Result<Listing<ReplayView>> {
        actor.require(&Scope::HistoryRead)?;
        let (limit, before) = (page.limit()?, page.after('r')?);
        let mut found = self.store.list_replays(before, limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| cursor::write('r', &last.id));
        Ok(Listing {
            items: found.into_iter().map(ReplayView::from).collect(),
            next,
            partial: false,
        })
    }

    /// One replay.
    pub async fn get_replay(&self, actor: &Actor, id: ReplayId) -> Result<ReplayView> {
        actor.require(&Scope::HistoryRead)?;
        self.replay_view(id).await
    }

    async fn replay_view(&self, id: ReplayId) -> Result<ReplayView> {
        let found = self.store.find_replay(id).await?;
        found
            .map(ReplayView::from)
            .ok_or_else(|| Error::not_found("replay", &id))
    }

    /// Counts what a replay would put back.
    pub async fn count_replay(&self, actor: &Actor, body: &[u8]) -> Result<ReplayCountView> {
        actor.require(&Scope::Admin)?;
        let plan = self.replay_plan(input::read(body)?).await?;
        let counted = self
            .engine
            .count_replay(&plan, u64::from(self.settings.scan_max))
            .await
            .map_err(impossible)?;
        Ok(ReplayCountView {
            count: counted.events,
            exact: counted.exact,
            looked_at: counted.looked_at,
            dry_run: true,
        })
    }

    /// Starts a replay.
    pub async fn start_replay(
        &self,
        actor: &Actor,
        body: &[u8],
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Answered<ReplayView>> {
        actor.require(&Scope::Admin)?;
        let _guard = self.enter(idempotency)?;
        if let Some(value) = self.replay(idempotency).await? {
            return Ok(Answered {
                value,
                replayed: true,
            });
        }
        let plan = self.replay_plan(input::read(body)?).await?;
        self.engine.check_replay(&plan).map_err(impossible)?;
        self.room_for_replay().await?;
        let new = NewReplay {
            cursor: EventId::from_stored(plan.low.get() - 1),
            plan,
            created_by: actor.label(),
            at_ms: self.now_ms(),
        };
        let audit = self.audit(actor, "replay.start", "replays", None, Some(&new.plan))?;
        let answer = idempotency.map(|key| self.answer_for(*key, new.clone()));
        let id = self.store.add_replay(&new, &[audit], answer).await?;
        self.engine.wake_replays();
        self.replay_view(id).await.map(Answered::new)
    }

    /// What the same request is told when it comes again: the replay as it was when it began.
    fn answer_for(&self, key: IdempotencyKey, new: NewReplay) -> ReplayAnswer {
        let sealer = Arc::clone(&self.sealer);
        Arc::new(move |id| {
            let begun = ReplayView::from(Replay {
                id,
                plan: new.plan.clone(),
                state: ReplayState::Running,
                cursor: new.cursor,
                looked_at: 0,
                replayed: 0,
                detail: None,
                owner: None,
                lease_until_ms: 0,
                created_by: new.created_by.clone(),
                created_at_ms: new.at_ms,
                updated_at_ms: new.at_ms,
                ended_at_ms: None,
            });
            sealed(&sealer, &key, &begun, new.at_ms)
                .map_err(|error| StoreError::Internal(error.to_string()))
        })
    }

    /// Makes a running replay wait.
    pub async fn pause_replay(&self, actor: &Actor, id: ReplayId) -> Result<ReplayView> {
        self.turn_replay(
            actor,
            id,
            "replay.pause",
            &[ReplayState::Running],
            ReplayState::Paused,
        )
        .await
    }

    /// Lets a paused replay go on.
    pub async fn resume_replay(&self, actor: &Actor, id: ReplayId) -> Result<ReplayView> {
        actor.require(&Scope::Admin)?;
        if self.replay_view(id).await?.state == ReplayState::Paused {
            self.room_for_replay().await?;
        }
        let from = [ReplayState::Paused];
        let view = self
            .turn_replay(actor, id, "replay.resume", &from, ReplayState::Running)
            .await?;
        self.engine.wake_replays();
        Ok(view)
    }

    /// Ends a replay. What it has put back stays.
    pub async fn cancel_replay(&self, actor: &Actor, id: ReplayId) -> Result<ReplayView> {
        let from = [ReplayState::Running, ReplayState::Paused];
        self.turn_replay(actor, id, "replay.cancel", &from, ReplayState::Cancelled)
            .await
    }

    async fn turn_replay(
        &self,
        actor: &Actor,
        id: ReplayId,
        action: &str,
        from: &[ReplayState],
        to: ReplayState,
    ) -> Result<ReplayView> {
        actor.require(&Scope::Admin)?;
        let before = self.replay_view(id).await?;
        let after = ReplayView {
            state: to,
            ..before.clone()
        };
        let resource = format!("replays/{id}");
        let audit = self.audit(actor, action, &resource, Some(&before), Some(&after))?;
        let done = self
            .store
            .set_replay_state(id, from, to, None, self.now_ms(), &[audit])
            .await?;
        let now = self.replay_view(id).await?;
        if !done && now.state != to {
            let detail = format!(
                "replay {id} is {}, so it cannot become {}",
                now.state.as_str(),
                to.as_str()
            );
            return Err(Error::new(Code::WrongState, detail));
        }
        Ok(now)
    }

    async fn room_for_replay(&self) -> Result<()> {
        let max = self.settings.replays_max;
        let running = self.store.running_replays(max).await?.len();
        if running >= max as usize {
            let detail = format!(
                "{running} replays run, as many as this server allows; wait, pause or cancel one"
            );
            return Err(Error::new(Code::LimitReached, detail));
        }
        Ok(())
    }

    /// What a request means now: every name looked up, every time a place in the order of events.
    async fn replay_plan(&self, wanted: StartReplay) -> Result<ReplayPlan> {
        let now_ms = self.now_ms();
        let (since, until) = read_span(
            "/",
            wanted.since.as_deref(),
            wanted.until.as_deref(),
            now_ms,
        )?;
        let mut faults = Vec::new();
        if wanted.description.len() > DESCRIPTION_BYTES_MAX {
            faults.push(Fault::new(
                "/description",
                format!("expected at most {DESCRIPTION_BYTES_MAX} bytes"),
            ));
        }
        if let Some(rate) = wanted.rate_per_second
            && !(1..=RATE_MAX).contains(&rate)
        {
            let detail = format!("expected 1 to {RATE_MAX}, got {rate}");
            faults.push(Fault::new("/ratePerSecond", detail));
        }
        if let Some(rules) = &wanted.rules {
            if rules.is_empty() || rules.len() > RULES_MAX {
                let detail = format!("expected 1 to {RULES_MAX} rules, got {}", rules.len());
                faults.push(Fault::new("/rules", detail));
            }
            if wanted.to.is_some() {
                let detail = "expected either rules or to; a target has one rule anyway";
                faults.push(Fault::new("/rules", detail));
            }
        }
        if let Some(pattern) = &wanted.pattern
            && let Err(errors) = Pattern::parse(pattern.as_str().as_bytes())
        {
            return Err(Error::invalid(
                Code::InvalidPattern,
                pattern_faults("/pattern", errors),
            ));
        }
        let events = wanted
            .event_uids
            .as_ref()
            .map(|texts| read_events(texts, &mut faults));
        if !faults.is_empty() {
            return Err(Error::invalid(Code::InvalidRequest, faults));
        }
        let index = self.index().await?;
        let bus = index.bus(&wanted.from.bus)?;
        let archive = match wanted.from.archive {
            Some(name) => Some((index.archive(&wanted.from.bus, &name)?.id, name)),
            None => None,
        };
        // What senders have been told is accepted is to be seen, and the rules as they are now.
        self.engine.flush().await;
        self.engine.reload().await?;
        let first = EventId::first_at(since.unwrap_or(0));
        // The time of the oldest event, so that the share that is done means something.
        let low = self
            .store
            .first_for_replay(archive.as_ref().map(|(id, _)| *id), first)
            .await?
            .unwrap_or(first);
        let high = EventId::first_at(until.map_or(now_ms, |until| until.min(now_ms)));
        Ok(ReplayPlan {
            description: wanted.description,
            bus: bus.bus.id,
            bus_name: wanted.from.bus,
            archive,
            low: low.min(high),
            high,
            events,
            pattern: wanted.pattern,
            rules: wanted.rules,
            to: wanted.to.map(|to| ReplayTarget {
                rule: to.rule,
                target: to.target,
            }),
            rate_per_second: wanted.rate_per_second.unwrap_or(self.settings.replay_rate),
        })
    }
}

fn read_events(texts: &[String], faults: &mut Vec<Fault>) -> Vec<EventId> {
    if texts.is_empty() || texts.len() > EVENTS_MAX {
        let detail = format!("expected 1 to {EVENTS_MAX} events, got {}", texts.len());
        faults.push(Fault::new("/eventUids", detail));
        return Vec::new();
    }
    let mut events = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.parse::<EventId>() {
            Ok(id) => events.push(id),
            Err(error) => faults.push(Fault::new(format!("/eventUids/{index}"), error.to_string())),
        }
    }
    events.sort_unstable();
    events.dedup();
    events
}

fn impossible(error: ReplayError) -> Error {
    match error {
        ReplayError::Impossible(detail) => Error::new(Code::NotFound, detail),
        ReplayError::Store(text) => Error::internal(text),
    }
}
