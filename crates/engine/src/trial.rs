//! Trying a target out: showing what it would send, or sending it, outside of any delivery.
//!
//! A trial takes the way of a delivery from the transformation to the verdict, but leaves no trace: no attempt is
//! recorded, no circuit learns from it, no limit of the target or its channel is asked.

use std::sync::Arc;

use belfry_model::config::Target;
use belfry_model::{BusName, DeliveryId, Event, EventId};
use belfry_targets::{Attempted, Job, RequestRecord, Verdict};
use belfry_transform::TransformSpec;

use crate::engine::Engine;
use crate::render::Occasion;
use crate::snapshot::{self, TargetEntry};

/// A notification goes out in as many requests as it has channels; more than this is no trial.
const PARTS_MAX: usize = 20;

impl Engine {
    /// A target that is tried out without being stored; secrets in it may be in clear.
    pub fn prepare_trial(&self, target: Target, bus: BusName, rule: String) -> Arc<TargetEntry> {
        Arc::new(snapshot::connect(target, bus, rule, &self.shared.with))
    }

    /// Whether a transformation can be read at all, as far as that is not known without a helper process.
    ///
    /// # Errors
    /// What is wrong with its template, or that no helper process could be asked.
    pub async fn check_template(&self, spec: &TransformSpec) -> Result<(), belfry_eval::Fault> {
        match spec {
            TransformSpec::Jinja { template, .. } => {
                self.shared.with.templates.check(template).await
            }
            _ => Ok(()),
        }
    }

    /// What the target would send for this event; the error says why it would send nothing.
    pub async fn preview(
        &self,
        entry: &TargetEntry,
        event: &Event,
    ) -> Result<Vec<RequestRecord>, String> {
        let handler = entry.handler.as_ref().ok_or_else(|| unusable(entry))?;
        let occasion = self.occasion(entry);
        let body = entry
            .render(
                event,
                occasion,
                handler.escape(),
                &self.shared.with.templates,
            )
            .await
            .map_err(|verdict| told(&verdict))?;
        handler.preview(&job(entry, event, occasion, body.as_ref(), None))
    }

    /// Sends the event, marked as a trial; one entry for each request.
    pub async fn send_trial(&self, entry: &TargetEntry, event: &Event) -> Vec<Attempted> {
        let Some(handler) = &entry.handler else {
            return vec![Attempted::unsent(Verdict::Permanent {
                reason: belfry_model::delivery::Reason::InvalidTarget,
                detail: unusable(entry),
            })];
        };
        let occasion = self.occasion(entry);
        let templates = &self.shared.with.templates;
        let body = match entry
            .render(event, occasion, handler.escape(), templates)
            .await
        {
            Ok(body) => body,
            Err(verdict) => return vec![Attempted::unsent(verdict)],
        };
        let mut parts: Vec<Attempted> = Vec::new();
        let mut progress: Option<String> = None;
        while parts.len() < PARTS_MAX {
            let job = job(entry, event, occasion, body.as_ref(), progress.as_deref());
            let part = handler.deliver(&job).await;
            let more = matches!(part.verdict, Verdict::More { .. });
            if part.progress.is_some() {
                progress.clone_from(&part.progress);
            }
            parts.push(part);
            if !more {
                break;
            }
        }
        parts
    }

    fn occasion(&self, entry: &TargetEntry) -> Occasion {
        let now_ms = self.shared.clock.now_ms();
        Occasion {
            delivery: DeliveryId {
                event: EventId::first_at(now_ms),
                target: entry.target.id,
            },
            attempt: 1,
            now_ms,
        }
    }
}

fn job<'a>(
    entry: &'a TargetEntry,
    event: &'a Event,
    occasion: Occasion,
    body: Option<&'a belfry_transform::Rendered>,
    progress: Option<&'a str>,
) -> Job<'a> {
    Job {
        delivery: occasion.delivery,
        attempt: occasion.attempt,
        event,
        body,
        bus: entry.bus.as_str(),
        rule: &entry.rule,
        target: entry.target.name.as_str(),
        accepted_at_ms: occasion.now_ms,
        replay: None,
        traceparent: None,
        alarm: None,
        folded: &[],
        digest: false,
        progress,
        link: None,
        trial: true,
        note: None,
        channel: None,
    }
}

fn unusable(entry: &TargetEntry) -> String {
    entry
        .problem
        .clone()
        .unwrap_or_else(|| "the target's settings cannot be used".to_owned())
}

/// Why nothing is sent.
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered => "there is nothing to do".to_owned(),
        Verdict::More { detail }
        | Verdict::Retry { detail, .. }
        | Verdict::Later { detail, .. }
        | Verdict::Busy { detail, .. }
        | Verdict::Permanent { detail, .. }
        | Verdict::Gone { detail }
        | Verdict::Skipped { detail, .. } => detail.clone(),
    }
}
