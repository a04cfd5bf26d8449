//! Ends a server whose starter has ended.
//!
//! A shell that waits on a pipe whose other end only we hold. However we end (normally, by a failed test, Ctrl-C or
//! SIGKILL), the pipe closes; the shell then ends the postmaster named in the data directory and removes the directory.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// `$1` is the directory. A paused postmaster is woken first, since it takes no other signal.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
read -r _
if read -r pid 2>/dev/null < "$1/data/postmaster.pid"; then
    kill -CONT "$pid"; kill -QUIT "$pid"
    for _ in $(seq 100); do kill -0 "$pid" || break; sleep 0.1; done
    kill -KILL "$pid"
fi 2>/dev/null
rm -rf "$1"
"#;

/// The shell; it has done its work when the value is gone.
#[derive(Debug)]
pub(crate) struct Watcher {
    shell: Child,
}

impl Watcher {
    /// Watches over the cluster in this directory.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "watcher"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("sh")?;
        Ok(Self { shell })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // `wait` closes the pipe first.
        drop(self.shell.wait());
    }
}
