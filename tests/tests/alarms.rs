//! Alarms on their way to people, as the best-practice scenario has it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belfry_testkit::smtp::{Options, SmtpServer};
use belfry_testkit::{Im, Server, wait_until};
use belfry_tests::{LIMIT, put_rule, settled, text};
use serde_json::{Value, json};

const KEY: &str = "693a91f6-7aaa-4bc4-97a0-0ec2sifa5aaa";
const ACCESS_TOKEN: &str = "5c7d1f0e9a8b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d";
const HOOK: &str = "d1c2b3a4-5e6f-4789-90ab-cdef01234567";

/// Everybody who is told of alarms here.
struct Town {
    server: Server,
    wecom: Im,
    dingtalk: Im,
    feishu: Im,
    slack: Im,
    mail: SmtpServer,
}

impl Town {
    async fn start() -> Result<Self> {
        Ok(Self {
            server: Server::with("server.public_url", "https://belfry.example.com")
                .start()
                .await?,
            wecom: Im::wecom(KEY).await?,
            dingtalk: Im::dingtalk(ACCESS_TOKEN, Some("SEC0123456789abcdef"), None).await?,
            feishu: Im::feishu(HOOK, Some("feishu-demo-secret"), None).await?,
            slack: Im::slack_webhook().await?,
            mail: SmtpServer::start(&Options::default())?,
        })
    }

    /// One target for each of them.
    fn targets(&self) -> Value {
        let retry = json!({"schedule": "custom", "waitsSeconds": [1, 1, 1]});
        json!({
            "wecom": {"type": "wecom", "retry": retry, "settings": {"key": KEY, "baseUrl": self.wecom.base()}},
            "dingtalk": {"type": "dingtalk", "retry": retry, "settings": {
                "accessToken": ACCESS_TOKEN, "secret": "SEC0123456789abcdef", "baseUrl": self.dingtalk.base()}},
            "feishu": {"type": "feishu", "retry": retry, "settings": {
                "token": HOOK, "secret": "feishu-demo-secret", "baseUrl": self.feishu.base()}},
            "slack": {"type": "slack", "retry": retry, "settings": {"url": self.slack.url(), "language": "en"}},
            "mail": {"type": "email", "retry": retry, "settings": {
                "smtp": {"host": "127.0.0.1", "port": self.mail.port, "security": "none"},
                "from": "Alarms <alarms@example.com>", "to": ["ops@example.com", "boss@example.com"]}},
        })
    }

    async fn happens(&self, status: &str) -> Result<Vec<Value>> {
        let admin = self.server.admin()?;
        let simulated = json!({"template": "cvm/ping-unreachable", "resource": "ins-demo0001", "status": status});
        let answer = admin
            .post("/v1/buses/default/events:simulate", &simulated)
            .await?
            .expect(202)?;
        let uid = text(&answer["events"][0]["eventUid"])
            .or_else(|_| text(&answer["eventUid"]))
            .with_context(|| answer.to_string())?;
        settled(&admin, &uid).await
    }

    async fn mails(&self, count: usize) -> Result<Vec<belfry_testkit::smtp::Mail>> {
        wait_until("mails", LIMIT, async || {
            let mails = self.mail.mails();
            Ok((mails.len() >= count).then_some(mails))
        })
        .await
    }
}

