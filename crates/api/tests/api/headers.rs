//! Headers that say two things, or something about the body that is not so.

use serde_json::json;

use super::server::TestServer;

const EVENTS: &str = "/v1/buses/default/events";
const EVENT: &str = r#"{"source":"/s","type":"t"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_header_that_is_given_twice_is_refused() {
    let server = TestServer::start().await;
    for (headers, pointer) in [
        (
            [JSON, ("content-type", "application/cloudevents+json")].as_slice(),
            "header:content-type",
        ),
        (
            &[JSON, ("idempotency-key", "a"), ("idempotency-key", "b")],
            "header:idempotency-key",
        ),
    ] {
        for (path, body) in [(EVENTS, EVENT), ("/v1/keys", "{}")] {
            let problem = server
                .raw("POST", path, body, headers)
                .await
                .problem(400, "INVALID_REQUEST");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{path}");
        }
    }
    assert_eq!(server.stored().await.0, 0);
}

#[tokio::test]
async fn two_keys_are_none() {
    let server = TestServer::start().await;
    let bearer = format!("Bearer {}", server.admin);
    for (name, value) in [
        ("authorization", bearer.as_str()),
        ("authorization", "Bearer bfy_other"),
        ("x-api-key", "bfy_other"),
    ] {
        let request = server.request("GET", "/v1/buses");
        let request = request.header("authorization", &bearer).header(name, value);
        let problem = server.send(request).await.problem(401, "UNAUTHENTICATED");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("more than one")
        );
    }
}

#[tokio::test]
async fn a_compressed_body_is_not_taken() {
    let server = TestServer::start().await;
    for (path, headers) in [
        (EVENTS, [JSON, ("content-encoding", "gzip")]),
        ("/v1/keys", [JSON, ("content-encoding", "br")]),
        // In binary mode it would be stored as it is.
        (EVENTS, [("ce-id", "1"), ("content-encoding", "gzip")]),
    ] {
        let answer = server.raw("POST", path, EVENT, &headers).await;
        answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
    }
    server
        .raw(
            "POST",
            EVENTS,
            EVENT,
            &[JSON, ("content-encoding", "identity")],
        )
        .await
        .expect(202);
}

#[tokio::test]
async fn what_a_body_is_instead_of_json_is_said() {
    let server = TestServer::start().await;
    for (body, said) in [
        (b"".as_slice(), "empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
    ] {
        for path in [EVENTS, "/v1/keys"] {
            let problem = server
                .raw("POST", path, body, &[])
                .await
                .problem(400, "INVALID_JSON");
            assert!(
                problem["detail"].as_str().unwrap().contains(said),
                "{problem}"
            );
        }
    }
}

#[tokio::test]
async fn a_query_that_is_no_utf8_is_refused() {
    let server = TestServer::start().await;
    let problem = server
        .call("GET", "/v1/events?q=%FF", None)
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(
        problem["errors"],
        json!([{"pointer": "query:q", "detail": "expected UTF-8, percent-encoded"}])
    );
    let problem = server
        .call("GET", "/v1/buses/%FF", None)
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(problem["errors"][0]["pointer"], "path");
}
