//! Bad input, of every kind, is answered with a problem document and stores nothing.

use serde_json::{Value, json};

use super::server::TestServer;

#[tokio::test]
async fn a_bad_body_is_refused_wherever_it_is_sent() {
    let server = TestServer::start().await;
    server
        .rule(
            "r",
            json!({"type": ["t"]}),
            json!({"type": "log", "settings": {"log": "l"}}),
        )
        .await;
    let before = server.stored().await;
    let deep = format!(
        "{{\"description\":{}1{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let huge = format!("{{\"description\":{}}}", "9".repeat(1000));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"\"x\"".to_vec(),
        b"{}{}".to_vec(),
        b"{\"description\": 3}".to_vec(),
        b"{\"descripton\": \"x\"}".to_vec(),
        b"{\"description\":\"\xff\"}".to_vec(),
        b"{\"description\":\"\\u0000\"}".to_vec(),
        b"{\"description\":\"\x00\"}".to_vec(),
        b"{\"description\":\"a\",\"description\":\"b\"}".to_vec(),
        b"{\"description\":\"\\ud800\"}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        deep.into_bytes(),
        huge.into_bytes(),
    ];
    for (method, path) in [
        ("PUT", "/v1/buses/b"),
        ("PATCH", "/v1/buses/default"),
        ("PUT", "/v1/buses/default/rules/x"),
        ("PATCH", "/v1/buses/default/rules/r"),
        ("PUT", "/v1/buses/default/rules/r/targets/x"),
        ("PATCH", "/v1/buses/default/rules/r/targets/t"),
        ("POST", "/v1/keys"),
        ("PUT", "/v1/logs/x"),
        ("POST", "/v1/patterns:test"),
        ("POST", "/v1/deliveries:retry"),
    ] {
        for body in &bodies {
            let answer = server.raw(method, path, body.clone(), &[]).await;
            let shown = format!(
                "{method} {path} {}: {}",
                String::from_utf8_lossy(&body[..body.len().min(60)]),
                answer.text
            );
            assert_eq!(answer.status, 400, "{shown}");
            let problem = answer.problem(400, answer.json()["code"].as_str().unwrap());
            assert!(!problem["errors"].as_array().unwrap().is_empty(), "{shown}");
        }
        let answer = server
            .raw(method, path, vec![b' '; 1024 * 1024 + 1], &[])
            .await;
        answer.problem(413, "TOO_LARGE");
        server
            .raw(method, path, "{}", &[("content-type", "text/plain")])
            .await
            .problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    assert_eq!(server.stored().await, before);
    assert_eq!(server.store.list_keys().await.unwrap().len(), 1);
    assert!(server.store.list_logs().await.unwrap().is_empty());
}

#[tokio::test]
async fn mistakes_are_pointed_at_and_near_names_suggested() {
    let server = TestServer::start().await;
    let put = async |body: Value| {
        server
            .call("PUT", "/v1/buses/default/rules/r", body)
            .await
            .problem(400, "INVALID_REQUEST")
    };
    let problem = put(json!({"patern": {}})).await;
    assert_eq!(problem["errors"][0]["pointer"], "/patern");
    assert!(
        problem["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("pattern"),
        "{problem}"
    );
    let problem = put(json!({"pattern": {"a": [1]}, "enabled": "yes"})).await;
    assert_eq!(problem["errors"][0]["pointer"], "/enabled");
    let problem = put(json!({"pattern": {"a": [1]}, "name": "other"})).await;
    assert_eq!(problem["errors"][0]["pointer"], "/name");
    let problem = put(json!({"pattern": {"a": [1]}, "targets": {"a b": {}}})).await;
    assert_eq!(problem["errors"][0]["pointer"], "/targets/a b");
    let target = json!({"type": "log", "settings": {"log": "l"}, "retry": {"schedule": "custom"}, "transform": {"kind": "nonsense"}});
    let problem = put(json!({"pattern": {"a": [1]}, "targets": {"t": target}})).await;
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert!(
        pointers.contains(&"/targets/t/retry/waitsSeconds"),
        "{pointers:?}"
    );
    assert!(
        pointers
            .iter()
            .any(|pointer| pointer.starts_with("/targets/t/transform")),
        "{pointers:?}"
    );
}

#[tokio::test]
async fn a_pattern_s_mistakes_have_line_column_code_and_hint() {
    let server = TestServer::start().await;
    let body = "{\"pattern\": {\n  \"source\": [{\"prefx\": \"a\"}]\n}}";
    let problem = server
        .raw("PUT", "/v1/buses/default/rules/r", body, &[])
        .await
        .problem(400, "INVALID_PATTERN");
    let error = &problem["errors"][0];
    assert_eq!(
        (&error["line"], &error["code"]),
        (&json!(2), &json!("unknown-operator"))
    );
    assert!(
        error["pointer"]
            .as_str()
            .unwrap()
            .starts_with("/pattern/source/0"),
        "{error}"
    );
    assert!(
        error["column"].is_number() && error["hint"].as_str().unwrap().contains("prefix"),
        "{error}"
    );
}

#[tokio::test]
async fn paths_queries_and_methods_are_strict() {
    let server = TestServer::start().await;
    server
        .call("GET", "/v1/nothing", None)
        .await
        .problem(404, "NOT_FOUND");
    server
        .call("GET", "/v1/buses/a%20b", None)
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("GET", "/v1/buses/%ff", None)
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("GET", &format!("/v1/buses/{}", "x".repeat(65)), None)
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("GET", "/v1/buses/default/rules/none", None)
        .await
        .problem(404, "NOT_FOUND");
    server
        .call("GET", "/v1/buses/none/rules", None)
        .await
        .problem(404, "NOT_FOUND");
    server
        .call("PATCH", "/v1/buses/none", json!({}))
        .await
        .problem(404, "NOT_FOUND");
    server
        .call(
            "PUT",
            "/v1/buses/none/rules/r",
            json!({"pattern": {"a": [1]}}),
        )
        .await
        .problem(404, "NOT_FOUND");
    let problem = server
        .call("PUT", "/v1/buses/b?dryrun=true", json!({}))
        .await
        .problem(400, "INVALID_REQUEST");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("did you mean dryRun?"),
        "{problem}"
    );
    server
        .call("GET", "/v1/buses/default?x=1", None)
        .await
        .problem(400, "INVALID_REQUEST");
    let answer = server.call("DELETE", "/v1/buses", None).await;
    answer.problem(405, "METHOD_NOT_ALLOWED");
    assert!(answer.header("allow").unwrap().contains("GET"));
    server
        .call("BREW", "/v1/buses", None)
        .await
        .problem(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let server = TestServer::start().await;
    for path in [
        "/",
        "/docs",
        "/v1/buses",
        "/v1/nothing",
        "/problems/not-found",
        "/healthz",
    ] {
        let answer = server.call("GET", path, None).await;
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}
