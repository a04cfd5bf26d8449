//! Event subscriptions of Alibaba Cloud's `CloudMonitor`, JSON or a form of JSON texts: <https://help.aliyun.com/zh/cms/cloudmonitor-1-0/user-guide/manage-event-subscription-policies>.

use belfry_model::FieldError;

use super::alibaba_event::SystemEvent;
use crate::body::{Node, missing};
use crate::format::{Format, SignedBy};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "alibaba-subscription",
    title: ("Alibaba Cloud event subscription", "阿里云事件订阅"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

pub(crate) fn in_form(request: &Request<'_>) -> bool {
    request.body.form && seen(request)
}

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let body = request.node();
    let has = |name: &str| body.get(name).exists();
    has("alert") && (has("subscription") || has("strategyName"))
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let body = request.node();
    let alert = body.get("alert").json().ok_or_else(|| {
        let detail = "expected an object, or JSON text of one";
        FieldError::new("/alert", detail)
    })?;
    let alert = Node(&alert);
    let meta = alert.get("meta").json().unwrap_or_default();
    let meta = Node(&meta).get("sysEventMeta");
    let content = alert.get("eventContentMap").json().unwrap_or_default();
    let either = |one: Node<'_>, other: Node<'_>| one.text().or_else(|| other.text());
    let over = alert.get("alertStatus").text().as_deref() == Some("RESOLVED");
    let event = SystemEvent {
        product: either(alert.get("product"), meta.get("product"))
            .ok_or_else(|| missing(&["alert", "product"]))?,
        name: either(alert.get("eventName"), meta.get("name"))
            .ok_or_else(|| missing(&["alert", "eventName"]))?,
        content: Node(&content),
        resource: either(meta.get("resourceId"), alert.get("arn")),
        level: either(alert.get("severity"), meta.get("level"))
            .or_else(|| body.get("severity").text()),
        region: meta.get("regionId").text(),
        instance: meta.get("instanceName").text(),
        rule: body.get("strategyName").text(),
        title: meta.get("eventNameZh").text(),
        over,
    };
    let id = alert.get("traceId").text().map_or_else(
        || request.hash_id("cms"),
        |id| if over { format!("{id}-resolved") } else { id },
    );
    let time = request
        .beijing(meta.get("eventTime"))
        .or_else(|| request.beijing(alert.get("timestamp")))
        .or_else(|| request.beijing(body.get("time")));
    let mut draft = event.draft(id, time);
    if over {
        draft.facts.started_at_ms = time;
    }
    Ok(request.event(draft))
}
