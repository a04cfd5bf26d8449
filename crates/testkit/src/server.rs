//! The built `belfry` binary as a process, as its users start it.
//!
//! | state | how it gets there |
//! |---|---|
//! | ready | [`Options::start`], [`Server::restart`]: `/readyz` has answered 200 |
//! | ended | [`Server::kill9`] (as a crash does), [`Server::stop`] (as a service manager does), drop |
//!
//! The data directory belongs to the server value and outlives the process; it is removed with the value.

mod binary;
mod output;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use tempfile::TempDir;

pub use self::binary::{binary, launcher};
use self::output::Output;
use crate::{Client, wait_until};

/// A start takes a fraction of a second; a loaded machine gets a lot more.
const START_LIMIT: Duration = Duration::from_mins(1);
/// What every key's text starts with.
const KEY_PREFIX: &str = "bfy_";

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    settings: Vec<(String, String)>,
    data: Option<PathBuf>,
    admin_key: Option<String>,
    prepared_by: Option<String>,
    quiet: bool,
}

impl Options {
    /// Sets a setting, such as `server.drain_limit` to `1s`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses this data directory, which the caller owns, instead of a new one.
    #[must_use]
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data = Some(path.to_owned());
        self
    }

    /// The admin key of a data directory that has one already.
    #[must_use]
    pub fn admin_key(mut self, key: &str) -> Self {
        self.admin_key = Some(key.to_owned());
        self
    }

    /// Runs this shell script in the process that becomes the server, such as `ulimit -f 8192`. `"$@"` is the server's
    /// command, which follows unless the script runs it itself.
    #[must_use]
    pub fn prepared_by(mut self, script: &str) -> Self {
        self.prepared_by = Some(script.to_owned());
        self
    }

    /// Does not print at the end what the server said: for those who look at [`Server::output`] themselves.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Starts the server and waits until it is ready.
    pub async fn start(self) -> Result<Server> {
        self.start_until(true).await
    }

    /// Starts a server that will not become ready, and waits until it listens.
    pub async fn start_unready(self) -> Result<Server> {
        self.start_until(false).await
    }

    async fn start_until(self, ready: bool) -> Result<Server> {
        let home = tempfile::tempdir().context("a directory for the server")?;
        let data = self
            .data
            .clone()
            .unwrap_or_else(|| home.path().join("data"));
        let mut process = Process::spawn(home.path(), &data, &self)?;
        let (base, admin_key) = process.up(self.admin_key.as_deref(), ready).await?;
        Ok(Server {
            home,
            data,
            options: self,
            process,
            base,
            admin_key,
            earlier: Vec::new(),
        })
    }

    /// Starts the server where it must refuse to start, and gives what it said.
    pub async fn refused(self) -> Result<Finished> {
        let home = tempfile::tempdir().context("a directory for the server")?;
        let data = self
            .data
            .clone()
            .unwrap_or_else(|| home.path().join("data"));
        let mut process = Process::spawn(home.path(), &data, &self)?;
        let status = process
            .wait(START_LIMIT)
            .await
            .context("the server started all the same")?;
        let (stdout, stderr) = process.output.finish();
        Ok(Finished {
            code: status.code(),
            stdout,
            stderr,
        })
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Working directory of the process and home of its data.
    home: TempDir,
    data: PathBuf,
    options: Options,
    process: Process,
    base: String,
    admin_key: String,
    /// What earlier processes of this server printed.
    earlier: Vec<String>,
}

impl Server {
    /// Starts a server with nothing configured.
    pub async fn start() -> Result<Self> {
        Options::default().start().await
    }

    /// A server with something configured.
    pub fn with(name: &str, value: &str) -> Options {
        Options::default().set(name, value)
    }

    /// Such as `http://127.0.0.1:43127`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Such as `127.0.0.1:43127`.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// The admin key that the first start printed.
    pub fn admin_key(&self) -> &str {
        &self.admin_key
    }

