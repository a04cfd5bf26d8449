//! Alarms as their users see them.

use serde_json::{Value, json};

use super::server::TestServer;

fn alarm(key: &str, severity: &str, status: &str) -> Value {
    json!({
        "source": "/s", "type": "disk.full", "subject": key, "alarmkey": key, "severity": severity, "status": status,
        "data": {"alarm": {"title": "the disk is full"}},
    })
}

async fn list(server: &TestServer, query: &str) -> Value {
    let path = format!("/v1/alarms{query}");
    server.call("GET", &path, None).await.expect(200).json()["items"].clone()
}

#[tokio::test]
async fn what_is_open_since_when_how_often_and_who_was_told() {
    let server = TestServer::start().await;
    let told = json!({"type": "log", "settings": {"log": "ops"}, "alarms": {"repeatSeconds": 600}});
    server.rule("r", json!({"source": ["/s"]}), told).await;
    assert_eq!(list(&server, "").await, json!([]));
    let first = server.post(alarm("a", "critical", "1")).await;
    server.post(alarm("a", "critical", "1")).await;
    let last = server.post(alarm("b", "warning", "1")).await;
    let open = list(&server, "").await;
    assert_eq!(open.as_array().unwrap().len(), 2, "{open}");
    assert_eq!(open[0]["subject"], "b");
    let a = &open[1];
    assert_eq!((&a["count"], &a["state"]), (&json!(2), &json!("open")));
    assert_eq!(
        (&a["severity"], &a["bus"]),
        (&json!("critical"), &json!("default"))
    );
    assert_eq!(
        (&a["title"], &a["firstEventUid"]),
        (&json!("the disk is full"), &json!(first))
    );
    let page = server.call("GET", "/v1/alarms?limit=1", None).await;
    let next = page.expect(200).json()["next"].as_str().unwrap().to_owned();
    let rest = list(&server, &format!("?limit=1&cursor={next}")).await;
    assert_eq!(rest[0]["subject"], "a");
    let worse = list(&server, "?severity=error").await;
    assert_eq!(
        (worse.as_array().unwrap().len(), &worse[0]["id"]),
        (1, &a["id"])
    );
    assert_eq!(list(&server, "?state=recovered").await, json!([]));

    let path = format!("/v1/alarms/{}", a["id"].as_str().unwrap());
    // The repeat was kept back.
    let detail = server
        .until(&path, |one| {
            let ended = |of: &Value| of["status"] == "delivered" || of["status"] == "skipped";
            one["alarm"]["told"]
                .as_array()
                .is_some_and(|told| !told.is_empty())
                && one["deliveries"].as_array().unwrap().iter().all(ended)
        })
        .await;
    let told = &detail["alarm"]["told"][0];
    assert_eq!((&told["rule"], &told["target"]), (&json!("r"), &json!("t")));
    assert_eq!(
        (&told["count"], &told["state"]),
        (&json!(1), &json!("open"))
    );
    let listed = list(&server, "?severity=error").await;
    assert_eq!(listed[0]["told"], detail["alarm"]["told"]);
    let reasons: Vec<_> = detail["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["reason"].as_str())
        .collect();
    assert_eq!(reasons, [None, Some("alarm_repeat")]);

    server.post(alarm("a", "critical", "0")).await;
    let detail = server
        .until(&path, |one| one["alarm"]["told"][0]["state"] == "recovered")
        .await;
    assert_eq!(detail["alarm"]["state"], "recovered");
    assert!(detail["alarm"]["recoveredAt"].is_string());
    let open = list(&server, "").await;
    assert_eq!(open[0]["lastEventUid"], json!(last));
    assert_eq!(
        list(&server, "?state=all&type=disk.full")
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told_with_its_place() {
    let server = TestServer::start().await;
    for (path, place) in [
        ("/v1/alarms?state=closed", "query:state"),
        ("/v1/alarms?severity=bad", "query:severity"),
    ] {
        let answer = server.call("GET", path, None).await.expect(400).json();
        assert_eq!(answer["errors"][0]["pointer"], place, "{answer}");
    }
    server
        .call("GET", "/v1/alarms/alm_01jd0c4z8k000", None)
        .await
        .expect(404);
    let wrong = json!({
        "type": "log", "settings": {"log": "ops"},
        "alarms": {"groupIntervalSeconds": 0, "minSeverity": "bad", "groupBy": [""]},
    });
    server
        .call(
            "PUT",
            "/v1/buses/default/rules/r",
            json!({"pattern": {"source": ["/s"]}}),
        )
        .await;
    let answer = server
        .call("PUT", "/v1/buses/default/rules/r/targets/t", wrong)
        .await
        .expect(400)
        .json();
    let places: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "/alarms/groupBy/0",
            "/alarms/groupIntervalSeconds",
            "/alarms/minSeverity"
        ]
    );
}
