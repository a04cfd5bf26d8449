//! Backup, restore and the way from one database to another, with the tools that operators have.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use belfry_testkit::server::Options;
use belfry_testkit::{Cli, Client, Postgres, Reply, Server, Sink, events, wait_until};
use belfry_tests::{
    LIMIT, SECRET, all, delivery_with, history, post, put_rule, rule, text, webhook_with_waits,
};
use serde_json::json;
use tokio::sync::Mutex;

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// A server on a copy of another's data.
fn on(data: &Path, of: &Server) -> Result<Options> {
    fs::copy(of.data().join("secret.key"), data.join("secret.key"))?;
    Ok(Options::default().data_dir(data).admin_key(of.admin_key()))
}

/// The ids of all events that a server knows.
async fn known(admin: &Client) -> Result<HashSet<String>> {
    let events = all(admin, "/v1/events?bus=default").await?;
    events.iter().map(|one| text(&one["event"]["id"])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_holds_all_that_was_acknowledged_before_it_began() -> Result<()> {
    let server = Server::start().await?;
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (admin, stop) = (server.admin()?, Arc::clone(&stop));
            let acknowledged = Arc::clone(&acknowledged);
            Ok(tokio::spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = format!("{sender}-{number}");
                    post(&admin, &events::event(&id, "t")).await?;
                    acknowledged.lock().await.push(id);
                }
                anyhow::Ok(())
            }))
        })
        .collect::<Result<_>>()?;
    wait_until("load", LIMIT, async || {
        Ok((acknowledged.lock().await.len() > 200).then_some(()))
    })
    .await?;
    let before = acknowledged.lock().await.clone();
    let home = tempfile::tempdir()?;
    let copy = home.path().join("belfry.db");
    let data = server.data();
    let call = ["db", "backup", path(&copy)?, "--data-dir", path(data)?];
    server.cli().run(&call).await?.expect(0)?;
    let during = acknowledged.lock().await.len();
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await??;
    }
    ensure!(during > before.len(), "nothing came in during the backup");
    let restored = on(home.path(), &server)?.start().await?;
    let known = known(&restored.admin()?).await?;
    let lost: Vec<_> = before.iter().filter(|id| !known.contains(*id)).collect();
    ensure!(lost.is_empty(), "not in the backup: {lost:?}");
    Ok(())
}

#[tokio::test]
async fn a_restored_backup_is_what_the_server_goes_on_with() -> Result<()> {
    let mut server = Server::start().await?;
    post(&server.admin()?, &events::event("before", "t")).await?;
    let home = tempfile::tempdir()?;
    let backup = home.path().join("backup.db");
    let data = path(server.data())?.to_owned();
    let cli = server.cli();
    let call = ["db", "backup", path(&backup)?, "--data-dir", &data];
    cli.run(&call).await?.expect(0)?;
    post(&server.admin()?, &events::event("after", "t")).await?;
    let restore = ["db", "restore", path(&backup)?, "--data-dir", &data];
    let replace = [restore.as_slice(), &["--replace"]].concat();
    let refused = cli.run(&replace).await?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(refused.stderr.contains("in use"), "{refused:?}");
    server.stop(LIMIT).await?;
    let refused = cli.run(&restore).await?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(refused.stderr.contains("--replace"), "{refused:?}");
    // Where the settings name another database, a file would be put where nobody looks for it.
    let elsewhere = cli.clone().env(
        "BELFRY_STORE__URL",
        "postgres://somebody:hidden@127.0.0.1:1/elsewhere",
    );
    let refused = elsewhere.run(&replace).await?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(refused.stderr.contains("store.url"), "{refused:?}");
    ensure!(!refused.stderr.contains("hidden"), "{refused:?}");
    cli.run(&replace).await?.expect(0)?;
    server.restart().await?;
    let known = known(&server.admin()?).await?;
    assert_eq!(known, HashSet::from(["before".to_owned()]));
    ensure!(server.data().join("belfry.db.replaced-1").exists());
    Ok(())
}

/// The lines of tables that a copy prints: name, number of rows, digest.
fn tables(printed: &str) -> Vec<Vec<String>> {
    let lines = printed.lines().map(|line| {
        let words = line.split_whitespace();
        words.map(str::to_owned).collect::<Vec<_>>()
    });
    lines
        .filter(|words| words.len() == 3 && words[2].len() == 64)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_moves_to_postgres_and_back_and_goes_on_there() -> Result<()> {
    let sink = Sink::start().await?;
    sink.script("/hook", [Reply::status(204), Reply::status(503)]);
    let mut server = Server::start().await?;
    let admin = server.admin()?;
    let target = webhook_with_waits(&sink.url("/hook"), &[2; 100]);
    put_rule(&admin, "r", &rule(&["t"], &json!({"hook": target}))).await?;
    let delivered = post(&admin, &events::event("delivered", "t")).await?;
    delivery_with(&admin, &delivered, "delivered").await?;
    let waiting = post(&admin, &events::event("waiting", "t")).await?;
    delivery_with(&admin, &waiting, "retrying").await?;
    let database = tokio::task::block_in_place(Postgres::start)?;
    let home = tempfile::tempdir()?;
    let file = server.data().join("belfry.db");
    let cli = Cli::new(home.path());
    let there = [
        "db",
        "copy",
        "--from",
        path(&file)?,
        "--to",
        &database.url(),
    ];
    let refused = cli.run(&there).await?;
    ensure!(refused.code == Some(1), "a server is using it: {refused:?}");
    let said = &refused.stderr;
    let which = format!("{} cannot be copied: ", file.display());
    ensure!(said.contains(&which), "{said}");
    server.stop(LIMIT).await?;
    let there = tables(&cli.run(&there).await?.expect(0)?);
    ensure!(
        there
            .iter()
            .any(|table| table[0] == "event" && table[1] == "2"),
        "{there:?}"
    );

    // Back, with the settings of a server: the password comes from a file.
    let url = database.url();
    let (head, rest) = url.split_once("://").context("a URL")?;
    let (user, rest) = rest.split_once(':').context("a password")?;
    let (password, place) = rest.split_once('@').context("a place")?;
    let password_file = home.path().join("password");
    fs::write(&password_file, password)?;
    let back = home.path().join("back");
    fs::create_dir(&back)?;
    let back_file = back.join("belfry.db");
    let configured = cli
        .clone()
        .env("BELFRY_STORE__URL", &format!("{head}://{user}@{place}"))
        .env("BELFRY_STORE__PASSWORD_FILE", path(&password_file)?);
    let call = ["db", "copy", "--to", path(&back_file)?];
    let returned = tables(&configured.run(&call).await?.expect(0)?);
    assert_eq!(there, returned, "the same rows with the same digests");

    for options in [
        Server::with("store.url", &database.url())
            .set("secrets.key_file", path(&server.data().join("secret.key"))?)
            .admin_key(server.admin_key()),
        on(&back, &server)?,
    ] {
        sink.script("/hook", [Reply::status(204)]);
        let moved = options.start().await?;
        let admin = moved.admin()?;
        let old = history(&admin, &delivered).await?;
        assert_eq!(old["deliveries"][0]["status"], "delivered");
        delivery_with(&admin, &waiting, "delivered").await?;
        let new = post(&admin, &events::event("new", "t")).await?;
        delivery_with(&admin, &new, "delivered").await?;
        let last = sink.received().pop().context("nothing received")?;
        last.verify(SECRET)?;
    }
    Ok(())
}
