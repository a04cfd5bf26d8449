//! What the rest of the product asks of a store about alarms: which there are, and who was told of them.

use async_trait::async_trait;
use belfry_model::{AlarmId, BusId, EventId, TargetId};

use crate::{Page, Result};

/// What an event says of an alarm: it fires (again), or has recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmSign {
    /// The event.
    pub event: EventId,
    /// Its bus.
    pub bus: BusId,
    /// What events of the same alarm have in common; at most 128 bytes.
    pub key: String,
    /// Whether it fires.
    pub firing: bool,
    /// 0 (info) to 3 (critical).
    pub severity: u8,
    /// The event's source.
    pub source: String,
    /// Its type.
    pub kind: String,
    /// Its subject.
    pub subject: Option<String>,
    /// What the sender calls the alarm.
    pub title: Option<String>,
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmRecord {
    /// Its id.
    pub id: AlarmId,
    /// Its bus.
    pub bus: BusId,
    /// What its events have in common.
    pub key: String,
    /// Whether it fires.
    pub firing: bool,
    /// 0 (info) to 3 (critical): of the last event that said that it fires.
    pub severity: u8,
    /// The last event's source.
    pub source: String,
    /// Its type.
    pub kind: String,
    /// Its subject.
    pub subject: Option<String>,
    /// What the sender calls the alarm.
    pub title: Option<String>,
    /// The first event since it fires; when it has recovered, since it fired last.
    pub first: EventId,
    /// The last event of it.
    pub last: EventId,
    /// The event that ended it last.
    pub recovered: Option<EventId>,
    /// How many events since `first` say that it fires; 0: only its end was ever seen.
    pub fired: u64,
}

impl AlarmRecord {
    /// An alarm after an event, `before` being what was known of it.
    #[must_use]
    pub fn after(before: Option<&Self>, sign: &AlarmSign) -> Self {
        let goes_on = before.filter(|alarm| alarm.firing);
        let known = if sign.firing { goes_on } else { before };
        Self {
            id: before.map_or(AlarmId(sign.event), |alarm| alarm.id),
            bus: sign.bus,
            key: sign.key.clone(),
            firing: sign.firing,
            // A recovery keeps the severity of its alarm.
            severity: match before {
                Some(alarm) if !sign.firing => alarm.severity,
                _ => sign.severity,
            },
            source: sign.source.clone(),
            kind: sign.kind.clone(),
            subject: sign.subject.clone(),
            title: sign
                .title
                .clone()
                .or_else(|| before.and_then(|alarm| alarm.title.clone())),
            first: known.map_or(sign.event, |alarm| alarm.first),
            // Nodes' clocks differ a little.
            last: before.map_or(sign.event, |alarm| alarm.last.max(sign.event)),
            recovered: match before {
                Some(alarm) if sign.firing || !alarm.firing => alarm.recovered,
                _ => None,
            }
            .or_else(|| (!sign.firing).then_some(sign.event)),
            fired: known.map_or(0, |alarm| alarm.fired) + u64::from(sign.firing),
        }
    }
}

/// What a target was told of an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The alarm.
    pub alarm: AlarmId,
    /// The target.
    pub target: TargetId,
    /// The alarm's [`first`](AlarmRecord::first) then.
    pub since: EventId,
    /// The last event that it was told of.
    pub last: EventId,
    /// Whether it was told that the alarm fires; else that it is over.
    pub firing: bool,
    /// How bad it was told that the alarm is, 0 (info) to 3 (critical).
    pub severity: u8,
    /// How often it was told of the alarm since then.
    pub count: u64,
    /// When it was told first, ms since 1970.
    pub first_at_ms: i64,
    /// When it was told last, ms since 1970.
    pub last_at_ms: i64,
    /// What the first message left behind, for later ones to refer to.
    pub thread: Option<String>,
}

/// What alarms to list. All filters must hold.
#[derive(Debug, Clone, Default)]
pub struct AlarmQuery {
    /// Of this bus.
    pub bus: Option<BusId>,
    /// Only those that fire (`true`) or have recovered (`false`).
    pub firing: Option<bool>,
    /// At least so severe, 0 to 3.
    pub severity_min: u8,
    /// With this type.
    pub kind: Option<String>,
    /// With this source.
    pub source: Option<String>,
    /// With this subject.
    pub subject: Option<String>,
    /// Whose last event was before this one.
    pub before: Option<EventId>,
    /// At most so many rows.
    pub limit: u32,
    /// Looks at no more than so many alarms; then returns what it has, with a cursor.
    pub scan_max: u32,
}

/// Alarms and who was told of them.
#[async_trait]
pub trait Alarms: Send + Sync {
    /// The alarm of a key, and what a target was told of it.
    async fn find_told(
        &self,
        bus: BusId,
        key: &str,
        target: TargetId,
    ) -> Result<Option<(AlarmRecord, Option<Told>)>>;
    /// One alarm.
    async fn find_alarm(&self, id: AlarmId) -> Result<Option<AlarmRecord>>;
    /// What targets were told of these alarms, by alarm and target.
    async fn list_told(&self, ids: &[AlarmId]) -> Result<Vec<Told>>;
    /// Alarms, those with the newest event first. One of which an event comes while pages are read moves to the front.
    async fn list_alarms(&self, query: &AlarmQuery) -> Result<Page<AlarmRecord, EventId>>;
    /// Forgets alarms of which nothing was heard since `before`, with what was told of them; at most so many. Returns how
    /// many it were.
    async fn purge_alarms(&self, before: EventId, alarms_max: u32) -> Result<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::fixtures::{BUS, id};

    fn sign(step: i64, firing: bool) -> AlarmSign {
        AlarmSign {
            event: id(step),
            bus: BUS,
            key: "k".to_owned(),
            firing,
            severity: if firing { 3 } else { 0 },
            source: "s".to_owned(),
            kind: "t".to_owned(),
            subject: None,
            title: firing.then(|| format!("title {step}")),
        }
    }

    fn life(signs: &[bool]) -> AlarmRecord {
        let mut alarm = None;
        for (step, firing) in signs.iter().enumerate() {
            let sign = sign(i64::try_from(step).unwrap(), *firing);
            alarm = Some(AlarmRecord::after(alarm.as_ref(), &sign));
        }
        alarm.unwrap()
    }

    #[test]
    fn repeats_count_a_recovery_ends_and_what_fires_again_begins_anew() {
        for (signs, first, fired, recovered) in [
            (&[true][..], 0, 1, None),
            (&[true, true, true], 0, 3, None),
            (&[true, true, false], 0, 2, Some(2)),
            (&[true, true, false, false], 0, 2, Some(2)),
            (&[true, false, true], 2, 1, Some(1)),
            (&[true, false, true, true, false], 2, 2, Some(4)),
            (&[false], 0, 0, Some(0)),
            (&[false, true], 1, 1, Some(0)),
        ] {
            let alarm = life(signs);
            assert_eq!(alarm.id, AlarmId(id(0)));
            assert_eq!(alarm.first, id(first), "{signs:?}");
            assert_eq!(alarm.fired, fired, "{signs:?}");
            assert_eq!(alarm.recovered, recovered.map(id), "{signs:?}");
            assert_eq!(alarm.firing, *signs.last().unwrap());
            let fired_ever = signs.iter().any(|firing| *firing);
            assert_eq!(alarm.severity, if fired_ever { 3 } else { 0 }, "{signs:?}");
        }
        assert_eq!(life(&[true, false]).title.as_deref(), Some("title 0"));
    }
}
