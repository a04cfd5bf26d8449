//! What becomes of accepted events, seen from outside of the engine: at the receiver and in the history.

#![expect(
    clippy::clone_on_ref_ptr,
    clippy::unwrap_used,
    reason = "tests: an unmet expectation ends the test"
)]

mod alarms;
mod archives;
mod bots;
mod faults;
mod flaky;
mod functions;
mod isolation;
mod lanes;
mod nodes;
mod order;
mod postgres;
mod replays;
mod rig;
mod simulation;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use belfry_engine::{AcceptContext, AcceptError, Engine, EngineSettings, IdempotencyKey};
use belfry_model::Event;
use belfry_model::delivery::{DeliveryStatus, Reason, Trigger};
use belfry_store::{
    Batch, ConfigStore as _, DeliveryQueue as _, EventLog as _, EventQuery, History as _, NewEvent,
    NodeIdentity, Nodes as _,
};
use belfry_testkit::{Reply, wait_until};
use rig::{Rig, SOON, with};
use serde_json::{Value, json};

fn settings() -> EngineSettings {
    EngineSettings {
        disk_free_min_bytes: 0,
        ..EngineSettings::default()
    }
}

/// Without the sweep: only hints bring work back.
fn hints_only() -> EngineSettings {
    EngineSettings {
        sweep_every: Duration::from_hours(1),
        ..settings()
    }
}

fn quick_retry(waits: &[u32]) -> Value {
    json!({"retry": {"schedule": "custom", "waitsSeconds": waits}})
}

#[tokio::test]
async fn an_event_is_delivered_once_and_its_history_says_so() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    let accepted = rig.post("1", "t").await?;
    let record = rig
        .wait_for(accepted.event_uid, target, DeliveryStatus::Delivered)
        .await?;
    assert_eq!(record.outcome.attempts, 1);
    assert_eq!(record.outcome.status_code, Some(204));
    let attempts = rig.store.list_attempts(record.outcome.delivery).await?;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].trigger, Trigger::Initial);
    let kept: Value = serde_json::from_str(attempts[0].record.as_deref().unwrap())?;
    assert_eq!(kept["request"]["method"], "POST");
    assert_eq!(kept["response"]["status"], 204);
    assert_eq!(rig.sink.received().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_first_and_not_delivered_again() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    let first = rig.post("1", "t").await?;
    let second = rig.post("1", "t").await?;
    assert!(!first.duplicate);
    assert!(second.duplicate);
    assert_eq!(first.event_uid, second.event_uid);
    rig.wait_delivered(target, 1).await?;
    assert_eq!(rig.sink.received().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_restart_still_knows_the_repeats() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("belfry.db");
    let first = {
        let rig = Rig::on_file(&path, settings()).await?;
        let first = rig.post("1", "t").await?;
        assert!(rig.engine.shutdown(SOON).await);
        belfry_store::Maintenance::close(&*rig.store).await;
        first
    };
    let rig = Rig::on_file(&path, settings()).await?;
    let again = rig.post("1", "t").await?;
    assert!(again.duplicate);
    assert_eq!(again.event_uid, first.event_uid);
    Ok(())
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_until_it_succeeds() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.sink.script(
        "/a",
        [Reply::status(500), Reply::status(503), Reply::status(200)],
    );
    let target = rig.target("hook", "/a", quick_retry(&[1, 1, 1])).await?;
    let accepted = rig.post("1", "t").await?;
    let record = rig
        .wait_for(accepted.event_uid, target, DeliveryStatus::Delivered)
        .await?;
    let attempts = rig.store.list_attempts(record.outcome.delivery).await?;
    let codes: Vec<_> = attempts.iter().map(|attempt| attempt.status_code).collect();
    assert_eq!(codes, [Some(500), Some(503), Some(200)]);
    assert_eq!(attempts[0].reason, Some(Reason::Http5xx));
    assert!(attempts[0].next_at_ms.is_some());
    assert_eq!(attempts[1].trigger, Trigger::Retry);
    let ids: Vec<_> = rig
        .sink
        .received()
        .iter()
        .map(|got| got.header("webhook-id").map(str::to_owned))
        .collect();
    assert!(
        ids.iter().all(|id| *id == ids[0]),
        "every attempt carries the same id"
    );
    Ok(())
}

/// Race 1 of the design: a hint that came before its commit left work behind until the next sweep. There is no sweep here.
#[tokio::test]
async fn work_made_pending_is_found_by_its_hint_alone() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        circuit_failures: 1_000_000,
        ..hints_only()
    })
    .await?;
    let count = 300;
    rig.sink.script(
        "/a",
        std::iter::repeat_n(Reply::status(500), count).chain([Reply::status(200)]),
    );
    let target = rig
        .target("hook", "/a", quick_retry(&[1, 1, 1, 1, 1, 1]))
        .await?;
    for n in 0..count {
        rig.post(&n.to_string(), "t").await?;
    }
    rig.wait_delivered(target, count).await?;
    Ok(())
}

