//! A worker: one process that runs one program, an invocation at a time; its start, what happens meanwhile, its end.
//!
//! Whatever way a [`Worker`] goes, also when it is only dropped, its process ends, with everything that it has started.
//!
//! It must never know other workers, nor who waits for one.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use belfry_sandbox::{Cage, Disk, Family, LAUNCH_FAILED, Plan, newest_process};
use serde_json::json;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use uuid::Uuid;

use crate::call::Call;
use crate::custom::RuntimeApi;
use crate::invocation::{ColdStart, Failure};
use crate::log::{Log, Pipes};
use crate::outcome::Outcome;
use crate::pool::Slot;
use crate::profile;
use crate::program::Program;
use crate::runner::Place;
use crate::spec::{Network, RuntimeKind};
use crate::talk::{Ask, ErrorKind, Heard, Talk};

/// How often memory and scratch folder are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// After how long they are looked at even if every invocation is shorter than that.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How long a process may take to end that has ended the conversation.
const GOING: Duration = Duration::from_secs(1);
/// How long the last words of a process that has ended are waited for: they are in its socket already.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// What a process may have beside its memory: the kernel's limit is on what it asks for, not on what it uses.
const DATA_BESIDE: u64 = 64 << 20;
const OPEN_FILES: u64 = 256;
const PROCESSES: u64 = 1024;
const NICE: i32 = 10;

/// How an invocation, or a start, has ended.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) outcome: Option<Outcome>,
    pub(crate) failure: Option<Box<Failure>>,
    pub(crate) result: Option<String>,
    pub(crate) answered_at_ms: Option<i64>,
    pub(crate) exit: Option<ExitStatus>,
    pub(crate) memory_peak_bytes: u64,
    /// Whether the worker can go on.
    pub(crate) keep: bool,
}

impl End {
    pub(crate) fn with(outcome: Outcome, kind: &str, message: impl Into<String>) -> Self {
        Self {
            outcome: Some(outcome),
            failure: Some(Box::new(Failure {
                kind: kind.to_owned(),
                message: message.into(),
                stack: None,
            })),
            ..Self::default()
        }
    }
}

/// What can come between.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// The process has ended.
    Ended(ExitStatus),
    /// Its time is over.
    TimeUp,
    /// It has more memory than it may have: so many bytes.
    Memory(u64),
    /// It has so much on disk, and may have only that much.
    Disk(Disk, Disk),
    /// It is not wanted any more.
    Unwanted(Outcome),
}

/// A process that runs a program.
pub(crate) struct Process {
    pub(crate) child: Child,
    family: Family,
    pub(crate) pipes: Pipes,
    scratch: PathBuf,
    slot: Slot,
    runtime: Handle,
    memory_max: u64,
    scratch_max: Disk,
    /// The memory that it was last seen to have, and the most in this invocation, in bytes.
    memory: u64,
    peak: u64,
    measured: Option<Instant>,
    counted: Instant,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(
        place: &Place,
        program: &Program,
        slot: Slot,
        command: (PathBuf, Vec<String>),
        variables: Vec<(String, String)>,
        stdin: Stdio,
    ) -> io::Result<Self> {
        let worker = Uuid::new_v4().simple().to_string();
        let scratch = place.scratch.join(&worker);
        std::fs::create_dir(&scratch)?;
        let mut environment = profile::environment(program, &scratch);
        environment.extend(variables);
        let interpreters = place.interpreters(program.runtime);
        if let Some((_, path)) = environment.iter_mut().find(|(name, _)| name == "PATH") {
            for folder in interpreters.iter().filter_map(|program| program.parent()) {
                path.push(':');
                path.push_str(&folder.to_string_lossy());
            }
        }
        let memory_max = u64::from(program.limits.memory_mb) << 20;
        let (interpreter, arguments) = command;
        let mut read = Cage::system_read();
        read.extend([program.code.clone(), place.bootstrap.clone()]);
        read.extend(program.layers.iter().cloned());
        read.extend(home(&interpreter));
        read.extend(interpreters.iter().filter_map(|program| home(program)));
        let mut write = Cage::system_write();
        write.push(scratch.clone());
        let is_dir = program.code.is_dir();
        let plan = Plan {
            program: interpreter,
            arguments,
            environment,
            directory: if is_dir {
                program.code.clone()
            } else {
                scratch.clone()
            },
            marker: format!("{}{worker}", place.launcher.instance),
            cage: Cage {
                level: place.level,
                read,
                write,
                network: program.network == Network::All,
                data_bytes: Some(memory_max + DATA_BESIDE),
                files: OPEN_FILES,
                file_bytes: place.scratch_max.bytes,
                processes: Some(PROCESSES),
                nice: NICE,
            },
        };
        let started = place
            .launcher
            .start(&plan, stdin, Stdio::piped(), Stdio::piped());
        let mut started = match started {
            Ok(started) => started,
            Err(error) => {
                remove(&scratch);
                return Err(error);
            }
        };
        Ok(Self {
            pipes: Pipes::of(&mut started.child),
            child: started.child,
            family: started.family,
            scratch,
            slot,
            runtime: Handle::current(),
            memory_max,
            scratch_max: place.scratch_max,
            memory: 0,
            peak: 0,
            measured: None,
            counted: Instant::now(),
        })
    }

