//! Events that are put back: which, where to, how fast, and what a crash, a pause or a busy server makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use belfry_engine::{Engine, ReplayCount, ReplayError};
use belfry_model::delivery::DeliveryStatus;
use belfry_model::json::JsonText;
use belfry_model::replay::{ReplayPlan, ReplayState, ReplayTarget};
use belfry_model::{EventId, NodeId, ReplayId, TargetId};
use belfry_store::{
    ConfigStore as _, EventQuery, EventRecord, History as _, NewReplay, Replay, Replays as _, Store,
};
use belfry_testkit::wait_until;
use serde_json::json;
use tokio::time::Instant;

use crate::flaky::Fault;
use crate::rig::{Rig, SOON, with};
use crate::settings;

const FAST: u32 = 100_000;

/// A replay of all there is so far.
async fn plan(rig: &Rig) -> Result<ReplayPlan> {
    rig.engine.flush().await;
    let config = rig.store.load_config().await?;
    let bus = config
        .buses
        .iter()
        .find(|bus| bus.name.as_str() == "default")
        .context("the bus")?;
    let newest = events(rig).await?.last().map(|event| event.id);
    Ok(ReplayPlan {
        description: String::new(),
        bus: bus.id,
        bus_name: bus.name.clone(),
        archive: None,
        low: EventId::first_at(0),
        high: EventId::from_stored(newest.map_or(1, |id| id.get() + 1)),
        events: None,
        pattern: None,
        rules: None,
        to: None,
        rate_per_second: FAST,
    })
}

async fn start(rig: &Rig, plan: &ReplayPlan) -> Result<ReplayId> {
    let new = NewReplay {
        plan: plan.clone(),
        cursor: EventId::from_stored(0),
        created_by: "tests".to_owned(),
        at_ms: 1,
    };
    let id = rig.store.add_replay(&new, &[], None).await?;
    rig.engine.wake_replays();
    Ok(id)
}

async fn find(rig: &Rig, id: ReplayId) -> Result<Replay> {
    rig.store.find_replay(id).await?.context("the replay")
}

async fn ended(rig: &Rig, id: ReplayId, state: ReplayState) -> Result<Replay> {
    wait_until(state.as_str(), SOON * 2, async || {
        let replay = find(rig, id).await?;
        anyhow::ensure!(
            replay.state == state || !replay.state.is_final(),
            "{replay:?}"
        );
        Ok((replay.state == state).then_some(replay))
    })
    .await
}

async fn set(rig: &Rig, id: ReplayId, from: ReplayState, to: ReplayState) -> Result<()> {
    let done = rig
        .store
        .set_replay_state(id, &[from], to, None, 2, &[])
        .await?;
    anyhow::ensure!(done, "{from:?} -> {to:?}");
    rig.engine.wake_replays();
    Ok(())
}

/// Events of senders on bus `default` and their repeats, oldest first.
async fn events(rig: &Rig) -> Result<Vec<EventRecord>> {
    let mut query = EventQuery {
        source: Some("tests".to_owned()),
        limit: 200,
        scan_max: 100_000,
        ..EventQuery::default()
    };
    let mut all = Vec::new();
    loop {
        let page = rig.store.list_events(&query).await?;
        all.extend(page.items);
        match page.next {
            Some(next) => query.before = Some(next),
            None => break,
        }
    }
    all.reverse();
    Ok(all)
}

/// How often each original was put back.
async fn repeats(rig: &Rig) -> Result<BTreeMap<EventId, usize>> {
    let mut counts = BTreeMap::new();
    for event in events(rig).await? {
        match event.replay {
            None => drop(counts.entry(event.id).or_insert(0)),
            Some(mark) => *counts.entry(mark.of).or_insert(0) += 1,
        }
    }
    Ok(counts)
}

async fn post(rig: &Rig, count: usize, kind: &str) -> Result<Vec<EventId>> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(rig.post(&format!("{kind}-{n}"), kind).await?.event_uid);
    }
    Ok(ids)
}

