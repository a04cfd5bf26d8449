//! Runs programs: takes a worker from the pool or starts one, has it do the invocation, and says how that ended.
//!
//! Below its folder lie `bootstrap/<digest>/` (our side of the runtimes), `scratch/<worker>/` (the only folder that a worker
//! may write to) and `begun/` (what runs). What an earlier run of the server has left is ended and removed at the start.
//!
//! It must never know where programs come from, nor who asks for them.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use belfry_model::{Clock, FunctionName};
use belfry_sandbox::{Disk, Launcher, Level, Support};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::begun::Begun;
use crate::call::Call;
use crate::exec;
use crate::invocation::{ColdStart, Failure, Invocation};
use crate::log::{LiveLine, LivePart, Log, LogLimits, Secrets};
use crate::outcome::Outcome;
use crate::pool::{Offer, PoolStatus, Pools, Refused, Slot};
use crate::program::Program;
use crate::spec::RuntimeKind;
use crate::worker::{End, Worker};

const NODE_BOOTSTRAP: &str = include_str!("bootstrap/nodejs.js");
const PYTHON_BOOTSTRAP: &str = include_str!("bootstrap/python.py");
/// How often it is looked for idle workers and for those who wait.
const HOUSE_EVERY: Duration = Duration::from_secs(1);
/// Live lines that a follower may be behind; then it loses the oldest.
const LIVE_LINES: usize = 1024;
/// How long ending processes may take when the server stops.
const ENDING: Duration = Duration::from_secs(25);
/// Of a log without a better explanation so many lines are given as one.
const LINES_TOLD: usize = 10;

/// Settings. Each is a documented setting of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerSettings {
    /// Where everything lies that is needed to run functions.
    pub dir: PathBuf,
    /// How far functions are shut in.
    pub level: Level,
    /// Whether functions run also where the machine cannot shut them in that far.
    pub allow_unsandboxed: bool,
    /// Node.js. None: there is none.
    pub node: Option<PathBuf>,
    /// Python 3. None: there is none.
    pub python: Option<PathBuf>,
    /// Programs that functions of runtime `exec` may run, by their absolute paths.
    pub exec_allowed: Vec<PathBuf>,
    /// Workers in all.
    pub workers_max: usize,
    /// Invocations of one program that wait for a worker.
    pub queue_max: usize,
    /// The largest event, in bytes.
    pub event_bytes_max: usize,
    /// The largest answer, in bytes.
    pub answer_bytes_max: usize,
    /// How much of an invocation's log is kept, in bytes: three quarters of its beginning, one of its end.
    pub log_bytes_max: usize,
    /// The longest line of it, in bytes.
    pub line_bytes_max: usize,
    /// What a worker may have in its scratch folder; one file may be as large as all together.
    pub scratch_max: Disk,
    /// How long an invocation waits for a worker.
    pub wait_for_worker: Duration,
}

impl RunnerSettings {
    /// The defaults; without interpreters.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            level: Level::Landlock,
            allow_unsandboxed: false,
            node: None,
            python: None,
            exec_allowed: Vec::new(),
            workers_max: 32,
            queue_max: 1000,
            event_bytes_max: 6 << 20,
            answer_bytes_max: 6 << 20,
            log_bytes_max: 64 << 10,
            line_bytes_max: 8 << 10,
            scratch_max: Disk {
                bytes: 512 << 20,
                files: 10_000,
            },
            wait_for_worker: Duration::from_secs(10),
        }
    }
}

/// Where and how processes are started.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) launcher: Launcher,
    pub(crate) level: Level,
    pub(crate) scratch: PathBuf,
    pub(crate) bootstrap: PathBuf,
    pub(crate) answer_bytes_max: usize,
    pub(crate) scratch_max: Disk,
    node: Option<PathBuf>,
    python: Option<PathBuf>,
}