/// Race 2: a loader that looked at the work before an acknowledgement was committed delivered it again.
#[tokio::test]
async fn a_saturated_target_gets_nothing_twice() -> Result<()> {
    let rig = Arc::new(
        Rig::start(EngineSettings {
            lane_deliveries_max: 4,
            ..settings()
        })
        .await?,
    );
    let target = rig.target("hook", "/a", json!({"concurrency": 8})).await?;
    let count = 1500;
    let posts: Vec<_> = (0..8)
        .map(|part| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                for n in (part..count).step_by(8) {
                    rig.post(&n.to_string(), "t").await?;
                }
                Ok::<_, AcceptError>(())
            })
        })
        .collect();
    for post in posts {
        post.await??;
    }
    rig.wait_delivered(target, count).await?;
    let mut times: HashMap<String, usize> = HashMap::new();
    for got in rig.sink.received() {
        *times
            .entry(got.header("webhook-id").unwrap().to_owned())
            .or_default() += 1;
    }
    assert_eq!(times.len(), count);
    let twice = times.values().filter(|&&n| n > 1).count();
    assert_eq!(twice, 0, "delivered more than once without a crash");
    Ok(())
}

/// Race 3: a cursor that only moved forward passed over work that was committed late with an earlier due time.
#[tokio::test]
async fn work_that_is_due_earlier_than_what_waits_already_is_not_passed_over() -> Result<()> {
    let rig = Rig::start(hints_only()).await?;
    rig.sink.script(
        "/a",
        [Reply::status(500), Reply::status(400), Reply::status(200)],
    );
    let more =
        json!({"retry": {"schedule": "custom", "waitsSeconds": [3600], "retryOn4xx": false}});
    let target = rig.target("hook", "/a", more).await?;
    let later = rig.post("later", "t").await?;
    rig.wait_for(later.event_uid, target, DeliveryStatus::Retrying)
        .await?;
    let dead = rig.post("dead", "t").await?;
    let record = rig
        .wait_for(dead.event_uid, target, DeliveryStatus::Dead)
        .await?;
    let taken = rig
        .engine
        .redrive(&[record.outcome.delivery], &[], &[], None)
        .await?;
    assert_eq!(taken, [record.outcome.delivery]);
    let record = rig
        .wait_for(dead.event_uid, target, DeliveryStatus::Delivered)
        .await?;
    let attempts = rig.store.list_attempts(record.outcome.delivery).await?;
    assert_eq!(attempts.last().unwrap().trigger, Trigger::Redrive);
    assert_eq!(attempts.last().unwrap().number, 2);
    Ok(())
}

