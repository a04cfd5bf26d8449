//! The database stops, hangs or has no room: senders are told so in time, nothing accepted is lost, and the server goes on
//! by itself when it is over. And who it is that answers there is checked as the settings say.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use belfry_testkit::server::Options;
use belfry_testkit::{Cli, Client, Postgres, Server, Sink, Stop, Vendor, events, wait_until};
use belfry_tests::{LIMIT, all, put_rule, rule, text, webhook};
use serde_json::{Value, json};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// What an answer may take longer on a busy machine, and for the look at the keys before.
const GRACE: Duration = Duration::from_secs(5);

/// A rule that sends everything of type `t` to the sink.
async fn send_all_to(sink: &Sink, admin: &Client) -> Result<()> {
    let targets = json!({"hook": webhook(&sink.url("/hook"))});
    put_rule(admin, "r", &rule(&["t"], &targets)).await?;
    Ok(())
}

/// Waits until all of these have come to the sink.
async fn arrived(sink: &Sink, ids: &[String]) -> Result<()> {
    wait_until("all that was accepted", LIMIT, async || {
        let got: HashSet<String> = sink
            .received_at("/hook")
            .iter()
            .map(|one| text(&one.json()?["id"]))
            .collect::<Result<_>>()?;
        Ok(ids.iter().all(|id| got.contains(id)).then_some(()))
    })
    .await
}

/// Posts an event. Gives whether it was accepted; everything else must be a 503 with one of these codes and advice, in time.
async fn post_or_503(client: &Client, event: &Value, codes: &[&str]) -> Result<bool> {
    let begun = Instant::now();
    let answer = client.post_event("default", event).await?;
    let took = begun.elapsed();
    ensure!(took < ANSWER_TIMEOUT + GRACE, "the answer took {took:?}");
    if answer.status.as_u16() == 202 {
        return Ok(true);
    }
    let problem = answer.expect(503)?;
    let code = text(&problem["code"])?;
    answer.problem(503, &code)?;
    ensure!(codes.contains(&code.as_str()), "{problem}");
    ensure!(answer.header("retry-after").is_some(), "no Retry-After");
    Ok(false)
}