    /// Waits for `what`, and meanwhile reads what is printed, measures memory, and looks whether something comes between.
    pub(crate) async fn during<T>(
        &mut self,
        deadline: Instant,
        log: &mut Log,
        what: impl Future<Output = T>,
    ) -> Result<T, Cut> {
        tokio::pin!(what);
        let mut watch = interval_at(Instant::now() + WATCH_EVERY, WATCH_EVERY);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unwanted = self.slot.unwanted.clone();
        loop {
            tokio::select! {
                biased;
                done = &mut what => return Ok(done),
                status = self.child.wait() => {
                    // That there is no status is as good as a signal: it is gone.
                    return Err(Cut::Ended(status.unwrap_or_else(|_| ExitStatus::from_raw(9))));
                }
                outcome = until_unwanted(&mut unwanted) => return Err(Cut::Unwanted(outcome)),
                () = sleep_until(deadline) => return Err(Cut::TimeUp),
                _ = watch.tick() => {
                    let (memory, disk) = self.measure().await;
                    if let Some(cut) = self.over(memory, disk) {
                        return Err(cut);
                    }
                }
                () = self.pipes.read(log) => {}
            }
        }
    }

    /// Waits for the end of a process that has ended the conversation. Gives up after a moment: [`Cut::TimeUp`].
    async fn going(&mut self, log: &mut Log) -> Cut {
        let never = std::future::pending::<Cut>();
        match self.during(Instant::now() + GOING, log, never).await {
            Ok(cut) | Err(cut) => cut,
        }
    }

    /// Measured beside: with children it takes a millisecond for each.
    async fn measure(&mut self) -> (u64, Disk) {
        let (family, scratch, most) = (self.family.clone(), self.scratch.clone(), self.scratch_max);
        let measured =
            tokio::task::spawn_blocking(move || (family.memory(), family.disk(&scratch, most)));
        let (memory, disk) = measured.await.unwrap_or_default();
        self.counted = Instant::now();
        (self.seen(memory), disk)
    }

    /// What it has kept that is too much, if that has not been looked at for a while: it takes as long as a short invocation.
    async fn too_much(&mut self) -> Option<Cut> {
        if self.counted.elapsed() < COUNT_EVERY {
            return None;
        }
        let (memory, disk) = self.measure().await;
        self.over(memory, disk)
    }

    fn over(&self, memory: u64, disk: Disk) -> Option<Cut> {
        if memory > self.memory_max {
            Some(Cut::Memory(memory))
        } else {
            disk.is_over(self.scratch_max)
                .then_some(Cut::Disk(disk, self.scratch_max))
        }
    }

    fn seen(&mut self, memory: u64) -> u64 {
        self.measured = Some(Instant::now());
        // One that has just ended has none.
        if memory > 0 {
            self.memory = memory;
            self.peak = self.peak.max(memory);
        }
        memory
    }

    /// The most memory that it was seen to have. A short invocation is measured only if the last time is long ago: it takes as
    /// long as the invocation itself.
    pub(crate) fn take_peak(&mut self) -> u64 {
        if self.measured.is_none_or(|at| at.elapsed() > WATCH_EVERY) {
            let memory = self.family.memory();
            self.seen(memory);
        }
        self.peak
    }

