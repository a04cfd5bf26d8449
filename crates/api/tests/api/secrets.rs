//! Secrets are sealed at rest, masked everywhere, shown once when the server makes them.

use belfry_testkit::sink::{Reply, Sink};
use serde_json::{Value, json};

use super::server::TestServer;

const MASK: &str = "********";
const TOKEN: &str = "tok-hunter2-and-more";
const TARGET: &str = "/v1/buses/default/rules/r/targets/t";

fn target(url: &str, token: &str) -> Value {
    json!({"type": "webhook", "settings": {"url": url, "auth": {"type": "bearer", "token": token}}})
}

async fn everything(server: &TestServer) -> String {
    let mut all = String::new();
    for path in [
        "/v1/buses/default/rules",
        "/v1/buses/default/rules/r",
        TARGET,
        "/v1/audit?limit=200",
    ] {
        all += &server.call("GET", path, None).await.expect(200).text;
    }
    all
}

#[tokio::test]
async fn a_secret_never_shows_and_its_mask_keeps_it() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    server
        .rule("r", json!({"type": ["t"]}), target(&sink.url("/a"), TOKEN))
        .await;
    assert!(!everything(&server).await.contains(TOKEN));
    let stored = format!("{:?}", server.store.load_config().await.unwrap().targets);
    assert!(!stored.contains(TOKEN) && stored.contains("sealed:1:"));

    // Read, changed elsewhere, written back: the secret is still the one that was set.
    let mut read = server.call("GET", TARGET, None).await.expect(200).json();
    assert_eq!(read["settings"]["auth"]["token"], MASK);
    read["settings"]["url"] = json!(sink.url("/b"));
    server.call("PUT", TARGET, read).await.expect(200);
    server
        .call("PATCH", TARGET, json!({"description": "d"}))
        .await
        .expect(200);
    server.post(json!({"source": "/s", "type": "t"})).await;
    let found = server
        .until("/v1/deliveries", |list| {
            list["items"][0]["status"] == "delivered"
        })
        .await;
    let received = sink.received_at("/b");
    assert_eq!(
        received[0].header("authorization"),
        Some(format!("Bearer {TOKEN}").as_str())
    );
    let attempts = server
        .call(
            "GET",
            &format!(
                "/v1/deliveries/{}",
                found["items"][0]["id"].as_str().unwrap()
            ),
            None,
        )
        .await;
    assert!(!attempts.text.contains(TOKEN));
    assert!(!everything(&server).await.contains(TOKEN));
}

#[tokio::test]
async fn a_mask_without_a_secret_behind_it_is_refused() {
    let server = TestServer::start().await;
    server
        .call(
            "PUT",
            "/v1/buses/default/rules/r",
            json!({"pattern": {"type": ["t"]}}),
        )
        .await
        .expect(201);
    let problem = server
        .call("PUT", TARGET, target("http://127.0.0.1:9/", MASK))
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(problem["errors"][0]["pointer"], "/settings/auth/token");
}

#[tokio::test]
async fn a_put_with_the_same_secret_or_its_mask_changes_nothing() {
    let server = TestServer::start().await;
    server
        .rule(
            "r",
            json!({"type": ["t"]}),
            target("http://127.0.0.1:9/", TOKEN),
        )
        .await;
    for token in [TOKEN, MASK] {
        let same = server
            .call("PUT", TARGET, target("http://127.0.0.1:9/", token))
            .await
            .expect(200);
        assert_eq!(same.header("etag"), Some("\"r1\""));
    }
    let other = server
        .call(
            "PUT",
            TARGET,
            target("http://127.0.0.1:9/", "another-token"),
        )
        .await
        .expect(200);
    assert_eq!(other.header("etag"), Some("\"r2\""));
}

#[tokio::test]
async fn what_the_server_makes_is_shown_once() {
    let server = TestServer::start().await;
    server
        .call(
            "PUT",
            "/v1/buses/default/rules/r",
            json!({"pattern": {"type": ["t"]}}),
        )
        .await
        .expect(201);
    let body = json!({"type": "webhook", "settings": {"url": "http://127.0.0.1:9/"}});
    let made = server
        .call("PUT", TARGET, body.clone())
        .await
        .expect(201)
        .json();
    let secret = made["generatedSecrets"][0]["value"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        made["generatedSecrets"][0]["pointer"],
        "/settings/signing/secrets/0"
    );
    assert!(made["settings"]["signing"]["secrets"][0] == MASK, "{made}");
    let again = server.call("PUT", TARGET, body).await.expect(200);
    assert!(!again.text.contains(&secret) && again.json().get("generatedSecrets").is_none());
    assert!(!everything(&server).await.contains(&secret));
}

