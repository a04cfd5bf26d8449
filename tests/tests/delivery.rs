//! What becomes of a delivery when the receiver does not simply say yes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use belfry_testkit::{Reply, Server, Sink, events, wait_until};
use belfry_tests::{
    LIMIT, SECRET, all, delivery, delivery_with, post, put_rule, rule, settled, text, webhook,
    webhook_with_waits,
};
use serde_json::{Value, json};

/// A server with one rule for type `t` and one target `hook` at `/hook`.
async fn one_target(sink: &Sink, waits_seconds: &[u32]) -> Result<Server> {
    let server = Server::start().await?;
    let targets = json!({"hook": webhook_with_waits(&sink.url("/hook"), waits_seconds)});
    put_rule(&server.admin()?, "r", &rule(&["t"], &targets)).await?;
    Ok(server)
}

fn attempts(delivery: &Value) -> &[Value] {
    delivery["attempts"].as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_one_with_the_same_id() -> Result<()> {
    let sink = Sink::start().await?;
    sink.script("/hook", [Reply::status(500), Reply::status(204)]);
    let server = one_target(&sink, &[1, 1]).await?;
    let admin = server.admin()?;
    let uid = post(&admin, &events::event("a", "t")).await?;
    let found = delivery_with(&admin, &uid, "delivered").await?;
    let found = delivery(&admin, &text(&found["id"])?).await?;
    let shown = attempts(&found);
    assert_eq!(shown.len(), 2, "{found}");
    assert_eq!(
        (&shown[0]["statusCode"], &shown[0]["reason"]),
        (&json!(500), &json!("http_5xx"))
    );
    assert_eq!(
        (&shown[1]["statusCode"], &shown[1]["trigger"]),
        (&json!(204), &json!("retry"))
    );
    ensure!(
        !shown[0]["nextAttemptAt"].is_null(),
        "when it is tried again: {}",
        shown[0]
    );

    let received = sink.received_at("/hook");
    assert_eq!(
        received[0].header("webhook-id"),
        received[1].header("webhook-id")
    );
    ensure!(
        received[1].at - received[0].at >= Duration::from_secs(1),
        "not earlier than the schedule says"
    );
    for one in received {
        one.verify(SECRET)?;
    }
    Ok(())
}

#[tokio::test]
async fn every_way_to_fail_has_its_reason_and_is_tried_again() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    sink.script("/reset", [Reply::Reset, Reply::status(204)]);
    sink.script("/hang", [Reply::Hang, Reply::status(204)]);
    sink.script(
        "/drip",
        [
            Reply::Drip {
                every: Duration::from_millis(20),
            },
            Reply::status(204),
        ],
    );
    sink.script("/redirect", [Reply::status(302), Reply::status(204)]);
    sink.script("/unauthorised", [Reply::status(401), Reply::status(204)]);
    let expected = [
        ("reset", "connection_reset"),
        ("hang", "timeout"),
        ("drip", "timeout"),
        ("redirect", "redirect"),
        ("unauthorised", "http_4xx"),
    ];
    let targets: serde_json::Map<_, _> = expected
        .iter()
        .map(|(path, _)| {
            let mut target = webhook_with_waits(&sink.url(&format!("/{path}")), &[1, 1]);
            target["settings"]["timeoutSeconds"] = 1.into();
            ((*path).to_owned(), target)
        })
        .collect();
    put_rule(&admin, "r", &rule(&["t"], &targets.into())).await?;
    let uid = post(&admin, &events::event("a", "t")).await?;
    let deliveries = settled(&admin, &uid).await?;
    for (target, reason) in expected {
        let one = deliveries
            .iter()
            .find(|one| one["target"] == target)
            .context(target)?;
        let one = delivery(&admin, &text(&one["id"])?).await?;
        assert_eq!(one["delivery"]["status"], "delivered", "{one}");
        assert_eq!(attempts(&one)[0]["reason"], reason, "{one}");
        assert_eq!(
            attempts(&one).len(),
            2,
            "every request on the wire is an attempt, and no other: {one}"
        );
        assert_eq!(sink.received_at(&format!("/{target}")).len(), 2, "{target}");
    }
    Ok(())
}

