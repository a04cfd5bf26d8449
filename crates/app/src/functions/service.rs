//! Runs functions by their names.
//!
//! Made before the engine, because targets hold it; from [`FunctionService::of`] on it goes by the engine's configuration. What
//! it keeps is only what can be made again: programs that are ready to run.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use belfry_engine::{Engine, InForce};
use belfry_functions::{
    Call, CodeLimits, Failure, FunctionSpec, Functions, Invocation, Outcome, Program, Record,
    SpecLimits, log_text,
};
use belfry_model::{Clock, FunctionName, NodeId};
use belfry_store::{NewInvocation, Store};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::machine::Machine;
use super::programs::Programs;
use crate::error::{Code, Error, Fault, Result};

/// An invocation that has run for so long is on record as running.
const NOTED_AFTER: Duration = Duration::from_secs(1);
/// Said wherever somebody asks for what is turned off.
const DISABLED: &str =
    "this server runs no functions; its operator turns them on with functions.enabled = true";

/// What the server's operator says of functions. Every one is a documented setting of the server.
#[derive(Debug, Clone)]
pub struct FunctionSettings {
    /// Whether there are any.
    pub enabled: bool,
    /// What functions may say.
    pub limits: SpecLimits,
    /// Bounds of zip files.
    pub code: CodeLimits,
    /// Where layers lie.
    pub layers_dir: Option<PathBuf>,
    /// Largest event, in bytes.
    pub event_bytes_max: usize,
    /// Largest event of an asynchronous invocation, in bytes.
    pub async_event_bytes_max: usize,
    /// How long an invocation waits for a worker.
    pub worker_wait: Duration,
    /// How long invocations under way may take to finish when the server stops.
    pub shutdown_grace: Duration,
}

impl Default for FunctionSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            limits: SpecLimits::default(),
            code: CodeLimits::default(),
            layers_dir: None,
            event_bytes_max: 6 * 1024 * 1024,
            async_event_bytes_max: 128 * 1024,
            worker_wait: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(30),
        }
    }
}

/// What functions are run with.
pub struct FunctionParts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Bounds.
    pub settings: FunctionSettings,
    /// What runs them; else why none can be run. Not asked when they are disabled.
    pub machine: std::result::Result<Machine, String>,
}

/// Runs functions by their names.
pub struct FunctionService {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: FunctionSettings,
    pub(super) in_force: InForce,
    pub(super) machine: std::result::Result<Machine, String>,
    pub(super) programs: Programs,
    /// There may be calls to be made.
    pub(super) called: Notify,
    /// Calls that are made at once.
    pub(super) callers: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
    pub(super) tracker: TaskTracker,
    started: OnceLock<()>,
}

impl std::fmt::Debug for FunctionService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionService")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why an invocation came to nothing before anything ran.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) outcome: Outcome,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            outcome,
            message: message.into(),
        }
    }
}

impl FunctionService {
    /// With no configuration yet.
    pub fn new(parts: FunctionParts) -> Arc<Self> {
        Arc::new(Self {
            store: parts.store,
            clock: parts.clock,
            settings: parts.settings,
            in_force: InForce::default(),
            machine: parts.machine,
            programs: Programs::default(),
            called: Notify::new(),
            callers: Arc::new(Semaphore::new(CALLERS)),
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
            started: OnceLock::new(),
        })
    }

    /// Goes by the configuration of `engine` from now on, and takes up what an earlier run has left; once.
    pub fn of(self: &Arc<Self>, engine: &Engine) {
        self.in_force.of(engine);
        if self.started.set(()).is_err() {
            return;
        }
        self.tracker.spawn(Arc::clone(self).keep());
        if self.settings.enabled {
            self.tracker.spawn(Arc::clone(self).make_calls());
        }
        self.tracker.close();
    }

    /// Takes no more calls, waits until invocations under way have ended, at most for `functions.shutdown_grace` and not beyond
    /// `left`, and ends the others. To be called before the engine is shut down, which commits what became of them.
    pub async fn shutdown(&self, left: Duration) {
        self.stop.cancel();
        if let Ok(machine) = &self.machine {
            let grace = self.settings.shutdown_grace.min(left);
            machine.workers.shutdown(grace).await;
        }
        // What they still write is short.
        let _in_time = tokio::time::timeout(NOTED_AFTER, self.tracker.wait()).await;
    }

    /// Refuses while functions are turned off.
    pub(crate) fn must_be_enabled(&self) -> Result<()> {
        if self.settings.enabled {
            Ok(())
        } else {
            Err(Error::new(Code::FunctionsDisabled, DISABLED))
        }
    }

    /// Everything wrong with a function for this server.
    pub(super) fn faults(&self, spec: &FunctionSpec) -> Vec<Fault> {
        let errors = spec.check(&self.settings.limits);
        let mut faults: Vec<_> = errors.into_iter().map(Fault::from).collect();
        // A machine that can run nothing at all is no reason to refuse what may be run later.
        if let (Ok(machine), Some(runtime)) = (&self.machine, spec.runtime_kind())
            && let Some(why) = machine.workers.missing(runtime)
        {
            faults.push(Fault::new("/runtime", why));
        }
        faults
    }

    pub(super) fn machine(&self) -> std::result::Result<&Machine, Refused> {
        if !self.settings.enabled {
            return Err(Refused::new(Outcome::Unavailable, DISABLED));
        }
        self.machine
            .as_ref()
            .map_err(|why| Refused::new(Outcome::Unavailable, why))
    }