    /// Ends it, with everything that it has started. Returns how many there were besides it.
    pub(crate) async fn end(mut self) -> usize {
        let (family, scratch) = (self.family.clone(), self.scratch);
        let killed = tokio::task::spawn_blocking(move || {
            let killed = family.kill();
            remove(&scratch);
            killed
        });
        let killed = match killed.await {
            Ok(Ok(count)) => count,
            Ok(Err(error)) => {
                tracing::error!(%error, "processes of a function could not be ended");
                0
            }
            Err(_) => 0,
        };
        drop(self.child.start_kill());
        drop(self.child.wait().await);
        if killed > 0 {
            metrics::counter!("belfry_function_orphans_killed_total").increment(killed as u64);
        }
        drop(self.slot);
        killed
    }
}

async fn until_unwanted(unwanted: &mut watch::Receiver<Option<Outcome>>) -> Outcome {
    match unwanted
        .wait_for(Option::is_some)
        .await
        .map(|outcome| *outcome)
    {
        Ok(outcome) => outcome.unwrap_or(Outcome::Stopped),
        // Nobody is left who could say it.
        Err(_) => std::future::pending().await,
    }
}

/// What is left of it goes with the next start of the server.
fn remove(scratch: &Path) {
    if let Err(error) = belfry_sandbox::remove(scratch) {
        tracing::warn!(scratch = %scratch.display(), %error, "the scratch folder of a worker could not be removed");
    }
}

/// The folder that an interpreter is installed in: beside `bin`. Beside the system's own `/bin` lies everything that the
/// machine has.
fn home(interpreter: &Path) -> Option<PathBuf> {
    let real = interpreter.canonicalize().ok()?;
    let above = real.parent().and_then(|folder| {
        let is_own = folder.file_name()? == "bin" && folder != Path::new("/bin");
        folder.parent().filter(|_| is_own)
    });
    let above = above.map(Path::to_owned);
    Some(above.unwrap_or(real))
}

/// A process that is spoken with.
pub(crate) struct Worker {
    process: Option<Box<Process>>,
    talk: Talk,
    /// Invocations so far.
    pub(crate) uses: u32,
    pub(crate) idle_since: Instant,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            let runtime = process.runtime.clone();
            runtime.spawn(process.end());
        }
    }
}

impl Worker {
    /// Starts one and loads the code.
    pub(crate) async fn start(
        place: &Place,
        program: &Program,
        slot: Slot,
        log: &mut Log,
    ) -> Result<(Self, ColdStart), End> {
        let begun = Instant::now();
        let broken =
            |error: io::Error| End::with(Outcome::NotStarted, "NotStarted", error.to_string());
        let (own, theirs) = std::os::unix::net::UnixStream::pair().map_err(broken)?;
        own.set_nonblocking(true).map_err(broken)?;
        let own = UnixStream::from_std(own).map_err(broken)?;
        let command = place.command(program)?;
        let process = if program.runtime == RuntimeKind::Custom {
            theirs.set_nonblocking(true).map_err(broken)?;
            let theirs = UnixStream::from_std(theirs).map_err(broken)?;
            let api = RuntimeApi::listen(program).await.map_err(broken)?;
            let variables = api.environment();
            let process = Process::start(place, program, slot, command, variables, Stdio::null())
                .map_err(broken)?;
            let family = process.family.clone();
            // It speaks for the worker until this end of the conversation is dropped.
            tokio::spawn(async move {
                let members = Arc::new(move || family.processes());
                if let Err(error) = api.serve(theirs, members).await {
                    tracing::warn!(%error, "the runtime API of a function broke off");
                }
            });
            process
        } else {
            let stdin = Stdio::from(OwnedFd::from(theirs));
            Process::start(place, program, slot, command, Vec::new(), stdin).map_err(broken)?
        };
        let mut talk = Talk::new(own, place.answer_bytes_max);
        let init = json!({
            "type": "init",
            "dir": program.code,
            "handler": program.handler,
            "profile": program.profile,
            "drain": program.drain,
            "answerBytesMax": place.answer_bytes_max,
        });
        // A worker that does not listen is gone, and that shows below.
        drop(talk.init(&init).await);
        let mut worker = Self {
            process: Some(Box::new(process)),
            talk,
            uses: 0,
            idle_since: begun,
        };
        log.init = true;
        let ready = worker.ready(program, log).await;
        worker.drain(log);
        log.init = false;
        match ready {
            Ok(init_us) => {
                let total_ms = millis(begun.elapsed());
                let function_ms = u32::try_from(init_us / 1000)
                    .unwrap_or(u32::MAX)
                    .min(total_ms);
                Ok((
                    worker,
                    ColdStart {
                        total_ms,
                        prepare_ms: 0,
                        runtime_ms: total_ms - function_ms,
                        function_ms,
                    },
                ))
            }
            Err(mut end) => {
                if log.out_of_memory {
                    end.outcome = Some(Outcome::OutOfMemory);
                }
                end.memory_peak_bytes = worker.process.as_mut().map_or(0, |process| process.peak);
                worker.end(log).await;
                Err(end)
            }
        }
    }

