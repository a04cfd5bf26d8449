//! Archives and retention by bus, as their users see them.

use belfry_testkit::sink::Sink;
use serde_json::json;

use super::server::TestServer;

const A: &str = "/v1/buses/default/archives/a";

#[tokio::test]
async fn an_archive_is_made_changed_listed_and_deleted() {
    let server = TestServer::start().await;
    let body = json!({"description": "orders", "pattern": {"type": ["a"]}, "retention": {"ageSeconds": 60}});
    let tried = server
        .call("PUT", &format!("{A}?dryRun=true"), body.clone())
        .await;
    assert_eq!(tried.expect(200).json()["dryRun"], true);
    server.call("GET", A, None).await.problem(404, "NOT_FOUND");
    let made = server.call("PUT", A, body.clone()).await.expect(201);
    assert_eq!(made.header("etag"), Some("\"r1\""));
    assert_eq!(made.header("location"), Some(A));
    server.call("PUT", A, body).await.expect(200);
    let read = server.call("GET", A, None).await.expect(200).json();
    assert_eq!(read["usage"], json!({"events": 0, "bytes": 0}));
    assert_eq!(
        (&read["revision"], &read["enabled"]),
        (&json!(1), &json!(true))
    );

    // What was read can be written back; a patch keeps the rest.
    let same = server.call("PUT", A, read).await.expect(200).json();
    assert_eq!(same["revision"], 1);
    let patched = server.call("PATCH", A, json!({"enabled": false})).await;
    let patched = patched.expect(200).json();
    assert_eq!(
        (&patched["enabled"], &patched["pattern"]),
        (&json!(false), &json!({"type": ["a"]}))
    );
    let bare = server
        .call("PATCH", A, json!({"pattern": null, "retention": null}))
        .await;
    let bare = bare.expect(200).json();
    assert_eq!((bare.get("pattern"), bare.get("retention")), (None, None));
    assert_eq!(bare["revision"], 3);
    server
        .call("PATCH", A, json!({"patern": null}))
        .await
        .problem(400, "INVALID_REQUEST");

    server
        .call("PUT", "/v1/buses/default/archives/b", json!({}))
        .await
        .expect(201);
    let listed = server
        .call("GET", "/v1/buses/default/archives?limit=1", None)
        .await
        .expect(200)
        .json();
    assert_eq!(listed["items"][0]["name"], "a");
    let next = format!(
        "/v1/buses/default/archives?cursor={}",
        listed["next"].as_str().unwrap()
    );
    assert_eq!(
        server.call("GET", &next, None).await.expect(200).json()["items"][0]["name"],
        "b"
    );
    server
        .call("DELETE", "/v1/buses/default", None)
        .await
        .problem(409, "BUS_NOT_EMPTY");
    server.call("DELETE", A, None).await.expect(204);
    server.call("GET", A, None).await.problem(404, "NOT_FOUND");
    let trail = server
        .call("GET", "/v1/audit?resource=buses/default/archives/a", None)
        .await
        .expect(200)
        .json();
    assert_eq!(trail["items"][0]["action"], "archive.delete");
    assert_eq!(trail["items"][0]["before"]["revision"], 3);
}

#[tokio::test]
async fn everything_wrong_with_an_archive_is_told_at_once() {
    let server = TestServer::start().await;
    let bad = json!({"pattern": {"type": [{"prefx": "a"}]}, "retention": {"ageSeconds": 0}});
    let problem = server
        .call("PUT", A, bad)
        .await
        .problem(400, "INVALID_REQUEST");
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(pointers[0], "/retention/ageSeconds");
    assert!(pointers[1].starts_with("/pattern"), "{pointers:?}");
    let bad = json!({"pattern": {"type": [{"prefx": "a"}]}});
    server
        .call("PUT", A, bad)
        .await
        .problem(400, "INVALID_PATTERN");
    server
        .call("PUT", A, json!({"retention": {"days": 1}}))
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("PUT", "/v1/buses/none/archives/a", json!({}))
        .await
        .problem(404, "NOT_FOUND");
    server
        .call("PUT", "/v1/buses/b", json!({"retention": {"bytes": 0}}))
        .await
        .problem(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn what_is_in_an_archive_is_shown_and_replayed() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    server
        .call("PUT", A, json!({"pattern": {"type": ["a"]}}))
        .await
        .expect(201);
    let mut uids = Vec::new();
    for kind in ["a", "b", "a"] {
        uids.push(server.post(json!({"source": "/s", "type": kind})).await);
    }
    let usage = server.call("GET", A, None).await.expect(200).json()["usage"].clone();
    assert_eq!(usage["events"], 2);
    assert!(
        usage["oldestAt"].as_str() <= usage["newestAt"].as_str() && usage["oldestAt"].is_string()
    );
    let bus = server
        .call("GET", "/v1/buses/default", None)
        .await
        .expect(200)
        .json();
    assert_eq!(bus["usage"]["events"], 3);
    assert!(bus["usage"]["bytes"].as_u64() > usage["bytes"].as_u64());
    let listed = server
        .call("GET", "/v1/buses", None)
        .await
        .expect(200)
        .json();
    assert_eq!(
        listed["items"][1]["usage"],
        json!({"events": 0, "bytes": 0})
    );

    let hook = json!({"type": "webhook", "settings": {"url": sink.url("/hook")}});
    server.rule("r", json!({"source": ["/s"]}), hook).await;
    let from = json!({"bus": "default", "archive": "a"});
    let one = json!({"from": from, "eventUids": [uids[0], uids[1]]});
    let counted = server
        .call("POST", "/v1/replays?dryRun=true", one)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&counted["count"], &counted["exact"]),
        (&json!(1), &json!(true))
    );
    let started = server
        .call("POST", "/v1/replays", json!({"from": from}))
        .await
        .expect(202)
        .json();
    assert_eq!(started["from"], from);
    let path = format!("/v1/replays/{}", started["id"].as_str().unwrap());
    let ended = server.until(&path, |one| one["state"] != "running").await;
    assert_eq!(
        (&ended["state"], &ended["replayed"]),
        (&json!("completed"), &json!(2))
    );
    let none = json!({"from": {"bus": "default", "archive": "none"}});
    server
        .call("POST", "/v1/replays", none)
        .await
        .problem(404, "NOT_FOUND");
}
