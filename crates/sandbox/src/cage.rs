//! What a process may do, as data.

use std::path::{Path, PathBuf};

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
    /// Whether it may use the network. From [`Level::Landlock`] on, sockets of the Unix kind it may make only in pairs
    /// (`socketpair`): through those of other programs it could have them act for it.
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

/// What programs need of the system they run on, and nothing of what is private on it: programs, libraries, certificates, how
/// names of hosts are found, time zones, what the machine has.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/mime.types",
    "/etc/os-release",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/version",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/kernel/random",
    "/sys/devices/system/cpu",
];

impl Cage {
    /// What any program needs to read of the system: libraries, certificates, resolver files, harmless devices, `/proc/self`.
    /// An interpreter that is installed elsewhere needs its own folder besides.
    pub fn system_read() -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        // Debian's Python reads its `sitecustomize` from `/etc/python3.11`.
        let settings = std::fs::read_dir("/etc").into_iter().flatten().flatten();
        paths.extend(settings.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("python")
        }));
        paths
    }

    /// What any program writes to besides folders of its own.
    pub fn system_write() -> Vec<PathBuf> {
        vec![Path::new("/dev/null").to_owned()]
    }
}