    async fn ready(&mut self, program: &Program, log: &mut Log) -> Result<u64, End> {
        let Some(process) = &mut self.process else {
            return Err(End::default());
        };
        let limit = program.limits.init_timeout;
        let deadline = Instant::now() + limit;
        let mut heard = process.during(deadline, log, self.talk.hear()).await;
        let mut exit = None;
        if let Err(Cut::Ended(status)) = heard {
            exit = Some(status);
            heard = match timeout(LAST_WORDS, self.talk.hear()).await {
                Ok(Ok(Heard::InitError(failure))) => Ok(Ok(Heard::InitError(failure))),
                _ => Err(Cut::Ended(status)),
            };
        } else if let Ok(Ok(Heard::Gone)) = heard {
            // Closed its end: it is about to end.
            heard = process
                .during(Instant::now() + LAST_WORDS, log, std::future::pending())
                .await;
        }
        let mut end = match heard {
            Ok(Ok(Heard::Ready { init_us })) => return Ok(init_us),
            Ok(Ok(Heard::InitError(failure))) => End {
                outcome: Some(if is_memory(&failure) {
                    Outcome::OutOfMemory
                } else {
                    Outcome::InitFailed
                }),
                failure: Some(Box::new(failure)),
                ..End::default()
            },
            Ok(Ok(_)) => End::with(
                Outcome::ProtocolBroken,
                "Protocol",
                "it spoke before it was ready",
            ),
            Ok(Err(told)) => End::with(Outcome::ProtocolBroken, "Protocol", told),
            Err(Cut::Ended(status)) if status.code() == Some(LAUNCH_FAILED) => End::with(
                Outcome::Unavailable,
                "Isolation",
                "it cannot be shut in as it must be",
            ),
            Err(Cut::Ended(status)) => {
                exit = Some(status);
                End::with(
                    Outcome::InitFailed,
                    "Exit",
                    format!(
                        "the process ended while the code was loaded: {}",
                        ended(status)
                    ),
                )
            }
            Err(Cut::TimeUp) => End::with(
                Outcome::InitTimedOut,
                "Timeout",
                format!("the code was not loaded within {} s", limit.as_secs_f32()),
            ),
            Err(Cut::Memory(bytes)) => memory_over(bytes, program),
            Err(Cut::Disk(disk, most)) => scratch_over(disk, most),
            Err(Cut::Unwanted(outcome)) => unwanted(outcome),
        };
        end.exit = exit;
        Err(end)
    }

