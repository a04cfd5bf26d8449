//! Contacts, groups and a notification policy, over HTTP and a real mail server.

use std::time::Duration;

use anyhow::{Result, ensure};
use belfry_testkit::sink::Reply;
use belfry_testkit::smtp::{Options, SmtpServer};
use belfry_testkit::wait::wait_until;
use belfry_testkit::{Im, Server};
use belfry_tests::{post, put_rule, settled, text};
use serde_json::{Value, json};

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

fn disk_is_full(n: usize) -> Value {
    json!({
        "specversion": "1.0", "id": n.to_string(), "source": "/disk", "type": "disk.full",
        "subject": format!("vd{n}"), "severity": "error", "status": "1",
    })
}

#[tokio::test]
async fn a_robot_of_a_policy_and_of_another_target_has_one_limit() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let wecom = Im::wecom(KEY).await?;
    let dingtalk = Im::dingtalk(KEY, None, None).await?;
    let ding = json!({ "accessToken": KEY, "baseUrl": dingtalk.base() });
    let policy = json!({ "channels": [
        { "type": "wecom", "key": KEY, "baseUrl": wecom.base() },
        { "type": "dingtalk", "accessToken": KEY, "baseUrl": dingtalk.base() },
    ]});
    let rule = json!({ "pattern": { "type": ["disk.full"] }, "targets": {
        "policy": { "type": "notification", "settings": policy },
        "ding": { "type": "dingtalk", "settings": ding },
    }});
    put_rule(&admin, "disks", &rule).await?;
    // Two messages each to a robot that takes twenty a minute.
    let mut uids = Vec::new();
    for n in 0..15 {
        uids.push(post(&admin, &disk_is_full(n)).await?);
    }
    for uid in uids {
        let limit = Duration::from_secs(150);
        wait_until("deliveries that have ended", limit, async || {
            let found = belfry_tests::history(&admin, &uid).await?;
            let deliveries = found["deliveries"].as_array().cloned().unwrap_or_default();
            let done = deliveries.len() == 2
                && deliveries
                    .iter()
                    .all(|delivery| delivery["status"] == "delivered");
            Ok(done.then_some(()))
        })
        .await?;
    }
    for im in [&wecom, &dingtalk] {
        ensure!(im.refused().is_empty(), "{:?}", im.refused());
    }
    Ok(())
}

#[tokio::test]
async fn a_throttled_robot_does_not_delay_the_mail_of_its_policy() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let mail = SmtpServer::start(&Options::default())?;
    let wecom = Im::wecom(KEY).await?;
    // For a minute.
    wecom.script([Reply::Answer {
        status: 200,
        headers: Vec::new(),
        body: r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#.into(),
    }]);
    let ann = json!({ "email": "ann@example.com" });
    admin.put("/v1/contacts/ann", &ann).await?.expect(201)?;
    let policy = json!({
        "people": { "contacts": ["ann"] },
        "channels": [
            { "type": "wecom", "key": KEY, "baseUrl": wecom.base() },
            { "type": "email", "smtp": { "host": "127.0.0.1", "port": mail.port, "security": "none" }, "from": "alarms@example.com" },
        ],
    });
    let rule = json!({ "pattern": { "type": ["disk.full"] }, "targets": { "policy": { "type": "notification", "settings": policy } } });
    put_rule(&admin, "disks", &rule).await?;
    for n in 0..4 {
        post(&admin, &disk_is_full(n)).await?;
    }
    let mails = async || Ok((mail.mails().len() == 4).then_some(()));
    wait_until("the mails", Duration::from_secs(30), mails).await?;
    ensure!(wecom.taken().is_empty(), "{:?}", wecom.taken());
    Ok(())
}
