//! Functions at the edge of HTTP: everything but running them, which is pretended by workers that need no interpreter.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use belfry_app::functions::{FunctionParts, FunctionService, FunctionSettings, Machine, Workers};
use belfry_functions::{
    Call, CodeStore, ColdStart, Failure, Invocation, Line, LiveLine, LivePart, Outcome, Program,
    RuntimeKind, Stream,
};
use belfry_model::{Clock, FunctionName};
use belfry_store::Store;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::server::TestServer;

/// Workers that answer with what they were given and with what they know; an event `{"throw": "..."}` throws, one
/// `{"outcome": "..."}` ends so.
struct Pretended(broadcast::Sender<LiveLine>);

#[async_trait::async_trait]
impl Workers for Pretended {
    fn missing(&self, runtime: RuntimeKind) -> Option<String> {
        (runtime == RuntimeKind::Python).then(|| "there is no Python here".to_owned())
    }
    async fn invoke(&self, program: &Arc<Program>, call: Call<'_>, request_id: Uuid) -> Invocation {
        let mut invocation =
            Invocation::begun(&call, request_id, belfry_model::SystemClock.now_ms());
        let event: Value = serde_json::from_str(call.event).unwrap();
        invocation.version = Some(program.version.clone());
        invocation.duration_us = 1500;
        let line = Line {
            at_ms: invocation.started_at_ms,
            stream: Stream::Stdout,
            text: format!("given {} bytes", call.event.len()),
            init: false,
        };
        let tell = |part| {
            let function = call.function.clone();
            // Nobody may be listening.
            drop(self.0.send(LiveLine {
                function,
                request_id,
                part,
            }));
        };
        tell(LivePart::Start);
        tell(LivePart::Line(line.clone()));
        invocation.log.push(line);
        let ended = event["outcome"].as_str().and_then(Outcome::from_word);
        invocation.outcome = match (event["throw"].as_str(), ended) {
            (Some(message), _) => {
                invocation.failure = Some(Failure {
                    kind: "Error".to_owned(),
                    message: message.to_owned(),
                    stack: None,
                });
                Outcome::Threw
            }
            (None, Some(ended)) => ended,
            (None, None) => Outcome::Succeeded,
        };
        if invocation.outcome == Outcome::Succeeded {
            let file = std::fs::read_to_string(program.code.join("index.js")).ok();
            let answer = json!({
                "event": event, "version": program.version, "code": file,
                "environment": program.environment, "attempt": call.attempt,
            });
            invocation.result = Some(answer.to_string());
        }
        tell(LivePart::End(invocation.outcome));
        invocation
    }
    async fn validate(&self, _: &Arc<Program>) -> Result<ColdStart, Failure> {
        Ok(ColdStart::default())
    }
    fn keep_warm(&self, _: &Arc<Program>) {}
    fn retire(&self, _: &FunctionName, _: &[[u8; 32]]) {}
    fn forget(&self, _: &FunctionName) {}
    fn cut_off(&self) -> Vec<Invocation> {
        Vec::new()
    }
    fn status(&self) -> Value {
        json!({ "workers": [] })
    }
    fn follow(&self) -> broadcast::Receiver<LiveLine> {
        self.0.subscribe()
    }
    async fn shutdown(&self, _: Duration) {}
}

/// Functions of a test server.
pub(crate) fn service(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    dir: &tempfile::TempDir,
) -> Arc<FunctionService> {
    FunctionService::new(FunctionParts {
        store: Arc::clone(store),
        clock: Arc::clone(clock),
        settings: FunctionSettings {
            enabled: true,
            ..FunctionSettings::default()
        },
        machine: Ok(Machine {
            workers: Arc::new(Pretended(broadcast::channel(64).0)),
            code: Arc::new(CodeStore::open(dir.path().join("code")).unwrap()),
        }),
    })
}

const AT: &str = "/v1/functions/default/restart";

fn inline(text: &str) -> Value {
    json!({ "runtime": "nodejs", "code": { "inline": text } })
}

async fn put(server: &TestServer, spec: Value) -> Value {
    let answer = server.call("PUT", AT, spec).await;
    assert!(answer.status.is_success(), "{}", answer.text);
    answer.json()
}

async fn invoke(server: &TestServer, body: Value) -> Value {
    let at = format!("{AT}/invoke");
    server.call("POST", &at, body).await.expect(200).json()
}

