//! Several engines on one store, as several servers on one database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use belfry_engine::{AcceptContext, AcceptError, Engine, EngineSettings};
use belfry_model::config::RuleSpec;
use belfry_model::delivery::{DeliveryStatus, Reason};
use belfry_model::json::JsonText;
use belfry_model::{Event, EventId, TargetId};
use belfry_store::{Change, ConfigStore as _, Expect, NodeState, Nodes as _};
use belfry_testkit::{Reply, wait_until};
use serde_json::json;

use crate::flaky::Flaky;
use crate::quick_retry;
use crate::rig::{Rig, SOON, with};

/// Looks often, so that a test need not wait; the lease is long beside a machine that stands still for a moment.
fn settings() -> EngineSettings {
    EngineSettings {
        config_poll: Duration::from_millis(20),
        node_lease: Duration::from_millis(2500),
        ..crate::settings()
    }
}

/// A further node on a rig's store.
struct Node {
    engine: Engine,
    flaky: Arc<Flaky>,
}

impl Node {
    async fn join(rig: &Rig) -> Result<Self> {
        let flaky = Flaky::new(rig.store.clone());
        let engine = Engine::start(with(flaky.clone())?, settings()).await?;
        Ok(Self { engine, flaky })
    }

    async fn post(&self, id: &str) -> Result<EventId, AcceptError> {
        let doc = format!(r#"{{"specversion":"1.0","id":"{id}","source":"tests","type":"t"}}"#);
        let event = Event::from_stored(doc.into()).unwrap();
        let bus = "default".parse().unwrap();
        let accepted = self
            .engine
            .accept(&bus, vec![event], AcceptContext::default())
            .await?;
        Ok(accepted[0].event_uid)
    }
}

async fn state_of(rig: &Rig, engine: &Engine) -> Result<NodeState> {
    let nodes = rig.store.list_nodes(0).await?;
    let mine = nodes
        .iter()
        .find(|node| node.member.node == engine.member().node);
    Ok(mine.context("a node")?.state)
}

/// Until each of them has seen the others and sends its part.
async fn settled(engines: &[&Engine], target: TargetId, slots: usize) -> Result<()> {
    wait_until("the limits to be divided", SOON, async || {
        let all = Some(engines.len());
        let known = engines.iter().all(|engine| engine.divided_among() == all);
        let parts = engines.iter().map(|engine| engine.slots(target));
        Ok((known && parts.sum::<Option<usize>>() == Some(slots)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_work_of_a_node_that_has_died_goes_on_elsewhere() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig.target("hook", "/a", json!({"concurrency": 4})).await?;
    let dies = Node::join(&rig).await?;
    settled(&[&rig.engine, &dies.engine], target, 4).await?;
    // Two are on the wire and will never be answered, others wait behind them.
    rig.sink
        .script("/a", [Reply::Hang, Reply::Hang, Reply::status(200)]);
    let mut left = Vec::new();
    for n in 0..10 {
        left.push(dies.post(&n.to_string()).await?);
    }
    rig.sink.wait_for("/a", 2, SOON).await?;
    dies.flaky.hang_up();
    for event in left {
        rig.wait_for(event, target, DeliveryStatus::Delivered)
            .await?;
    }
    assert_eq!(state_of(&rig, &dies.engine).await?, NodeState::Dead);
    settled(&[&rig.engine], target, 4).await
}

#[tokio::test]
async fn a_node_that_was_taken_over_writes_nothing_and_stops() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    rig.target("hook", "/a", json!({})).await?;
    let zombie = Node::join(&rig).await?;
    zombie.flaky.hang_up();
    wait_until("the take-over", SOON, async || {
        let state = state_of(&rig, &zombie.engine).await?;
        Ok((state == NodeState::Dead).then_some(()))
    })
    .await?;
    zombie.flaky.back();
    assert!(zombie.post("late").await.is_err());
    tokio::time::timeout(SOON, zombie.engine.fenced()).await?;
    let status = zombie.engine.status();
    assert!(!status.accepting);
    assert!(
        status
            .problems
            .iter()
            .any(|why| why.contains("taken this one over")),
        "{:?}",
        status.problems
    );
    assert_eq!(zombie.post("later").await, Err(AcceptError::ShuttingDown));
    assert!(rig.sink.received().is_empty());
    assert!(zombie.engine.shutdown(SOON).await);
    // Its number is free for the next.
    let next = Node::join(&rig).await?;
    assert_eq!(next.engine.member().node, zombie.engine.member().node);
    Ok(())
}

/// Everybody's lease has run out when a database comes back; nobody is to be taken over for it.
#[tokio::test]
async fn an_outage_longer_than_the_lease_fences_nobody() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    let other = Node::join(&rig).await?;
    settled(&[&rig.engine, &other.engine], target, 32).await?;
    flaky.hang_up();
    other.flaky.hang_up();
    wait_until("both leases to run out", SOON, async || {
        let unsure = |engine: &Engine| {
            let problems = engine.status().problems;
            problems.iter().any(|why| why.contains("lease has run out"))
        };
        Ok((unsure(&rig.engine) && unsure(&other.engine)).then_some(()))
    })
    .await?;
    flaky.back();
    other.flaky.back();
    for engine in [&rig.engine, &other.engine] {
        wait_until("a node to be well again", SOON, async || {
            Ok(engine.status().accepting.then_some(()))
        })
        .await?;
    }
    let mine = rig.post("1", "t").await?.event_uid;
    let theirs = other.post("2").await?;
    for event in [mine, theirs] {
        rig.wait_for(event, target, DeliveryStatus::Delivered)
            .await?;
    }
    assert!(!rig.engine.is_fenced() && !other.engine.is_fenced());
    Ok(())
}

#[tokio::test]
async fn a_node_that_leaves_hands_on_what_it_has() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig.target("hook", "/a", json!({"concurrency": 2})).await?;
    let leaves = Node::join(&rig).await?;
    settled(&[&rig.engine, &leaves.engine], target, 2).await?;
    rig.sink.script("/a", [Reply::Hang, Reply::status(200)]);
    let mut left = Vec::new();
    for n in 0..20 {
        left.push(leaves.post(&n.to_string()).await?);
    }
    rig.sink.wait_for("/a", 1, SOON).await?;
    leaves.engine.shutdown(Duration::from_millis(100)).await;
    assert_eq!(state_of(&rig, &leaves.engine).await?, NodeState::Left);
    for event in left {
        rig.wait_for(event, target, DeliveryStatus::Delivered)
            .await?;
    }
    let sent = rig.sink.received().len();
    assert!(
        sent <= 21,
        "only what was on the wire is sent again: {sent}"
    );
    Ok(())
}

#[tokio::test]
async fn a_limit_is_divided_and_what_one_may_not_send_another_does() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig.target("hook", "/a", json!({"concurrency": 1})).await?;
    let other = Node::join(&rig).await?;
    settled(&[&rig.engine, &other.engine], target, 1).await?;
    rig.sink.script("/a", [Reply::Hang, Reply::status(200)]);
    rig.post("1", "t").await?;
    rig.sink.wait_for("/a", 1, SOON).await?;
    let (mine, theirs) = (rig.post("2", "t").await?.event_uid, other.post("3").await?);
    let records = [
        rig.delivery(mine, target).await?,
        rig.delivery(theirs, target).await?,
    ];
    let waits = records
        .iter()
        .filter(|record| record.outcome.reason == Some(Reason::OtherNode))
        .count();
    assert_eq!(waits, 1, "one of them has no part: {records:?}");
    assert_eq!(rig.sink.received().len(), 1, "one request at once in all");
    for event in [mine, theirs] {
        rig.wait_for(event, target, DeliveryStatus::Delivered)
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_open_circuit_and_its_end_are_told_to_the_others() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        circuit_failures: 2,
        circuit_open: Duration::from_secs(2),
        ..settings()
    })
    .await?;
    let target = rig.target("hook", "/a", quick_retry(&[1; 8])).await?;
    let other = Node::join(&rig).await?;
    settled(&[&rig.engine, &other.engine], target, 32).await?;
    let failed = Reply::status(500);
    rig.sink
        .script("/a", [failed.clone(), failed, Reply::status(200)]);
    for id in ["1", "2"] {
        rig.post(id, "t").await?;
    }
    let circuit = |engine: &Engine, word: &'static str| {
        let engine = engine.clone();
        wait_until(word, SOON, async move || {
            let status = engine.lane_status(target).context("a lane")?;
            Ok((status.circuit == word).then_some(()))
        })
    };
    circuit(&other.engine, "open").await?;
    let waits = other.post("3").await?;
    let record = rig.delivery(waits, target).await?;
    assert_eq!(record.outcome.reason, Some(Reason::CircuitOpen));
    assert_eq!(rig.sink.received().len(), 2, "nothing more is sent");
    rig.wait_for(waits, target, DeliveryStatus::Delivered)
        .await?;
    circuit(&other.engine, "closed").await?;
    circuit(&rig.engine, "closed").await
}

