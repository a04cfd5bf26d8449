//! What a target can be told: what to send, how fast, to whom, and with whose consent.

use std::time::Duration;

use anyhow::{Result, ensure};
use belfry_testkit::{Reply, Server, Sink, events};
use belfry_tests::{LIMIT, SECRET, post, put_rule, rule, settled, webhook, webhook_with_waits};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn a_transform_makes_the_body_that_is_sent_and_signed() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    let mut text = webhook(&sink.url("/text"));
    text["transform"] = json!({"kind": "template", "template": "磁盘只读: ${$.subject} (${$.data.additionalMsg.device})"});
    let mut value = webhook(&sink.url("/json"));
    value["transform"] = json!({"kind": "json", "template": {"instance": "${$.subject}", "project": "${$.data.projectId}"}});
    let targets = json!({"text": text, "json": value});
    put_rule(
        &admin,
        "r",
        &json!({"pattern": events::disk_pattern(), "targets": targets}),
    )
    .await?;
    admin
        .post("/v1/buses/default/events", &events::disk_alarm("a"))
        .await?
        .expect(202)?;
    let text = sink.wait_for("/text", 1, LIMIT).await?.remove(0);
    assert_eq!(
        String::from_utf8_lossy(&text.body),
        "磁盘只读: ins-a1b2c3d4 (/dev/vdb1)"
    );
    let value = sink.wait_for("/json", 1, LIMIT).await?.remove(0);
    assert_eq!(
        value.json()?,
        json!({"instance": "ins-a1b2c3d4", "project": 0})
    );
    for one in [text, value] {
        one.verify(SECRET)?;
    }
    Ok(())
}

#[tokio::test]
async fn while_a_secret_is_replaced_both_verify() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let old = "whsec_ZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5/gIGCg4Q=";
    let mut hook = webhook(&sink.url("/hook"));
    hook["settings"]["signing"]["secrets"] = json!([SECRET, old]);
    let admin = server.admin()?;
    put_rule(&admin, "r", &rule(&["t"], &json!({"hook": hook}))).await?;
    post(&admin, &events::event("a", "t")).await?;
    let received = sink.wait_for("/hook", 1, LIMIT).await?.remove(0);
    for secret in [SECRET, old] {
        received.verify(secret)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_that_belfry_makes_is_shown_once_and_verifies() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    let hook = json!({"type": "webhook", "settings": {"url": sink.url("/hook")}});
    let made = put_rule(&admin, "r", &rule(&["t"], &json!({"hook": hook})))
        .await?
        .to_string();
    let start = made.find("whsec_").unwrap_or(made.len());
    let secret: String = made[start..].chars().take_while(|c| *c != '"').collect();
    ensure!(secret.len() > 30, "no secret in {made}");
    let again = admin.get("/v1/buses/default/rules/r").await?.text();
    ensure!(!again.contains(&secret), "it is shown again: {again}");
    post(&admin, &events::event("a", "t")).await?;
    sink.wait_for("/hook", 1, LIMIT)
        .await?
        .remove(0)
        .verify(&secret)
}

