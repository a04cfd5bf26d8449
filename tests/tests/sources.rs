//! What alarm senders post becomes events, and simulated alarms reach their targets.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use belfry_testkit::{Server, Sink};
use belfry_tests::{LIMIT, put_rule, text, webhook};
use http::Method;
use serde_json::{Value, json};

const SOURCES: &str = "kind: Source
metadata: {name: am}
spec: {format: alertmanager, auth: {type: secretUrl}}
---
kind: Source
metadata: {name: git}
spec: {format: github, auth: {type: signature}, signing: {secrets: [{$env: GIT_SECRET}]}}
";

fn alerts(count: usize) -> Value {
    let alert = |n: usize| {
        json!({
            "status": "firing", "labels": {"alertname": "DiskFull", "instance": format!("host-{n}"), "severity": "critical"},
            "annotations": {"summary": "The disk is full"}, "startsAt": "2026-11-26T08:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus/graph", "fingerprint": format!("{n:016x}"),
        })
    };
    json!({
        "version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "belfry", "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://alertmanager", "truncatedAlerts": 0,
        "alerts": (0..count).map(alert).collect::<Vec<_>>(),
    })
}

#[tokio::test]
async fn an_alarm_sender_posts_to_a_secret_url_and_every_alert_arrives() -> Result<()> {
    let mut server = Server::with("log.level", "debug").start().await?;
    let (admin, anon) = (server.admin()?, server.anon()?);
    let sink = Sink::start().await?;
    let targets = json!({"hook": webhook(&sink.url("/alerts"))});
    let pattern = json!({"pattern": {"severity": ["critical"]}, "targets": targets});
    put_rule(&admin, "all", &pattern).await?;
    let file = server.data().join("sources.yaml");
    std::fs::write(&file, SOURCES)?;
    let (cli, path) = (
        server.cli().env("GIT_SECRET", "ggSecretGgSecret"),
        file.display().to_string(),
    );
    let applied = cli.run(&["apply", "-f", &path]).await?;
    ensure!(applied.code == Some(0), "{}", applied.stderr);
    let url = applied
        .stderr
        .split_whitespace()
        .find(|word| word.starts_with("/in/"))
        .context("the secret URL was not shown")?
        .to_owned();

    let taken = anon.post(&url, &alerts(150)).await?.expect(200)?;
    ensure!(taken["accepted"] == 150, "{taken}");
    sink.wait_for("/alerts", 150, LIMIT).await?;

    // What was answered 200 is on the disk, and a sender that repeats it is recognised.
    server.kill9()?;
    server.restart().await?;
    let (admin, anon, cli) = (server.admin()?, server.anon()?, server.cli());
    let again = anon.post(&url, &alerts(150)).await?.expect(200)?;
    ensure!(
        again["duplicates"] == 150 && again["ids"] == taken["ids"],
        "{again}"
    );

    // What cannot be read is there to be looked at; who signs wrongly leaves nothing behind.
    anon.post(&url, &json!({"alerts": "none"}))
        .await?
        .problem(400, "UNREADABLE_BODY")?;
    let unparsed = admin
        .get("/v1/buses/default/sources/am/unparsed")
        .await?
        .expect(200)?;
    ensure!(
        unparsed["items"][0]["body"] == r#"{"alerts":"none"}"#,
        "{unparsed}"
    );
    let git = "/v1/buses/default/sources/git";
    let headers = [
        ("x-github-event", "push"),
        ("x-hub-signature-256", "sha256=00"),
        ("content-type", "application/json"),
    ];
    let refused = anon.send(Method::POST, git, &headers, "{}").await?;
    refused.problem(401, "BAD_SIGNATURE")?;
    let unparsed = admin.get(&format!("{git}/unparsed")).await?.expect(200)?;
    ensure!(unparsed["items"] == json!([]), "{unparsed}");
    let metrics = anon.get("/metrics").await?.text();
    let counted = r#"belfry_source_requests_total{bus="default",source="git",format="github",outcome="unauthorized"} 1"#;
    ensure!(metrics.contains(counted), "{metrics}");

    // The address is a secret: it stands in no log and no list.
    let token = url.trim_start_matches("/in/");
    let listed = cli.run(&["list", "sources"]).await?.expect(0)?;
    ensure!(
        listed.contains("alertmanager") && listed.contains("secretUrl"),
        "{listed}"
    );
    let shown = cli
        .run(&["get", "source", "am", "-o", "json"])
        .await?
        .expect(0)?;
    server.stop(Duration::from_secs(30)).await?;
    for text in [server.output(), listed, shown] {
        ensure!(!text.contains(token), "{text}");
        ensure!(!text.contains("ggSecretGgSecret"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_simulated_alarm_of_the_catalog_reaches_the_target_of_its_preset_pattern() -> Result<()> {
    let server = Server::start().await?;
    let (admin, cli, sink) = (server.admin()?, server.cli(), Sink::start().await?);
    let listed = cli.run(&["catalog", "list", "cvm"]).await?.expect(0)?;
    ensure!(listed.contains("cvm/ping-unreachable"), "{listed}");
    let shown = cli
        .run(&["catalog", "show", "cvm/ping-unreachable", "-o", "json"])
        .await?
        .expect(0)?;
    let entry: Value = serde_json::from_str(&shown)?;
    let rule =
        json!({"pattern": entry["pattern"], "targets": {"hook": webhook(&sink.url("/ping"))}});
    put_rule(&admin, "ping", &rule).await?;

    let template = [
        "send",
        "--template",
        "cvm/ping-unreachable",
        "--resource",
        "ins-7",
    ];
    let dry = cli
        .run(&[&template[..], &["--dry-run", "-o", "json"]].concat())
        .await?
        .expect(0)?;
    let dry: Value = serde_json::from_str(&dry)?;
    ensure!(
        dry["event"]["subject"] == "ins-7" && dry["dryRun"] == true,
        "{dry}"
    );
    let more = [
        "--data",
        r#"{"why": "a drill"}"#,
        "--status",
        "1",
        "-o",
        "json",
    ];
    let sent = cli.run(&[&template[..], &more].concat()).await?.expect(0)?;
    let sent: Value = serde_json::from_str(&sent)?;
    let received = sink.wait_for("/ping", 1, LIMIT).await?.remove(0).json()?;
    ensure!(
        received["type"] == entry["type"] && received["subject"] == "ins-7",
        "{received}"
    );
    ensure!(received["data"] == json!({"why": "a drill"}), "{received}");
    let found = admin.get(&text(&sent["url"])?).await?.expect(200)?;
    ensure!(
        found["event"]["alarmkey"] == received["alarmkey"],
        "{found}"
    );
    // The dry run sent nothing.
    ensure!(sink.received_at("/ping").len() == 1);
    let unknown = cli.run(&["send", "--template", "cvm/none"]).await?;
    ensure!(unknown.code == Some(2), "{unknown:?}");
    Ok(())
}
