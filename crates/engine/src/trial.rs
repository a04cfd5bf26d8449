//! Trying a target out: showing what it would send, or sending it, outside of any delivery.
//!
//! A trial takes the way of a delivery from the transformation to the verdict, but leaves no trace: no attempt is
//! recorded, no circuit learns from it, no limit of the target is asked. Only the limit of its channel holds, since the
//! vendor counts what is sent for a trial too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use belfry_eval::Fault;
use belfry_model::config::Target;
use belfry_model::delivery::Reason;
use belfry_model::{BusName, DeliveryId, Event, EventId};
use belfry_targets::{Attempted, Job, RequestRecord, Verdict};
use belfry_transform::TransformSpec;

use crate::channel::{self, Channel, Rank};
use crate::engine::Engine;
use crate::render::{Made, Occasion, Transformed, question};
use crate::snapshot::{self, TargetEntry};

/// A notification goes out in as many requests as it has channels; more than this is no trial.
const PARTS_MAX: usize = 20;
/// How long a trial waits for a permit of its channel: somebody looks on. The slowest channels have one in five seconds.
const PERMIT_WAIT: Duration = Duration::from_secs(10);

/// A transformation that was tried out.
#[derive(Debug)]
pub struct Tried {
    /// What it made of the event.
    pub made: Result<Made, Fault>,
    /// What a script printed.
    pub printed: String,
    /// How long it took, a first start of a helper process included.
    pub duration: Duration,
}

impl Engine {
    /// A target that is tried out without being stored; secrets in it may be in clear.
    pub fn prepare_trial(&self, target: Target, bus: BusName, rule: String) -> Arc<TargetEntry> {
        Arc::new(snapshot::connect(target, bus, rule, &self.shared.with))
    }

    /// Whether a transformation can be read at all, as far as that is not known without a helper process.
    ///
    /// # Errors
    /// What is wrong with its template, or that no helper process could be asked.
    pub async fn check_template(&self, spec: &TransformSpec) -> Result<(), Fault> {
        let templates = &self.shared.with.templates;
        if let Some(script) = spec.script() {
            return templates.check_script(&question(&script)).await;
        }
        match spec {
            TransformSpec::Jinja { template, .. } => templates.check(template).await,
            _ => Ok(()),
        }
    }

    /// What the target's transformation makes of this event; `None` when it has none.
    pub async fn try_transform(&self, entry: &TargetEntry, event: &Event) -> Option<Tried> {
        let transform = entry.transform.as_ref()?;
        let occasion = self.occasion(entry);
        let escape = entry.handler.as_ref().map(|handler| handler.escape());
        let escape = escape.unwrap_or_default();
        let templates = &self.shared.with.templates;
        let begun = Instant::now();
        let Transformed { made, printed } = entry
            .carry_out(transform, event, occasion, escape, templates)
            .await;
        Some(Tried {
            made,
            printed,
            duration: begun.elapsed(),
        })
    }

    /// What the target would send for this event as a delivery; the error says why it would send nothing.
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
        let link = self.shared.settings.delivery_link(occasion.delivery);
        handler.preview(&Job {
            link: link.as_deref(),
            trial: false,
            ..job(entry, event, occasion, body.as_ref(), None)
        })
    }

    /// Sends the event, marked as a trial; one entry for each request.
    pub async fn send_trial(&self, entry: &TargetEntry, event: &Event) -> Vec<Attempted> {
        let Some(handler) = &entry.handler else {
            return vec![Attempted::unsent(Verdict::Permanent {
                reason: Reason::InvalidTarget,
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
            let channel = self.trial_channel(entry, event, progress.as_deref());
            if let Some(channel) = &channel
                && let Err(unsent) = permit(channel, occasion).await
            {
                parts.push(Attempted::unsent(unsent));
                break;
            }
            let job = Job {
                channel: channel.as_ref().map(|channel| channel.key()),
                ..job(entry, event, occasion, body.as_ref(), progress.as_deref())
            };
            let part = handler.deliver(&job).await;
            let throttled = part.verdict.throttled().or(part.throttled);
            if let (Some(channel), Some(throttled)) = (channel, throttled) {
                channel.pause(throttled.retry_after_ms);
            }
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

    /// The channel that the next request goes through, if it goes through one.
    fn trial_channel(
        &self,
        entry: &TargetEntry,
        event: &Event,
        progress: Option<&str>,
    ) -> Option<Arc<Channel>> {
        let key = entry.next_part(event, progress, |_| 0).channel?;
        let wanted = entry.channels.iter().find(|channel| channel.key == key)?;
        let shared = &self.shared;
        let share = |target| shared.lease.share(target);
        Some(shared.channels.kept(wanted, share, &shared.clock))
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

/// A permit for one request of a trial, behind all deliveries that wait; else why nothing is sent.
async fn permit(channel: &Channel, occasion: Occasion) -> Result<(), Verdict> {
    let rank = Rank {
        class: channel::Class::Other,
        delivery: occasion.delivery,
    };
    let paused_ms = channel.paused_until_ms(occasion.now_ms) - occasion.now_ms;
    let wait_ms = u64::try_from(paused_ms).unwrap_or(0);
    let permitted = Duration::from_millis(wait_ms) < PERMIT_WAIT
        && tokio::time::timeout(PERMIT_WAIT, channel.permit(rank))
            .await
            .is_ok();
    if permitted {
        return Ok(());
    }
    let why = if wait_ms > 0 {
        format!(
            "the vendor asked for a pause that lasts {} seconds more",
            wait_ms.div_ceil(1000)
        )
    } else {
        "the vendor's limit, which other messages share, lets none through now".to_owned()
    };
    Err(Verdict::Retry {
        reason: Reason::ChannelLimit,
        detail: format!("nothing was sent: {why}; try again later"),
        retry_after_ms: (wait_ms > 0).then_some(wait_ms),
    })
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
