//! CloudEvents of anybody, one or several: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.

use belfry_alarm::{AlarmKey, AlarmState, Severity};
use belfry_model::FieldError;
use serde_json::value::RawValue;

use super::{alibaba_eventbridge, tencent_eb};
use crate::body::Node;
use crate::format::{Format, SignedBy};
use crate::native::{self, Added, Head, Look};
use crate::signature::unsigned;
use crate::source::{EVENTS_MAX, Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "cloudevents",
    title: ("CloudEvents", "CloudEvents 标准事件"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

pub(crate) fn seen(request: &Request<'_>) -> bool {
    let list = request.node().list();
    native::is_event(request.node())
        || (!list.is_empty() && list.iter().all(|event| native::is_event(Node(event))))
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    let list = request.node().list();
    if list.is_empty() {
        return native::one(request, look);
    }
    if list.len() > EVENTS_MAX {
        let detail = format!("a request has at most {EVENTS_MAX} events");
        return Err(FieldError::new("", detail));
    }
    let texts: Vec<&RawValue> = serde_json::from_str(&request.body.text)
        .map_err(|error| FieldError::new("", format!("not valid JSON: {error}")))?;
    let events = texts
        .iter()
        .zip(list)
        .enumerate()
        .map(|(n, (text, event))| {
            native::document(text.get(), Node(event), look_of(Node(event)), "ce")
                .map_err(|error| error.under(&format!("/{n}")))
        });
    Ok(Outcome::Events(events.collect::<Result<_, _>>()?))
}

/// Events of several vendors may come in one list.
fn look_of(event: Node<'_>) -> Look {
    if tencent_eb::is_one(event) {
        tencent_eb::look
    } else if alibaba_eventbridge::is_one(event) {
        alibaba_eventbridge::look
    } else {
        look
    }
}

fn look(head: &Head, event: Node<'_>) -> Added {
    let word = event.get("severity").text();
    let parts = [
        head.source.as_str(),
        &head.kind,
        head.subject.as_deref().unwrap_or_default(),
    ];
    Added {
        subject: head.subject.clone(),
        status: status(event),
        severity: word
            .and_then(|word| Severity::parse(&word))
            .unwrap_or(Severity::Info),
        region: event.get("region").text(),
        key: given_key(event).unwrap_or_else(|| AlarmKey::of(parts)),
    }
}

/// The status that an event says it has.
pub(crate) fn status(event: Node<'_>) -> AlarmState {
    event
        .get("status")
        .text()
        .map_or(AlarmState::Stateless, |status| AlarmState::parse(&status))
}

/// The key that the sender gave, if it did.
pub(crate) fn given_key(event: Node<'_>) -> Option<AlarmKey> {
    event
        .get("alarmkey")
        .text()
        .map(|key| AlarmKey::given(&key))
}
