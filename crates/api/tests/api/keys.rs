//! API keys.

use std::time::Duration;

use serde_json::json;

use super::server::TestServer;

#[tokio::test]
async fn a_key_is_shown_once() {
    let server = TestServer::start().await;
    let answer = server
        .call(
            "POST",
            "/v1/keys",
            json!({"name": "n", "scopes": ["history:read", "events:write:default"]}),
        )
        .await
        .expect(201)
        .json();
    let (key, id) = (
        answer["key"].as_str().unwrap(),
        answer["info"]["id"].as_str().unwrap(),
    );
    assert!(
        key.starts_with("bfy_")
            && id.starts_with("key_")
            && key.contains(id.strip_prefix("key_").unwrap())
    );
    server
        .call_as(key, "GET", "/v1/events", None)
        .await
        .expect(200);
    for path in ["/v1/keys", "/v1/audit", &format!("/v1/keys/{id}")] {
        let text = server.call("GET", path, None).await.expect(200).text;
        assert!(text.contains(id) && !text.contains(key), "{path}");
    }
}

#[tokio::test]
async fn an_idempotency_key_makes_one_key_and_shows_it_again() {
    let server = TestServer::start().await;
    let send = async |body: &'static str| {
        server
            .raw("POST", "/v1/keys", body, &[("idempotency-key", "k")])
            .await
    };
    let first = send(r#"{"name":"n","scopes":["admin"]}"#).await.expect(201);
    let again = send(r#"{"name":"n","scopes":["admin"]}"#).await.expect(201);
    assert_eq!(first.text, again.text);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    send(r#"{"name":"other","scopes":["admin"]}"#)
        .await
        .problem(422, "IDEMPOTENCY_MISMATCH");
    let keys = server.call("GET", "/v1/keys", None).await.json();
    assert_eq!(keys["items"].as_array().unwrap().len(), 2);
    // Somebody else's key of the same text is another key.
    let other = server.key(&["admin"]).await;
    let request = server
        .request("POST", "/v1/keys")
        .bearer_auth(other)
        .header("idempotency-key", "k")
        .header("content-type", "application/json");
    let theirs = server
        .send(request.body(r#"{"name":"n","scopes":["admin"]}"#))
        .await
        .expect(201);
    assert_ne!(theirs.text, first.text);
}

#[tokio::test]
async fn a_rotated_key_works_until_the_overlap_ends() {
    let server = TestServer::start().await;
    let old = server
        .call(
            "POST",
            "/v1/keys",
            json!({"name": "n", "scopes": ["config:read"], "requestsPerSecond": 500}),
        )
        .await
        .expect(201)
        .json();
    let id = old["info"]["id"].as_str().unwrap();
    let rotated = server
        .call(
            "POST",
            &format!("/v1/keys/{id}/rotate"),
            json!({"overlapSeconds": 60}),
        )
        .await
        .expect(201)
        .json();
    assert_eq!(
        (
            &rotated["info"]["name"],
            &rotated["info"]["scopes"],
            &rotated["info"]["requestsPerSecond"]
        ),
        (&json!("n"), &json!(["config:read"]), &json!(500))
    );
    assert_eq!(rotated["replaces"]["id"], id);
    let (old, new) = (
        old["key"].as_str().unwrap(),
        rotated["key"].as_str().unwrap(),
    );
    server
        .call_as(old, "GET", "/v1/buses", None)
        .await
        .expect(200);
    server
        .call_as(new, "GET", "/v1/buses", None)
        .await
        .expect(200);
    server.clock.advance(Duration::from_secs(61));
    server
        .call_as(old, "GET", "/v1/buses", None)
        .await
        .problem(401, "KEY_EXPIRED");
    server
        .call_as(new, "GET", "/v1/buses", None)
        .await
        .expect(200);
    server
        .call("POST", &format!("/v1/keys/{id}/rotate"), None)
        .await
        .problem(409, "KEY_NOT_ACTIVE");
}

#[tokio::test]
async fn a_revoked_key_stops_at_once_and_the_last_administrator_stays() {
    let server = TestServer::start().await;
    let made = server
        .call(
            "POST",
            "/v1/keys",
            json!({"name": "n", "scopes": ["config:read"]}),
        )
        .await
        .expect(201)
        .json();
    let path = format!("/v1/keys/{}", made["info"]["id"].as_str().unwrap());
    server.call("DELETE", &path, None).await.expect(204);
    server.call("DELETE", &path, None).await.expect(204);
    server
        .call_as(made["key"].as_str().unwrap(), "GET", "/v1/buses", None)
        .await
        .problem(401, "KEY_REVOKED");
    assert_eq!(
        server.call("GET", &path, None).await.json()["active"],
        false
    );

    let keys = server.call("GET", "/v1/keys", None).await.json();
    let admin = keys["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "admin")
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    server
        .call("DELETE", &format!("/v1/keys/{admin}"), None)
        .await
        .problem(409, "LAST_ADMIN_KEY");
    server
        .call("DELETE", "/v1/keys/key_none", None)
        .await
        .problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn what_another_process_does_to_a_key_is_seen_within_a_second() {
    let server = TestServer::start().await;
    let made = server
        .call(
            "POST",
            "/v1/keys",
            json!({"name": "n", "scopes": ["config:read"]}),
        )
        .await
        .expect(201)
        .json();
    let id = made["info"]["id"].as_str().unwrap();
    let mut stored = server
        .store
        .list_keys()
        .await
        .unwrap()
        .into_iter()
        .find(|key| key.id == id)
        .unwrap();
    stored.revoked_at_ms = Some(1);
    server.store.put_key(&stored, &[], None).await.unwrap();
    server.clock.advance(Duration::from_secs(2));
    server
        .call_as(made["key"].as_str().unwrap(), "GET", "/v1/buses", None)
        .await
        .problem(401, "KEY_REVOKED");
}

#[tokio::test]
async fn bad_keys_are_refused_member_by_member() {
    let server = TestServer::start().await;
    for (body, pointer) in [
        (json!({"scopes": ["admin"]}), "/name"),
        (json!({"name": "", "scopes": ["admin"]}), "/name"),
        (json!({"name": "a\nb", "scopes": ["admin"]}), "/name"),
        (json!({"name": "n", "scopes": []}), "/scopes"),
        (json!({"name": "n", "scopes": ["root"]}), "/scopes/0"),
        (
            json!({"name": "n", "scopes": ["admin"], "expiresAt": "2001-01-01T00:00:00Z"}),
            "/expiresAt",
        ),
        (
            json!({"name": "n", "scopes": ["admin"], "expiresAt": "soon"}),
            "/expiresAt",
        ),
        (
            json!({"name": "n", "scopes": ["admin"], "requestsPerSecond": 0}),
            "/requestsPerSecond",
        ),
        (
            json!({"name": "n", "scopes": ["admin"], "admin": true}),
            "/admin",
        ),
    ] {
        let problem = server
            .call("POST", "/v1/keys", body.clone())
            .await
            .problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    assert_eq!(server.store.list_keys().await.unwrap().len(), 1);
}