#[tokio::test]
async fn a_rate_limit_spreads_deliveries_and_uses_up_no_attempt() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    let mut hook = webhook(&sink.url("/hook"));
    hook["rateLimit"] = json!({"count": 2, "perSeconds": 1});
    put_rule(&admin, "r", &rule(&["t"], &json!({"hook": hook}))).await?;
    let mut uids = Vec::new();
    for number in 0..6 {
        uids.push(post(&admin, &events::event(&format!("{number}"), "t")).await?);
    }
    let received = sink.wait_for("/hook", 6, LIMIT).await?;
    let span = received[5].at - received[0].at;
    // Two at once, then two a second.
    ensure!(
        span >= Duration::from_millis(1500),
        "six came within {span:?}"
    );
    for uid in uids {
        assert_eq!(settled(&admin, &uid).await?[0]["attempts"], 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_circuit_opens_is_reported_and_closes_again() -> Result<()> {
    let sink = Sink::start().await?;
    sink.script("/hook", [Reply::status(503)]);
    let server = Server::with("engine.circuit_failures", "5").start().await?;
    let admin = server.admin()?;
    let reports = json!({"pattern": {"type": [{"prefix": "belfry.target.circuit"}]}, "targets": {"ops": webhook(&sink.url("/ops"))}});
    admin
        .put("/v1/buses/system/rules/reports", &reports)
        .await?
        .expect(201)?;
    let targets = json!({"hook": webhook_with_waits(&sink.url("/hook"), &[1; 60])});
    put_rule(&admin, "r", &rule(&["t"], &targets)).await?;
    let mut uids = Vec::new();
    for number in 0..30 {
        uids.push(post(&admin, &events::event(&format!("{number}"), "t")).await?);
    }
    let opened = sink.wait_for("/ops", 1, LIMIT).await?[0].json()?;
    assert_eq!(opened["type"], "belfry.target.circuit.opened", "{opened}");
    let status = admin
        .get("/v1/buses/default/rules/r/targets/hook/status")
        .await?
        .expect(200)?;
    ensure!(
        status.to_string().contains("open") || status.to_string().contains("probing"),
        "{status}"
    );
    let requests = sink.received_at("/hook").len();
    ensure!(requests < 60, "{requests} requests to a target that fails");
    sink.script("/hook", [Reply::status(204)]);
    for uid in uids {
        let ended = settled(&admin, &uid).await?.remove(0);
        assert_eq!(ended["status"], "delivered", "{ended}");
    }
    Ok(())
}

#[tokio::test]
async fn a_handshake_asks_for_consent_before_anything_is_sent() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    let target = |path: &str| {
        let mut target = webhook(&sink.url(path));
        target["settings"]["handshake"] = json!({"origin": "events.example.com"});
        rule(&["t"], &json!({"hook": target}))
    };
    // An ordinary answer to OPTIONS is no consent.
    let refused = admin
        .put("/v1/buses/default/rules/no", &target("/no"))
        .await?;
    refused.problem(422, "HANDSHAKE_REFUSED")?;
    assert_eq!(
        admin
            .get("/v1/buses/default/rules/no")
            .await?
            .status
            .as_u16(),
        404
    );
    let consent = vec![(
        "webhook-allowed-origin".to_owned(),
        "events.example.com".to_owned(),
    )];
    sink.script(
        "/yes",
        [Reply::Answer {
            status: 200,
            headers: consent,
            body: String::new(),
        }],
    );
    put_rule(&admin, "yes", &target("/yes")).await?;
    post(&admin, &events::event("a", "t")).await?;
    let received = sink.wait_for("/yes", 2, LIMIT).await?;
    assert_eq!(
        (&received[0].method, &received[1].method),
        (&Method::OPTIONS, &Method::POST)
    );
    for one in received {
        assert_eq!(
            one.header("webhook-request-origin"),
            Some("events.example.com")
        );
    }
    Ok(())
}

#[tokio::test]
async fn loopback_is_refused_where_the_settings_say_so() -> Result<()> {
    let sink = Sink::start().await?;
    let server = Server::with("egress.allow_loopback", "false")
        .start()
        .await?;
    let admin = server.admin()?;
    for url in [
        sink.url("/hook"),
        "http://[::ffff:127.0.0.1]:9/".to_owned(),
        "http://localhost:9/".to_owned(),
    ] {
        let answer = admin
            .put(
                "/v1/buses/default/rules/r",
                &rule(&["t"], &json!({"hook": webhook(&url)})),
            )
            .await?;
        if answer.status.as_u16() == 400 {
            continue;
        }
        // A name is looked up when something is sent: refused then, as an attempt with its reason.
        ensure!(url.contains("localhost"), "{url}: {}", answer.text());
        let uid = post(&admin, &events::event("a", "t")).await?;
        let blocked = belfry_testkit::wait_until("the attempt", LIMIT, async || {
            let delivery = belfry_tests::history(&admin, &uid).await?["deliveries"][0].clone();
            Ok((delivery["attempts"] != 0).then_some(delivery))
        })
        .await?;
        assert_eq!(blocked["reason"], "blocked_address", "{blocked}");
    }
    assert_eq!(sink.look(<[_]>::len), 0);
    Ok(())
}
