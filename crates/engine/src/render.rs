//! An event as a target is to receive it: what the target's transformation makes of it.
//!
//! Deliveries and trials go the same way, so that what a trial shows is what is sent.

use belfry_model::delivery::Reason;
use belfry_model::{DeliveryId, Event};
use belfry_targets::Verdict;
use belfry_transform::{Context, Escape, Rendered};

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
    pub(crate) fn render(
        &self,
        event: &Event,
        occasion: Occasion,
        escape: Escape,
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
        match transform.render_with(event.doc(), &context, escape) {
            Ok(rendered) => Ok(Some(rendered)),
            Err(error) if error.is_filtered() => Err(Verdict::Skipped {
                reason: Reason::NothingToSend,
                detail: error.to_string(),
            }),
            Err(error) if self.send_original => {
                tracing::warn!(%error, "the transformation failed; the event is sent as it is");
                Ok(None)
            }
            Err(error) => Err(Verdict::Permanent {
                reason: Reason::TransformError,
                detail: error.to_string(),
            }),
        }
    }
}
