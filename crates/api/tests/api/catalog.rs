//! The catalog, and simulated events.

use serde_json::{Value, json};

use super::server::TestServer;

#[tokio::test]
async fn the_catalog_is_browsed_by_product() {
    let server = TestServer::start().await;
    let all = server
        .call("GET", "/v1/catalog/products", None)
        .await
        .expect(200)
        .json();
    let all = all["items"].as_array().unwrap();
    let cvm = all.iter().find(|product| product["code"] == "cvm").unwrap();
    assert_eq!(
        (&cvm["vendor"], &cvm["name"]["zh"]),
        (&json!("tencent"), &json!("云服务器"))
    );
    let tencent = server
        .call("GET", "/v1/catalog/products?vendor=tencent", None)
        .await
        .json();
    assert!(tencent["items"].as_array().unwrap().len() < all.len());
    let problem = server
        .call("GET", "/v1/catalog/products?vendor=x", None)
        .await
        .problem(400, "INVALID_REQUEST");
    assert!(problem.to_string().contains("tencent"), "{problem}");

    let events = server
        .call("GET", "/v1/catalog/products/cvm/events", None)
        .await
        .expect(200)
        .json();
    assert_eq!(
        events["items"].as_array().unwrap().len(),
        usize::try_from(cvm["events"].as_u64().unwrap()).unwrap()
    );
    let event = server
        .call("GET", "/v1/catalog/events/cvm/ping-unreachable", None)
        .await
        .expect(200)
        .json();
    assert_eq!(event["type"], "cvm:ErrorEvent:PingUnreachable");
    for names in ["name", "about", "advice"] {
        for language in ["en", "zh"] {
            assert!(
                !event[names][language].as_str().unwrap().is_empty(),
                "{names} {language}"
            );
        }
    }
    // The pattern is one for a rule, and the sample is what it matches.
    let test = json!({ "pattern": event["pattern"], "event": event["sample"] });
    let verdict = server
        .call("POST", "/v1/patterns:test", test)
        .await
        .expect(200)
        .json();
    assert_eq!(verdict["matched"], true);

    let problem = server
        .call("GET", "/v1/catalog/events/cvm/ping-unreachble", None)
        .await
        .problem(404, "NOT_FOUND");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .ends_with("did you mean cvm/ping-unreachable?"),
        "{problem}"
    );
    server
        .call("GET", "/v1/catalog/products/none/events", None)
        .await
        .problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn of_a_simulated_event_payload_resource_and_status_can_be_chosen() {
    let server = TestServer::start().await;
    let at = "/v1/buses/default/events:simulate";
    let asked = json!({ "template": "cvm/ping-unreachable", "resource": "ins-1", "data": { "why": "a drill" }, "status": "0" });
    let tried = server
        .call("POST", &format!("{at}?dryRun=true"), asked.clone())
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&tried["dryRun"], &tried["eventUid"]),
        (&json!(true), &Value::Null)
    );
    let made = server.call("POST", at, asked).await.expect(202).json();
    let stored = server
        .call("GET", made["url"].as_str().unwrap(), None)
        .await
        .expect(200)
        .json();
    for event in [&tried["event"], &made["event"], &stored["event"]] {
        assert_eq!(event["type"], "cvm:ErrorEvent:PingUnreachable");
        assert_eq!(
            (&event["subject"], &event["status"]),
            (&json!("ins-1"), &json!("0"))
        );
        assert_eq!(event["data"], json!({ "why": "a drill" }));
        assert_eq!(event["alarmkey"].as_str().unwrap().len(), 32);
    }
    assert_eq!(stored["event"], made["event"]);
    for (bad, pointer) in [
        (json!({ "template": "cvm/none" }), "/template"),
        (
            json!({ "template": "cvm/ping-unreachable", "status": "2" }),
            "/status",
        ),
        (
            json!({ "template": "cvm/ping-unreachable", "severity": "info" }),
            "/severity",
        ),
    ] {
        let problem = server
            .call("POST", at, bad)
            .await
            .problem(400, "INVALID_REQUEST");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    server
        .call(
            "POST",
            "/v1/buses/system/events:simulate",
            json!({ "template": "cvm/ping-unreachable" }),
        )
        .await
        .problem(403, "RESERVED_BUS");
}
