//! From the server: starting a program in a cage.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::launch::{ORDERS, Orders};
use crate::{Cage, Family, LAUNCH, NO_MEMORY_BEFOREHAND};

/// The variable by which everything that a program has started is found again.
pub(crate) const MARKER: &str = "BELFRY_WORKER";

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment; nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub directory: PathBuf,
    /// Marks it and everything that it starts: part of its environment. Unique; begins with [`Launcher::instance`].
    pub marker: String,
    /// What it may do.
    pub cage: Cage,
}

/// Starts programs by way of this binary's other mode.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
    /// The beginning of every marker of this server: what is left of an earlier run is told by it.
    pub instance: String,
}

/// A program that was started.
#[derive(Debug)]
pub struct Started {
    /// The process; its standard streams are as they were asked for. Before it becomes the program it is the launcher: if it
    /// could not be restricted as its cage says, it ends with [`LAUNCH_FAILED`](crate::LAUNCH_FAILED) and says why on standard
    /// error.
    pub child: Child,
    /// Its marker.
    pub marker: String,
    /// It, and everything that it starts.
    pub family: Family,
}

/// A command to start, and where to send the process.
struct Job {
    command: Command,
    runtime: Handle,
    answer: SyncSender<io::Result<Child>>,
}

impl Launcher {
    /// `program` is this binary (`/proc/self/exe` is it even after an update of the file); `instance` is the same for every run
    /// on the same data, and for no other server.
    pub fn new(program: PathBuf, instance: String) -> Self {
        Self { program, instance }
    }

    /// Starts it. Blocks for about as long as the kernel needs for a new process (under 1 ms).
    ///
    /// # Errors
    /// It cannot be started: no such program, no process or memory to be had. What goes wrong after that is told by the
    /// process itself.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(
        &self,
        plan: &Plan,
        stdin: Stdio,
        stdout: Stdio,
        stderr: Stdio,
    ) -> io::Result<Started> {
        let orders = serde_json::to_string(&Orders {
            parent: Some(std::process::id()),
            plan,
        })?;
        let mut command = Command::new(&self.program);
        command
            .arg(LAUNCH)
            .env_clear()
            .env(MARKER, &plan.marker)
            .env(ORDERS, orders)
            .env(NO_MEMORY_BEFOREHAND.0, NO_MEMORY_BEFOREHAND.1)
            .current_dir("/")
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true);
        let child = spawn(command)?;
        let family = Family::of(child.id(), &plan.marker);
        Ok(Started {
            child,
            marker: plan.marker.clone(),
            family,
        })
    }
}

/// Starts a command from a thread that lives as long as this process: the kernel ends a program with the *thread* that has started
/// it, and those of the runtime come and go.
fn spawn(command: Command) -> io::Result<Child> {
    let gone = || io::Error::other("the thread that starts programs is gone");
    let (answer, answered) = sync_channel(1);
    let job = Job {
        command,
        runtime: Handle::current(),
        answer,
    };
    thread()?.send(job).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

fn thread() -> io::Result<SyncSender<Job>> {
    static THREAD: Mutex<Option<SyncSender<Job>>> = Mutex::new(None);
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(jobs) = &*thread {
        return Ok(jobs.clone());
    }
    let (jobs, queue) = sync_channel::<Job>(64);
    std::thread::Builder::new()
        .name("launcher".to_owned())
        .spawn(move || {
            for mut job in queue {
                let _runtime = job.runtime.enter();
                // Whoever asked may be gone: then the process ends with the value.
                drop(job.answer.send(job.command.spawn()));
            }
        })?;
    *thread = Some(jobs.clone());
    Ok(jobs)
}
