//! Credentials on the wire: what is sent, how tokens are had, and that nothing of it is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use belfry_model::delivery::Reason;
use belfry_targets::{Target, Verdict};
use serde_json::json;

use crate::sink::{Reply, Sink};
use crate::support::{job, structured, webhook};

#[tokio::test]
async fn credentials_are_sent_and_never_kept() {
    for (auth, header, expected) in [
        (
            json!({ "type": "basic", "username": "me", "password": "s3cret-word" }),
            "authorization",
            "Basic bWU6czNjcmV0LXdvcmQ=",
        ),
        (
            json!({ "type": "bearer", "token": "s3cret-word" }),
            "authorization",
            "Bearer s3cret-word",
        ),
        (
            json!({ "type": "apiKey", "name": "X-Plain", "value": "s3cret-word" }),
            "x-plain",
            "s3cret-word",
        ),
    ] {
        // Says back everything it was told.
        let sink = Sink::start(|seen| Reply::body(200, format!("{seen:?}"))).await;
        let attempted = webhook(&sink.url("/"), &json!({ "auth": auth }))
            .deliver(&job(&structured()))
            .await;
        assert_eq!(sink.seen()[0].header(header), Some(expected));
        let kept = format!("{attempted:?}");
        assert!(
            !kept.contains("s3cret-word") && !kept.contains("bWU6czNjcmV0LXdvcmQ="),
            "{kept}"
        );
    }
    let auth = json!({ "type": "apiKey", "in": "query", "name": "plain", "value": "s3cret word" });
    let sink = Sink::always(Reply::status(200)).await;
    let attempted = webhook(&sink.url("/a?b=c"), &json!({ "auth": auth }))
        .deliver(&job(&structured()))
        .await;
    assert_eq!(sink.seen()[0].target, "/a?b=c&plain=s3cret+word");
    assert_eq!(sink.seen()[0].header("cache-control"), Some("no-store"));
    let url = attempted.request.unwrap().url;
    assert!(!url.contains("s3cret"), "{url}");
}

/// A token URL that gives out `token-1`, `token-2` ... and a receiver that takes those that `good` likes.
async fn oauth(
    good: fn(&str) -> bool,
    answer: fn(usize) -> Reply,
) -> (Sink, Sink, Arc<dyn Target>) {
    let count = Arc::new(AtomicUsize::new(0));
    let issuer = Sink::start(move |_| answer(count.fetch_add(1, Ordering::SeqCst) + 1)).await;
    let receiver = Sink::start(move |seen| {
        Reply::status(if seen.header("authorization").is_some_and(good) {
            200
        } else {
            401
        })
    })
    .await;
    let auth = json!({
        "type": "oauth2", "tokenUrl": issuer.url("/token"), "clientId": "me", "clientSecret": "s3cret/word",
        "scope": "a b", "audience": "hooks"
    });
    let target = webhook(&receiver.url("/"), &json!({ "auth": auth }));
    (issuer, receiver, target)
}

fn token(n: usize) -> Reply {
    Reply::body(
        200,
        json!({ "access_token": format!("token-{n}"), "token_type": "bearer", "expires_in": 3600 })
            .to_string(),
    )
}

#[tokio::test]
async fn one_token_serves_many_deliveries() {
    let (issuer, receiver, target) = oauth(|header| header == "Bearer token-1", token).await;
    let event = structured();
    let job = job(&event);
    let (a, b, c) = tokio::join!(
        target.deliver(&job),
        target.deliver(&job),
        target.deliver(&job)
    );
    for attempted in [a, b, c, target.deliver(&job).await] {
        assert_eq!(attempted.verdict, Verdict::Delivered);
        assert!(!format!("{attempted:?}").contains("token-1"));
    }
    assert_eq!((issuer.seen().len(), receiver.seen().len()), (1, 4));
    let asked = issuer.seen().remove(0);
    assert_eq!(
        asked.body,
        b"grant_type=client_credentials&scope=a+b&audience=hooks"
    );
    assert_eq!(
        asked.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    // me:s3cret%2Fword
    assert_eq!(
        asked.header("authorization"),
        Some("Basic bWU6czNjcmV0JTJGd29yZA==")
    );
}

#[tokio::test]
async fn a_refused_token_is_replaced_by_the_next_attempt() {
    let (issuer, receiver, target) = oauth(|_| false, token).await;
    let event = structured();
    let job = job(&event);
    // Brand new and refused: another one will not help, the answer stands for itself.
    let first = target.deliver(&job).await;
    assert!(matches!(
        first.verdict,
        Verdict::Retry {
            reason: Reason::Http4xx,
            ..
        }
    ));
    assert_eq!((issuer.seen().len(), receiver.seen().len()), (1, 1));
    // The refused one was dropped.
    target.deliver(&job).await;
    assert_eq!((issuer.seen().len(), receiver.seen().len()), (2, 2));

    let calls = Arc::new(AtomicUsize::new(0));
    let receiver =
        Sink::start(move |_| Reply::status([200, 401, 200][calls.fetch_add(1, Ordering::SeqCst)]))
            .await;
    let auth = json!({ "type": "oauth2", "tokenUrl": issuer.url("/"), "clientId": "me", "clientSecret": "x", "clientAuth": "body" });
    let target = webhook(&receiver.url("/"), &json!({ "auth": auth }));
    assert_eq!(target.deliver(&job).await.verdict, Verdict::Delivered);
    let refused = target.deliver(&job).await;
    assert!(matches!(
        refused.verdict,
        Verdict::Retry {
            reason: Reason::AuthFailed,
            ..
        }
    ));
    assert_eq!(target.deliver(&job).await.verdict, Verdict::Delivered);
    assert_eq!(receiver.seen().len(), 3, "every request is an attempt");
    assert_eq!(
        issuer.seen()[2].body,
        b"grant_type=client_credentials&client_id=me&client_secret=x"
    );
}

#[tokio::test]
async fn no_token_is_a_failure_of_auth_and_nothing_is_sent() {
    for (answer, said) in [
        (
            (|_| {
                Reply::body(
                    400,
                    r#"{"error":"invalid_client","error_description":"s3cret"}"#,
                )
            }) as fn(usize) -> Reply,
            "400 (invalid_client)",
        ),
        (
            |_| Reply::body(200, r#"{"access_token":7}"#),
            "without an access_token",
        ),
        (|_| Reply::body(200, "s3cret"), "without an access_token"),
        (
            |_| Reply::body(200, r#"{"access_token":"a","token_type":"mac"}"#),
            "Bearer",
        ),
        (
            |_| Reply::body(200, "{\"access_token\":\"a\\nb\"}"),
            "header",
        ),
        (|_| Reply::Reset, "connection broke"),
        (|_| Reply::Hang(Vec::new()), "limit"),
    ] {
        let (_, receiver, target) = oauth(|_| true, answer).await;
        let attempted = target.deliver(&job(&structured())).await;
        let Verdict::Retry {
            reason: Reason::AuthFailed,
            detail,
            ..
        } = &attempted.verdict
        else {
            panic!("{attempted:?}")
        };
        assert!(detail.contains(said), "{detail}");
        assert!(!detail.contains("s3cret"), "{detail}");
        assert!(receiver.seen().is_empty() && attempted.request.is_none());
    }
}
