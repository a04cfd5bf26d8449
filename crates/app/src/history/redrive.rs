//! Redrive: deliveries that have ended are made again, because somebody wants it.
//!
//! Only deliveries in a final state are taken. Many are taken in steps; each is one transaction with its audit entry,
//! the last one also with the recorded answer to an `Idempotency-Key`. So a request that is sent again after a crash
//! goes on where the first has stopped: what that has taken is not in a final state any more.

use belfry_engine::IdempotencyKey;
use belfry_model::DeliveryId;
use belfry_model::access::Scope;
use belfry_model::delivery::DeliveryStatus;
use belfry_store::StoreError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filter::statuses;
use super::{DeliveryFilter, DeliveryView};
use crate::App;
use crate::actor::Actor;
use crate::cursor;
use crate::error::{Code, Error, Fault, Result};
use crate::idempotency::Answered;
use crate::input;

/// Most deliveries of one request.
pub const RETRY_MAX: u32 = 10_000;
/// Deliveries that are looked up and made pending in one step: short, so that the commits of others do not wait.
const STEP: u32 = 500;
/// Deliveries that the answer names.
const NAMED_MAX: usize = 100;
/// How often a step is taken again when somebody else was faster.
const TRIES: usize = 4;

/// Which deliveries to make again: those of a filter, or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryMany {
    /// These deliveries.
    #[schema(examples(json!(["dlv_01jd0c4z8k0000000001"])))]
    pub ids: Option<Vec<String>>,
    /// All that the filter finds; `status` absent: `dead,expired,skipped`.
    pub filter: Option<DeliveryFilter>,
    /// Most deliveries (1 to 10,000); absent: 10,000.
    pub limit: Option<u32>,
    /// What an earlier answer gave as `next`.
    pub cursor: Option<String>,
}

/// What may be said about the retry of one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What a retry of many did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Retried)]
pub struct RetriedView {
    /// Deliveries made pending again (on a dry run: that would be).
    pub count: usize,
    /// The first 100 of them.
    pub deliveries: Vec<String>,
    /// There may be more: pass it as `cursor` to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub next: Option<String>,
    /// Present and true when nothing was done because `dryRun` was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub dry_run: bool,
}

impl RetriedView {
    fn add(&mut self, ids: &[DeliveryId]) {
        self.count += ids.len();
        let room = NAMED_MAX.saturating_sub(self.deliveries.len());
        self.deliveries
            .extend(ids.iter().take(room).map(ToString::to_string));
    }
}

