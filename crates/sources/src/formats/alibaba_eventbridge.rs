//! Events of Alibaba Cloud services as its EventBridge delivers them: <https://help.aliyun.com/zh/eventbridge/user-guide/event-overview>.

use belfry_alarm::{AlarmKey, Severity};
use belfry_model::FieldError;

use super::cloudevents;
use crate::body::Node;
use crate::format::{Format, SignedBy};
use crate::native::{self, Added, Head};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "alibaba-eventbridge",
    title: ("Alibaba Cloud EventBridge", "阿里云事件总线"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

pub(crate) fn seen(request: &Request<'_>) -> bool {
    is_one(request.node())
}

/// Whether it is an event of a service of Alibaba Cloud.
pub(crate) fn is_one(event: Node<'_>) -> bool {
    let marked = event.members().any(|(name, _)| name.starts_with("aliyun"));
    native::is_event(event) && marked
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    native::one(request, look)
}

pub(crate) fn look(head: &Head, event: Node<'_>) -> Added {
    let word = event.get("severity").text();
    let word = word.or_else(|| event.get("data").get("level").text());
    let parts = [
        head.source.as_str(),
        &head.kind,
        head.subject.as_deref().unwrap_or_default(),
    ];
    Added {
        subject: head.subject.clone(),
        status: cloudevents::status(event),
        severity: word
            .and_then(|word| Severity::parse(&word))
            .unwrap_or(Severity::Info),
        region: event
            .get("region")
            .text()
            .or_else(|| event.get("aliyunregionid").text()),
        key: cloudevents::given_key(event).unwrap_or_else(|| AlarmKey::of(parts)),
    }
}