#[tokio::test]
async fn an_alarm_and_its_recovery_reach_four_groups_and_a_mailbox() -> Result<()> {
    let town = Town::start().await?;
    let admin = town.server.admin()?;
    let preset = admin
        .get("/v1/catalog/events/cvm/ping-unreachable")
        .await?
        .expect(200)?;
    let rule = json!({"pattern": preset["pattern"], "targets": town.targets()});
    put_rule(&admin, "ping", &rule).await?;

    let deliveries = town.happens("1").await?;
    ensure!(
        deliveries.len() == 5 && deliveries.iter().all(|one| one["status"] == "delivered"),
        "{deliveries:?}"
    );
    let all = |im: &Im| -> Vec<String> {
        ensure_none_refused(im);
        im.taken()
            .iter()
            .map(|taken| taken.body.to_string())
            .collect()
    };
    for (im, title) in [
        (&town.wecom, "[严重]"),
        (&town.dingtalk, "[严重]"),
        (&town.feishu, "[严重]"),
        (&town.slack, "[Critical]"),
    ] {
        let bodies = all(im);
        ensure!(bodies.len() == 1, "{bodies:?}");
        ensure!(
            bodies[0].contains("https://belfry.example.com/v1/deliveries/dlv_"),
            "{bodies:?}"
        );
        ensure!(
            bodies[0].contains(title) && bodies[0].contains("ins-demo0001"),
            "{bodies:?}"
        );
    }
    let first = town.mails(1).await?.remove(0);
    let root = first.header("message-id").context("its id")?;
    ensure!(first.recipients.len() == 2, "{first:?}");

    let deliveries = town.happens("0").await?;
    ensure!(
        deliveries.iter().all(|one| one["status"] == "delivered"),
        "{deliveries:?}"
    );
    for (im, title) in [
        (&town.wecom, "[恢复]"),
        (&town.dingtalk, "[恢复]"),
        (&town.feishu, "[恢复]"),
        (&town.slack, "[Recovered]"),
    ] {
        let bodies = all(im);
        ensure!(bodies.len() == 2 && bodies[1].contains(title), "{bodies:?}");
    }
    let second = town.mails(2).await?.remove(1);
    ensure!(
        second.header("in-reply-to").as_ref() == Some(&root),
        "{second:?}"
    );

    let alarms = admin.get("/v1/alarms?state=recovered").await?.expect(200)?;
    let alarm = &alarms["items"][0];
    ensure!(alarm["subject"] == "ins-demo0001", "{alarms}");
    let told = alarm["told"].as_array().map_or(0, Vec::len);
    ensure!(told == 5, "{alarms}");
    Ok(())
}

#[tokio::test]
async fn nobody_hears_of_the_end_of_what_nobody_was_told() -> Result<()> {
    let town = Town::start().await?;
    let admin = town.server.admin()?;
    let rule = json!({"pattern": {"source": ["cvm.cloud.tencent"]}, "targets": town.targets()});
    put_rule(&admin, "ping", &rule).await?;
    let deliveries = town.happens("0").await?;
    ensure!(
        deliveries
            .iter()
            .all(|one| one["status"] == "skipped" && one["reason"] == "alarm_not_told"),
        "{deliveries:?}"
    );
    ensure!(town.mail.mails().is_empty() && town.wecom.taken().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_silence_keeps_an_alarm_from_everybody_and_says_so() -> Result<()> {
    let town = Town::start().await?;
    let admin = town.server.admin()?;
    let rule = json!({"pattern": {"source": ["cvm.cloud.tencent"]}, "targets": town.targets()});
    put_rule(&admin, "ping", &rule).await?;
    let silence = json!({
        "matchers": [{"name": "subject", "value": "ins-demo0001"}],
        "endsAt": "2999-01-01T00:00:00Z", "author": "ops", "comment": "moving racks",
    });
    let made = admin
        .put("/v1/buses/default/silences/racks", &silence)
        .await?;
    ensure!(made.status.is_success(), "{}", made.text());
    let deliveries = town.happens("1").await?;
    for delivery in &deliveries {
        ensure!(
            delivery["status"] == "skipped" && delivery["reason"] == "silenced",
            "{delivery}"
        );
        let detail = text(&delivery["detail"]).unwrap_or_default();
        ensure!(detail.contains("racks"), "{delivery}");
    }
    Ok(())
}

#[tokio::test]
async fn a_test_message_says_that_it_is_one_and_shows_the_vendors_answer() -> Result<()> {
    let town = Town::start().await?;
    let admin = town.server.admin()?;
    let target = town.targets()["wecom"].clone();
    let good = admin
        .post("/v1/targets:test", &json!({"target": target}))
        .await?
        .expect(200)?;
    ensure!(good["delivered"] == true, "{good}");
    let taken = town.wecom.wait_for(1, Duration::from_secs(10)).await?;
    ensure!(taken[0].body.to_string().contains("测试"), "{taken:?}");

    let mut wrong = target;
    wrong["settings"]["key"] = json!("693a91f6-0000-4bc4-97a0-0ec2sifa5aaa");
    let bad = admin
        .post("/v1/targets:test", &json!({"target": wrong}))
        .await?
        .expect(200)?;
    let attempt = &bad["attempts"][0];
    ensure!(
        bad["delivered"] == false && attempt["reason"] == "misconfigured",
        "{bad}"
    );
    let answer = text(&attempt["response"]["body"]).unwrap_or_default();
    ensure!(answer.contains("93000"), "{bad}");
    ensure!(!bad.to_string().contains("693a91f6-0000"), "{bad}");
    Ok(())
}

fn ensure_none_refused(im: &Im) {
    assert!(im.refused().is_empty(), "{:?}", im.refused());
}
