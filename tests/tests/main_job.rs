//! What the product is for: an alarm comes in, a rule matches it, a webhook receives it, the history shows it all.

use anyhow::{Result, ensure};
use belfry_testkit::{Server, Sink, events};
use belfry_tests::{LIMIT, SECRET, all, delivery, history, put_rule, settled, text, webhook};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn the_disk_alarm_reaches_the_webhook_and_history_shows_everything() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    let rule = json!({
        "description": "disks that can only be read",
        "pattern": events::disk_pattern(),
        "targets": {
            "on-call": webhook(&sink.url("/hook")),
            "record": {"type": "log", "settings": {"log": "disks"}},
        },
    });
    put_rule(&admin, "disk", &rule).await?;
    let other = json!({"pattern": {"source": ["somebody.else"]}, "targets": {"x": webhook(&sink.url("/other"))}});
    put_rule(&admin, "other", &other).await?;

    // Not quite a CloudEvent: its time is a number, and members hold lists and objects. It goes in as plain JSON.
    let headers = [("content-type", "application/json")];
    let answer = admin
        .send(
            Method::POST,
            "/v1/buses/default/events",
            &headers,
            events::DISK_READ_ONLY,
        )
        .await?;
    let accepted = answer.expect(202)?;
    assert_eq!(accepted["accepted"], 1);
    assert_eq!(
        accepted["events"][0]["id"],
        "7d6b5a1e-0c43-4f7e-9b1a-2f8f0a6d1c11"
    );
    assert_eq!(accepted["events"][0]["duplicate"], false);
    let uid = text(&accepted["events"][0]["eventUid"])?;

    // The webhook, as its receiver sees it.
    let received = sink.wait_for("/hook", 1, LIMIT).await?.remove(0);
    received.verify(SECRET)?;
    ensure!(
        received
            .verify("whsec_ZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5/gIGCg4Q=")
            .is_err()
    );
    assert_eq!(received.method, Method::POST);
    assert_eq!(
        &received.body[..],
        events::DISK_READ_ONLY,
        "the payload is kept byte for byte"
    );
    ensure!(
        received
            .header("traceparent")
            .is_some_and(|value| value.len() == 55)
    );
    ensure!(!received.header("webhook-id").unwrap_or(".").contains('.'));

    // The history.
    let deliveries = settled(&admin, &uid).await?;
    assert_eq!(deliveries.len(), 2, "{deliveries:?}");
    let event = history(&admin, &uid).await?;
    assert_eq!(event["bus"], "default");
    let posted: serde_json::Value = serde_json::from_slice(events::DISK_READ_ONLY)?;
    assert_eq!(event["event"], posted);
    for one in &deliveries {
        assert_eq!(
            (&one["status"], &one["rule"]),
            (&json!("delivered"), &json!("disk")),
            "{one}"
        );
    }
    let hook = deliveries.iter().find(|one| one["target"] == "on-call");
    let hook = delivery(
        &admin,
        &text(&hook.map_or(json!(null), |one| one["id"].clone()))?,
    )
    .await?;
    let attempts = hook["attempts"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(
        (attempts.len(), &attempts[0]["number"]),
        (1, &json!(1)),
        "{hook}"
    );
    assert_eq!(attempts[0]["statusCode"], 204);
    let shown = attempts[0].to_string();
    for fact in [
        sink.url("/hook").as_str(),
        "webhook-id",
        "webhook-signature",
    ] {
        ensure!(
            shown.contains(fact),
            "the attempt does not show {fact}: {shown}"
        );
    }

    // The log target.
    let lines = all(&admin, "/v1/logs/disks/entries?q=%E7%A3%81%E7%9B%98").await?;
    assert_eq!(lines.len(), 1, "{lines:?}");

    // Nothing went where it should not.
    assert_eq!(sink.look(<[_]>::len), 1);
    Ok(())
}

#[tokio::test]
async fn extension_members_are_matched_at_top_level() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    for (name, pattern, path) in [
        (
            "region",
            json!({"region": ["ap-guangzhou"], "status": ["1"]}),
            "/match",
        ),
        (
            "team",
            json!({"tags": {"team": ["storage"]}, "data": {"projectId": [{"numeric": ["=", 0]}]}}),
            "/match",
        ),
        (
            "time",
            json!({"time": [{"numeric": [">", 1_640_000_000_000_i64]}]}),
            "/match",
        ),
        ("elsewhere", json!({"region": ["ap-beijing"]}), "/none"),
    ] {
        let targets = json!({"hook": webhook(&sink.url(path))});
        put_rule(
            &admin,
            name,
            &json!({"pattern": pattern, "targets": targets}),
        )
        .await?;
    }
    let posted = admin
        .post("/v1/buses/default/events", &events::disk_alarm("ext-1"))
        .await?
        .expect(202)?;
    let uid = text(&posted["events"][0]["eventUid"])?;
    assert_eq!(settled(&admin, &uid).await?.len(), 3);
    assert_eq!(sink.received_at("/match").len(), 3);
    assert_eq!(sink.received_at("/none").len(), 0);
    Ok(())
}

#[tokio::test]
async fn binary_lenient_and_batch_forms_are_accepted_as_they_are_sent() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    let mut hook = webhook(&sink.url("/hook"));
    hook["settings"]["body"] = "cloudevents".into();
    put_rule(
        &admin,
        "all",
        &json!({"pattern": {"source": [{"prefix": ""}]}, "targets": {"hook": hook}}),
    )
    .await?;
    let path = "/v1/buses/default/events";

    // Binary, with a percent-encoded subject and a payload that is no JSON.
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "binary-1"),
        ("ce-source", "tests"),
        ("ce-type", "t"),
        ("ce-subject", "%E7%A3%81%E7%9B%98"),
        ("content-type", "text/plain"),
    ];
    admin
        .send(Method::POST, path, &headers, "plain text")
        .await?
        .expect(202)?;
    // Lenient: only source, type and data.
    let lenient = json!({"source": "tests", "type": "t", "data": {"n": 1}});
    admin.post(path, &lenient).await?.expect(202)?;
    // A batch of two.
    let batch = json!([events::event("batch-1", "t"), events::event("batch-2", "t")]);
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = admin
        .send(Method::POST, path, &headers, batch.to_string())
        .await?
        .expect(202)?;
    assert_eq!(answer["accepted"], 2);

    let mut received = Vec::new();
    for one in sink.wait_for("/hook", 4, LIMIT).await? {
        received.push(one.json()?);
    }
    let find = |id: &str| {
        received
            .iter()
            .find(|event| event["id"] == id)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(find("binary-1")["subject"], "磁盘");
    assert_eq!(find("binary-1")["data"], "plain text");
    assert_eq!(find("batch-2")["data"]["id"], "batch-2");
    let lenient = received
        .iter()
        .find(|event| event["data"]["n"] == 1)
        .cloned()
        .unwrap_or_default();
    ensure!(
        lenient["id"].is_string() && lenient["time"].is_string(),
        "{lenient}"
    );
    Ok(())
}
