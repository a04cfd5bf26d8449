//! What outlives the history.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use belfry_testkit::{Client, Postgres, Server, Sink, events, wait_until};
use belfry_tests::{LIMIT, all, pair, post, put_rule, rule, text, webhook};
use serde_json::{Value, json};

#[tokio::test]
async fn a_new_target_gets_from_an_archive_what_the_history_has_lost() -> Result<()> {
    let mut server = Server::with("retention.age", "1s").start().await?;
    let cli = server.cli();
    let file = server.data().join("archive.yaml");
    std::fs::write(
        &file,
        "kind: Archive\nmetadata: {name: orders}\nspec:\n  pattern: {type: [{prefix: order.}]}\n",
    )?;
    let path = file.display().to_string();
    let done = cli.run(&["apply", "-f", &path]).await?.expect(0)?;
    ensure!(done.contains("archive default/orders"), "{done}");
    let admin = server.admin()?;
    let mut uids = Vec::new();
    for (id, kind) in [("1", "order.paid"), ("2", "invoice"), ("3", "order.sent")] {
        uids.push(post(&admin, &events::event(id, kind)).await?);
    }
    wait_until(
        "the end of the history",
        Duration::from_mins(2),
        async || {
            let mut gone = true;
            for uid in &uids {
                let found = admin.get(&format!("/v1/events/{uid}")).await?;
                gone &= found.status.as_u16() == 404;
            }
            Ok(gone.then_some(()))
        },
    )
    .await?;

    // The copies are on the disk, whatever happens to the process.
    server.kill9()?;
    server.restart().await?;
    let (admin, cli) = (server.admin()?, server.cli());
    let sink = Sink::start().await?;
    let targets = json!({"new": webhook(&sink.url("/new"))});
    put_rule(
        &admin,
        "late",
        &rule(&["order.paid", "order.sent"], &targets),
    )
    .await?;
    let shown = cli.run(&["list", "archives"]).await?.expect(0)?;
    ensure!(shown.contains("orders"), "{shown}");
    let start = ["replay", "start", "--archive", "orders", "--to", "late/new"];
    cli.run(&start).await?.expect(0)?;
    let received = wait_until("both orders", LIMIT, async || {
        let received = sink.received_at("/new");
        Ok((received.len() == 2).then_some(received))
    })
    .await?;
    for one in received {
        ensure!(one.header("belfry-replay").is_some());
    }
    cli.run(&["delete", "archive", "orders"]).await?.expect(0)?;
    admin
        .get("/v1/buses/default/archives/orders")
        .await?
        .problem(404, "NOT_FOUND")?;
    Ok(())
}

/// How many events a replay would put back.
async fn would_put_back(admin: &Client, replay: &Value) -> Result<Value> {
    let answer = admin.post("/v1/replays?dryRun=true", replay).await?;
    let counted = answer.expect(200)?;
    ensure!(counted["exact"] == true, "{counted}");
    Ok(counted["count"].clone())
}

/// A copy is a part of the commit of whoever accepts the event, and each of them counts its own; one dies at work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_two_servers_write_at_once_has_every_event_once() -> Result<()> {
    const ARCHIVE: &str = "/v1/buses/default/archives/all";
    const EACH: usize = 120;
    let database = tokio::task::block_in_place(Postgres::start)?;
    let [first, mut second] = pair(&database, &[("node.lease", "3s")]).await?;
    let (admin, other) = (first.admin()?, second.admin()?);
    let spec = json!({"pattern": {"type": ["t", "probe"]}});
    admin.put(ARCHIVE, &spec).await?.expect(201)?;
    let in_it = async || {
        Ok::<_, anyhow::Error>(admin.get(ARCHIVE).await?.expect(200)?["usage"]["events"].clone())
    };
    let mut number = 0;
    wait_until("the archive at the other server", LIMIT, async || {
        number += 1;
        post(&other, &events::event(&format!("probe-{number}"), "probe")).await?;
        Ok((in_it().await? != 0).then_some(()))
    })
    .await?;

    let accepted: Arc<Mutex<HashSet<String>>> = Arc::default();
    let senders: Vec<_> = (0..6)
        .map(|sender| {
            let client = if sender < 3 { &admin } else { &other }.clone();
            let accepted = Arc::clone(&accepted);
            tokio::spawn(async move {
                for number in 0..EACH {
                    let id = format!("{sender}-{number}");
                    // Of the one that dies no more answers come.
                    if post(&client, &events::event(&id, "t")).await.is_err() {
                        return;
                    }
                    let mut accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner);
                    accepted.insert(id);
                }
            })
        })
        .collect();
    let accepted = || {
        accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    };
    wait_until("both at work", LIMIT, async || {
        let of = |senders: [&str; 3]| {
            let started = |id: &String| senders.iter().any(|sender| id.starts_with(sender));
            accepted().iter().filter(|id| started(id)).count()
        };
        Ok((of(["0-", "1-", "2-"]) > 30 && of(["3-", "4-", "5-"]) > 30).then_some(()))
    })
    .await?;
    second.kill9()?;
    for sender in senders {
        sender.await?;
    }

    let stored = all(&admin, "/v1/events?bus=default&type=t").await?;
    let ids: HashSet<_> = stored
        .iter()
        .map(|one| text(&one["event"]["id"]))
        .collect::<Result<_>>()?;
    let accepted = accepted();
    ensure!(accepted.len() < 6 * EACH, "it was killed too late");
    ensure!(accepted.is_subset(&ids) && ids.len() == stored.len());
    let whole = json!({"from": {"bus": "default", "archive": "all"}});
    let mut replay = whole.clone();
    replay["pattern"] = json!({"type": ["t"]});
    let copies = in_it().await?;
    assert_eq!(would_put_back(&admin, &whole).await?, copies);
    assert_eq!(would_put_back(&admin, &replay).await?, stored.len());

    let sink = Sink::start().await?;
    let targets = json!({"new": webhook(&sink.url("/new"))});
    put_rule(&admin, "late", &rule(&["t"], &targets)).await?;
    replay["to"] = json!({"rule": "late", "target": "new"});
    let begun = admin.post("/v1/replays", &replay).await?.expect(202)?;
    let path = format!("/v1/replays/{}", text(&begun["id"])?);
    let done = wait_until("the end of the replay", LIMIT, async || {
        let now = admin.get(&path).await?.expect(200)?;
        Ok((now["state"] != "running").then_some(now))
    })
    .await?;
    ensure!(done["state"] == "completed", "{done}");
    assert_eq!(done["replayed"], stored.len());
    let received = sink.wait_for("/new", stored.len(), LIMIT).await?;
    let received: HashSet<_> = received
        .iter()
        .map(|one| text(&one.json()?["id"]))
        .collect::<Result<_>>()?;
    assert_eq!(received, ids);
    assert_eq!(
        in_it().await?,
        copies,
        "what is put back is not copied again"
    );
    Ok(())
}
