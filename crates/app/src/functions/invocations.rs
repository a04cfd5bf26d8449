//! What is on record of invocations: searched, read, followed while it happens.

use belfry_functions::{
    Call, Invocation, InvokedBy, Line, LiveLine, LivePart, Outcome, Record, Stream, scf_text,
};
use belfry_model::access::Scope;
use belfry_model::{DeliveryId, EventId, FunctionName};
use belfry_store::{EndedAs, InvocationQuery, NewInvocation};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast;
use utoipa::ToSchema;
use uuid::Uuid;

use super::invoke::millis;
use crate::App;
use crate::actor::Actor;
use crate::cursor::{self, Listing, PageRequest};
use crate::documents::unknown_word;
use crate::error::{Error, Result};
use crate::time::{Stamp, read_span};

/// Which invocations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvocationFilter {
    /// Of this function.
    pub function: Option<String>,
    /// How they ended: an outcome's word, `running` (or waiting for it), or `failed`: any but a success.
    pub outcome: Option<String>,
    /// Of this delivery.
    pub delivery: Option<String>,
    /// Not before.
    pub since: Option<String>,
    /// Before.
    pub until: Option<String>,
    /// With this text in their log or error.
    pub text: Option<String>,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LogLine)]
pub struct LineView {
    /// When it was read.
    pub at: Stamp,
    /// `stdout`, `stderr`, or `platform`: Belfry itself.
    #[schema(value_type = String, examples("stdout"))]
    pub stream: Stream,
    /// What was printed.
    pub text: String,
    /// Present and true when it was printed while the code was loaded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub init: bool,
}

impl From<Line> for LineView {
    fn from(line: Line) -> Self {
        Self {
            at: Stamp(line.at_ms),
            stream: line.stream,
            text: line.text,
            init: line.init,
        }
    }
}

/// An invocation.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Invocation)]
pub struct InvocationView {
    /// Which.
    #[schema(value_type = String)]
    pub request_id: Uuid,
    /// The function.
    #[schema(value_type = String, examples("default/restart"))]
    pub function: FunctionName,
    /// The version that ran. Absent: none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, examples("$LATEST"))]
    pub version: Option<String>,
    /// By which version or alias it was asked for.
    #[schema(examples("$DEFAULT"))]
    pub qualifier: String,
    /// Who asked: `delivery`, `test`, `api` or `async`.
    #[schema(value_type = String, examples("delivery"))]
    pub trigger: InvokedBy,
    /// The delivery that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false)]
    pub delivery: Option<DeliveryId>,
    /// The events that it was given.
    #[schema(value_type = Vec<String>)]
    pub event_uids: Vec<EventId>,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How it ended, or `running`.
    #[schema(examples("succeeded"))]
    pub outcome: &'static str,
    /// What Tencent SCF says in its place; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub status_code: Option<u16>,
    /// The reason that a delivery has; absent: none has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub error_code: Option<&'static str>,
    /// Present and true when an asynchronous one that failed is not tried again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub given_up: bool,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub error: Option<Value>,
    /// When it was asked for.
    pub started_at: Stamp,
    /// When the answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub answered_at: Option<Stamp>,
    /// When nothing was left to be done; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub ended_at: Option<Stamp>,
    /// How long it ran, in milliseconds, without waiting and starting.
    pub duration_ms: f64,
    /// How the start of a worker went, if one was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub cold: Option<belfry_functions::ColdStart>,
    /// The memory that it may have, in MB.
    pub memory_mb: u32,
    /// The most that it was seen to have, in bytes.
    pub memory_peak_bytes: u64,
    /// The beginning of its answer, as JSON text: at most 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub result: Option<String>,
    /// The size of its answer, in bytes.
    pub result_bytes: u64,
    /// How many bytes it printed.
    pub log_bytes: u64,
    /// Whether `log` is not all of it.
    pub log_truncated: bool,
    /// What it printed. Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub log: Option<Vec<LineView>>,
    /// The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub worker_pid: Option<u32>,
    /// How far it was shut in: `process`, `landlock` or `namespace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub isolation: Option<String>,
    /// The exit code of a process that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub signal: Option<i32>,
}

