//! An event as a target is to receive it: what the target's transformation makes of it.
//!
//! Deliveries and trials go the same way, so that what a trial shows is what is sent.

use std::fmt::Display;

use belfry_eval::{FaultKind, Templates};
use belfry_model::delivery::Reason;
use belfry_model::event::timestamp;
use belfry_model::{DeliveryId, Event};
use belfry_targets::Verdict;
use belfry_transform::{Context, Escape, Rendered};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::snapshot::TargetEntry;

/// Of which delivery it is, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion {
    pub(crate) delivery: DeliveryId,
    pub(crate) attempt: u32,
    pub(crate) now_ms: i64,
}

impl TargetEntry {
    /// The body; `None` when the target makes its own. A verdict when there is none to be sent.
    pub(crate) async fn render(
        &self,
        event: &Event,
        occasion: Occasion,
        escape: Escape,
        templates: &Templates,
    ) -> Result<Option<Rendered>, Verdict> {
        let Some(transform) = &self.transform else {
            if self.target.spec.transform.is_none() {
                return Ok(None);
            }
            return Err(Verdict::Permanent {
                reason: Reason::TransformError,
                detail: self.problem.clone().unwrap_or_default(),
            });
        };
        let delivery = occasion.delivery.to_string();
        let rendered = if let Some((template, escape)) = transform.jinja(escape) {
            let context = self.names(event, occasion, &delivery);
            match templates.render(template, &context).await {
                Ok(pieces) => {
                    let text = belfry_eval::join(pieces, |value| escape.apply(value));
                    transform.finish_jinja(text)
                }
                Err(fault) if fault.kind == FaultKind::Unavailable => {
                    return Err(Verdict::Retry {
                        reason: Reason::TransformError,
                        detail: fault.to_string(),
                        retry_after_ms: None,
                    });
                }
                Err(fault) => return self.without_body(&fault),
            }
        } else {
            let uid = occasion.delivery.event.to_string();
            let context = Context {
                rule: &self.rule,
                rule_arn: None,
                bus: self.bus.as_str(),
                target: self.target.name.as_str(),
                event_uid: &uid,
                delivery: &delivery,
                attempt: occasion.attempt,
                accepted_at_ms: occasion.delivery.event.time_ms(),
                now_ms: occasion.now_ms,
            };
            transform.render_with(event.doc(), &context, escape)
        };
        match rendered {
            Ok(rendered) => Ok(Some(rendered)),
            Err(error) if error.is_filtered() => Err(Verdict::Skipped {
                reason: Reason::NothingToSend,
                detail: error.to_string(),
            }),
            Err(error) => self.without_body(&error),
        }
    }

    /// The transformation failed on this event, and would fail again.
    fn without_body(&self, error: &dyn Display) -> Result<Option<Rendered>, Verdict> {
        if self.send_original {
            tracing::warn!(%error, "the transformation failed; the event is sent as it is");
            return Ok(None);
        }
        Err(Verdict::Permanent {
            reason: Reason::TransformError,
            detail: error.to_string(),
        })
    }

    /// The names that a Jinja template may use, as the text of a JSON object.
    fn names(&self, event: &Event, occasion: Occasion, delivery: &str) -> String {
        // The document is JSON; it is put in as it is, since reading and writing it would change numbers.
        let doc = String::from_utf8_lossy(event.doc());
        let data = serde_json::from_str::<Data<'_>>(&doc)
            .ok()
            .and_then(|top| top.data)
            .map_or("null", RawValue::get);
        let own = json!({
            "bus": self.bus.as_str(),
            "rule": self.rule,
            "target": self.target.name.as_str(),
            "delivery": delivery,
            "attempt": occasion.attempt,
            "now": timestamp(occasion.now_ms),
        });
        let own = own.to_string();
        let own = own.strip_suffix('}').unwrap_or(&own);
        format!("{own},\"event\":{doc},\"data\":{data}}}")
    }
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}
