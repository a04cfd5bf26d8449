//! Targets tried out: what would be sent, and a marked message that really is.

use std::sync::Arc;

use belfry_engine::{Made, TargetEntry};
use belfry_functions::{Invocation, Line, Record};
use belfry_model::access::Scope;
use belfry_model::config::{Target, TargetSpec};
use belfry_model::delivery::Reason;
use belfry_model::event::EventLimits;
use belfry_model::json::JsonText;
use belfry_model::{BusId, BusName, Event, EventId, RuleId, RuleName, TargetId, TargetName};
use belfry_targets::{Attempted, RequestRecord, ResponseRecord, Verdict};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::App;
use crate::actor::Actor;
use crate::config::{Place, Refusal};
use crate::error::{Code, Error, Result, faults_under};
use crate::functions::TARGET;
use crate::input;
use crate::sources::Filler;

/// What a trial tells of, unless the request says otherwise.
const SAMPLE: &str = "cvm/ping-unreachable";

/// Where a transform is tried when the request says nothing: its values are not escaped for any medium.
const PLAIN_TARGET: &str = r#"{"type": "log", "settings": {"log": "trial"}}"#;

/// What a transform makes of an event: one of `output`, `skipped` and `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TransformTest)]
pub struct TransformTestView {
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub output: Option<String>,
    /// Media type of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub content_type: Option<String>,
    /// Why the event would not be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub skipped: Option<String>,
    /// Why there is no body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub error: Option<TransformFaultView>,
    /// What a script printed, at most 4 KiB.
    pub printed: String,
    /// How long it took, in microseconds; the first one may start a helper process.
    pub duration_us: u64,
    /// The event it was made from.
    #[schema(value_type = Object)]
    pub event: JsonText,
}

/// Why a transform gave no body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TransformFault)]
pub struct TransformFaultView {
    /// The variable whose script it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub variable: Option<String>,
    /// Line of the template or script, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub line: Option<usize>,
    /// Column in the line, in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub hint: Option<String>,
}

/// What a target would send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TargetPreview)]
pub struct TargetPreviewView {
    /// The requests, bodies complete, secrets masked. Empty when nothing would be sent.
    #[schema(value_type = Vec<Object>)]
    pub requests: Vec<RequestRecord>,
    /// Why nothing would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub nothing: Option<String>,
    /// The event it was made from.
    #[schema(value_type = Object)]
    pub event: JsonText,
}

/// How a trial went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TargetTest)]
pub struct TargetTestView {
    /// Whether the receiver took it.
    pub delivered: bool,
    /// Each request with the receiver's answer as it came.
    pub attempts: Vec<TrialView>,
    /// The event that was sent.
    #[schema(value_type = Object)]
    pub event: JsonText,
}

/// One request of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Trial)]
pub struct TrialView {
    /// What the answer means: `delivered`, `retry`, `permanent`, `gone` or `skipped`; `more` when another request follows, `later`
    /// when somebody is told later, `busy` when there was no room.
    #[schema(examples("delivered"))]
    pub verdict: &'static str,
    /// Why, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub reason: Option<&'static str>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub detail: Option<String>,
    /// How long it took.
    pub duration_ms: u32,
    /// What was sent, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub request: Option<RequestRecord>,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub response: Option<ResponseRecord>,
    /// Of a function: the run, with what it printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub invocation: Option<TrialRun>,
}

/// A run of a function that was tried out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialRun {
    #[serde(flatten)]
    record: Record,
    log: Vec<Line>,
}

impl From<Invocation> for TrialRun {
    fn from(run: Invocation) -> Self {
        Self {
            record: Record::of(&run),
            log: run.log,
        }
    }
}

impl From<Attempted> for TrialView {
    fn from(attempted: Attempted) -> Self {
        let (verdict, reason, detail) = match attempted.verdict {
            Verdict::Delivered => ("delivered", None, attempted.note),
            Verdict::More { detail } => ("more", None, Some(detail)),
            Verdict::Retry { reason, detail, .. } => ("retry", Some(reason), Some(detail)),
            Verdict::Later { reason, detail, .. } => ("later", Some(reason), Some(detail)),
            Verdict::Busy { reason, detail, .. } => ("busy", Some(reason), Some(detail)),
            Verdict::Permanent { reason, detail } => ("permanent", Some(reason), Some(detail)),
            Verdict::Gone { detail } => ("gone", None, Some(detail)),
            Verdict::Skipped { reason, detail } => ("skipped", Some(reason), Some(detail)),
        };
        Self {
            verdict,
            reason: reason.map(Reason::as_str),
            detail,
            duration_ms: attempted.duration_ms,
            request: attempted.request,
            response: attempted.response,
            invocation: attempted.invocation.map(|run| TrialRun::from(*run)),
        }
    }
}