impl InvocationView {
    fn new(record: Record, ended: Option<Outcome>, with_log: bool) -> Result<Self> {
        let Invocation { failure, log, .. } = record.invocation.clone();
        let one = record.invocation;
        Ok(Self {
            request_id: one.request_id,
            function: one.function,
            version: one.version,
            qualifier: one.qualifier,
            trigger: one.invoked_by,
            delivery: one.delivery,
            event_uids: one.events,
            attempt: one.attempt,
            outcome: match ended {
                Some(ended) => ended.as_str(),
                None if one.attempt == 0 => QUEUED,
                None => RUNNING,
            },
            status_code: ended.map(Outcome::status_code),
            error_code: ended
                .and_then(Outcome::reason)
                .map(belfry_model::delivery::Reason::as_str),
            given_up: record.given_up,
            error: failure
                .map(serde_json::to_value)
                .transpose()
                .map_err(Error::internal)?,
            started_at: Stamp(one.started_at_ms),
            answered_at: one.answered_at_ms.map(Stamp),
            ended_at: ended.map(|_| Stamp(one.ended_at_ms)),
            duration_ms: millis(one.duration_us),
            cold: one.cold,
            memory_mb: one.memory_mb,
            memory_peak_bytes: one.memory_peak_bytes,
            result: one.result,
            result_bytes: record.result_bytes,
            log_bytes: one.log_bytes,
            log_truncated: one.log_truncated,
            log: with_log.then(|| log.into_iter().map(LineView::from).collect()),
            worker_pid: one.worker_pid,
            isolation: one.isolation.map(std::borrow::Cow::into_owned),
            exit_code: one.exit_code,
            signal: one.signal,
        })
    }
}

/// What is said instead of an outcome while an invocation runs.
const RUNNING: &str = "running";
/// The same for an asynchronous one that has not begun.
const QUEUED: &str = "queued";

/// Something that has just happened in an invocation.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LiveLine)]
pub struct LiveView {
    /// The function.
    #[schema(value_type = String)]
    pub function: FunctionName,
    /// The invocation.
    #[schema(value_type = String)]
    pub request_id: Uuid,
    /// What it has printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub line: Option<LineView>,
    /// How it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false)]
    pub outcome: Option<Outcome>,
}

impl LiveView {
    /// The word for what has happened: `start`, `line` or `end`.
    pub fn event(&self) -> &'static str {
        match (&self.line, self.outcome) {
            (Some(_), _) => "line",
            (None, Some(_)) => "end",
            (None, None) => "start",
        }
    }
}

impl From<LiveLine> for LiveView {
    fn from(live: LiveLine) -> Self {
        let mut shown = Self {
            function: live.function,
            request_id: live.request_id,
            line: None,
            outcome: None,
        };
        match live.part {
            LivePart::Start => {}
            LivePart::Line(printed) => shown.line = Some(printed.into()),
            LivePart::End(outcome) => shown.outcome = Some(outcome),
        }
        shown
    }
}

fn view(row: &NewInvocation, with_log: bool) -> Result<InvocationView> {
    let log = if with_log { row.log.as_str() } else { "" };
    let record = record(row, log)?;
    let ended = row.outcome.as_deref().and_then(Outcome::from_word);
    InvocationView::new(record, ended, with_log)
}

/// What is stored. A record that was too long for a list is made of what the row says.
fn record(row: &NewInvocation, log: &str) -> Result<Record> {
    if !row.record.is_empty() {
        return Record::read(&row.record, log).map_err(Error::internal);
    }
    let call = Call {
        function: &row.function,
        qualifier: row.version.as_deref().unwrap_or(super::DEFAULT),
        event: "",
        invoked_by: InvokedBy::Delivery,
        delivery: row.delivery,
        events: &[],
        attempt: 1,
        routing: 0,
    };
    let mut invocation = Invocation::begun(&call, row.request_id, row.started_at_ms);
    invocation.version.clone_from(&row.version);
    invocation.duration_us = row.duration_us;
    Ok(Record::of(&invocation))
}

