//! What becomes of events and results while the store fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use belfry_engine::{AcceptContext, AcceptError, Accepted, Engine, EngineSettings, IdempotencyKey};
use belfry_model::delivery::{DeliveryStatus, Reason};
use belfry_model::{Clock as _, Event, ManualClock, SystemClock};
use belfry_store::{
    Change, ConfigStore as _, DeliveryQueue as _, EventQuery, EventRecord, Expect, History as _,
};
use belfry_testkit::{Reply, wait_until};
use serde_json::{Value, json};

use crate::flaky::{Fault, Flaky};
use crate::rig::{Rig, SOON, with, with_clock};
use crate::{hints_only, quick_retry, settings};

async fn events(rig: &Rig) -> Result<Vec<EventRecord>> {
    let query = EventQuery {
        source: Some("tests".to_owned()),
        limit: 200,
        scan_max: 10_000,
        ..EventQuery::default()
    };
    Ok(rig.store.list_events(&query).await?.items)
}

/// A target with a long enough limit for late answers.
fn patient(rig: &Rig, path: &str) -> Value {
    json!({"settings": {"url": rig.sink.url(path), "signing": {"enabled": false}, "timeoutSeconds": 30}})
}

fn late(millis: u64) -> Reply {
    Reply::Late {
        after: Duration::from_millis(millis),
        status: 200,
    }
}

/// Waits until so many more commits have failed.
async fn more_failures(flaky: &Flaky, count: usize) -> Result<()> {
    let before = flaky.failed();
    wait_until("commits to fail", SOON, async || {
        Ok((flaky.failed() >= before + count).then_some(()))
    })
    .await
}

