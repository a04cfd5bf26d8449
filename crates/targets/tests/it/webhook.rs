//! Webhooks on the wire: what a receiver gets, and what its answers lead to.

use belfry_egress::HeaderMap;
use belfry_model::Event;
use belfry_model::delivery::Reason;
use belfry_model::event::EventLimits;
use belfry_targets::{Attempted, Handshake, Verdict, find_kind};
use belfry_transform::{ContentKind, Rendered};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::sink::{Reply, Seen, Sink};
use crate::support::{SECRET, context, egress, job, structured, try_webhook, webhook};

const OLD_SECRET: &str = "whsec_ZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5/gIGCg4Q=";
const KEY: &str =
    "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==";

/// Delivers one event and gives back what the receiver saw.
async fn sent(event: &Event, more: Value) -> (Seen, Attempted) {
    let sink = Sink::always(Reply::status(200)).await;
    let attempted = webhook(&sink.url("/hook"), &more)
        .deliver(&job(event))
        .await;
    assert_eq!(attempted.verdict, Verdict::Delivered);
    assert_eq!(attempted.status, Some(200));
    (sink.seen().remove(0), attempted)
}

fn verify(secret: &str, seen: &Seen) {
    let headers: HeaderMap = seen
        .headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect::<HeaderMap>();
    standardwebhooks::Webhook::new(secret)
        .unwrap()
        .verify(&seen.body, &headers)
        .unwrap();
}

fn lenient(doc: &'static str) -> Event {
    struct Nothing;
    impl belfry_model::event::Fill for Nothing {
        fn id(&mut self) -> String {
            "1".to_owned()
        }
        fn now_ms(&mut self) -> i64 {
            0
        }
    }
    Event::lenient(
        Bytes::from_static(doc.as_bytes()),
        &mut Nothing,
        &EventLimits::default(),
    )
    .unwrap()
}

#[tokio::test]
async fn a_receiver_gets_the_event_as_accepted_and_can_verify_it() {
    let event = structured();
    let (seen, attempted) = sent(&event, json!({ "headers": { "x-tenant": "blue" } })).await;
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.body, *event.doc());
    assert_eq!(
        seen.header("content-type"),
        Some("application/cloudevents+json")
    );
    assert_eq!(seen.header("user-agent"), Some("Belfry/test"));
    assert_eq!(seen.header("x-tenant"), Some("blue"));
    assert_eq!(
        seen.header("webhook-id"),
        Some(job(&event).delivery.to_string().as_str())
    );
    // The attempt's own trace, not the producer's.
    assert_eq!(
        seen.header("traceparent"),
        job(&event).traceparent.as_deref()
    );
    verify(SECRET, &seen);
    let record = attempted.request.unwrap();
    assert!(record.body_is_event && record.body.is_none());
    assert_eq!(record.body_bytes, event.doc().len());
}

#[tokio::test]
async fn every_active_secret_and_key_signs() {
    let signing =
        json!({ "signing": { "secrets": [SECRET, OLD_SECRET], "keys": [KEY] }, "method": "PUT" });
    let (seen, _) = sent(&structured(), signing).await;
    assert_eq!(seen.method, "PUT");
    verify(SECRET, &seen);
    verify(OLD_SECRET, &seen);
    let tokens: Vec<_> = seen
        .header("webhook-signature")
        .unwrap()
        .split(' ')
        .map(|token| &token[..3])
        .collect();
    assert_eq!(tokens, ["v1,", "v1,", "v1a"]);
}

#[tokio::test]
async fn an_unsigned_request_still_has_an_id_to_tell_repeats_by() {
    let (seen, _) = sent(&structured(), json!({ "signing": { "enabled": false } })).await;
    assert!(seen.header("webhook-signature").is_none());
    assert!(seen.header("webhook-id").is_some());
    assert!(
        try_webhook(json!({ "url": "http://127.0.0.1/" })).is_err(),
        "signing without a secret"
    );
}

#[tokio::test]
async fn a_document_that_is_no_cloudevent_is_sent_as_json() {
    let event = lenient(r#"{"source":"/disk","type":"full","Extra Member":{"a":1}}"#);
    let (seen, _) = sent(&event, json!({})).await;
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.body, *event.doc());
    let (seen, attempted) = sent(&event, json!({ "body": "cloudevents" })).await;
    assert_eq!(
        seen.header("content-type"),
        Some("application/cloudevents+json")
    );
    assert_eq!(seen.body, event.to_cloudevent());
    assert!(!attempted.request.unwrap().body_is_event);
}

