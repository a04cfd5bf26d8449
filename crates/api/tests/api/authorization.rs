//! Who may do what: every operation of the API document has an entry here, or the first test fails.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::TestServer;

/// Operation, needed scope (`""`: none), a path that can be called, a body.
const TABLE: &[(&str, &str, &str, &str)] = &[
    (
        "post /v1/buses/{bus}/events",
        "events:write",
        "/v1/buses/default/events",
        r#"{"source":"/a","type":"b"}"#,
    ),
    (
        "options /v1/buses/{bus}/events",
        "",
        "/v1/buses/default/events",
        "",
    ),
    ("get /v1/events", "history:read", "/v1/events", ""),
    (
        "get /v1/events/{id}",
        "history:read",
        "/v1/events/evt_0000000000000",
        "",
    ),
    ("get /v1/buses", "config:read", "/v1/buses", ""),
    (
        "get /v1/buses/{bus}",
        "config:read",
        "/v1/buses/default",
        "",
    ),
    ("put /v1/buses/{bus}", "config:write", "/v1/buses/b", "{}"),
    (
        "patch /v1/buses/{bus}",
        "config:write",
        "/v1/buses/default",
        "{}",
    ),
    (
        "delete /v1/buses/{bus}",
        "config:write",
        "/v1/buses/none",
        "",
    ),
    (
        "get /v1/buses/{bus}/rules",
        "config:read",
        "/v1/buses/default/rules",
        "",
    ),
    (
        "get /v1/buses/{bus}/rules/{rule}",
        "config:read",
        "/v1/buses/default/rules/r",
        "",
    ),
    (
        "put /v1/buses/{bus}/rules/{rule}",
        "config:write",
        "/v1/buses/default/rules/r",
        r#"{"pattern":{"a":[1]}}"#,
    ),
    (
        "patch /v1/buses/{bus}/rules/{rule}",
        "config:write",
        "/v1/buses/default/rules/none",
        "{}",
    ),
    (
        "delete /v1/buses/{bus}/rules/{rule}",
        "config:write",
        "/v1/buses/default/rules/none",
        "",
    ),
    (
        "get /v1/buses/{bus}/archives",
        "config:read",
        "/v1/buses/default/archives",
        "",
    ),
    (
        "get /v1/buses/{bus}/archives/{archive}",
        "config:read",
        "/v1/buses/default/archives/a",
        "",
    ),
    (
        "put /v1/buses/{bus}/archives/{archive}",
        "config:write",
        "/v1/buses/default/archives/a",
        "{}",
    ),
    (
        "patch /v1/buses/{bus}/archives/{archive}",
        "config:write",
        "/v1/buses/default/archives/none",
        "{}",
    ),
    (
        "delete /v1/buses/{bus}/archives/{archive}",
        "config:write",
        "/v1/buses/default/archives/none",
        "",
    ),
    ("get /v1/secrets", "config:read", "/v1/secrets", ""),
    ("get /v1/secrets/{name}", "config:read", "/v1/secrets/x", ""),
    (
        "put /v1/secrets/{name}",
        "config:write",
        "/v1/secrets/x",
        "{}",
    ),
    (
        "patch /v1/secrets/{name}",
        "config:write",
        "/v1/secrets/x",
        "{}",
    ),
    (
        "delete /v1/secrets/{name}",
        "config:write",
        "/v1/secrets/x",
        "",
    ),
    ("get /v1/functions", "config:read", "/v1/functions", ""),
    (
        "get /v1/functions/{namespace}/{name}",
        "config:read",
        "/v1/functions/default/none",
        "",
    ),
    (
        "put /v1/functions/{namespace}/{name}",
        "functions:write",
        "/v1/functions/default/none",
        "{}",
    ),
    (
        "patch /v1/functions/{namespace}/{name}",
        "functions:write",
        "/v1/functions/default/none",
        "{}",
    ),
    (
        "delete /v1/functions/{namespace}/{name}",
        "functions:write",
        "/v1/functions/default/none",
        "",
    ),
    (
        "put /v1/functions/{namespace}/{name}/code",
        "functions:write",
        "/v1/functions/default/none/code",
        "x",
    ),
    (
        "get /v1/functions/{namespace}/{name}/code",
        "config:read",
        "/v1/functions/default/none/code",
        "",
    ),
    (
        "post /v1/functions/{namespace}/{name}/versions",
        "functions:write",
        "/v1/functions/default/none/versions",
        "",
    ),
    (
        "get /v1/functions/{namespace}/{name}/versions",
        "config:read",
        "/v1/functions/default/none/versions",
        "",
    ),
    (
        "get /v1/functions/{namespace}/{name}/versions/{version}",
        "config:read",
        "/v1/functions/default/none/versions/1",
        "",
    ),
    (
        "delete /v1/functions/{namespace}/{name}/versions/{version}",
        "functions:write",
        "/v1/functions/default/none/versions/1",
        "",
    ),
    (
        "get /v1/functions/{namespace}/{name}/aliases",
        "config:read",
        "/v1/functions/default/none/aliases",
        "",
    ),
    (
        "get /v1/functions/{namespace}/{name}/aliases/{alias}",
        "config:read",
        "/v1/functions/default/none/aliases/a",
        "",
    ),
    (
        "put /v1/functions/{namespace}/{name}/aliases/{alias}",
        "functions:write",
        "/v1/functions/default/none/aliases/a",
        r#"{"version":"1"}"#,
    ),
    (
        "delete /v1/functions/{namespace}/{name}/aliases/{alias}",
        "functions:write",
        "/v1/functions/default/none/aliases/a",
        "",
    ),
    (
        "post /v1/functions/{namespace}/{name}/invoke",
        "functions:invoke",
        "/v1/functions/default/none/invoke",
        "{}",
    ),
    (
        "post /v1/functions/{namespace}/{name}/validate",
        "functions:write",
        "/v1/functions/default/none/validate",
        "",
    ),
    (
        "get /v1/functions/{namespace}/{name}/invocations",
        "history:read",
        "/v1/functions/default/none/invocations",
        "",
    ),
    (
        "get /v1/functions/{namespace}/{name}/logs",
        "history:read",
        "/v1/functions/default/none/logs?follow=1",
        "",
    ),
    ("get /v1/invocations", "history:read", "/v1/invocations", ""),
    (
        "get /v1/invocations/{request_id}",
        "history:read",
        "/v1/invocations/00000000-0000-7000-8000-000000000000",
        "",
    ),
    (
        "get /v1/functions:status",
        "config:read",
        "/v1/functions:status",
        "",
    ),
    ("get /v1/contacts", "config:read", "/v1/contacts", ""),
    (
        "get /v1/contacts/{name}",
        "config:read",
        "/v1/contacts/x",
        "",
    ),
    (
        "put /v1/contacts/{name}",
        "config:write",
        "/v1/contacts/x",
        "{}",
    ),
    (
        "patch /v1/contacts/{name}",
        "config:write",
        "/v1/contacts/x",
        "{}",
    ),
    (
        "delete /v1/contacts/{name}",
        "config:write",
        "/v1/contacts/x",
        "",
    ),
    (
        "get /v1/contact-groups",
        "config:read",
        "/v1/contact-groups",
        "",
    ),
    (
        "get /v1/contact-groups/{name}",
        "config:read",
        "/v1/contact-groups/x",
        "",
    ),
    (
        "put /v1/contact-groups/{name}",
        "config:write",
        "/v1/contact-groups/x",
        "{}",
    ),
    (
        "patch /v1/contact-groups/{name}",
        "config:write",
        "/v1/contact-groups/x",
        "{}",
    ),
    (
        "delete /v1/contact-groups/{name}",
        "config:write",
        "/v1/contact-groups/x",
        "",
    ),
    (
        "get /v1/buses/{bus}/silences",
        "config:read",
        "/v1/buses/default/silences",
        "",
    ),
    (
        "get /v1/buses/{bus}/silences/{name}",
        "config:read",
        "/v1/buses/default/silences/x",
        "",
    ),
    (
        "put /v1/buses/{bus}/silences/{name}",
        "config:write",
        "/v1/buses/default/silences/x",
        "{}",
    ),
    (
        "patch /v1/buses/{bus}/silences/{name}",
        "config:write",
        "/v1/buses/default/silences/x",
        "{}",
    ),
    (
        "delete /v1/buses/{bus}/silences/{name}",
        "config:write",
        "/v1/buses/default/silences/x",
        "",
    ),
    (
        "post /v1/buses/{bus}/sources/{name}",
        "events:write",
        "/v1/buses/default/sources/none",
        "{}",
    ),
    ("post /in/{token}", "", "/in/none", "{}"),
    ("get /in/{token}", "", "/in/none", ""),
    ("options /in/{token}", "", "/in/none", ""),
    (
        "get /v1/buses/{bus}/sources/{name}/unparsed",
        "history:read",
        "/v1/buses/default/sources/none/unparsed",
        "",
    ),
    (
        "post /v1/buses/{bus}/sources/{name}/rotate",
        "config:write",
        "/v1/buses/default/sources/none/rotate",
        "",
    ),
    (
        "get /v1/catalog/products",
        "config:read",
        "/v1/catalog/products",
        "",
    ),
    (
        "get /v1/catalog/products/{product}/events",
        "config:read",
        "/v1/catalog/products/cvm/events",
        "",
    ),
    (
        "get /v1/catalog/events/{product}/{slug}",
        "config:read",
        "/v1/catalog/events/cvm/ping-unreachable",
        "",
    ),
    (
        "post /v1/buses/{bus}/events:simulate",
        "events:write",
        "/v1/buses/default/events:simulate",
        r#"{"template":"cvm/ping-unreachable"}"#,
    ),
    (
        "get /v1/buses/{bus}/sources",
        "config:read",
        "/v1/buses/default/sources",
        "",
    ),
    (
        "get /v1/buses/{bus}/sources/{name}",
        "config:read",
        "/v1/buses/default/sources/x",
        "",
    ),
    (
        "put /v1/buses/{bus}/sources/{name}",
        "config:write",
        "/v1/buses/default/sources/x",
        "{}",
    ),
    (
        "patch /v1/buses/{bus}/sources/{name}",
        "config:write",
        "/v1/buses/default/sources/x",
        "{}",
    ),
    (
        "delete /v1/buses/{bus}/sources/{name}",
        "config:write",
        "/v1/buses/default/sources/x",
        "",
    ),
    (
        "post /v1/buses/{bus}/rules:test",
        "config:read",
        "/v1/buses/default/rules:test",
        r#"{"source":"/a","type":"b"}"#,
    ),
    (
        "post /v1/patterns:test",
        "config:read",
        "/v1/patterns:test",
        r#"{"pattern":{"a":[1]},"event":{}}"#,
    ),
    (
        "post /v1/targets:preview",
        "config:read",
        "/v1/targets:preview",
        r#"{"target":{"type":"log","settings":{"log":"a"}}}"#,
    ),
    (
        "post /v1/targets:test",
        "config:write",
        "/v1/targets:test",
        r#"{"target":{"type":"log","settings":{"log":"a"}}}"#,
    ),
    (
        "get /v1/buses/{bus}/rules/{rule}/targets",
        "config:read",
        "/v1/buses/default/rules/r/targets",
        "",
    ),
    (
        "get /v1/buses/{bus}/rules/{rule}/targets/{target}",
        "config:read",
        "/v1/buses/default/rules/r/targets/t",
        "",
    ),
    (
        "put /v1/buses/{bus}/rules/{rule}/targets/{target}",
        "config:write",
        "/v1/buses/default/rules/none/targets/t",
        r#"{"type":"log","settings":{"log":"l"}}"#,
    ),
    (
        "patch /v1/buses/{bus}/rules/{rule}/targets/{target}",
        "config:write",
        "/v1/buses/default/rules/r/targets/t",
        "{}",
    ),
    (
        "delete /v1/buses/{bus}/rules/{rule}/targets/{target}",
        "config:write",
        "/v1/buses/default/rules/r/targets/t",
        "",
    ),
    (
        "get /v1/buses/{bus}/rules/{rule}/targets/{target}/status",
        "config:read",
        "/v1/buses/default/rules/r/targets/t/status",
        "",
    ),
    (
        "get /v1/target-kinds",
        "config:read",
        "/v1/target-kinds",
        "",
    ),
    ("get /v1/deliveries", "history:read", "/v1/deliveries", ""),
    (
        "get /v1/deliveries:tail",
        "history:read",
        "/v1/deliveries:tail",
        "",
    ),
    (
        "post /v1/deliveries:retry",
        "admin",
        "/v1/deliveries:retry",
        r#"{"filter":{}}"#,
    ),
    (
        "get /v1/deliveries/{id}",
        "history:read",
        "/v1/deliveries/dlv_00000000000000000001",
        "",
    ),
    (
        "post /v1/deliveries/{id}/retry",
        "admin",
        "/v1/deliveries/dlv_00000000000000000001/retry",
        "",
    ),
    ("get /v1/alarms", "history:read", "/v1/alarms", ""),
    (
        "get /v1/alarms/{id}",
        "history:read",
        "/v1/alarms/alm_01jd0c4z8k000",
        "",
    ),
    ("get /v1/replays", "history:read", "/v1/replays", ""),
    (
        "post /v1/replays",
        "admin",
        "/v1/replays",
        r#"{"from":{"bus":"default"}}"#,
    ),
    (
        "get /v1/replays/{id}",
        "history:read",
        "/v1/replays/rpl_0000001",
        "",
    ),
    (
        "post /v1/replays/{id}/pause",
        "admin",
        "/v1/replays/rpl_0000001/pause",
        "",
    ),
    (
        "post /v1/replays/{id}/resume",
        "admin",
        "/v1/replays/rpl_0000001/resume",
        "",
    ),
    (
        "post /v1/replays/{id}/cancel",
        "admin",
        "/v1/replays/rpl_0000001/cancel",
        "",
    ),
    ("get /v1/logs", "history:read", "/v1/logs", ""),
    (
        "put /v1/logs/{log}",
        "config:write",
        "/v1/logs/l",
        r#"{"retentionDays":3}"#,
    ),
    (
        "get /v1/logs/{log}/entries",
        "history:read",
        "/v1/logs/none/entries",
        "",
    ),
    ("get /v1/keys", "admin", "/v1/keys", ""),
    (
        "post /v1/keys",
        "admin",
        "/v1/keys",
        r#"{"name":"k","scopes":["config:read"]}"#,
    ),
    ("get /v1/keys/{id}", "admin", "/v1/keys/key_none", ""),
    ("delete /v1/keys/{id}", "admin", "/v1/keys/key_none", ""),
    (
        "post /v1/keys/{id}/rotate",
        "admin",
        "/v1/keys/key_none/rotate",
        "",
    ),
    ("get /v1/audit", "admin", "/v1/audit", ""),
    ("get /v1/status", "config:read", "/v1/status", ""),
    ("get /v1/nodes", "config:read", "/v1/nodes", ""),
    ("get /healthz", "", "/healthz", ""),
    ("get /readyz", "", "/readyz", ""),
    ("get /openapi.json", "", "/openapi.json", ""),
    ("get /docs", "", "/docs", ""),
    ("get /docs/style.css", "", "/docs/style.css", ""),
    ("get /problems/{name}", "", "/problems/invalid-request", ""),
    ("get /", "", "/", ""),
];

