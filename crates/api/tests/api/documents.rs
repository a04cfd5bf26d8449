//! Named documents: what is the same for every kind, tried on each of them.

use belfry_app::documents::{DocumentKind, KINDS};
use belfry_targets::Directory as _;
use serde_json::{Value, json};

use super::server::TestServer;

/// Where documents of a kind are, on bus `default` if they are on one.
fn list(kind: &dyn DocumentKind) -> String {
    if kind.is_on_bus() {
        format!("/v1/buses/default/{}", kind.name())
    } else {
        format!("/v1/{}", kind.name())
    }
}

#[tokio::test]
async fn a_document_of_any_kind_is_made_read_written_back_and_deleted() {
    let server = TestServer::start().await;
    for kind in KINDS {
        let list = list(*kind);
        let named = |name: &str| vec![name; kind.parts().len()].join("/");
        let at = format!("{list}/{}", named("one"));
        server
            .call("GET", &at, None)
            .await
            .problem(404, "NOT_FOUND");
        let dry = format!("{at}?dryRun=true");
        let tried = server.call("PUT", &dry, kind.example()).await.expect(200);
        assert_eq!(tried.json()["dryRun"], true);
        let made = server.call("PUT", &at, kind.example()).await.expect(201);
        assert_eq!(made.header("location"), Some(at.as_str()));
        assert_eq!(made.header("etag"), Some("\"r1\""));

        let read = server.call("GET", &at, None).await.expect(200);
        let document = read.json();
        assert_eq!(
            (&document["name"], &document["revision"]),
            (&json!(named("one")), &json!(1))
        );
        assert_eq!(document["bus"].is_string(), kind.is_on_bus());
        let again = server.call("PUT", &at, document.clone()).await.expect(200);
        assert_eq!(again.header("etag"), Some("\"r1\""), "{}", again.text);
        assert_eq!(again.json(), document);

        let two = format!("{list}/{}", named("two"));
        server.call("PUT", &two, kind.example()).await.expect(201);
        let page = server
            .call("GET", &format!("{list}?limit=1"), None)
            .await
            .expect(200)
            .json();
        assert_eq!(page["items"], json!([document]));
        let next = page["next"].as_str().unwrap();
        let page = server
            .call("GET", &format!("{list}?limit=1&cursor={next}"), None)
            .await
            .json();
        assert_eq!(
            (&page["items"][0]["name"], &page["next"]),
            (&json!(named("two")), &Value::Null)
        );

        for (headers, status) in [
            ([("if-match", "\"r7\"")], 412),
            ([("if-none-match", "*")], 412),
            ([("if-match", "\"r1\"")], 200),
        ] {
            let body = kind.example().to_string();
            server.raw("PUT", &at, body, &headers).await.expect(status);
        }
        let problem = server
            .call("PUT", &at, json!({ "surely-unknown": 1 }))
            .await;
        let problem = problem.problem(400, "INVALID_REQUEST");
        assert!(problem.to_string().contains("/surely-unknown"), "{problem}");
        let problem = server
            .call("PATCH", &at, json!({ "surely-unknown": null }))
            .await;
        problem.problem(400, "INVALID_REQUEST");
        for body in [json!([]), json!(7)] {
            server
                .call("PUT", &at, body)
                .await
                .problem(400, "INVALID_REQUEST");
        }

        server.call("DELETE", &dry, None).await.expect(200);
        server.call("DELETE", &at, None).await.expect(204);
        server
            .call("DELETE", &at, None)
            .await
            .problem(404, "NOT_FOUND");
        let audit = format!("/v1/audit?resource={}", at.trim_start_matches("/v1/"));
        let audit = server.call("GET", &audit, None).await.expect(200).json();
        let actions: Vec<_> = audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["action"])
            .collect();
        let (put, delete) = (
            format!("{}.put", kind.one()),
            format!("{}.delete", kind.one()),
        );
        assert_eq!(actions, [delete.as_str(), put.as_str()]);
    }
}

#[tokio::test]
async fn a_patch_changes_some_members_and_null_takes_back() {
    let server = TestServer::start().await;
    let at = "/v1/contacts/ann";
    let ann =
        json!({ "displayName": "Ann", "email": "ann@example.com", "phone": "+4915112345678" });
    server.call("PUT", at, ann).await.expect(201);
    let changed = server
        .call("PATCH", at, json!({ "phone": null, "language": "en" }))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (
            &changed["phone"],
            &changed["language"],
            &changed["email"],
            &changed["revision"]
        ),
        (
            &Value::Null,
            &json!("en"),
            &json!("ann@example.com"),
            &json!(2)
        )
    );
    server
        .call("PATCH", at, json!({ "name": "bob" }))
        .await
        .problem(400, "INVALID_REQUEST");
    server
        .call("PUT", at, json!({ "name": "bob" }))
        .await
        .problem(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn a_bus_with_documents_is_deleted_only_with_them() {
    let server = TestServer::start().await;
    server
        .call("PUT", "/v1/buses/orders", json!({}))
        .await
        .expect(201);
    let silence = KINDS.iter().find(|kind| kind.name() == "silences").unwrap();
    let at = "/v1/buses/orders/silences/night";
    server.call("PUT", at, silence.example()).await.expect(201);
    server
        .call("PUT", "/v1/buses/none/silences/night", silence.example())
        .await
        .problem(404, "NOT_FOUND");
    let problem = server
        .call("DELETE", "/v1/buses/orders", None)
        .await
        .problem(409, "BUS_NOT_EMPTY");
    assert!(
        problem["detail"].as_str().unwrap().contains("silences"),
        "{problem}"
    );
    server
        .call("DELETE", "/v1/buses/orders?cascade=true", None)
        .await
        .expect(204);
    server
        .call("PUT", "/v1/buses/orders", json!({}))
        .await
        .expect(201);
    server.call("GET", at, None).await.problem(404, "NOT_FOUND");
}

#[tokio::test]
async fn targets_find_contacts_and_groups_as_they_are_now() {
    let server = TestServer::start().await;
    let email = |name: &str| server.people.contact(name)?.email.clone();
    assert_eq!(email("ann"), None);
    let at = "/v1/contacts/ann";
    server
        .call(
            "PUT",
            at,
            json!({ "displayName": "Ann", "email": "a@example.com" }),
        )
        .await
        .expect(201);
    assert_eq!(email("ann").as_deref(), Some("a@example.com"));
    server
        .call("PATCH", at, json!({ "email": "b@example.com" }))
        .await
        .expect(200);
    assert_eq!(email("ann").as_deref(), Some("b@example.com"));
    server
        .call(
            "PUT",
            "/v1/contact-groups/ops",
            json!({ "contacts": ["ann", "bob"] }),
        )
        .await
        .expect(201);
    let group = server.people.group("ops").unwrap();
    assert_eq!(group.contacts, ["ann", "bob"]);
    server.call("DELETE", at, None).await.expect(204);
    assert_eq!(email("ann"), None);
    assert!(server.people.group("no such name!").is_none());
}
