//! What a process may do, as data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How far a process is shut in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// A session, an environment and limits of its own; it sees and does whatever the server's user may.
    Process,
    /// It also sees and touches only named files, signals nobody outside, and may not make dangerous system calls.
    Landlock,
    /// It is also alone: other processes do not exist for it, and what it has started ends with it.
    Namespace,
}

/// What a process may do. Limits are those of the kernel: see `setrlimit(2)`, `landlock(7)`, `seccomp(2)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cage {
    /// How far it is shut in.
    pub level: Level,
    /// Files and folders that it may read and execute; those that are missing are passed over.
    pub read: Vec<PathBuf>,
    /// Folders (and devices) that it may also write to.
    pub write: Vec<PathBuf>,
    /// Whether it may use the network; sockets of the Unix kind it may use in any case.
    pub network: bool,
    /// `RLIMIT_DATA`, in bytes.
    pub data_bytes: Option<u64>,
    /// Open files.
    pub files: u64,
    /// Largest file that it may write, in bytes.
    pub file_bytes: u64,
    /// Processes and threads of the same user, where the kernel counts them (not for root).
    pub processes: Option<u64>,
    /// How much it steps back for others: 0 (not at all) to 19.
    pub nice: i32,
}