    /// Where its data is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.child.id()
    }

    /// A client that may do everything.
    pub fn admin(&self) -> Result<Client> {
        Client::new(&self.base, Some(&self.admin_key))
    }

    /// A client without any credential.
    pub fn anon(&self) -> Result<Client> {
        Client::new(&self.base, None)
    }

    /// Makes a key with these scopes and gives a client that shows it.
    pub async fn with_scopes(&self, scopes: &[&str]) -> Result<Client> {
        let admin = self.admin()?;
        let body = json!({"name": scopes.join(" "), "scopes": scopes});
        let made = admin.post("/v1/keys", &body).await?.expect(201)?;
        let key = made["key"]
            .as_str()
            .ok_or_else(|| anyhow!("no key in {made}"))?;
        Ok(admin.with_key(Some(key)))
    }

    /// The command line of the same binary, set to talk to this server as admin.
    pub fn cli(&self) -> Cli {
        Cli::new(self.home.path())
            .env("BELFRY_URL", &self.base)
            .env("BELFRY_API_KEY", &self.admin_key)
    }

    /// Everything that the server has printed, earlier processes included.
    pub fn output(&self) -> String {
        let mut all = self.earlier.concat();
        all.push_str(&self.process.output.all());
        all
    }

    /// Ends the process as a crash does: nothing of it runs any more when this returns.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.child.kill().context("killing the server")?;
        self.process.child.wait().context("the killed server")?;
        Ok(())
    }

    /// Asks the process to end, as a service manager does.
    pub fn terminate(&self) -> Result<()> {
        self.signal("TERM")
    }

    /// Stops the process where it stands, as a machine that hangs does; its connections stay open.
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        // The shell's own `kill`: signals cannot be sent from Rust without a library or unsafe code.
        let line = format!("kill -{name} {}", self.process.child.id());
        let status = Command::new("sh")
            .args(["-c", &line])
            .status()
            .context("sh")?;
        if !status.success() {
            bail!("the server could not be signalled: {status}");
        }
        Ok(())
    }

    /// Asks the process to end and waits for it. Gives how it ended and how long that took.
    pub async fn stop(&mut self, limit: Duration) -> Result<(ExitStatus, Duration)> {
        let start = Instant::now();
        self.terminate()?;
        Ok((self.process.wait(limit).await?, start.elapsed()))
    }

    /// How the process has ended, if it has.
    pub fn end(&mut self) -> Result<Option<ExitStatus>> {
        self.process.child.try_wait().context("the server")
    }

    /// Waits for the end of a process that was told to end.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit).await
    }

    /// Starts the server again on the same data (and another port), killing what still runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.earlier.push(self.process.output.finish_all());
        self.process = Process::spawn(self.home.path(), &self.data, &self.options)?;
        (self.base, _) = self.process.up(Some(&self.admin_key), true).await?;
        Ok(())
    }

    /// The number of the process.
    pub fn process_id(&self) -> u32 {
        self.process.child.id()
    }

    /// The resident memory of the process in bytes, where the system tells it.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    }
}

impl Drop for Server {
    #[expect(
        clippy::print_stderr,
        reason = "a failed test shows what the server said; a passed one hides it"
    )]
    fn drop(&mut self) {
        drop(self.kill9());
        if self.options.quiet {
            return;
        }
        eprintln!("--- output of {} ---\n{}---", self.base, self.output());
    }
}

/// One run of the binary.
#[derive(Debug)]
struct Process {
    child: Child,
    output: Arc<Output>,
}

impl Process {
    fn spawn(home: &Path, data: &Path, options: &Options) -> Result<Self> {
        let mut command = if let Some(script) = &options.prepared_by {
            let mut shell = clean("sh".into(), home);
            let script = format!("{script}\nexec \"$@\"");
            shell.args(["-c", &script, "sh"]).arg(binary()?);
            shell
        } else {
            clean(binary()?, home)
        };
        command
            .arg("serve")
            .args(["--listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data);
        for (name, value) in &options.settings {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("the server could not be started")?;
        let output = Output::of(&mut child);
        Ok(Self { child, output })
    }

    /// Waits until the server is up; gives its base URL and the admin key.
    async fn up(&mut self, known_key: Option<&str>, ready: bool) -> Result<(String, String)> {
        let result = self.find_up(known_key, ready).await;
        result.with_context(|| {
            // Of a server that ended, what it said last is the reason: that may still be in the pipe.
            let printed = match self.child.try_wait() {
                Ok(Some(_)) => self.output.finish_all(),
                Ok(None) | Err(_) => self.output.all(),
            };
            format!("the server printed:\n{printed}")
        })
    }

    async fn find_up(&mut self, known_key: Option<&str>, ready: bool) -> Result<(String, String)> {
        let base = wait_until("the server's address", START_LIMIT, async || {
            self.still_runs()?;
            Ok(self.output.find_map(address))
        })
        .await?;
        let client = Client::new(&base, None)?;
        wait_until("the server's readiness", START_LIMIT, async || {
            self.still_runs()?;
            let answer = client.get("/readyz").await;
            Ok(answer
                .is_ok_and(|answer| answer.status.is_success() || !ready)
                .then_some(()))
        })
        .await?;
        let key = match known_key {
            Some(key) => key.to_owned(),
            // Two pipes: the key may come through a moment after the address did.
            None => {
                wait_until("the admin key", START_LIMIT, async || {
                    Ok(self.output.find_map(key))
                })
                .await?
            }
        };
        Ok((base, key))
    }

    fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended with {status} instead of starting"),
            None => Ok(()),
        }
    }

    async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait_until("the end of the server", limit, async || {
            Ok(self.child.try_wait()?)
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is the usual case.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The base URL in a printed line.
fn address(line: &str) -> Option<String> {
    const START: &str = "http://127.0.0.1:";
    let rest = line.split_once(START)?.1;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!port.is_empty() && port != "0").then(|| format!("{START}{port}"))
}

/// The admin key in a printed line.
fn key(line: &str) -> Option<String> {
    let start = line.find(KEY_PREFIX)?;
    let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let text: String = line[start..].chars().take_while(is_part).collect();
    (text.len() > KEY_PREFIX.len() + 16).then_some(text)
}

/// The binary without anything that the environment of the tests would tell it.
fn clean(binary: PathBuf, home: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .current_dir(home)
        .env("HOME", home)
        .env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BELFRY_") {
            command.env_remove(name);
        }
    }
    command
}

/// A call of the command line.
#[derive(Debug, Clone)]
pub struct Cli {
    home: PathBuf,
    environment: Vec<(String, String)>,
    stdin: String,
}

/// How a call of the command line ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed as its result.
    pub stdout: String,
    /// What it said beside it.
    pub stderr: String,
}

