//! Deliveries as they happen.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::server::TestServer;

/// Reads a stream until `enough` says so or it ends.
async fn read(response: reqwest::Response, enough: impl Fn(&str) -> bool) -> (String, bool) {
    let mut text = String::new();
    let mut stream = response.bytes_stream();
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while let Some(chunk) = stream.next().await {
            text += std::str::from_utf8(&chunk.unwrap()).unwrap();
            if enough(&text) {
                return false;
            }
        }
        true
    })
    .await
    .unwrap();
    (text, ended)
}

async fn open(server: &TestServer, query: &str) -> reqwest::Response {
    let response = server
        .request("GET", &format!("/v1/deliveries:tail{query}"))
        .bearer_auth(&server.admin)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response
}

#[tokio::test]
async fn deliveries_are_streamed_as_they_happen_and_filtered() {
    let server = TestServer::start().await;
    for rule in ["one", "two"] {
        server
            .rule(
                rule,
                json!({"type": ["t"]}),
                json!({"type": "log", "settings": {"log": "l"}}),
            )
            .await;
    }
    let stream = open(&server, "?bus=default&rule=two&status=delivered").await;
    let uid = server.post(json!({"source": "/s", "type": "t"})).await;
    let (text, _) = read(stream, |text| {
        text.contains("\n\n") && text.contains("event: delivery")
    })
    .await;
    assert!(!text.contains("\"rule\":\"one\""), "{text}");
    let data = text
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap();
    let notice: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&notice["eventUid"], &notice["status"], &notice["rule"]),
        (&json!(uid), &json!("delivered"), &json!("two"))
    );
    assert!(notice["at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_stream_shows_that_it_is_alive_and_ends_with_the_server() {
    let server = TestServer::with(|_, api| api.heartbeat = Duration::from_millis(20)).await;
    let (text, _) = read(open(&server, "").await, |text| {
        text.matches(": alive").count() > 2
    })
    .await;
    assert!(text.starts_with(": alive"));
    let stream = open(&server, "").await;
    server.shutdown.cancel();
    let (_, ended) = read(stream, |_| false).await;
    assert!(ended);
    let ready = server
        .send(server.request("GET", "/readyz"))
        .await
        .expect(503)
        .json();
    assert_eq!(ready["ready"], false);
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked() {
    let server = TestServer::with(|_, api| api.heartbeat = Duration::from_millis(20)).await;
    let made = server
        .call(
            "POST",
            "/v1/keys",
            json!({"name": "n", "scopes": ["history:read"]}),
        )
        .await
        .expect(201)
        .json();
    let request = server
        .request("GET", "/v1/deliveries:tail")
        .bearer_auth(made["key"].as_str().unwrap());
    let stream = request.send().await.unwrap();
    server
        .call(
            "DELETE",
            &format!("/v1/keys/{}", made["info"]["id"].as_str().unwrap()),
            None,
        )
        .await
        .expect(204);
    assert!(read(stream, |_| false).await.1);
}

#[tokio::test]
async fn streams_are_bounded_and_strict() {
    let server = TestServer::with(|_, api| api.streams_max = 1).await;
    let first = open(&server, "").await;
    let answer = server.call("GET", "/v1/deliveries:tail", None).await;
    answer.problem(429, "TOO_MANY_STREAMS");
    assert!(answer.header("retry-after").is_some());
    drop(first);
    server
        .call("GET", "/v1/deliveries:tail?status=lost", None)
        .await
        .problem(400, "INVALID_REQUEST");
}
