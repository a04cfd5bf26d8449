//! What a function's answer looks like as an event, so that another rule can go on with it.

use belfry_functions::{Invocation, Outcome};
use belfry_model::delivery::Reason;
use belfry_model::event::{EventLimits, Fill, timestamp};
use belfry_model::{Event, EventId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::target::Job;

/// So many functions may be chained; a rule that leads back to itself ends here.
pub(crate) const HOPS_MAX: u64 = 16;

#[derive(Serialize)]
struct Document<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    belfryhops: u64,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    request_id: String,
    function: String,
    version: Option<&'a str>,
    delivery: String,
    event: Cause<'a>,
    /// How many events the function was given.
    events: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    /// In its place when it is too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failed<'a>>,
}

/// The event that the function was given; of several the first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cause<'a> {
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    event_uid: EventId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    outcome: &'static str,
    error_code: Option<&'static str>,
    message: &'a str,
}

/// Everything is given; nothing is left to be filled in.
struct Given;

impl Fill for Given {
    fn id(&mut self) -> String {
        String::new()
    }
    fn now_ms(&mut self) -> i64 {
        0
    }
}

/// How many functions an event has come through.
fn hops(event: &Event) -> u64 {
    #[derive(Deserialize)]
    struct Top {
        #[serde(default)]
        belfryhops: serde_json::Value,
    }
    let top = serde_json::from_slice::<Top>(event.doc()).ok();
    top.and_then(|top| match top.belfryhops {
        serde_json::Value::Number(hops) => hops.as_u64(),
        serde_json::Value::String(hops) => hops.parse().ok(),
        _ => None,
    })
    .unwrap_or(0)
}

/// The event that tells how an invocation has ended; `message` is what is said of a failure. `None`: the events have come
/// through too many functions already.
pub(crate) fn event(job: &Job<'_>, invocation: &Invocation, message: &str) -> Option<Event> {
    let others = job.folded.iter().map(|folded| hops(&folded.event));
    let hops = others.fold(hops(job.event), u64::max).saturating_add(1);
    if hops > HOPS_MAX {
        return None;
    }
    let whole = document(job, invocation, message, hops, true);
    // An answer of any size and depth must not keep the event from being there.
    read(&whole).or_else(|| read(&document(job, invocation, message, hops, false)))
}

fn read(document: &Document<'_>) -> Option<Event> {
    let text = serde_json::to_vec(document).ok()?;
    Event::lenient(Bytes::from(text), &mut Given, &EventLimits::default()).ok()
}

fn document<'a>(
    job: &'a Job<'_>,
    invocation: &'a Invocation,
    message: &'a str,
    hops: u64,
    with_result: bool,
) -> Document<'a> {
    let succeeded = invocation.outcome == Outcome::Succeeded;
    let result = invocation.result.as_deref();
    Document {
        specversion: "1.0",
        id: invocation.request_id.to_string(),
        source: format!("belfry/functions/{}", invocation.function),
        kind: if succeeded {
            "belfry.function.succeeded"
        } else {
            "belfry.function.failed"
        },
        subject: job.event.subject(),
        time: timestamp(invocation.ended_at_ms),
        belfryhops: hops,
        datacontenttype: "application/json",
        data: Data {
            request_id: invocation.request_id.to_string(),
            function: invocation.function.to_string(),
            version: invocation.version.as_deref(),
            delivery: job.delivery.to_string(),
            event: Cause {
                id: job.event.id(),
                source: job.event.source(),
                kind: job.event.kind(),
                subject: job.event.subject(),
                event_uid: job.delivery.event,
            },
            events: 1 + job.folded.len(),
            result: result
                .filter(|_| with_result)
                .and_then(|text| serde_json::from_str(text).ok()),
            result_bytes: result.filter(|_| !with_result).map(str::len),
            error: (!succeeded).then(|| Failed {
                outcome: invocation.outcome.as_str(),
                error_code: invocation.outcome.reason().map(Reason::as_str),
                message,
            }),
        },
    }
}
