//! Deliveries in order: one at a time of those with the same key, whatever fails.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use belfry_engine::{Engine, EngineSettings};
use belfry_model::delivery::{DeliveryStatus, Reason};
use belfry_model::{Clock as _, SystemClock};
use belfry_store::{DeliveryQueue as _, History as _};
use belfry_testkit::{Received, Reply, Sink, wait_until};
use serde_json::{Value, json};

use crate::flaky::{Fault, Flaky};
use crate::rig::{Rig, SOON, event, with};
use crate::{hints_only, quick_retry, settings};

pub(crate) fn ordered(more: &Value) -> Value {
    let mut spec = more.clone();
    spec["order"] = json!({"by": "subject"});
    spec
}

pub(crate) fn keyed(id: &str, key: &str) -> Value {
    json!({"id": id, "source": "tests", "type": "t", "subject": key, "data": {}})
}

/// Events as they were received, by key: the first time of each.
pub(crate) fn taken<'a>(
    received: impl IntoIterator<Item = &'a Received>,
) -> BTreeMap<String, Vec<String>> {
    let mut seen = HashSet::new();
    let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in received {
        let event = one.json().unwrap();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        if seen.insert(text("id")) {
            taken.entry(text("subject")).or_default().push(text("id"));
        }
    }
    taken
}

#[tokio::test]
async fn what_has_the_same_key_is_delivered_one_after_the_other_in_order() -> Result<()> {
    let rig = Rig::start(hints_only()).await?;
    let late = Reply::Late {
        after: Duration::from_millis(1),
        status: 200,
    };
    rig.sink.cycle("/a", [Reply::status(200), late]);
    let target = rig.target("hook", "/a", ordered(&json!({}))).await?;
    let mut posted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for n in 0..300 {
        let (id, key) = (n.to_string(), format!("key-{}", n % 3));
        rig.post_event(keyed(&id, &key)).await?;
        posted.entry(key).or_default().push(id);
    }
    rig.wait_delivered(target, 300).await?;
    assert_eq!(taken(&rig.sink.received()), posted);
    assert_eq!(rig.sink.received().len(), 300, "none twice");
    assert_eq!(rig.engine.held(), [0; 6]);
    Ok(())
}

#[tokio::test]
async fn a_failing_delivery_holds_up_its_own_key_alone_and_says_so() -> Result<()> {
    let rig = Rig::start(hints_only()).await?;
    rig.sink
        .script("/a", [Reply::status(500), Reply::status(200)]);
    let more = ordered(&quick_retry(&[2, 2]));
    let target = rig.target("hook", "/a", more).await?;
    let first = rig.post_event(keyed("1", "bad")).await?.event_uid;
    rig.wait_for(first, target, DeliveryStatus::Retrying)
        .await?;
    let second = rig.post_event(keyed("2", "bad")).await?.event_uid;
    let third = rig.post_event(keyed("3", "bad")).await?.event_uid;
    let other = rig.post_event(keyed("4", "good")).await?.event_uid;
    let no_key = json!({"id": "5", "source": "tests", "type": "t"});
    let without = rig.post_event(no_key).await?.event_uid;
    for event in [other, without] {
        rig.wait_for(event, target, DeliveryStatus::Delivered)
            .await?;
    }
    for event in [second, third] {
        let record = rig.delivery(event, target).await?;
        assert_eq!(record.outcome.status, DeliveryStatus::Queued);
        assert_eq!(record.outcome.reason, Some(Reason::WaitsInOrder));
        assert_eq!(record.due_at_ms, None);
        let before = rig.store.find_predecessor(record.outcome.delivery).await?;
        assert_eq!(before.map(|delivery| delivery.event), Some(first));
    }
    rig.wait_delivered(target, 5).await?;
    assert_eq!(taken(&rig.sink.received())["bad"], ["1", "2", "3"]);
    Ok(())
}