#[tokio::test]
async fn attempts_used_up_end_in_a_dead_letter_that_can_be_redriven() -> Result<()> {
    let sink = Sink::start().await?;
    sink.script("/hook", [Reply::status(500)]);
    let server = Server::start().await?;
    let admin = server.admin()?;
    admin.put("/v1/buses/dead", &json!({})).await?.expect(201)?;
    let mut hook = webhook_with_waits(&sink.url("/hook"), &[1]);
    hook["deadLetter"] = json!({"bus": "dead"});
    put_rule(&admin, "r", &rule(&["t"], &json!({"hook": hook}))).await?;
    let uid = post(&admin, &events::event("a", "t")).await?;
    let dead = delivery_with(&admin, &uid, "dead").await?;
    assert_eq!(
        (&dead["reason"], &dead["attempts"]),
        (&json!("http_5xx"), &json!(2)),
        "{dead}"
    );

    let letter = wait_until("the dead letter", LIMIT, async || {
        Ok(all(&admin, "/v1/events?bus=dead").await?.into_iter().next())
    })
    .await?;
    assert_eq!(letter["event"]["type"], "belfry.delivery.dead", "{letter}");
    let letter = belfry_tests::history(&admin, &text(&letter["eventUid"])?)
        .await?
        .to_string();
    ensure!(
        letter.contains(&uid) && letter.contains("\"source\":\"tests\""),
        "the original is in it: {letter}"
    );

    sink.script("/hook", [Reply::status(204)]);
    let id = text(&dead["id"])?;
    let answer = admin
        .post(&format!("/v1/deliveries/{id}/retry"), &json!({}))
        .await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    let done = delivery_with(&admin, &uid, "delivered").await?;
    let done = delivery(&admin, &text(&done["id"])?).await?;
    assert_eq!(
        attempts(&done).last().map(|last| &last["trigger"]),
        Some(&json!("redrive")),
        "{done}"
    );
    Ok(())
}

#[tokio::test]
async fn retry_after_pauses_the_whole_target() -> Result<()> {
    let sink = Sink::start().await?;
    sink.script("/hook", [Reply::retry_after(429, 2), Reply::status(204)]);
    let server = one_target(&sink, &[1, 1, 1]).await?;
    let admin = server.admin()?;
    let first = post(&admin, &events::event("a", "t")).await?;
    sink.wait_for("/hook", 1, LIMIT).await?;
    let waiting = delivery_with(&admin, &first, "retrying").await?;
    assert_eq!(waiting["reason"], "rate_limited", "{waiting}");
    // A second event comes in during the pause: it waits, too, and uses up no attempt.
    let second = post(&admin, &events::event("b", "t")).await?;
    for uid in [&first, &second] {
        delivery_with(&admin, uid, "delivered").await?;
    }
    let received = sink.received_at("/hook");
    assert_eq!(received.len(), 3);
    let pause = received[1].at - received[0].at;
    // A tenth of a second is what the clocks of both sides may be apart.
    ensure!(
        pause >= Duration::from_millis(1900),
        "the pause was {pause:?}"
    );
    assert_eq!(
        delivery_with(&admin, &second, "delivered").await?["attempts"],
        1
    );
    Ok(())
}

#[tokio::test]
async fn gone_disables_the_target_and_says_so_on_bus_system() -> Result<()> {
    let sink = Sink::start().await?;
    sink.script("/hook", [Reply::status(410), Reply::status(204)]);
    let server = one_target(&sink, &[1]).await?;
    let admin = server.admin()?;
    let reports = json!({"pattern": {"type": [{"prefix": "belfry.target."}]}, "targets": {"ops": webhook(&sink.url("/ops"))}});
    admin
        .put("/v1/buses/system/rules/reports", &reports)
        .await?
        .expect(201)?;

    let first = post(&admin, &events::event("a", "t")).await?;
    let report = sink.wait_for("/ops", 1, LIMIT).await?[0].json()?;
    assert_eq!(report["type"], "belfry.target.disabled");
    assert_eq!(
        (&report["data"]["rule"], &report["data"]["target"]),
        (&json!("r"), &json!("hook")),
        "{report}"
    );
    let ended = settled(&admin, &first).await?.remove(0);
    assert_eq!(ended["reason"], "gone", "{ended}");
    let target = admin.get("/v1/buses/default/rules/r/targets/hook").await?;
    let shown = target.expect(200)?;
    ensure!(!shown["disabled"].is_null(), "{shown}");

    // Nothing more is sent, and what would have been is recorded as skipped.
    let second = post(&admin, &events::event("b", "t")).await?;
    let skipped = delivery_with(&admin, &second, "skipped").await?;
    assert_eq!(skipped["reason"], "target_disabled", "{skipped}");
    assert_eq!(sink.received_at("/hook").len(), 1);

    // Writing the target again takes the disablement back.
    let again = json!({"hook": webhook_with_waits(&sink.url("/hook"), &[2])});
    put_rule(&admin, "r", &rule(&["t"], &again)).await?;
    let third = post(&admin, &events::event("c", "t")).await?;
    delivery_with(&admin, &third, "delivered").await?;
    Ok(())
}

