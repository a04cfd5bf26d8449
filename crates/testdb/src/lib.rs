//! A PostgreSQL server of one's own: a fresh cluster in a temporary directory, gone afterwards.
//!
//! It owns finding the installed programs, making a cluster and the life of its server; it must never know what is
//! stored there (it speaks no SQL) nor anything of Belfry. `cargo xtask test` starts one for all tests and names it
//! in [`VARIABLE`]; a test that restarts, kills or pauses its database starts its own with [`Postgres::start`].
//!
//! | state | how it gets there |
//! |---|---|
//! | runs | [`Postgres::start`], [`Postgres::start_again`], [`Postgres::restart`], [`Postgres::resume`] |
//! | paused: connections hang | [`Postgres::pause`] (SIGSTOP for all its processes) |
//! | ended, data kept | [`Postgres::stop`] (as an administrator does), [`Postgres::kill9`] (as a crash does) |
//! | gone with its data | drop, or the end of the process that started it, however it ends |
//!
//! The last line is the work of a `watcher`: a shell that waits for the end of a pipe that we hold.
//! Commits are durable as in production (`fsync` and `synchronous_commit` stay on): what tests prove must hold there.
//! Everything blocks; a start takes about a second. In asynchronous code use `spawn_blocking`.

mod programs;
mod watcher;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use programs::{Programs, VERSION_MIN};
use watcher::Watcher;

/// Names the server for tests: the URL of a superuser.
pub const VARIABLE: &str = "BELFRY_TEST_POSTGRES";

/// A start takes a second; recovery on a loaded machine gets a lot more.
const LIMIT: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(10);
/// A free port may be taken by somebody else before the server listens on it.
const PORTS_TRIED: u32 = 5;
const SUPERUSER: &str = "belfry";

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Breaks connections off, rolls back, writes a checkpoint (SIGINT).
    Fast,
    /// Ends all its processes at once; the next start recovers from the log (SIGQUIT).
    Immediate,
}

impl Stop {
    const fn signal(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
        }
    }
}

/// What a server shows that speaks TLS: valid for 127.0.0.1 and no name. It and its authority were made for these tests
/// alone; the authority's key is gone.
const CERTIFICATE: [(&str, &str); 2] = [
    ("server.crt", include_str!("../fixtures/server.pem")),
    ("server.key", include_str!("../fixtures/server.key")),
];

/// A server with its data.
#[derive(Debug)]
pub struct Postgres {
    programs: Programs,
    /// Holds `data`, `log` and the socket.
    home: PathBuf,
    password: String,
    settings: Vec<(String, String)>,
    port: u16,
    /// The postmaster; none while the server is stopped.
    process: Option<Child>,
    _watcher: Watcher,
}

