//! The same event twice: recognised, and not forgotten by a restart.

use anyhow::{Result, ensure};
use belfry_testkit::{Server, Sink, events};
use belfry_tests::{LIMIT, delivery_with, post, put_rule, rule, text, webhook};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn a_repeat_is_answered_as_such_and_not_delivered_even_after_a_crash() -> Result<()> {
    let sink = Sink::start().await?;
    let mut server = Server::start().await?;
    let admin = server.admin()?;
    put_rule(
        &admin,
        "r",
        &rule(&["t"], &json!({"hook": webhook(&sink.url("/hook"))})),
    )
    .await?;
    let event = events::event("once", "t");
    let uid = post(&admin, &event).await?;
    delivery_with(&admin, &uid, "delivered").await?;
    for crash in [false, true] {
        if crash {
            server.restart().await?;
        }
        let answer = server
            .admin()?
            .post_event("default", &event)
            .await?
            .expect(202)?;
        assert_eq!(answer["events"][0]["duplicate"], true, "{answer}");
        assert_eq!(answer["events"][0]["eventUid"], json!(uid), "{answer}");
    }
    // Another source with the same id is another event.
    let mut other = event.clone();
    other["source"] = "elsewhere".into();
    let admin = server.admin()?;
    let other = post(&admin, &other).await?;
    ensure!(other != uid);
    delivery_with(&admin, &other, "delivered").await?;
    assert_eq!(sink.wait_for("/hook", 2, LIMIT).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_modes_of_a_bus_are_kept() -> Result<()> {
    let mut server = Server::start().await?;
    let admin = server.admin()?;
    admin
        .put("/v1/buses/strict", &json!({"dedup": {"mode": "strict"}}))
        .await?
        .expect(201)?;
    admin
        .put("/v1/buses/off", &json!({"dedup": {"mode": "off"}}))
        .await?
        .expect(201)?;
    server_posts(&server, "strict", false).await?;
    server_posts(&server, "off", false).await?;
    server.restart().await?;
    server_posts(&server, "strict", true).await?;
    server_posts(&server, "off", false).await
}

async fn server_posts(server: &Server, bus: &str, duplicate: bool) -> Result<()> {
    let answer = server
        .admin()?
        .post_event(bus, &events::event("x", "t"))
        .await?
        .expect(202)?;
    assert_eq!(
        answer["events"][0]["duplicate"], duplicate,
        "{bus}: {answer}"
    );
    Ok(())
}

#[tokio::test]
async fn a_repeat_within_one_batch_is_one_event() -> Result<()> {
    let server = Server::start().await?;
    let batch = json!([
        events::event("x", "t"),
        events::event("x", "t"),
        events::event("y", "t")
    ]);
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let path = "/v1/buses/default/events";
    let answer = server
        .admin()?
        .send(Method::POST, path, &headers, batch.to_string())
        .await?
        .expect(202)?;
    let duplicates: Vec<_> = (0..3)
        .map(|i| answer["events"][i]["duplicate"] == true)
        .collect();
    assert_eq!(duplicates, [false, true, false], "{answer}");
    assert_eq!(
        text(&answer["events"][0]["eventUid"])?,
        text(&answer["events"][1]["eventUid"])?
    );
    Ok(())
}

#[tokio::test]
async fn an_idempotency_key_replays_the_answer_and_refuses_another_request() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let send = async |key: &str, body: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        admin
            .send(Method::POST, "/v1/keys", &headers, body.to_owned())
            .await
    };
    let body = r#"{"name": "sender", "scopes": ["events:write"]}"#;
    let first = send("\"a-1\"", body).await?.expect(201)?;
    // Bare and quoted are the same key.
    let second = send("a-1", body).await?.expect(201)?;
    assert_eq!(first, second);
    send("a-1", r#"{"name": "other", "scopes": ["events:write"]}"#)
        .await?
        .problem(422, "IDEMPOTENCY_MISMATCH")?;
    assert_eq!(
        belfry_tests::all(&admin, "/v1/keys").await?.len(),
        2,
        "the admin's and one more"
    );
    Ok(())
}