    /// Runs one invocation.
    pub(crate) async fn invoke(
        &mut self,
        program: &Program,
        call: &Call<'_>,
        request_id: Uuid,
        log: &mut Log,
        now_ms: impl Fn() -> i64,
    ) -> End {
        self.uses += 1;
        let newest = newest_process();
        let limit = program.limits.timeout;
        let deadline = Instant::now() + limit;
        let deadline_ms = now_ms() + i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let context = profile::context(program, call, request_id, deadline_ms);
        let ask = Ask {
            request_id,
            deadline_ms,
            context: &context,
            event: call.event,
        };
        let Some(process) = &mut self.process else {
            return End::default();
        };
        process.peak = process.memory;
        let mut end = End::default();
        let cut = match process.during(deadline, log, self.talk.ask(&ask)).await {
            // One that does not listen is about to end.
            Ok(_) => loop {
                match process.during(deadline, log, self.talk.hear()).await {
                    // How it ends says more.
                    Ok(Ok(Heard::Gone)) => match process.going(log).await {
                        Cut::TimeUp => {
                            take(Ok(Heard::Gone), request_id, &mut end, &now_ms);
                            break None;
                        }
                        cut => break Some(cut),
                    },
                    Ok(heard) => {
                        if take(heard, request_id, &mut end, &now_ms) {
                            break None;
                        }
                    }
                    Err(cut) => break Some(cut),
                }
            },
            Err(cut) => Some(cut),
        };
        if let Some(cut) = cut {
            if let Cut::Ended(_) = cut {
                while let Ok(heard) = timeout(LAST_WORDS, self.talk.hear()).await {
                    if heard == Ok(Heard::Gone) || take(heard, request_id, &mut end, &now_ms) {
                        break;
                    }
                }
            }
            process.pipes.drain(log);
            conclude(cut, program, log, &mut end);
        } else {
            process.pipes.drain(log);
        }
        end.memory_peak_bytes = process.take_peak();
        // A runtime of the code's own may well consist of several processes.
        if end.keep
            && program.runtime != RuntimeKind::Custom
            && newest.is_none_or(|newest| newest_process() != Some(newest))
        {
            let family = process.family.clone();
            let left = tokio::task::spawn_blocking(move || family.children()).await;
            let left = left.unwrap_or(0);
            if left > 0 {
                log.note(format!("processes left over and ended: {left}"));
                end.keep = false;
            }
        }
        if end.keep
            && let Some(cut) = process.too_much().await
        {
            let mut over = End::default();
            conclude(cut, program, log, &mut over);
            let why = over
                .failure
                .map_or_else(String::new, |failure| failure.message);
            log.note(format!("{why}: its worker is replaced"));
            end.keep = false;
        }
        end
    }

    /// Whether it lives.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| matches!(process.child.try_wait(), Ok(None)))
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(|process| process.child.id())
    }

    fn drain(&mut self, log: &mut Log) {
        if let Some(process) = &mut self.process {
            process.pipes.drain(log);
        }
    }

    /// Ends it, and waits until it is gone. What it printed last is in the log.
    pub(crate) async fn end(mut self, log: &mut Log) {
        self.drain(log);
        if let Some(process) = self.process.take() {
            process.end().await;
        }
    }
}

/// Takes what a worker says in an invocation. Returns whether that is the end of it.
fn take(heard: Result<Heard, String>, id: Uuid, end: &mut End, now_ms: &impl Fn() -> i64) -> bool {
    let broken = |end: &mut End, told: String| {
        let result = end.result.take();
        *end = End {
            answered_at_ms: end.answered_at_ms,
            ..End::with(Outcome::ProtocolBroken, "Protocol", told)
        };
        drop(result);
        true
    };
    let heard = match heard {
        Ok(heard) => heard,
        Err(told) => return broken(end, told),
    };
    let of = match &heard {
        Heard::Answer { id, .. }
        | Heard::Error { id, .. }
        | Heard::LateError { id, .. }
        | Heard::Done { id } => Some(*id),
        _ => None,
    };
    if of.is_some_and(|of| of != id) {
        return broken(end, "a message for another invocation".to_owned());
    }
    match heard {
        Heard::Answer { value, done, .. } if end.outcome.is_none() => {
            end.outcome = Some(Outcome::Succeeded);
            end.result = Some(value);
            end.answered_at_ms = Some(now_ms());
            end.keep = done;
            done
        }
        Heard::Error {
            kind,
            failure,
            done,
            ..
        } if end.outcome.is_none() => {
            let memory = is_memory(&failure);
            end.outcome = Some(match kind {
                _ if memory => Outcome::OutOfMemory,
                ErrorKind::Exception | ErrorKind::Uncaught => Outcome::Threw,
                ErrorKind::NotSerializable => Outcome::NotSerializable,
                ErrorKind::NoAnswer => Outcome::NoAnswer,
                ErrorKind::TooLarge => Outcome::AnswerTooLarge,
            });
            end.failure = Some(Box::new(failure));
            end.answered_at_ms = Some(now_ms());
            let ends = memory || kind == ErrorKind::Uncaught;
            end.keep = done && !ends;
            done || ends
        }
        Heard::LateError { failure, .. } if end.outcome.is_some() => {
            if end.outcome == Some(Outcome::Succeeded) {
                end.outcome = Some(Outcome::LateError);
                end.failure = Some(Box::new(failure));
            }
            end.keep = false;
            true
        }
        Heard::Done { .. } if end.outcome.is_some() => {
            end.keep = true;
            true
        }
        // The end of its process says more.
        Heard::Gone => {
            if end.outcome.is_none() {
                *end = End::with(
                    Outcome::Exited,
                    "Exit",
                    "the process ended without an answer",
                );
            }
            end.keep = false;
            true
        }
        Heard::Answer { .. } | Heard::Error { .. } => broken(end, "a second answer".to_owned()),
        Heard::Done { .. } => broken(end, "done without an answer".to_owned()),
        Heard::LateError { .. } => broken(end, "a late error before the answer".to_owned()),
        Heard::Ready { .. } | Heard::InitError(_) => {
            broken(end, "it got ready a second time".to_owned())
        }
    }
}

