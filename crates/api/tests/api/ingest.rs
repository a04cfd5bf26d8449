//! Posting events.

use serde_json::{Value, json};

use super::server::{Answer, TestServer};

const EVENTS: &str = "/v1/buses/default/events";

async fn post(server: &TestServer, kind: &str, body: &str) -> Answer {
    server
        .raw("POST", EVENTS, body.to_owned(), &[("content-type", kind)])
        .await
}

#[tokio::test]
async fn each_form_of_an_event_is_taken() {
    let server = TestServer::start().await;
    let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"n":1.10}}"#;
    let answer = post(&server, "application/cloudevents+json; charset=utf-8", one)
        .await
        .expect(202);
    let body = answer.json();
    assert_eq!(
        (
            &body["accepted"],
            &body["events"][0]["id"],
            &body["events"][0]["source"],
            &body["events"][0]["duplicate"]
        ),
        (&json!(1), &json!("1"), &json!("/s"), &json!(false))
    );
    let uid = body["events"][0]["eventUid"].as_str().unwrap();
    assert_eq!(
        answer.header("location"),
        Some(format!("/v1/events/{uid}").as_str())
    );
    // Numbers keep their spelling.
    assert!(
        server
            .call("GET", &format!("/v1/events/{uid}"), None)
            .await
            .expect(200)
            .text
            .contains("1.10")
    );

    let batch = r#"[{"specversion":"1.0","id":"2","source":"/s","type":"t"},{"specversion":"1.0","id":"3","source":"/s","type":"t"}]"#;
    let answer = post(&server, "application/cloudevents-batch+json", batch)
        .await
        .expect(202);
    assert_eq!(answer.json()["accepted"], 2);
    assert_eq!(answer.header("location"), None);
    assert_eq!(
        post(&server, "application/cloudevents-batch+json", "[]")
            .await
            .expect(202)
            .json(),
        json!({"accepted": 0, "events": []})
    );

    let lenient = post(&server, "application/json", r#"{"source":"/s","type":"t"}"#)
        .await
        .expect(202)
        .json();
    assert!(!lenient["events"][0]["id"].as_str().unwrap().is_empty());
    assert_eq!(
        post(
            &server,
            "application/json",
            r#"[{"source":"/s","type":"t"},{"source":"/s","type":"u"}]"#
        )
        .await
        .expect(202)
        .json()["accepted"],
        2
    );
}

#[tokio::test]
async fn binary_mode_takes_header_bytes_as_they_are() {
    let server = TestServer::start().await;
    let request = server
        .request("POST", EVENTS)
        .bearer_auth(&server.admin)
        .header("ce-specversion", "1.0")
        .header("ce-id", "b1")
        .header("ce-source", "/s")
        .header("ce-type", "t")
        .header(
            "ce-subject",
            reqwest::header::HeaderValue::from_bytes("磁盘".as_bytes()).unwrap(),
        )
        .header("content-type", "text/plain")
        .body("hello");
    let answer = server.send(request).await.expect(202).json();
    let event = server
        .call("GET", answer["events"][0]["url"].as_str().unwrap(), None)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&event["event"]["subject"], &event["event"]["data"]),
        (&json!("磁盘"), &json!("hello"))
    );
    // A body without a content type is fine as long as there are ce- headers.
    let request = server
        .request("POST", EVENTS)
        .bearer_auth(&server.admin)
        .header("ce-specversion", "1.0")
        .header("ce-id", "b2")
        .header("ce-source", "/s")
        .header("ce-type", "t")
        .body("x");
    server.send(request).await.expect(202);
}

#[tokio::test]
async fn a_repeat_is_accepted_and_not_stored_again() {
    let server = TestServer::start().await;
    let event = json!({"id": "1", "source": "/s", "type": "t"});
    let first = server
        .call("POST", EVENTS, event.clone())
        .await
        .expect(202)
        .json();
    let again = server.call("POST", EVENTS, event).await.expect(202).json();
    assert_eq!(
        (&again["accepted"], &again["duplicates"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(again["events"][0]["duplicate"], true);
    assert_eq!(
        again["events"][0]["eventUid"],
        first["events"][0]["eventUid"]
    );
    assert_eq!(server.stored().await.0, 1);
}

#[tokio::test]
async fn a_batch_is_atomic_unless_partial_is_asked_for() {
    let server = TestServer::start().await;
    let batch = json!([{"source": "/s", "type": "t"}, {"source": "/s"}, {"type": 3}]);
    let problem = server
        .call("POST", EVENTS, batch.clone())
        .await
        .problem(400, "INVALID_CLOUDEVENT");
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        pointers.contains(&"/1/type".to_owned()) && pointers.contains(&"/2/type".to_owned()),
        "{pointers:?}"
    );
    assert_eq!(server.stored().await.0, 0);

    let answer = server
        .call("POST", &format!("{EVENTS}?partial=true"), batch)
        .await
        .expect(202)
        .json();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(1), &json!(2))
    );
    assert!(answer["events"][0]["eventUid"].is_string());
    assert_eq!(answer["events"][1]["index"], 1);
    assert_eq!(answer["events"][1]["errors"][0]["pointer"], "/1/type");
    assert_eq!(server.stored().await.0, 1);
}

