//! The server's side: starts helpers, asks them, gives up on one that dies or takes too long.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use belfry_sandbox::{Level, NO_MEMORY_BEFOREHAND, Support};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::frame::{Answer, Question, Task, Wrong, length, write};
use crate::script::{Ran, Script};
use crate::template::Piece;

/// How long a template that has ended helpers is not tried again.
const BANNED_FOR: Duration = Duration::from_hours(1);
/// How many helpers a template may end in that time.
const DEATHS_MAX: u32 = 2;
/// Most templates of which deaths are remembered.
const CULPRITS_MAX: usize = 1000;
/// Evaluations of one helper; then it is replaced, since what it has allocated it does not give back.
const EVALUATIONS_MAX: u32 = 100_000;
/// Starting a process takes its time on a busy machine, and is not the template's fault.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Bounds. Each is a documented setting of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalLimits {
    /// Helpers at once.
    pub processes: usize,
    /// How long one evaluation may take.
    pub timeout: Duration,
}

impl Default for EvalLimits {
    fn default() -> Self {
        Self {
            processes: 2,
            timeout: Duration::from_millis(500),
        }
    }
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whether it may work later.
    pub kind: FaultKind,
    /// The line of the template or script, from 1; `None` when the fault has no place.
    pub line: Option<usize>,
    /// The column in that line, in characters from 1.
    pub column: Option<usize>,
    /// What is wrong, for people.
    pub message: String,
    /// What the author may have meant.
    pub hint: Option<String>,
    /// The variable in whose script it is.
    pub variable: Option<String>,
    /// What the script printed before.
    pub printed: String,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The template's or script's: it fails again.
    Template,
    /// The machine's: no helper could be started.
    Unavailable,
}

