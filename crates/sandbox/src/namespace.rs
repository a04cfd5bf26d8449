//! The level above: user, process, mount and other namespaces, made by the program `bwrap` (bubblewrap), if it is installed.
//!
//! In there the launcher is started once more and takes the other restrictions upon itself: they would keep `bwrap` from its work.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::launch::{ORDERS, Orders, told};
use crate::start::{MARKER, Plan};
use crate::{LAUNCH, NO_MEMORY_BEFOREHAND};

const PROGRAMS: &[&str] = &["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];
/// All namespaces but that of the network, which is a question of its own.
const ALONE: &[&str] = &[
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
];

fn program() -> io::Result<&'static str> {
    PROGRAMS
        .iter()
        .find(|path| Path::new(path).is_file())
        .copied()
        .ok_or_else(|| io::Error::other("the program bwrap (bubblewrap) is not installed"))
}

/// Whether namespaces can be had here, by trying.
pub(crate) fn probe() -> io::Result<()> {
    let tried = Command::new(program()?)
        .args(ALONE)
        .args([
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--",
        ])
        .arg("/bin/true")
        .env_clear()
        .stdin(Stdio::null())
        .output()?;
    if tried.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&tried.stderr);
    Err(io::Error::other(format!(
        "{} ({})",
        said.trim(),
        tried.status
    )))
}

/// The command that starts the launcher again where a plan's program is to be alone.
pub(crate) fn command(plan: &Plan) -> io::Result<Command> {
    let own = told("the path of this program", std::env::current_exe())?;
    let orders = serde_json::to_string(&Orders { parent: None, plan })?;
    let mut command = Command::new(told("namespaces", program())?);
    command.args(ALONE);
    if !plan.cage.network {
        command.arg("--unshare-net");
    }
    // What lies above is put in place before what lies below it.
    let mut read: Vec<&PathBuf> = plan.cage.read.iter().collect();
    read.sort_unstable();
    read.dedup();
    for path in read.into_iter().filter(|path| !is_made(path)) {
        command.arg("--ro-bind-try").args([path, path]);
    }
    command.arg("--ro-bind").args([&own, &own]);
    command.args(["--proc", "/proc", "--dev", "/dev"]);
    for path in plan.cage.write.iter().filter(|path| !is_made(path)) {
        command.arg("--bind-try").args([path, path]);
    }
    command
        .arg("--")
        .arg(own)
        .arg(LAUNCH)
        .env_clear()
        .env(MARKER, &plan.marker)
        .env(ORDERS, orders)
        .env(NO_MEMORY_BEFOREHAND.0, NO_MEMORY_BEFOREHAND.1)
        .current_dir("/");
    Ok(command)
}

/// Devices and `/proc` are made anew.
fn is_made(path: &Path) -> bool {
    path.starts_with("/proc") || path.starts_with("/dev")
}
