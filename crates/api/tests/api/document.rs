//! The API document and what is rendered from it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::server::TestServer;

fn document() -> Value {
    belfry_api::openapi()
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(target) if name == "$ref" => found.push(target.to_owned()),
                        _ => references(member, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[test]
fn operations_are_described_and_named_once() {
    let mut names = std::collections::HashSet::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(name) = operation["operationId"].as_str() else {
                continue;
            };
            assert!(names.insert(name.to_owned()), "{name} twice");
            assert!(
                !operation["summary"].as_str().unwrap_or_default().is_empty(),
                "{method} {path}"
            );
            assert_eq!(
                operation["tags"].as_array().unwrap().len(),
                1,
                "{method} {path}"
            );
            assert_eq!(
                operation["responses"]["default"]["$ref"], "#/components/responses/Problem",
                "{method} {path}"
            );
        }
    }
}

/// The shapes of what clients write are described beside the types that read it; here they meet.
#[test]
fn what_the_document_says_can_be_written_is_what_is_read() {
    let document = document();
    let properties = |name: &str| -> Vec<String> {
        let mut names: Vec<_> = document["components"]["schemas"][name]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        names.sort();
        names
    };
    let known = |error: String| -> Vec<String> {
        let mut names: Vec<_> = error
            .split('`')
            .skip(3)
            .step_by(2)
            .map(ToOwned::to_owned)
            .collect();
        names.sort();
        names
    };
    macro_rules! same {
        ($name:literal, $kind:ty) => {
            let error = serde_json::from_value::<$kind>(json!({"unheard-of": 1})).unwrap_err().to_string();
            assert_eq!(properties($name), known(error), $name);
        };
    }
    same!("BusSpec", belfry_model::config::BusSpec);
    same!("Dedup", belfry_model::config::Dedup);
    same!("TargetSpec", belfry_model::config::TargetSpec);
    same!("RetryPolicy", belfry_model::config::RetryPolicy);
    same!("DeadLetter", belfry_model::config::DeadLetter);
    same!("RateLimit", belfry_model::config::RateLimit);
    let words = document["components"]["schemas"]["Schedule"]["enum"]
        .as_array()
        .unwrap()
        .clone();
    for word in &words {
        serde_json::from_value::<belfry_model::config::Schedule>(word.clone()).unwrap();
    }
    assert_eq!(words.len(), 6);
}

#[tokio::test]
async fn the_pages_are_whole_and_load_nothing_from_elsewhere() {
    let server = TestServer::start().await;
    let served = server
        .send(server.request("GET", "/openapi.json"))
        .await
        .expect(200)
        .json();
    assert_eq!(served, document());
    for path in ["/", "/docs", "/problems/invalid-cloudevent"] {
        let answer = server.send(server.request("GET", path)).await.expect(200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(
            answer
                .header("content-security-policy")
                .map(|policy| policy.contains("style-src 'self'")),
            Some(true)
        );
        let text = answer.text;
        assert!(
            text.starts_with("<!doctype html>") && text.ends_with("</html>"),
            "{path}"
        );
        for forbidden in ["<script", "style=", "src=\"http", "href=\"http", "@import"] {
            assert!(!text.contains(forbidden), "{path}: {forbidden}");
        }
    }
    let docs = server.send(server.request("GET", "/docs")).await.text;
    for (path, _) in served["paths"].as_object().unwrap() {
        assert!(docs.contains(&format!("<code>{path}</code>")), "{path}");
    }
    // Every place has a name of its own, and every link within the page leads to one.
    let names = |before: &str| -> Vec<String> {
        docs.split(before)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(ToOwned::to_owned)
            .collect()
    };
    let ids = names(" id=\"");
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
    for link in names("href=\"#") {
        assert!(unique.contains(&link), "{link}");
    }
    // The settings of targets are there to be read, without a key.
    assert!(unique.contains(&"kind-webhook".to_owned()) && docs.contains("successStatus"));
    server
        .send(server.request("GET", "/docs/style.css"))
        .await
        .expect(200);
    server
        .send(server.request("GET", "/problems/none"))
        .await
        .problem(404, "NOT_FOUND");
    for kind in belfry_api::problem::TYPES {
        server
            .send(server.request("GET", &format!("/problems/{}", kind.slug())))
            .await
            .expect(200);
    }
    assert_eq!(
        server
            .send(server.request("GET", "/healthz"))
            .await
            .expect(200)
            .text,
        "ok\n"
    );
    assert_eq!(
        server
            .send(server.request("GET", "/readyz"))
            .await
            .expect(200)
            .json()["ready"],
        true
    );
}
