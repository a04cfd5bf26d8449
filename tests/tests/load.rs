//! Ending in an orderly way while there is a lot to do.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belfry_testkit::{Client, Reply, Server, Sink, events, wait_until};
use belfry_tests::{LIMIT, put_rule, rule, text, webhook};
use serde_json::json;

/// Posts until the server takes no more; gives the ids that got a 202.
async fn send(client: Client, name: usize, count: Arc<AtomicUsize>) -> Result<Vec<String>> {
    let mut accepted = Vec::new();
    for number in 0.. {
        let id = format!("{name}-{number}");
        let Ok(answer) = client.post_event("default", &events::event(&id, "t")).await else {
            break;
        };
        match answer.status.as_u16() {
            202 => accepted.push(id),
            503 => {
                answer.problem(503, "SHUTTING_DOWN")?;
                ensure!(answer.header("retry-after").is_some(), "no Retry-After");
                break;
            }
            _ => {
                answer.expect(202)?;
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(accepted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_end_under_load_loses_nothing_and_keeps_to_its_limit() -> Result<()> {
    let sink = Sink::start().await?;
    // One receiver is slow: at the end there is always something on the wire and a queue behind it.
    sink.script(
        "/slow",
        [Reply::Late {
            after: Duration::from_millis(300),
            status: 204,
        }],
    );
    let mut server = Server::with("server.drain_limit", "2s")
        .set("server.shutdown_limit", "8s")
        .start()
        .await?;
    let mut slow = webhook(&sink.url("/slow"));
    slow["concurrency"] = 2.into();
    let targets = json!({"fast": webhook(&sink.url("/fast")), "slow": slow});
    put_rule(&server.admin()?, "r", &rule(&["t"], &targets)).await?;

    let count = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> = (0..4)
        .map(|name| {
            Ok(tokio::spawn(send(
                server.admin()?,
                name,
                Arc::clone(&count),
            )))
        })
        .collect::<Result<_>>()?;
    wait_until("load", LIMIT, async || {
        Ok((count.load(Ordering::Relaxed) > 100).then_some(()))
    })
    .await?;
    let (status, took) = server.stop(LIMIT).await?;
    let mut accepted = HashSet::new();
    for sender in senders {
        accepted.extend(sender.await??);
    }
    ensure!(status.success(), "it ended with {status}");
    ensure!(took < Duration::from_secs(9), "it took {took:?}");

    // An orderly end leaves no doubt about what was delivered: nothing arrives a second time.
    server.restart().await?;
    // The rest of the slow queue is delivered after the start; faster, so that the test ends.
    sink.script("/slow", [Reply::status(204)]);
    for path in ["/fast", "/slow"] {
        let ids = async || -> Result<Vec<String>> {
            sink.received_at(path)
                .iter()
                .map(|one| text(&one.json()?["id"]))
                .collect()
        };
        wait_until("all that was accepted", LIMIT, async || {
            let arrived: HashSet<String> = ids().await?.into_iter().collect();
            Ok(accepted.is_subset(&arrived).then_some(()))
        })
        .await
        .with_context(|| path.to_owned())?;
        let ids = ids().await?;
        let distinct: HashSet<_> = ids.iter().collect();
        assert_eq!(
            ids.len(),
            distinct.len(),
            "{path}: repeats after an orderly end"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_hanging_receiver_does_not_hold_up_the_end() -> Result<()> {
    let sink = Sink::start().await?;
    sink.script("/hang", [Reply::Hang]);
    let mut server = Server::with("server.drain_limit", "1s")
        .set("server.shutdown_limit", "2s")
        .start()
        .await?;
    let mut target = webhook(&sink.url("/hang"));
    target["settings"]["timeoutSeconds"] = 300.into();
    put_rule(
        &server.admin()?,
        "r",
        &rule(&["t"], &json!({"hook": target})),
    )
    .await?;
    let uid = belfry_tests::post(&server.admin()?, &events::event("a", "t")).await?;
    sink.wait_for("/hang", 1, LIMIT).await?;
    let (_, took) = server.stop(LIMIT).await?;
    ensure!(took < Duration::from_secs(5), "it took {took:?}");
    sink.script("/hang", [Reply::status(204)]);
    server.restart().await?;
    belfry_tests::delivery_with(&server.admin()?, &uid, "delivered").await?;
    Ok(())
}

#[tokio::test]
async fn open_streams_end_with_the_server() -> Result<()> {
    let mut server = Server::start().await?;
    let cli = server.cli();
    let tail = cli.start(&["tail"])?;
    // A proper request is under way, too, so that the tail is not the only connection.
    server.admin()?.get("/readyz").await?.expect(200)?;
    let (status, took) = server.stop(LIMIT).await?;
    ensure!(status.success(), "it ended with {status}");
    ensure!(took < Duration::from_secs(5), "it took {took:?}");
    drop(tail);
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once_and_loses_nothing() -> Result<()> {
    let sink = Sink::start().await?;
    sink.script("/hang", [Reply::Hang]);
    let mut server = Server::with("server.shutdown_limit", "10m")
        .set("server.drain_limit", "5m")
        .start()
        .await?;
    let mut target = webhook(&sink.url("/hang"));
    target["settings"]["timeoutSeconds"] = 300.into();
    put_rule(
        &server.admin()?,
        "r",
        &rule(&["t"], &json!({"hook": target})),
    )
    .await?;
    let uid = belfry_tests::post(&server.admin()?, &events::event("a", "t")).await?;
    sink.wait_for("/hang", 1, LIMIT).await?;
    server.terminate()?;
    wait_until("the first signal", LIMIT, async || {
        Ok(server.output().contains("stopping").then_some(()))
    })
    .await?;
    server.stop(Duration::from_secs(10)).await?;
    sink.script("/hang", [Reply::status(204)]);
    server.restart().await?;
    belfry_tests::delivery_with(&server.admin()?, &uid, "delivered").await?;
    Ok(())
}
