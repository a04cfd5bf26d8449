//! Events, deliveries, attempts, logs, redrive.

use belfry_testkit::sink::{Reply, Sink};
use serde_json::{Value, json};

use super::server::TestServer;

fn webhook(sink: &Sink, path: &str) -> Value {
    json!({"type": "webhook", "settings": {"url": sink.url(path)}, "retry": {"schedule": "none"}})
}

#[tokio::test]
async fn an_event_s_way_can_be_followed_to_the_request_on_the_wire() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    server
        .rule("r", json!({"type": ["t"]}), webhook(&sink, "/hook"))
        .await;
    let uid = server
        .post(json!({"source": "/s", "type": "t", "data": {"n": 1.10}}))
        .await;
    let event = server
        .until(&format!("/v1/events/{uid}"), |event| {
            event["deliveries"][0]["status"] == "delivered"
        })
        .await;
    assert_eq!(
        (
            &event["bus"],
            &event["deliveries"][0]["rule"],
            &event["deliveries"][0]["target"]
        ),
        (&json!("default"), &json!("r"), &json!("t"))
    );
    let id = event["deliveries"][0]["id"].as_str().unwrap();
    let detail = server
        .call("GET", &format!("/v1/deliveries/{id}"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(detail["attempts"].as_array().unwrap().len(), 1);
    let attempt = &detail["attempts"][0];
    assert_eq!(
        (
            &attempt["number"],
            &attempt["trigger"],
            &attempt["statusCode"]
        ),
        (&json!(1), &json!("initial"), &json!(204))
    );
    assert!(attempt["record"]["request"].is_object(), "{attempt}");
    assert_eq!(detail["delivery"]["id"], id);
    let listed = server
        .call("GET", "/v1/events", None)
        .await
        .expect(200)
        .json();
    assert_eq!(listed["items"][0]["matches"][0]["delivery"], id);
    // Its names outlive the rule.
    server
        .call("DELETE", "/v1/buses/default/rules/r", None)
        .await
        .expect(204);
    let detail = server
        .call("GET", &format!("/v1/deliveries/{id}"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&detail["delivery"]["rule"], &detail["delivery"]["deleted"]),
        (&json!("r"), &json!(true))
    );
}

#[tokio::test]
async fn deliveries_are_filtered() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    sink.script("/bad", [Reply::status(500)]);
    server
        .rule("good", json!({"type": ["t"]}), webhook(&sink, "/good"))
        .await;
    server
        .rule("bad", json!({"type": ["t"]}), webhook(&sink, "/bad"))
        .await;
    let uid = server
        .post(json!({"source": "/s", "type": "t", "subject": "x"}))
        .await;
    server
        .until(&format!("/v1/events/{uid}"), |event| {
            event["deliveries"]
                .as_array()
                .unwrap()
                .iter()
                .all(|one| one["status"] == "delivered" || one["status"] == "dead")
        })
        .await;
    for (query, count) in [
        ("", 2),
        ("status=dead", 1),
        ("status=dead,delivered", 2),
        ("status=expired", 0),
        ("rule=good", 1),
        ("bus=default&target=t", 2),
        ("bus=system", 0),
        ("rule=none", 0),
        ("reason=http_5xx", 1),
        ("type=t&source=/s&subject=x", 2),
        ("type=u", 0),
        ("since=-1h", 2),
        ("until=-1h", 0),
        ("q=%22subject%22", 2),
        ("q=nowhere", 0),
    ] {
        let found = server
            .call("GET", &format!("/v1/deliveries?{query}"), None)
            .await
            .expect(200)
            .json();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
    for (query, pointer) in [
        ("status=lost", "query:status"),
        ("reason=bad", "query:reason"),
        ("since=yesterday", "query:since"),
        ("bus=a/b", "query:bus"),
        ("q=", "query:q"),
        ("limit=201", "query:limit"),
        ("statuss=dead", "query:statuss"),
    ] {
        let problem = server
            .call("GET", &format!("/v1/deliveries?{query}"), None)
            .await
            .problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{query}");
    }
}

#[tokio::test]
async fn events_are_filtered_and_paged() {
    let server = TestServer::start().await;
    for n in 0..5 {
        server.post(json!({"source": "/s", "type": if n == 0 { "odd" } else { "t" }, "id": n.to_string()})).await;
    }
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server
            .call("GET", &format!("/v1/events?limit=2{cursor}"), None)
            .await
            .expect(200)
            .json();
        ids.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event["event"]["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(ids, ["4", "3", "2", "1", "0"]);
    for (query, count) in [
        ("type=odd", 1),
        ("id=3", 1),
        ("bus=default", 5),
        ("matched=true", 0),
        ("matched=false", 5),
        ("until=-1m", 0),
    ] {
        let found = server
            .call("GET", &format!("/v1/events?{query}"), None)
            .await
            .expect(200)
            .json();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
    server
        .call("GET", "/v1/events?bus=none", None)
        .await
        .problem(404, "NOT_FOUND");
    server
        .call("GET", "/v1/events/evt_0000000000000", None)
        .await
        .problem(404, "NOT_FOUND");
    server
        .call("GET", "/v1/events/nonsense", None)
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("GET", "/v1/deliveries/dlv_00000000000000000001", None)
        .await
        .problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_search_that_stops_early_says_so() {
    let server = TestServer::with(|app, _| app.scan_max = 2).await;
    for n in 0..5 {
        server
            .post(json!({"source": "/s", "type": "t", "id": n.to_string(), "data": n}))
            .await;
    }
    let page = server
        .call("GET", "/v1/events?q=nowhere", None)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (page["items"].as_array().unwrap().len(), &page["partial"]),
        (0, &json!(true))
    );
    assert!(page["next"].is_string());
}

#[tokio::test]
async fn what_has_failed_can_be_made_again() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    sink.script(
        "/hook",
        [Reply::status(500), Reply::status(500), Reply::status(204)],
    );
    server
        .rule("r", json!({"type": ["t"]}), webhook(&sink, "/hook"))
        .await;
    let uid = server.post(json!({"source": "/s", "type": "t"})).await;
    let path = format!("/v1/events/{uid}");
    let dead = server
        .until(&path, |event| event["deliveries"][0]["status"] == "dead")
        .await;
    let id = dead["deliveries"][0]["id"].as_str().unwrap().to_owned();

    let would = server
        .call(
            "POST",
            "/v1/deliveries:retry?dryRun=true",
            json!({"filter": {"rule": "r"}}),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&would["count"], &would["deliveries"][0], &would["dryRun"]),
        (&json!(1), &json!(id), &json!(true))
    );
    let none = server
        .call(
            "POST",
            "/v1/deliveries:retry",
            json!({"filter": {"status": "expired"}}),
        )
        .await
        .expect(202)
        .json();
    assert_eq!(none["count"], 0);

    let retry = format!("/v1/deliveries/{id}/retry");
    let first = server
        .raw("POST", &retry, "", &[("idempotency-key", "once")])
        .await
        .expect(202);
    assert_eq!(first.header("idempotency-replayed"), None);
    server
        .until(&path, |event| {
            event["deliveries"][0]["status"] == "dead" && event["deliveries"][0]["attempts"] == 2
        })
        .await;
    server
        .raw("POST", &retry, r#"{"after": 5}"#, &[])
        .await
        .problem(400, "INVALID_REQUEST");
    // The same request again is answered, not done.
    let again = server
        .raw("POST", &retry, "", &[("idempotency-key", "once")])
        .await
        .expect(202);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.json()["attempts"], 2);

    let all = server
        .call("POST", "/v1/deliveries:retry", json!({"filter": {}}))
        .await
        .expect(202)
        .json();
    assert_eq!(all["count"], 1);
    server
        .until(&path, |event| {
            event["deliveries"][0]["status"] == "delivered"
        })
        .await;
    let detail = server
        .call("GET", &format!("/v1/deliveries/{id}"), None)
        .await
        .json();
    let triggers: Vec<_> = detail["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["trigger"].clone())
        .collect();
    assert_eq!(triggers, ["initial", "redrive", "redrive"]);
    let audit = server
        .call("GET", "/v1/audit?resource=deliveries", None)
        .await
        .json();
    // One that found nothing to do changed nothing.
    assert_eq!(audit["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_retry_of_many_is_answered_once_more_from_its_record() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    server
        .rule("r", json!({"type": ["t"]}), webhook(&sink, "/hook"))
        .await;
    let uid = server.post(json!({"source": "/s", "type": "t"})).await;
    let path = format!("/v1/events/{uid}");
    let delivered = async |attempts: u32| {
        server
            .until(&path, |event| {
                let one = &event["deliveries"][0];
                one["status"] == "delivered" && one["attempts"] == attempts
            })
            .await
    };
    let id = delivered(1).await["deliveries"][0]["id"].clone();
    let body = json!({"ids": [id, "dlv_00000000000000000001"]}).to_string();
    let retry = async || {
        let headers = [
            ("idempotency-key", "once"),
            ("content-type", "application/json"),
        ];
        server
            .raw("POST", "/v1/deliveries:retry", body.clone(), &headers)
            .await
            .expect(202)
    };
    let first = retry().await;
    assert_eq!(
        (
            first.json()["count"].clone(),
            first.json()["deliveries"].clone()
        ),
        (json!(1), json!([id]))
    );
    delivered(2).await;
    let again = retry().await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.text, first.text);
    let nothing = json!({"filter": {"status": "skipped"}});
    server
        .call("POST", "/v1/deliveries:retry", nothing)
        .await
        .expect(202);
    delivered(2).await;
    let audit = server
        .call("GET", "/v1/audit?resource=deliveries", None)
        .await
        .json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    assert_eq!(audit["items"][0]["after"]["deliveries"], json!([id]));
}

#[tokio::test]
async fn a_retry_must_say_which() {
    let server = TestServer::start().await;
    for (body, pointer) in [
        (json!({}), ""),
        (
            json!({"ids": ["dlv_00000000000000000001"], "filter": {}}),
            "",
        ),
        (json!({"ids": []}), "/ids"),
        (json!({"ids": ["x", "dlv_00000000000000000001"]}), "/ids/0"),
        (json!({"filter": {"status": "queued"}}), "/filter/status"),
        (json!({"filter": {"stat": "dead"}}), "/filter/stat"),
        (json!({"filter": {"reason": "x"}}), "/filter/reason"),
        (json!({"filter": {}, "limit": 10_001}), "/limit"),
    ] {
        let problem = server
            .call("POST", "/v1/deliveries:retry", body.clone())
            .await
            .problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    server
        .call(
            "POST",
            "/v1/deliveries:retry",
            json!({"filter": {}, "cursor": "x"}),
        )
        .await
        .problem(400, "INVALID_CURSOR");
    server
        .call(
            "POST",
            "/v1/deliveries/dlv_00000000000000000001/retry",
            None,
        )
        .await
        .problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn logs_are_written_kept_and_searched() {
    let server = TestServer::start().await;
    server
        .rule(
            "r",
            json!({"type": ["t"]}),
            json!({"type": "log", "settings": {"log": "l"}}),
        )
        .await;
    let uid = server
        .post(json!({"source": "/s", "type": "t", "data": "needle"}))
        .await;
    server
        .until(&format!("/v1/events/{uid}"), |event| {
            event["deliveries"][0]["status"] == "delivered"
        })
        .await;
    let entries = server
        .call("GET", "/v1/logs/l/entries?q=needle", None)
        .await
        .expect(200)
        .json();
    assert_eq!(entries["items"][0]["eventUid"], uid);
    assert!(
        entries["items"][0]["text"]
            .as_str()
            .unwrap()
            .contains("needle")
    );
    let none = server
        .call("GET", "/v1/logs/l/entries?q=haystack", None)
        .await
        .expect(200)
        .json();
    assert!(none["items"].as_array().unwrap().is_empty());
    server
        .call("GET", "/v1/logs/none/entries", None)
        .await
        .problem(404, "NOT_FOUND");

    server
        .call("PUT", "/v1/logs/l", json!({"retentionDays": 3}))
        .await
        .expect(200);
    server
        .call("PUT", "/v1/logs/m", json!({"retentionDays": 3}))
        .await
        .expect(201);
    server
        .call("PUT", "/v1/logs/n?dryRun=true", json!({"retentionDays": 3}))
        .await
        .expect(200);
    server
        .call("PUT", "/v1/logs/m", json!({"retentionDays": 0}))
        .await
        .problem(400, "INVALID_REQUEST");
    let logs = server
        .call("GET", "/v1/logs", None)
        .await
        .expect(200)
        .json();
    let found: Vec<_> = logs["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| {
            (
                log["name"].as_str().unwrap(),
                log["retentionDays"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, [("l", 3), ("m", 3)]);
}

#[tokio::test]
async fn a_target_says_how_it_is_doing() {
    let server = TestServer::start().await;
    server
        .rule(
            "r",
            json!({"type": ["t"]}),
            json!({"type": "log", "settings": {"log": "l"}}),
        )
        .await;
    let path = "/v1/buses/default/rules/r/targets/t";
    let status = server
        .call("GET", &format!("{path}/status"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&status["active"], &status["circuit"]),
        (&json!(true), &json!("closed"))
    );
    server
        .call("PATCH", path, json!({"enabled": false}))
        .await
        .expect(200);
    let status = server
        .call("GET", &format!("{path}/status"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(status["active"], false);
    assert!(status["problem"].is_string());
    let server_status = server
        .call("GET", "/v1/status", None)
        .await
        .expect(200)
        .json();
    assert_eq!(server_status["accepting"], true);
    let nodes = server
        .call("GET", "/v1/nodes", None)
        .await
        .expect(200)
        .json();
    let nodes = nodes["items"].as_array().unwrap();
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    assert_eq!(
        (&nodes[0]["state"], &nodes[0]["this"]),
        (&json!("live"), &json!(true))
    );
    assert!(nodes[0]["leaseLeftMs"].as_i64().unwrap() > 0);
}

#[tokio::test]
async fn a_span_of_time_that_holds_nothing_is_a_mistake() {
    let server = TestServer::start().await;
    for path in ["/v1/events", "/v1/deliveries"] {
        let problem = server
            .call("GET", &format!("{path}?since=-1d&until=-7d"), None)
            .await
            .problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["pointer"], "query:until");
    }
    // Written as it is, the + of an offset arrives as a space.
    let problem = server
        .call("GET", "/v1/events?since=2024-01-01T00:00:00+08:00", None)
        .await
        .problem(400, "INVALID_REQUEST");
    assert!(problem["detail"].as_str().unwrap().contains("%2B"));
}
