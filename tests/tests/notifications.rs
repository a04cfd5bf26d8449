//! Contacts, groups and a notification policy, over HTTP and a real mail server.

use anyhow::{Result, ensure};
use belfry_testkit::smtp::{Options, SmtpServer};
use belfry_testkit::{Im, Server};
use belfry_tests::{post, put_rule, settled, text};
use serde_json::json;

const KEY: &str = "693a91f6-7aaa-4bc4-97a0-0ec2sifa5aaa";

#[tokio::test]
async fn a_policy_reaches_whom_it_can_and_says_whom_it_could_not() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let mail = SmtpServer::start(&Options::default())?;
    let wecom = Im::wecom(KEY).await?;
    for (name, address) in [
        ("ann", "ann@example.com"),
        ("bob", "refused@example.com"),
        ("eve", "eve@example.com"),
    ] {
        let answer = admin
            .put(
                &format!("/v1/contacts/{name}"),
                &json!({ "email": address }),
            )
            .await?;
        ensure!(answer.status.is_success(), "{}", answer.text());
    }
    let group = json!({ "contacts": ["ann", "bob", "eve"] });
    let answer = admin.put("/v1/contact-groups/crew", &group).await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    let wrong = admin
        .put("/v1/contacts/mal", &json!({ "email": "a b@example.com" }))
        .await?;
    ensure!(
        wrong.status.as_u16() == 422 || wrong.status.as_u16() == 400,
        "{}",
        wrong.text()
    );

    let policy = json!({
        "people": { "groups": ["crew"] },
        "channels": [
            { "type": "email", "smtp": { "host": "127.0.0.1", "port": mail.port, "security": "none" }, "from": "alarms@example.com" },
            { "type": "wecom", "key": KEY, "baseUrl": wecom.base() },
        ],
    });
    let rule = json!({ "pattern": { "type": ["disk.full"] }, "targets": { "policy": { "type": "notification", "settings": policy } } });
    put_rule(&admin, "people", &rule).await?;
    let shown = admin
        .get("/v1/buses/default/rules/people")
        .await?
        .expect(200)?;
    ensure!(!shown.to_string().contains(KEY), "{shown}");

    let event = json!({ "specversion": "1.0", "id": "1", "source": "/disk", "type": "disk.full", "subject": "vda", "severity": "error", "status": "1" });
    let uid = post(&admin, &event).await?;
    let deliveries = settled(&admin, &uid).await?;
    ensure!(
        deliveries.len() == 1 && deliveries[0]["status"] == "delivered",
        "{deliveries:?}"
    );
    let mails = mail.mails();
    ensure!(
        mails.len() == 1 && mails[0].recipients == ["ann@example.com", "eve@example.com"],
        "{mails:?}"
    );
    ensure!(wecom.taken().len() == 1);

    // The history: two requests, and whom the mail did not reach.
    let id = text(&deliveries[0]["id"])?;
    let delivery = admin
        .get(&format!("/v1/deliveries/{id}"))
        .await?
        .expect(200)?;
    let said = delivery.to_string();
    ensure!(
        said.contains("refused for good: refused@example.com (550 5.1.1 no such user here)"),
        "{delivery:#}"
    );
    ensure!(
        delivery["attempts"].as_array().map_or(0, Vec::len) == 2,
        "{delivery:#}"
    );

    // Whoever has left the group is not told any more.
    let answer = admin
        .put("/v1/contact-groups/crew", &json!({ "contacts": ["eve"] }))
        .await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    let event = json!({ "specversion": "1.0", "id": "2", "source": "/disk", "type": "disk.full", "subject": "vdb", "severity": "error", "status": "1" });
    let uid = post(&admin, &event).await?;
    settled(&admin, &uid).await?;
    let mails = mail.mails();
    ensure!(
        mails.len() == 2 && mails[1].recipients == ["eve@example.com"],
        "{mails:?}"
    );
    Ok(())
}
