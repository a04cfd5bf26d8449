//! Whether the process that held a node's number has ended, where that can be told: on the machine where it ran, since
//! its last start, and among the same processes (containers have their own).
//!
//! A process is told by the machine's start, its set of processes, its number and when it began, for numbers are used again. Where
//! one of them cannot be read nothing is told, and a lease has to run out. A mistake here would cost no more than a
//! node that has to start again: whoever takes a number raises its epoch.

use std::fs::read_to_string;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

const BOOT: &str = "/proc/sys/kernel/random/boot_id";
const PROCESSES: &str = "/proc/self/ns/pid";

/// Tells this process from all others; empty where that cannot be done.
pub(crate) fn this() -> String {
    let pid = std::process::id();
    let known = || Some(format!("{} {pid} {}", place()?, began(pid)?));
    known().unwrap_or_default()
}

/// Whether the process that [`this`] was called in has surely ended.
pub(crate) fn has_ended(process: &str) -> bool {
    let ended = || {
        let (rest, began_at) = process.rsplit_once(' ')?;
        let (there, pid) = rest.rsplit_once(' ')?;
        if place()? != there {
            return None;
        }
        let pid: i32 = pid.parse().ok()?;
        Some(match test_kill_process(Pid::from_raw(pid)?) {
            Err(Errno::SRCH) => true,
            // Somebody has its number.
            _ => began(pid.unsigned_abs())? != began_at,
        })
    };
    ended().unwrap_or(false)
}

/// The start of the machine and the set of processes that this one belongs to.
fn place() -> Option<String> {
    let boot = read_to_string(BOOT).ok()?;
    let processes = std::fs::read_link(PROCESSES).ok()?;
    let boot = boot.trim();
    (!boot.is_empty()).then(|| format!("{boot} {}", processes.display()))
}

/// When a process began, in the system's own units.
fn began(pid: u32) -> Option<String> {
    let stat = read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // `id (name) state ...`, and a name may hold anything. The 22nd of all, the 20th after the name.
    let rest = stat.rsplit_once(')')?.1;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_runs_has_not_ended_and_one_that_has_ended_is_told() {
        let me = this();
        assert!(!me.is_empty(), "this test runs on Linux");
        assert!(!has_ended(&me));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let other = format!("{} {pid} {}", place().unwrap(), began(pid).unwrap());
        assert!(!has_ended(&other));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended(&other));
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let pid = std::process::id();
        assert!(has_ended(&format!("{} {pid} 1", place().unwrap())));
    }

    #[test]
    fn nothing_is_told_of_other_machines_and_of_what_cannot_be_read() {
        for text in ["", "x", "a b c d", "0-0 pid:[1] 999999999 5"] {
            assert!(!has_ended(text), "{text}");
        }
    }
}
