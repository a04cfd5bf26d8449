//! The kind `function`: an event runs code of the operator.
//!
//! How the run ended decides about the delivery, by the failure table of `belfry-functions`. Users' errors have retries of
//! their own; how many there were is the progress of the delivery.
//!
//! | module | owns |
//! |---|---|
//! | `config` | the settings, and names of functions in Tencent's form |
//! | `result` | an answer or a failure as an event |

mod config;
mod result;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_egress::EgressClient;
use belfry_functions::{Call, Functions, Invocation, InvokedBy, Outcome, Retry};
use belfry_model::config::Schedule;
use belfry_model::delivery::Reason;
use belfry_model::{BusName, EventId, FieldError, FunctionName};
use belfry_transform::Rendered;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::kind::{ConnectContext, LabelPair, TargetKind};
use crate::record::{REQUEST_BODY_BYTES_MAX, RESPONSE_BODY_BYTES_MAX, lossy};
use crate::settings::{read, schema_of};
use crate::target::{Attempted, Batch, Job, RequestRecord, ResponseRecord, Target, Verdict};

use config::{Checked, FunctionSettings, named};
use result::HOPS_MAX;

/// Functions wait for workers, of which there are few: more deliveries at once would only wait in another place.
const CONCURRENCY: u16 = 8;
/// The waits before a run is repeated that failed by the function's own fault: two, as in SCF.
const USERS_WAITS_MS: [u64; 2] = [60_000, 120_000];
/// How long a delivery waits for which there was no worker.
const THROTTLED_MS: u64 = 5_000;
/// The same when the server is being stopped.
const STOPPED_MS: u64 = 1_000;
/// How much of the function's own words is kept as the detail of an attempt, in bytes.
const DETAIL_BYTES_MAX: usize = 1024;

/// The kind `function`.
#[derive(Debug)]
pub(crate) struct FunctionKind;

/// The function that a target of these settings runs, if they name one. Reads settings of any shape.
pub fn called_function(settings: &Value) -> Option<FunctionName> {
    let text = settings.get("function")?.as_str()?;
    named(text).ok().map(|(function, _)| function)
}

impl TargetKind for FunctionKind {
    fn name(&self) -> &'static str {
        "function"
    }

    fn title(&self) -> LabelPair {
        ("Function", "云函数")
    }

    fn about(&self) -> LabelPair {
        (
            "Runs code of yours, written as for Tencent SCF, Alibaba Function Compute or AWS Lambda, on this server.",
            "在本服务器上运行您的代码，写法与腾讯云 SCF、阿里云函数计算或 AWS Lambda 相同。",
        )
    }

    fn schema(&self) -> Value {
        schema_of::<FunctionSettings>()
    }

    fn example(&self) -> Value {
        json!({
            "function": "default/restart",
            "qualifier": "$DEFAULT",
            "onSuccess": { "bus": "default" }
        })
    }

    fn secret_pointers(&self, _: &Value) -> Vec<String> {
        Vec::new()
    }

    fn shown_to(&self, _settings: &Value, _pointer: &str) -> Option<String> {
        None
    }

    fn default_schedule(&self) -> Schedule {
        Schedule::Standard
    }

    fn default_retry_on_4xx(&self) -> bool {
        false
    }

    fn default_concurrency(&self) -> u16 {
        CONCURRENCY
    }

    fn buses(&self, settings: &Value) -> Vec<(String, BusName)> {
        ["onSuccess", "onFailure"]
            .into_iter()
            .filter_map(|member| {
                let pointer = format!("/{member}/bus");
                let bus = settings.pointer(&pointer)?.as_str()?.parse().ok()?;
                Some((pointer, bus))
            })
            .collect()
    }

    fn validate(&self, settings: &Value, _: &EgressClient) -> Vec<FieldError> {
        read(settings)
            .and_then(Checked::new)
            .err()
            .unwrap_or_default()
    }

    fn connect(
        &self,
        settings: Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>> {
        Ok(Arc::new(FunctionTarget {
            settings: read(&settings).and_then(Checked::new)?,
            functions: Arc::clone(&context.functions),
        }))
    }
}

struct FunctionTarget {
    settings: Checked,
    functions: Arc<dyn Functions>,
}

/// What is left behind for the next attempt.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// Runs that failed by the function's own fault.
    failures: usize,
}