impl App {
    /// Makes one delivery again that has ended.
    pub async fn retry_delivery(
        &self,
        actor: &Actor,
        id: DeliveryId,
        body: &[u8],
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Answered<DeliveryView>> {
        actor.require(&Scope::Admin)?;
        if !body.is_empty() {
            let Nothing {} = input::read(body)?;
        }
        let _guard = self.enter(idempotency)?;
        if self.replay::<RetriedView>(idempotency).await?.is_some() {
            return Ok(Answered {
                value: self.delivery(id).await?,
                replayed: true,
            });
        }
        self.engine.flush().await;
        let found = self.delivery(id).await?;
        if !found.status.is_final() {
            let detail = format!(
                "this delivery is {} and is made anyway; only one that has ended can be made again",
                found.status
            );
            return Err(Error::new(Code::DeliveryNotFinal, detail));
        }
        let mut done = RetriedView::default();
        done.add(&[id]);
        let resource = format!("deliveries/{id}");
        let audit = self.audit(actor, "delivery.retry", &resource, None, Some(&done))?;
        let record = self.record(idempotency, &done)?;
        match self
            .engine
            .redrive(&[id], &[], &[audit], record.as_ref())
            .await
        {
            Ok(_) => Ok(Answered::new(self.delivery(id).await?)),
            Err(StoreError::Conflict) => Err(Error::new(
                Code::DeliveryNotFinal,
                "somebody else has made this delivery pending in the meantime",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes many deliveries again.
    pub async fn retry_deliveries(
        &self,
        actor: &Actor,
        body: &[u8],
        dry_run: bool,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Answered<RetriedView>> {
        actor.require(&Scope::Admin)?;
        let wanted: RetryMany = input::read(body)?;
        let limit = wanted.limit.unwrap_or(RETRY_MAX);
        if !(1..=RETRY_MAX).contains(&limit) {
            return Err(Error::field(
                "/limit",
                format!("expected 1 to {RETRY_MAX}, got {limit}"),
            ));
        }
        let idempotency = idempotency.filter(|_| !dry_run);
        let _guard = self.enter(idempotency)?;
        if let Some(value) = self.replay(idempotency).await? {
            return Ok(Answered {
                value,
                replayed: true,
            });
        }
        self.engine.flush().await;
        let mut run = Redrive {
            app: self,
            actor,
            dry_run,
            idempotency,
            done: RetriedView {
                dry_run,
                ..RetriedView::default()
            },
        };
        match (&wanted.ids, &wanted.filter) {
            (Some(ids), None) => run.ids(ids).await?,
            (None, Some(filter)) => run.filter(filter, wanted.cursor.as_deref(), limit).await?,
            _ => {
                return Err(Error::field(
                    "",
                    "expected either ids or filter; an empty filter means all that have failed",
                ));
            }
        }
        Ok(Answered::new(run.done))
    }
}

/// A redrive of many under way.
struct Redrive<'a> {
    app: &'a App,
    actor: &'a Actor,
    dry_run: bool,
    idempotency: Option<&'a IdempotencyKey>,
    /// What is done so far.
    done: RetriedView,
}

impl Redrive<'_> {
    async fn ids(&mut self, texts: &[String]) -> Result<()> {
        if texts.is_empty() || texts.len() > RETRY_MAX as usize {
            return Err(Error::field(
                "/ids",
                format!("expected 1 to {RETRY_MAX} ids, got {}", texts.len()),
            ));
        }
        let (mut ids, mut faults) = (Vec::with_capacity(texts.len()), Vec::new());
        for (index, text) in texts.iter().enumerate() {
            match text.parse::<DeliveryId>() {
                Ok(id) => ids.push(id),
                Err(error) => faults.push(Fault::new(format!("/ids/{index}"), error.to_string())),
            }
        }
        if !faults.is_empty() {
            return Err(Error::invalid(Code::InvalidRequest, faults));
        }
        ids.sort_unstable();
        ids.dedup();
        let last = (ids.len() - 1) / STEP as usize;
        for (index, step) in ids.chunks(STEP as usize).enumerate() {
            let ended = self.ended(step, &[]).await?;
            self.step(ended, &[], index == last).await?;
        }
        Ok(())
    }

    async fn filter(
        &mut self,
        filter: &DeliveryFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<()> {
        let mut query = self.app.delivery_query("/filter/", filter).await?;
        query.statuses = match filter.status.as_deref() {
            None => vec![
                DeliveryStatus::Dead,
                DeliveryStatus::Expired,
                DeliveryStatus::Skipped,
            ],
            given => statuses("/filter/status", given)?,
        };
        if let Some(running) = query.statuses.iter().find(|status| !status.is_final()) {
            let detail = format!("{running} deliveries are made anyway; expected final states");
            return Err(Error::field("/filter/status", detail));
        }
        query.before = cursor::read('d', cursor)?;
        let mut looked_at = 0;
        loop {
            query.limit = STEP.min(limit - looked_at);
            let found = self.app.store.list_deliveries(&query).await?;
            let ids: Vec<_> = found
                .items
                .iter()
                .map(|record| record.outcome.delivery)
                .collect();
            looked_at += u32::try_from(ids.len()).unwrap_or(STEP);
            // A page cut short by the scan limit has cost enough for one request.
            let enough = ids.len() < query.limit as usize || looked_at >= limit;
            if enough {
                self.done.next = found.next.as_ref().map(|at| cursor::write('d', at));
            }
            let last = enough || found.next.is_none();
            self.step(ids, &query.statuses, last).await?;
            if last {
                return Ok(());
            }
            query.before = found.next;
        }
    }

    /// Takes `ids`, or when somebody else was faster, those that are still there to be taken.
    async fn step(
        &mut self,
        mut ids: Vec<DeliveryId>,
        only: &[DeliveryStatus],
        last: bool,
    ) -> Result<()> {
        for _ in 0..TRIES {
            let mut done = self.done.clone();
            done.add(&ids);
            if self.dry_run || self.take(&ids, only, &done, last).await? {
                self.done = done;
                return Ok(());
            }
            ids = self.ended(&ids, only).await?;
        }
        Err(StoreError::Conflict.into())
    }

    /// One transaction; `false` when not all of `ids` are there to be taken.
    async fn take(
        &self,
        ids: &[DeliveryId],
        only: &[DeliveryStatus],
        done: &RetriedView,
        last: bool,
    ) -> Result<bool> {
        let record = if last {
            self.app.record(self.idempotency, done)?
        } else {
            None
        };
        let mut audit = Vec::new();
        if !ids.is_empty() {
            let mut step = RetriedView::default();
            step.add(ids);
            let (app, actor) = (self.app, self.actor);
            audit.push(app.audit(actor, "delivery.retry", "deliveries", None, Some(&step))?);
        } else if record.is_none() {
            return Ok(true);
        }
        let engine = &self.app.engine;
        match engine.redrive(ids, only, &audit, record.as_ref()).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Those of `ids` that have ended (in a state of `only`, or any).
    async fn ended(&self, ids: &[DeliveryId], only: &[DeliveryStatus]) -> Result<Vec<DeliveryId>> {
        let mut ended = Vec::with_capacity(ids.len());
        for id in ids {
            let found = self.app.store.find_delivery(*id).await?;
            let status = found.map(|record| record.outcome.status);
            if status.is_some_and(|status| {
                status.is_final() && (only.is_empty() || only.contains(&status))
            }) {
                ended.push(*id);
            }
        }
        Ok(ended)
    }
}
