//! Archives and retention: what is kept of events, how long, and that it can be put back.

use anyhow::{Context as _, Result};
use belfry_engine::{AcceptContext, EngineSettings};
use belfry_model::config::{ArchiveSpec, BusSpec, Retention};
use belfry_model::json::JsonText;
use belfry_model::replay::{ReplayPlan, ReplayState};
use belfry_model::{ArchiveId, BusId, EventId};
use belfry_store::{
    ArchiveSize, Change, ConfigStore as _, Expect, History as _, NewReplay, Replays as _,
    Retention as _,
};
use belfry_testkit::wait_until;
use serde_json::json;

use crate::rig::{Rig, SOON};
use crate::settings;

fn put(name: &str, spec: ArchiveSpec, expect: Expect) -> Result<Change> {
    Ok(Change::PutArchive {
        bus: "default".parse()?,
        name: name.parse()?,
        spec,
        expect,
    })
}

fn spec(pattern: Option<&str>) -> Result<ArchiveSpec> {
    Ok(ArchiveSpec {
        description: String::new(),
        enabled: true,
        pattern: pattern.map(JsonText::parse).transpose()?,
        retention: None,
    })
}

async fn archive(rig: &Rig, name: &str) -> Result<ArchiveId> {
    let config = rig.store.load_config().await?;
    let found = config.archives.iter().find(|one| one.name.as_str() == name);
    Ok(found.context("the archive")?.id)
}

async fn size(rig: &Rig, name: &str) -> Result<ArchiveSize> {
    let id = archive(rig, name).await?;
    let sizes = rig.store.archive_sizes().await?;
    let size = sizes.into_iter().find(|size| size.archive == id);
    size.with_context(|| format!("nothing was ever in {name}"))
}

async fn default_bus(rig: &Rig) -> Result<BusId> {
    let config = rig.store.load_config().await?;
    let mut buses = config.buses.iter();
    let bus = buses.find(|bus| bus.name.as_str() == "default");
    Ok(bus.context("the bus")?.id)
}

async fn keep(rig: &Rig, retention: Retention, revision: i64) -> Result<()> {
    rig.change(Change::PutBus {
        name: "default".parse()?,
        spec: BusSpec {
            retention: Some(retention),
            ..BusSpec::default()
        },
        expect: Expect::Revision(revision),
    })
    .await
}

