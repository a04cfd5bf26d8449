//! Replays as their users see them.

use belfry_testkit::sink::Sink;
use serde_json::{Value, json};

use super::server::TestServer;

async fn two_events(server: &TestServer, sink: &Sink) -> [String; 2] {
    let hook = json!({"type": "webhook", "settings": {"url": sink.url("/hook")}});
    server.rule("r", json!({"source": ["/s"]}), hook).await;
    let mut uids = [String::new(), String::new()];
    for (uid, kind) in uids.iter_mut().zip(["a", "b"]) {
        *uid = server.post(json!({"source": "/s", "type": kind})).await;
    }
    uids
}

async fn start(server: &TestServer, body: Value) -> Value {
    let answer = server.call("POST", "/v1/replays", body).await;
    answer.expect(202).json()
}

async fn ended(server: &TestServer, replay: &Value) -> Value {
    let path = format!("/v1/replays/{}", replay["id"].as_str().unwrap());
    server.until(&path, |one| one["state"] != "running").await
}

#[tokio::test]
async fn a_replay_is_counted_started_and_marked_on_what_comes_of_it() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    let uids = two_events(&server, &sink).await;
    let only_a = json!({"from": {"bus": "default"}, "pattern": {"type": ["a"]}, "to": {"rule": "r", "target": "t"}});
    let counted = server
        .call("POST", "/v1/replays?dryRun=true", only_a.clone())
        .await
        .expect(200)
        .json();
    assert_eq!(
        counted,
        json!({"count": 1, "exact": true, "lookedAt": 2, "dryRun": true})
    );
    let listed = server.call("GET", "/v1/replays", None).await.expect(200);
    assert_eq!(listed.json()["items"], json!([]));

    let started = start(&server, only_a).await;
    let replay = ended(&server, &started).await;
    assert_eq!(
        (&replay["state"], &replay["replayed"], &replay["percent"]),
        (&json!("completed"), &json!(1), &json!(100))
    );
    assert_eq!(replay["pattern"], json!({"type": ["a"]}));
    let events = server
        .call("GET", "/v1/events?type=a", None)
        .await
        .expect(200)
        .json();
    let repeat = &events["items"][0];
    assert_eq!(
        (&repeat["replay"], &repeat["replayOf"]),
        (&started["id"], &json!(uids[0]))
    );
    assert_eq!(events["items"][1].get("replay"), None);
    assert_eq!(repeat["event"]["id"], events["items"][1]["event"]["id"]);
    let uid = repeat["eventUid"].as_str().unwrap();
    let detail = server
        .until(&format!("/v1/events/{uid}"), |event| {
            event["deliveries"][0]["status"] == "delivered"
        })
        .await;
    assert_eq!(detail["replay"], started["id"]);
    assert_eq!(detail["deliveries"][0]["replay"], started["id"]);
    assert_eq!(detail["deliveries"][0]["replayOf"], json!(uids[0]));
    let received = sink.received_at("/hook");
    let marked = received
        .iter()
        .filter_map(|one| one.header("belfry-replay"))
        .collect::<Vec<_>>();
    assert_eq!(marked, [started["id"].as_str().unwrap()]);

    let listed = server.call("GET", "/v1/replays", None).await.expect(200);
    assert_eq!(listed.json()["items"][0]["id"], started["id"]);
    let audit = server
        .call("GET", "/v1/audit?resource=replays", None)
        .await
        .expect(200)
        .json();
    assert_eq!(audit["items"][0]["action"], "replay.start");
}

#[tokio::test]
async fn a_replay_waits_goes_on_and_ends_when_it_is_told_to() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    two_events(&server, &sink).await;
    let slow = json!({"from": {"bus": "default"}, "ratePerSecond": 1});
    let replay = start(&server, slow.clone()).await;
    let of = |action: &str| format!("/v1/replays/{}{action}", replay["id"].as_str().unwrap());
    let turn = async |action: &str| server.call("POST", &of(action), None).await;
    assert_eq!(turn("/pause").await.expect(200).json()["state"], "paused");
    assert_eq!(turn("/pause").await.expect(200).json()["state"], "paused");
    assert_eq!(turn("/resume").await.expect(200).json()["state"], "running");
    let cancelled = turn("/cancel").await.expect(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    assert!(cancelled["endedAt"].is_string() && cancelled["percent"].as_u64() < Some(100));
    turn("/resume").await.problem(409, "WRONG_STATE");
    server
        .call("POST", "/v1/replays/rpl_zzzzz00/pause", None)
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("POST", "/v1/replays/rpl_0000099/pause", None)
        .await
        .problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn no_more_replays_run_than_the_server_allows() {
    let server = TestServer::with(|app, _| app.replays_max = 1).await;
    let sink = Sink::start().await.unwrap();
    two_events(&server, &sink).await;
    let slow = json!({"from": {"bus": "default"}, "ratePerSecond": 1});
    let first = start(&server, slow.clone()).await;
    server
        .call("POST", "/v1/replays", slow.clone())
        .await
        .problem(409, "LIMIT_REACHED");
    let cancel = format!("/v1/replays/{}/cancel", first["id"].as_str().unwrap());
    server.call("POST", &cancel, None).await.expect(200);
    start(&server, slow).await;
}

#[tokio::test]
async fn a_request_that_means_nothing_is_refused_with_its_places() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    two_events(&server, &sink).await;
    let bad = json!({
        "from": {"bus": "default"}, "ratePerSecond": 0, "rules": [], "to": {"rule": "r", "target": "t"},
        "eventUids": ["evt_1"],
    });
    let problem = server
        .call("POST", "/v1/replays", bad)
        .await
        .problem(400, "INVALID_REQUEST");
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        pointers,
        ["/ratePerSecond", "/rules", "/rules", "/eventUids/0"]
    );
    for (member, value, code, status) in [
        (
            "pattern",
            json!({"type": [{"prefx": "a"}]}),
            "INVALID_PATTERN",
            400,
        ),
        ("since", json!("tomorrow"), "INVALID_REQUEST", 400),
        ("rules", json!(["none"]), "NOT_FOUND", 404),
        ("to", json!({"rule": "r", "target": "x"}), "NOT_FOUND", 404),
        ("from", json!({"bus": "none"}), "NOT_FOUND", 404),
    ] {
        let mut body = json!({"from": {"bus": "default"}});
        body[member] = value;
        server
            .call("POST", "/v1/replays", body)
            .await
            .problem(status, code);
    }
    let listed = server.call("GET", "/v1/replays", None).await.expect(200);
    assert_eq!(listed.json()["items"], json!([]));
}

#[tokio::test]
async fn an_idempotency_key_starts_one_replay() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    two_events(&server, &sink).await;
    let body = json!({"from": {"bus": "default"}}).to_string();
    let once = async || {
        let key = [
            ("content-type", "application/json"),
            ("idempotency-key", "r"),
        ];
        server.raw("POST", "/v1/replays", body.clone(), &key).await
    };
    let first = once().await.expect(202);
    let replay = ended(&server, &first.json()).await;
    let again = once().await.expect(202);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.json()["id"], replay["id"]);
    assert_eq!(again.json()["state"], "running", "as it was answered then");
    let listed = server.call("GET", "/v1/replays", None).await.expect(200);
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1);
}
