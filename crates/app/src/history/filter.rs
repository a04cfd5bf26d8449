//! Filters as clients write them.

use belfry_model::delivery::{DeliveryStatus, Reason};
use belfry_model::{BusName, RuleName, TargetName};
use belfry_store::{DeliveryQuery, EventQuery, LogQuery};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::App;
use crate::config::Index;
use crate::error::{Error, Result};
use crate::time::read_span;

/// Longest text to search for.
const TEXT_BYTES_MAX: usize = 1024;

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this bus.
    pub bus: Option<String>,
    /// Accepted at or after.
    pub since: Option<String>,
    /// Accepted before.
    pub until: Option<String>,
    /// With this type.
    pub kind: Option<String>,
    /// With this source.
    pub source: Option<String>,
    /// With this subject.
    pub subject: Option<String>,
    /// With this sender's id.
    pub id: Option<String>,
    /// Whose document holds this text.
    pub q: Option<String>,
    /// Only those that matched something, or nothing.
    pub matched: Option<bool>,
}

/// Which deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeliveryFilter {
    /// Of rules of this bus.
    pub bus: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// Of targets of this name.
    pub target: Option<String>,
    /// In one of these states, separated by commas.
    #[schema(examples("dead,expired"))]
    pub status: Option<String>,
    /// With this reason.
    #[schema(examples("http_5xx"))]
    pub reason: Option<String>,
    /// Of events accepted at or after this time (RFC 3339, or back from now such as `-1h`).
    #[schema(examples("-1h"))]
    pub since: Option<String>,
    /// Of events accepted before this time.
    pub until: Option<String>,
    /// Of events of this type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Of events with this source.
    pub source: Option<String>,
    /// Of events with this subject.
    pub subject: Option<String>,
    /// Of events whose document, or with a detail that, holds this text.
    pub q: Option<String>,
}

/// Which entries of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Of events accepted at or after.
    pub since: Option<String>,
    /// Of events accepted before.
    pub until: Option<String>,
    /// Of events of this type.
    pub kind: Option<String>,
    /// Of events with this source.
    pub source: Option<String>,
    /// Of events with this subject.
    pub subject: Option<String>,
    /// With this text.
    pub q: Option<String>,
}

pub(super) fn name<T: std::str::FromStr<Err: std::fmt::Display>>(
    place: &str,
    text: Option<&String>,
) -> Result<Option<T>> {
    text.map(|text| {
        text.parse()
            .map_err(|error: T::Err| Error::field(place, error.to_string()))
    })
    .transpose()
}

pub(super) fn text(place: &str, text: Option<&String>) -> Result<Option<String>> {
    match text {
        Some(text) if text.is_empty() || text.len() > TEXT_BYTES_MAX => Err(Error::field(
            place,
            format!("expected 1 to {TEXT_BYTES_MAX} bytes of text"),
        )),
        text => Ok(text.cloned()),
    }
}

/// Reads states separated by commas.
pub(super) fn statuses(place: &str, list: Option<&str>) -> Result<Vec<DeliveryStatus>> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    let read = |word: &str| {
        word.trim()
            .parse()
            .map_err(|error: belfry_model::delivery::UnknownWord| {
                Error::field(place, error.to_string())
            })
    };
    list.split(',').map(read).collect()
}

impl App {
    pub(super) fn event_query(&self, index: &Index, filter: &EventFilter) -> Result<EventQuery> {
        let (since_ms, until_ms) = read_span(
            "query:",
            filter.since.as_deref(),
            filter.until.as_deref(),
            self.now_ms(),
        )?;
        let bus: Option<BusName> = name("query:bus", filter.bus.as_ref())?;
        Ok(EventQuery {
            bus: bus
                .map(|bus| index.bus(&bus).map(|bus| bus.bus.id))
                .transpose()?,
            since_ms,
            until_ms,
            kind: text("query:type", filter.kind.as_ref())?,
            source: text("query:source", filter.source.as_ref())?,
            subject: text("query:subject", filter.subject.as_ref())?,
            ce_id: text("query:id", filter.id.as_ref())?,
            text: text("query:q", filter.q.as_ref())?,
            matched: filter.matched,
            before: None,
            limit: 0,
            scan_max: self.settings.scan_max,
        })
    }

    /// The query of a filter; `prefix` says where the filter stands (`query:`, or a pointer into the body).
    pub(super) async fn delivery_query(
        &self,
        prefix: &str,
        filter: &DeliveryFilter,
    ) -> Result<DeliveryQuery> {
        let (since_ms, until_ms) = read_span(
            prefix,
            filter.since.as_deref(),
            filter.until.as_deref(),
            self.now_ms(),
        )?;
        let at = |member: &str| format!("{prefix}{member}");
        let bus: Option<BusName> = name(&at("bus"), filter.bus.as_ref())?;
        let rule: Option<RuleName> = name(&at("rule"), filter.rule.as_ref())?;
        let target: Option<TargetName> = name(&at("target"), filter.target.as_ref())?;
        let reason: Option<Reason> = name(&at("reason"), filter.reason.as_ref())?;
        let targets = if bus.is_some() || rule.is_some() || target.is_some() {
            Some(
                self.store
                    .find_targets(bus.as_ref(), rule.as_ref(), target.as_ref())
                    .await?,
            )
        } else {
            None
        };
        Ok(DeliveryQuery {
            targets,
            statuses: statuses(&at("status"), filter.status.as_deref())?,
            reason,
            since_ms,
            until_ms,
            kind: text(&at("type"), filter.kind.as_ref())?,
            source: text(&at("source"), filter.source.as_ref())?,
            subject: text(&at("subject"), filter.subject.as_ref())?,
            text: text(&at("q"), filter.q.as_ref())?,
            before: None,
            limit: 0,
            scan_max: self.settings.scan_max,
        })
    }

    pub(super) fn log_query(&self, filter: &LogFilter) -> Result<LogQuery> {
        let (since_ms, until_ms) = read_span(
            "query:",
            filter.since.as_deref(),
            filter.until.as_deref(),
            self.now_ms(),
        )?;
        Ok(LogQuery {
            since_ms,
            until_ms,
            kind: text("query:type", filter.kind.as_ref())?,
            source: text("query:source", filter.source.as_ref())?,
            subject: text("query:subject", filter.subject.as_ref())?,
            text: text("query:q", filter.q.as_ref())?,
            before: None,
            limit: 0,
            scan_max: self.settings.scan_max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_a_comma_list_of_known_words() {
        use DeliveryStatus::{Dead, Expired};
        assert_eq!(
            statuses("query:status", Some("dead, expired")).unwrap(),
            [Dead, Expired]
        );
        assert!(statuses("query:status", None).unwrap().is_empty());
        let error = statuses("query:status", Some("dead,lost")).unwrap_err();
        assert_eq!(error.errors().first().unwrap().pointer, "query:status");
        assert!(statuses("query:status", Some("")).is_err());
    }
}