#[tokio::test]
async fn a_pause_that_a_receiver_asks_for_holds_on_every_node() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    let other = Node::join(&rig).await?;
    settled(&[&rig.engine, &other.engine], target, 32).await?;
    rig.sink.script("/a", [Reply::retry_after(429, 600)]);
    rig.post("1", "t").await?;
    wait_until("the other to pause", SOON, async || {
        let status = other.engine.lane_status(target).context("a lane")?;
        Ok(status.paused_until_ms)
    })
    .await?;
    let waits = other.post("2").await?;
    let record = rig.delivery(waits, target).await?;
    assert_eq!(record.outcome.reason, Some(Reason::RateLimited));
    assert_eq!(rig.sink.received().len(), 1);
    Ok(())
}

/// 100,000 rules on one bus, of which one is changed: by what has changed, and by loading everything. Run it by hand.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_change_among_many_rules() -> Result<()> {
    const RULES: i64 = 100_000;
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let rule = |number: i64, revision: i64| -> Result<Change> {
        Ok(Change::PutRule {
            bus: "default".parse()?,
            name: format!("rule-{number}").parse()?,
            spec: RuleSpec {
                description: String::new(),
                enabled: true,
                pattern: JsonText::parse(&format!(
                    r#"{{"source":["disk-{number}"],"type":["full-{revision}"]}}"#
                ))?,
            },
            expect: if revision == 0 {
                Expect::Absent
            } else {
                Expect::Revision(revision)
            },
        })
    };
    for start in (0..RULES).step_by(1000) {
        let changes: Result<Vec<_>> = (start..start + 1000)
            .map(|number| rule(number, 0))
            .collect();
        rig.store.apply(&changes?, &[], None, 1).await?;
    }
    let start = Instant::now();
    rig.engine.reload().await?;
    println!("{RULES} rules loaded in {:?}", start.elapsed());
    for whole in [true, false] {
        flaky.whole_loads(whole);
        let mut times = Vec::new();
        for number in 0..5 {
            let change = rule(number * 1000, if whole { 1 } else { 2 })?;
            rig.store.apply(&[change], &[], None, 1).await?;
            let start = Instant::now();
            rig.engine.reload().await?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        println!(
            "one rule changed, everything loaded: {whole}; in force after {:?} (median of 5)",
            times[2]
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_change_of_the_configuration_reaches_the_others() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let other = Node::join(&rig).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    let in_force = async |version: i64| {
        wait_until("the change to be in force", SOON, async || {
            Ok((other.engine.snapshot().version == version).then_some(()))
        })
        .await
    };
    in_force(rig.store.config_version().await?).await?;
    let snapshot = other.engine.snapshot();
    assert!(snapshot.target(target).is_some());
    let gone: Change = rig.deleted("hook").await?;
    rig.change(gone).await?;
    in_force(rig.store.config_version().await?).await?;
    assert!(other.engine.snapshot().target(target).is_none());
    Ok(())
}
