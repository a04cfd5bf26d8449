//! Targets beside each other: slow, changed, disabled, deleted; and the end of an engine with work at hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use belfry_engine::EngineSettings;
use belfry_model::delivery::{DeliveryStatus, Reason};
use belfry_store::DeliveryQueue as _;
use belfry_testkit::{Reply, wait_until};
use serde_json::{Value, json};

use crate::flaky::Fault;
use crate::rig::{Rig, SOON};
use crate::{hints_only, quick_retry, settings};

fn late(millis: u64, status: u16) -> Reply {
    Reply::Late {
        after: Duration::from_millis(millis),
        status,
    }
}

fn patient(rig: &Rig, path: &str) -> Value {
    json!({"url": rig.sink.url(path), "signing": {"enabled": false}, "timeoutSeconds": 60})
}

/// Under load the queues are never empty: what is done now and then must have its turn all the same.
#[tokio::test]
async fn a_hanging_delivery_gets_its_pending_row_also_under_load() -> Result<()> {
    let (rig, flaky) = Rig::flaky(EngineSettings {
        park_after: Duration::from_millis(100),
        batch_ops_max: 4,
        ..settings()
    })
    .await?;
    let rig = Arc::new(rig);
    rig.sink.script("/a", [Reply::Hang]);
    let target = rig
        .target("hook", "/a", json!({"settings": patient(&rig, "/a")}))
        .await?;
    rig.post("1", "t").await?;
    // Every commit takes so long that somebody waits when it is done.
    flaky.all_commits(Fault::Slow(Duration::from_millis(5)));
    let stop = Arc::new(AtomicBool::new(false));
    let posts: Vec<_> = (0..16)
        .map(|part| {
            let (rig, stop) = (Arc::clone(&rig), Arc::clone(&stop));
            tokio::spawn(async move {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let event =
                        json!({"id": format!("{part}-{n}"), "source": "elsewhere", "type": "t"});
                    rig.post_event(event).await.unwrap();
                }
            })
        })
        .collect();
    wait_until("the pending row", SOON, async || {
        Ok((!rig.store.next_due(&[target]).await?.is_empty()).then_some(()))
    })
    .await?;
    stop.store(true, Ordering::Relaxed);
    for post in posts {
        post.await?;
    }
    Ok(())
}

#[tokio::test]
async fn other_targets_backlogs_do_not_keep_an_idle_target_waiting() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        lanes_bytes_max: 500,
        ..hints_only()
    })
    .await?;
    rig.sink.script("/slow", [Reply::Hang]);
    let more = json!({"concurrency": 1, "settings": patient(&rig, "/slow")});
    let slow = rig.target("slow", "/slow", more).await?;
    for n in 0..20 {
        rig.post(&n.to_string(), "t").await?;
    }
    let lane = rig.engine.lane_status(slow).unwrap();
    assert!(lane.queued + lane.in_flight < 20, "not all fit");
    let well = rig.target("well", "/well", json!({})).await?;
    for n in 20..40 {
        rig.post(&n.to_string(), "t").await?;
    }
    rig.wait_delivered(well, 20).await?;
    Ok(())
}

#[tokio::test]
async fn a_reload_looks_for_work_of_changed_targets_only() -> Result<()> {
    let (rig, flaky) = Rig::flaky(hints_only()).await?;
    for n in 0..20 {
        rig.target(&format!("t{n}"), "/ok", json!({"enabled": false}))
            .await?;
    }
    let hook = rig.target("hook", "/a", quick_retry(&[1])).await?;
    rig.sink
        .script("/a", [Reply::status(500), Reply::status(200)]);
    rig.post("0", "t").await?;
    rig.wait_delivered(hook, 1).await?;
    rig.sink
        .script("/a", [Reply::status(500), Reply::status(200)]);
    let before = flaky.claimed();
    for _ in 0..5 {
        rig.engine.reload().await?;
    }
    // By the time this retry was claimed, whatever the reloads had asked for was looked at.
    rig.post("1", "t").await?;
    rig.wait_delivered(hook, 2).await?;
    let claims = flaky.claimed() - before;
    assert!(claims < 10, "{claims} claims for one retry");
    Ok(())
}

