//! Buses, rules, targets.

use serde_json::{Value, json};

use super::server::TestServer;

fn log() -> Value {
    json!({"type": "log", "settings": {"log": "l"}})
}

#[tokio::test]
async fn the_two_buses_are_there_from_the_start() {
    let server = TestServer::start().await;
    let names: Vec<_> = server
        .call("GET", "/v1/buses", None)
        .await
        .expect(200)
        .json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bus| bus["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["default", "system"]);
}

#[tokio::test]
async fn bus_system_is_belfry_s_own_but_its_rules_are_not() {
    let server = TestServer::start().await;
    server
        .call("PUT", "/v1/buses/system", json!({}))
        .await
        .problem(403, "RESERVED_BUS");
    server
        .call("PATCH", "/v1/buses/system", json!({}))
        .await
        .problem(403, "RESERVED_BUS");
    server
        .call("DELETE", "/v1/buses/system", None)
        .await
        .problem(403, "RESERVED_BUS");
    let event = json!({"source": "/a", "type": "b"});
    server
        .call("POST", "/v1/buses/system/events", event)
        .await
        .problem(403, "RESERVED_BUS");
    server
        .call(
            "PUT",
            "/v1/buses/system/rules/r",
            json!({"pattern": {"type": ["x"]}}),
        )
        .await
        .expect(201);
}

#[tokio::test]
async fn a_put_makes_replaces_and_then_changes_nothing() {
    let server = TestServer::start().await;
    let made = server
        .call("PUT", "/v1/buses/b", json!({"description": "one"}))
        .await
        .expect(201);
    assert_eq!(made.header("etag"), Some("\"r1\""));
    assert_eq!(made.header("location"), Some("/v1/buses/b"));
    let changed = server
        .call("PUT", "/v1/buses/b", json!({"description": "two"}))
        .await
        .expect(200);
    assert_eq!(changed.header("etag"), Some("\"r2\""));
    let before = server.stored().await;
    let same = server
        .call("PUT", "/v1/buses/b", json!({"description": "two"}))
        .await
        .expect(200);
    assert_eq!(same.header("etag"), Some("\"r2\""));
    assert_eq!(same.json(), changed.json());
    assert_eq!(server.stored().await, before);
}

#[tokio::test]
async fn a_rule_comes_and_goes_with_its_targets_at_once() {
    let server = TestServer::start().await;
    let path = "/v1/buses/default/rules/r";
    let body = json!({"pattern": {"type": ["b"]}, "targets": {"one": log(), "two": log()}});
    let made = server
        .call("PUT", path, body.clone())
        .await
        .expect(201)
        .json();
    assert_eq!(made["targets"].as_object().unwrap().len(), 2);
    // What was read can be written back, and changes nothing.
    let read = server.call("GET", path, None).await.expect(200);
    let back = server.call("PUT", path, read.json()).await.expect(200);
    assert_eq!(back.header("etag"), read.header("etag"));
    assert_eq!(back.json(), read.json());
    // Without targets they stay.
    server
        .call("PUT", path, json!({"pattern": {"type": ["c"]}}))
        .await
        .expect(200);
    let targets = server
        .call("GET", &format!("{path}/targets"), None)
        .await
        .json();
    assert_eq!(targets["items"].as_array().unwrap().len(), 2);
    // With them, the set is what is given.
    let body = json!({"pattern": {"type": ["c"]}, "targets": {"two": log(), "three": log()}});
    let changed = server.call("PUT", path, body).await.expect(200).json();
    let names: Vec<_> = changed["targets"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(names, ["three", "two"]);
    assert_eq!(changed["targets"]["two"]["revision"], 1);
    server.call("DELETE", path, None).await.expect(204);
    server
        .call("GET", path, None)
        .await
        .problem(404, "NOT_FOUND");
    server
        .call("GET", &format!("{path}/targets/two"), None)
        .await
        .problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn one_bad_target_refuses_the_whole_rule_and_everything_wrong_is_told() {
    let server = TestServer::start().await;
    let before = server.stored().await;
    let body = json!({
        "pattern": {"type": [{"numeric": [">"]}]},
        "targets": {"good": log(), "bad": {"type": "webhok", "settings": {}, "concurrency": 0}, "other": {"type": "log", "settings": {}}},
    });
    let problem = server
        .call("PUT", "/v1/buses/default/rules/r", body)
        .await
        .problem(400, "INVALID_REQUEST");
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect();
    for wanted in [
        "/pattern/type/0/numeric",
        "/targets/bad/type",
        "/targets/bad/concurrency",
        "/targets/other/settings/log",
    ] {
        assert!(
            pointers.iter().any(|pointer| pointer == wanted),
            "{wanted} not in {pointers:?}"
        );
    }
    assert_eq!(server.stored().await, before);
}

#[tokio::test]
async fn a_pattern_keeps_its_text() {
    let server = TestServer::start().await;
    let pattern = r#"{"data": {"v":[1.0, 1e3], "name" : ["\u0041"]}}"#;
    let path = "/v1/buses/default/rules/r";
    server
        .raw("PUT", path, format!(r#"{{"pattern": {pattern}}}"#), &[])
        .await
        .expect(201);
    assert!(server.call("GET", path, None).await.text.contains(pattern));
    server
        .raw(
            "PATCH",
            path,
            r#"{"description":"x"}"#,
            &[("content-type", "application/merge-patch+json")],
        )
        .await
        .expect(200);
    assert!(server.call("GET", path, None).await.text.contains(pattern));
    let other = r#"{"type":["a" , "b"]}"#;
    server
        .raw("PATCH", path, format!(r#"{{"pattern":{other}}}"#), &[])
        .await
        .expect(200);
    let read = server.call("GET", path, None).await;
    assert!(read.text.contains(other));
    assert_eq!(read.json()["description"], "x");
}

#[tokio::test]
async fn a_patch_merges_and_null_takes_back() {
    let server = TestServer::start().await;
    server.rule("r", json!({"type": ["b"]}), json!({"type": "log", "settings": {"log": "l"}, "concurrency": 4, "description": "d", "transform": {"kind": "none"}})).await;
    let path = "/v1/buses/default/rules/r/targets/t";
    let patched = server
        .call(
            "PATCH",
            path,
            json!({"concurrency": null, "settings": {"retentionDays": 3}}),
        )
        .await
        .expect(200)
        .json();
    assert!(patched.get("concurrency").is_none());
    assert_eq!(patched["settings"], json!({"log": "l", "retentionDays": 3}));
    assert_eq!(
        (&patched["description"], &patched["transform"]),
        (&json!("d"), &json!({"kind": "none"}))
    );
    let patched = server
        .call("PATCH", path, json!({"transform": null, "enabled": false}))
        .await
        .expect(200)
        .json();
    assert!(patched.get("transform").is_none() && patched["enabled"] == false);
    let before = server.call("GET", path, None).await;
    let same = server
        .call("PATCH", path, json!({"enabled": false}))
        .await
        .expect(200);
    assert_eq!(same.header("etag"), before.header("etag"));
    let problem = server
        .call("PATCH", path, json!({"settings": null}))
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(problem["errors"][0]["pointer"], "/settings");
    let bus = server
        .call(
            "PATCH",
            "/v1/buses/default",
            json!({"dedup": {"windowSeconds": 60}}),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(bus["dedup"], json!({"mode": "memory", "windowSeconds": 60}));
}

#[tokio::test]
async fn conditions_are_judged_on_what_is_there() {
    let server = TestServer::start().await;
    let path = "/v1/buses/b";
    let put = async |body: &'static str, name: &'static str, value: &'static str| {
        server.raw("PUT", path, body, &[(name, value)]).await
    };
    put("{}", "if-match", "*")
        .await
        .problem(412, "PRECONDITION_FAILED");
    put("{}", "if-none-match", "*").await.expect(201);
    put("{}", "if-none-match", "*")
        .await
        .problem(412, "PRECONDITION_FAILED");
    put(r#"{"description":"1"}"#, "if-match", "\"r1\"")
        .await
        .expect(200);
    let stale = put(r#"{"description":"2"}"#, "if-match", "\"r1\"")
        .await
        .problem(412, "PRECONDITION_FAILED");
    assert!(stale["detail"].as_str().unwrap().contains("r2"));
    put(r#"{"description":"2"}"#, "if-match", "W/\"r2\"")
        .await
        .problem(412, "PRECONDITION_FAILED");
    put("{}", "if-match", "r2")
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(
        server.call("GET", path, None).await.json()["description"],
        "1"
    );
    server
        .raw("DELETE", path, "", &[("if-match", "\"r1\"")])
        .await
        .problem(412, "PRECONDITION_FAILED");
    server
        .raw("DELETE", path, "", &[("if-match", "\"r9\", \"r2\"")])
        .await
        .expect(204);
}

#[tokio::test]
async fn of_two_writers_with_the_same_etag_one_wins() {
    let server = TestServer::start().await;
    server
        .call("PUT", "/v1/buses/b", json!({}))
        .await
        .expect(201);
    let write = async |text: &str| {
        server
            .raw(
                "PUT",
                "/v1/buses/b",
                json!({"description": text}).to_string(),
                &[("if-match", "\"r1\"")],
            )
            .await
            .status
            .as_u16()
    };
    let (a, b) = tokio::join!(write("a"), write("b"));
    let mut both = [a, b];
    both.sort_unstable();
    assert_eq!(both, [200, 412]);
    // Without a condition both go through, one after the other.
    let write = async |text: &str| {
        server
            .call("PUT", "/v1/buses/b", json!({"description": text}))
            .await
            .status
            .as_u16()
    };
    assert_eq!(tokio::join!(write("c"), write("d")), (200, 200));
}

#[tokio::test]
async fn a_dry_run_answers_what_would_be_and_writes_nothing() {
    let server = TestServer::start().await;
    let before = server.stored().await;
    let body = json!({"pattern": {"type": ["b"]}, "targets": {"t": {"type": "webhook", "settings": {"url": "http://127.0.0.1:9/"}}}});
    let path = "/v1/buses/default/rules/r";
    let would = server
        .call("PUT", &format!("{path}?dryRun=true"), body.clone())
        .await
        .expect(200);
    assert_eq!(would.json()["dryRun"], true);
    assert_eq!(would.header("etag"), None);
    assert!(
        would.json()["targets"]["t"]
            .get("generatedSecrets")
            .is_none()
    );
    server
        .call(
            "PUT",
            &format!("{path}?dryRun=true"),
            json!({"pattern": []}),
        )
        .await
        .problem(400, "INVALID_PATTERN");
    assert_eq!(server.stored().await, before);
    server
        .call("GET", path, None)
        .await
        .problem(404, "NOT_FOUND");

    server.call("PUT", path, body).await.expect(201);
    let before = server.stored().await;
    let would = server
        .call("DELETE", &format!("{path}?dryRun=true"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&would["name"], &would["dryRun"]),
        (&json!("r"), &json!(true))
    );
    assert_eq!(server.stored().await, before);
}

#[tokio::test]
async fn a_bus_with_rules_is_deleted_only_on_purpose() {
    let server = TestServer::start().await;
    server
        .call("PUT", "/v1/buses/b", json!({}))
        .await
        .expect(201);
    server
        .call(
            "PUT",
            "/v1/buses/b/rules/r",
            json!({"pattern": {"type": ["x"]}}),
        )
        .await
        .expect(201);
    let problem = server
        .call("DELETE", "/v1/buses/b", None)
        .await
        .problem(409, "BUS_NOT_EMPTY");
    assert!(problem["detail"].as_str().unwrap().contains("1 rules"));
    server
        .call("DELETE", "/v1/buses/b?cascade=true", None)
        .await
        .expect(204);
    server
        .call("GET", "/v1/buses/b", None)
        .await
        .problem(404, "NOT_FOUND");

    server
        .call(
            "PUT",
            "/v1/buses/default/rules/r",
            json!({"pattern": {"type": ["x"]}}),
        )
        .await
        .expect(201);
    server
        .call("DELETE", "/v1/buses/default?cascade=true", None)
        .await
        .problem(409, "BUS_NOT_EMPTY");
    server
        .call("DELETE", "/v1/buses/default/rules/r", None)
        .await
        .expect(204);
    server
        .call("DELETE", "/v1/buses/default", None)
        .await
        .expect(204);
}

#[tokio::test]
async fn a_dead_letter_bus_must_exist_and_stays_as_long_as_it_is_named() {
    let server = TestServer::start().await;
    let path = "/v1/buses/default/rules/r";
    let body = json!({"pattern": {"type": ["x"]}, "targets": {"t": {"type": "log", "settings": {"log": "l"}, "deadLetter": {"bus": "dead"}}}});
    let problem = server
        .call("PUT", path, body.clone())
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(problem["errors"][0]["pointer"], "/targets/t/deadLetter/bus");
    server
        .call("PUT", "/v1/buses/dead", json!({}))
        .await
        .expect(201);
    server.call("PUT", path, body).await.expect(201);
    server
        .call("DELETE", "/v1/buses/dead?cascade=true", None)
        .await
        .problem(409, "BUS_IN_USE");
}

#[tokio::test]
async fn lists_are_paged_by_name() {
    let server = TestServer::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server
            .call(
                "PUT",
                &format!("/v1/buses/default/rules/{name}"),
                json!({"pattern": {"type": ["x"]}}),
            )
            .await
            .expect(201);
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server
            .call(
                "GET",
                &format!("/v1/buses/default/rules?limit=2{cursor}"),
                None,
            )
            .await
            .expect(200)
            .json();
        found.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|rule| rule["name"].as_str().unwrap().to_owned()),
        );
        // Keyset paging: what comes before the cursor may change without a row being lost or shown twice.
        if found.len() == 2 {
            server
                .call("DELETE", "/v1/buses/default/rules/a", None)
                .await
                .expect(204);
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ["a", "b", "c", "d", "e"]);
    server
        .call("GET", "/v1/buses?limit=0", None)
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("GET", "/v1/buses?limit=201", None)
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("GET", "/v1/buses?cursor=zzz", None)
        .await
        .problem(400, "INVALID_CURSOR");
}

#[tokio::test]
async fn limits_are_kept() {
    let server = TestServer::with(|app, _| {
        app.buses_max = 3;
        app.rules_per_bus_max = 1;
    })
    .await;
    server
        .call("PUT", "/v1/buses/a", json!({}))
        .await
        .expect(201);
    server
        .call("PUT", "/v1/buses/b", json!({}))
        .await
        .problem(409, "LIMIT_REACHED");
    server
        .call(
            "PUT",
            "/v1/buses/a/rules/a",
            json!({"pattern": {"type": ["x"]}}),
        )
        .await
        .expect(201);
    server
        .call(
            "PUT",
            "/v1/buses/a/rules/b",
            json!({"pattern": {"type": ["x"]}}),
        )
        .await
        .problem(409, "LIMIT_REACHED");
    let targets: serde_json::Map<_, _> = (0..101).map(|n| (format!("t{n}"), log())).collect();
    let problem = server
        .call(
            "PUT",
            "/v1/buses/a/rules/a",
            json!({"pattern": {"type": ["x"]}, "targets": targets}),
        )
        .await;
    assert_eq!(
        problem.problem(400, "INVALID_REQUEST")["errors"][0]["pointer"],
        "/targets"
    );
}

#[tokio::test]
async fn every_change_is_in_the_audit_log() {
    let server = TestServer::start().await;
    server
        .call("PUT", "/v1/buses/b", json!({}))
        .await
        .expect(201);
    server
        .call("PUT", "/v1/buses/b", json!({"description": "x"}))
        .await
        .expect(200);
    server
        .raw("DELETE", "/v1/buses/b", "", &[("x-request-id", "req-7")])
        .await
        .expect(204);
    let audit = server
        .call("GET", "/v1/audit?resource=buses/b", None)
        .await
        .expect(200)
        .json();
    let actions: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["bus.delete", "bus.put", "bus.put"]);
    let newest = &audit["items"][0];
    assert_eq!(newest["requestId"], "req-7");
    assert!(
        newest["actor"].as_str().unwrap().starts_with("key_")
            && newest["actor"].as_str().unwrap().ends_with(" admin")
    );
    assert_eq!(
        (
            newest["before"]["description"].as_str(),
            newest.get("after")
        ),
        (Some("x"), None)
    );
}

#[tokio::test]
async fn a_body_that_is_no_json_has_its_own_code() {
    let server = TestServer::start().await;
    let deep = format!("{{\"description\":{}1{}}}", "[".repeat(65), "]".repeat(65));
    for body in [
        "{",
        "nul",
        "{}x",
        "{\"description\":\"\\ud800\"}",
        "{\"description\":\"\\u0000\"}",
        "{\"description\":\"a\",\"description\":\"b\"}",
        &deep,
    ] {
        server
            .raw("PUT", "/v1/buses/b", body.to_owned(), &[])
            .await
            .problem(400, "INVALID_JSON");
    }
    server
        .raw("PUT", "/v1/buses/b", "[]", &[])
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .raw("POST", "/v1/keys", "{", &[])
        .await
        .problem(400, "INVALID_JSON");
}

/// A null removes a member; a misspelt one was taken for nothing to do and answered with 200.
#[tokio::test]
async fn a_patch_that_removes_what_cannot_be_there_is_refused() {
    let server = TestServer::start().await;
    let log = json!({"type": "log", "settings": {"log": "l"}});
    server.rule("r", json!({"type": ["t"]}), log).await;
    let rule = "/v1/buses/default/rules/r";
    let target = &format!("{rule}/targets/t");
    for (path, patch, pointer) in [
        (
            "/v1/buses/default",
            json!({"descripton": null}),
            "/descripton",
        ),
        (
            "/v1/buses/default",
            json!({"dedup": {"window": null}}),
            "/dedup/window",
        ),
        (rule, json!({"enbled": null}), "/enbled"),
        (rule, json!({"targets": null}), "/targets"),
        (target, json!({"concurency": null}), "/concurency"),
        (target, json!({"retry": {"maxAge": null}}), "/retry/maxAge"),
        (
            target,
            json!({"settings": {"retention": null}}),
            "/settings/retention",
        ),
    ] {
        let problem = server
            .call("PATCH", path, patch)
            .await
            .problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{path}");
    }
    for (path, patch) in [
        (
            "/v1/buses/default",
            json!({"description": null, "dedup": null}),
        ),
        (rule, json!({"description": null, "enabled": null})),
        (
            target,
            json!({"concurrency": null, "retry": null, "settings": {"retentionDays": null}}),
        ),
    ] {
        server.call("PATCH", path, patch).await.expect(200);
    }
}

#[tokio::test]
async fn everything_wrong_with_a_rule_is_told_at_once() {
    let server = TestServer::start().await;
    let problem = server
        .call(
            "PUT",
            "/v1/buses/default/rules/r",
            json!({
                "enabled": "yes",
                "pattern": {"a": []},
                "targets": {"t": {"type": "webhok", "settings": {}, "x": 1}, "u": {"settings": {}}},
            }),
        )
        .await
        .problem(400, "INVALID_REQUEST");
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        pointers,
        ["/enabled", "/pattern/a", "/targets/t/x", "/targets/u/type"]
    );
}