#[tokio::test]
async fn a_delivery_given_up_expired_or_skipped_lets_its_key_go_on() -> Result<()> {
    let rig = Rig::start(hints_only()).await?;
    rig.sink
        .script("/a", [Reply::status(500), Reply::status(200)]);
    let more = ordered(&json!({"retry": {"schedule": "none"}}));
    let target = rig.target("hook", "/a", more).await?;
    let mut soon = keyed("2", "k");
    soon["expirytime"] = "2020-01-01T00:00:00Z".into();
    let dead = rig.post_event(keyed("1", "k")).await?.event_uid;
    let expired = rig.post_event(soon).await?.event_uid;
    let last = rig.post_event(keyed("3", "k")).await?.event_uid;
    rig.wait_for(dead, target, DeliveryStatus::Dead).await?;
    rig.wait_for(expired, target, DeliveryStatus::Expired)
        .await?;
    rig.wait_for(last, target, DeliveryStatus::Delivered)
        .await?;
    // Nothing is left behind.
    wait_until("no work to be left", SOON, async || {
        Ok(rig
            .store
            .targets_with_pending()
            .await?
            .is_empty()
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn all_that_waits_in_order_for_a_deleted_target_ends() -> Result<()> {
    let rig = Rig::start(hints_only()).await?;
    rig.sink.script("/a", [Reply::retry_after(503, 3600)]);
    let more = ordered(&quick_retry(&[3600]));
    let target = rig.target("hook", "/a", more).await?;
    for n in 0..400 {
        let key = format!("key-{}", n % 2);
        rig.post_event(keyed(&n.to_string(), &key)).await?;
    }
    rig.change(rig.deleted("hook").await?).await?;
    wait_until("all to end", SOON, async || {
        let all = rig.deliveries(target).await?;
        let skipped = all
            .iter()
            .filter(|one| one.outcome.status == DeliveryStatus::Skipped);
        Ok((skipped.count() == 400).then_some(()))
    })
    .await
}

#[tokio::test]
async fn an_open_circuit_and_a_rate_limit_overtake_nothing() -> Result<()> {
    let rig = Rig::start(EngineSettings {
        circuit_failures: 2,
        circuit_open: Duration::from_millis(100),
        circuit_open_max: Duration::from_millis(100),
        ..hints_only()
    })
    .await?;
    let fail = || Reply::status(500);
    rig.sink
        .script("/a", [fail(), fail(), fail(), Reply::status(200)]);
    let mut more = ordered(&quick_retry(&[1, 1, 1, 1, 1]));
    more["rateLimit"] = json!({"count": 40, "perSeconds": 1});
    let target = rig.target("hook", "/a", more).await?;
    for n in 0..60 {
        let key = format!("key-{}", n % 2);
        rig.post_event(keyed(&n.to_string(), &key)).await?;
    }
    rig.wait_delivered(target, 60).await?;
    for ids in taken(&rig.sink.received()).values() {
        let numbers: Vec<u32> = ids.iter().map(|id| id.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
    Ok(())
}

/// One of two nodes on one store.
struct Node {
    engine: Engine,
    flaky: Arc<Flaky>,
}

impl Node {
    async fn start(rig: &Rig) -> Result<Self> {
        let flaky = Flaky::new(rig.store.clone());
        let engine = Engine::start(with(flaky.clone())?, quick()).await?;
        Ok(Self { engine, flaky })
    }
}

fn quick() -> EngineSettings {
    EngineSettings {
        sweep_every: Duration::from_millis(200),
        config_poll: Duration::from_millis(20),
        node_lease: Duration::from_millis(1500),
        circuit_open: Duration::from_millis(50),
        circuit_open_max: Duration::from_millis(50),
        ..settings()
    }
}

/// Receivers that fail, commits that fail or are reported wrongly, nodes that die: what a receiver takes of a key it
/// takes in order, and it gets all.
#[tokio::test]
async fn two_nodes_that_fail_and_die_break_no_order_and_lose_nothing() -> Result<()> {
    for seed in 1..=3_u64 {
        let mut rig = Rig::start(quick()).await?;
        let accepted: Arc<Mutex<Vec<Received>>> = Arc::default();
        let keep = accepted.clone();
        rig.sink = Sink::watched(move |request, reply| {
            if reply.accepts() {
                keep.lock().unwrap().push(request.clone());
            }
        })
        .await?;
        let target = rig
            .target("hook", "/a", ordered(&quick_retry(&[1; 30])))
            .await?;
        rig.engine.shutdown(SOON).await;
        let mut chance = seed;
        let mut draw = move |n: u64| {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % n
        };
        let replies: Vec<_> = (0..50)
            .map(|_| match draw(12) {
                0 => Reply::status(500),
                1 => Reply::Reset,
                2 => Reply::Late {
                    after: Duration::from_millis(5),
                    status: 200,
                },
                _ => Reply::status(200),
            })
            .collect();
        rig.sink.cycle("/a", replies);
        let mut nodes = [Node::start(&rig).await?, Node::start(&rig).await?];
        let mut posted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut last_ms = 0;
        for n in 0..100_u64 {
            let at = usize::try_from(draw(2))?;
            let (id, key) = (n.to_string(), format!("key-{}", draw(4)));
            // Ids follow the clock: an order between nodes is one that their clocks can tell.
            wait_until("the clock to go on", SOON, async || {
                Ok((SystemClock.now_ms() > last_ms).then_some(()))
            })
            .await?;
            let bus = "default".parse()?;
            let accepted = wait_until("the event to be accepted", SOON, async || {
                // A refusal does not say that nothing was stored; the repeat is recognised by the same node only.
                let events = vec![event(&keyed(&id, &key))];
                let accepted = nodes[at].engine.accept(&bus, events, <_>::default());
                Ok(accepted.await.ok())
            })
            .await?;
            last_ms = accepted.first().map_or(0, |one| one.event_uid.time_ms());
            posted.entry(key).or_default().push(id);
            match draw(25) {
                0 => nodes[at]
                    .flaky
                    .commits([Fault::Unavailable, Fault::None, Fault::Unavailable]),
                1 => nodes[at].flaky.commits([Fault::Lost]),
                2 => nodes[at].flaky.fail_claims(2),
                3 => {
                    // It dies with whatever it holds; the other takes that up when its lease has run out.
                    nodes[at].flaky.die().await;
                    let engine = nodes[at].engine.clone();
                    engine.shutdown(Duration::ZERO).await;
                    nodes[at] = Node::start(&rig).await?;
                }
                _ => {}
            }
        }
        let all = wait_until("all to be delivered", SOON * 3, async || {
            let all = rig.deliveries(target).await?;
            let done = all
                .iter()
                .filter(|one| one.outcome.status == DeliveryStatus::Delivered);
            Ok((done.count() == 100).then_some(all.len()))
        })
        .await?;
        assert_eq!(all, 100);
        let taken = taken(accepted.lock().unwrap().iter());
        ensure!(
            taken == posted,
            "seed {seed}: posted {posted:?}, taken {taken:?}"
        );
        for node in &nodes {
            node.engine.shutdown(SOON).await;
        }
    }
    Ok(())
}