impl Place {
    /// What is started for a program that is spoken with over a socket.
    pub(crate) fn command(&self, program: &Program) -> Result<(PathBuf, Vec<String>), End> {
        let bootstrap = |name: &str| self.bootstrap.join(name).to_string_lossy().into_owned();
        let missing = |what: &str| {
            End::with(
                Outcome::Unavailable,
                "Runtime",
                format!("this server has no {what}"),
            )
        };
        match program.runtime {
            RuntimeKind::NodeJs => {
                let heap = program.limits.memory_mb / 4 * 3;
                let arguments = vec![
                    format!("--max-old-space-size={heap}"),
                    bootstrap("nodejs.js"),
                ];
                let node = self.node.clone();
                Ok((node.ok_or_else(|| missing("Node.js"))?, arguments))
            }
            RuntimeKind::Python => {
                let arguments = vec!["-u".to_owned(), bootstrap("python.py")];
                let python = self.python.clone();
                Ok((python.ok_or_else(|| missing("Python"))?, arguments))
            }
            RuntimeKind::Custom => {
                let bootstrap = program.code.join("bootstrap");
                let mode = std::fs::metadata(&bootstrap)
                    .ok()
                    .filter(std::fs::Metadata::is_file)
                    .map(|file| file.permissions().mode());
                let why = match mode {
                    Some(mode) if mode & 0o111 != 0 => return Ok((bootstrap, Vec::new())),
                    Some(_) => "the file bootstrap must not be executed: chmod +x",
                    None => "there is no file bootstrap in the code",
                };
                Err(End::with(Outcome::InitFailed, "HandlerNotFound", why))
            }
            RuntimeKind::Exec => Err(missing("such runtime")),
        }
    }

    /// What the code of a runtime may want to start besides: interpreters, where it brings its own program.
    pub(crate) fn interpreters(&self, runtime: RuntimeKind) -> Vec<&PathBuf> {
        match runtime {
            RuntimeKind::Custom | RuntimeKind::Exec => {
                self.node.iter().chain(&self.python).collect()
            }
            RuntimeKind::NodeJs | RuntimeKind::Python => Vec::new(),
        }
    }
}

/// How things are, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunnerStatus {
    /// How far functions are shut in; none: they are not run.
    pub isolation: Option<Level>,
    /// What this machine can do, and why not more.
    pub support: Support,
    /// Workers in all.
    pub workers: usize,
    /// Most workers in all.
    pub workers_max: usize,
    /// Processes of an earlier run that were ended at the start.
    pub leftovers_killed: usize,
    /// Programs that have workers, or had some a short time ago.
    pub programs: Vec<PoolStatus>,
}

/// Runs programs.
pub struct Runner {
    settings: RunnerSettings,
    place: Arc<Place>,
    /// Why functions are not run at all.
    unavailable: Option<String>,
    isolation: Option<Level>,
    support: Support,
    leftovers_killed: usize,
    begun: Begun,
    cut_off: Mutex<Vec<Invocation>>,
    pools: Arc<Pools>,
    clock: Arc<dyn Clock>,
    live: broadcast::Sender<LiveLine>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.pools.stop();
    }
}

