//! Contacts, groups and a notification policy, over HTTP and a real mail server.

use std::time::Duration;

use anyhow::{Result, ensure};
use belfry_testkit::smtp::{Options, SmtpServer};
use belfry_testkit::{Im, Reply, Server, wait_until};
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
    // Whoever looks at the list sees it too.
    let listed = server.cli().run(&["list", "deliveries"]).await?.expect(0)?;
    ensure!(
        listed.contains("refused for good: refused@example.com"),
        "{listed}"
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

/// A server, its mail server and a robot, with an operator who is told by both.
struct Town {
    server: Server,
    mail: SmtpServer,
    wecom: Im,
}

impl Town {
    /// `with_robot_alone`: a second target of the rule sends by the same robot.
    async fn start(wecom: Im, with_robot_alone: bool) -> Result<Self> {
        let server = Server::start().await?;
        let admin = server.admin()?;
        let mail = SmtpServer::start(&Options::default())?;
        let answer = admin
            .put("/v1/contacts/ann", &json!({ "email": "ann@example.com" }))
            .await?;
        ensure!(answer.status.is_success(), "{}", answer.text());
        let robot = json!({ "key": KEY, "baseUrl": wecom.base() });
        let mut inside = robot.clone();
        inside["type"] = json!("wecom");
        let policy = json!({
            "people": { "contacts": ["ann"] },
            "channels": [
                inside,
                { "type": "email", "smtp": { "host": "127.0.0.1", "port": mail.port, "security": "none" }, "from": "alarms@example.com" },
            ],
        });
        let mut targets = json!({ "policy": { "type": "notification", "settings": policy } });
        if with_robot_alone {
            targets["robot"] = json!({ "type": "wecom", "settings": robot });
        }
        let rule = json!({ "pattern": { "type": ["disk.full"] }, "targets": targets });
        put_rule(&admin, "people", &rule).await?;
        Ok(Self {
            server,
            mail,
            wecom,
        })
    }

    async fn happens(&self, disk: &str) -> Result<String> {
        let event = json!({
            "specversion": "1.0", "id": disk, "source": "/disk", "type": "disk.full", "subject": disk, "severity": "critical",
            "status": "1",
        });
        post(&self.server.admin()?, &event).await
    }

    async fn mails(&self, count: usize, within: Duration) -> Result<()> {
        wait_until("the mails", within, async || {
            Ok((self.mail.mails().len() >= count).then_some(()))
        })
        .await
    }
}

#[tokio::test]
async fn a_robot_is_asked_no_more_often_by_two_targets_than_by_one() -> Result<()> {
    // A message every 4.3 seconds; each target alone would send its two within these 8.
    let wecom = Im::wecom(KEY).await?.limit([(2, Duration::from_secs(8))]);
    let town = Town::start(wecom, true).await?;
    town.happens("vda").await?;
    town.happens("vdb").await?;
    town.mails(2, Duration::from_secs(6)).await?;
    ensure!(town.wecom.taken().len() < 4, "mails wait for no robot");
    town.wecom.wait_for(4, Duration::from_mins(1)).await?;
    ensure!(
        town.wecom.refused().is_empty(),
        "{:?}",
        town.wecom.refused()
    );
    Ok(())
}

#[tokio::test]
async fn a_robot_that_wants_less_keeps_no_mail_waiting() -> Result<()> {
    let wecom = Im::wecom(KEY).await?;
    let slower = json!({ "errcode": 45009, "errmsg": "api freq out of limit" });
    wecom.script([Reply::Answer {
        status: 200,
        headers: Vec::new(),
        body: slower.to_string(),
    }]);
    let town = Town::start(wecom, false).await?;
    for disk in ["vda", "vdb", "vdc"] {
        town.happens(disk).await?;
    }
    town.mails(3, Duration::from_secs(15)).await?;
    ensure!(town.wecom.received().len() == 1, "the robot rests");
    Ok(())
}
