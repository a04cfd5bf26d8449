//! Asking for an invocation by hand: at once, later, or only whether it could be made; and whether code loads.

use belfry_functions::{Call, ColdStart, Failure, Invocation, InvokedBy, Line, Outcome};
use belfry_model::access::Scope;
use belfry_model::json::JsonText;
use belfry_model::{EventId, FunctionName};
use belfry_store::NewCall;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::invocations::LineView;
use super::service::Refused;
use super::{DEFAULT, LATEST};
use crate::App;
use crate::actor::Actor;
use crate::error::{Code, Error, Result};
use crate::input;
use crate::testing::one_event;

/// How much of the log an answer shows, in bytes: as SCF does.
const LOG_TAIL_BYTES: usize = 4096;

/// How an invocation is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Mode {
    /// The answer is waited for.
    #[default]
    Sync,
    /// It is noted durably, and done some time.
    Async,
    /// It is only said whether it could be made.
    DryRun,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Invoke {
    template: Option<String>,
    event_uid: Option<EventId>,
    qualifier: Option<String>,
    mode: Mode,
    log_tail: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Validate {
    qualifier: Option<String>,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub enum Invoked {
    /// It has run.
    Done(Box<InvokeView>),
    /// It is noted, and will run: its request id.
    Noted(Uuid),
    /// It could be made, by this version.
    Possible(String),
}

/// How an invocation went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = InvokeResult)]
pub struct InvokeView {
    /// Which invocation it was.
    #[schema(value_type = String)]
    pub request_id: Uuid,
    /// How it ended, such as `succeeded`.
    #[schema(value_type = String, examples("succeeded"))]
    pub outcome: Outcome,
    /// What Tencent SCF says in its place.
    #[schema(examples(200))]
    pub status_code: u16,
    /// The reason that a delivery would have; absent: it has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, examples("function_error"))]
    pub error_code: Option<&'static str>,
    /// What the function answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub result: Option<JsonText>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub error: Option<Failure>,
    /// The end of its log; absent with `logTail: false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub log: Option<Vec<LineView>>,
    /// How long it ran, in milliseconds.
    pub duration_ms: f64,
    /// The most memory that it was seen to have, in bytes.
    pub memory_peak_bytes: u64,
    /// How the start of a worker went, if one was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub cold: Option<ColdStart>,
    /// The version that ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, examples("$LATEST"))]
    pub version: Option<String>,
}

impl InvokeView {
    fn new(invocation: Invocation, log_tail: bool) -> Self {
        let outcome = invocation.outcome;
        Self {
            request_id: invocation.request_id,
            outcome,
            status_code: outcome.status_code(),
            error_code: outcome.reason().map(belfry_model::delivery::Reason::as_str),
            result: invocation
                .result
                .and_then(|result| JsonText::parse(&result).ok()),
            error: invocation.failure,
            log: log_tail.then(|| tail(invocation.log)),
            duration_ms: millis(invocation.duration_us),
            memory_peak_bytes: invocation.memory_peak_bytes,
            cold: invocation.cold,
            version: invocation.version,
        }
    }
}

/// Whether a function's code loads.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FunctionValidation)]
pub struct ValidateView {
    /// Whether it does.
    pub ready: bool,
    /// How the start of a worker went.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub cold: Option<ColdStart>,
    /// Why it does not load.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub error: Option<Failure>,
}

/// Microseconds as milliseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "an invocation takes less than a thousand years"
)]
pub(super) fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// The last lines that have room.
fn tail(log: Vec<Line>) -> Vec<LineView> {
    let mut left = LOG_TAIL_BYTES;
    let mut kept: Vec<_> = log
        .into_iter()
        .rev()
        .take_while(|line| match left.checked_sub(line.text.len() + 1) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .map(LineView::from)
        .collect();
    kept.reverse();
    kept
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let code = match refused.outcome {
            Outcome::NoFunction | Outcome::NoVersion => Code::NotFound,
            Outcome::EventTooLarge => Code::TooLarge,
            _ => Code::WrongState,
        };
        Self::new(code, refused.message)
    }
}

impl App {
    /// Largest event that a function is given, in bytes, for who may invoke one.
    pub fn function_event_bytes_max(&self, actor: &Actor) -> Result<usize> {
        actor.require(&Scope::FunctionsInvoke)?;
        Ok(self.functions.settings.event_bytes_max)
    }

