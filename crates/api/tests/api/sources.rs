//! What alarm senders post to sources, and what becomes of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Answer, TestServer};

const AT: &str = "/v1/buses/default/sources/monitor";

async fn with_source(spec: Value) -> (TestServer, Value) {
    let server = TestServer::start().await;
    let made = server.call("PUT", AT, spec).await.expect(201).json();
    (server, made)
}

/// What Alertmanager sends.
fn alerts(count: usize) -> Value {
    let alert = |n: usize| {
        json!({
            "status": "firing", "labels": { "alertname": "DiskFull", "instance": format!("host-{n}"), "severity": "critical" },
            "annotations": { "summary": "The disk is full" }, "startsAt": "2026-11-26T08:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus/graph", "fingerprint": format!("{n:016x}"),
        })
    };
    json!({
        "version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "belfry", "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://alertmanager", "truncatedAlerts": 0,
        "alerts": (0..count).map(alert).collect::<Vec<_>>(),
    })
}

/// Posts without a key.
async fn post(server: &TestServer, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = server.request("POST", path).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request).await
}

async fn unparsed(server: &TestServer) -> Vec<Value> {
    let page = server
        .call("GET", &format!("{AT}/unparsed"), None)
        .await
        .expect(200)
        .json();
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_batch_becomes_as_many_events_and_a_repeat_none() {
    let (server, _) = with_source(json!({})).await;
    let body = alerts(150);
    let taken = server
        .call("POST", AT, body.clone())
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&taken["accepted"], taken["ids"].as_array().unwrap().len()),
        (&json!(150), 150)
    );
    let again = server.call("POST", AT, body).await.expect(200).json();
    assert_eq!(
        (&again["duplicates"], &again["ids"]),
        (&json!(150), &taken["ids"])
    );
    let event = format!("/v1/events/{}", taken["ids"][7].as_str().unwrap());
    let event = server.call("GET", &event, None).await.expect(200).json();
    let event = &event["event"];
    assert_eq!(
        (&event["status"], &event["severity"]),
        (&json!("1"), &json!("critical"))
    );
    assert_eq!(event["data"]["alarm"]["labels"]["instance"], "host-7");
    assert_eq!(unparsed(&server).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_and_kept_for_the_operator() {
    let (server, _) = with_source(json!({ "format": "alertmanager" })).await;
    for body in ["{", "[]", r#"{"alerts": 7}"#, ""] {
        let answer = server.raw("POST", AT, body, &[]).await;
        answer.problem(400, "UNREADABLE_BODY");
    }
    let long = format!("{{\"alerts\": \"{}\"}}", "中".repeat(40_000));
    server
        .raw("POST", AT, long.clone(), &[])
        .await
        .problem(400, "UNREADABLE_BODY");
    let noise = [0xff_u8, 0xfe, 0x00];
    server
        .raw(
            "POST",
            AT,
            noise.to_vec(),
            &[("content-type", "application/octet-stream")],
        )
        .await
        .problem(400, "UNREADABLE_BODY");

    let kept = unparsed(&server).await;
    assert_eq!(kept.len(), 6);
    assert_eq!(
        (&kept[0]["bodyBase64"], &kept[0]["contentType"]),
        (&json!("//4A"), &json!("application/octet-stream"))
    );
    assert_eq!(
        (&kept[1]["truncated"], &kept[1]["bytes"]),
        (&json!(true), &json!(long.len()))
    );
    assert!(long.starts_with(kept[1]["body"].as_str().unwrap()));
    assert_eq!(
        (&kept[5]["body"], &kept[5]["format"]),
        (&json!("{"), &json!("alertmanager"))
    );
    assert!(!kept[5]["reason"].as_str().unwrap().is_empty());
    let page = server
        .call("GET", &format!("{AT}/unparsed?limit=4"), None)
        .await
        .json();
    let next = page["next"].as_str().unwrap();
    let rest = server
        .call("GET", &format!("{AT}/unparsed?limit=4&cursor={next}"), None)
        .await
        .json();
    assert_eq!(rest["items"], json!(kept[4..]));
    assert_eq!(server.stored().await.0, 0);
}

#[tokio::test]
async fn a_secret_url_is_shown_once_and_works_without_a_key_until_it_is_rotated() {
    let spec = json!({ "auth": { "type": "secretUrl" } });
    let (server, made) = with_source(spec.clone()).await;
    let url = made["generatedSecrets"][0]["value"].as_str().unwrap();
    assert_eq!(made["generatedSecrets"][0]["pointer"], "/auth/url");
    let read = server.call("GET", AT, None).await.expect(200);
    assert!(
        !read.text.contains("oken") && !read.text.contains("generated"),
        "{}",
        read.text
    );
    let same = server.call("PUT", AT, read.json()).await.expect(200).json();
    assert_eq!(same["revision"], 1);
    // Something else about the source may change; its URL does not.
    let changed = server
        .call("PATCH", AT, json!({ "description": "x" }))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&changed["revision"], &changed["generatedSecrets"]),
        (&json!(2), &Value::Null)
    );

    let body = alerts(1).to_string();
    let json = [("content-type", "application/json")];
    post(&server, url, &body, &json).await.expect(200);
    post(
        &server,
        &format!("{url}?format=alertmanager&sign=abc"),
        &body,
        &json,
    )
    .await
    .expect(200);
    post(&server, &format!("{url}0"), &body, &json)
        .await
        .problem(404, "NOT_FOUND");
    post(&server, AT, &body, &json)
        .await
        .problem(401, "UNAUTHENTICATED");
    server.send(server.request("GET", url)).await.expect(200);
    server.send(server.request("HEAD", url)).await.expect(200);
    let options = server
        .request("OPTIONS", url)
        .header("webhook-request-origin", "events.example.com");
    let options = server.send(options).await.expect(204);
    assert_eq!(
        options.header("webhook-allowed-origin"),
        Some("events.example.com")
    );
    assert!(options.header("allow").unwrap().contains("POST"));

    let rotated = server
        .call(
            "POST",
            &format!("{AT}/rotate"),
            json!({ "overlapSeconds": 60 }),
        )
        .await
        .expect(201)
        .json();
    let new = rotated["url"].as_str().unwrap();
    post(&server, new, &body, &json).await.expect(200);
    post(&server, url, &body, &json).await.expect(200);
    server.clock.advance(Duration::from_secs(61));
    post(&server, url, &body, &json)
        .await
        .problem(404, "NOT_FOUND");
    post(&server, new, &body, &json).await.expect(200);

    // Neither the token nor its hash is in what is told of changes.
    let audit = server.call("GET", "/v1/audit", None).await.expect(200).text;
    for url in [url, new] {
        assert!(!audit.contains(url.trim_start_matches("/in/")));
    }
    assert!(!audit.contains("hash"));
    let other = json!({ "auth": { "type": "key" } });
    server.call("PUT", AT, other).await.expect(200);
    post(&server, new, &body, &json)
        .await
        .problem(404, "NOT_FOUND");
    server
        .call("POST", &format!("{AT}/rotate"), None)
        .await
        .problem(409, "WRONG_STATE");
}

