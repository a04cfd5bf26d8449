//! A program and everything that it has started: finding, measuring, ending them.
//!
//! While the program lives, everything that it has started is below it, also what has left its group, session and environment: the
//! launcher asks the kernel for that. When it has ended, the rest is found by the marker in its environment and by its session.
//! Processes start others between being listed and being ended, so both are done again until nothing is found twice in a row.
//!
//! All of this reads `/proc` and blocks: 10 to 50 µs for a program without children, milliseconds for a scan of everything.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::start::MARKER;

/// How long ending may take before it is given up; a fork bomb takes some.
const KILL_LIMIT: Duration = Duration::from_secs(20);
/// How long a process may take to become another program; then it is taken for one without an environment.
const EXEC_LIMIT: Duration = Duration::from_secs(1);
/// So many scans in a row that find nothing are the end.
const CLEAN_SCANS: u32 = 2;

/// A program and everything that it has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The program's process; `None`: it had ended before it could be looked at.
    head: Option<Process>,
    marker: String,
}

/// A process, told from later ones with the same number by when it has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Process {
    id: u32,
    begun: u64,
}

/// What `/proc/<id>/stat` says of a process; see `proc_pid_stat(5)`.
struct Stat {
    begun: u64,
    parent: u32,
    session: u32,
    /// It has ended; its parent has not asked how.
    is_over: bool,
}

impl Family {
    pub(crate) fn of(id: Option<u32>, marker: &str) -> Self {
        let head = id.and_then(|id| {
            stat(id).map(|stat| Process {
                id,
                begun: stat.begun,
            })
        });
        Self {
            head,
            marker: marker.to_owned(),
        }
    }

    /// How many processes there are that the program has started, directly or not. 0 as well when it has ended itself.
    pub fn children(&self) -> usize {
        self.living_head().map_or(0, |head| below(head.id).len())
    }

    /// The program's process and those that it has started, directly or not; none when it has ended itself.
    pub fn processes(&self) -> Vec<u32> {
        self.living_head().map_or_else(Vec::new, |head| {
            let mut all = vec![head.id];
            all.extend(below(head.id));
            all
        })
    }

    /// Memory of the program in bytes, with all that it has started. Pages that several of them share are counted once; 0 when
    /// it has ended.
    pub fn memory(&self) -> u64 {
        let Some(head) = self.living_head() else {
            return 0;
        };
        let children = below(head.id);
        if children.is_empty() {
            return resident(head.id);
        }
        // Forked children share most pages with their parent: counted by residence, they look like many times the memory.
        children
            .iter()
            .chain([&head.id])
            .map(|id| proportional(*id).unwrap_or_else(|| resident(*id)))
            .sum()
    }

    /// Ends the program and everything that it has started; when this returns, nothing of it runs any more. Whoever holds the
    /// process still has to ask how it ended.
    ///
    /// Returns how many there were besides the program.
    ///
    /// # Errors
    /// Some of them could not be ended within 20 seconds.
    pub fn kill(&self) -> io::Result<usize> {
        let mut killed = HashSet::new();
        let living = self.living_head();
        let is_newest = |head: Process| newest_process() == Some(head.id);
        if living.is_none() && self.head.is_some_and(is_newest) {
            // Nobody has started anything since.
            return Ok(0);
        }
        if let Some(head) = living {
            // It must not start others meanwhile, but has to stay: what its children leave behind becomes its own.
            signal(head.id, Signal::STOP);
            until_clean(&mut killed, || below(head.id))?;
            if self.living_head().is_some() {
                signal(head.id, Signal::KILL);
            }
        }
        until_clean(&mut killed, || {
            scan(|id, stat| {
                // What is older is none of it, and its environment need not be read.
                self.head.is_none_or(|head| stat.begun >= head.begun)
                    && (self.is_in_session(stat)
                        || has_marker(id, |marker| marker == self.marker.as_bytes()))
            })
        })?;
        if let Some(head) = self.head {
            killed.remove(&head);
        }
        Ok(killed.len())
    }

    /// A session's number may be used again once everything in it has ended; then its first process is another one.
    fn is_in_session(&self, stat: &Stat) -> bool {
        self.head.is_some_and(|head| {
            stat.session == head.id
                && crate::family::stat(head.id).is_none_or(|now| now.begun == head.begun)
        })
    }

    fn living_head(&self) -> Option<Process> {
        self.head.filter(|head| {
            stat(head.id).is_some_and(|stat| stat.begun == head.begun && !stat.is_over)
        })
    }
}