    /// Runs a function, has it run, or says only whether that could be done.
    pub async fn invoke_function(
        &self,
        actor: &Actor,
        function: &FunctionName,
        body: &[u8],
    ) -> Result<Invoked> {
        actor.require(&Scope::FunctionsInvoke)?;
        let functions = &self.functions;
        functions.must_be_enabled()?;
        let mut members = if body.is_empty() {
            input::read_members(b"{}", &[])?
        } else {
            input::read_members(body, &["event"])?
        };
        let event = members.take("event");
        let asked: Invoke = input::read(members.text(&["event"]).as_bytes())?;
        let event = self.event_for(actor, event, &asked).await?;
        let qualifier = asked.qualifier.as_deref().unwrap_or(DEFAULT);
        // What is not there is told as such: nothing was invoked.
        let version = functions.version(function, qualifier)?;
        let max = match asked.mode {
            Mode::Async => functions.settings.async_event_bytes_max,
            Mode::Sync | Mode::DryRun => functions.settings.event_bytes_max,
        };
        if event.len() > max {
            let detail = format!(
                "the event has {} bytes, at most {max} are taken",
                event.len()
            );
            return Err(Error::field("/event", detail));
        }
        let request_id = Uuid::now_v7();
        match asked.mode {
            Mode::DryRun => {
                // What would stand in its way is told now: secrets and layers that are not there, a runtime that is missing.
                functions.machine()?;
                functions.program(function, qualifier, 0).await?;
                Ok(Invoked::Possible(version))
            }
            Mode::Async => {
                let now = self.now_ms();
                let call = NewCall {
                    id: request_id,
                    function: function.clone(),
                    qualifier: qualifier.to_owned(),
                    caller: actor.key_id.to_string(),
                    created_at_ms: now,
                    due_at_ms: now,
                    event,
                };
                self.store.put_call(&call).await?;
                functions.note_queued(&call).await;
                functions.called.notify_one();
                Ok(Invoked::Noted(request_id))
            }
            Mode::Sync => {
                let call = Call {
                    function,
                    qualifier,
                    event: &event,
                    invoked_by: InvokedBy::Api,
                    delivery: None,
                    events: asked.event_uid.as_slice(),
                    attempt: 1,
                    routing: routing(request_id),
                };
                let invocation = functions.run(call, request_id).await;
                let row = functions.row(&invocation, false);
                if let Err(error) = self.store.put_invocations(&[row]).await {
                    // It has run: whoever asked is told so in any case.
                    tracing::warn!(%function, %request_id, %error, "an invocation could not be put on record");
                }
                let log_tail = asked.log_tail.unwrap_or(true);
                Ok(Invoked::Done(Box::new(InvokeView::new(
                    invocation, log_tail,
                ))))
            }
        }
    }

    /// The event that a function is to be given: as it was sent, of the catalog, or one that was accepted.
    async fn event_for(
        &self,
        actor: &Actor,
        event: Option<JsonText>,
        asked: &Invoke,
    ) -> Result<String> {
        one_event(
            event.is_some(),
            asked.event_uid.is_some(),
            asked.template.is_some(),
        )?;
        if let Some(template) = &asked.template {
            return self.sample(template);
        }
        if let Some(id) = asked.event_uid {
            actor.require(&Scope::HistoryRead)?;
            let found = self.store.find_event(id).await?;
            let found = found.ok_or_else(|| Error::not_found("event", &id))?;
            return String::from_utf8(found.doc.to_vec()).map_err(Error::internal);
        }
        Ok(event.map_or_else(|| "{}".to_owned(), |event| event.as_str().to_owned()))
    }

    /// Starts a worker, has it load the code, and ends it.
    pub async fn validate_function(
        &self,
        actor: &Actor,
        function: &FunctionName,
        body: &[u8],
    ) -> Result<ValidateView> {
        actor.require(&Scope::FunctionsWrite)?;
        let functions = &self.functions;
        functions.must_be_enabled()?;
        let asked: Validate = if body.is_empty() {
            Validate::default()
        } else {
            input::read(body)?
        };
        let qualifier = asked.qualifier.as_deref().unwrap_or(LATEST);
        functions.version(function, qualifier)?;
        let tried = match functions.machine() {
            Err(refused) => Err(refused),
            Ok(machine) => functions
                .program(function, qualifier, 0)
                .await
                .map(|made| (machine, made)),
        };
        let (machine, made) = match tried {
            Ok(ready) => ready,
            Err(refused) => {
                let error = Failure {
                    kind: refused.outcome.as_str().to_owned(),
                    message: refused.message,
                    stack: None,
                };
                return Ok(ValidateView {
                    ready: false,
                    cold: None,
                    error: Some(error),
                });
            }
        };
        Ok(match machine.workers.validate(&made.program).await {
            Ok(cold) => ValidateView {
                ready: true,
                cold: Some(cold),
                error: None,
            },
            Err(error) => ValidateView {
                ready: false,
                cold: None,
                error: Some(error),
            },
        })
    }
}

/// Spreads invocations that belong to no event over the versions of an alias.
pub(super) fn routing(request_id: Uuid) -> u64 {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(request_id.as_bytes());
    let first = hash.first_chunk::<8>().copied().unwrap_or_default();
    u64::from_be_bytes(first)
}