#[tokio::test]
async fn a_source_may_ask_for_a_password_or_a_header_which_nobody_reads_back() {
    let spec = json!({ "auth": { "type": "basic", "username": "am", "password": "hunter2" } });
    let (server, made) = with_source(spec.clone()).await;
    assert_eq!(made["auth"]["password"], "********");
    let body = alerts(1).to_string();
    let refused = post(
        &server,
        AT,
        &body,
        &[("authorization", "Basic YW06d3Jvbmc=")],
    )
    .await;
    refused.problem(401, "UNAUTHENTICATED");
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Basic realm=\"belfry\"")
    );
    post(
        &server,
        AT,
        &body,
        &[("authorization", "Basic YW06aHVudGVyMg==")],
    )
    .await
    .expect(200);
    // The mask keeps the password; it is stored sealed.
    let kept = server.call("PUT", AT, made).await.expect(200).json();
    assert_eq!(kept["revision"], 1);
    let stored = server.store.load_config().await.unwrap().documents;
    assert!(!stored[0].spec.to_string().contains("hunter2"));
    post(
        &server,
        AT,
        &body,
        &[("authorization", "Basic YW06aHVudGVyMg==")],
    )
    .await
    .expect(200);

    let spec = json!({ "auth": { "type": "header", "name": "X-Token", "value": "********" } });
    let problem = server
        .call("PUT", AT, spec)
        .await
        .problem(400, "INVALID_REQUEST");
    assert!(problem.to_string().contains("/auth/value"), "{problem}");
    let spec = json!({ "auth": { "type": "header", "name": "X-Token", "value": "abc" } });
    server.call("PUT", AT, spec).await.expect(200);
    post(&server, AT, &body, &[("x-token", "abd")])
        .await
        .problem(401, "UNAUTHENTICATED");
    post(&server, AT, &body, &[("x-token", "abc")])
        .await
        .expect(200);
    let spec = json!({ "auth": { "type": "basic", "username": "am", "password": 7 } });
    let problem = server
        .call("PUT", AT, spec)
        .await
        .problem(400, "INVALID_REQUEST");
    assert!(problem.to_string().contains("/auth"), "{problem}");
}