#[tokio::test]
async fn binary_form_has_attributes_as_headers() {
    let (seen, attempted) = sent(&structured(), json!({ "body": "binary" })).await;
    assert_eq!(seen.body, br#"{"n":1.50}"#);
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("ce-id"), Some("e.1"));
    assert_eq!(seen.header("ce-type"), Some("disk.full"));
    assert_eq!(seen.header("ce-specversion"), Some("1.0"));
    assert_eq!(seen.header("ce-subject"), Some("%E7%A3%81%E7%9B%98%201"));
    // The producer's trace travels with the event, untouched.
    assert_eq!(
        seen.header("ce-traceparent"),
        Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    );
    assert!(seen.header("ce-datacontenttype").is_none());
    verify(SECRET, &seen);
    assert_eq!(
        attempted.request.unwrap().body.as_deref(),
        Some(r#"{"n":1.50}"#)
    );
}

#[tokio::test]
async fn data_form_is_the_payload_alone() {
    let (seen, _) = sent(&structured(), json!({ "body": "data" })).await;
    assert_eq!(seen.body, br#"{"n":1.50}"#);
    assert!(
        seen.headers
            .iter()
            .all(|(name, _)| !name.starts_with("ce-"))
    );
    let (seen, _) = sent(
        &lenient(r#"{"source":"a","type":"b"}"#),
        json!({ "body": "data" }),
    )
    .await;
    assert!(seen.body.is_empty() && seen.header("content-type").is_none());
}

#[tokio::test]
async fn a_transformed_body_takes_the_place_of_the_event() {
    let sink = Sink::always(Reply::status(200)).await;
    let event = structured();
    let rendered = Rendered {
        body: b"disk is full".to_vec(),
        content_type: ContentKind::Text,
    };
    let job = belfry_targets::Job {
        body: Some(&rendered),
        ..job(&event)
    };
    let attempted = webhook(&sink.url("/"), &json!({})).deliver(&job).await;
    let seen = sink.seen().remove(0);
    assert_eq!(seen.body, b"disk is full");
    assert_eq!(
        seen.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    verify(SECRET, &seen);
    assert_eq!(
        attempted.request.unwrap().body.as_deref(),
        Some("disk is full")
    );
    // A receiver that insists on a content type gets it.
    webhook(
        &sink.url("/"),
        &json!({ "headers": { "Content-Type": "application/json" } }),
    )
    .deliver(&job)
    .await;
    assert_eq!(
        sink.seen()[1].header("content-type"),
        Some("application/json")
    );
}

async fn answered(reply: Reply, more: Value) -> Attempted {
    let sink = Sink::always(reply).await;
    let attempted = webhook(&sink.url("/"), &more)
        .deliver(&job(&structured()))
        .await;
    assert_eq!(sink.seen().len(), 1);
    attempted
}

#[tokio::test]
async fn answers_lead_to_verdicts() {
    let gone = answered(Reply::status(410), json!({})).await;
    assert!(matches!(gone.verdict, Verdict::Gone { .. }));
    let large = answered(Reply::status(413), json!({})).await;
    assert!(matches!(
        large.verdict,
        Verdict::Permanent {
            reason: Reason::RequestTooLarge,
            ..
        }
    ));
    let slow_down = answered(Reply::with(429, "retry-after", "120"), json!({})).await;
    assert!(matches!(
        slow_down.verdict,
        Verdict::Retry {
            reason: Reason::RateLimited,
            retry_after_ms: Some(120_000),
            ..
        }
    ));
    let busy = answered(
        Reply::with(503, "Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"),
        json!({}),
    )
    .await;
    assert!(matches!(
        busy.verdict,
        Verdict::Retry {
            reason: Reason::Http5xx,
            retry_after_ms: Some(0),
            ..
        }
    ));
    let known = answered(Reply::status(409), json!({ "successStatus": [200, 409] })).await;
    assert_eq!(known.verdict, Verdict::Delivered);
    let nobody = webhook("http://127.0.0.1:1/", &json!({}))
        .deliver(&job(&structured()))
        .await;
    assert!(
        matches!(
            nobody.verdict,
            Verdict::Retry {
                reason: Reason::ConnectRefused,
                ..
            }
        ),
        "{nobody:?}"
    );
    assert!(nobody.request.is_some() && nobody.response.is_none() && nobody.status.is_none());
}

#[tokio::test]
async fn an_answer_is_kept_in_part() {
    let headers = vec![
        ("set-cookie", "id=s3cret".to_owned()),
        ("x-a", "b".to_owned()),
    ];
    let attempted = answered(Reply::Answer(500, headers, vec![b'x'; 10_000]), json!({})).await;
    let kept = attempted.response.unwrap();
    assert_eq!(
        (kept.status, kept.bytes, kept.body.len(), kept.truncated),
        (500, 10_000, 4096, true)
    );
    assert!(kept.headers.contains(&("x-a".to_owned(), "b".to_owned())));
    assert!(!format!("{kept:?}").contains("s3cret"));
}

#[tokio::test]
async fn headers_decide_though_the_rest_of_an_answer_never_comes() {
    for (head, gone) in [("410 Gone", true), ("200 OK", false)] {
        let bytes = format!("HTTP/1.1 {head}\r\ncontent-length: 100\r\n\r\nhalf").into_bytes();
        let attempted = answered(Reply::Hang(bytes), json!({})).await;
        match attempted.verdict {
            Verdict::Gone { .. } => assert!(gone),
            Verdict::Retry { reason, .. } => assert_eq!((reason, gone), (Reason::Timeout, false)),
            other => panic!("{other:?}"),
        }
        assert!(attempted.status.is_some() && attempted.response.unwrap().truncated);
    }
}

#[tokio::test]
async fn a_receiver_is_asked_for_consent_without_credentials() {
    let sink = Sink::start(|seen| match seen.method.as_str() {
        "OPTIONS" => Reply::Answer(
            405,
            vec![
                ("WebHook-Allowed-Origin", "events.example.com".into()),
                ("WebHook-Allowed-Rate", "100".into()),
            ],
            Vec::new(),
        ),
        _ => Reply::status(202),
    })
    .await;
    let more = json!({
        "handshake": { "origin": "events.example.com", "rate": 120 },
        "auth": { "type": "apiKey", "in": "query", "name": "key", "value": "s3cret" },
        "headers": { "x-token": "s3cret" }
    });
    let settings = json!({ "handshake": { "origin": "events.example.com" } });
    assert!(find_kind("webhook").unwrap().needs_handshake(&settings));
    assert!(!find_kind("webhook").unwrap().needs_handshake(&json!({})));
    let target = webhook(&sink.url("/exact/path"), &more);
    assert_eq!(
        target.handshake().await,
        Ok(Handshake {
            allowed_per_minute: Some(100)
        })
    );
    let asked = sink.seen().remove(0);
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("OPTIONS", "/exact/path")
    );
    assert_eq!(
        asked.header("webhook-request-origin"),
        Some("events.example.com")
    );
    assert_eq!(asked.header("webhook-request-rate"), Some("120"));
    assert!(!format!("{asked:?}").contains("s3cret"));
    target.deliver(&job(&structured())).await;
    assert_eq!(
        sink.seen()[1].header("webhook-request-origin"),
        Some("events.example.com")
    );

    let ordinary = Sink::always(Reply::with(200, "allow", "POST, OPTIONS")).await;
    let target = webhook(&ordinary.url("/"), &settings);
    assert!(
        target
            .handshake()
            .await
            .unwrap_err()
            .contains("has not consented")
    );
}

#[tokio::test]
async fn a_log_target_hands_back_a_line() {
    let kind = find_kind("log").unwrap();
    let target = kind
        .connect(json!({ "log": "audit" }), &context(egress()))
        .map_err(|errors| format!("{errors:?}"))
        .unwrap();
    let event = structured();
    let attempted = target.deliver(&job(&event)).await;
    assert_eq!(attempted.verdict, Verdict::Delivered);
    let line = attempted.append.unwrap();
    assert_eq!(
        (line.log.as_str(), line.text.as_bytes()),
        ("audit", &**event.doc())
    );
    assert!(attempted.request.is_none());
    for bad in [
        json!({ "log": "-" }),
        json!({}),
        json!({ "log": "a", "retentionDays": 0 }),
    ] {
        assert!(!kind.validate(&bad, &egress()).is_empty(), "{bad}");
    }
}