#[tokio::test]
async fn an_archive_holds_what_matches_and_gives_it_back_when_the_history_has_ended() -> Result<()>
{
    let rig = Rig::start(settings()).await?;
    let only_a = spec(Some(r#"{"type":["a"]}"#))?;
    rig.change(put("all", spec(None)?, Expect::Absent)?).await?;
    rig.change(put("a", only_a.clone(), Expect::Absent)?)
        .await?;
    for (id, kind) in [("1", "a"), ("2", "b"), ("3", "a")] {
        rig.post(id, kind).await?;
    }
    // A sender's repeat is no event.
    assert!(rig.post("1", "a").await?.duplicate);
    let off = ArchiveSpec {
        enabled: false,
        ..only_a
    };
    rig.change(put("a", off, Expect::Revision(1))?).await?;
    let last = rig.post("4", "a").await?.event_uid;
    assert_eq!(size(&rig, "all").await?.events, 4);
    assert_eq!(size(&rig, "a").await?.events, 2);

    let end = EventId::from_stored(last.get() + 1);
    rig.store.purge_events(end, 100).await?;
    assert!(rig.store.find_event(last).await?.is_none());
    let target = rig.target("late", "/late", json!({})).await?;
    let plan = ReplayPlan {
        description: String::new(),
        bus: default_bus(&rig).await?,
        bus_name: "default".parse()?,
        archive: Some((archive(&rig, "a").await?, "a".parse()?)),
        low: EventId::first_at(0),
        high: end,
        events: None,
        pattern: None,
        rules: None,
        to: None,
        rate_per_second: 1000,
    };
    assert_eq!(rig.engine.count_replay(&plan, 1000).await?.events, 2);
    let new = NewReplay {
        plan: plan.clone(),
        cursor: EventId::from_stored(0),
        created_by: "tests".to_owned(),
        at_ms: 1,
    };
    let id = rig.store.add_replay(&new, &[], None).await?;
    rig.engine.wake_replays();
    let delivered = rig.wait_delivered(target, 2).await?;
    for delivery in &delivered {
        assert_eq!(delivery.replay.context("a mark")?.replay, id);
    }
    // What came out of an archive does not go there again.
    assert_eq!(size(&rig, "all").await?.events, 4);

    let delete = Change::DeleteArchive {
        bus: "default".parse()?,
        name: "a".parse()?,
        revision: 2,
    };
    rig.change(delete).await?;
    let gone = rig.engine.count_replay(&plan, 1000).await;
    let why = gone.err().context("it was counted")?.to_string();
    assert_eq!(why, "archive a of bus default was deleted");
    let id = rig.store.add_replay(&new, &[], None).await?;
    rig.engine.wake_replays();
    wait_until("the failure", SOON, async || {
        let replay = rig.store.find_replay(id).await?.context("the replay")?;
        Ok((replay.state == ReplayState::Failed).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_bus_keeps_its_events_shorter_or_longer_than_the_server() -> Result<()> {
    let hour = std::time::Duration::from_hours(1);
    for (server, own, left) in [(hour, Some(1), false), (hour / 3600, Some(3600), true)] {
        let rig = Rig::start(EngineSettings {
            retention_age: server,
            ..settings()
        })
        .await?;
        let retention = Retention {
            age_seconds: own,
            bytes: None,
        };
        keep(&rig, retention, 1).await?;
        let mine = rig.post("1", "a").await?.event_uid;
        let bus = "dead".parse()?;
        let event = crate::rig::event(&json!({"id": "1", "source": "tests", "type": "a"}));
        let accepted = rig
            .engine
            .accept(&bus, vec![event], AcceptContext::default());
        let others = accepted.await?[0].event_uid;
        let (goes, stays) = if left { (others, mine) } else { (mine, others) };
        wait_until("the end of an event", SOON, async || {
            let found = rig.store.find_event(goes).await?;
            Ok(found.is_none().then_some(()))
        })
        .await?;
        assert!(rig.store.find_event(stays).await?.is_some());
    }
    Ok(())
}

#[tokio::test]
async fn a_bus_and_an_archive_lose_their_oldest_beyond_their_size() -> Result<()> {
    let rig = Rig::start(settings()).await?;
    let small = Retention {
        age_seconds: None,
        bytes: Some(2000),
    };
    keep(&rig, small, 1).await?;
    let archived = ArchiveSpec {
        retention: Some(small),
        ..spec(None)?
    };
    rig.change(put("small", archived, Expect::Absent)?).await?;
    rig.change(put("all", spec(None)?, Expect::Absent)?).await?;
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(rig.post(&n.to_string(), "a").await?.event_uid);
    }
    wait_until("room", SOON, async || {
        let (buses, archive) = (rig.store.bus_sizes().await?, size(&rig, "small").await?);
        let small = buses.iter().all(|bus| bus.bytes < 2000) && archive.bytes < 2000;
        Ok(small.then_some(()))
    })
    .await?;
    // No more than had to go, and the newest are there.
    let left = size(&rig, "small").await?;
    assert!(left.bytes > 1500, "{left:?}");
    assert_eq!(left.newest, ids.last().copied());
    assert!(rig.store.bus_sizes().await?[0].bytes > 1500);
    assert!(rig.store.find_event(ids[39]).await?.is_some());
    assert!(rig.store.find_event(ids[0]).await?.is_none());
    assert_eq!(size(&rig, "all").await?.events, 40);
    Ok(())
}