#[tokio::test]
async fn what_is_no_event_is_told_what_would_be_one() {
    let server = TestServer::start().await;
    let ce = "application/cloudevents+json";
    for (kind, body, status, code) in [
        (
            ce,
            r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#,
            400,
            "INVALID_CLOUDEVENT",
        ),
        (
            ce,
            r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
            400,
            "INVALID_CLOUDEVENT",
        ),
        (
            ce,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"yesterday"}"#,
            400,
            "INVALID_CLOUDEVENT",
        ),
        (
            ce,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"AA=="}"#,
            400,
            "INVALID_CLOUDEVENT",
        ),
        (
            ce,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"*"}"#,
            400,
            "INVALID_CLOUDEVENT",
        ),
        (ce, "{", 400, "INVALID_JSON"),
        ("application/json", "", 400, "INVALID_JSON"),
        ("application/json", "3", 400, "INVALID_CLOUDEVENT"),
        (
            "application/json",
            r#"{"source":"/s","type":"t","data":{"a":1,"a":2}}"#,
            400,
            "INVALID_JSON",
        ),
        (
            "application/cloudevents-batch+json",
            "{}",
            400,
            "INVALID_CLOUDEVENT",
        ),
        ("text/plain", "hello", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            "application/cloudevents+avro",
            "x",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
    ] {
        let answer = post(&server, kind, body).await;
        let found = answer.json();
        assert_eq!(
            (answer.status.as_u16(), found["code"].as_str()),
            (status, Some(code)),
            "{kind} {body}: {found}"
        );
    }
    let hint = post(&server, "text/plain", "hello")
        .await
        .problem(415, "UNSUPPORTED_MEDIA_TYPE");
    assert!(
        hint["detail"]
            .as_str()
            .unwrap()
            .contains("application/cloudevents+json")
    );
    assert_eq!(server.stored().await.0, 0);
}

