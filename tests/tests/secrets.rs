//! Secrets come in and are used, and are seen nowhere.

use std::fs;

use anyhow::{Result, ensure};
use belfry_testkit::{Reply, Server, Sink, events};
use belfry_tests::{LIMIT, delivery, delivery_with, post, put_rule, text};
use http::Method;
use serde_json::json;

/// Texts that must not be found anywhere. Each is long and looks like nothing else.
const SECRETS: [&str; 6] = [
    "aaSigningAaSigningAaSigningAaSigningAaSign0=",
    "bbBearerTokenBbBearerToken",
    "ccPasswordCcPassword",
    "ddApiKeyDdApiKey",
    "eeHeaderEeHeaderEe",
    "ffPathSecretFfPathSecret",
];

#[tokio::test]
async fn secrets_appear_in_no_answer_no_log_and_no_file() -> Result<()> {
    let [signing, bearer, password, api_key, header, query] = SECRETS;
    let (mut server, sink) = (
        Server::with("log.level", "debug").start().await?,
        Sink::start().await?,
    );
    let admin = server.admin()?;
    // One target fails, so that errors, attempts and the server's log have something to say about it.
    sink.script("/fail", [Reply::status(500)]);
    let url = |path: &str| sink.url(path);
    let targets = json!({
        "bearer": {"type": "webhook", "settings": {
            "url": url("/bearer"), "signing": {"secrets": [format!("whsec_{signing}")]},
            "auth": {"type": "bearer", "token": bearer}, "headers": {"x-auth-token": header}}},
        "basic": {"type": "webhook", "settings": {
            "url": url("/basic"), "auth": {"type": "basic", "username": "user", "password": password}}},
        "key": {"type": "webhook", "settings": {
            "url": url("/key"), "auth": {"type": "apiKey", "in": "query", "name": "key", "value": api_key}}},
        "fail": {"type": "webhook", "retry": {"schedule": "none"}, "settings": {
            "url": url(&format!("/fail?access_token={query}")), "auth": {"type": "bearer", "token": bearer}}},
    });
    let rule = json!({"pattern": {"type": ["t"]}, "targets": targets});
    let mut answers = vec![put_rule(&admin, "r", &rule).await?.to_string()];
    let uid = post(&admin, &events::event("a", "t")).await?;

    // They are used.
    let received = sink.wait_for("/bearer", 1, LIMIT).await?.remove(0);
    received.verify(&format!("whsec_{signing}"))?;
    assert_eq!(
        received.header("authorization"),
        Some(format!("Bearer {bearer}").as_str())
    );
    assert_eq!(received.header("x-auth-token"), Some(header));
    ensure!(
        sink.wait_for(&format!("/key?key={api_key}"), 1, LIMIT)
            .await
            .is_ok()
    );
    for one in belfry_tests::settled(&admin, &uid).await? {
        answers.push(delivery(&admin, &text(&one["id"])?).await?.to_string());
    }
    for path in [
        "/v1/buses/default/rules",
        "/v1/buses/default/rules/r",
        "/v1/buses/default/rules/r/targets/bearer",
        "/v1/audit",
        "/v1/deliveries",
        "/v1/events",
        "/v1/keys",
        "/metrics",
        "/readyz",
    ] {
        let answer = admin.get(path).await?;
        answer.expect(200).or_else(|error| {
            if path == "/metrics" {
                Ok(json!(null))
            } else {
                Err(error)
            }
        })?;
        answers.push(answer.text());
    }
    // Refusals quote what was wrong, not what was secret.
    let mut bad = rule.clone();
    bad["targets"]["bearer"]["settings"]["auth"]["tken"] = "x".into();
    bad["targets"]["basic"]["settings"]["url"] = format!("http://user:{password}@[").into();
    answers.push(admin.put("/v1/buses/default/rules/r", &bad).await?.text());
    for arguments in [
        &["get", "rule", "r", "-o", "json"][..],
        &["list", "rules"],
        &["config", "print"],
    ] {
        let finished = server.cli().run(arguments).await?;
        answers.push(finished.stdout + &finished.stderr);
    }
    server.stop(LIMIT).await?;
    answers.push(server.output().replace(server.admin_key(), ""));
    for secret in SECRETS {
        for answer in &answers {
            ensure!(!answer.contains(secret), "{secret} is shown: {answer}");
        }
    }

    // The files: sealed. The admin key is kept as a hash only.
    for entry in fs::read_dir(server.data())? {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        for secret in SECRETS.into_iter().chain([server.admin_key()]) {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            ensure!(!found, "{secret} is in {}", path.display());
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_mask_sent_back_keeps_the_secret() -> Result<()> {
    let (mut server, sink) = (Server::start().await?, Sink::start().await?);
    let admin = server.admin()?;
    let secret = belfry_tests::SECRET;
    let targets = json!({"hook": belfry_tests::webhook(&sink.url("/hook"))});
    put_rule(&admin, "r", &belfry_tests::rule(&["t"], &targets)).await?;
    let path = "/v1/buses/default/rules/r/targets/hook";
    let shown = admin.get(path).await?.expect(200)?;
    ensure!(
        shown.to_string().contains("********") && !shown.to_string().contains(secret),
        "{shown}"
    );
    let mut changed = json!({"type": shown["type"], "settings": shown["settings"], "description": "read and written back"});
    changed["settings"]["timeoutSeconds"] = 7.into();
    let answer = admin.put(path, &changed).await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    server.restart().await?;
    let admin = server.admin()?;
    let uid = post(&admin, &events::event("a", "t")).await?;
    delivery_with(&admin, &uid, "delivered").await?;
    sink.received().pop().map_or_else(
        || anyhow::bail!("nothing received"),
        |one| one.verify(secret),
    )
}

#[tokio::test]
async fn a_revoked_or_rotated_key_works_as_long_as_it_should() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let made = admin
        .post("/v1/keys", &json!({"name": "a", "scopes": ["config:read"]}))
        .await?
        .expect(201)?;
    let (id, key) = (text(&made["info"]["id"])?, text(&made["key"])?);
    let old = admin.with_key(Some(&key));
    old.get("/v1/buses").await?.expect(200)?;
    let rotated = admin
        .post(
            &format!("/v1/keys/{id}/rotate"),
            &json!({"overlapSeconds": 3600}),
        )
        .await?;
    ensure!(rotated.status.is_success(), "{}", rotated.text());
    let new = admin.with_key(rotated.json()?["key"].as_str());
    for client in [&old, &new] {
        client.get("/v1/buses").await?.expect(200)?;
    }
    let answer = admin
        .send(Method::DELETE, &format!("/v1/keys/{id}"), &[], "")
        .await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    old.get("/v1/buses").await?.problem(401, "KEY_REVOKED")?;
    new.get("/v1/buses").await?.expect(200)?;
    Ok(())
}