    /// The node that this server is.
    pub(super) fn node(&self) -> NodeId {
        self.in_force
            .member()
            .map_or(NodeId(0), |member| member.node)
    }

    /// Runs one. One that takes longer is on record while it runs; what becomes of it is for the caller to record.
    pub(super) async fn run(&self, call: Call<'_>, request_id: Uuid) -> Invocation {
        let asked_ms = self.clock.now_ms();
        let (machine, made) = match self.ready(&call).await {
            Ok(ready) => ready,
            Err(refused) => return refused_invocation(&call, request_id, asked_ms, refused),
        };
        let end = CancellationToken::new();
        let work = async {
            let _end = end.clone().drop_guard();
            machine
                .workers
                .invoke(&made.program, call, request_id)
                .await
        };
        let noted = async {
            tokio::select! {
                () = end.cancelled() => {}
                () = tokio::time::sleep(NOTED_AFTER) => {
                    self.note_running(&call, request_id, asked_ms, &made.program).await;
                }
            }
        };
        // Side by side and both to their end: the last record is written after this one.
        let (mut invocation, ()) = tokio::join!(work, noted);
        if let (Some(cold), true) = (&mut invocation.cold, made.took_ms > 0) {
            cold.prepare_ms += made.took_ms;
            cold.total_ms += made.took_ms;
        }
        invocation
    }

    async fn ready(
        &self,
        call: &Call<'_>,
    ) -> std::result::Result<(&Machine, super::programs::Made), Refused> {
        let machine = self.machine()?;
        if call.event.len() > self.settings.event_bytes_max {
            let max = self.settings.event_bytes_max;
            let detail = format!(
                "the event has {} bytes, at most {max} are taken",
                call.event.len()
            );
            return Err(Refused::new(Outcome::EventTooLarge, detail));
        }
        let made = self
            .program(call.function, call.qualifier, call.routing)
            .await?;
        Ok((machine, made))
    }

    async fn note_running(&self, call: &Call<'_>, request_id: Uuid, at_ms: i64, program: &Program) {
        let mut begun = Invocation::begun(call, request_id, at_ms);
        begun.version = Some(program.version.clone());
        begun.memory_mb = program.limits.memory_mb;
        let row = NewInvocation {
            outcome: None,
            ..self.row(&begun, false)
        };
        if let Err(error) = self.store.put_invocations(&[row]).await {
            tracing::warn!(function = %call.function, request_id = %request_id, %error, "that an invocation runs could not be put on record");
        }
    }

    /// An invocation as it is stored.
    pub(super) fn row(&self, invocation: &Invocation, given_up: bool) -> NewInvocation {
        let record = Record {
            given_up,
            ..Record::of(invocation)
        };
        NewInvocation {
            request_id: invocation.request_id,
            function: invocation.function.clone(),
            version: invocation.version.clone(),
            delivery: invocation.delivery,
            started_at_ms: invocation.started_at_ms,
            duration_us: invocation.duration_us,
            outcome: Some(invocation.outcome.as_str().to_owned()),
            node: self.node(),
            record: record.text(),
            log: log_text(&invocation.log),
        }
    }

    /// Invocations that an earlier run of this node has begun and not ended are lost: those on record, and those that were too short
    /// to be.
    async fn tell_lost(&self) -> belfry_store::Result<()> {
        let cut_off = self
            .machine
            .as_ref()
            .map(|machine| machine.workers.cut_off());
        let rows: Vec<_> = cut_off
            .iter()
            .flatten()
            .map(|invocation| NewInvocation {
                outcome: None,
                ..self.row(invocation, false)
            })
            .collect();
        if !rows.is_empty() {
            self.store.put_invocations(&rows).await?;
        }
        let (node, now_ms) = (self.node(), self.clock.now_ms());
        self.store
            .free_functions(node, Outcome::Lost.as_str(), now_ms)
            .await?;
        Ok(())
    }

    /// What is to be done now and then: workers of what has changed go, unused code goes, what an earlier run left is told.
    async fn keep(self: Arc<Self>) {
        if let Err(error) = self.tell_lost().await {
            tracing::warn!(%error, "invocations that an earlier run has left could not be marked as lost");
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.keep_programs(&mut seen).await;
        }
    }
}

/// Of a function that is not known (yet): loading the code (300 s) and running (900 s), as long as any may.
const LONGEST_RUN: Duration = Duration::from_mins(20);
/// Ending a worker that does not end by itself.
const ENDING: Duration = Duration::from_secs(10);
/// Asynchronous invocations that one server makes at once.
const CALLERS: usize = 32;

fn refused_invocation(
    call: &Call<'_>,
    request_id: Uuid,
    now_ms: i64,
    refused: Refused,
) -> Invocation {
    let mut invocation = Invocation::begun(call, request_id, now_ms);
    invocation.outcome = refused.outcome;
    invocation.failure = Some(Failure {
        kind: refused.outcome.as_str().to_owned(),
        message: refused.message,
        stack: None,
    });
    invocation
}

#[async_trait]
impl Functions for FunctionService {
    async fn invoke(&self, call: Call<'_>) -> Invocation {
        self.run(call, Uuid::now_v7()).await
    }

    fn longest(&self, function: &FunctionName) -> Duration {
        let run = self.longest_run(function).unwrap_or(LONGEST_RUN);
        self.settings.worker_wait + run + ENDING
    }
}

/// Whether a function is there; asked by its name.
pub(super) fn missing(function: &FunctionName) -> Refused {
    Refused::new(
        Outcome::NoFunction,
        format!("there is no function {function}"),
    )
}
