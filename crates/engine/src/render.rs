//! An event as a target is to receive it: what the target's transformation makes of it.
//!
//! Deliveries and trials go the same way, so that what a trial shows is what is sent.

use std::fmt::Display;

use belfry_eval::{Fault, FaultKind, Output, Templates, Variable};
use belfry_model::delivery::Reason;
use belfry_model::event::timestamp;
use belfry_model::{DeliveryId, Event};
use belfry_targets::Verdict;
use belfry_transform::{Context, Escape, Rendered, Script, Transform};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::report::DEAD_LETTER;
use crate::snapshot::TargetEntry;

/// Of which delivery it is, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion {
    pub(crate) delivery: DeliveryId,
    pub(crate) attempt: u32,
    pub(crate) now_ms: i64,
}

/// What a transformation makes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// A body.
    Body(Rendered),
    /// It decided that there is nothing to send, and why.
    Nothing(String),
}

/// A transformation that was carried out.
pub(crate) struct Transformed {
    pub(crate) made: Result<Made, Fault>,
    /// What a script printed.
    pub(crate) printed: String,
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
        let transformed = self
            .carry_out(transform, event, occasion, escape, templates)
            .await;
        match transformed.made {
            Ok(Made::Body(rendered)) => Ok(Some(rendered)),
            Ok(Made::Nothing(detail)) => Err(Verdict::Skipped {
                reason: Reason::NothingToSend,
                detail,
            }),
            Err(fault) if fault.kind == FaultKind::Unavailable => Err(Verdict::Retry {
                reason: Reason::TransformError,
                detail: fault.to_string(),
                retry_after_ms: None,
            }),
            Err(fault) => self.without_body(&fault),
        }
    }

    /// What a transformation makes of an event.
    pub(crate) async fn carry_out(
        &self,
        transform: &Transform,
        event: &Event,
        occasion: Occasion,
        escape: Escape,
        templates: &Templates,
    ) -> Transformed {
        let delivery = occasion.delivery.to_string();
        let mut printed = String::new();
        let rendered = if let Some((template, escape)) = transform.jinja(escape) {
            let context = self.names(event, occasion, &delivery);
            match templates.render(template, &context).await {
                Ok(pieces) => {
                    let text = belfry_eval::join(pieces, |value| escape.apply(value));
                    transform.finish_text(text)
                }
                Err(fault) => return fault.into(),
            }
        } else if let Some(script) = transform.script() {
            let message = self.message(event, occasion, &delivery);
            match templates.run(&question(script), &message).await {
                Ok(ran) => {
                    printed = ran.printed;
                    match ran.output {
                        Output::Text(text) => transform.finish_text(text),
                        Output::Json(text) => transform.finish_json(text),
                        Output::Nothing => {
                            let why = "the script returned None: there is nothing to send";
                            return Transformed {
                                made: Ok(Made::Nothing(why.to_owned())),
                                printed,
                            };
                        }
                    }
                }
                Err(fault) => return fault.into(),
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
        let made = match rendered {
            Ok(rendered) => Ok(Made::Body(rendered)),
            Err(error) if error.is_filtered() => Ok(Made::Nothing(error.to_string())),
            Err(error) => Err(Fault::template(error.to_string())),
        };
        Transformed { made, printed }
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

    /// What a script's message is made of, as the text of a JSON object.
    fn message(&self, event: &Event, occasion: Occasion, delivery: &str) -> String {
        let doc = String::from_utf8_lossy(event.doc());
        let own = json!({
            "attrs": {
                "bus": self.bus.as_str(),
                "rule": self.rule,
                "target": self.target.name.as_str(),
                "attempt": occasion.attempt,
                "time": timestamp(occasion.now_ms),
            },
            "id": occasion.delivery.event.to_string(),
            "seq_id": delivery,
            "error": failure(event),
            "now_ms": occasion.now_ms,
        });
        let own = own.to_string();
        let own = own.strip_suffix('}').unwrap_or(&own);
        format!("{own},\"payload\":{doc}}}")
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

impl From<Fault> for Transformed {
    fn from(mut fault: Fault) -> Self {
        let printed = std::mem::take(&mut fault.printed);
        Self {
            made: Err(fault),
            printed,
        }
    }
}

/// A script as the helper process takes it.
pub(crate) fn question(script: &Script) -> belfry_eval::Script {
    let vars = script.vars.iter().map(|(name, variable)| {
        let variable = match variable {
            belfry_transform::Variable::Value(value) => Variable::Value(value.clone()),
            belfry_transform::Variable::Script(source) => Variable::Script(source.clone()),
        };
        (name.clone(), variable)
    });
    belfry_eval::Script {
        source: script.source.clone(),
        vars: vars.collect(),
    }
}

/// What a dead letter says of the failure, as scripts see it; `null` for other events.
fn failure(event: &Event) -> serde_json::Value {
    #[derive(Deserialize)]
    struct Document {
        data: Letter,
    }
    #[derive(Deserialize)]
    struct Letter {
        status: String,
        reason: Option<String>,
        detail: Option<String>,
    }
    if event.kind() != DEAD_LETTER {
        return serde_json::Value::Null;
    }
    let letter = serde_json::from_slice::<Document>(event.doc());
    letter.map_or(serde_json::Value::Null, |document| {
        let Letter {
            status,
            reason,
            detail,
        } = document.data;
        json!({ "Code": reason.unwrap_or(status), "Description": detail.unwrap_or_default() })
    })
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}
