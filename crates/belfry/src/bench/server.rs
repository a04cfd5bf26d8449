//! The server under test: this program as a child, in a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Linux counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A directory that is removed when dropped.
pub(super) struct ScratchDir {
    pub(super) path: PathBuf,
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.path);
    }
}

pub(super) fn scratch_dir(parent: &Path) -> anyhow::Result<ScratchDir> {
    let path = parent.join(format!("belfry-bench-{}", std::process::id()));
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(ScratchDir {
        path: path.canonicalize()?,
    })
}

/// The server.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) key: String,
}

impl Server {
    pub(super) async fn start(dir: &Path, settings: &[String]) -> anyhow::Result<Self> {
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
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("no output of the server")?;
        let mut lines = BufReader::new(stdout).lines();
        let (mut address, mut key) = (None, None);
        while address.is_none() || key.is_none() {
            let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line())
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
        // The rest of the welcome is not wanted, but a full pipe would stop the server.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        match (address, key) {
            (Some(address), Some(key)) => Ok(Self {
                child,
                address,
                key,
            }),
            _ => bail!("the server's welcome shows no address or key"),
        }
    }

    /// A rule that every event of the benchmark matches, with so many webhook targets.
    pub(super) async fn make_rule(
        &self,
        url: &str,
        fan_out: u16,
        signed: bool,
    ) -> anyhow::Result<()> {
        let targets: serde_json::Map<String, serde_json::Value> = (0..fan_out)
            .map(|number| {
                let signing = if signed {
                    serde_json::json!({})
                } else {
                    serde_json::json!({"enabled": false})
                };
                let settings =
                    serde_json::json!({"url": format!("{url}{number}"), "signing": signing});
                (
                    format!("hook-{number}"),
                    serde_json::json!({"type": "webhook", "settings": settings}),
                )
            })
            .collect();
        let rule = serde_json::json!({
            "pattern": {"source": ["cvm.cloud.tencent"], "type": [{"prefix": "cvm:ErrorEvent:"}]},
            "targets": targets,
        });
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::put("/v1/buses/default/rules/bench")
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(&rule)?)))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!(
                "the rule was not made: {status} {}",
                String::from_utf8_lossy(&body)
            );
        }
        Ok(())
    }

    fn process(&self) -> anyhow::Result<PathBuf> {
        Ok(PathBuf::from("/proc")
            .join(self.child.id().context("the server has ended")?.to_string()))
    }

    /// User and system time so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(self.process()?.join("stat"))
            .context("CPU time can be read on Linux only")?;
        let after_name = stat
            .rsplit_once(')')
            .context("unexpected process status")?
            .1;
        let ticks: u32 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u32>().unwrap_or(0))
            .sum();
        Ok(TICK * ticks)
    }

    /// Memory in use.
    pub(super) fn memory_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.process()?.join("status"))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("no memory figure")?;
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        Ok(kib * 1024)
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
