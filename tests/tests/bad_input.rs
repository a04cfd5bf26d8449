//! Wrong requests: each gets its own problem document, and nothing is stored.

use anyhow::{Context, Result, ensure};
use belfry_testkit::{Server, events};
use belfry_tests::{all, put_rule, rule, webhook};
use http::Method;
use serde_json::{Value, json};

const STRUCTURED: &str = "application/cloudevents+json";
const EVENTS: &str = "/v1/buses/default/events";

/// A wrong event: what is wrong, the content type, the body, and what must be answered: status, code, and a pointer
/// or a part of the document's text.
type Case = (
    &'static str,
    &'static str,
    Vec<u8>,
    u16,
    &'static str,
    &'static str,
);

fn event_with(member: &str, value: Value) -> Vec<u8> {
    let mut event = events::event("x", "t");
    event[member] = value;
    event.to_string().into_bytes()
}

fn nested(depth: usize) -> Vec<u8> {
    let data = "[".repeat(depth) + &"]".repeat(depth);
    format!(r#"{{"specversion":"1.0","id":"x","source":"s","type":"t","data":{data}}}"#)
        .into_bytes()
}

fn cases() -> Vec<Case> {
    let json = |name, body: Vec<u8>, at| (name, STRUCTURED, body, 400, "INVALID_JSON", at);
    let structured =
        |name, body: Vec<u8>, at| (name, STRUCTURED, body, 400, "INVALID_CLOUDEVENT", at);
    let bytes = |text: &str| text.as_bytes().to_vec();
    vec![
        json("malformed JSON", bytes(r#"{"specversion":"1.0","#), ""),
        structured("no object", bytes("[1]"), ""),
        json(
            "not UTF-8",
            b"{\"specversion\":\"1.0\",\"id\":\"\xff\",\"source\":\"s\",\"type\":\"t\"}".to_vec(),
            "unicode",
        ),
        json(
            "a repeated name",
            bytes(r#"{"specversion":"1.0","id":"x","id":"y","source":"s","type":"t"}"#),
            "/id",
        ),
        structured(
            "no id",
            bytes(r#"{"specversion":"1.0","source":"s","type":"t"}"#),
            "/id",
        ),
        structured("empty type", event_with("type", json!("")), "/type"),
        structured("null source", event_with("source", json!(null)), "/source"),
        structured(
            "wrong version",
            event_with("specversion", json!("0.3")),
            "/specversion",
        ),
        structured(
            "numeric version",
            event_with("specversion", json!(1.0)),
            "/specversion",
        ),
        structured(
            "time is no time",
            event_with("time", json!("yesterday")),
            "/time",
        ),
        structured(
            "time without offset",
            event_with("time", json!("2024-01-01T00:00:00")),
            "/time",
        ),
        json(
            "NUL in an attribute",
            event_with("subject", json!("a\u{0}b")),
            "/subject",
        ),
        structured(
            "both data members",
            event_with("data_base64", json!("AA==")),
            "data_base64",
        ),
        structured(
            "bad base64",
            {
                let mut event = events::event("x", "t");
                if let Some(members) = event.as_object_mut() {
                    members.remove("data");
                    members.insert("data_base64".to_owned(), "***".into());
                }
                event.to_string().into_bytes()
            },
            "/data_base64",
        ),
        json("too deep", nested(1000), ""),
        json(
            "a number beyond all bounds",
            bytes(r#"{"specversion":"1.0","id":"x","source":"s","type":"t","data":1e400000}"#),
            "/data",
        ),
        json(
            "trailing text",
            [event_with("data", json!(1)), bytes(" x")].concat(),
            "",
        ),
        (
            "too large an event",
            STRUCTURED,
            event_with("data", json!("x".repeat(300 * 1024))),
            413,
            "TOO_LARGE",
            "",
        ),
        (
            "a batch that is none",
            "application/cloudevents-batch+json",
            bytes("{}"),
            400,
            "INVALID_CLOUDEVENT",
            "",
        ),
        (
            "a batch with one bad event",
            "application/cloudevents-batch+json",
            json!([events::event("good", "t"), {"id": "bad"}])
                .to_string()
                .into_bytes(),
            400,
            "INVALID_CLOUDEVENT",
            "1",
        ),
        (
            "an unknown type",
            "text/csv",
            bytes("a,b"),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "",
        ),
        (
            "an unknown format of events",
            "application/cloudevents+xml",
            bytes("<a/>"),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "",
        ),
    ]
}

#[tokio::test]
async fn every_bad_event_has_its_answer_and_nothing_is_stored() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let mut wrong = Vec::new();
    for (name, content_type, body, status, code, at) in cases() {
        let answer = admin
            .send(
                Method::POST,
                EVENTS,
                &[("content-type", content_type)],
                body,
            )
            .await?;
        match answer.problem(status, code) {
            Ok(problem) if problem.to_string().contains(at) => {}
            Ok(problem) => wrong.push(format!("{name}: {at:?} is not named in {problem}")),
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        all(&admin, "/v1/events").await?.len(),
        0,
        "nothing was stored"
    );
    Ok(())
}

#[tokio::test]
async fn binary_headers_are_checked_as_bytes() -> Result<()> {
    let server = Server::start().await?;
    let send = async |header: &[u8], status: u16| -> Result<()> {
        let mut request = format!(
            "POST {EVENTS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             ce-specversion: 1.0\r\nce-id: {}\r\nce-source: s\r\nce-type: t\r\ncontent-length: 0\r\nce-subject: ",
            server.admin_key(),
            header.escape_ascii().to_string().replace(['\\', '"', ' '], "."),
        )
        .into_bytes();
        request.extend(header);
        request.extend(b"\r\n\r\n");
        let (found, body) =
            belfry_testkit::raw::exchange(server.address(), &request, belfry_tests::LIMIT).await?;
        ensure!(
            found == status,
            "{}: expected {status}, got {found} {}",
            header.escape_ascii(),
            String::from_utf8_lossy(&body)
        );
        Ok(())
    };
    for good in [
        &b"plain"[..],
        b"%E7%A3%81%e7%9b%98",
        "磁盘".as_bytes(),
        br#""quoted \" text""#,
        b"100%",
        b"a b",
    ] {
        send(good, 202).await?;
    }
    for bad in [&b"\xff"[..], b"%FF", b"%C0%A0", b"%ED%A0%80", b"a%00b"] {
        send(bad, 400).await?;
    }
    Ok(())
}

#[tokio::test]
async fn wrong_configuration_is_refused_with_pointers_and_the_nearest_name() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let good = rule(&["t"], &json!({"hook": webhook("http://127.0.0.1:9/")}));
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        if let Some(members) = changed.pointer_mut(parent).and_then(Value::as_object_mut) {
            members.insert(name.to_owned(), value);
        }
        changed
    };
    let cases = [
        (
            "unknown member",
            with("/enabeld", json!(true)),
            "/enabeld",
            "enabled",
        ),
        ("wrong type", with("/enabled", json!("yes")), "/enabled", ""),
        ("empty pattern", with("/pattern", json!({})), "/pattern", ""),
        (
            "unknown operator",
            with("/pattern", json!({"type": [{"prefx": "a"}]})),
            "/pattern/type/0/prefx",
            "prefix",
        ),
        (
            "a leaf that can never match",
            with("/pattern", json!({"type": []})),
            "/pattern/type",
            "",
        ),
        (
            "unknown kind",
            with("/targets/hook/type", json!("webhok")),
            "/targets/hook/type",
            "webhook",
        ),
        (
            "no address",
            with("/targets/hook/settings/url", json!("no url")),
            "/targets/hook/settings/url",
            "",
        ),
        (
            "blocked address",
            with(
                "/targets/hook/settings/url",
                json!("http://169.254.169.254/"),
            ),
            "/targets/hook/settings/url",
            "",
        ),
        (
            "unknown setting",
            with("/targets/hook/settings/timeoutSecond", json!(3)),
            "/targets/hook/settings/timeoutSecond",
            "timeoutSeconds",
        ),
        (
            "too much",
            with("/targets/hook/concurrency", json!(100_000)),
            "/targets/hook/concurrency",
            "1000",
        ),
        (
            "bad secret",
            with(
                "/targets/hook/settings/signing",
                json!({"secrets": ["abc"]}),
            ),
            "/targets/hook/settings/signing/secrets/0",
            "whsec_",
        ),
    ];
    let mut wrong = Vec::new();
    for (name, body, pointer, hint) in cases {
        let answer = admin.put("/v1/buses/default/rules/r", &body).await?;
        let problem = match answer.expect(400) {
            Ok(problem) => problem,
            Err(error) => {
                wrong.push(format!("{name}: {error:#}"));
                continue;
            }
        };
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let found = errors.iter().find(|error| error["pointer"] == pointer);
        match found {
            Some(error) if error.to_string().contains(hint) => {}
            _ => wrong.push(format!(
                "{name}: expected {pointer} with {hint:?} in {problem}"
            )),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        all(&admin, "/v1/buses/default/rules").await?.len(),
        0,
        "nothing was stored"
    );
    Ok(())
}

#[tokio::test]
async fn wrong_keys_scopes_ids_and_methods_have_their_answers() -> Result<()> {
    let server = Server::start().await?;
    let (admin, anon) = (server.admin()?, server.anon()?);
    let event = events::event("x", "t");
    let refused = anon.post_event("default", &event).await?;
    refused.problem(401, "UNAUTHENTICATED")?;
    ensure!(refused.header("www-authenticate").is_some());
    for key in ["bfy_nonsense", "", "bfy_abc_def", &"x".repeat(5000)] {
        anon.with_key(Some(key))
            .get("/v1/buses")
            .await?
            .problem(401, "UNAUTHENTICATED")?;
    }
    let writer = server.with_scopes(&["events:write:default"]).await?;
    writer.post_event("default", &event).await?.expect(202)?;
    writer.get("/v1/buses").await?.problem(403, "FORBIDDEN")?;
    admin
        .put("/v1/buses/other", &json!({}))
        .await?
        .expect(201)?;
    writer
        .post_event("other", &event)
        .await?
        .problem(403, "FORBIDDEN")?;
    let reader = server.with_scopes(&["config:read"]).await?;
    reader
        .put("/v1/buses/x", &json!({}))
        .await?
        .problem(403, "FORBIDDEN")?;
    reader.get("/v1/events").await?.problem(403, "FORBIDDEN")?;

    admin
        .post_event("nowhere", &event)
        .await?
        .problem(404, "NOT_FOUND")?;
    for path in [
        "/v1/events/evt_0000000000000",
        "/v1/deliveries/dlv_01jd0c4z8k0000000001",
        "/v1/buses/nowhere",
        "/v1/nonsense",
        "/nonsense",
    ] {
        admin
            .get(path)
            .await?
            .problem(404, "NOT_FOUND")
            .context(path)?;
    }
    let answer = admin.delete(EVENTS).await?;
    assert_eq!(answer.status.as_u16(), 405);
    ensure!(
        answer
            .header("allow")
            .is_some_and(|allow| allow.contains("POST")),
        "{:?}",
        answer.headers
    );
    admin
        .post_event("system", &event)
        .await?
        .problem(403, "RESERVED_BUS")?;
    Ok(())
}

#[tokio::test]
async fn a_stale_etag_changes_nothing() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let hook = json!({"hook": webhook("http://127.0.0.1:9/")});
    put_rule(&admin, "r", &rule(&["a"], &hook)).await?;
    let path = "/v1/buses/default/rules/r";
    let etag = admin
        .get(path)
        .await?
        .header("etag")
        .map(str::to_owned)
        .context("no ETag")?;
    let put = async |types: &[&str], etag: &str| {
        let headers = [("content-type", "application/json"), ("if-match", etag)];
        admin
            .send(Method::PUT, path, &headers, rule(types, &hook).to_string())
            .await
    };
    put(&["b"], &etag).await?.expect(200)?;
    put(&["c"], &etag)
        .await?
        .problem(412, "PRECONDITION_FAILED")?;
    let headers = [("content-type", "application/json"), ("if-none-match", "*")];
    let answer = admin
        .send(Method::PUT, path, &headers, rule(&["d"], &hook).to_string())
        .await?;
    answer.problem(412, "PRECONDITION_FAILED")?;
    assert_eq!(
        admin.get(path).await?.expect(200)?["pattern"],
        json!({"type": ["b"]})
    );
    // A dry run says what would be, and changes nothing.
    let dry = admin
        .put(&format!("{path}?dryRun=true"), &rule(&["e"], &hook))
        .await?
        .expect(200)?;
    assert_eq!(
        (&dry["dryRun"], &dry["pattern"]),
        (&json!(true), &json!({"type": ["e"]}))
    );
    assert_eq!(
        admin.get(path).await?.expect(200)?["pattern"],
        json!({"type": ["b"]})
    );
    Ok(())
}

#[tokio::test]
async fn patterns_are_tested_on_the_object_as_given() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    // The number is larger than a double holds and the name stands twice: both must reach the matcher as sent.
    let body =
        r#"{"pattern":{"n":[9007199254740993]},"event":{"n":1,"n":9007199254740993,"s":"\u0061"}}"#;
    let headers = [("content-type", "application/json")];
    let answer = admin
        .send(Method::POST, "/v1/patterns:test", &headers, body)
        .await?
        .expect(200)?;
    ensure!(answer["matched"].is_boolean(), "{answer}");
    let body = json!({"pattern": {"type": ["a"], "data": {"level": [{"exists": true}]}}, "event": {"type": "b", "data": {}}});
    let answer = admin.post("/v1/patterns:test", &body).await?.expect(200)?;
    assert_eq!(answer["matched"], false, "{answer}");
    ensure!(
        answer.to_string().contains("level"),
        "the explanation names the leaf: {answer}"
    );
    Ok(())
}