impl Runner {
    /// Makes the folders, ends what an earlier run has left, and finds out what this machine can do. Blocks for some
    /// milliseconds.
    ///
    /// # Errors
    /// A folder cannot be written.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(
        settings: RunnerSettings,
        launcher: Launcher,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Arc<Self>> {
        let leftovers_killed = match belfry_sandbox::leftovers(&launcher.instance) {
            Ok(count) => count,
            Err(error) => {
                tracing::error!(%error, "processes of functions that an earlier run has left could not be ended");
                0
            }
        };
        if leftovers_killed > 0 {
            tracing::warn!(
                processes = leftovers_killed,
                "ended processes of functions that an earlier run has left"
            );
        }
        let scratch = settings.dir.join("scratch");
        belfry_sandbox::remove(&scratch)?;
        std::fs::create_dir_all(&scratch)?;
        let (begun, cut_off) = Begun::open(settings.dir.join("begun"))?;
        let bootstrap = write_bootstraps(&settings.dir.join("bootstrap"))?;
        let support = Support::probe();
        let highest = support.highest();
        let isolation = if settings.level <= highest {
            Some(settings.level)
        } else {
            settings.allow_unsandboxed.then_some(highest)
        };
        let unavailable = isolation.is_none().then(|| {
            format!(
                "functions must be shut in at level {}, and this machine cannot: {}",
                level_name(settings.level),
                support.why_not.join("; ")
            )
        });
        if let Some(why) = &unavailable {
            tracing::error!("{why}");
        }
        let pools = Pools::new(settings.workers_max, settings.queue_max);
        let runner = Arc::new(Self {
            place: Arc::new(Place {
                launcher,
                level: isolation.unwrap_or(settings.level),
                scratch,
                bootstrap,
                answer_bytes_max: settings.answer_bytes_max,
                scratch_max: settings.scratch_max,
                node: settings.node.clone(),
                python: settings.python.clone(),
            }),
            settings,
            unavailable,
            isolation,
            support,
            leftovers_killed,
            begun,
            cut_off: Mutex::new(cut_off),
            pools,
            clock,
            live: broadcast::channel(LIVE_LINES).0,
        });
        let weak = Arc::downgrade(&runner);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(HOUSE_EVERY).await;
                let Some(runner) = weak.upgrade() else {
                    return;
                };
                runner.keep_house();
            }
        });
        Ok(runner)
    }

    /// Runs a program once and waits until it has ended.
    pub async fn invoke(
        &self,
        program: &Arc<Program>,
        call: Call<'_>,
        request_id: Uuid,
    ) -> Invocation {
        let mut invocation = Invocation::begun(&call, request_id, self.clock.now_ms());
        invocation.version = Some(program.version.clone());
        invocation.memory_mb = program.limits.memory_mb;
        invocation.isolation = self.isolation.map(|level| level_name(level).into());
        let _noted = self.begun.note(&invocation);
        let secrets = Arc::new(Secrets::new(&program.secrets));
        let mut log = self.log(program, &secrets, request_id);
        log.tell(LivePart::Start);
        let mut end = self.run(program, &call, &mut invocation, &mut log).await;
        // What a function says goes into records and onto buses: no secret leaves it by any way.
        if let Some(failure) = &mut end.failure {
            secrets.mask_failure(failure);
        }
        let outcome = end.outcome.unwrap_or(Outcome::Internal);
        log.tell(LivePart::End(outcome));
        (
            invocation.log,
            invocation.log_bytes,
            invocation.log_truncated,
        ) = log.finish();
        invocation.outcome = outcome;
        invocation.failure = end.failure.map(|failure| *failure);
        invocation.result = end.result.map(|result| secrets.mask_json(result));
        invocation.answered_at_ms = end.answered_at_ms;
        invocation.ended_at_ms = self.clock.now_ms();
        invocation.memory_peak_bytes = end.memory_peak_bytes;
        if let Some(status) = end.exit {
            use std::os::unix::process::ExitStatusExt as _;
            invocation.exit_code = status.code();
            invocation.signal = status.signal();
        }
        count(&invocation);
        invocation
    }

    /// Starts a worker, loads the code, and ends it.
    ///
    /// # Errors
    /// Why the code cannot be loaded, or nothing be started.
    pub async fn validate(&self, program: &Arc<Program>) -> Result<ColdStart, Failure> {
        let secrets = Arc::new(Secrets::new(&program.secrets));
        let mut log = self.log(program, &secrets, Uuid::now_v7());
        let offer = match program.runtime {
            RuntimeKind::Exec => exec::command(program, &self.settings.exec_allowed).map(|_| None),
            _ => self.place(program).await.map(Some),
        };
        let end = match offer {
            Ok(None) => return Ok(ColdStart::default()),
            Ok(Some(Offer::Warm(worker))) => {
                self.pools.give_back(program, worker);
                return Ok(ColdStart::default());
            }
            Ok(Some(Offer::Room(slot))) => {
                match Worker::start(&self.place, program, slot, &mut log).await {
                    Ok((worker, cold)) => {
                        worker.end(&mut log).await;
                        return Ok(cold);
                    }
                    Err(end) => explain(end, log),
                }
            }
            Err(end) => end,
        };
        let mut failure = match end.failure {
            Some(failure) => *failure,
            None => Failure {
                kind: "Internal".to_owned(),
                message: "it could not be tried".to_owned(),
                stack: None,
            },
        };
        secrets.mask_failure(&mut failure);
        Err(failure)
    }

    /// Keeps as many workers of a program as it wants to have always.
    pub fn keep_warm(&self, program: &Arc<Program>) {
        if program.limits.min_warm > 0 && self.unavailable.is_none() {
            self.pools.know(program);
        }
    }

    /// Workers of other programs of a function than these (by their keys) finish and go.
    pub fn retire(&self, function: &FunctionName, keep: &[[u8; 32]]) {
        self.pools
            .retire(|program| program.function == *function && !keep.contains(&program.key));
    }

    /// A function was deleted: what runs of it is ended.
    pub fn forget(&self, function: &FunctionName) {
        self.pools
            .forget(|program| program.function == *function, Outcome::Deleted);
    }

    /// Invocations that an earlier process of the server had begun, and could not bring to an end. Told once.
    pub fn cut_off(&self) -> Vec<Invocation> {
        std::mem::take(&mut *self.cut_off.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How things are.
    pub fn status(&self) -> RunnerStatus {
        RunnerStatus {
            isolation: self.isolation,
            support: self.support.clone(),
            workers: self.pools.workers(),
            workers_max: self.settings.workers_max,
            leftovers_killed: self.leftovers_killed,
            programs: self.pools.status(),
        }
    }

    /// What happens from now on, in all invocations. A follower that is too slow loses lines.
    pub fn follow(&self) -> broadcast::Receiver<LiveLine> {
        self.live.subscribe()
    }

    /// No new invocations; those that run have so much time, then they are ended.
    pub async fn shutdown(&self, grace: Duration) {
        self.pools.stop();
        let until = Instant::now() + grace;
        while self.pools.workers() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.pools.forget(|_| true, Outcome::Stopped);
        let until = Instant::now() + ENDING;
        while self.pools.workers() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn run(
        &self,
        program: &Arc<Program>,
        call: &Call<'_>,
        invocation: &mut Invocation,
        log: &mut Log,
    ) -> End {
        if call.event.len() > self.settings.event_bytes_max {
            let (bytes, most) = (call.event.len(), self.settings.event_bytes_max);
            return End::with(
                Outcome::EventTooLarge,
                "EventTooLarge",
                format!("the event has {bytes} bytes, at most {most} are taken"),
            );
        }
        let now_ms = || self.clock.now_ms();
        if program.runtime == RuntimeKind::Exec {
            let command = match exec::command(program, &self.settings.exec_allowed) {
                Ok(command) => command,
                Err(end) => return end,
            };
            let slot = match self.place(program).await {
                Ok(Offer::Room(slot)) => slot,
                Ok(Offer::Warm(_)) => return End::default(),
                Err(end) => return end,
            };
            let begun = Instant::now();
            let end = exec::run(&self.place, program, slot, command, call, log, now_ms).await;
            invocation.duration_us = micros(begun.elapsed());
            return end;
        }
        let mut worker = match self.place(program).await {
            Ok(Offer::Warm(worker)) => worker,
            Ok(Offer::Room(slot)) => match Worker::start(&self.place, program, slot, log).await {
                Ok((worker, cold)) => {
                    invocation.cold = Some(cold);
                    worker
                }
                Err(end) => {
                    self.died(program, &end);
                    return explain_kept(end, log);
                }
            },
            Err(end) => return end,
        };
        invocation.worker_pid = worker.pid();
        let begun = Instant::now();
        let end = worker
            .invoke(program, call, invocation.request_id, log, now_ms)
            .await;
        invocation.duration_us = micros(begun.elapsed());
        if end.outcome == Some(Outcome::Succeeded) {
            self.pools.succeeded(program);
        }
        if end.keep && worker.uses < program.limits.invocations_per_worker {
            self.pools.give_back(program, worker);
        } else {
            if !end.keep {
                self.died(program, &end);
            }
            // Before anybody is told: what was left must not go on after the end.
            worker.end(log).await;
        }
        end
    }

    /// A worker, or room for one.
    async fn place(&self, program: &Arc<Program>) -> Result<Offer, End> {
        if let Some(why) = &self.unavailable {
            return Err(End::with(Outcome::Unavailable, "Isolation", why.clone()));
        }
        let throttled = |why: String| End::with(Outcome::Throttled, "Throttled", why);
        let refused = match self.pools.take(program) {
            Ok(Ok(offer)) => return Ok(offer),
            Ok(Err(waiting)) => match timeout(self.settings.wait_for_worker, waiting).await {
                Ok(Ok(offer)) => return Ok(offer),
                // Whoever was to give one is gone.
                Ok(Err(_)) => {
                    let outcome = self.pools.unwanted(program).unwrap_or(Outcome::Stopped);
                    return Err(End::with(outcome, "Cancelled", "it was not begun any more"));
                }
                Err(_elapsed) => {
                    return Err(throttled(format!(
                        "no worker was free within {} s",
                        self.settings.wait_for_worker.as_secs_f32()
                    )));
                }
            },
            Err(refused) => refused,
        };
        Err(match refused {
            Refused::Stopping => {
                End::with(Outcome::Stopped, "Cancelled", "the server is about to stop")
            }
            Refused::QueueFull => throttled(format!(
                "{} invocations wait already",
                self.settings.queue_max
            )),
            Refused::Spaced(wait) => throttled(format!(
                "its workers die again and again; the next start is in {} ms",
                wait.as_millis()
            )),
        })
    }

    fn died(&self, program: &Program, end: &End) {
        let outcome = end.outcome.unwrap_or(Outcome::Internal);
        // Its own mistakes, no wish of ours and no weakness of the machine.
        if matches!(
            outcome,
            Outcome::Succeeded
                | Outcome::Stopped
                | Outcome::Deleted
                | Outcome::Unavailable
                | Outcome::NotStarted
        ) {
            return;
        }
        metrics::counter!("belfry_function_worker_deaths_total", "reason" => outcome.as_str())
            .increment(1);
        let message = end.failure.as_ref().map_or("", |failure| &failure.message);
        let why = format!("{}: {message}", outcome.as_str());
        let why = Secrets::new(&program.secrets).mask(&why).into_owned();
        if self
            .pools
            .died(program, &why, outcome == Outcome::InitFailed)
        {
            tracing::warn!(
                function = %program.function,
                version = program.version,
                reason = why,
                "workers of a function die again and again; it is started only now and then"
            );
        }
    }

    fn keep_house(&self) {
        for (program, slot) in self.pools.keep_house() {
            self.warm_up(program, slot);
        }
        let (mut idle, mut busy, mut waiting) = (0, 0, 0);
        for pool in self.pools.status() {
            idle += pool.idle;
            busy += pool.busy;
            waiting += pool.waiting;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let gauge = |name: &'static str, state: &'static str, value: usize| {
            metrics::gauge!(name, "state" => state).set(value as f64);
        };
        gauge("belfry_function_workers", "idle", idle);
        gauge("belfry_function_workers", "busy", busy);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        metrics::gauge!("belfry_function_queue_depth").set(waiting as f64);
    }

    fn warm_up(&self, program: Arc<Program>, slot: Slot) {
        let secrets = Arc::new(Secrets::new(&program.secrets));
        let mut log = self.log(&program, &secrets, Uuid::now_v7());
        let (place, pools) = (Arc::clone(&self.place), Arc::clone(&self.pools));
        tokio::spawn(async move {
            match Worker::start(&place, &program, slot, &mut log).await {
                Ok((worker, _)) => pools.give_back(&program, worker),
                Err(end) => {
                    let why = end
                        .failure
                        .map_or_else(String::new, |failure| failure.message);
                    pools.died(&program, &secrets.mask(&why), true);
                }
            }
        });
    }

    fn log(&self, program: &Program, secrets: &Arc<Secrets>, request_id: Uuid) -> Log {
        Log::new(
            LogLimits {
                bytes: self.settings.log_bytes_max,
                line_bytes: self.settings.line_bytes_max,
            },
            Arc::clone(secrets),
            Arc::clone(&self.clock),
            self.live.clone(),
            program.function.clone(),
            request_id,
        )
    }
}

/// Where there is no stack, what was printed last may say more.
fn explain(end: End, log: Log) -> End {
    let (lines, ..) = log.finish();
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let last = texts
        .get(texts.len().saturating_sub(LINES_TOLD)..)
        .unwrap_or_default();
    told(end, last)
}

fn explain_kept(end: End, log: &mut Log) -> End {
    let last = log.last(LINES_TOLD);
    let last: Vec<&str> = last.iter().map(String::as_str).collect();
    told(end, &last)
}

fn told(mut end: End, last: &[&str]) -> End {
    if let Some(failure) = &mut end.failure
        && failure.stack.is_none()
        && !last.is_empty()
    {
        failure.stack = Some(last.join("\n"));
    }
    end
}

fn write_bootstraps(dir: &Path) -> io::Result<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(NODE_BOOTSTRAP);
    hash.update(PYTHON_BOOTSTRAP);
    let mut digest = hex::encode(hash.finalize());
    digest.truncate(16);
    let own = dir.join(digest);
    std::fs::create_dir_all(&own)?;
    std::fs::write(own.join("nodejs.js"), NODE_BOOTSTRAP)?;
    std::fs::write(own.join("python.py"), PYTHON_BOOTSTRAP)?;
    Ok(own)
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Process => "process",
        Level::Landlock => "landlock",
        Level::Namespace => "namespace",
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn count(invocation: &Invocation) {
    metrics::counter!("belfry_function_invocations_total", "outcome" => invocation.outcome.as_str())
        .increment(1);
    if invocation.duration_us > 0 {
        metrics::histogram!("belfry_function_duration_seconds")
            .record(Duration::from_micros(invocation.duration_us));
    }
    if let Some(cold) = invocation.cold {
        metrics::counter!("belfry_function_cold_starts_total").increment(1);
        metrics::histogram!("belfry_function_init_seconds")
            .record(Duration::from_millis(u64::from(cold.total_ms)));
    }
    if invocation.memory_peak_bytes > 0 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        metrics::histogram!("belfry_function_memory_peak_bytes")
            .record(invocation.memory_peak_bytes as f64);
    }
    if invocation.log_bytes > 0 {
        metrics::counter!("belfry_function_log_bytes_total").increment(invocation.log_bytes);
    }
    if invocation.log_truncated {
        metrics::counter!("belfry_function_log_truncated_total").increment(1);
    }
}
