//! A target whose receiver hangs, with a great many deliveries waiting for it: what the others notice, and what it takes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use belfry_engine::EngineSettings;
use belfry_store::DeliveryQueue as _;
use belfry_testkit::{Reply, wait_until};
use serde_json::{Value, json};

use crate::rig::{Rig, SOON, event};
use crate::settings;

const BACKLOG: usize = 20_000;
const BATCH: usize = 500;
/// Deliveries that may wait in memory for one target, and requests to it at once.
const LANE: usize = 256;
const AT_ONCE: usize = 8;
/// Deliveries to the healthy target that are timed.
const TIMED: usize = 40;

fn small_lanes() -> EngineSettings {
    EngineSettings {
        lane_deliveries_max: LANE,
        ..settings()
    }
}

fn one(id: &str) -> Value {
    json!({"id": id, "source": "tests", "type": "t", "data": {"filling": "x".repeat(300)}})
}

/// Times from posting an event to its receipt at `/healthy`, the median of them; and the most bytes of events that the
/// lanes held meanwhile.
async fn timed(rig: &Rig, name: &str) -> Result<(Duration, usize)> {
    let (mut times, mut bytes) = (Vec::new(), 0);
    for number in 0..TIMED {
        let before = rig.sink.received_at("/healthy").len();
        let begun = Instant::now();
        rig.post_event(one(&format!("{name}-{number}"))).await?;
        let received = rig.sink.wait_for("/healthy", before + 1, SOON).await?;
        times.push(received[before].at.duration_since(begun));
        bytes = bytes.max(rig.engine.held()[1]);
    }
    times.sort_unstable();
    Ok((times[TIMED / 2], bytes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_target_with_a_great_backlog_slows_no_other_and_takes_no_more_memory()
-> Result<()> {
    let dir = tempfile::tempdir()?;
    let alone = Rig::on_file(&dir.path().join("alone.db"), small_lanes()).await?;
    alone.target("healthy", "/healthy", json!({})).await?;

    let rig = Rig::on_file(&dir.path().join("beside.db"), small_lanes()).await?;
    rig.sink.script("/dead", [Reply::Hang]);
    let dead = rig
        .target("dead", "/dead", json!({"concurrency": AT_ONCE}))
        .await?;
    let bus = "default".parse()?;
    let event_bytes = event(&one("backlog-00000")).doc().len();
    let lane_bytes = (LANE + AT_ONCE) * event_bytes;
    for part in 0..BACKLOG / BATCH {
        let events = (0..BATCH)
            .map(|number| event(&one(&format!("backlog-{:05}", part * BATCH + number))))
            .collect();
        rig.engine.accept(&bus, events, <_>::default()).await?;
        let held = rig.engine.held()[1];
        ensure!(held <= lane_bytes, "{held} bytes held after part {part}");
    }
    wait_until("the backlog", SOON * 2, async || {
        let backlog = rig.store.backlog(u32::MAX).await?;
        let waiting: u64 = backlog.iter().map(|one| one.count).sum();
        let open = rig.engine.lane_status(dead).map(|lane| lane.circuit) != Some("closed");
        Ok((open && waiting == BACKLOG as u64).then_some(()))
    })
    .await?;
    rig.target("healthy", "/healthy", json!({})).await?;
    // Both are measured in turns, on the same busy machine, and the better half of each counts.
    let (mut without, mut with, mut bytes) = (Duration::MAX, Duration::MAX, 0);
    for round in 0..3 {
        without = without.min(timed(&alone, &format!("round-{round}")).await?.0);
        let (time, held) = timed(&rig, &format!("round-{round}")).await?;
        with = with.min(time);
        bytes = bytes.max(held);
    }
    ensure!(
        with < without * 10 + Duration::from_millis(50),
        "{with:?} beside the backlog, {without:?} without"
    );
    ensure!(bytes <= lane_bytes, "{bytes} bytes held");
    println!(
        "{with:?} beside a backlog of {BACKLOG}, {without:?} without; {bytes} bytes of events in memory"
    );
    Ok(())
}
