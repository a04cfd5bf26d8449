//! Alarms: what is open now, since when, how often, and who was told of it.

use belfry_alarm::Severity;
use belfry_model::access::Scope;
use belfry_model::{AlarmId, BusName, DeliveryId, EventId};
use belfry_store::{AlarmQuery, AlarmRecord, Told};
use serde::Serialize;
use utoipa::ToSchema;

use super::DeliveryView;
use super::filter::{name, text};
use super::names::Names;
use crate::App;
use crate::actor::Actor;
use crate::cursor::{self, Listing, PageRequest};
use crate::error::{Error, Result};
use crate::time::Stamp;

/// Which alarms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlarmFilter {
    /// Of this bus.
    pub bus: Option<String>,
    /// `open`, `recovered` or `all`; absent: `open`.
    pub state: Option<String>,
    /// At least so severe.
    pub severity: Option<String>,
    /// With this type.
    pub kind: Option<String>,
    /// With this source.
    pub source: Option<String>,
    /// With this subject.
    pub subject: Option<String>,
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Alarm)]
pub struct AlarmView {
    /// Its id.
    #[schema(value_type = String, examples("alm_01jd0c4z8k000"))]
    pub id: AlarmId,
    /// Its bus.
    #[schema(examples("default"))]
    pub bus: String,
    /// What its events have in common: their `alarmkey`, or what was made of source, type and subject.
    pub key: String,
    /// `open` or `recovered`.
    #[schema(examples("open"))]
    pub state: &'static str,
    /// `critical`, `error`, `warning` or `info`.
    #[schema(examples("critical"))]
    pub severity: &'static str,
    /// The source of its last event.
    pub source: String,
    /// The type of its last event.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub subject: Option<String>,
    /// What the sender calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub title: Option<String>,
    /// How many events since it began say that it fires; 0 when only its end was ever seen.
    pub count: u64,
    /// When it began.
    pub since: Stamp,
    /// When the last event of it came.
    pub last_at: Stamp,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub recovered_at: Option<Stamp>,
    /// The event with which it began.
    #[schema(value_type = String, examples("evt_01jd0c4z8k000"))]
    pub first_event_uid: EventId,
    /// The last event of it.
    #[schema(value_type = String, examples("evt_01jd0c4z8k000"))]
    pub last_event_uid: EventId,
    /// Who was told of it, by target.
    pub told: Vec<ToldView>,
}

/// What a target was told of an alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmTold)]
pub struct ToldView {
    /// The target's bus.
    pub bus: String,
    /// The target's rule.
    pub rule: String,
    /// The target.
    pub target: String,
    /// The target's kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it was told last: `open` or `recovered`.
    pub state: &'static str,
    /// How severe it was told that it is.
    pub severity: &'static str,
    /// How many messages since the alarm began.
    pub count: u64,
    /// When it was told first.
    pub first_at: Stamp,
    /// When it was told last.
    pub last_at: Stamp,
    /// The delivery that told it last.
    #[schema(value_type = String, examples("dlv_01jd0c4z8k0000000001"))]
    pub delivery: DeliveryId,
}

/// An alarm with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlarmDetail {
    /// The alarm.
    pub alarm: AlarmView,
    /// The deliveries of the events with which it began, went on last, and ended.
    pub deliveries: Vec<DeliveryView>,
}

fn state(firing: bool) -> &'static str {
    if firing { "open" } else { "recovered" }
}

/// The word of a stored severity.
fn severity(number: u8) -> &'static str {
    let known = Severity::ALL.iter().rev().nth(usize::from(number));
    known.copied().unwrap_or(Severity::Critical).as_str()
}

impl AlarmView {
    /// `told`: of this alarm and others.
    fn new(alarm: &AlarmRecord, told: &[Told], names: &Names) -> Self {
        let told = told.iter().filter(|told| told.alarm == alarm.id);
        let over = alarm.recovered.filter(|_| !alarm.firing);
        Self {
            id: alarm.id,
            bus: names.bus(alarm.bus),
            key: alarm.key.clone(),
            state: state(alarm.firing),
            severity: severity(alarm.severity),
            source: alarm.source.clone(),
            kind: alarm.kind.clone(),
            subject: alarm.subject.clone(),
            title: alarm.title.clone(),
            count: alarm.fired,
            since: Stamp(alarm.first.time_ms()),
            last_at: Stamp(alarm.last.time_ms()),
            recovered_at: over.map(|event| Stamp(event.time_ms())),
            first_event_uid: alarm.first,
            last_event_uid: alarm.last,
            told: told.map(|told| ToldView::new(told, names)).collect(),
        }
    }
}

