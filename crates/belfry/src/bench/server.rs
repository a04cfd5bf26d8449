//! The server under test: this program as a child, in a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Linux counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// The webhook targets of a run.
pub(super) struct Hooks {
    pub(super) count: u16,
    pub(super) signed: bool,
    /// Requests of each at once; absent: as many as targets do by default.
    pub(super) concurrency: Option<u16>,
    /// By the event's subject.
    pub(super) ordered: bool,
}

impl Hooks {
    /// One as it is by default, but not signed.
    pub(super) fn one() -> Self {
        Self {
            count: 1,
            signed: false,
            concurrency: None,
            ordered: false,
        }
    }
}

/// A directory that is removed when dropped.
pub(super) struct ScratchDir {
    pub(super) path: PathBuf,
    /// Unlike that of any other; also the name of a schema.
    pub(super) name: String,
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.path);
    }
}

pub(super) fn scratch_dir(parent: &Path) -> anyhow::Result<ScratchDir> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("bench_{}_{number}", std::process::id());
    let path = parent.join(&name);
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(ScratchDir {
        path: path.canonicalize()?,
        name,
    })
}

/// The server.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    /// The administrator's key.
    pub(super) key: String,
    /// From its start until it said that it is ready.
    pub(super) ready_after: Duration,
}

impl Server {
    /// Starts a server on a directory; `key` is that of an earlier start on the same one.
    pub(super) async fn start(
        dir: &Path,
        settings: &[String],
        variables: &[(String, String)],
        mut key: Option<String>,
    ) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.join("data"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command
            .current_dir(dir)
            .env("BELFRY_LOG__LEVEL", "warn")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("no output of the server")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut address = None;
        while address.is_none() || key.is_none() {
            let line = tokio::time::timeout(Duration::from_mins(2), lines.next_line())
                .await
                .context("the server says nothing")??;
            let Some(line) = line else {
                bail!("the server ended before it was ready")
            };
            for word in line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '=')) {
                if let Some(rest) = word.strip_prefix("http://127.0.0.1:") {
                    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    address = address.or_else(|| format!("127.0.0.1:{port}").parse().ok());
                } else if word.starts_with("bfy_") {
                    key = key.or_else(|| Some(word.to_owned()));
                }
            }
        }
        let ready_after = begun.elapsed();
        // The rest of the welcome is not wanted, but a full pipe would stop the server.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        match (address, key) {
            (Some(address), Some(key)) => Ok(Self {
                child,
                address,
                key,
                ready_after,
            }),
            _ => bail!("the server's welcome shows no address or key"),
        }
    }

    /// A rule that every event of the benchmark matches, with webhook targets.
    pub(super) async fn make_rule(&self, url: &str, hooks: &Hooks) -> anyhow::Result<()> {
        let targets: serde_json::Map<String, serde_json::Value> = (0..hooks.count)
            .map(|number| {
                let signing = if hooks.signed {
                    serde_json::json!({})
                } else {
                    serde_json::json!({"enabled": false})
                };
                let settings =
                    serde_json::json!({"url": format!("{url}{number}"), "signing": signing});
                let mut target = serde_json::json!({"type": "webhook", "settings": settings});
                if let Some(concurrency) = hooks.concurrency {
                    target["concurrency"] = serde_json::json!(concurrency);
                }
                if hooks.ordered {
                    target["order"] = serde_json::json!({"by": "subject"});
                }
                (format!("hook-{number}"), target)
            })
            .collect();
        let rule = serde_json::json!({
            "pattern": {"source": ["cvm.cloud.tencent"], "type": [{"prefix": "cvm:ErrorEvent:"}]},
            "targets": targets,
        });
        self.ask(Method::PUT, "/v1/buses/default/rules/bench", Some(&rule))
            .await
            .map(drop)
    }

    /// Bytes of the database in use, as the server says itself.
    pub(super) async fn used_bytes(&self) -> anyhow::Result<u64> {
        let status = self.ask(Method::GET, "/v1/status", None).await?;
        status
            .get("usedBytes")
            .and_then(serde_json::Value::as_u64)
            .context("the status says nothing of bytes in use")
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<serde_json::Value> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let body = body
            .map(serde_json::to_vec)
            .transpose()?
            .unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{path}: {status} {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    fn process(&self) -> anyhow::Result<PathBuf> {
        Ok(PathBuf::from("/proc")
            .join(self.child.id().context("the server has ended")?.to_string()))
    }

    /// User and system time so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(TICK * ticks(&self.process()?, 11, 2)?)
    }

    /// Bytes that it had the kernel write to disks so far.
    pub(super) fn written_bytes(&self) -> anyhow::Result<u64> {
        let path = self.process()?.join("io");
        figure(&std::fs::read_to_string(path)?, "write_bytes:")
    }

    /// Memory in use.
    pub(super) fn memory_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.process()?.join("status"))?;
        Ok(figure(&status, "VmRSS:")? * 1024)
    }

    /// The most memory in use since its start.
    pub(super) fn peak_memory_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.process()?.join("status"))?;
        Ok(figure(&status, "VmHWM:")? * 1024)
    }

    /// Ends it as a power cut would.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Ends it as an operator would.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("the server has ended by itself")?;
        let killed = Command::new("kill")
            .arg("-TERM")
            .arg(id.to_string())
            .status()
            .await?;
        if !killed.success() {
            self.child.start_kill()?;
        }
        tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await??;
        Ok(())
    }
}

/// The user and system time so far of a database server and its processes: that of process `postmaster`, of its
/// children, and of those that have ended.
pub(super) fn family_cpu(postmaster: u32) -> anyhow::Result<Duration> {
    let own = PathBuf::from("/proc").join(postmaster.to_string());
    let mut sum = ticks(&own, 11, 4).context("there is no such process")?;
    for entry in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        // A process may end while it is looked at.
        if ticks(&entry.path(), 1, 1).ok() == Some(postmaster) {
            sum += ticks(&entry.path(), 11, 2).unwrap_or(0);
        }
    }
    Ok(TICK * sum)
}

/// The sum of `count` fields of a process's status line, from the `first`th after its name and state.
fn ticks(process: &Path, first: usize, count: usize) -> anyhow::Result<u32> {
    let stat = std::fs::read_to_string(process.join("stat"))
        .context("CPU time can be read on Linux only")?;
    let after_name = stat
        .rsplit_once(')')
        .context("unexpected process status")?
        .1;
    Ok(after_name
        .split_whitespace()
        .skip(first)
        .take(count)
        .map(|field| field.parse::<u32>().unwrap_or(0))
        .sum())
}

/// The number after a word at the beginning of a line.
fn figure(text: &str, name: &str) -> anyhow::Result<u64> {
    text.lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .with_context(|| format!("no figure {name}"))
}