/// Waits until events are accepted again; gives the id of the first.
async fn takes_events(client: &Client, name: &str) -> Result<String> {
    let mut number = 0;
    wait_until("events to be accepted", LIMIT * 2, async || {
        number += 1;
        let id = format!("{name}-{number}");
        let event = events::event(&id, "t");
        let accepted = post_or_503(client, &event, &["UNAVAILABLE", "DISK_FULL"]).await?;
        Ok(accepted.then_some(id))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_hangs_or_stops_is_told_in_time_and_needs_no_restart() -> Result<()> {
    let mut database = tokio::task::block_in_place(Postgres::start)?;
    let sink = Sink::start().await?;
    let server = Server::with("store.url", &database.url())
        .set("store.connect_timeout", "1s")
        .set("store.commit_timeout", "2s")
        .set(
            "ingest.answer_timeout",
            &format!("{}s", ANSWER_TIMEOUT.as_secs()),
        )
        .start()
        .await?;
    let (admin, anon) = (server.admin()?, server.anon()?);
    send_all_to(&sink, &admin).await?;
    let mut accepted = vec![takes_events(&admin, "before").await?];
    for fault in ["hangs", "stops"] {
        match fault {
            "hangs" => database.pause()?,
            _ => tokio::task::block_in_place(|| database.stop(Stop::Fast))?,
        }
        let posts: Vec<_> = (0..8)
            .map(|number| {
                let (admin, id) = (admin.clone(), format!("{fault}-{number}"));
                tokio::spawn(async move {
                    let event = events::event(&id, "t");
                    let accepted = post_or_503(&admin, &event, &["UNAVAILABLE"]).await?;
                    anyhow::Ok((event, accepted))
                })
            })
            .collect();
        let mut refused = Vec::new();
        for post in posts {
            let (event, was_accepted) = post.await??;
            ensure!(!was_accepted, "accepted by a database that {fault}");
            refused.push(event);
        }
        let begun = Instant::now();
        let answer = anon.get("/readyz").await?.expect(503)?;
        ensure!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
        let problems = answer["problems"].to_string();
        ensure!(problems.contains("database"), "{answer}");
        match fault {
            "hangs" => database.resume()?,
            _ => tokio::task::block_in_place(|| database.start_again())?,
        }
        accepted.push(takes_events(&admin, &format!("after it {fault}")).await?);
        // What was refused is sent again, and whether it had been stored or not is there once.
        for event in &refused {
            wait_until("the repeat to be accepted", LIMIT, async || {
                let accepted = post_or_503(&admin, event, &["UNAVAILABLE"]).await?;
                Ok(accepted.then_some(()))
            })
            .await?;
            accepted.push(text(&event["id"])?);
        }
        wait_until("readiness", LIMIT, async || {
            Ok(anon.get("/readyz").await?.status.is_success().then_some(()))
        })
        .await?;
    }
    arrived(&sink, &accepted).await?;
    let stored: Vec<String> = all(&admin, "/v1/events?bus=default")
        .await?
        .iter()
        .map(|one| text(&one["event"]["id"]))
        .collect::<Result<_>>()?;
    for id in &accepted {
        let times = stored.iter().filter(|one| *one == id).count();
        ensure!(times == 1, "{id} is stored {times} times");
    }
    Ok(())
}

/// Posts until there is no room, looks at what works then, makes room, and looks whether everything is there.
async fn fill(server: &Server, code: &str, make_room: impl FnOnce() -> Result<()>) -> Result<()> {
    let sink = Sink::start().await?;
    let admin = server.admin()?;
    send_all_to(&sink, &admin).await?;
    let event = |id: &str| {
        let mut event = events::event(id, "t");
        event["data"] = json!({"filling": "x".repeat(100_000)});
        event
    };
    let mut accepted = Vec::new();
    loop {
        let id = format!("fill-{}", accepted.len());
        if !post_or_503(&admin, &event(&id), &[code]).await? {
            break;
        }
        accepted.push(id);
        ensure!(accepted.len() < 1000, "it is never full");
    }
    ensure!(accepted.len() > 5, "it was full from the start");
    for number in 0..3 {
        let id = format!("refused-{number}");
        let accepted = post_or_503(&admin, &event(&id), &[code]).await?;
        ensure!(!accepted, "{id} was accepted");
    }
    let ready = server.anon()?.get("/readyz").await?;
    ready.expect(503)?;
    // What was accepted can be looked at meanwhile.
    let stored = all(&admin, "/v1/events?bus=default").await?;
    ensure!(stored.len() >= accepted.len(), "{}", stored.len());
    make_room()?;
    accepted.push(takes_events(&admin, "after").await?);
    arrived(&sink, &accepted).await?;
    wait_until("the ends of all deliveries", LIMIT, async || {
        let delivered = all(&admin, "/v1/deliveries?status=delivered").await?;
        Ok((delivered.len() >= accepted.len()).then_some(()))
    })
    .await
}

fn full_soon() -> Options {
    Server::with("retention.disk_free_min", "1")
        .set(
            "ingest.answer_timeout",
            &format!("{}s", ANSWER_TIMEOUT.as_secs()),
        )
        .set("log.level", "warn")
}

/// Every user may forbid a process of its own to make files larger than so much: a write fails then as on a full disk.
#[tokio::test]
async fn a_file_that_may_not_grow_refuses_events_loses_nothing_and_goes_on_when_it_may()
-> Result<()> {
    // The signal that goes with it would end the process. 4 MiB, or 8 in some shells.
    let server = full_soon()
        .prepared_by("trap '' XFSZ; ulimit -S -f 8192")
        .start()
        .await?;
    let process = server.id().to_string();
    fill(&server, "UNAVAILABLE", || {
        let done = Command::new("prlimit")
            .args(["--pid", &process, "--fsize=unlimited:"])
            .status()
            .context("prlimit (util-linux)")?;
        ensure!(done.success(), "prlimit ended with {done}");
        Ok(())
    })
    .await
}

/// How a process gets a file system of its own: as root, or as a user who may have namespaces.
fn own_mounts() -> Option<&'static str> {
    let works = |call: &&&str| {
        let mut words = call.split(' ');
        let program = words.next().unwrap_or_default();
        let done = Command::new(program)
            .args(words)
            .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .output();
        done.is_ok_and(|done| done.status.success())
    };
    ["unshare --mount", "unshare --user --map-root-user --mount"]
        .iter()
        .find(works)
        .copied()
}

/// A file system that is really full. Where nobody lets us mount one the test above stands alone, and this one says so.
#[tokio::test]
async fn a_full_file_system_refuses_events_loses_nothing_and_goes_on_when_there_is_room()
-> Result<()> {
    let Some(unshare) = own_mounts() else {
        eprintln!("no file system can be mounted here: only the limit of a file's size was tried");
        return Ok(());
    };
    let home = tempfile::tempdir()?;
    let disk = home.path().join("disk");
    std::fs::create_dir(&disk)?;
    let shown = disk.display();
    let server = full_soon()
        .data_dir(&disk.join("data"))
        .prepared_by(&format!(
            "exec {unshare} sh -c 'mount -t tmpfs -o size=64m tmpfs {shown} \
             && head -c 56m /dev/zero > {shown}/ballast && exec \"$@\"' sh \"$@\""
        ))
        .start()
        .await?;
    let seen_by_it: PathBuf = Path::new("/proc")
        .join(server.id().to_string())
        .join("root");
    let ballast = seen_by_it.join(disk.strip_prefix("/")?).join("ballast");
    fill(&server, "DISK_FULL", || {
        std::fs::remove_file(&ballast).with_context(|| ballast.display().to_string())
    })
    .await
}

/// By servers and by `db copy`, with settings; and every connection that is made is encrypted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_is_talked_to_when_its_certificate_is_what_the_settings_ask_for() -> Result<()> {
    let settings = [("ssl", "on"), ("log_connections", "on")];
    let database = tokio::task::block_in_place(|| Postgres::start_with(&settings))?;
    let mut moved = Server::start().await?;
    moved.stop(LIMIT).await?;
    let file = moved.data().join("belfry.db");
    let call = ["db", "copy", "--from", file.to_str().context("a path")?];
    let key = moved.data().join("secret.key");
    let address = database.url();
    let name = address.replace("127.0.0.1", "localhost");
    let (right, wrong) = (Postgres::authority(), Vendor::authority());
    let absent = moved.data().join("absent.pem");
    // The certificate is for the address.
    let cases = [
        ("verify-full", &address, Some(&right), true),
        ("verify-full", &name, Some(&right), false),
        ("verify-full", &address, Some(&wrong), false),
        ("verify-full", &address, None, false),
        ("verify-ca", &name, Some(&right), true),
        ("verify-ca", &name, Some(&wrong), false),
        ("verify-full", &address, Some(&absent), false),
        ("require", &name, None, true),
    ];
    for (number, (mode, url, root, good)) in cases.into_iter().enumerate() {
        let what = format!("{mode} {root:?}, by name: {}", url == &name);
        let (url, schema) = (format!("{url}?sslmode={mode}"), format!("case{number}"));
        let mut options = Server::with("store.url", &url)
            .set("store.schema", &schema)
            .set("secrets.key_file", &key.to_string_lossy())
            .admin_key(moved.admin_key());
        let mut cli = Cli::new(moved.data())
            .env("BELFRY_STORE__URL", &url)
            .env("BELFRY_STORE__SCHEMA", &schema);
        if let Some(root) = root {
            options = options.set("store.root_cert", &root.to_string_lossy());
            cli = cli.env("BELFRY_STORE__ROOT_CERT", &root.to_string_lossy());
        }
        let copied = cli.run(&call).await?;
        if good {
            copied.expect(0).context(what)?;
            options.start().await?;
            continue;
        }
        for refused in [copied, options.refused().await?] {
            ensure!(refused.code == Some(1), "{what}: {refused:?}");
            let said = &refused.stderr;
            ensure!(said.contains("certificate"), "{what}: {said}");
            let absent = root == Some(&absent);
            ensure!(said.contains("absent.pem") == absent, "{what}: {said}");
        }
    }
    let log = database.log();
    let made: Vec<_> = log
        .lines()
        .filter(|line| line.contains("connection authorized"))
        .collect();
    ensure!(
        !made.is_empty() && made.iter().all(|line| line.contains("SSL enabled")),
        "{log}"
    );
    Ok(())
}
