//! Events of JD Cloud, whole or only their detail as mails and short messages show it: <https://docs.jdcloud.com/cn/virtual-machines/event-overview>.

use belfry_alarm::catalog::{self, Entry};
use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;

use crate::body::{Node, missing};
use crate::draft::{Draft, Facts};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "jdcloud",
    title: ("JD Cloud event", "京东云事件"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read: |request| {
        read(
            request,
            request.node().get("detail"),
            &["detail", "eventAction"],
        )
    },
};

pub(crate) static DETAIL: Format = Format {
    name: "jdcloud-detail",
    title: ("JD Cloud event, detail only", "京东云事件（仅 detail）"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read: |request| read(request, request.node(), &["eventAction"]),
};

const SOURCE: &str = "jcloud.vm";

pub(crate) fn seen(request: &Request<'_>) -> bool {
    request.node().get("detail").get("eventAction").exists()
}

pub(crate) fn seen_detail(request: &Request<'_>) -> bool {
    let body = request.node();
    body.get("eventAction").exists() && body.get("instanceId").exists()
}

fn read(request: &Request<'_>, detail: Node<'_>, need: &[&str]) -> Result<Outcome, FieldError> {
    let body = request.node();
    let action = detail
        .get("eventAction")
        .text()
        .ok_or_else(|| missing(need))?;
    let source = body
        .get("source")
        .text()
        .unwrap_or_else(|| SOURCE.to_owned());
    let product = source.strip_prefix("jcloud.").unwrap_or(&source).to_owned();
    // Only this one is documented; the catalog knows every event under it.
    let entry = catalog::find(&source, &format!("{product}:StatusNotification:{action}"));
    let class = body.get("detailType").text().or_else(|| {
        let mut parts = entry?.kind.split(':');
        parts.nth(1).map(str::to_owned)
    });
    let class = class.unwrap_or_else(|| "StatusNotification".to_owned());
    let subject = detail
        .get("instanceId")
        .text()
        .or_else(|| body.get("resources").first().text());
    let word = detail.get("eventState").text().unwrap_or_default();
    let now = detail.get("instanceCurrentState").text();
    let failed = word == "Failed" || now.as_deref() == Some("error");
    let severity = entry.map_or(Severity::Warning, |entry| entry.severity);
    let parts = [
        source.as_str(),
        entry.map_or(&action, Entry::alarm_type),
        subject.as_deref().unwrap_or_default(),
    ];
    let key = AlarmKey::of(parts);
    let labels = detail
        .members()
        .filter_map(|(name, value)| Some((name.to_owned(), value.text()?)));
    let change = now.map(|now| {
        let before = detail.get("instanceLastState").text();
        format!("{} → {now}", before.as_deref().unwrap_or("-"))
    });
    Ok(request.event(Draft {
        id: body
            .get("id")
            .text()
            .unwrap_or_else(|| request.hash_id("jd")),
        kind: format!("{product}:{class}:{action}"),
        subject,
        time_ms: request
            .beijing(detail.get("eventTime"))
            .or_else(|| request.beijing(body.get("time"))),
        status: entry.map_or(AlarmState::Stateless, |entry| entry.state_of(&word)),
        severity: if failed {
            severity.max(Severity::Error)
        } else {
            severity
        },
        region: body.get("region").text(),
        key,
        facts: Facts {
            title: entry.is_none().then_some(action),
            summary: change,
            labels: labels.collect(),
            ..Facts::default()
        },
        raw: None,
        source,
    }))
}
