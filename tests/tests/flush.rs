//! A 202 is given after the disk has said that it has the event, and not when it says that it has not.
//!
//! A shim that is preloaded into the server counts its flushes, or lets them fail (`fixtures/flush/flush.c`). kill -9 would not
//! tell: what a process has written outlives it in the kernel's memory, flushed or not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use belfry_testkit::server::Options;
use belfry_testkit::{Server, Sink, events, wait_until};
use belfry_tests::{LIMIT, all, put_rule, rule, text, webhook};
use serde_json::json;
use tempfile::TempDir;

/// What the server flushes.
struct Flushes {
    home: TempDir,
}

impl Flushes {
    /// Builds the shim.
    fn new() -> Result<Self> {
        let flushes = Self {
            home: tempfile::tempdir()?,
        };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/flush/flush.c");
        let done = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(flushes.file("flush.so"))
            .arg(source)
            .output()
            .context("cc, a C compiler")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "cc: {said}");
        std::fs::write(flushes.file("count"), "")?;
        Ok(flushes)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A server whose flushes these are.
    fn server(&self) -> Options {
        let home = self.home.path().display();
        Server::with("log.level", "warn").prepared_by(&format!(
            "export LD_PRELOAD={home}/flush.so FLUSH_COUNT={home}/count FLUSH_FAILS={home}/fails"
        ))
    }

    /// How many were done.
    fn done(&self) -> Result<u64> {
        Ok(std::fs::metadata(self.file("count"))?.len())
    }

    /// From now on they fail.
    fn fail(&self) -> Result<()> {
        Ok(std::fs::write(self.file("fails"), "")?)
    }

    /// From now on they do not.
    fn work(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.file("fails"))?)
    }
}

#[tokio::test]
async fn between_an_event_and_its_202_the_disk_is_flushed() -> Result<()> {
    let flushes = Flushes::new()?;
    let server = flushes.server().start().await?;
    let admin = server.admin()?;
    for number in 0..50 {
        let before = flushes.done()?;
        let event = events::event(&format!("e-{number}"), "t");
        admin.post_event("default", &event).await?.expect(202)?;
        let after = flushes.done()?;
        ensure!(after > before, "event {number}: {after} flushes");
    }
    Ok(())
}

#[tokio::test]
async fn an_event_whose_flush_fails_gets_no_202_and_is_there_once_when_it_is_sent_again()
-> Result<()> {
    let flushes = Flushes::new()?;
    let sink = Sink::start().await?;
    let mut server = flushes.server().start().await?;
    let admin = server.admin()?;
    let targets = json!({"hook": webhook(&sink.url("/hook"))});
    put_rule(&admin, "r", &rule(&["t"], &targets)).await?;
    let mut ids = Vec::new();
    for round in 0..3 {
        let sent = async |name: &str| {
            let id = format!("{name}-{round}");
            let event = events::event(&id, "t");
            anyhow::Ok((id, admin.post_event("default", &event).await?))
        };
        let (before, answer) = sent("before").await?;
        answer.expect(202)?;
        flushes.fail()?;
        for _ in 0..3 {
            let (_, answer) = sent("during").await?;
            answer.problem(503, "UNAVAILABLE")?;
            ensure!(answer.header("retry-after").is_some(), "no Retry-After");
        }
        flushes.work()?;
        // Once the server has noticed.
        let (during, _) = wait_until("the event to be accepted", LIMIT, async || {
            let sent = sent("during").await?;
            Ok((sent.1.status == 202).then_some(sent))
        })
        .await?;
        let (after, answer) = sent("after").await?;
        answer.expect(202)?;
        ids.extend([before, during, after]);
    }
    server.kill9()?;
    server.restart().await?;
    let admin = server.admin()?;
    let stored: Vec<String> = all(&admin, "/v1/events?bus=default")
        .await?
        .iter()
        .map(|one| text(&one["event"]["id"]))
        .collect::<Result<_>>()?;
    for id in &ids {
        let times = stored.iter().filter(|one| *one == id).count();
        ensure!(times == 1, "{id} is stored {times} times");
    }
    wait_until("all deliveries", LIMIT, async || {
        let delivered = all(&admin, "/v1/deliveries?status=delivered").await?;
        Ok((delivered.len() == ids.len()).then_some(()))
    })
    .await
}