#[tokio::test]
async fn what_an_earlier_run_left_unfinished_is_delivered_by_the_next() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    assert!(rig.engine.shutdown(SOON).await);
    // What a crash between commit and delivery leaves: an event with a fan-out and nothing else.
    let event = Event::from_stored(
        r#"{"specversion":"1.0","id":"left","source":"tests","type":"t"}"#.into(),
    )?;
    let config = rig.store.load_config().await?;
    let bus = config
        .buses
        .iter()
        .find(|bus| bus.name.as_str() == "default")
        .unwrap()
        .id;
    let crashed = NodeIdentity {
        name: settings().node_name,
        version: String::new(),
        lease_ms: 0,
    };
    let member = rig.store.join(&crashed, 1).await?.member;
    let id = belfry_model::EventIdSource::new(member.node, None).next(1_900_000_000_000);
    let left = NewEvent {
        id,
        bus,
        event,
        fan: vec![target],
        archives: vec![],
        trace_id: None,
        key: None,
        strict: false,
        replay: None,
    };
    rig.store
        .commit(&Batch {
            events: vec![left],
            ..Batch::default()
        })
        .await?;
    let engine = Engine::start(with(rig.store.clone())?, settings()).await?;
    rig.wait_for(id, target, DeliveryStatus::Delivered).await?;
    engine.shutdown(SOON).await;
    Ok(())
}

#[tokio::test]
async fn a_delivery_given_up_becomes_a_dead_letter_on_the_bus_that_was_asked_for() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.sink.script("/a", [Reply::status(500)]);
    let more = json!({"retry": {"schedule": "none"}, "deadLetter": {"bus": "dead"}});
    let target = rig.target("hook", "/a", more).await?;
    let accepted = rig.post("1", "t").await?;
    let record = rig
        .wait_for(accepted.event_uid, target, DeliveryStatus::Dead)
        .await?;
    assert_eq!(record.outcome.reason, Some(Reason::Http5xx));
    let query = EventQuery {
        kind: Some("belfry.delivery.dead".to_owned()),
        limit: 10,
        scan_max: 1000,
        ..EventQuery::default()
    };
    let letters = rig.store.list_events(&query).await?;
    assert_eq!(
        letters.items.len(),
        1,
        "in the same transaction as the state"
    );
    let letter = rig.store.find_event(letters.items[0].id).await?.unwrap();
    let letter: Value = serde_json::from_slice(&letter.doc)?;
    assert_eq!(letter["data"]["event"]["id"], "1");
    assert_eq!(letter["data"]["reason"], "http_5xx");
    Ok(())
}

#[tokio::test]
async fn an_answer_410_disables_the_target_and_says_so_on_the_system_bus() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.sink.script("/a", [Reply::status(410)]);
    let target = rig.target("hook", "/a", json!({})).await?;
    let accepted = rig.post("1", "t").await?;
    let record = rig
        .wait_for(accepted.event_uid, target, DeliveryStatus::Dead)
        .await?;
    assert_eq!(record.outcome.reason, Some(Reason::Gone));
    wait_until("the report", SOON, async || {
        let query = EventQuery {
            kind: Some("belfry.target.disabled".to_owned()),
            limit: 10,
            scan_max: 1000,
            ..EventQuery::default()
        };
        Ok((!rig.store.list_events(&query).await?.items.is_empty()).then_some(()))
    })
    .await?;
    wait_until("the disablement", SOON, async || {
        Ok(rig.engine.snapshot().target(target).unwrap().disabled())
    })
    .await?;
    let next = rig.post("2", "t").await?;
    let record = rig.delivery(next.event_uid, target).await?;
    assert_eq!(record.outcome.status, DeliveryStatus::Skipped);
    assert_eq!(record.outcome.reason, Some(Reason::TargetDisabled));
    Ok(())
}