impl App {
    /// Invocations on record, newest first.
    pub async fn list_invocations(
        &self,
        actor: &Actor,
        filter: &InvocationFilter,
        page: &PageRequest,
    ) -> Result<Listing<InvocationView>> {
        actor.require(&Scope::HistoryRead)?;
        let limit = page.limit()?;
        let (since_ms, until_ms) = read_span(
            "query:",
            filter.since.as_deref(),
            filter.until.as_deref(),
            self.now_ms(),
        )?;
        let function = read("query:function", filter.function.as_deref())?;
        let delivery = read("query:delivery", filter.delivery.as_deref())?;
        let ended = filter.outcome.as_deref().map(ended).transpose()?;
        if filter
            .text
            .as_ref()
            .is_some_and(|text| text.len() > TEXT_BYTES_MAX)
        {
            let detail = format!("expected at most {TEXT_BYTES_MAX} bytes");
            return Err(Error::field("query:text", detail));
        }
        let query = InvocationQuery {
            function,
            delivery,
            ended,
            text: filter.text.clone().filter(|text| !text.is_empty()),
            since_ms,
            until_ms,
            before: page.after::<Uuid>('i')?,
            limit,
            scan_max: self.settings.scan_max,
        };
        let found = self.store.list_invocations(&query).await?;
        let next = found.next.map(|last| cursor::write('i', &last));
        let items = found.items.iter().map(|row| view(row, false));
        Ok(Listing::scanned(items.collect::<Result<_>>()?, next, limit))
    }

    /// One invocation, with its log.
    pub async fn get_invocation(&self, actor: &Actor, request_id: Uuid) -> Result<InvocationView> {
        view(&self.invocation(actor, request_id).await?, true)
    }

    /// One invocation as Tencent SCF shows it: for reading.
    pub async fn get_invocation_text(&self, actor: &Actor, request_id: Uuid) -> Result<String> {
        let row = self.invocation(actor, request_id).await?;
        Ok(scf_text(&record(&row, &row.log)?))
    }

    async fn invocation(&self, actor: &Actor, request_id: Uuid) -> Result<NewInvocation> {
        actor.require(&Scope::HistoryRead)?;
        let found = self.store.find_invocation(request_id).await?;
        found.ok_or_else(|| Error::not_found("invocation", &request_id))
    }

    /// What happens in invocations of a function on this server from now on.
    pub fn follow_function(
        &self,
        actor: &Actor,
        function: &FunctionName,
    ) -> Result<broadcast::Receiver<LiveLine>> {
        actor.require(&Scope::HistoryRead)?;
        self.functions.must_be_enabled()?;
        let there = self.functions.version(function, super::LATEST);
        if let Err(refused) = there
            && refused.outcome == Outcome::NoFunction
        {
            return Err(refused.into());
        }
        Ok(self.functions.machine()?.workers.follow())
    }
}

/// The longest text that is searched for, in bytes.
const TEXT_BYTES_MAX: usize = 256;

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(
    pointer: &str,
    text: Option<&str>,
) -> Result<Option<T>> {
    text.map(|text| {
        text.parse()
            .map_err(|error: T::Err| Error::field(pointer, error.to_string()))
    })
    .transpose()
}

fn ended(word: &str) -> Result<EndedAs> {
    match word {
        "failed" => Ok(EndedAs::Failed),
        RUNNING => Ok(EndedAs::Running),
        word if Outcome::from_word(word).is_some() => Ok(EndedAs::Word(word.to_owned())),
        other => {
            let known: Vec<_> = ["failed", RUNNING]
                .into_iter()
                .chain(Outcome::ALL.into_iter().map(Outcome::as_str))
                .collect();
            Err(Error::field("query:outcome", unknown_word(other, &known)))
        }
    }
}