#[tokio::test]
async fn a_wrong_signature_is_refused_and_not_kept() {
    let spec = json!({
        "format": "github", "auth": { "type": "signature" },
        "signing": { "secrets": ["It's a Secret to Everybody"] },
    });
    let (server, _) = with_source(spec).await;
    let headers = |signature| {
        [
            ("content-type", "application/json"),
            ("x-github-event", "ping"),
            ("x-github-delivery", "1"),
            ("x-hub-signature-256", signature),
        ]
    };
    post(&server, AT, "{}", &headers("sha256=00"))
        .await
        .problem(401, "BAD_SIGNATURE");
    post(&server, AT, "{}", &headers(""))
        .await
        .problem(401, "BAD_SIGNATURE");
    post(&server, AT, "{}", &[("content-type", "application/json")])
        .await
        .problem(401, "BAD_SIGNATURE");
    assert_eq!(unparsed(&server).await, Vec::<Value>::new());
}

/// A certificate of somebody's own proves nothing, so nobody's server is asked for it.
#[tokio::test]
async fn no_address_of_a_senders_choice_is_fetched() {
    let (server, _) = with_source(json!({})).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let own = format!("http://{}/cert.pem", listener.local_addr().unwrap());
    let body = json!({
        "Type": "SubscriptionConfirmation", "MessageId": "1", "Token": "t", "TopicArn": "arn:aws:sns:us-east-1:1:t",
        "Message": "confirm", "SubscribeURL": own, "Timestamp": "2026-11-26T08:00:00.000Z", "SignatureVersion": "1",
        "Signature": "AAAA", "SigningCertURL": own,
    });
    let headers = [
        ("content-type", "text/plain"),
        ("x-amz-sns-message-type", "SubscriptionConfirmation"),
    ];
    server
        .raw("POST", AT, body.to_string(), &headers)
        .await
        .problem(401, "BAD_SIGNATURE");
    // Whoever had come before the answer would be waiting now.
    assert!(listener.accept().is_err(), "somebody came");
}

#[tokio::test]
async fn whether_a_source_exists_is_told_only_to_those_who_may_post() {
    let (server, _) = with_source(json!({})).await;
    let none = "/v1/buses/default/sources/none";
    post(&server, none, "{}", &[])
        .await
        .problem(401, "UNAUTHENTICATED");
    let reader = server.key(&["config:read"]).await;
    server
        .call_as(&reader, "POST", none, json!({}))
        .await
        .problem(403, "FORBIDDEN");
    server
        .call_as(&reader, "POST", AT, json!({}))
        .await
        .problem(403, "FORBIDDEN");
    let writer = server.key(&["events:write:default"]).await;
    server
        .call_as(&writer, "POST", none, json!({}))
        .await
        .problem(404, "NOT_FOUND");
    server
        .call_as(&writer, "POST", AT, alerts(1))
        .await
        .expect(200);
}