#[tokio::test]
async fn a_receiver_that_must_agree_first_is_asked() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    server
        .call(
            "PUT",
            "/v1/buses/default/rules/r",
            json!({"pattern": {"type": ["t"]}}),
        )
        .await
        .expect(201);
    let body = json!({"type": "webhook", "settings": {"url": sink.url("/hook"), "handshake": {"origin": "events.example.com"}}});
    // A receiver that just answers has not agreed.
    server
        .call("PUT", TARGET, body.clone())
        .await
        .problem(422, "HANDSHAKE_REFUSED");
    // Among several targets it must be said which.
    let problem = server
        .call(
            "PATCH",
            "/v1/buses/default/rules/r",
            json!({"targets": {"t": body}}),
        )
        .await
        .problem(422, "HANDSHAKE_REFUSED");
    assert_eq!(problem["errors"][0]["pointer"], "/targets/t/settings/url");
    server
        .call("GET", TARGET, None)
        .await
        .problem(404, "NOT_FOUND");
    let yes = Reply::Answer {
        status: 200,
        headers: vec![
            (
                "webhook-allowed-origin".to_owned(),
                "events.example.com".to_owned(),
            ),
            ("webhook-allowed-rate".to_owned(), "120".to_owned()),
        ],
        body: String::new(),
    };
    sink.script("/hook", [yes]);
    let before = sink.received().len();
    server
        .call("PUT", &format!("{TARGET}?dryRun=true"), body.clone())
        .await
        .expect(200);
    assert_eq!(sink.received().len(), before);
    let made = server.call("PUT", TARGET, body).await.expect(201).json();
    assert_eq!(made["handshake"]["allowedPerMinute"], 120);
    // Asked again only when where it goes has changed.
    server
        .call("PATCH", TARGET, json!({"description": "d"}))
        .await
        .expect(200);
    assert_eq!(sink.received().len(), before + 1);
}

#[tokio::test]
async fn a_change_of_kind_takes_no_settings_along() {
    let server = TestServer::start().await;
    server
        .rule(
            "r",
            json!({"type": ["t"]}),
            target("http://127.0.0.1:9/", TOKEN),
        )
        .await;
    let changed = server
        .call(
            "PATCH",
            TARGET,
            json!({"type": "log", "settings": {"log": "l"}}),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(changed["settings"], json!({"log": "l"}));
    assert!(!everything(&server).await.contains(TOKEN));
}

/// The URL was sealed and then taken for the URL itself: nothing was delivered, and readers saw the sealed text.
#[tokio::test]
async fn a_url_with_a_token_is_masked_and_delivered_to() {
    let server = TestServer::start().await;
    let sink = Sink::start().await.unwrap();
    let url = sink.url(&format!("/hook?access_token={TOKEN}"));
    let body = json!({"type": "webhook", "settings": {"url": url}});
    server.rule("r", json!({"type": ["t"]}), body).await;
    let read = server.call("GET", TARGET, None).await.expect(200).json();
    assert_eq!(read["settings"]["url"], MASK);
    // Written back as it was read, and patched elsewhere: still the same URL.
    let same = server.call("PUT", TARGET, read).await.expect(200);
    assert_eq!(same.header("etag"), Some("\"r1\""));
    server
        .call("PATCH", TARGET, json!({"description": "d"}))
        .await
        .expect(200);
    server.post(json!({"source": "/s", "type": "t"})).await;
    server
        .until("/v1/deliveries", |list| {
            list["items"][0]["status"] == "delivered"
        })
        .await;
    assert!(sink.received()[0].path.contains(TOKEN));
    let shown = everything(&server).await;
    assert!(!shown.contains(TOKEN) && !shown.contains("sealed:"));
}

/// A patch began from the secrets in clear, so that whoever may change a target could have them sent to himself.
#[tokio::test]
async fn a_patch_of_the_url_alone_does_not_take_secrets_to_another_receiver() {
    let server = TestServer::start().await;
    server
        .rule(
            "r",
            json!({"type": ["t"]}),
            target("http://127.0.0.1:9/", TOKEN),
        )
        .await;
    let problem = server
        .call(
            "PATCH",
            TARGET,
            json!({"settings": {"url": "http://127.0.0.1:10/"}}),
        )
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(problem["errors"][0]["pointer"], "/settings/auth/token");
    server
        .call(
            "PATCH",
            TARGET,
            json!({"settings": {"url": "http://127.0.0.1:9/other-path"}}),
        )
        .await
        .expect(200);
}

#[tokio::test]
async fn a_secret_in_the_wrong_place_is_not_repeated_in_the_problem() {
    let server = TestServer::start().await;
    server
        .call(
            "PUT",
            "/v1/buses/default/rules/r",
            json!({"pattern": {"type": ["t"]}}),
        )
        .await
        .expect(201);
    for wrong in [
        json!({"auth": TOKEN}),
        json!({"headers": TOKEN}),
        json!({"signing": {"secrets": TOKEN}}),
        json!({"auth": {"type": "bearer", "token": [TOKEN]}}),
    ] {
        let mut body = target("http://127.0.0.1:9/", "x");
        for (name, value) in wrong.as_object().unwrap() {
            body["settings"][name] = value.clone();
        }
        let answer = server.call("PUT", TARGET, body).await.expect(400);
        assert!(!answer.text.contains(TOKEN), "{}", answer.text);
    }
}