#[tokio::test]
async fn a_dead_target_waits_behind_its_circuit_and_delays_nobody() -> Result<()> {
    let quick = EngineSettings {
        circuit_failures: 3,
        circuit_open: Duration::from_millis(200),
        circuit_open_max: Duration::from_millis(400),
        ..settings()
    };
    let rig = Rig::start(quick).await?;
    rig.sink.script("/dead", [Reply::Hang]);
    let more = json!({"concurrency": 2, "settings": {"url": rig.sink.url("/dead"), "signing": {"enabled": false}, "timeoutSeconds": 1}});
    let dead = rig.target("dead", "/dead", more).await?;
    let well = rig.target("well", "/well", json!({})).await?;
    for n in 0..40 {
        let begun = Instant::now();
        let accepted = rig.post(&n.to_string(), "t").await?;
        rig.wait_for(accepted.event_uid, well, DeliveryStatus::Delivered)
            .await?;
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "a healthy target waited for a hanging one"
        );
    }
    wait_until("the circuit to open", SOON, async || {
        Ok((rig.engine.lane_status(dead).unwrap().circuit != "closed").then_some(()))
    })
    .await?;
    rig.sink.script("/dead", [Reply::status(200)]);
    wait_until(
        "the circuit to close and all to be delivered",
        SOON * 3,
        async || {
            rig.engine.flush().await;
            let all = rig.deliveries(dead).await?;
            let ids: Vec<_> = all.iter().map(|one| one.outcome.delivery).collect();
            // What failed before waits for its schedule; asking again saves the test that time.
            let _taken = rig.engine.redrive(&ids, &[], &[], None).await?;
            let waiting = rig.store.next_due(&[dead]).await?;
            let closed = rig.engine.lane_status(dead).unwrap().circuit == "closed";
            let untried = all
                .iter()
                .any(|one| one.outcome.status == DeliveryStatus::Queued);
            Ok((closed && !untried && waiting.iter().all(|(_, due)| *due > 0)).then_some(()))
        },
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn retry_after_pauses_the_whole_target() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.sink
        .script("/a", [Reply::retry_after(429, 2), Reply::status(200)]);
    let target = rig.target("hook", "/a", quick_retry(&[1, 1])).await?;
    let first = rig.post("1", "t").await?;
    rig.wait_for(first.event_uid, target, DeliveryStatus::Retrying)
        .await?;
    rig.post("2", "t").await?;
    rig.wait_delivered(target, 2).await?;
    let received = rig.sink.received();
    assert_eq!(received.len(), 3);
    let pause = received[1].at.duration_since(received[0].at);
    assert!(
        pause >= Duration::from_millis(1900),
        "the second request came after {pause:?}"
    );
    Ok(())
}

#[tokio::test]
async fn an_event_past_its_own_expiry_is_not_sent() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    let event =
        json!({"id": "1", "source": "tests", "type": "t", "expirytime": "2020-01-01T00:00:00Z"});
    let accepted = rig.post_event(event).await?;
    let record = rig
        .wait_for(accepted.event_uid, target, DeliveryStatus::Expired)
        .await?;
    assert_eq!(record.outcome.reason, Some(Reason::EventExpired));
    assert!(rig.sink.received().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_rate_limit_is_kept_and_the_rest_waits() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig
        .target(
            "hook",
            "/a",
            json!({"rateLimit": {"count": 5, "perSeconds": 2}}),
        )
        .await?;
    for n in 0..12 {
        rig.post(&n.to_string(), "t").await?;
    }
    rig.wait_delivered(target, 12).await?;
    let received = rig.sink.received();
    let took = received.last().unwrap().at.duration_since(received[0].at);
    assert!(
        took >= Duration::from_millis(2500),
        "12 at 5 in 2 s, 5 of them at once, took {took:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_same_idempotency_key_gets_the_same_answer_and_stores_nothing_more() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let bus = "default".parse()?;
    let event = |id: &str| {
        Event::from_stored(
            format!(r#"{{"specversion":"1.0","id":"{id}","source":"tests","type":"t"}}"#).into(),
        )
    };
    let key = |fingerprint| AcceptContext {
        idempotency: Some(IdempotencyKey {
            scope: [1; 32],
            fingerprint: [fingerprint; 32],
        }),
        ..AcceptContext::default()
    };
    let first = rig.engine.accept(&bus, vec![event("a")?], key(1)).await?;
    // A lenient event would have been given another id by then.
    let again = rig.engine.accept(&bus, vec![event("b")?], key(1)).await?;
    assert_eq!(first, again);
    let other = rig.engine.accept(&bus, vec![event("a")?], key(2)).await;
    assert_eq!(other, Err(AcceptError::IdempotencyMismatch));
    Ok(())
}

#[tokio::test]
async fn a_hanging_receiver_does_not_hold_up_a_shutdown_beyond_its_limit() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.sink.script("/a", [Reply::Hang]);
    rig.target("hook", "/a", json!({"settings": {"url": rig.sink.url("/a"), "signing": {"enabled": false}, "timeoutSeconds": 60}})).await?;
    rig.post("1", "t").await?;
    rig.sink.wait_for("/a", 1, SOON).await?;
    let begun = Instant::now();
    assert!(!rig.engine.shutdown(Duration::from_millis(300)).await);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(rig.post("2", "t").await, Err(AcceptError::ShuttingDown));
    Ok(())
}

#[tokio::test]
async fn a_deleted_target_ends_its_waiting_work_as_skipped() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.sink.script("/a", [Reply::status(500)]);
    let target = rig.target("hook", "/a", quick_retry(&[3600])).await?;
    let accepted = rig.post("1", "t").await?;
    rig.wait_for(accepted.event_uid, target, DeliveryStatus::Retrying)
        .await?;
    let change = belfry_store::Change::DeleteTarget {
        bus: "default".parse()?,
        rule: "all".parse()?,
        name: "hook".parse()?,
        revision: 1,
    };
    rig.store.apply(&[change], &[], None, 2).await?;
    rig.engine.reload().await?;
    let record = rig
        .wait_for(accepted.event_uid, target, DeliveryStatus::Skipped)
        .await?;
    assert_eq!(record.outcome.reason, Some(Reason::TargetDeleted));
    Ok(())
}