/// Waits until nothing is in memory for a target.
async fn idle(rig: &Rig, target: belfry_model::TargetId) -> Result<()> {
    wait_until("the lane to be idle", SOON, async || {
        let lane = rig.engine.lane_status(target).unwrap();
        Ok((lane.queued + lane.in_flight == 0).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_failed_commit_is_told_to_its_senders_and_nothing_is_stored_or_delivered() -> Result<()> {
    for fault in [Fault::Unavailable, Fault::Full, Fault::Internal] {
        let (rig, flaky) = Rig::flaky(settings()).await?;
        let target = rig.target("hook", "/a", json!({})).await?;
        flaky.all_commits(fault);
        for n in 0..5 {
            let told = rig.post(&n.to_string(), "t").await;
            match fault {
                Fault::Full => assert!(matches!(told, Err(AcceptError::Full(_))), "{told:?}"),
                _ => assert_eq!(told, Err(AcceptError::Unavailable)),
            }
        }
        assert!(events(&rig).await?.is_empty());
        flaky.all_commits(Fault::None);
        let accepted = rig.post("4", "t").await?;
        assert!(!accepted.duplicate, "what was refused is no repeat");
        rig.wait_for(accepted.event_uid, target, DeliveryStatus::Delivered)
            .await?;
        assert_eq!(events(&rig).await?.len(), 1);
        assert_eq!(rig.sink.received().len(), 1);
        assert!(rig.engine.status().accepting);
    }
    Ok(())
}

/// Whoever asks whether events are accepted may send none until they are.
#[tokio::test]
async fn an_idle_engine_notices_that_the_store_works_again() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    flaky.all_commits(Fault::Unavailable);
    assert!(rig.post("1", "t").await.is_err());
    assert!(!rig.engine.status().accepting);
    flaky.all_commits(Fault::None);
    wait_until("the engine to accept", SOON, async || {
        Ok(rig.engine.status().accepting.then_some(()))
    })
    .await
}

#[tokio::test]
async fn results_wait_while_commits_fail_and_nothing_is_sent_twice() -> Result<()> {
    for fault in [Fault::Unavailable, Fault::Full] {
        let (rig, flaky) = Rig::flaky(settings()).await?;
        rig.sink.script("/ok", [late(200)]);
        rig.sink
            .script("/retry", [Reply::status(500), Reply::status(200)]);
        let ok = rig.target("ok", "/ok", patient(&rig, "/ok")).await?;
        let retry = rig.target("retry", "/retry", quick_retry(&[1])).await?;
        let accepted = rig.post("1", "t").await?;
        flaky.all_commits(fault);
        rig.sink.wait_for("/ok", 1, SOON).await?;
        idle(&rig, ok).await?;
        more_failures(&flaky, 3).await?;
        flaky.all_commits(Fault::None);
        for (target, attempts) in [(ok, 1), (retry, 2)] {
            let record = rig
                .wait_for(accepted.event_uid, target, DeliveryStatus::Delivered)
                .await?;
            let made = rig.store.list_attempts(record.outcome.delivery).await?;
            assert_eq!(made.len(), attempts);
        }
        assert_eq!(rig.sink.received_at("/ok").len(), 1);
        assert_eq!(rig.sink.received_at("/retry").len(), 2);
    }
    Ok(())
}

#[tokio::test]
async fn room_and_tokens_taken_for_a_failed_commit_are_given_back() -> Result<()> {
    let (rig, flaky) = Rig::flaky(EngineSettings {
        lane_deliveries_max: 4,
        lane_bytes_max: 1000,
        lanes_bytes_max: 2000,
        ..hints_only()
    })
    .await?;
    let plain = rig.target("plain", "/plain", json!({})).await?;
    let more = json!({"rateLimit": {"count": 6, "perSeconds": 86_400}});
    let limited = rig.target("limited", "/limited", more).await?;
    flaky.all_commits(Fault::Unavailable);
    for n in 0..60 {
        assert!(rig.post(&n.to_string(), "t").await.is_err());
    }
    flaky.all_commits(Fault::None);
    for n in 0..6 {
        rig.post(&n.to_string(), "t").await?;
    }
    rig.wait_delivered(plain, 6).await?;
    rig.wait_delivered(limited, 6).await?;
    Ok(())
}

#[tokio::test]
async fn a_probe_whose_commit_failed_does_not_keep_the_circuit_shut() -> Result<()> {
    let (rig, flaky) = Rig::flaky(EngineSettings {
        circuit_failures: 1,
        circuit_open: Duration::from_millis(50),
        circuit_open_max: Duration::from_millis(50),
        ..hints_only()
    })
    .await?;
    rig.sink
        .script("/a", [Reply::status(500), Reply::status(200)]);
    let target = rig.target("hook", "/a", quick_retry(&[3600])).await?;
    let first = rig.post("1", "t").await?;
    rig.wait_for(first.event_uid, target, DeliveryStatus::Retrying)
        .await?;
    let paused = async || {
        let lane = rig.engine.lane_status(target).unwrap();
        Ok(lane.paused_until_ms.is_none().then_some(()))
    };
    wait_until("the time for a probe", SOON, paused).await?;
    flaky.all_commits(Fault::Unavailable);
    assert!(rig.post("probe", "t").await.is_err());
    flaky.all_commits(Fault::None);
    let next = rig.post("2", "t").await?;
    rig.wait_for(next.event_uid, target, DeliveryStatus::Delivered)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_commit_that_happened_although_it_was_reported_as_failed_counts() -> Result<()> {
    let (rig, flaky) = Rig::flaky(hints_only()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    for n in 0..20 {
        flaky.commits([Fault::Lost]);
        let accepted = rig.post(&n.to_string(), "t").await?;
        assert!(!accepted.duplicate);
    }
    rig.wait_delivered(target, 20).await?;
    assert_eq!(rig.sink.received().len(), 20);
    assert_eq!(events(&rig).await?.len(), 20);
    Ok(())
}

#[tokio::test]
async fn a_commit_nobody_knows_of_is_looked_up_before_anything_else_is_written() -> Result<()> {
    for fault in [Fault::Lost, Fault::Unavailable] {
        let (rig, flaky) = Rig::flaky(hints_only()).await?;
        let target = rig.target("hook", "/a", json!({})).await?;
        flaky.fail_reads(true);
        flaky.all_commits(fault);
        assert_eq!(rig.post("1", "t").await, Err(AcceptError::Unavailable));
        assert_eq!(rig.post("2", "t").await, Err(AcceptError::Unavailable));
        flaky.all_commits(Fault::None);
        assert_eq!(rig.post("3", "t").await, Err(AcceptError::Unavailable));
        assert!(rig.sink.received().is_empty());
        flaky.fail_reads(false);
        let stored = usize::from(fault == Fault::Lost);
        rig.wait_delivered(target, stored).await?;
        let again = rig.post("1", "t").await?;
        assert_eq!(again.duplicate, stored == 1);
        rig.post("2", "t").await?;
        rig.wait_delivered(target, 2).await?;
        assert_eq!(rig.sink.received().len(), 2);
        assert_eq!(events(&rig).await?.len(), 2);
    }
    Ok(())
}

#[tokio::test]
async fn the_watermark_waits_for_all_targets_of_an_event_also_when_commits_fail() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    rig.sink.script("/late", [late(100)]);
    rig.sink.script("/hangs", [Reply::Hang]);
    let late = rig.target("late", "/late", patient(&rig, "/late")).await?;
    let hangs = rig
        .target("hangs", "/hangs", patient(&rig, "/hangs"))
        .await?;
    let accepted = rig.post("1", "t").await?;
    rig.sink.wait_for("/hangs", 1, SOON).await?;
    flaky.all_commits(Fault::Unavailable);
    rig.sink.wait_for("/late", 1, SOON).await?;
    more_failures(&flaky, 2).await?;
    flaky.all_commits(Fault::None);
    rig.wait_for(accepted.event_uid, late, DeliveryStatus::Delivered)
        .await?;
    flaky.die().await;
    rig.sink.script("/hangs", [Reply::status(200)]);
    let engine = Engine::start(with(rig.store.clone())?, settings()).await?;
    rig.wait_for(accepted.event_uid, hangs, DeliveryStatus::Delivered)
        .await?;
    assert_eq!(rig.sink.received_at("/late").len(), 1);
    engine.shutdown(SOON).await;
    Ok(())
}

/// The senders were told that it failed, the process dies before it could look: the events are there all the same.
#[tokio::test]
async fn a_crash_in_doubt_leaves_nothing_stuck() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    flaky.fail_reads(true);
    flaky.all_commits(Fault::Lost);
    assert!(rig.post("1", "t").await.is_err());
    flaky.die().await;
    let engine = Engine::start(with(rig.store.clone())?, settings()).await?;
    wait_until("the delivery", SOON, async || {
        engine.flush().await;
        let all = rig.deliveries(target).await?;
        Ok((all.len() == 1 && all[0].outcome.status == DeliveryStatus::Delivered).then_some(()))
    })
    .await?;
    assert_eq!(rig.sink.received().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_result_whose_answer_was_lost_is_recorded_once() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    rig.sink.script("/a", [late(100)]);
    let target = rig.target("hook", "/a", patient(&rig, "/a")).await?;
    let accepted = rig.post("1", "t").await?;
    flaky.all_commits(Fault::Lost);
    rig.sink.wait_for("/a", 1, SOON).await?;
    more_failures(&flaky, 2).await?;
    flaky.all_commits(Fault::None);
    let record = rig
        .wait_for(accepted.event_uid, target, DeliveryStatus::Delivered)
        .await?;
    let attempts = rig.store.list_attempts(record.outcome.delivery).await?;
    assert_eq!(attempts.len(), 1);
    rig.engine.flush().await;
    assert_eq!(rig.sink.received().len(), 1);
    assert!(rig.store.next_due(&[target]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_with_an_idempotency_key_is_given_again() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    let post = async || -> Result<Vec<Accepted>, AcceptError> {
        let doc = r#"{"specversion":"1.0","id":"a","source":"tests","type":"t"}"#;
        let event = Event::from_stored(doc.into()).unwrap();
        let cx = AcceptContext {
            idempotency: Some(IdempotencyKey {
                scope: [1; 32],
                fingerprint: [2; 32],
            }),
            ..AcceptContext::default()
        };
        let bus = "default".parse().unwrap();
        rig.engine.accept(&bus, vec![event], cx).await
    };
    flaky.commits([Fault::Lost]);
    let first = post().await?;
    assert_eq!(first, post().await?);
    flaky.all_commits(Fault::Unavailable);
    assert_eq!(first, post().await?, "answered without a commit");
    flaky.all_commits(Fault::None);
    rig.wait_delivered(target, 1).await?;
    assert_eq!(events(&rig).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn one_result_that_cannot_be_stored_does_not_hold_up_the_others() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    rig.sink.script("/a", [late(300)]);
    let target = rig.target("hook", "/a", patient(&rig, "/a")).await?;
    let bad = rig.post("bad", "t").await?.event_uid;
    flaky.refuse(move |batch| batch.outcomes.iter().any(|one| one.delivery.event == bad));
    for n in 0..20 {
        rig.post(&n.to_string(), "t").await?;
    }
    rig.wait_delivered(target, 20).await?;
    assert_eq!(rig.sink.received().len(), 21);
    assert_eq!(
        rig.delivery(bad, target).await?.outcome.status,
        DeliveryStatus::Queued
    );
    rig.engine.shutdown(SOON).await;
    // The watermark has not passed it.
    let engine = Engine::start(with(rig.store.clone())?, settings()).await?;
    rig.wait_for(bad, target, DeliveryStatus::Delivered).await?;
    engine.shutdown(SOON).await;
    Ok(())
}

#[tokio::test]
async fn a_result_is_stored_without_the_details_that_the_store_refuses() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    rig.sink.script("/a", [Reply::status(500)]);
    let more = json!({"retry": {"schedule": "none"}, "deadLetter": {"bus": "dead"}});
    let target = rig.target("hook", "/a", more).await?;
    let log = json!({"type": "log", "settings": {"log": "lines"}});
    let log = rig.target("log", "/unused", log).await?;
    flaky.refuse(|batch| {
        let mut records = batch.attempts.iter().map(|attempt| &attempt.record);
        records.any(Option::is_some) || !batch.log_entries.is_empty()
    });
    let accepted = rig.post("1", "t").await?;
    let record = rig
        .wait_for(accepted.event_uid, target, DeliveryStatus::Dead)
        .await?;
    assert_eq!(record.outcome.reason, Some(Reason::Http5xx));
    assert_eq!(record.outcome.attempts, 1);
    let attempts = rig.store.list_attempts(record.outcome.delivery).await?;
    assert_eq!(attempts[0].status_code, Some(500));
    assert_eq!(attempts[0].record, None);
    let record = rig
        .wait_for(accepted.event_uid, log, DeliveryStatus::Dead)
        .await?;
    assert_eq!(record.outcome.reason, Some(Reason::Internal));
    Ok(())
}

#[tokio::test]
async fn one_event_that_cannot_be_stored_does_not_hold_up_the_other_senders() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let rig = Arc::new(rig);
    let target = rig.target("hook", "/a", json!({})).await?;
    flaky.refuse(|batch| batch.events.iter().any(|new| new.event.id() == "bad"));
    // What comes while this one is committed is committed together.
    flaky.commits([Fault::Slow(Duration::from_millis(300))]);
    let post = |id: String| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move { rig.post(&id, "t").await })
    };
    let first = post("first".to_owned());
    wait_until("the slow commit", SOON, async || {
        Ok((rig.engine.status().waiting_events == 1).then_some(()))
    })
    .await?;
    let bad = post("bad".to_owned());
    let others: Vec<_> = (0..20).map(|n| post(n.to_string())).collect();
    first.await??;
    for other in others {
        other.await??;
    }
    assert_eq!(bad.await?, Err(AcceptError::Unavailable));
    rig.wait_delivered(target, 21).await?;
    assert_eq!(rig.sink.received().len(), 21);
    Ok(())
}

#[tokio::test]
async fn a_request_with_one_bad_event_stores_none_of_them() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    flaky.refuse(|batch| batch.events.iter().any(|new| new.event.id() == "bad"));
    let event = |id: &str| {
        let doc = format!(r#"{{"specversion":"1.0","id":"{id}","source":"tests","type":"t"}}"#);
        Event::from_stored(doc.into()).unwrap()
    };
    let all = vec![event("a"), event("bad"), event("b")];
    let bus = "default".parse()?;
    let told = rig.engine.accept(&bus, all, AcceptContext::default()).await;
    assert_eq!(told, Err(AcceptError::Unavailable));
    assert!(events(&rig).await?.is_empty());
    let good = vec![event("a"), event("b")];
    let accepted = rig
        .engine
        .accept(&bus, good, AcceptContext::default())
        .await?;
    assert!(accepted.iter().all(|one| !one.duplicate));
    rig.wait_delivered(target, 2).await?;
    assert_eq!(rig.sink.received().len(), 2);
    Ok(())
}

#[tokio::test]
async fn strict_buses_that_cannot_be_looked_up_hold_up_no_results() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let spec = serde_json::from_value(json!({"dedup": {"mode": "strict"}}))?;
    let change = Change::PutBus {
        name: "default".parse()?,
        spec,
        expect: Expect::Revision(1),
    };
    rig.sink.script("/a", [late(200)]);
    rig.store.apply(&[change], &[], None, 2).await?;
    let target = rig.target("hook", "/a", patient(&rig, "/a")).await?;
    let accepted = rig.post("1", "t").await?;
    assert!(rig.post("1", "t").await?.duplicate);
    flaky.fail_reads(true);
    // Senders that do not give up, so that every round has one.
    wait_until("the result", SOON, async || {
        assert_eq!(rig.post("2", "t").await, Err(AcceptError::Unavailable));
        let record = rig.delivery(accepted.event_uid, target).await?;
        Ok((record.outcome.status == DeliveryStatus::Delivered).then_some(()))
    })
    .await?;
    flaky.fail_reads(false);
    assert!(!rig.post("2", "t").await?.duplicate);
    Ok(())
}

#[tokio::test]
async fn the_loader_survives_claims_that_fail() -> Result<()> {
    let (rig, flaky) = Rig::flaky(hints_only()).await?;
    rig.sink
        .script("/a", [Reply::status(500), Reply::status(200)]);
    let target = rig.target("hook", "/a", quick_retry(&[1])).await?;
    flaky.fail_claims(3);
    rig.post("1", "t").await?;
    rig.wait_delivered(target, 1).await?;
    assert!(flaky.claimed() >= 4);
    assert_eq!(rig.sink.received().len(), 2);
    Ok(())
}

/// What cannot be recorded is not begun: receivers would get it again and again, and results would fill the memory.
#[tokio::test]
async fn nothing_is_claimed_while_results_cannot_be_stored() -> Result<()> {
    let (rig, flaky) = Rig::flaky(hints_only()).await?;
    rig.sink
        .script("/waits", [Reply::status(500), Reply::status(200)]);
    rig.sink.script("/late", [late(200)]);
    let waits = rig.target("waits", "/waits", quick_retry(&[1])).await?;
    let accepted = rig.post("1", "t").await?;
    let waiting = rig
        .wait_for(accepted.event_uid, waits, DeliveryStatus::Retrying)
        .await?;
    let other = rig.target("late", "/late", patient(&rig, "/late")).await?;
    rig.sink.script("/waits", [Reply::status(200)]);
    let second = rig.post("2", "t").await?;
    rig.wait_for(second.event_uid, waits, DeliveryStatus::Delivered)
        .await?;
    flaky.all_commits(Fault::Unavailable);
    idle(&rig, other).await?;
    let claimed = flaky.claimed();
    let due_at_ms = waiting.due_at_ms.unwrap();
    wait_until("the due time to pass by far", SOON, async || {
        Ok((SystemClock.now_ms() > due_at_ms + 1500).then_some(()))
    })
    .await?;
    assert_eq!(flaky.claimed(), claimed);
    flaky.all_commits(Fault::None);
    rig.wait_for(accepted.event_uid, waits, DeliveryStatus::Delivered)
        .await?;
    rig.wait_for(second.event_uid, other, DeliveryStatus::Delivered)
        .await?;
    assert_eq!(rig.sink.received_at("/waits").len(), 3);
    assert_eq!(rig.sink.received_at("/late").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_change_that_cannot_be_loaded_is_in_force_soon_after_it_can() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    flaky.fail_loads(true);
    let change = Change::DeleteTarget {
        bus: "default".parse()?,
        rule: "all".parse()?,
        name: "hook".parse()?,
        revision: 1,
    };
    rig.store.apply(&[change], &[], None, 2).await?;
    assert!(rig.engine.reload().await.is_err());
    let accepted = rig.post("1", "t").await?;
    rig.wait_for(accepted.event_uid, target, DeliveryStatus::Delivered)
        .await?;
    flaky.fail_loads(false);
    wait_until("the change", Duration::from_secs(3), async || {
        Ok(rig.engine.snapshot().target(target).is_none().then_some(()))
    })
    .await
}

/// Ids of events that were never stored may be given out again when the clock has stepped back over a restart; had
/// the watermark passed them, a crash would lose what has them then.
#[tokio::test]
async fn the_watermark_does_not_pass_events_that_were_never_stored() -> Result<()> {
    let now_ms = SystemClock.now_ms();
    let clock = Arc::new(ManualClock::new(now_ms));
    let (rig, flaky) = Rig::flaky_with_clock(settings(), clock.clone()).await?;
    let target = rig.target("hook", "/a", patient(&rig, "/a")).await?;
    rig.post("1", "t").await?;
    rig.wait_delivered(target, 1).await?;
    clock.advance(60_000);
    flaky.all_commits(Fault::Unavailable);
    assert!(rig.post("2", "t").await.is_err());
    flaky.all_commits(Fault::None);
    assert!(rig.engine.shutdown(SOON).await);

    rig.sink.script("/a", [Reply::Hang]);
    let clock = Arc::new(ManualClock::new(now_ms + 1000));
    let second = Flaky::new(rig.store.clone());
    let engine = Engine::start(with_clock(second.clone(), clock)?, settings()).await?;
    let doc = r#"{"specversion":"1.0","id":"3","source":"tests","type":"t"}"#;
    let left = engine
        .accept(
            &"default".parse()?,
            vec![Event::from_stored(doc.into())?],
            AcceptContext::default(),
        )
        .await?;
    rig.sink.wait_for("/a", 2, SOON).await?;
    second.die().await;

    rig.sink.script("/a", [Reply::status(200)]);
    let engine = Engine::start(with(rig.store.clone())?, settings()).await?;
    rig.wait_for(left[0].event_uid, target, DeliveryStatus::Delivered)
        .await?;
    engine.shutdown(SOON).await;
    Ok(())
}

#[tokio::test]
async fn a_store_that_hangs_keeps_no_sender_and_what_waited_behind_it_is_not_stored() -> Result<()>
{
    let (rig, flaky) = Rig::flaky(EngineSettings {
        answer_timeout: Duration::from_millis(500),
        ..settings()
    })
    .await?;
    let begun = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&begun);
    flaky.refuse(move |batch| {
        note.fetch_or(!batch.events.is_empty(), Ordering::Relaxed);
        false
    });
    flaky.commits([Fault::Slow(Duration::from_secs(3))]);
    let behind = async {
        wait_until("the commit that hangs", SOON, async || {
            Ok(begun.load(Ordering::Relaxed).then_some(()))
        })
        .await?;
        anyhow::Ok(rig.post("behind", "t").await)
    };
    let (hangs, behind) = tokio::join!(rig.post("hangs", "t"), behind);
    assert_eq!(hangs, Err(AcceptError::Unavailable));
    assert_eq!(behind?, Err(AcceptError::Unavailable));
    assert!(events(&rig).await?.is_empty(), "both were told in time");
    // Sent again until it is accepted, the one is known and the other is not.
    for (id, known) in [("hangs", true), ("behind", false)] {
        let accepted = wait_until("the repeat to be accepted", SOON, async || {
            Ok(rig.post(id, "t").await.ok())
        })
        .await?;
        assert_eq!(accepted.duplicate, known, "{id}");
    }
    assert_eq!(events(&rig).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_larger_than_it_may_be_takes_no_events() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        size_max_bytes: Some(1),
        ..settings()
    })
    .await?;
    let why = wait_until("the refusal", SOON, async || {
        match rig.post("1", "t").await {
            Err(AcceptError::Full(why)) => Ok(Some(why)),
            _ => Ok(None),
        }
    })
    .await?;
    assert!(why.contains("more than the 0 MiB it may"), "{why}");
    assert!(rig.engine.status().problems.contains(&why));
    Ok(())
}

#[tokio::test]
async fn what_is_redriven_for_somebody_who_has_left_does_not_wait_for_a_sweep() -> Result<()> {
    let (rig, flaky) = Rig::flaky(hints_only()).await?;
    rig.sink
        .script("/a", [Reply::status(400), Reply::status(200)]);
    let once =
        json!({"retry": {"schedule": "custom", "waitsSeconds": [3600], "retryOn4xx": false}});
    let target = rig.target("hook", "/a", once).await?;
    let event = rig.post("1", "t").await?.event_uid;
    let record = rig.wait_for(event, target, DeliveryStatus::Dead).await?;
    flaky.hang_redrives();
    let ids = [record.outcome.delivery];
    tokio::select! {
        biased;
        answer = rig.engine.redrive(&ids, &[], &[], None) => bail!("answered: {answer:?}"),
        queued = rig.wait_for(event, target, DeliveryStatus::Queued) => queued?,
    };
    rig.wait_for(event, target, DeliveryStatus::Delivered)
        .await?;
    Ok(())
}