impl Finished {
    /// The result of a call with this exit code; any other is an error that shows what was printed.
    pub fn expect(self, code: i32) -> Result<String> {
        if self.code != Some(code) {
            bail!(
                "expected exit code {code}, got {:?}\n{}\n{}",
                self.code,
                self.stdout,
                self.stderr
            );
        }
        Ok(self.stdout)
    }
}

impl Cli {
    /// Calls that run in this directory.
    pub fn new(home: &Path) -> Self {
        Self {
            home: home.to_owned(),
            environment: Vec::new(),
            stdin: String::new(),
        }
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the call reads on its standard input.
    #[must_use]
    pub fn stdin(mut self, text: &str) -> Self {
        text.clone_into(&mut self.stdin);
        self
    }

    /// Where relative paths of the calls start.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Calls the binary and waits for its end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Finished> {
        let mut running = self.start(arguments)?;
        let status = running
            .process
            .wait(START_LIMIT)
            .await
            .with_context(|| arguments.join(" "))?;
        let (stdout, stderr) = running.process.output.finish();
        Ok(Finished {
            code: status.code(),
            stdout,
            stderr,
        })
    }

    /// Calls the binary and lets it run.
    pub fn start(&self, arguments: &[&str]) -> Result<Running> {
        use std::io::Write as _;
        let mut command = clean(binary()?, &self.home);
        command
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("the command line could not be started")?;
        let output = Output::of(&mut child);
        if let Some(mut stdin) = child.stdin.take() {
            // A thread, because the input may be larger than the pipe. A call that ends before it has read
            // everything is no failure of the test.
            let text = self.stdin.clone();
            std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
        }
        Ok(Running {
            process: Process { child, output },
        })
    }
}

/// A call of the command line that has not ended. Ends when it is dropped.
#[derive(Debug)]
pub struct Running {
    process: Process,
}

impl Running {
    /// Waits until a line of its output holds this text, and gives the line.
    pub async fn line_with(&self, text: &str, limit: Duration) -> Result<String> {
        let find = |line: &str| line.contains(text).then(|| line.to_owned());
        let what = format!("a line with {text:?}");
        let found = wait_until(&what, limit, async || {
            Ok(self.process.output.find_map(find))
        });
        found
            .await
            .with_context(|| format!("printed so far:\n{}", self.process.output.all()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_key_are_found_in_what_a_server_prints() {
        let line = "  Belfry listens on http://127.0.0.1:43127/ (loopback only)";
        assert_eq!(address(line).as_deref(), Some("http://127.0.0.1:43127"));
        assert_eq!(address("http://127.0.0.1:0"), None);
        let line = "admin key: bfy_0a1b2c3d_abcdefghijklmnopqrstuvwxyz  (shown once)";
        assert_eq!(
            key(line).as_deref(),
            Some("bfy_0a1b2c3d_abcdefghijklmnopqrstuvwxyz")
        );
        assert_eq!(key("export BELFRY_API_KEY=bfy_..."), None);
    }
}
