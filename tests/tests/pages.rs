//! What is served beside the API: health, metrics, the API's description and its page.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use belfry_testkit::{Server, Sink, events};
use belfry_tests::{delivery_with, post, put_rule, rule, webhook};
use serde_json::{Value, json};

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[tokio::test]
async fn metrics_have_their_names_and_count_what_happened() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    put_rule(
        &admin,
        "r",
        &rule(&["t"], &json!({"hook": webhook(&sink.url("/hook"))})),
    )
    .await?;
    for (id, kind) in [("a", "t"), ("b", "t"), ("c", "nothing")] {
        let uid = post(&admin, &events::event(id, kind)).await?;
        if kind == "t" {
            delivery_with(&admin, &uid, "delivered").await?;
        }
    }
    let text = server.anon()?.get("/metrics").await?.text();
    let names: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for name in [
        "belfry_ingest_events_total",
        "belfry_events_matched_total",
        "belfry_events_unmatched_total",
        "belfry_deliveries_total",
        "belfry_delivery_attempts_total",
        "belfry_delivery_attempt_duration_seconds_bucket",
        "belfry_event_to_delivery_seconds_bucket",
        "belfry_queue_depth",
        "belfry_queue_oldest_age_seconds",
        "belfry_db_commit_duration_seconds_bucket",
        "belfry_db_commit_operations_bucket",
        "belfry_http_requests_total",
        "belfry_http_request_seconds_bucket",
        "belfry_build_info",
    ] {
        ensure!(names.contains(name), "{name} is missing among {names:?}");
    }
    // Every series has its help, and no label grows with what senders send.
    for name in &names {
        let base = name
            .trim_end_matches("_bucket")
            .trim_end_matches("_sum")
            .trim_end_matches("_count");
        ensure!(
            text.contains(&format!("# HELP {base} ")),
            "{base} has no help"
        );
    }
    let value = |start: &str| -> Result<f64> {
        let line = text
            .lines()
            .find(|line| line.starts_with(start))
            .with_context(|| format!("{start} in {text}"))?;
        line.rsplit(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .context("a number")
    };
    let counted = [
        ("belfry_events_matched_total{bus=\"default\"}", 2.0),
        ("belfry_events_unmatched_total{bus=\"default\"}", 1.0),
        (
            "belfry_event_to_delivery_seconds_count{target_kind=\"webhook\"}",
            2.0,
        ),
    ];
    for (series, expected) in counted {
        ensure!(
            (value(series)? - expected).abs() < 0.5,
            "{series}: {}",
            value(series)?
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_served_description_is_the_one_checked_in() -> Result<()> {
    let server = Server::start().await?;
    let shown = server.anon()?.get("/openapi.json").await?.expect(200)?;
    let stored = std::fs::read(repository().join("docs/reference/openapi.json"))?;
    let stored: Value = serde_json::from_slice(&stored)?;
    ensure!(
        shown == stored,
        "docs/reference/openapi.json is out of date: cargo xtask openapi"
    );
    ensure!(
        shown["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1")),
        "{}",
        shown["openapi"]
    );
    Ok(())
}

#[tokio::test]
async fn the_page_of_the_api_needs_nobody_else() -> Result<()> {
    let server = Server::start().await?;
    let answer = server.anon()?.get("/docs").await?;
    assert_eq!(answer.status.as_u16(), 200);
    let page = answer.text();
    ensure!(
        page.contains("/v1/buses/{bus}/events"),
        "the page shows the paths"
    );
    // What a browser would load, as against what a reader may click.
    for loaded in [
        "src=\"http",
        "src=\"//",
        "@import",
        "url(http",
        "url(//",
        "<link rel=\"stylesheet\" href=\"http",
    ] {
        ensure!(
            !page.contains(loaded),
            "the page loads from elsewhere: {loaded}"
        );
    }
    let policy = answer.header("content-security-policy").unwrap_or_default();
    ensure!(
        policy.contains("default-src 'none'"),
        "the policy is {policy:?}"
    );
    Ok(())
}

#[tokio::test]
async fn health_and_readiness_say_what_they_should() -> Result<()> {
    let server = Server::start().await?;
    let anon = server.anon()?;
    assert_eq!(anon.get("/healthz").await?.status.as_u16(), 200);
    anon.get("/readyz").await?.expect(200)?;
    let answer = anon.get("/healthz").await?;
    ensure!(answer.header("x-request-id").is_some());
    let headers = [("x-request-id", "my-own-id")];
    let answer = anon
        .send(http::Method::GET, "/healthz", &headers, "")
        .await?;
    assert_eq!(answer.header("x-request-id"), Some("my-own-id"));
    Ok(())
}

#[tokio::test]
async fn a_nearly_full_disk_is_not_ready_and_refuses_events() -> Result<()> {
    // No disk has this much room.
    let settings = Server::with("retention.disk_free_min", "1000000GiB");
    let server = match settings.start_unready().await {
        Ok(server) => server,
        Err(error) => {
            return Err(
                error.context("a server without room starts all the same, to deliver and to tell")
            );
        }
    };
    let admin = server.admin()?;
    let refused = admin
        .post_event("default", &events::event("a", "t"))
        .await?;
    refused.problem(503, "DISK_FULL")?;
    ensure!(refused.header("retry-after").is_some());
    let unready = server.anon()?.get("/readyz").await?;
    assert_eq!(unready.status.as_u16(), 503);
    ensure!(
        unready.text().contains("disk"),
        "it says what is not ready: {}",
        unready.text()
    );
    assert_eq!(
        belfry_tests::all(&admin, "/v1/events?bus=default")
            .await?
            .len(),
        0
    );
    Ok(())
}

#[tokio::test]
async fn a_trace_goes_from_the_sender_to_the_receiver() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    put_rule(
        &admin,
        "r",
        &rule(&["t"], &json!({"hook": webhook(&sink.url("/hook"))})),
    )
    .await?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [
        ("content-type", "application/cloudevents+json"),
        ("traceparent", parent.as_str()),
    ];
    let body = events::event("a", "t").to_string();
    admin
        .send(
            http::Method::POST,
            "/v1/buses/default/events",
            &headers,
            body,
        )
        .await?
        .expect(202)?;
    let received = sink
        .wait_for("/hook", 1, belfry_tests::LIMIT)
        .await?
        .remove(0);
    let sent = received.header("traceparent").unwrap_or_default();
    ensure!(
        sent.contains(trace) && sent != parent,
        "a new span of the same trace: {sent}"
    );
    Ok(())
}