impl Fault {
    /// A template or script that fails again, without a place.
    pub fn template(message: String) -> Self {
        Wrong {
            message,
            ..Wrong::default()
        }
        .into()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(variable) = &self.variable {
            write!(f, "variable {variable}: ")?;
        }
        f.write_str(&self.message)?;
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, " (line {line}, column {column})")?,
            (Some(line), None) => write!(f, " (line {line})")?,
            (None, _) => {}
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// Evaluates templates and scripts.
pub struct Templates {
    program: PathBuf,
    arguments: Vec<String>,
    limits: EvalLimits,
    places: Semaphore,
    idle: Mutex<Vec<Helper>>,
    /// Templates and scripts that have ended helpers, by their hash.
    culprits: Mutex<HashMap<u64, (u32, Instant)>>,
    hasher: RandomState,
}

struct Helper {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    left: u32,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Templates {
    /// Templates are evaluated by `program` with `arguments`, which ends up in [`work`](crate::work). Starts nothing yet.
    pub fn new(program: PathBuf, arguments: Vec<String>, limits: EvalLimits) -> Self {
        Self {
            program,
            arguments,
            places: Semaphore::new(limits.processes.max(1)),
            limits,
            idle: Mutex::default(),
            culprits: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// None can be evaluated: for servers and tests without templates.
    pub fn none() -> Self {
        Self::new(PathBuf::new(), Vec::new(), EvalLimits::default())
    }

    /// Whether a template can be read at all.
    ///
    /// # Errors
    /// What is wrong with it, or that no helper could be asked.
    pub async fn check(&self, template: &str) -> Result<(), Fault> {
        let task = Task::Template(template.to_owned());
        self.ask(task, None).await.map(drop)
    }

    /// Evaluates a template; `context` is the text of a JSON object.
    ///
    /// # Errors
    /// What is wrong with it, or that no helper could be asked.
    pub async fn render(&self, template: &str, context: &str) -> Result<Vec<Piece>, Fault> {
        let task = Task::Template(template.to_owned());
        match self.ask(task, Some(context)).await? {
            Answer::Pieces(pieces) => Ok(pieces),
            Answer::Ran(_) | Answer::Fault(_) => Err(away("it answered something else")),
        }
    }

    /// Whether a script can be compiled, and has the function it needs.
    ///
    /// # Errors
    /// What is wrong with it, or that no helper could be asked.
    pub async fn check_script(&self, script: &Script) -> Result<(), Fault> {
        let task = Task::Script(script.clone());
        self.ask(task, None).await.map(drop)
    }

    /// Evaluates a script; `context` is the text of a JSON object with what `msg` is made of: `payload`, `attrs`, `id`,
    /// `seq_id`, `error`; and `now_ms`, the time.
    ///
    /// # Errors
    /// What is wrong with it, or that no helper could be asked.
    pub async fn run(&self, script: &Script, context: &str) -> Result<Ran, Fault> {
        let task = Task::Script(script.clone());
        match self.ask(task, Some(context)).await? {
            Answer::Ran(ran) => Ok(ran),
            Answer::Pieces(_) | Answer::Fault(_) => Err(away("it answered something else")),
        }
    }

    async fn ask(&self, task: Task, context: Option<&str>) -> Result<Answer, Fault> {
        let (what, hash) = match &task {
            Task::Template(template) => ("template", self.hasher.hash_one(template)),
            Task::Script(script) => {
                let sources = serde_json::to_vec(script).unwrap_or_default();
                ("script", self.hasher.hash_one(sources))
            }
        };
        if self.is_banned(hash) {
            return Err(Fault::template(format!(
                "the {what} has ended the helper process again and again (memory or time); it is not tried again for an hour"
            )));
        }
        let context = context
            .map(serde_json::from_str::<&RawValue>)
            .transpose()
            .map_err(|error| Fault::template(format!("the context is no JSON: {error}")))?;
        let frame = write(&Question { task, context })
            .map_err(|_| Fault::template(format!("the event is too large for a {what}")))?;
        let _place = self.places.acquire().await.map_err(|_| away("closed"))?;
        let mut helper = self.helper().await?;
        let answer = timeout(self.limits.timeout, helper.ask(&frame)).await;
        match answer {
            Ok(Ok(answer)) => {
                helper.left -= 1;
                if helper.left > 0 {
                    self.idle().push(helper);
                }
                match answer {
                    Answer::Fault(wrong) => Err(wrong.into()),
                    answer => Ok(answer),
                }
            }
            // The helper goes with it: `kill_on_drop`.
            Ok(Err(error)) => {
                self.ended_one(hash);
                tracing::warn!(%error, "a {what} has ended its helper process");
                Err(Fault::template(format!(
                    "the {what} takes more memory than it may; its helper process ended"
                )))
            }
            Err(_elapsed) => {
                self.ended_one(hash);
                Err(Fault::template(format!(
                    "the {what} takes longer than {} ms",
                    self.limits.timeout.as_millis()
                )))
            }
        }
    }

    async fn helper(&self) -> Result<Helper, Fault> {
        loop {
            let Some(mut idle) = self.idle().pop() else {
                break;
            };
            // It may have died since; that is nobody's fault.
            if matches!(idle.child.try_wait(), Ok(None)) {
                return Ok(idle);
            }
        }
        timeout(START_LIMIT, self.start())
            .await
            .map_err(|_| away("it did not start in time"))?
            .map_err(|error| away(&error.to_string()))
    }

    async fn start(&self) -> io::Result<Helper> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            // It needs nothing of the server's surroundings, which may hold secrets.
            .env_clear()
            .env(NO_MEMORY_BEFOREHAND.0, NO_MEMORY_BEFOREHAND.1)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (to, from) = pipes.ok_or_else(|| io::Error::other("no pipes"))?;
        let mut helper = Helper {
            child,
            to,
            from,
            left: EVALUATIONS_MAX,
        };
        // So that the time of an evaluation is not that of a start.
        let first = Question {
            task: Task::Template(String::new()),
            context: None,
        };
        helper.ask(&write(&first)?).await?;
        say_what_is_missing();
        Ok(helper)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Helper>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn culprits(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (u32, Instant)>> {
        self.culprits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_banned(&self, hash: u64) -> bool {
        self.culprits()
            .get(&hash)
            .is_some_and(|(deaths, since)| *deaths >= DEATHS_MAX && since.elapsed() < BANNED_FOR)
    }

    fn ended_one(&self, hash: u64) {
        let mut culprits = self.culprits();
        culprits.retain(|_, (_, since)| since.elapsed() < BANNED_FOR);
        if culprits.len() < CULPRITS_MAX {
            culprits
                .entry(hash)
                .or_insert_with(|| (0, Instant::now()))
                .0 += 1;
        }
    }
}

/// Templates are evaluated wherever Belfry runs; that a kernel cannot keep them from everything is worth a word.
fn say_what_is_missing() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let support = Support::of_kernel();
        if support.highest() < Level::Landlock {
            tracing::warn!(
                missing = support.why_not.join("; "),
                "the helper process for templates has limits of memory and time only"
            );
        }
    });
}

impl Helper {
    async fn ask(&mut self, frame: &[u8]) -> io::Result<Answer> {
        self.to.write_all(frame).await?;
        self.to.flush().await?;
        let mut head = [0; 4];
        self.from.read_exact(&mut head).await?;
        let mut body = vec![0; length(head)?];
        self.from.read_exact(&mut body).await?;
        Ok(serde_json::from_slice(&body)?)
    }
}

impl From<Wrong> for Fault {
    fn from(wrong: Wrong) -> Self {
        Self {
            kind: FaultKind::Template,
            line: (wrong.line > 0).then_some(wrong.line),
            column: (wrong.column > 0).then_some(wrong.column),
            message: wrong.message,
            hint: wrong.hint,
            variable: wrong.variable,
            printed: wrong.printed,
        }
    }
}

fn away(why: &str) -> Fault {
    Fault {
        kind: FaultKind::Unavailable,
        ..Fault::template(format!("no helper process for templates: {why}"))
    }
}

/// The text of an evaluation, each inserted value escaped.
pub fn join(pieces: Vec<Piece>, escape: impl Fn(&str) -> Cow<'_, str>) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(own) => text.push_str(&own),
            Piece::Value(value) => text.push_str(&escape(&value)),
        }
    }
    text
}
