//! From the server: starting a program in a cage, and ending it with everything that it has started.

use std::path::PathBuf;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::Cage;

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
    /// The process; its standard streams are as they were asked for.
    pub child: Child,
    /// Its marker.
    pub marker: String,
}

impl Launcher {
    /// `program` is this binary; `instance` is the same for every run on the same data, and for no other server.
    pub fn new(program: PathBuf, instance: String) -> Self {
        Self { program, instance }
    }

    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started: no such program, no process or memory to be had.
    pub fn start(
        &self,
        plan: &Plan,
        stdin: Stdio,
        stdout: Stdio,
        stderr: Stdio,
    ) -> std::io::Result<Started> {
        let _ = &self.program;
        let child = Command::new(&plan.program)
            .args(&plan.arguments)
            .env_clear()
            .envs(plan.environment.iter().cloned())
            .env(MARKER, &plan.marker)
            .current_dir(&plan.directory)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Started {
            child,
            marker: plan.marker.clone(),
        })
    }
}