#[async_trait]
impl Target for FunctionTarget {
    async fn deliver(&self, job: &Job<'_>) -> Attempted {
        let given = self.given(job);
        let events: Vec<EventId> = std::iter::once(job.delivery.event)
            .chain(job.folded.iter().map(|folded| folded.delivery.event))
            .collect();
        let call = Call {
            function: &self.settings.function,
            qualifier: &self.settings.qualifier,
            event: &given,
            // The delivery of a trial is none.
            invoked_by: if job.trial {
                InvokedBy::Test
            } else {
                InvokedBy::Delivery
            },
            delivery: (!job.trial).then_some(job.delivery),
            events: if job.trial { &[] } else { &events },
            attempt: job.attempt,
            routing: routing(job.delivery.event),
        };
        let invocation = self.functions.invoke(call).await;
        self.attempted(job, &given, invocation)
    }

    fn timeout(&self) -> Duration {
        self.functions.longest(&self.settings.function)
    }

    fn batch(&self) -> Option<Batch> {
        self.settings.batch
    }

    fn preview(&self, job: &Job<'_>) -> Result<Vec<RequestRecord>, String> {
        let given = self.given(job);
        Ok(vec![RequestRecord {
            body: Some(given.clone().into_owned()),
            ..self.request(job, &given)
        }])
    }
}

impl FunctionTarget {
    /// What the function is given.
    fn given<'a>(&self, job: &'a Job<'_>) -> Cow<'a, str> {
        let first = json_text(job.body, job.event.doc());
        if self.settings.batch.is_none() {
            return first;
        }
        let mut list = format!("{{\"EventList\":[{first}");
        for folded in job.folded {
            list.push(',');
            list.push_str(&json_text(folded.body.as_ref(), folded.event.doc()));
        }
        list.push_str("]}");
        Cow::Owned(list)
    }

    fn request(&self, job: &Job<'_>, given: &str) -> RequestRecord {
        let body_is_event = job.body.is_none() && self.settings.batch.is_none();
        RequestRecord {
            method: "INVOKE".to_owned(),
            url: format!(
                "function:{}:{}",
                self.settings.function, self.settings.qualifier
            ),
            headers: Vec::new(),
            body_bytes: given.len(),
            body: (!body_is_event).then(|| lossy(given.as_bytes(), REQUEST_BODY_BYTES_MAX)),
            body_is_event,
        }
    }

    fn attempted(&self, job: &Job<'_>, given: &str, invocation: Invocation) -> Attempted {
        let took_ms = invocation.ended_at_ms - invocation.started_at_ms;
        let mut attempted = Attempted {
            status: Some(invocation.outcome.status_code()),
            duration_ms: u32::try_from(took_ms).unwrap_or(0),
            request: Some(self.request(job, given)),
            response: response(&invocation),
            ..Attempted::unsent(Verdict::Delivered)
        };
        let reason = invocation.outcome.reason();
        let message = detail(&invocation);
        if let Some(reason) = reason {
            let failed = self.failed(job, invocation.outcome, reason, message.clone());
            (attempted.verdict, attempted.progress) = failed;
        }
        let wanted = match reason {
            None => &self.settings.on_success,
            Some(_) => &self.settings.on_failure,
        };
        if let Some(bus) = wanted {
            match result::event(job, &invocation, &message) {
                Some(event) => attempted.emit.push((bus.clone(), event)),
                None => attempted.not_sent(),
            }
        }
        attempted.invocation = Some(Box::new(invocation));
        attempted
    }

    /// What a failure means for the delivery.
    fn failed(
        &self,
        job: &Job<'_>,
        outcome: Outcome,
        reason: Reason,
        detail: String,
    ) -> (Verdict, Option<String>) {
        let verdict = match outcome.retry() {
            Retry::Users if self.settings.retry_on_function_error => {
                let before = job
                    .progress
                    .and_then(|text| serde_json::from_str(text).ok());
                let Progress { failures } = before.unwrap_or_default();
                let Some(wait_ms) = USERS_WAITS_MS.get(failures) else {
                    let detail = format!("{detail}; it has failed {} times", failures + 1);
                    return (Verdict::Permanent { reason, detail }, None);
                };
                let after = Progress {
                    failures: failures + 1,
                };
                let later = Verdict::Later {
                    reason,
                    detail,
                    wait_ms: *wait_ms,
                };
                return (later, serde_json::to_string(&after).ok());
            }
            Retry::No | Retry::Users => Verdict::Permanent { reason, detail },
            Retry::Standard => Verdict::Retry {
                reason,
                detail,
                retry_after_ms: None,
            },
            Retry::NotCounted => Verdict::Busy {
                reason,
                detail,
                wait_ms: if outcome == Outcome::Stopped {
                    STOPPED_MS
                } else {
                    THROTTLED_MS
                },
            },
        };
        (verdict, None)
    }
}

