//! System events of Alibaba Cloud's `CloudMonitor`, by its older rules: <https://help.aliyun.com/zh/cms/cloudmonitor-1-0/user-guide/system-events-overview>.

use belfry_alarm::catalog::{self, Entry};
use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;

use crate::body::Node;
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "alibaba-event",
    title: ("Alibaba Cloud system event", "阿里云系统事件"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

/// Last parts of a name that say how far it is, and whether it is over then.
const STATES: [(&str, AlarmState); 7] = [
    (":Scheduled", AlarmState::Firing),
    (":Inquiring", AlarmState::Firing),
    (":Executing", AlarmState::Firing),
    (":Failed", AlarmState::Firing),
    (":Executed", AlarmState::Recovered),
    (":Avoided", AlarmState::Recovered),
    (":Canceled", AlarmState::Recovered),
];

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    let has = |name: &str| body.get(name).exists();
    has("product") && has("name") && has("level") && (has("eventTime") || has("resourceId"))
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    let content = body.get("content").json().unwrap_or_default();
    let event = SystemEvent {
        product: body.need("product")?,
        name: body.need("name")?,
        content: Node(&content),
        resource: body.get("resourceId").text(),
        level: body.get("level").text(),
        region: body.get("regionId").text(),
        instance: body.get("instanceName").text(),
        rule: body.get("ruleName").text(),
        title: None,
        over: false,
    };
    let id = body
        .get("id")
        .text()
        .unwrap_or_else(|| request.hash_id("cms"));
    let time = request.beijing(body.get("eventTime"));
    Ok(request.event(event.draft(id, time)))
}

/// A system event, whichever road it came.
pub(crate) struct SystemEvent<'v> {
    pub(crate) product: String,
    pub(crate) name: String,
    pub(crate) content: Node<'v>,
    /// The ARN of the resource.
    pub(crate) resource: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) title: Option<String>,
    /// Whether the vendor says by itself that it is over.
    pub(crate) over: bool,
}

impl SystemEvent<'_> {
    pub(crate) fn draft(self, id: String, time_ms: Option<i64>) -> Draft {
        let product = self.product.to_lowercase();
        let source = format!("{product}.cloud.aliyun");
        let kind = format!("{product}:SystemEvent:{}", self.name);
        let entry = catalog::find(&source, &kind);
        let (group, by_name) = state(&self.name);
        let status = if self.over {
            AlarmState::Recovered
        } else {
            entry.map_or(by_name, |entry| entry.state)
        };
        let arn = self.resource.as_deref();
        let subject = self.content.get("resourceId").text().or_else(|| {
            let arn = arn?;
            let (_, id) = arn.split_once('/').unwrap_or(("", arn));
            Some(id.to_owned())
        });
        let subject = subject.or_else(|| self.instance.clone());
        let word = self.level.as_deref().and_then(Severity::parse);
        let known = entry.map(|entry| entry.severity);
        // What ends an alarm is often sent as INFO.
        let severity = if status == AlarmState::Recovered {
            word.max(known)
        } else {
            word.or(known)
        };
        let parts = [
            source.as_str(),
            entry.map_or(group, Entry::alarm_type),
            subject.as_deref().unwrap_or_default(),
        ];
        let key = AlarmKey::of(parts);
        let region = self.region.or_else(|| {
            let region = arn?.split(':').nth(2)?;
            Some(region.to_owned())
        });
        let mut labels: Vec<_> = self
            .content
            .members()
            .filter_map(|(name, value)| Some((name.to_owned(), value.text()?)))
            .collect();
        labels.extend(self.rule.map(|rule| ("ruleName".to_owned(), rule)));
        let name = self.name;
        Draft {
            id,
            source,
            kind,
            subject,
            time_ms,
            status,
            severity: severity.unwrap_or(Severity::Warning),
            region,
            key,
            facts: Facts {
                title: self.title.or_else(|| entry.is_none().then_some(name)),
                resource_name: self.instance,
                started_at_ms: time_ms.filter(|_| status == AlarmState::Firing),
                labels,
                ..Facts::default()
            },
            raw: None,
        }
    }
}

/// What a name says by itself: the name without its state, and the state.
fn state(name: &str) -> (&str, AlarmState) {
    for (end, state) in STATES {
        if let Some(group) = name.strip_suffix(end).filter(|group| !group.is_empty()) {
            // That something was stopped or deleted does not end it.
            let lasts = group.ends_with(".Stop") || group.ends_with(".Delete");
            let state = if lasts { AlarmState::Stateless } else { state };
            return (group, state);
        }
    }
    (name, AlarmState::Stateless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_catalog_does_not_know_is_read_by_the_vendors_grammar() {
        for (name, group, status) in [
            ("X:New.Reboot:Executing", "X:New.Reboot", "1"),
            ("X:New.Reboot:Scheduled", "X:New.Reboot", "1"),
            ("X:New.Reboot:Failed", "X:New.Reboot", "1"),
            ("X:New.Reboot:Executed", "X:New.Reboot", "0"),
            ("X:New.Reboot:Avoided", "X:New.Reboot", "0"),
            ("X:New.Stop:Executed", "X:New.Stop", "-"),
            ("X:New.Delete:Executing", "X:New.Delete", "-"),
            ("X:New", "X:New", "-"),
            (":Executed", ":Executed", "-"),
        ] {
            let (found, state) = state(name);
            assert_eq!((found, state.status()), (group, status), "{name}");
        }
    }
}