/// What an invocation comes to that was cut short.
pub(crate) fn conclude(cut: Cut, program: &Program, log: &Log, end: &mut End) {
    let seconds = program.limits.timeout.as_secs_f32();
    end.keep = false;
    let answered = end.outcome == Some(Outcome::Succeeded);
    let said = end.outcome.is_some();
    let (result, answered_at_ms) = (end.result.take(), end.answered_at_ms);
    let mut now = match cut {
        Cut::Ended(status) => {
            let mut now = if log.out_of_memory {
                End::with(Outcome::OutOfMemory, "OutOfMemory", "the heap is full")
            } else if answered && status.success() || said && !answered {
                std::mem::take(end)
            } else if answered {
                End::with(
                    Outcome::LateError,
                    "Exit",
                    format!("the process ended after the answer: {}", ended(status)),
                )
            } else {
                End::with(
                    Outcome::Exited,
                    "Exit",
                    format!("the process ended without an answer: {}", ended(status)),
                )
            };
            now.exit = Some(status);
            now
        }
        Cut::TimeUp if answered => End::with(
            Outcome::LateTimedOut,
            "Timeout",
            format!("it answered, and was not finished within {seconds} s"),
        ),
        Cut::TimeUp if said => std::mem::take(end),
        Cut::TimeUp => End::with(
            Outcome::TimedOut,
            "Timeout",
            format!("no answer within {seconds} s"),
        ),
        Cut::Memory(bytes) => memory_over(bytes, program),
        Cut::Disk(disk, most) => scratch_over(disk, most),
        Cut::Unwanted(outcome) => unwanted(outcome),
    };
    now.answered_at_ms = answered_at_ms;
    now.result = result.filter(|_| now.outcome.is_some_and(Outcome::has_result));
    *end = now;
}

fn memory_over(bytes: u64, program: &Program) -> End {
    End::with(
        Outcome::OutOfMemory,
        "OutOfMemory",
        format!(
            "it had {} MB of memory, and may have {} MB",
            bytes >> 20,
            program.limits.memory_mb
        ),
    )
}

fn scratch_over(disk: Disk, most: Disk) -> End {
    let told = match disk.files {
        u64::MAX => "its scratch folder has folders that cannot be listed".to_owned(),
        files => format!(
            "it has {files} files of {} MB on disk, and may have {} of {} MB",
            disk.bytes >> 20,
            most.files,
            most.bytes >> 20
        ),
    };
    End::with(Outcome::ScratchFull, "ScratchFull", told)
}

fn unwanted(outcome: Outcome) -> End {
    let why = match outcome {
        Outcome::Deleted => "the function was deleted meanwhile",
        _ => "the server stopped meanwhile",
    };
    End::with(outcome, "Cancelled", why)
}

/// What runtimes say when there is no memory to be had.
fn is_memory(failure: &Failure) -> bool {
    failure.kind == "MemoryError"
        || failure.kind == "RangeError" && failure.message.contains("allocation failed")
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "it is gone".to_owned(),
    }
}

pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