#[tokio::test]
async fn a_slow_first_delivery_gets_a_pending_row_and_is_not_sent_twice() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        park_after: Duration::from_millis(100),
        ..settings()
    })
    .await?;
    rig.sink.script(
        "/a",
        [Reply::Late {
            after: Duration::from_secs(3),
            status: 200,
        }],
    );
    let more = json!({"settings": {"url": rig.sink.url("/a"), "signing": {"enabled": false}, "timeoutSeconds": 10}});
    let target = rig.target("hook", "/a", more).await?;
    let accepted = rig.post("1", "t").await?;
    wait_until("the pending row", SOON, async || {
        Ok((!rig.store.next_due(&[target]).await?.is_empty()).then_some(()))
    })
    .await?;
    rig.wait_for(accepted.event_uid, target, DeliveryStatus::Delivered)
        .await?;
    assert!(
        rig.store.next_due(&[target]).await?.is_empty(),
        "the pending row is gone with the outcome"
    );
    assert_eq!(rig.sink.received().len(), 1);
    Ok(())
}

#[tokio::test]
async fn events_are_refused_as_busy_when_too_much_waits_and_accepted_again_afterwards() -> Result<()>
{
    let rig = Arc::new(
        Rig::start(EngineSettings {
            waiting_events_max: 2,
            ..settings()
        })
        .await?,
    );
    let posts: Vec<_> = (0..64)
        .map(|n| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { rig.post(&n.to_string(), "t").await })
        })
        .collect();
    let mut busy = 0;
    for post in posts {
        match post.await? {
            Ok(_) => {}
            Err(AcceptError::Busy { retry_after }) => {
                assert!(retry_after > Duration::ZERO);
                busy += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(busy > 0, "64 at once fit into a queue of two");
    assert!(rig.post("later", "t").await.is_ok());
    Ok(())
}

#[tokio::test]
async fn an_event_that_matches_nothing_is_kept_and_listed_as_such() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.target("hook", "/a", json!({})).await?;
    rig.post_event(json!({"id": "1", "source": "elsewhere", "type": "t"}))
        .await?;
    let query = EventQuery {
        matched: Some(false),
        limit: 10,
        scan_max: 1000,
        ..EventQuery::default()
    };
    let events = rig.store.list_events(&query).await?;
    assert_eq!(events.items.len(), 1);
    assert!(events.items[0].fan.is_empty());
    Ok(())
}