/// Which target, and with which event.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Which {
    bus: Option<BusName>,
    rule: Option<RuleName>,
    name: Option<TargetName>,
    event_uid: Option<EventId>,
    template: Option<String>,
}

impl App {
    /// What a target would send for an event; nothing is sent.
    pub async fn preview_target(&self, actor: &Actor, body: &[u8]) -> Result<TargetPreviewView> {
        actor.require(&Scope::ConfigRead)?;
        let (entry, event) = self.trial(actor, body).await?;
        let (requests, nothing) = match self.engine.preview(&entry, &event).await {
            Ok(requests) => (requests, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Ok(TargetPreviewView {
            requests,
            nothing,
            event: document(&event)?,
        })
    }

    /// Sends an event to a target, marked as a trial, and shows what the receiver answers. No delivery is recorded.
    pub async fn test_target(&self, actor: &Actor, body: &[u8]) -> Result<TargetTestView> {
        actor.require(&Scope::ConfigWrite)?;
        let (entry, event) = self.trial(actor, body).await?;
        if entry.target.spec.kind == TARGET {
            actor.require(&Scope::FunctionsInvoke)?;
            self.functions.must_be_enabled()?;
        }
        let attempts = self.engine.send_trial(&entry, &event).await;
        let delivered = attempts
            .last()
            .is_some_and(|last| last.verdict == Verdict::Delivered);
        Ok(TargetTestView {
            delivered,
            attempts: attempts.into_iter().map(TrialView::from).collect(),
            event: document(&event)?,
        })
    }

    /// What a transform makes of an event; nothing is sent.
    pub async fn test_transform(&self, actor: &Actor, body: &[u8]) -> Result<TransformTestView> {
        actor.require(&Scope::ConfigRead)?;
        let mut members = input::read_members(body, &["event"])?;
        let transform = members
            .take("transform")
            .ok_or_else(|| Error::field("/transform", "this member is required and missing"))?;
        let target = match members.take("target") {
            Some(text) => text.as_str().to_owned(),
            None => PLAIN_TARGET.to_owned(),
        };
        let event = members.take("event");
        let which: Which = input::read(members.text(&[]).as_bytes())?;
        let event = self.chosen_event(actor, &which, event).await?;
        let mut members = input::read_members(target.as_bytes(), &["transform"])?;
        members.set("transform", transform);
        let spec = JsonText::parse(&members.text(&[])).map_err(Error::internal)?;
        // What is wrong with the transform is told where it stands in this body.
        let entry = self.trial_target(&which, &spec).await.map_err(|error| {
            error.map_pointers(|pointer| match pointer.strip_prefix("/target/transform") {
                Some(rest) => format!("/transform{rest}"),
                None => pointer.to_owned(),
            })
        })?;
        let tried = self.engine.try_transform(&entry, &event).await;
        let Some(tried) = tried else {
            return Err(Error::field("/transform", "expected a transform"));
        };
        let mut view = TransformTestView {
            output: None,
            content_type: None,
            skipped: None,
            error: None,
            printed: tried.printed,
            duration_us: u64::try_from(tried.duration.as_micros()).unwrap_or(u64::MAX),
            event: document(&event)?,
        };
        match tried.made {
            Ok(Made::Body(body)) => {
                view.content_type = Some(body.content_type.as_str().to_owned());
                view.output = Some(String::from_utf8_lossy(&body.body).into_owned());
            }
            Ok(Made::Nothing(why)) => view.skipped = Some(why),
            Err(fault) => {
                view.error = Some(TransformFaultView {
                    variable: fault.variable,
                    line: fault.line,
                    column: fault.column,
                    message: fault.message,
                    hint: fault.hint,
                });
            }
        }
        Ok(view)
    }

    async fn trial(&self, actor: &Actor, body: &[u8]) -> Result<(Arc<TargetEntry>, Event)> {
        let mut members = input::read_members(body, &["event"])?;
        let spec = members.take("target");
        let event = members.take("event");
        let which: Which = input::read(members.text(&["target", "event"]).as_bytes())?;
        let event = self.chosen_event(actor, &which, event).await?;
        let entry = match spec {
            Some(spec) => self.trial_target(&which, &spec).await?,
            None => self.stored_target(&which).await?,
        };
        Ok((entry, event))
    }

    /// The event that a trial names in one of three ways, or a sample.
    async fn chosen_event(
        &self,
        actor: &Actor,
        which: &Which,
        event: Option<JsonText>,
    ) -> Result<Event> {
        one_event(
            event.is_some(),
            which.event_uid.is_some(),
            which.template.is_some(),
        )?;
        match (event, which.event_uid) {
            (Some(text), _) => self.trial_event(text.as_str().as_bytes().to_vec()),
            (None, Some(id)) => {
                actor.require(&Scope::HistoryRead)?;
                let found = self.store.find_event(id).await?;
                let found = found.ok_or_else(|| Error::not_found("event", &id))?;
                Event::from_stored(found.doc).map_err(Error::internal)
            }
            (None, None) => {
                let template = which.template.as_deref().unwrap_or(SAMPLE);
                self.trial_event(self.sample(template)?.into_bytes())
            }
        }
    }

    fn trial_event(&self, body: Vec<u8>) -> Result<Event> {
        Event::lenient(
            Bytes::from(body),
            &mut Filler(self.now_ms()),
            &EventLimits::default(),
        )
        .map_err(|errors| {
            Error::invalid(Code::InvalidRequest, faults_under("/event", errors.errors))
        })
    }

    async fn stored_target(&self, which: &Which) -> Result<Arc<TargetEntry>> {
        let missing = |name: &str| {
            Error::field(
                format!("/{name}"),
                "name a stored target by bus, rule and name, or give a target",
            )
        };
        let bus = which.bus.as_ref().ok_or_else(|| missing("bus"))?;
        let rule = which.rule.as_ref().ok_or_else(|| missing("rule"))?;
        let name = which.name.as_ref().ok_or_else(|| missing("name"))?;
        let index = self.index().await?;
        let target = index.target(bus, rule, name)?;
        let snapshot = self.engine.snapshot();
        snapshot
            .target(target.id)
            .map(Arc::clone)
            .ok_or_else(|| Error::not_found("target", name))
    }

    /// A target as it is written, not stored. Masks in it stand for the secrets of the stored one of the same name.
    async fn trial_target(&self, which: &Which, spec: &JsonText) -> Result<Arc<TargetEntry>> {
        let bus = match &which.bus {
            Some(bus) => bus.clone(),
            None => "default".parse().map_err(Error::internal)?,
        };
        let rule = match &which.rule {
            Some(rule) => rule.clone(),
            None => "trial".parse().map_err(Error::internal)?,
        };
        let name = match &which.name {
            Some(name) => name.clone(),
            None => "trial".parse().map_err(Error::internal)?,
        };
        let under = |refusal: Refusal| match refusal {
            Refusal::Faults(faults) => {
                let faults = faults.into_iter().map(|fault| fault.under("/target"));
                Refusal::Faults(faults.collect())
            }
            failed @ Refusal::Failed(_) => failed,
        };
        let place = Place {
            bus: &bus,
            rule: &rule,
            name: &name,
        };
        let members = input::read_members(spec.as_str().as_bytes(), &["transform"])?;
        let spec: TargetSpec =
            crate::config::read_target(place, members).map_err(|faults| under(faults.into()))?;
        let index = self.index().await?;
        let old = index.target(&bus, &rule, &name).ok();
        self.check_template(spec.transform.as_ref())
            .await
            .map_err(under)?;
        let planned = self.plan_target(&index, place, spec, old).map_err(under)?;
        let target = Target {
            id: old.map_or(TargetId(0), |old| old.id),
            rule: old.map_or(RuleId(0), |old| old.rule),
            bus: old.map_or(BusId(0), |old| old.bus),
            name: name.clone(),
            spec: planned.sealed,
            disabled: None,
            revision: 1,
            created_at_ms: self.now_ms(),
            updated_at_ms: self.now_ms(),
        };
        Ok(self.engine.prepare_trial(target, bus, rule.to_string()))
    }
}

fn document(event: &Event) -> Result<JsonText> {
    let text = std::str::from_utf8(event.doc()).map_err(Error::internal)?;
    JsonText::parse(text).map_err(Error::internal)
}

/// An event is given, named by its id, or by its template: by one of them at most.
pub(crate) fn one_event(event: bool, event_uid: bool, template: bool) -> Result<()> {
    if [event, event_uid, template]
        .into_iter()
        .filter(|given| *given)
        .count()
        <= 1
    {
        return Ok(());
    }
    let pointer = if event_uid { "/eventUid" } else { "/template" };
    Err(Error::field(
        pointer,
        "give one of event, eventUid and template",
    ))
}