impl Attempted {
    /// No event tells of the result.
    fn not_sent(&mut self) {
        let why = format!(
            "no event tells of the result: this one has come through {HOPS_MAX} functions already"
        );
        match &mut self.verdict {
            Verdict::Delivered => self.note = Some(why),
            Verdict::Permanent { detail, .. } => *detail = format!("{detail}; {why}"),
            _ => {}
        }
    }
}

/// The text of a body as JSON: as it is if it is JSON, else as a string.
fn json_text<'a>(body: Option<&'a Rendered>, doc: &'a [u8]) -> Cow<'a, str> {
    let Some(body) = body else {
        return String::from_utf8_lossy(doc);
    };
    let text = String::from_utf8_lossy(&body.body);
    if serde_json::from_str::<IgnoredAny>(&text).is_ok() {
        text
    } else {
        Cow::Owned(Value::String(text.into_owned()).to_string())
    }
}

/// The same number for every attempt, evenly spread over events.
fn routing(event: EventId) -> u64 {
    let digest: [u8; 32] = Sha256::digest(event.get().to_le_bytes()).into();
    digest
        .first_chunk::<8>()
        .map_or(0, |first| u64::from_le_bytes(*first))
}

/// What the function has answered, or how it has failed.
fn response(invocation: &Invocation) -> Option<ResponseRecord> {
    let body = match (&invocation.failure, &invocation.result) {
        (Some(failure), _) => Cow::Owned(serde_json::to_string(failure).ok()?),
        (None, Some(result)) => Cow::Borrowed(result.as_str()),
        (None, None) => return None,
    };
    Some(ResponseRecord {
        status: invocation.outcome.status_code(),
        headers: Vec::new(),
        truncated: body.len() > RESPONSE_BODY_BYTES_MAX,
        bytes: body.len(),
        body: lossy(body.as_bytes(), RESPONSE_BODY_BYTES_MAX),
    })
}

/// What went wrong, for people: what kind of failure it was, and the function's own words if it has some.
fn detail(invocation: &Invocation) -> String {
    let what = match invocation.outcome {
        Outcome::Succeeded => "it succeeded",
        Outcome::Threw => "the function has failed",
        Outcome::NotSerializable => "the function's answer is no JSON",
        Outcome::NoAnswer => "the function has ended without an answer",
        Outcome::LateError => "the function has failed after its answer",
        Outcome::TimedOut => "the function has not answered within its time",
        Outcome::LateTimedOut => "the function has answered, but has not ended within its time",
        Outcome::OutOfMemory => "the function needs more memory than it may have",
        Outcome::ScratchFull => "the function has written more than its scratch folder may hold",
        Outcome::Exited => "the function's process has ended",
        Outcome::AnswerTooLarge => "the function's answer is too large",
        Outcome::EventTooLarge => "the event is too large for a function",
        Outcome::InitFailed => "the function's code cannot be loaded",
        Outcome::InitTimedOut => "the function's code was not loaded within its time",
        Outcome::NoFunction => "there is no such function",
        Outcome::NoVersion => "the function has no such version or alias",
        Outcome::Unavailable => "the function is disabled, or cannot be run by this server",
        Outcome::Throttled => {
            "all workers of the function are busy, or it is not started again yet"
        }
        Outcome::NotStarted => "the function's process could not be started",
        Outcome::ProtocolBroken => "the function's worker has broken the rules",
        Outcome::Internal => "the function was not run, by a mistake of Belfry",
        Outcome::Stopped => "the server stopped",
        Outcome::Deleted => "the function was deleted",
        Outcome::Lost => "the server ended while the function ran",
    };
    let Some(failure) = &invocation.failure else {
        return what.to_owned();
    };
    // Where nothing ran, the kind is the outcome's own word.
    let mut detail = if failure.kind == invocation.outcome.as_str() {
        format!("{what}: {}", failure.message)
    } else {
        format!("{what}: {}: {}", failure.kind, failure.message)
    };
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
    detail
}