const SCOPES: [&str; 8] = [
    "events:write",
    "config:read",
    "config:write",
    "history:read",
    "functions:write",
    "functions:invoke",
    "functions:use",
    "admin",
];

fn allows(held: &str, needed: &str) -> bool {
    held == "admin" || held == needed || (held == "config:write" && needed == "config:read")
}

fn operations() -> Vec<(String, Value)> {
    let document = belfry_api::openapi();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, operation)| operation["responses"].is_object())
        {
            found.push((format!("{method} {path}"), operation.clone()));
        }
    }
    found
}

#[test]
fn every_operation_of_the_document_has_an_entry_that_says_the_same_scope() {
    let documented: BTreeSet<_> = operations().into_iter().map(|(name, _)| name).collect();
    let listed: BTreeSet<_> = TABLE.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(documented, listed);
    for (name, operation) in operations() {
        let (_, scope, ..) = TABLE.iter().find(|(listed, ..)| *listed == name).unwrap();
        let documented = operation["security"][0]["key"][0]
            .as_str()
            .unwrap_or_default();
        assert_eq!(documented, *scope, "{name}");
    }
}

/// The status alone; a stream would never end.
async fn status(
    server: &TestServer,
    operation: &str,
    path: &str,
    body: &str,
    key: Option<&str>,
) -> u16 {
    let method = operation.split(' ').next().unwrap().to_uppercase();
    let mut request = server.request(&method, path);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    if !body.is_empty() {
        request = request
            .header("content-type", "application/json")
            .body(body.to_owned());
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn every_operation_asks_for_a_key_that_works_and_has_the_scope() {
    let server = TestServer::start().await;
    let mut keys = Vec::new();
    for scope in SCOPES {
        keys.push((scope, server.key(&[scope]).await));
    }
    let expires = belfry_app::time::Stamp(server.app.now_ms() + 60_000).to_string();
    let body = json!({"name": "short", "scopes": ["admin"], "expiresAt": expires});
    let expired = server
        .call("POST", "/v1/keys", body)
        .await
        .expect(201)
        .json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let revoked = server
        .call(
            "POST",
            "/v1/keys",
            json!({"name": "x", "scopes": ["admin"]}),
        )
        .await
        .json();
    server
        .call(
            "DELETE",
            &format!("/v1/keys/{}", revoked["info"]["id"].as_str().unwrap()),
            None,
        )
        .await
        .expect(204);
    server.clock.advance(Duration::from_secs(61));

    for (operation, scope, path, body) in TABLE {
        if scope.is_empty() {
            let found = status(&server, operation, path, body, None).await;
            // A secret URL is a key of its own, and this one is none.
            let expected = if path.starts_with("/in/") {
                404..405
            } else {
                200..300
            };
            assert!(expected.contains(&found), "{operation}: {found}");
            continue;
        }
        for (why, key) in [
            ("no key", None),
            ("expired", Some(expired.as_str())),
            ("revoked", revoked["key"].as_str()),
            (
                "unknown",
                Some("bfy_0000000000000000_0000000000000000000000000000000000000000000000000000"),
            ),
            ("no key at all", Some("hunter2")),
        ] {
            assert_eq!(
                status(&server, operation, path, body, key).await,
                401,
                "{operation}: {why}"
            );
        }
        for (held, key) in &keys {
            let found = status(&server, operation, path, body, Some(key)).await;
            if allows(held, scope) {
                assert!(
                    found != 401 && found != 403 && found < 500,
                    "{operation} with {held}: {found}"
                );
            } else {
                assert_eq!(found, 403, "{operation} with {held}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_says_how_to_ask_and_what_is_missing() {
    let server = TestServer::start().await;
    let answer = server.send(server.request("GET", "/v1/buses")).await;
    answer.problem(401, "UNAUTHENTICATED");
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"belfry\"")
    );
    let answer = server
        .send(
            server
                .request("GET", "/v1/buses")
                .header("authorization", "Basic eDp5"),
        )
        .await;
    answer.problem(401, "UNAUTHENTICATED");

    let reader = server.key(&["config:read"]).await;
    let problem = server
        .call_as(&reader, "PUT", "/v1/buses/b", json!({}))
        .await
        .problem(403, "FORBIDDEN");
    assert!(problem["detail"].as_str().unwrap().contains("config:write"));
    // The other header is as good.
    server
        .send(
            server
                .request("GET", "/v1/buses")
                .header("x-api-key", &reader),
        )
        .await
        .expect(200);
}

#[tokio::test]
async fn a_key_for_one_bus_posts_to_that_bus_only() {
    let server = TestServer::start().await;
    server
        .call("PUT", "/v1/buses/orders", json!({}))
        .await
        .expect(201);
    let key = server.key(&["events:write:orders"]).await;
    let event = json!({"source": "/a", "type": "b"});
    server
        .call_as(&key, "POST", "/v1/buses/orders/events", event.clone())
        .await
        .expect(202);
    server
        .call_as(&key, "POST", "/v1/buses/default/events", event.clone())
        .await
        .problem(403, "FORBIDDEN");
    // Whether a bus exists is not told to those who may not post to it.
    server
        .call_as(&key, "POST", "/v1/buses/none/events", event)
        .await
        .problem(403, "FORBIDDEN");
}

#[tokio::test]
async fn the_wrong_secret_of_a_known_key_is_refused_like_an_unknown_key() {
    let server = TestServer::start().await;
    let mut wrong = server.admin.clone();
    wrong.pop();
    wrong.push(if server.admin.ends_with('0') {
        '1'
    } else {
        '0'
    });
    let problem = server
        .call_as(&wrong, "GET", "/v1/buses", None)
        .await
        .problem(401, "UNAUTHENTICATED");
    assert_eq!(problem["detail"], "this API key is not known");
}
