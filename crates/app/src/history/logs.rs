//! Searchable logs.

use belfry_model::access::Scope;
use belfry_model::{DeliveryId, EventId, LogName};
use belfry_store::{LogEntry, LogInfo};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EventSummary, LogFilter};
use crate::App;
use crate::actor::Actor;
use crate::cursor::{self, Listing, PageRequest};
use crate::error::{Error, Result};
use crate::input;
use crate::time::Stamp;

const RETENTION_DAYS_MAX: u32 = 3650;

/// A log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Log)]
pub struct LogView {
    /// Its name.
    #[schema(value_type = String, examples("audit"))]
    pub name: LogName,
    /// How long entries are kept, in days.
    pub retention_days: u32,
    /// When the event of its newest entry was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub newest_at: Option<Stamp>,
}

/// An entry of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LogEntry)]
pub struct LogEntryView {
    /// When its event was accepted.
    pub at: Stamp,
    /// The delivery that wrote it.
    #[schema(value_type = String, examples("dlv_01jd0c4z8k0000000001"))]
    pub delivery: DeliveryId,
    /// The server's id of its event.
    #[schema(value_type = String, examples("evt_01jd0c4z8k000"))]
    pub event_uid: EventId,
    /// The event's members.
    pub event: EventSummary,
    /// What was written.
    pub text: String,
}

/// What a log is to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSpec {
    /// How long entries are kept, in days (1 to 3,650).
    #[schema(minimum = 1, maximum = 3650)]
    pub retention_days: u32,
}

impl App {
    /// All logs by name.
    pub async fn list_logs(&self, actor: &Actor, page: &PageRequest) -> Result<Listing<LogView>> {
        actor.require(&Scope::HistoryRead)?;
        let (limit, after) = (page.limit()?, page.after::<LogName>('l')?);
        let mut logs = self.store.list_logs().await?;
        logs.sort_by(|a, b| a.name.cmp(&b.name));
        let mut rest = logs
            .into_iter()
            .filter(|log| after.as_ref().is_none_or(|after| log.name > *after));
        let items: Vec<_> = rest.by_ref().take(limit as usize).map(view).collect();
        let more = rest.next().is_some();
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| cursor::write('l', &last.name));
        Ok(Listing {
            items,
            next,
            partial: false,
        })
    }

    /// Makes a log, or changes how long its entries are kept. Says whether it is new.
    pub async fn put_log(
        &self,
        actor: &Actor,
        name: &LogName,
        body: &[u8],
        dry_run: bool,
    ) -> Result<(LogView, bool)> {
        actor.require(&Scope::ConfigWrite)?;
        let LogSpec { retention_days } = input::read(body)?;
        if !(1..=RETENTION_DAYS_MAX).contains(&retention_days) {
            let detail = format!("expected 1 to {RETENTION_DAYS_MAX}, got {retention_days}");
            return Err(Error::field("/retentionDays", detail));
        }
        let old = self
            .store
            .list_logs()
            .await?
            .into_iter()
            .find(|log| log.name == *name)
            .map(view);
        let created = old.is_none();
        let newest_at = old.as_ref().and_then(|old| old.newest_at);
        let new = LogView {
            name: name.clone(),
            retention_days,
            newest_at,
        };
        if old.as_ref() != Some(&new) && !dry_run {
            let audit = self.audit(
                actor,
                "log.put",
                &format!("logs/{name}"),
                old.as_ref(),
                Some(&new),
            )?;
            self.store.put_log(name, retention_days, &[audit]).await?;
        }
        Ok((new, created))
    }

    /// Entries of a log, newest event first.
    pub async fn list_log_entries(
        &self,
        actor: &Actor,
        name: &LogName,
        filter: &LogFilter,
        page: &PageRequest,
    ) -> Result<Listing<LogEntryView>> {
        actor.require(&Scope::HistoryRead)?;
        let mut query = self.log_query(filter)?;
        query.limit = page.limit()?;
        query.before = page.after('n')?;
        let found = self
            .store
            .list_log_entries(name, &query)
            .await?
            .ok_or_else(|| Error::not_found("log", name))?;
        let items = found.items.into_iter().map(entry).collect();
        Ok(Listing::scanned(
            items,
            found.next.map(|at| cursor::write('n', &at)),
            query.limit,
        ))
    }
}

fn view(log: LogInfo) -> LogView {
    LogView {
        name: log.name,
        retention_days: log.retention_days,
        newest_at: log.newest.map(|event| Stamp(event.time_ms())),
    }
}

fn entry(entry: LogEntry) -> LogEntryView {
    LogEntryView {
        at: Stamp(entry.delivery.event.time_ms()),
        delivery: entry.delivery,
        event_uid: entry.delivery.event,
        event: entry.event.into(),
        text: entry.text,
    }
}
