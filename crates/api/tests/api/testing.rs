//! Trying out patterns and rules.

use std::time::Duration;

use belfry_testkit::Im;
use serde_json::json;

use super::server::TestServer;

#[tokio::test]
async fn pattern_and_event_reach_the_matcher_as_they_were_written() {
    let server = TestServer::start().await;
    let test = async |body: &'static str| {
        server
            .raw("POST", "/v1/patterns:test", body, &[])
            .await
            .expect(200)
            .json()
    };
    // Compared by exact decimal value: a number read as a double would match.
    let differs =
        test(r#"{"pattern":{"v":[9007199254740993]},"event":{"v":9007199254740992}}"#).await;
    assert_eq!(differs["matched"], false);
    let same =
        test(r#"{"pattern":{"v":[9007199254740993]},"event":{"v":9007199254740993.0}}"#).await;
    assert_eq!(same["matched"], true);
    // A repeated name counts with every one of its values.
    let repeated = test(r#"{"pattern":{"v":[1]},"event":{"v":1,"v":2}}"#).await;
    assert_eq!(repeated["matched"], true);
    let why = test(r#"{"pattern":{"source":["a"],"n":[1]},"event":{"source":"a","n":2}}"#).await;
    assert_eq!(why["matched"], false);
    let leaves = why["explanation"]["leaves"].as_array().unwrap();
    assert_eq!(
        leaves
            .iter()
            .filter(|leaf| leaf["satisfied"] == true)
            .count(),
        1
    );
}

#[tokio::test]
async fn mistakes_in_pattern_or_event_are_pointed_at() {
    let server = TestServer::start().await;
    for (body, code, pointer) in [
        (
            r#"{"pattern":{"a":{}},"event":{}}"#,
            "INVALID_PATTERN",
            "/pattern/a",
        ),
        (
            r#"{"pattern":{"a":[1]},"event":[]}"#,
            "INVALID_REQUEST",
            "/event",
        ),
        (r#"{"pattern":{"a":[1]}}"#, "INVALID_REQUEST", "/event"),
        (r#"{"event":{}}"#, "INVALID_REQUEST", "/pattern"),
        (
            r#"{"pattern":{"a":[1]},"event":{},"evnt":1}"#,
            "INVALID_REQUEST",
            "/evnt",
        ),
        (
            r#"{"pattern":{"a":[1]},"event":{},"event":{}}"#,
            "INVALID_JSON",
            "/event",
        ),
    ] {
        let problem = server
            .raw("POST", "/v1/patterns:test", body, &[])
            .await
            .problem(400, code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
}

#[tokio::test]
async fn an_event_is_tried_on_every_rule_without_being_posted() {
    let server = TestServer::start().await;
    let log = json!({"type": "log", "settings": {"log": "l"}});
    server
        .rule("a-other", json!({"type": ["other"]}), log.clone())
        .await;
    server
        .rule("b-match", json!({"type": ["t"]}), log.clone())
        .await;
    server
        .rule("c-off", json!({"source": [{"prefix": "/"}]}), log)
        .await;
    server
        .call(
            "PATCH",
            "/v1/buses/default/rules/c-off",
            json!({"enabled": false}),
        )
        .await
        .expect(200);
    let path = "/v1/buses/default/rules:test";
    let found = server
        .call(
            "POST",
            &format!("{path}?explain=1"),
            json!({"source": "/s", "type": "t"}),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(found["matched"], 2);
    let rules: Vec<_> = found["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            (
                rule["rule"].as_str().unwrap(),
                rule["enabled"].as_bool().unwrap(),
                rule["matched"].as_bool().unwrap(),
                rule["explanation"].is_object(),
            )
        })
        .collect();
    assert_eq!(
        rules,
        [
            ("b-match", true, true, true),
            ("c-off", false, true, false),
            ("a-other", true, false, false)
        ]
    );
    assert_eq!(found["rules"][0]["targets"], json!(["t"]));
    assert_eq!(server.stored().await.0, 0);

    server
        .call(
            "POST",
            path,
            json!([{"source": "/s", "type": "t"}, {"source": "/s", "type": "t"}]),
        )
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("POST", path, json!({"source": "/s"}))
        .await
        .problem(400, "INVALID_CLOUDEVENT");
    server
        .call(
            "POST",
            "/v1/buses/none/rules:test",
            json!({"source": "/s", "type": "t"}),
        )
        .await
        .problem(404, "NOT_FOUND");
    server
        .call(
            "POST",
            &format!("{path}?explain=201"),
            json!({"source": "/s", "type": "t"}),
        )
        .await
        .problem(400, "INVALID_REQUEST");
}

const ROBOT: &str = r#"{"type":"wecom","settings":{"key":"693a91f6-7aaa-4bc4-97a0-0ec2sifa5aaa"}}"#;

#[tokio::test]
async fn a_preview_shows_the_request_and_sends_nothing() {
    let server = TestServer::start().await;
    let ask = format!(
        r#"{{"target":{ROBOT},"event":{{"source":"a","type":"disk.full","subject":"db-1","status":"1","severity":"critical"}}}}"#
    );
    let shown = server
        .raw("POST", "/v1/targets:preview", ask, &[])
        .await
        .expect(200)
        .json();
    let request = &shown["requests"][0];
    let body = request["body"].as_str().unwrap();
    assert!(
        body.contains("disk.full") && body.contains("db-1"),
        "{body}"
    );
    let url = request["url"].as_str().unwrap();
    assert!(
        url.starts_with("https://qyapi.weixin.qq.com/") && !url.contains("693a91f6"),
        "{url}"
    );
    assert_eq!(shown["event"]["subject"], "db-1");
}

#[tokio::test]
async fn without_an_event_of_its_own_a_trial_tells_of_one_of_the_catalog() {
    let server = TestServer::start().await;
    for (template, kind) in [
        ("", "cvm:ErrorEvent:PingUnreachable"),
        (
            r#","template":"cvm/disk-readonly""#,
            "cvm:ErrorEvent:DiskReadonly",
        ),
    ] {
        let ask = format!(r#"{{"target":{ROBOT}{template}}}"#);
        let shown = server
            .raw("POST", "/v1/targets:preview", ask, &[])
            .await
            .expect(200)
            .json();
        assert_eq!(shown["event"]["type"], kind);
        assert_eq!(shown["event"]["belfrytest"], true);
        // What is shown is what a delivery would send.
        let body = shown["requests"][0]["body"].as_str().unwrap();
        assert!(body.contains("[严重] ") && !body.contains("测试"), "{body}");
    }
}

#[tokio::test]
async fn a_test_message_keeps_to_the_pause_that_the_bot_has_asked_for() {
    let server = TestServer::start().await;
    let key = "693a91f6-7aaa-4bc4-97a0-0ec2sifa5aaa";
    let wecom = Im::wecom(key).await.unwrap();
    let wecom = wecom.limit([(0, Duration::from_mins(1))]);
    let robot = json!({
        "target": { "type": "wecom", "settings": { "key": key, "baseUrl": wecom.base() } }
    });
    let mut asked = Vec::new();
    for _ in 0..2 {
        let shown = server.call("POST", "/v1/targets:test", robot.clone()).await;
        let shown = shown.expect(200).json();
        assert_eq!(shown["delivered"], false);
        asked.push(shown["attempts"][0].clone());
    }
    assert_eq!(asked[0]["reason"], "rate_limited");
    assert_eq!(asked[1]["reason"], "channel_limit", "{}", asked[1]);
    assert_eq!(wecom.received().len(), 1);
}

#[tokio::test]
async fn a_trial_needs_a_target_and_at_most_one_event() {
    let server = TestServer::start().await;
    for (body, pointer) in [
        ("{}".to_owned(), "/bus"),
        (
            r#"{"target":{"type":"wecom","settings":{}}}"#.to_owned(),
            "/target/settings/key",
        ),
        (
            format!(r#"{{"target":{ROBOT},"event":{{"source":"a"}},"eventUid":null}}"#),
            "/event/type",
        ),
        (
            format!(r#"{{"target":{ROBOT},"event":{{}},"eventUid":"evt_6gzrzjrcr0000"}}"#),
            "/eventUid",
        ),
        (format!(r#"{{"target":{ROBOT},"evnt":{{}}}}"#), "/evnt"),
        (
            format!(r#"{{"target":{ROBOT},"event":{{}},"template":"cvm/disk-readonly"}}"#),
            "/template",
        ),
        (
            format!(r#"{{"target":{ROBOT},"template":"cvm/nope"}}"#),
            "/template",
        ),
    ] {
        let problem = server
            .raw("POST", "/v1/targets:preview", body.clone(), &[])
            .await
            .expect(400)
            .json();
        let pointers: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        assert!(pointers.contains(&pointer), "{body}: {problem}");
    }
}