#[tokio::test]
async fn everything_goes_onto_the_bus_again_and_says_what_it_repeats() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target = rig.target("hook", "/a", json!({})).await?;
    let ids = post(&rig, 3, "t").await?;
    rig.wait_delivered(target, 3).await?;
    let id = start(&rig, &plan(&rig).await?).await?;
    let replay = ended(&rig, id, ReplayState::Completed).await?;
    assert_eq!((replay.looked_at, replay.replayed), (3, 3));
    rig.wait_delivered(target, 6).await?;
    let all = events(&rig).await?;
    for (original, repeat) in all[..3].iter().zip(&all[3..]) {
        let mark = repeat.replay.context("a mark")?;
        assert_eq!((mark.replay, mark.of), (id, original.id));
        assert_eq!(repeat.facts, original.facts);
        assert_ne!(repeat.id, original.id);
    }
    assert_eq!(all[..3].iter().map(|one| one.id).collect::<Vec<_>>(), ids);
    // The receiver is told, and only of these.
    let marked = |number: usize| {
        let received = rig.sink.received();
        let header = received[number].header("belfry-replay");
        header.map(str::to_owned)
    };
    assert_eq!(marked(0), None);
    let told: Vec<_> = (0..6).filter_map(marked).collect();
    assert_eq!(told, vec![id.to_string(); 3]);
    // A sender's own repeat is still one, and a second replay takes the originals alone.
    assert!(rig.post("t-0", "t").await?.duplicate);
    let again = start(&rig, &plan(&rig).await?).await?;
    let replay = ended(&rig, again, ReplayState::Completed).await?;
    assert_eq!(replay.replayed, 3);
    Ok(())
}

#[tokio::test]
async fn a_replay_goes_to_the_rules_and_the_target_it_names() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let first = rig.target("first", "/first", json!({})).await?;
    let second = rig.target("second", "/second", json!({})).await?;
    let ids = post(&rig, 2, "a").await?;
    post(&rig, 2, "b").await?;
    rig.wait_delivered(first, 4).await?;
    rig.wait_delivered(second, 4).await?;
    let mut wanted = plan(&rig).await?;
    wanted.pattern = Some(JsonText::parse(r#"{"type":["a"]}"#)?);
    wanted.to = Some(ReplayTarget {
        rule: "all".parse()?,
        target: "second".parse()?,
    });
    let counted = rig.engine.count_replay(&wanted, 1000).await?;
    let expected = ReplayCount {
        events: 2,
        looked_at: 4,
        exact: true,
    };
    assert_eq!(counted, expected);
    let bounded = rig.engine.count_replay(&wanted, 0).await?;
    assert!(bounded.events <= 2);
    let id = start(&rig, &wanted).await?;
    ended(&rig, id, ReplayState::Completed).await?;
    rig.wait_delivered(second, 6).await?;
    assert_eq!(rig.deliveries(first).await?.len(), 4);
    let expected: BTreeMap<_, _> = events(&rig)
        .await?
        .iter()
        .filter(|one| one.replay.is_none())
        .map(|one| (one.id, usize::from(ids.contains(&one.id))))
        .collect();
    assert_eq!(repeats(&rig).await?, expected);

    wanted.pattern = None;
    wanted.to = None;
    wanted.rules = Some(vec!["all".parse()?]);
    wanted.events = Some(vec![ids[1]]);
    let id = start(&rig, &wanted).await?;
    assert_eq!(ended(&rig, id, ReplayState::Completed).await?.replayed, 1);
    rig.wait_delivered(first, 5).await?;
    Ok(())
}

#[tokio::test]
async fn a_replay_to_what_is_not_there_is_refused_or_fails_with_the_reason() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    post(&rig, 1, "t").await?;
    let mut wanted = plan(&rig).await?;
    wanted.rules = Some(vec!["nobody".parse()?]);
    let refused = rig.engine.count_replay(&wanted, 10).await;
    let why = "bus default has no rule nobody".to_owned();
    assert_eq!(refused, Err(ReplayError::Impossible(why.clone())));
    let id = start(&rig, &wanted).await?;
    let failed = ended(&rig, id, ReplayState::Failed).await?;
    assert_eq!(failed.detail, Some(why));
    assert_eq!(failed.replayed, 0);
    Ok(())
}

#[tokio::test]
async fn a_replay_after_a_crash_goes_on_without_repeat_or_gap() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let ids = post(&rig, 40, "t").await?;
    let mut wanted = plan(&rig).await?;
    wanted.rate_per_second = 40;
    let id = start(&rig, &wanted).await?;
    wait_until("some to be put back", SOON, async || {
        Ok((find(&rig, id).await?.replayed > 0).then_some(()))
    })
    .await?;
    // Nothing gets through any more, as if the process had been killed.
    flaky.all_commits(Fault::Unavailable);
    rig.engine.shutdown(Duration::from_secs(1)).await;
    let before = find(&rig, id).await?;
    assert_eq!(before.state, ReplayState::Running);
    let counts = repeats(&rig).await?;
    assert_eq!(
        u64::try_from(counts.values().sum::<usize>())?,
        before.replayed
    );
    let engine = Engine::start(with(rig.store.clone() as Arc<dyn Store>)?, settings()).await?;
    let replay = ended(&rig, id, ReplayState::Completed).await?;
    assert_eq!(replay.replayed, 40);
    let once: BTreeMap<_, _> = ids.into_iter().map(|id| (id, 1)).collect();
    assert_eq!(repeats(&rig).await?, once);
    engine.shutdown(SOON).await;
    Ok(())
}