/// The number of the newest process or thread of this machine: as long as it stays the same, nobody has started one. `None`: not
/// to be known here. Takes a microsecond.
pub fn newest_process() -> Option<u32> {
    static LOAD: OnceLock<Option<File>> = OnceLock::new();
    let load = LOAD.get_or_init(|| {
        let load = File::open("/proc/loadavg").ok()?;
        // Some containers put a file of their own in its place, which is seconds behind.
        let is_own = load.metadata().ok()?.dev() == fs::metadata("/proc").ok()?.dev();
        is_own.then_some(load)
    });
    let mut text = [0; 128];
    let length = load.as_ref()?.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    text.trim_end().rsplit(' ').next()?.parse().ok()
}

/// Ends everything whose environment holds this marker. [`Family::kill`] finds more while the program itself lives.
///
/// Returns how many there were.
///
/// # Errors
/// Some of them could not be ended within 20 seconds.
pub fn kill_all(marker: &str) -> io::Result<usize> {
    let mut killed = HashSet::new();
    until_clean(&mut killed, || {
        scan(|id, _| has_marker(id, |found| found == marker.as_bytes()))
    })?;
    Ok(killed.len())
}

/// Ends what an earlier run of this server has left: everything whose marker begins with `instance`. To be called before
/// anything is started.
///
/// Returns how many there were.
///
/// # Errors
/// Some of them could not be ended within 20 seconds.
pub fn leftovers(instance: &str) -> io::Result<usize> {
    let mut killed = HashSet::new();
    until_clean(&mut killed, || {
        scan(|id, _| has_marker(id, |found| found.starts_with(instance.as_bytes())))
    })?;
    Ok(killed.len())
}

/// Ends what `find` finds until it finds nothing twice in a row.
fn until_clean(killed: &mut HashSet<Process>, find: impl Fn() -> Vec<u32>) -> io::Result<()> {
    let limit = Instant::now() + KILL_LIMIT;
    let mut clean = 0;
    while clean < CLEAN_SCANS {
        let found = find();
        clean = if found.is_empty() { clean + 1 } else { 0 };
        for id in found {
            if let Some(Stat { begun, .. }) = stat(id) {
                killed.insert(Process { id, begun });
            }
            signal(id, Signal::KILL);
        }
        if Instant::now() > limit {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "there are processes that cannot be ended",
            ));
        }
    }
    Ok(())
}

/// Whatever is below a process and has not ended.
fn below(head: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut open = vec![head];
    while let Some(parent) = open.pop() {
        // What has ended has left its children to the head.
        let children = children(parent).into_iter();
        let alive: Vec<u32> = children
            .filter(|id| stat(*id).is_some_and(|stat| !stat.is_over))
            .collect();
        open.extend(&alive);
        found.extend(alive);
    }
    found
}

/// The children of all threads of a process.
fn children(parent: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => found.extend(
                list.split_ascii_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            ),
            // The thread has ended, or the kernel was built without these lists.
            Err(_) if thread.path().exists() => return scan(|_, stat| stat.parent == parent),
            Err(_) => {}
        }
    }
    found
}

/// All processes of which this is true and that have not ended.
fn scan(is_one: impl Fn(u32, &Stat) -> bool) -> Vec<u32> {
    let own = std::process::id();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| *id != own)
        .filter(|id| stat(*id).is_some_and(|stat| !stat.is_over && is_one(*id, &stat)))
        .collect()
}

fn has_marker(id: u32, is_one: impl Fn(&[u8]) -> bool) -> bool {
    environment(id).split(|byte| *byte == 0).any(|variable| {
        let value = variable.strip_prefix(MARKER.as_bytes());
        value
            .and_then(|value| value.strip_prefix(b"="))
            .is_some_and(&is_one)
    })
}

/// What belongs to others cannot be read, and was not started here: nothing.
fn environment(id: u32) -> Vec<u8> {
    let limit = Instant::now() + EXEC_LIMIT;
    loop {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        if !environment.is_empty() || !is_in_exec(id) || Instant::now() > limit {
            return environment;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process that is just becoming another program has neither arguments nor an environment yet. Threads of the kernel never have,
/// but no program either.
fn is_in_exec(id: u32) -> bool {
    fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.is_empty())
        && fs::read_link(format!("/proc/{id}/exe")).is_ok()
}

fn stat(id: u32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{id}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name before it may hold anything, also blanks and brackets.
    let mut fields = text.rsplit_once(") ")?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let begun = fields.nth(15)?.parse().ok()?;
    Some(Stat {
        begun,
        parent,
        session,
        is_over: matches!(state, "Z" | "X"),
    })
}

/// Resident memory in bytes.
fn resident(id: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{id}/statm")).unwrap_or_default();
    let pages: u64 = statm
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    pages.saturating_mul(page)
}

/// Resident memory in bytes, each page divided by those who share it.
fn proportional(id: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes.saturating_mul(1024))
}

/// A process that has gone meanwhile, or is not ours to signal, is no error: the next scan says what is left.
fn signal(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal).ok();
    }
}
