//! Redrive: deliveries that have ended are made again, because somebody wants it.
//!
//! Only deliveries in a final state are taken, so a redrive that is sent twice finds nothing left to do as long as the
//! first is under way. The recorded answer to an `Idempotency-Key` is therefore written after the effect and not with
//! it: a crash in between costs at worst one more redrive of what has ended again since.

use belfry_engine::IdempotencyKey;
use belfry_model::DeliveryId;
use belfry_model::access::Scope;
use belfry_model::delivery::DeliveryStatus;
use belfry_store::Batch;
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
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Answered<DeliveryView>> {
        actor.require(&Scope::Admin)?;
        let _guard = self.enter(idempotency)?;
        if self.replay::<RetriedView>(idempotency).await?.is_some() {
            return Ok(Answered {
                value: self.delivery(id).await?,
                replayed: true,
            });
        }
        let found = self.delivery(id).await?;
        if !found.status.is_final() {
            let detail = format!(
                "this delivery is {} and is made anyway; only one that has ended can be made again",
                found.status
            );
            return Err(Error::new(Code::DeliveryNotFinal, detail));
        }
        let mut done = RetriedView::default();
        done.add(&self.engine.redrive(&[id], &[]).await?);
        if done.count == 0 {
            return Err(Error::new(
                Code::DeliveryNotFinal,
                "somebody else has made this delivery pending in the meantime",
            ));
        }
        self.note_retry(actor, &format!("deliveries/{id}"), &done, idempotency)
            .await?;
        Ok(Answered::new(self.delivery(id).await?))
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
        let _guard = self.enter(idempotency.filter(|_| !dry_run))?;
        if let (Some(value), false) = (self.replay(idempotency).await?, dry_run) {
            return Ok(Answered {
                value,
                replayed: true,
            });
        }
        let mut done = match (&wanted.ids, &wanted.filter) {
            (Some(ids), None) => self.retry_ids(ids, dry_run).await?,
            (None, Some(filter)) => {
                self.retry_filter(filter, wanted.cursor.as_deref(), limit, dry_run)
                    .await?
            }
            _ => {
                return Err(Error::field(
                    "",
                    "expected either ids or filter; an empty filter means all that have failed",
                ));
            }
        };
        done.dry_run = dry_run;
        if !dry_run {
            self.note_retry(actor, "deliveries", &done, idempotency)
                .await?;
        }
        Ok(Answered::new(done))
    }

    async fn retry_ids(&self, texts: &[String], dry_run: bool) -> Result<RetriedView> {
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
        let mut done = RetriedView::default();
        for step in ids.chunks(STEP as usize) {
            if dry_run {
                for id in step {
                    let record = self.store.find_delivery(*id).await?;
                    if record.is_some_and(|record| record.outcome.status.is_final()) {
                        done.add(&[*id]);
                    }
                }
            } else {
                done.add(&self.engine.redrive(step, &[]).await?);
            }
        }
        Ok(done)
    }

    async fn retry_filter(
        &self,
        filter: &DeliveryFilter,
        cursor: Option<&str>,
        limit: u32,
        dry_run: bool,
    ) -> Result<RetriedView> {
        let mut query = self.delivery_query("/filter/", filter).await?;
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
        let mut done = RetriedView::default();
        let mut looked_at = 0;
        loop {
            query.limit = STEP.min(limit - looked_at);
            let found = self.store.list_deliveries(&query).await?;
            let ids: Vec<_> = found
                .items
                .iter()
                .map(|record| record.outcome.delivery)
                .collect();
            looked_at += u32::try_from(ids.len()).unwrap_or(STEP);
            if dry_run {
                done.add(&ids);
            } else if !ids.is_empty() {
                done.add(&self.engine.redrive(&ids, &query.statuses).await?);
            }
            let short = ids.len() < query.limit as usize;
            match found.next {
                None => return Ok(done),
                // A page cut short by the scan limit has cost enough for one request.
                Some(at) if short || looked_at >= limit => {
                    done.next = Some(cursor::write('d', &at));
                    return Ok(done);
                }
                next => query.before = next,
            }
        }
    }

    async fn note_retry(
        &self,
        actor: &Actor,
        resource: &str,
        done: &RetriedView,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<()> {
        let audit = self.audit(actor, "delivery.retry", resource, None, Some(done))?;
        self.store.add_audit(&[audit]).await?;
        if let Some(record) = self.record(idempotency, done)? {
            self.store
                .commit(&Batch {
                    idempotency: vec![record],
                    ..Batch::default()
                })
                .await?;
        }
        Ok(())
    }
}