impl ToldView {
    fn new(told: &Told, names: &Names) -> Self {
        let path = names.target(told.target);
        let or_none = Option::unwrap_or_default;
        Self {
            bus: or_none(path.map(|path| path.bus.to_string())),
            rule: or_none(path.map(|path| path.rule.to_string())),
            target: or_none(path.map(|path| path.target.to_string())),
            kind: or_none(path.map(|path| path.kind.clone())),
            state: state(told.firing),
            severity: severity(told.severity),
            count: told.count,
            first_at: Stamp(told.first_at_ms),
            last_at: Stamp(told.last_at_ms),
            delivery: DeliveryId {
                event: told.last,
                target: told.target,
            },
        }
    }
}

impl App {
    /// Alarms with who was told of them, those with the newest event first.
    pub async fn list_alarms(
        &self,
        actor: &Actor,
        filter: &AlarmFilter,
        page: &PageRequest,
    ) -> Result<Listing<AlarmView>> {
        actor.require(&Scope::HistoryRead)?;
        let index = self.index().await?;
        let bus: Option<BusName> = name("query:bus", filter.bus.as_ref())?;
        let firing = match filter.state.as_deref() {
            None | Some("open") => Some(true),
            Some("recovered") => Some(false),
            Some("all") => None,
            Some(_) => {
                let detail = "expected one of open, recovered, all";
                return Err(Error::field("query:state", detail));
            }
        };
        let severity_min = match filter.severity.as_deref() {
            None => 0,
            Some(word) => (0..)
                .zip(Severity::ALL.iter().rev())
                .find(|(_, severity)| severity.as_str() == word)
                .map(|(number, _)| number)
                .ok_or_else(|| {
                    let detail = "expected one of critical, error, warning, info";
                    Error::field("query:severity", detail)
                })?,
        };
        let query = AlarmQuery {
            bus: bus
                .map(|bus| index.bus(&bus).map(|bus| bus.bus.id))
                .transpose()?,
            firing,
            severity_min,
            kind: text("query:type", filter.kind.as_ref())?,
            source: text("query:source", filter.source.as_ref())?,
            subject: text("query:subject", filter.subject.as_ref())?,
            before: page.after('a')?,
            limit: page.limit()?,
            scan_max: self.settings.scan_max,
        };
        let found = self.store.list_alarms(&query).await?;
        let ids: Vec<AlarmId> = found.items.iter().map(|alarm| alarm.id).collect();
        let told = self.store.list_told(&ids).await?;
        let buses = found.items.iter().map(|alarm| alarm.bus);
        let names = self
            .names(told.iter().map(|told| told.target), buses)
            .await?;
        let items = found.items.iter();
        Ok(Listing::scanned(
            items
                .map(|alarm| AlarmView::new(alarm, &told, &names))
                .collect(),
            found.next.map(|at| cursor::write('a', &at)),
            query.limit,
        ))
    }

    /// One alarm with what became of its events.
    pub async fn get_alarm(&self, actor: &Actor, id: AlarmId) -> Result<AlarmDetail> {
        actor.require(&Scope::HistoryRead)?;
        let alarm = self
            .store
            .find_alarm(id)
            .await?
            .ok_or_else(|| Error::not_found("alarm", &id))?;
        let told = self.store.list_told(&[id]).await?;
        let mut events = vec![alarm.first, alarm.last];
        events.extend(alarm.recovered.filter(|over| *over > alarm.first));
        events.sort_unstable();
        events.dedup();
        let mut records = Vec::new();
        for event in events {
            records.extend(self.store.list_event_deliveries(event).await?);
        }
        let targets = told.iter().map(|told| told.target);
        let targets = targets.chain(records.iter().map(|one| one.outcome.delivery.target));
        let names = self.names(targets, [alarm.bus]).await?;
        Ok(AlarmDetail {
            alarm: AlarmView::new(&alarm, &told, &names),
            deliveries: records
                .into_iter()
                .map(|record| DeliveryView::new(record, &names))
                .collect(),
        })
    }
}