impl Postgres {
    /// Makes a cluster and starts its server.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with further settings, such as `("max_connections", "20")`. It speaks TLS with `("ssl", "on")`.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let programs = Programs::find()?;
        let home = tempfile::Builder::new()
            .prefix("belfry-postgres-")
            .tempdir()
            .context("a directory for PostgreSQL")?;
        programs.give(home.path())?;
        // From here on the directory is the watcher's to remove.
        let watcher = Watcher::start(home.path())?;
        let home = home.keep();
        let password = password()?;
        init(&programs, &home, &password)?;
        let mut server = Self {
            programs,
            home,
            password,
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            port: 0,
            process: None,
            _watcher: watcher,
        };
        for _ in 1..PORTS_TRIED {
            server.port = free_port()?;
            if server.start_again().is_ok() {
                return Ok(server);
            }
        }
        server.port = free_port()?;
        server.start_again()?;
        Ok(server)
    }

    /// The URL of the superuser on database `postgres`, by TCP on the loopback interface.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// The URL of the superuser on this database, whether it exists or not.
    pub fn database_url(&self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}",
            self.password, self.port
        )
    }

    /// The file of the authority that the certificate of every server here is of.
    pub fn authority() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/authority.pem")
    }

    /// The port on the loopback interface; the same over restarts.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the postmaster; none while the server is stopped.
    pub fn postmaster(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read(self.home.join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Ends the server and waits for it. The data stays. No error when it is stopped already.
    pub fn stop(&mut self, how: Stop) -> Result<()> {
        // A process that is paused takes no signal but the last one.
        self.resume()?;
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        signal(how.signal(), &[process.id()])?;
        if !ended_within(process, LIMIT)? {
            process.kill().context("the postmaster")?;
            process.wait().context("the postmaster")?;
        }
        self.process = None;
        Ok(())
    }

    /// Ends the server and all its connections with SIGKILL, as the loss of the machine's power does to processes.
    pub fn kill9(&mut self) -> Result<()> {
        let mut all = self.backends();
        if let Some(mut process) = self.process.take() {
            process.kill().context("the postmaster")?;
            process.wait().context("the postmaster")?;
            // What has ended in the meantime cannot be killed, and need not be.
            all.retain(|id| Path::new(&format!("/proc/{id}")).exists());
            drop(signal("KILL", &all));
        }
        Ok(())
    }

    /// Starts a stopped server on the same data and port and waits until it takes connections.
    pub fn start_again(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("PostgreSQL runs already");
        }
        let start = Instant::now();
        // After a kill the next start is refused until the last of the old processes has gone.
        loop {
            match self.try_start() {
                Ok(()) => return Ok(()),
                Err(error) if start.elapsed() < LIMIT && self.old_processes_are_going() => {
                    drop(error);
                    sleep(INTERVAL * 10);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the server and starts it again; gives how long nobody could connect.
    pub fn restart(&mut self, how: Stop) -> Result<Duration> {
        let start = Instant::now();
        self.stop(how)?;
        self.start_again()?;
        Ok(start.elapsed())
    }

    /// Stops the server's processes (SIGSTOP): connections stay open, nothing is answered.
    pub fn pause(&self) -> Result<()> {
        let mut all: Vec<u32> = self.postmaster().into_iter().collect();
        if all.is_empty() {
            bail!("PostgreSQL does not run");
        }
        // The postmaster first: it starts no further ones then.
        signal("STOP", &all)?;
        all = self.backends();
        signal("STOP", &all)
    }

    /// Lets a paused server go on. No error when it is not paused.
    pub fn resume(&self) -> Result<()> {
        let mut all = self.backends();
        all.extend(self.postmaster());
        signal("CONT", &all)
    }

    /// The processes of the postmaster: one for each connection, and its helpers.
    fn backends(&self) -> Vec<u32> {
        let (Some(postmaster), Ok(entries)) = (self.postmaster(), std::fs::read_dir("/proc"))
        else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|id| parent(*id) == Some(postmaster))
            .collect()
    }

    fn try_start(&mut self) -> Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.join("log"))
            .context("the log of PostgreSQL")?;
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(data(&self.home));
        let mut set = |name: &str, value: &str| {
            command.arg("-c").arg(format!("{name}={value}"));
        };
        set("listen_addresses", "127.0.0.1");
        set("port", &self.port.to_string());
        set("unix_socket_directories", &self.home.display().to_string());
        set("max_connections", "300");
        for (name, value) in &self.settings {
            set(name, value);
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("the log of PostgreSQL")?)
            .stderr(log)
            // Ctrl-C in the terminal is for whoever started us; the watcher ends the server.
            .process_group(0)
            .spawn()
            .context("postgres could not be started")?;
        self.process = Some(process);
        let result = self.wait_until_ready();
        if result.is_err() {
            self.stop(Stop::Immediate)?;
        }
        result.with_context(|| format!("PostgreSQL logged:\n{}", tail(&self.log())))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            let Some(process) = &mut self.process else {
                bail!("PostgreSQL does not run");
            };
            if let Some(status) = process.try_wait().context("the postmaster")? {
                self.process = None;
                bail!("postgres ended with {status} instead of starting");
            }
            if is_ready(&data(&self.home), process.id()) {
                return Ok(());
            }
            sleep(INTERVAL);
        }
        bail!("PostgreSQL was not ready within {LIMIT:?}")
    }

    fn old_processes_are_going(&self) -> bool {
        tail(&self.log()).contains("pre-existing shared memory block")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The watcher does it too, but cannot collect our child. Its end removes the directory.
        drop(self.stop(Stop::Immediate));
    }
}

fn data(home: &Path) -> PathBuf {
    home.join("data")
}

/// Makes the cluster. The password goes over the loopback interface in the clear, which spares each connection of
/// the tests the key derivation of the better methods.
fn init(programs: &Programs, home: &Path, password: &str) -> Result<()> {
    let file = home.join("password");
    std::fs::write(&file, password).context("the password of PostgreSQL")?;
    programs.give(&file)?;
    let mut command = programs.command("initdb");
    command
        .arg("--pgdata")
        .arg(data(home))
        .arg("--pwfile")
        .arg(&file)
        .args(["--username", SUPERUSER, "--auth", "password"])
        .args(["--encoding", "UTF8", "--no-locale", "--no-sync"])
        .stdin(Stdio::null());
    let output = command.output().context("initdb could not be started")?;
    if !output.status.success() {
        bail!(
            "initdb ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for (name, text) in CERTIFICATE {
        let file = data(home).join(name);
        let mut open = OpenOptions::new();
        let mut made = open.create_new(true).write(true).mode(0o600).open(&file)?;
        made.write_all(text.as_bytes()).context(name)?;
        programs.give(&file)?;
    }
    Ok(())
}

/// The eighth line of the postmaster's file says how far it is.
fn is_ready(data: &Path, process: u32) -> bool {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    lines.next() == Some(process.to_string().as_str())
        && lines.nth(6).is_some_and(|state| state.trim() == "ready")
}

fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // `id (name) state parent ...`, and a name may hold anything.
    let rest = stat.rsplit_once(')')?.1;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// The shell's own `kill`: signals cannot be sent from Rust without a library or unsafe code.
fn signal(name: &str, processes: &[u32]) -> Result<()> {
    if processes.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = processes.iter().map(u32::to_string).collect();
    // One that has just ended by itself is no failure.
    let line = format!("kill -{name} {} 2>/dev/null; true", ids.join(" "));
    let status = Command::new("sh")
        .args(["-c", &line])
        .status()
        .context("sh")?;
    if !status.success() {
        bail!("sh ended with {status}");
    }
    Ok(())
}

fn ended_within(process: &mut Child, limit: Duration) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if process.try_wait().context("the postmaster")?.is_some() {
            return Ok(true);
        }
        sleep(INTERVAL);
    }
    Ok(false)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    Ok(listener.local_addr().context("a free port")?.port())
}

fn password() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests;