#[tokio::test]
async fn a_failing_store_only_delays_a_replay() -> Result<()> {
    let (rig, flaky) = Rig::flaky(settings()).await?;
    let ids = post(&rig, 30, "t").await?;
    let mut wanted = plan(&rig).await?;
    wanted.rate_per_second = 60;
    flaky.all_commits(Fault::Unavailable);
    let id = start(&rig, &wanted).await?;
    wait_until("a commit to fail", SOON, async || {
        Ok((flaky.failed() > 0).then_some(()))
    })
    .await?;
    flaky.all_commits(Fault::None);
    assert_eq!(ended(&rig, id, ReplayState::Completed).await?.replayed, 30);
    let once: BTreeMap<_, _> = ids.into_iter().map(|id| (id, 1)).collect();
    assert_eq!(repeats(&rig).await?, once);
    Ok(())
}

#[tokio::test]
async fn a_dead_nodes_replay_is_taken_over() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let ids = post(&rig, 5, "t").await?;
    let mut wanted = plan(&rig).await?;
    wanted.rate_per_second = 1;
    let new = NewReplay {
        plan: wanted,
        cursor: EventId::from_stored(0),
        created_by: "tests".to_owned(),
        at_ms: 1,
    };
    let id = rig.store.add_replay(&new, &[], None).await?;
    // Another node has it, and its word has run out long ago.
    assert!(rig.store.claim_replay(id, NodeId(9), 1, 2).await?);
    rig.engine.wake_replays();
    wait_until("the take-over", SOON, async || {
        let replay = find(&rig, id).await?;
        Ok((replay.owner == Some(rig.engine.member().node) && replay.replayed > 0).then_some(()))
    })
    .await?;
    set(&rig, id, ReplayState::Running, ReplayState::Cancelled).await?;
    let counts = repeats(&rig).await?;
    assert!(counts.keys().all(|of| ids.contains(of)));
    assert!(counts.values().all(|count| *count <= 1), "{counts:?}");
    Ok(())
}

#[tokio::test]
async fn a_paused_replay_stands_still_and_goes_on_when_it_is_resumed() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let ids = post(&rig, 20, "t").await?;
    let mut wanted = plan(&rig).await?;
    wanted.rate_per_second = 8;
    let id = start(&rig, &wanted).await?;
    wait_until("some to be put back", SOON, async || {
        Ok((find(&rig, id).await?.replayed > 0).then_some(()))
    })
    .await?;
    set(&rig, id, ReplayState::Running, ReplayState::Paused).await?;
    // The step under way still counts; after it nothing does.
    rig.engine.flush().await;
    let paused = find(&rig, id).await?;
    assert!(paused.replayed < 20, "{paused:?}");
    set(&rig, id, ReplayState::Paused, ReplayState::Running).await?;
    assert_eq!(ended(&rig, id, ReplayState::Completed).await?.replayed, 20);
    let once: BTreeMap<_, _> = ids.into_iter().map(|id| (id, 1)).collect();
    assert_eq!(repeats(&rig).await?, once);
    Ok(())
}

#[tokio::test]
async fn a_replay_keeps_to_its_rate_and_senders_go_first() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let target: TargetId = rig.target("hook", "/slow", json!({})).await?;
    post(&rig, 30, "t").await?;
    rig.wait_delivered(target, 30).await?;
    let mut wanted = plan(&rig).await?;
    wanted.rate_per_second = 20;
    let begun = Instant::now();
    let id = start(&rig, &wanted).await?;
    let fresh = rig.post("fresh", "fresh").await?;
    rig.wait_for(fresh.event_uid, target, DeliveryStatus::Delivered)
        .await?;
    assert_eq!(find(&rig, id).await?.state, ReplayState::Running);
    ended(&rig, id, ReplayState::Completed).await?;
    // Thirty at twenty a second, of which the last step need not be waited for.
    assert!(begun.elapsed() >= Duration::from_millis(1200));
    Ok(())
}