#[tokio::test]
async fn versions_are_frozen_and_aliases_say_which_one_is_meant() {
    let server = TestServer::start().await;
    put(&server, inline("one")).await;
    let made = server
        .call(
            "POST",
            &format!("{AT}/versions"),
            json!({ "description": "first" }),
        )
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&made["version"], &made["spec"]["code"]["inline"]),
        (&json!("1"), &json!("one"))
    );
    put(&server, inline("two")).await;
    server
        .call("POST", &format!("{AT}/versions"), None)
        .await
        .expect(201);
    put(&server, inline("three")).await;
    let list = server
        .call("GET", &format!("{AT}/versions?limit=1"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(list["items"][0]["version"], "2");
    let next = list["next"].as_str().unwrap();
    let list = server
        .call("GET", &format!("{AT}/versions?limit=1&cursor={next}"), None)
        .await
        .json();
    assert_eq!(
        (&list["items"][0]["version"], &list["next"]),
        (&json!("1"), &Value::Null)
    );

    // $DEFAULT means the draft until it is set.
    let aliases = server
        .call("GET", &format!("{AT}/aliases"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(aliases["items"][0]["version"], "$LATEST");
    assert_eq!(invoke(&server, json!({})).await["result"]["code"], "three");
    let body = json!({ "version": "1" });
    server
        .call("PUT", &format!("{AT}/aliases/DEFAULT"), body)
        .await
        .expect(200);
    let run = invoke(&server, json!({ "event": { "a": 1 } })).await;
    assert_eq!(
        (&run["result"]["code"], &run["version"]),
        (&json!("one"), &json!("1"))
    );
    for (qualifier, code) in [("2", "two"), ("$LATEST", "three"), ("$DEFAULT", "one")] {
        let run = invoke(&server, json!({ "qualifier": qualifier })).await;
        assert_eq!(run["result"]["code"], code, "{qualifier}");
    }
    let share = json!({ "version": "1", "weights": { "2": 0.5 } });
    server
        .call("PUT", &format!("{AT}/aliases/prod"), share)
        .await
        .expect(201);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..64 {
        let run = invoke(&server, json!({ "qualifier": "prod" })).await;
        seen.insert(run["version"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["1", "2"]);

    for (alias, body, pointer) in [
        ("prod", json!({ "version": "9" }), "/version"),
        (
            "prod",
            json!({ "version": "1", "weights": { "1": 0.5 } }),
            "/weights/1",
        ),
        (
            "prod",
            json!({ "version": "1", "weights": { "2": 1.5 } }),
            "/weights/2",
        ),
        ("7", json!({ "version": "1" }), "path:alias"),
        ("LATEST", json!({ "version": "1" }), "path:alias"),
    ] {
        let answer = server
            .call("PUT", &format!("{AT}/aliases/{alias}"), body)
            .await;
        let problem = answer.problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let version = format!("{AT}/versions/2");
    server
        .call("DELETE", &version, None)
        .await
        .problem(409, "WRONG_STATE");
    server
        .call("DELETE", &format!("{AT}/aliases/prod"), None)
        .await
        .expect(204);
    server.call("DELETE", &version, None).await.expect(204);
    // Its number is not used again.
    let made = server
        .call("POST", &format!("{AT}/versions"), None)
        .await
        .expect(201)
        .json();
    assert_eq!(made["version"], "3");
    // The draft shows nothing of the count, and can be written back.
    let draft = server.call("GET", AT, None).await.expect(200).json();
    assert_eq!(draft["lastVersion"], Value::Null);
    put(&server, draft).await;
    server.call("DELETE", AT, None).await.expect(204);
    server
        .call("GET", &format!("{AT}/versions"), None)
        .await
        .problem(404, "NOT_FOUND");
    put(&server, inline("again")).await;
    assert_eq!(invoke(&server, json!({})).await["version"], "$LATEST");
}

fn zip_of(name: &str, text: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(text.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

#[tokio::test]
async fn code_comes_as_a_zip_file_and_is_given_back() {
    let server = TestServer::start().await;
    let at = format!("{AT}/code");
    let zip = zip_of("index.js", "zipped");
    let as_zip = [("content-type", "application/zip")];
    let sent = server
        .raw("PUT", &at, zip.clone(), &as_zip)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&sent["files"], &sent["revision"]),
        (&json!(1), &Value::Null)
    );
    let sha256 = sent["sha256"].as_str().unwrap();
    let spec = json!({ "runtime": "nodejs", "code": { "zip": { "sha256": sha256 } } });
    put(&server, spec).await;
    assert_eq!(invoke(&server, json!({})).await["result"]["code"], "zipped");
    let other = zip_of("index.js", "another");
    let sent = server.raw("PUT", &at, other, &as_zip).await.expect(200);
    assert_eq!(sent.header("etag"), Some("\"r2\""));
    assert_eq!(
        invoke(&server, json!({})).await["result"]["code"],
        "another"
    );
    let back = server.call("GET", &at, None).await.expect(200);
    assert_eq!(back.header("content-type"), Some("application/zip"));

    let unknown = "0".repeat(64);
    let spec = json!({ "runtime": "nodejs", "code": { "zip": { "sha256": unknown } } });
    let problem = server
        .call("PUT", AT, spec)
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(problem["errors"][0]["pointer"], "/code/zip/sha256");
    let outside = zip_of("../outside", "x");
    server
        .raw("PUT", &at, outside, &as_zip)
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .raw("PUT", &at, "no zip", &as_zip)
        .await
        .problem(400, "INVALID_REQUEST");
    let answer = server.raw("PUT", &at, zip, &[]).await;
    answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    put(&server, inline("text")).await;
    assert_eq!(server.call("GET", &at, None).await.expect(200).text, "text");
}

#[tokio::test]
async fn secrets_reach_only_the_environment() {
    let server = TestServer::start().await;
    let mut spec = inline("x");
    spec["env"] = json!({ "KEY": { "secret": "vendor" }, "REGION": "gz" });
    put(&server, spec).await;
    let run = invoke(&server, json!({})).await;
    assert_eq!(run["outcome"], "init_failed");
    assert!(
        run["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no secret vendor"),
        "{run}"
    );
    for value in ["hunter-2", "hunter-3"] {
        let secret = json!({ "value": value });
        let answer = server.call("PUT", "/v1/secrets/vendor", secret).await;
        assert!(
            answer.status.is_success() && !answer.text.contains(value),
            "{}",
            answer.text
        );
        server
            .until_invoked(&json!({}), |run| {
                run["result"]["environment"] == json!([["KEY", value], ["REGION", "gz"]])
            })
            .await;
    }
    for at in ["/v1/secrets/vendor", AT, "/v1/audit"] {
        let read = server.call("GET", at, None).await.expect(200);
        assert!(!read.text.contains("hunter"), "{at}: {}", read.text);
    }
}

impl TestServer {
    async fn until_invoked(&self, body: &Value, wished: impl Fn(&Value) -> bool) {
        let asked = async {
            while !wished(&invoke(self, body.clone()).await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), asked)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_invocation_is_answered_whatever_the_function_did_and_stays_on_record() {
    let server = TestServer::start().await;
    put(&server, inline("x")).await;
    let good = invoke(&server, json!({ "event": { "n": 1.0 } })).await;
    assert_eq!(
        (&good["outcome"], &good["statusCode"]),
        (&json!("succeeded"), &json!(200))
    );
    assert_eq!(
        good["log"][0]["text"], "given 9 bytes",
        "as it was sent: {good}"
    );
    let bad = invoke(
        &server,
        json!({ "event": { "throw": "disk gone" }, "logTail": false }),
    )
    .await;
    assert_eq!(
        (
            &bad["outcome"],
            &bad["errorCode"],
            &bad["error"]["message"],
            &bad["log"]
        ),
        (
            &json!("threw"),
            &json!("function_error"),
            &json!("disk gone"),
            &Value::Null
        )
    );
    let template = invoke(&server, json!({ "template": "cvm/ping-unreachable" })).await;
    assert_eq!(template["result"]["event"]["belfrytest"], true);
    let uid = server.post(json!({ "source": "/a", "type": "b" })).await;
    let event = invoke(&server, json!({ "eventUid": uid })).await;
    assert_eq!(event["result"]["event"]["type"], "b");
    let dry = invoke(&server, json!({ "mode": "dryRun" })).await;
    assert_eq!(dry, json!({ "version": "$LATEST" }));

    let list = format!("{AT}/invocations");
    let all = server.call("GET", &list, None).await.expect(200).json();
    assert_eq!(all["items"].as_array().unwrap().len(), 4);
    for (query, id) in [
        ("outcome=failed", &bad),
        ("text=disk%20gone", &bad),
        ("outcome=threw&function=default/restart", &bad),
    ] {
        let found = server
            .call("GET", &format!("/v1/invocations?{query}"), None)
            .await
            .expect(200)
            .json();
        let items = found["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{query}: {found}");
        assert_eq!(items[0]["requestId"], id["requestId"]);
    }
    let one = format!("/v1/invocations/{}", good["requestId"].as_str().unwrap());
    let read = server.call("GET", &one, None).await.expect(200).json();
    assert_eq!(
        (&read["trigger"], &read["log"][0]["stream"]),
        (&json!("api"), &json!("stdout"))
    );
    let text = server
        .call("GET", &format!("{one}?format=text"), None)
        .await
        .expect(200)
        .text;
    assert!(
        text.starts_with("START RequestId:") && text.contains("\nEND RequestId:"),
        "{text}"
    );

    for (body, status, code) in [
        (json!({ "qualifier": "none" }), 404, "NOT_FOUND"),
        (
            json!({ "event": {}, "template": "x" }),
            400,
            "INVALID_REQUEST",
        ),
        (json!({ "mode": "later" }), 400, "INVALID_REQUEST"),
        (
            json!({ "event": "x".repeat(200_000), "mode": "async" }),
            400,
            "INVALID_REQUEST",
        ),
    ] {
        let answer = server.call("POST", &format!("{AT}/invoke"), body).await;
        answer.problem(status, code);
    }
    let answer = server
        .call("POST", "/v1/functions/default/none/invoke", json!({}))
        .await;
    answer.problem(404, "NOT_FOUND");
    let python = json!({ "runtime": "python", "code": { "inline": "x" } });
    let problem = server
        .call("PUT", AT, python)
        .await
        .problem(400, "INVALID_REQUEST");
    assert_eq!(problem["errors"][0]["pointer"], "/runtime");
    let valid = server
        .call("POST", &format!("{AT}/validate"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(valid["ready"], true);
}

#[tokio::test]
async fn an_asynchronous_invocation_is_done_some_time_and_tried_again_when_it_failed() {
    let server = TestServer::start().await;
    put(&server, inline("x")).await;
    let at = format!("{AT}/invoke");
    let noted = server
        .call(
            "POST",
            &at,
            json!({ "mode": "async", "event": { "throw": "no" } }),
        )
        .await
        .expect(202)
        .json();
    let one = format!("/v1/invocations/{}", noted["requestId"].as_str().unwrap());
    let first = server
        .until(&one, |found| found["outcome"] == "threw")
        .await;
    assert_eq!(
        (&first["attempt"], &first["trigger"], &first["givenUp"]),
        (&json!(1), &json!("async"), &Value::Null)
    );
    server.clock.advance(Duration::from_secs(61));
    server.until(&one, |found| found["attempt"] == 2).await;
    server.clock.advance(Duration::from_secs(121));
    let last = server.until(&one, |found| found["attempt"] == 3).await;
    assert_eq!(last["givenUp"], true);
    let status = server
        .until("/v1/functions:status", |status| status["calls"] == 0)
        .await;
    assert_eq!(
        (&status["enabled"], &status["available"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test]
async fn a_function_that_a_target_runs_is_deleted_only_by_force() {
    let server = TestServer::start().await;
    let target = json!({ "type": "function", "settings": { "function": "default/restart" } });
    let rule = json!({ "pattern": { "type": ["b"] }, "targets": { "t": target } });
    let at = "/v1/buses/default/rules/heal";
    let problem = server
        .call("PUT", at, rule.clone())
        .await
        .problem(400, "INVALID_REQUEST");
    assert!(
        problem.to_string().contains("/settings/function"),
        "{problem}"
    );
    put(&server, inline("x")).await;
    let key = server.key(&["config:write"]).await;
    server
        .call_as(&key, "PUT", at, rule.clone())
        .await
        .problem(403, "FORBIDDEN");
    let key = server.key(&["config:write", "functions:use"]).await;
    server.call_as(&key, "PUT", at, rule).await.expect(201);
    let problem = server
        .call("DELETE", AT, None)
        .await
        .problem(409, "FUNCTION_IN_USE");
    assert!(
        problem["detail"].as_str().unwrap().contains("default/heal"),
        "{problem}"
    );
    let uid = server.post(json!({ "source": "/a", "type": "b" })).await;
    let list = server
        .until("/v1/invocations?outcome=succeeded", |found| {
            found["items"][0]["trigger"] == "delivery"
        })
        .await;
    assert_eq!(list["items"][0]["eventUids"], json!([uid]));
    let contact = server
        .call("DELETE", "/v1/contacts/x?force=true", None)
        .await;
    contact.problem(400, "INVALID_REQUEST");
    server
        .call("DELETE", &format!("{AT}?force=true"), None)
        .await
        .expect(204);
}