#[tokio::test]
async fn an_old_answer_does_not_disable_a_target_that_was_changed_since() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.sink.script("/old", [late(300, 410)]);
    let target = rig
        .target("hook", "/old", json!({"settings": patient(&rig, "/old")}))
        .await?;
    let first = rig.post("1", "t").await?;
    rig.sink.wait_for("/old", 1, SOON).await?;
    let more = json!({"settings": patient(&rig, "/new")});
    rig.change(rig.changed("hook", more).await?).await?;
    rig.wait_for(first.event_uid, target, DeliveryStatus::Dead)
        .await?;
    for n in 2..20 {
        let next = rig.post(&n.to_string(), "t").await?;
        rig.wait_for(next.event_uid, target, DeliveryStatus::Delivered)
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_disabled_or_deleted_target_ends_what_is_in_memory_as_skipped() -> Result<()> {
    for delete in [false, true] {
        let rig = Rig::start(settings()).await?;
        rig.sink.script("/a", [late(400, 200)]);
        let more = json!({"concurrency": 1, "settings": patient(&rig, "/a")});
        let target = rig.target("hook", "/a", more).await?;
        let first = rig.post("0", "t").await?;
        let mut queued = Vec::new();
        for n in 1..6 {
            queued.push(rig.post(&n.to_string(), "t").await?.event_uid);
        }
        rig.sink.wait_for("/a", 1, SOON).await?;
        let change = if delete {
            rig.deleted("hook").await?
        } else {
            rig.changed("hook", json!({"enabled": false})).await?
        };
        rig.change(change).await?;
        rig.wait_for(first.event_uid, target, DeliveryStatus::Delivered)
            .await?;
        let reason = if delete {
            Reason::TargetDeleted
        } else {
            Reason::TargetDisabled
        };
        for event in queued {
            let record = rig.wait_for(event, target, DeliveryStatus::Skipped).await?;
            assert_eq!(record.outcome.reason, Some(reason));
        }
        assert_eq!(rig.sink.received().len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn all_that_waits_for_a_deleted_target_ends_page_after_page() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        lane_bytes_max: 2000,
        ..hints_only()
    })
    .await?;
    rig.sink.script("/a", [Reply::retry_after(503, 3600)]);
    let target = rig.target("hook", "/a", quick_retry(&[3600])).await?;
    let count = 600;
    for n in 0..count {
        rig.post(&n.to_string(), "t").await?;
    }
    wait_until("all to wait", SOON, async || {
        let waiting = rig.store.backlog(1000).await?;
        Ok((waiting.iter().map(|one| one.count).sum::<u64>() == count).then_some(()))
    })
    .await?;
    rig.change(rig.deleted("hook").await?).await?;
    wait_until("all to end", SOON, async || {
        let all = rig.deliveries(target).await?;
        let mut skipped = all.iter().map(|one| one.outcome.status);
        Ok(skipped
            .all(|status| status == DeliveryStatus::Skipped)
            .then_some(()))
    })
    .await?;
    assert!(rig.store.targets_with_pending().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_shutdown_commits_what_was_handed_over_although_something_else_hangs() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    rig.sink.script("/hangs", [Reply::Hang]);
    rig.target(
        "hangs",
        "/hangs",
        json!({"settings": patient(&rig, "/hangs")}),
    )
    .await?;
    let well = rig.target("well", "/well", json!({})).await?;
    flaky.all_commits(Fault::Slow(Duration::from_millis(150)));
    let accepted = rig.post("1", "t").await?;
    wait_until("the result to be handed over", SOON, async || {
        let lane = rig.engine.lane_status(well).unwrap();
        let sent = !rig.sink.received_at("/well").is_empty();
        Ok((sent && lane.in_flight == 0).then_some(()))
    })
    .await?;
    assert!(!rig.engine.shutdown(Duration::from_millis(20)).await);
    let record = rig.delivery(accepted.event_uid, well).await?;
    assert_eq!(record.outcome.status, DeliveryStatus::Delivered);
    Ok(())
}

/// Hanging receivers may take all places that are shared; every other target has one of its own.
#[tokio::test]
async fn hanging_targets_leave_every_other_target_a_place_on_the_wire() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        in_flight_max: 8,
        ..settings()
    })
    .await?;
    rig.sink.script("/hang", [Reply::Hang]);
    for n in 0..4 {
        let more = json!({"settings": patient(&rig, "/hang")});
        rig.target(&format!("hang-{n}"), "/hang", more).await?;
    }
    for n in 0..20 {
        rig.post(&n.to_string(), "t").await?;
    }
    rig.sink.wait_for("/hang", 8 + 4, SOON).await?;
    let well = rig.target("well", "/well", json!({})).await?;
    for n in 20..60 {
        rig.post(&n.to_string(), "t").await?;
    }
    rig.wait_delivered(well, 40).await?;
    let hanging = rig.sink.received_at("/hang").len();
    assert_eq!(hanging, 8 + 4, "no more than there are places");
    Ok(())
}