#[tokio::test]
async fn too_much_is_refused_before_it_is_read() {
    let server = TestServer::with(|_, api| api.ingest_bytes_max = 300_000).await;
    let event = |bytes: usize| {
        format!(
            r#"{{"source":"/s","type":"t","data":"{}"}}"#,
            "x".repeat(bytes)
        )
    };
    post(&server, "application/json", &event(400_000))
        .await
        .problem(413, "TOO_LARGE");
    // One event may be smaller still than a body.
    post(&server, "application/json", &event(280_000))
        .await
        .problem(413, "TOO_LARGE");
    // Without a content length the stream is cut.
    let chunks = (0..10).map(|_| Ok::<_, std::io::Error>("x".repeat(50_000)));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    server
        .raw("POST", EVENTS, body, &[])
        .await
        .problem(413, "TOO_LARGE");
    let many = format!(
        "[{}]",
        vec![r#"{"source":"/s","type":"t"}"#; 1001].join(",")
    );
    post(&server, "application/json", &many)
        .await
        .problem(413, "TOO_LARGE");
    assert_eq!(server.stored().await.0, 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_request() {
    let server =
        TestServer::with(|_, api| api.body_deadline = std::time::Duration::from_millis(50)).await;
    let body = reqwest::Body::wrap_stream(futures_util::stream::pending::<
        Result<String, std::io::Error>,
    >());
    server
        .raw("POST", EVENTS, body, &[])
        .await
        .problem(408, "BODY_TIMEOUT");
}

#[tokio::test]
async fn unknown_buses_and_methods_are_told() {
    let server = TestServer::start().await;
    server
        .call(
            "POST",
            "/v1/buses/none/events",
            json!({"source": "/s", "type": "t"}),
        )
        .await
        .problem(404, "NOT_FOUND");
    let answer = server.call("GET", EVENTS, None).await;
    answer.problem(405, "METHOD_NOT_ALLOWED");
    let allow = answer.header("allow").unwrap();
    assert!(
        allow.contains("POST") && allow.contains("OPTIONS"),
        "{allow}"
    );
}

#[tokio::test]
async fn the_handshake_is_agreed_to_for_listed_origins_only() {
    let server =
        TestServer::with(|app, _| app.webhook_origins = vec!["events.example.com".to_owned()])
            .await;
    let ask = async |origin: &str| {
        server
            .send(
                server
                    .request("OPTIONS", EVENTS)
                    .header("webhook-request-origin", origin),
            )
            .await
    };
    let yes = ask("events.example.com").await.expect(204);
    assert_eq!(yes.header("allow"), Some("POST, OPTIONS"));
    assert_eq!(
        yes.header("webhook-allowed-origin"),
        Some("events.example.com")
    );
    assert_eq!(yes.header("webhook-allowed-rate"), Some("*"));
    let no = ask("evil.example.com").await.expect(204);
    assert_eq!(
        (
            no.header("webhook-allowed-origin"),
            no.header("webhook-allowed-rate")
        ),
        (None, None)
    );
}

#[tokio::test]
async fn an_idempotency_key_does_a_post_once() {
    let server = TestServer::start().await;
    let send = async |key: &'static str, body: &'static str| {
        server
            .raw("POST", EVENTS, body, &[("idempotency-key", key)])
            .await
    };
    let first = send("k1", r#"{"source":"/s","type":"t"}"#)
        .await
        .expect(202);
    // Quoted, as the draft has it, it is the same key.
    let again = send("\"k1\"", r#"{"source":"/s","type":"t"}"#)
        .await
        .expect(202);
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let (first, again) = (first.json(), again.json());
    assert_eq!(
        again["events"][0]["eventUid"],
        first["events"][0]["eventUid"]
    );
    assert_eq!(again["events"][0]["id"], first["events"][0]["id"]);
    send("k1", r#"{"source":"/s","type":"other"}"#)
        .await
        .problem(422, "IDEMPOTENCY_MISMATCH");
    send("", r#"{"source":"/s","type":"t"}"#)
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(server.stored().await.0, 1);
}

#[tokio::test]
async fn requests_carry_ids_and_traces() {
    let server = TestServer::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let headers = [
        ("x-request-id", "my-request"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ];
    let answer = server
        .raw("POST", EVENTS, r#"{"source":"/s","type":"t"}"#, &headers)
        .await
        .expect(202);
    assert_eq!(answer.header("x-request-id"), Some("my-request"));
    let read = server
        .call("GET", answer.header("location").unwrap(), None)
        .await
        .expect(200)
        .json();
    assert_eq!(read["traceId"], trace);
    // An invalid one counts as absent.
    let answer = server
        .raw(
            "POST",
            EVENTS,
            r#"{"source":"/s","type":"t"}"#,
            &[("traceparent", "00-xyz")],
        )
        .await
        .expect(202);
    let read = server
        .call("GET", answer.header("location").unwrap(), None)
        .await
        .json();
    assert_eq!(read["traceId"].as_str().unwrap().len(), 32);
    let plain: Value = server
        .send(server.request("GET", "/v1/nothing"))
        .await
        .problem(404, "NOT_FOUND");
    assert_eq!(plain["requestId"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn a_limited_key_is_told_what_is_left() {
    let server = TestServer::start().await;
    let body = json!({"name": "slow", "scopes": ["events:write"], "requestsPerSecond": 2});
    let key = server
        .call("POST", "/v1/keys", body)
        .await
        .expect(201)
        .json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let event = json!({"source": "/s", "type": "t"});
    let first = server
        .call_as(&key, "POST", EVENTS, event.clone())
        .await
        .expect(202);
    assert_eq!(first.header("ratelimit-policy"), Some("\"key\";q=2;w=1"));
    assert!(
        first
            .header("ratelimit")
            .unwrap()
            .starts_with("\"key\";r=1;t=")
    );
    let mut refused = None;
    for _ in 0..20 {
        let answer = server.call_as(&key, "POST", EVENTS, event.clone()).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    refused.problem(429, "RATE_LIMITED");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"key\";q=2;w=1"));
}

#[tokio::test]
async fn requests_are_counted_by_bus_mode_and_outcome() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    // The test's runtime has one thread, so that the handlers see it.
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = TestServer::start().await;
    let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let posts = [
        (EVENTS, "application/json", one, 202),
        (EVENTS, "application/cloudevents+json", "{}", 400),
        (EVENTS, "application/cloudevents-batch+json", "[]", 202),
        (EVENTS, "text/plain", "x", 415),
        ("/v1/buses/nobody/events", "application/json", one, 404),
    ];
    for (path, kind, body, status) in posts {
        server
            .raw("POST", path, body, &[("content-type", kind)])
            .await
            .expect(status);
    }
    let text = recorder.handle().render();
    for (mode, outcome) in [
        ("lenient", "accepted"),
        ("structured", "rejected"),
        ("batch", "accepted"),
        ("none", "rejected"),
    ] {
        let line = format!(
            "belfry_ingest_requests_total{{bus=\"default\",mode=\"{mode}\",outcome=\"{outcome}\"}} 1"
        );
        assert!(text.contains(&line), "{line} in {text}");
    }
    assert!(
        text.contains("belfry_ingest_duration_seconds_count 5"),
        "{text}"
    );
    assert!(!text.contains("nobody"));
}
