//! A storm against strict doubles of the services that people use: no limit exceeded, nothing lost, criticals first.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use belfry_engine::{AcceptContext, EngineSettings};
use belfry_model::TargetId;
use belfry_model::delivery::DeliveryStatus;
use belfry_testkit::{Im, wait_until};
use serde_json::{Value, json};

use crate::rig::{Rig, event};
use crate::settings;

/// A bot of Telegram, in a group.
const BOT: &str = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
const CHAT: i64 = -1_001_234_567_890;
const ALARMS: usize = 60;
/// Every so many is critical.
const CRITICAL: usize = 10;
const LIMIT: Duration = Duration::from_secs(150);

async fn target(rig: &Rig, name: &str, settings: Value) -> Result<TargetId> {
    let more = json!({"type": name, "settings": settings});
    rig.target(name, "/", more).await
}

/// The bodies in the order in which they were taken, as text.
fn texts(im: &Im) -> Vec<String> {
    let taken = im.taken().into_iter();
    taken.map(|one| one.body.to_string()).collect()
}

#[tokio::test]
async fn sixty_alarms_in_a_second_reach_each_bot_within_its_limit() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        sweep_every: Duration::from_secs(1),
        ..settings()
    })
    .await?;
    let (wecom, dingtalk, feishu, slack, teams, telegram, discord) = (
        Im::wecom("693a91f6-0000-4bc4-97a0-0ec2sifa5aaa").await?,
        Im::dingtalk(
            "5c7d1f0e9a8b4c3d2e1f0a9b8c7d6e5f",
            Some("SEC0123456789abcdef"),
            None,
        )
        .await?,
        Im::feishu("5c7d1f0e9a8b4c3d2e1f0a9b8c7d6e5f", None, None).await?,
        Im::slack_webhook().await?,
        Im::teams().await?,
        Im::telegram(BOT, CHAT).await?,
        Im::discord().await?,
    );
    let bots = [
        (
            target(
                &rig,
                "wecom",
                json!({"key": "693a91f6-0000-4bc4-97a0-0ec2sifa5aaa", "baseUrl": wecom.base()}),
            )
            .await?,
            &wecom,
        ),
        (
            target(
                &rig,
                "dingtalk",
                json!({
                    "accessToken": "5c7d1f0e9a8b4c3d2e1f0a9b8c7d6e5f", "secret": "SEC0123456789abcdef",
                    "baseUrl": dingtalk.base(),
                }),
            )
            .await?,
            &dingtalk,
        ),
        (
            target(
                &rig,
                "feishu",
                json!({"token": "5c7d1f0e9a8b4c3d2e1f0a9b8c7d6e5f", "baseUrl": feishu.base()}),
            )
            .await?,
            &feishu,
        ),
        (
            target(&rig, "slack", json!({"url": slack.url()})).await?,
            &slack,
        ),
        (
            target(&rig, "teams", json!({"url": teams.url()})).await?,
            &teams,
        ),
        (
            target(
                &rig,
                "telegram",
                json!({"token": BOT, "chatId": CHAT.to_string(), "baseUrl": telegram.base()}),
            )
            .await?,
            &telegram,
        ),
        (
            target(&rig, "discord", json!({"url": discord.url()})).await?,
            &discord,
        ),
    ];
    let storm = (0..ALARMS).map(|n| {
        let severity = if n % CRITICAL == CRITICAL - 1 {
            "critical"
        } else {
            "warning"
        };
        event(&json!({
            "id": format!("storm-{n}"), "source": "tests", "type": "disk.full", "subject": format!("disk-{n:03}"),
            "severity": severity, "status": "1", "alarmkey": format!("k{n}"), "data": {},
        }))
    });
    let bus = "default".parse()?;
    rig.engine
        .accept(&bus, storm.collect(), AcceptContext::default())
        .await?;
    for (target, im) in &bots {
        let all = wait_until("all to be told", LIMIT, async || {
            rig.engine.flush().await;
            let all = rig.deliveries(*target).await?;
            let ended = all.iter().filter(|one| one.outcome.status.is_final());
            Ok((ended.count() == ALARMS).then_some(all))
        })
        .await?;
        assert_eq!(im.refused().len(), 0, "{:?}", im.refused());
        let (mut carrying, mut folded) = (0, BTreeSet::new());
        for one in &all {
            assert_eq!(one.outcome.status, DeliveryStatus::Delivered, "{one:?}");
            match &one.outcome.detail {
                Some(detail) if detail.starts_with("in the message of dlv_") => {
                    folded.insert(one.outcome.delivery);
                }
                _ => carrying += 1,
            }
        }
        assert_eq!(carrying, im.taken().len());
        assert_eq!(carrying + folded.len(), ALARMS);
        // No critical comes after the first message of something else.
        let texts = texts(im);
        let critical = |text: &String| {
            (0..ALARMS)
                .filter(|n| n % CRITICAL == CRITICAL - 1)
                .any(|n| text.contains(&format!("disk-{n:03}")))
        };
        let first_other = texts.iter().position(|text| !critical(text));
        let last_critical = texts.iter().rposition(critical);
        assert!(last_critical < first_other, "{texts:#?}");
        assert!(texts.len() >= ALARMS / CRITICAL);
    }
    Ok(())
}