#[tokio::test]
async fn a_probe_that_is_answered_closes_the_circuit_even_with_a_refusal() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        circuit_failures: 2,
        circuit_open: Duration::from_millis(50),
        ..settings()
    })
    .await?;
    let fail = || Reply::status(500);
    rig.sink.script("/a", [fail(), fail(), Reply::status(422)]);
    let target = rig.target("hook", "/a", quick_retry(&[1, 1])).await?;
    let circuit = |word: &'static str| {
        let rig = &rig;
        async move {
            wait_until(word, SOON, async || {
                let lane = rig.engine.lane_status(target).unwrap();
                Ok((lane.circuit == word).then_some(()))
            })
            .await
        }
    };
    for n in 0..2 {
        rig.post(&n.to_string(), "t").await?;
    }
    rig.sink.wait_for("/a", 2, SOON).await?;
    rig.post("2", "t").await?;
    rig.sink.wait_for("/a", 3, SOON).await?;
    circuit("closed").await?;
    Ok(())
}

/// A new delivery takes no turn that an older one waits for.
#[tokio::test]
async fn under_a_rate_limit_what_came_first_goes_first() -> Result<()> {
    let rig = Rig::start(hints_only()).await?;
    let more = json!({"rateLimit": {"count": 20, "perSeconds": 1}, "concurrency": 1});
    let target = rig.target("hook", "/a", more).await?;
    // Faster than the limit lets through, for longer than its burst.
    for n in 0..40 {
        rig.post(&n.to_string(), "t").await?;
    }
    let begun = Instant::now();
    for n in 40.. {
        if begun.elapsed() > Duration::from_millis(1500) {
            break;
        }
        rig.post(&n.to_string(), "t").await?;
        tokio::task::yield_now().await;
        rig.engine.flush().await;
    }
    let first = rig.sink.wait_for("/a", 40, SOON).await?;
    let late = first
        .iter()
        .take(40)
        .filter(|one| {
            one.json().unwrap()["id"]
                .as_str()
                .unwrap()
                .parse::<u32>()
                .unwrap()
                >= 40
        })
        .count();
    assert!(late <= 2, "{late} of those that came later");
    assert!(rig.engine.lane_status(target).is_some());
    Ok(())
}

#[tokio::test]
async fn a_shutdown_begins_no_attempt_that_has_waited_for_its_turn() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        in_flight_max: 1,
        ..settings()
    })
    .await?;
    rig.sink.script("/a", [late(300, 200)]);
    rig.target("hook", "/a", json!({"settings": patient(&rig, "/a")}))
        .await?;
    for n in 0..5 {
        rig.post(&n.to_string(), "t").await?;
    }
    // One shared place and the target's own.
    rig.sink.wait_for("/a", 2, SOON).await?;
    let begun = Instant::now();
    assert!(rig.engine.shutdown(SOON).await);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(rig.sink.received().len(), 2);
    Ok(())
}

/// The lane of a deleted target is in no list any more; what is on the wire still counts.
#[tokio::test]
async fn a_shutdown_waits_for_the_last_request_to_a_deleted_target() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.sink.script("/a", [late(500, 200)]);
    let target = rig
        .target("hook", "/a", json!({"settings": patient(&rig, "/a")}))
        .await?;
    let accepted = rig.post("1", "t").await?;
    rig.sink.wait_for("/a", 1, SOON).await?;
    rig.change(rig.deleted("hook").await?).await?;
    assert!(rig.engine.shutdown(SOON).await);
    let record = rig.delivery(accepted.event_uid, target).await?;
    assert_eq!(record.outcome.status, DeliveryStatus::Delivered);
    Ok(())
}
