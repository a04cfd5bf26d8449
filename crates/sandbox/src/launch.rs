//! The mode of the binary that restricts itself and becomes the program.
//!
//! Everything here happens in a process of its own with one thread, between its start by the server and the first instruction of
//! the program. Whatever a cage promises and cannot be had ends it: never does a program run less shut in than it was asked for.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use crate::start::{MARKER, Plan};
use crate::{Level, namespace, restrict};

/// The variable with the [`Orders`]; the program does not get it.
pub(crate) const ORDERS: &str = "BELFRY_LAUNCH";
/// The exit code of a launcher that has not become its program; the reason is the last line of its standard error.
pub const LAUNCH_FAILED: i32 = 125;

/// What a launcher is told, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Orders<P> {
    /// Who has started it: when that is gone, nobody waits for the program. `None` inside of namespaces, where this has been
    /// seen to.
    pub parent: Option<u32>,
    /// What to start.
    pub plan: P,
}

/// Restricts this process as it is told by its environment, and becomes the program. To be called before anything else is done:
/// it returns only when that is not possible, with the code to end with ([`LAUNCH_FAILED`]).
pub fn launch() -> ExitCode {
    let failure = match become_program() {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    // Nobody is left to be told if this fails.
    drop(writeln!(io::stderr(), "belfry launch: {failure}"));
    ExitCode::from(u8::try_from(LAUNCH_FAILED).unwrap_or(u8::MAX))
}

fn become_program() -> io::Result<std::convert::Infallible> {
    let orders = std::env::var(ORDERS).map_err(|_| {
        io::Error::other("this is how the server starts programs; it is not for people")
    })?;
    let orders: Orders<Plan> = serde_json::from_str(&orders)?;
    let plan = &orders.plan;
    if let Some(parent) = orders.parent {
        told("a session of its own", session(parent))?;
    }
    inherit_nothing();
    let is_alone = orders.parent.is_none();
    let mut command = if plan.cage.level == Level::Namespace && !is_alone {
        // There, the next launcher goes on with what is left to be done.
        namespace::command(plan)?
    } else {
        told(
            &format!("the folder {}", plan.directory.display()),
            std::env::set_current_dir(&plan.directory),
        )?;
        restrict(&plan.cage)?;
        let mut command = Command::new(&plan.program);
        command
            .args(&plan.arguments)
            .env_clear()
            .envs(plan.environment.iter().map(|(name, value)| (name, value)))
            .env(MARKER, &plan.marker);
        command
    };
    let error = command.exec();
    told(&command.get_program().to_string_lossy(), Err(error))
}

/// A session of its own, so that signals to its group reach nothing else; ended with the server; and whatever it starts stays
/// below it, whoever of them ends, until it ends itself.
#[cfg(target_os = "linux")]
fn session(parent: u32) -> io::Result<()> {
    use rustix::process::{
        Signal, getpid, getppid, set_child_subreaper, set_parent_process_death_signal, setsid,
    };
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before it was asked to be told.
    let is_there =
        getppid().is_some_and(|now| now.as_raw_nonzero().get().cast_unsigned() == parent);
    if is_there {
        Ok(())
    } else {
        Err(io::Error::other("the server has ended"))
    }
}

#[cfg(not(target_os = "linux"))]
fn session(_parent: u32) -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// What the server opens is closed by `exec`; what it has inherited itself may not be.
fn inherit_nothing() {
    #[cfg(target_os = "linux")]
    close_fds::set_fds_cloexec(3, &[]);
}

/// Says at which step something went wrong.
pub(crate) fn told<T>(step: &str, result: Result<T, impl std::fmt::Display>) -> io::Result<T> {
    result.map_err(|error| io::Error::other(format!("{step}: {error}")))
}
