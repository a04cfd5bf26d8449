//! Events of Tencent Cloud services as its EventBridge delivers them: <https://cloud.tencent.com/document/product/1359/80062>.

use std::borrow::Cow;

use belfry_alarm::{AlarmKey, AlarmState, Severity, catalog};
use belfry_model::FieldError;

use super::cloudevents;
use crate::body::Node;
use crate::format::{Format, SignedBy};
use crate::native::{self, Added, Head};
use crate::signature::unsigned;
use crate::source::{Outcome, Request};

pub(crate) static FORMAT: Format = Format {
    name: "tencent-eb",
    title: ("Tencent Cloud EventBridge", "腾讯云事件总线"),
    signed_by: SignedBy::Nothing,
    proof: unsigned,
    read,
};

pub(crate) fn seen(request: &Request<'_>) -> bool {
    is_one(request.node())
}

/// Whether it is an event of a service of Tencent Cloud.
pub(crate) fn is_one(event: Node<'_>) -> bool {
    let source = event.get("source").text();
    native::is_event(event) && source.is_some_and(|source| source.ends_with(".cloud.tencent"))
}

fn read(request: &Request<'_>) -> Result<Outcome, FieldError> {
    native::one(request, look)
}

pub(crate) fn look(head: &Head, event: Node<'_>) -> Added {
    let data = event.get("data");
    let subject = head.subject.clone().filter(|subject| !subject.is_empty());
    let subject = subject
        .or_else(|| data.get("instanceId").text())
        .or_else(|| data.get("InstanceId").text());
    let meaning = Meaning::of(&head.source, &head.kind);
    let word = event.get("severity").text();
    let parts = [
        head.source.as_str(),
        &meaning.alarm_type,
        subject.as_deref().unwrap_or_default(),
    ];
    Added {
        status: if meaning.ends {
            AlarmState::Recovered
        } else {
            cloudevents::status(event)
        },
        severity: word
            .and_then(|word| Severity::parse(&word))
            .unwrap_or(meaning.severity),
        region: event.get("region").text(),
        key: cloudevents::given_key(event).unwrap_or_else(|| AlarmKey::of(parts)),
        subject,
    }
}

/// What a type of Tencent Cloud means, in any of its spellings.
pub(crate) struct Meaning {
    /// The type that stands in the alarm's key.
    pub(crate) alarm_type: String,
    /// Whether the event itself says that the alarm is over.
    pub(crate) ends: bool,
    pub(crate) severity: Severity,
}

impl Meaning {
    pub(crate) fn of(source: &str, kind: &str) -> Self {
        if let Some(entry) = catalog::find(source, kind) {
            return Self {
                alarm_type: entry.alarm_type().to_owned(),
                ends: entry.recovers.is_some(),
                severity: entry.severity,
            };
        }
        // A type that the catalog does not know yet: by the vendor's own grammar.
        let (class, name) = kind.rsplit_once(':').unwrap_or(("", kind));
        let error = class.ends_with(":ErrorEvent");
        let name = pascal(name);
        let began = name
            .strip_suffix("Recovery")
            .map(str::to_owned)
            .or_else(|| {
                let begun = name.strip_suffix("Executed")?;
                Some(format!("{begun}Executing"))
            });
        let began = began.filter(|began| error && !began.is_empty());
        let ends = began.is_some();
        let name = began.map_or(name, Cow::Owned);
        Self {
            alarm_type: if error {
                format!("{class}:{name}")
            } else {
                kind.to_owned()
            },
            ends,
            severity: if error {
                Severity::Warning
            } else {
                Severity::Info
            },
        }
    }
}

/// The newer spelling of a name: `ping_unreachable` is `PingUnreachable`.
pub(crate) fn pascal(name: &str) -> Cow<'_, str> {
    if !name.contains('_') && !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    for part in name.split('_') {
        let mut letters = part.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_means_the_same_in_both_spellings_also_when_the_catalog_does_not_know_it() {
        for (kind, alarm, ends) in [
            (
                "cvm:ErrorEvent:ping_unreachable",
                "cvm:ErrorEvent:PingUnreachable",
                false,
            ),
            ("xyz:ErrorEvent:new_thing", "xyz:ErrorEvent:NewThing", false),
            ("xyz:ErrorEvent:NewThing", "xyz:ErrorEvent:NewThing", false),
            (
                "xyz:ErrorEvent:NewThingRecovery",
                "xyz:ErrorEvent:NewThing",
                true,
            ),
            (
                "xyz:ErrorEvent:MoveExecuted",
                "xyz:ErrorEvent:MoveExecuting",
                true,
            ),
            ("xyz:ErrorEvent:Recovery", "xyz:ErrorEvent:Recovery", false),
            ("xyz:CloudEvent:call_x", "xyz:CloudEvent:call_x", false),
            ("plain", "plain", false),
        ] {
            let source = format!("{}.cloud.tencent", kind.split(':').next().unwrap());
            let meaning = Meaning::of(&source, kind);
            assert_eq!(
                (meaning.alarm_type.as_str(), meaning.ends),
                (alarm, ends),
                "{kind}"
            );
        }
    }
}
