//! Bounds: of requests, of what waits, of what is kept, and of what is logged.

use std::time::Duration;

use anyhow::{Result, ensure};
use belfry_testkit::{Server, events, wait_until};
use belfry_tests::{LIMIT, all, post, text};
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_key_has_its_own_limit() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let body = json!({"name": "slow", "scopes": ["config:read"], "requestsPerSecond": 2});
    let made = admin.post("/v1/keys", &body).await?.expect(201)?;
    let slow = admin.with_key(Some(&text(&made["key"])?));
    let mut refused = None;
    for _ in 0..20 {
        let answer = slow.get("/v1/buses").await?;
        if answer.status.as_u16() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let Some(refused) = refused else {
        anyhow::bail!("twenty requests at once were let through")
    };
    refused.problem(429, "RATE_LIMITED")?;
    ensure!(refused.header("retry-after").is_some());
    // Others are not concerned, and the key works again after the pause.
    admin.get("/v1/buses").await?.expect(200)?;
    wait_until("the end of the pause", LIMIT, async || {
        Ok(slow
            .get("/v1/buses")
            .await?
            .status
            .is_success()
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn more_than_may_wait_is_refused_as_a_whole() -> Result<()> {
    let server = Server::with("ingest.waiting_events_max", "10")
        .start()
        .await?;
    let admin = server.admin()?;
    // Batches of eight, many at once: two of them have no room together.
    let senders: Vec<_> = (0..40)
        .map(|sender| {
            let admin = admin.clone();
            let batch: Vec<Value> = (0..8)
                .map(|i| events::event(&format!("{sender}-{i}"), "t"))
                .collect();
            tokio::spawn(async move {
                let headers = [("content-type", "application/cloudevents-batch+json")];
                admin
                    .send(
                        Method::POST,
                        "/v1/buses/default/events",
                        &headers,
                        json!(batch).to_string(),
                    )
                    .await
            })
        })
        .collect();
    let (mut accepted, mut refused) = (0, 0);
    for sender in senders {
        let answer = sender.await??;
        if answer.status.as_u16() == 429 {
            answer.problem(429, "BUSY")?;
            ensure!(answer.header("retry-after").is_some());
            refused += 1;
        } else {
            assert_eq!(answer.expect(202)?["accepted"], 8);
            accepted += 1;
        }
    }
    ensure!(
        accepted > 0 && refused > 0,
        "{accepted} accepted, {refused} refused"
    );
    assert_eq!(
        all(&admin, "/v1/events?bus=default").await?.len(),
        8 * accepted,
        "nothing is half accepted"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_older_than_its_retention_goes() -> Result<()> {
    let server = Server::with("retention.age", "1s").start().await?;
    let admin = server.admin()?;
    let uid = post(&admin, &events::event("old", "t")).await?;
    wait_until("the end of the event", Duration::from_mins(2), async || {
        Ok((admin
            .get(&format!("/v1/events/{uid}"))
            .await?
            .status
            .as_u16()
            == 404)
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn logs_are_one_json_object_a_line_when_asked_for() -> Result<()> {
    let mut server = Server::with("log.format", "json")
        .set("log.level", "debug")
        .start()
        .await?;
    post(&server.admin()?, &events::event("a", "t")).await?;
    server.anon()?.get("/v1/nonsense").await?;
    server.stop(LIMIT).await?;
    let output = server.output();
    let logged: Vec<&str> = output
        .lines()
        .filter(|line| line.starts_with('{'))
        .collect();
    ensure!(logged.len() > 3, "{output}");
    for line in logged {
        let entry: Value = serde_json::from_str(line)?;
        ensure!(
            entry["level"].is_string() && entry["timestamp"].is_string(),
            "{line}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_who_made_it() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let rule = belfry_tests::rule(
        &["t"],
        &json!({"hook": belfry_tests::webhook("http://127.0.0.1:9/")}),
    );
    belfry_tests::put_rule(&admin, "r", &rule).await?;
    admin
        .delete("/v1/buses/default/rules/r")
        .await?
        .expect(204)?;
    let entries = all(&admin, "/v1/audit?resource=buses/default/rules/r").await?;
    let actions: Vec<_> = entries
        .iter()
        .map(|entry| entry["action"].as_str().unwrap_or_default())
        .collect();
    ensure!(
        actions.contains(&"rule.put") && actions.contains(&"rule.delete"),
        "{actions:?}"
    );
    for entry in &entries {
        ensure!(
            entry["actor"]
                .as_str()
                .is_some_and(|actor| actor.contains("key_")),
            "{entry}"
        );
        ensure!(entry["requestId"].is_string(), "{entry}");
        ensure!(!entry.to_string().contains(belfry_tests::SECRET), "{entry}");
    }
    Ok(())
}

#[tokio::test]
async fn history_is_filtered_and_paged() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    for number in 0..25 {
        let mut event = events::event(
            &format!("{number}"),
            if number % 5 == 0 { "five" } else { "other" },
        );
        event["subject"] = format!("s-{number}").into();
        post(&admin, &event).await?;
    }
    assert_eq!(
        all(&admin, "/v1/events?bus=default&type=five").await?.len(),
        5
    );
    assert_eq!(
        all(&admin, "/v1/events?bus=default&subject=s-7")
            .await?
            .len(),
        1
    );
    assert_eq!(all(&admin, "/v1/events?bus=default&q=s-24").await?.len(), 1);
    assert_eq!(
        all(&admin, "/v1/events?bus=default&since=-1h").await?.len(),
        25
    );
    assert_eq!(
        all(&admin, "/v1/events?bus=default&until=-1h").await?.len(),
        0
    );
    let page = admin
        .get("/v1/events?bus=default&limit=10")
        .await?
        .expect(200)?;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(10));
    assert_eq!(page["items"][0]["event"]["id"], "24", "newest first");
    admin
        .get("/v1/events?limit=1000")
        .await?
        .problem(400, "INVALID_REQUEST")?;
    admin
        .get("/v1/events?cursor=nonsense")
        .await?
        .problem(400, "INVALID_CURSOR")?;
    admin
        .get("/v1/events?colour=red")
        .await?
        .problem(400, "INVALID_REQUEST")?;
    admin
        .get("/v1/deliveries?status=lost")
        .await?
        .problem(400, "INVALID_REQUEST")?;
    Ok(())
}

/// The memory of one connection that sends nothing, a thousand times, is not what brings the server down.
#[tokio::test]
async fn idle_connections_cost_little_and_a_cap_holds() -> Result<()> {
    let server = Server::with("server.connections_max", "300")
        .set("server.header_timeout", "2s")
        .start()
        .await?;
    let before = server.resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..250 {
        idle.push(belfry_testkit::raw::Raw::connect(server.address()).await?);
    }
    server.anon()?.get("/readyz").await?.expect(200)?;
    if let (Some(before), Some(after)) = (before, server.resident_bytes()) {
        ensure!(
            after < before + 64 * 1024 * 1024,
            "250 connections took {} bytes",
            after - before
        );
    }
    // Beyond the cap connections wait until others are closed for their silence; they are served then.
    for _ in 0..100 {
        idle.push(belfry_testkit::raw::Raw::connect(server.address()).await?);
    }
    let start = std::time::Instant::now();
    server.anon()?.get("/readyz").await?.expect(200)?;
    ensure!(
        start.elapsed() < Duration::from_secs(15),
        "it took {:?}",
        start.elapsed()
    );
    Ok(())
}