#[tokio::test]
async fn a_dead_or_hanging_target_does_not_delay_a_healthy_one() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    sink.script("/hang", [Reply::Hang]);
    // A port that nobody listens on any more.
    let dead = Sink::start().await?.url("/dead");
    let targets = json!({
        "healthy": webhook(&sink.url("/healthy")),
        "hanging": webhook(&sink.url("/hang")),
        "dead": webhook(&dead),
    });
    put_rule(&admin, "r", &rule(&["t"], &targets)).await?;
    let mut slowest = Duration::ZERO;
    for number in 0..200 {
        let posted = Instant::now();
        post(&admin, &events::event(&format!("{number}"), "t")).await?;
        let received = sink.wait_for("/healthy", number + 1, LIMIT).await?;
        slowest = slowest.max(received[number].at.saturating_duration_since(posted));
    }
    // Far above what it takes, far below the timeout of the hanging one and the schedule of the dead one.
    ensure!(
        slowest < Duration::from_secs(2),
        "the slowest took {slowest:?}"
    );
    Ok(())
}

#[tokio::test]
async fn an_expired_event_is_not_sent_and_says_why() -> Result<()> {
    let sink = Sink::start().await?;
    let server = one_target(&sink, &[1]).await?;
    let admin = server.admin()?;
    let mut event = events::event("a", "t");
    event["expirytime"] = "2020-01-01T00:00:00Z".into();
    let uid = post(&admin, &event).await?;
    let expired = delivery_with(&admin, &uid, "expired").await?;
    assert_eq!(expired["reason"], "event_expired", "{expired}");
    assert_eq!(sink.look(<[_]>::len), 0);
    Ok(())
}

#[tokio::test]
async fn a_changed_rule_is_in_force_at_once_and_as_a_whole() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    let pair = |a: &str, b: &str| {
        let targets = json!({a: webhook(&sink.url(&format!("/{a}"))), b: webhook(&sink.url(&format!("/{b}")))});
        rule(&["t"], &targets)
    };
    put_rule(&admin, "r", &pair("old-a", "old-b")).await?;
    let posting = tokio::spawn({
        let admin = admin.clone();
        async move {
            let mut uids = Vec::new();
            for number in 0..400 {
                uids.push(post(&admin, &events::event(&format!("{number}"), "t")).await?);
            }
            anyhow::Ok(uids)
        }
    });
    sink.wait_for("/old-a", 40, LIMIT).await?;
    put_rule(&admin, "r", &pair("new-a", "new-b")).await?;
    let changed = Instant::now();
    let after = post(&admin, &events::event("after", "t")).await?;
    let took = changed.elapsed();
    let uids = posting.await??;

    let mut seen = [0, 0];
    for uid in &uids {
        let deliveries = settled(&admin, uid).await?;
        let mut targets: Vec<String> = deliveries
            .iter()
            .map(|one| text(&one["target"]))
            .collect::<Result<_>>()?;
        targets.sort();
        match targets
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["old-a", "old-b"] => seen[0] += 1,
            ["new-a", "new-b"] => seen[1] += 1,
            mixed => anyhow::bail!("{uid} went to {mixed:?}"),
        }
    }
    ensure!(
        seen[0] > 0 && seen[1] > 0,
        "both sides of the change were seen: {seen:?}"
    );
    ensure!(took < Duration::from_secs(1));
    let targets = settled(&admin, &after).await?;
    ensure!(
        targets.iter().all(|one| one["target"]
            .as_str()
            .is_some_and(|name| name.starts_with("new"))),
        "{targets:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_disabled_rule_matches_nothing_and_a_deleted_one_leaves_its_history() -> Result<()> {
    let sink = Sink::start().await?;
    let server = one_target(&sink, &[1]).await?;
    let admin = server.admin()?;
    let first = post(&admin, &events::event("a", "t")).await?;
    delivery_with(&admin, &first, "delivered").await?;
    let path = "/v1/buses/default/rules/r";
    let headers = [("content-type", "application/merge-patch+json")];
    admin
        .send(http::Method::PATCH, path, &headers, r#"{"enabled": false}"#)
        .await?
        .expect(200)?;
    let second = post(&admin, &events::event("b", "t")).await?;
    assert_eq!(settled(&admin, &second).await?.len(), 0);
    admin.delete(path).await?.expect(204)?;
    let kept = delivery_with(&admin, &first, "delivered").await?;
    assert_eq!(
        (&kept["rule"], &kept["target"]),
        (&json!("r"), &json!("hook")),
        "{kept}"
    );
    Ok(())
}
