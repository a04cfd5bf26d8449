//! A clock that jumps, forward and back, by seconds and by days, while events are accepted, fail, wait and are delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Result, ensure};
use belfry_engine::{AcceptContext, Engine};
use belfry_model::{Clock, Event, SystemClock};
use belfry_testkit::Reply;
use serde_json::json;

use crate::flaky::Flaky;
use crate::rig::{Rig, with_clock};
use crate::settings;

const HOUR_MS: i64 = 3_600_000;
/// Where the clock stands beside the true time, one after the other; at the end later than ever before, so that
/// everything that waits is due.
const OFFSETS_MS: [i64; 9] = [
    0,
    -1_500,
    HOUR_MS,
    -HOUR_MS,
    24 * HOUR_MS,
    0,
    -24 * HOUR_MS,
    1_500,
    25 * HOUR_MS,
];
/// Events between two jumps: three fail once, so that there are retries that wait over every jump.
const EVENTS: usize = 9;

/// The machine's clock, so far off.
#[derive(Debug, Default)]
struct Jumping(AtomicI64);

impl Clock for Jumping {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }
}

/// Posts events while the clock jumps, and starts the engine anew after every jump when it `crashes`.
async fn nothing_is_lost(crashes: bool) -> Result<()> {
    let clock = Arc::new(Jumping::default());
    let (rig, mut store) = Rig::flaky_with_clock(settings(), clock.clone()).await?;
    rig.sink.cycle(
        "/a",
        [Reply::status(500), Reply::status(200), Reply::status(200)],
    );
    // A day more or less is not what gives a delivery up here: that is right, but another matter.
    let retry =
        json!({"schedule": "custom", "waitsSeconds": vec![1; 100], "maxAgeSeconds": 1_209_600});
    let target = rig.target("hook", "/a", json!({"retry": retry})).await?;

    let mut later: Option<Engine> = None;
    let mut uids = Vec::new();
    for (jump, offset) in OFFSETS_MS.into_iter().enumerate() {
        clock.0.store(offset, Ordering::SeqCst);
        if crashes && jump > 0 {
            store.die();
            store = Flaky::new(rig.store.clone());
            later =
                Some(Engine::start(with_clock(store.clone(), clock.clone())?, settings()).await?);
        }
        for number in 0..EVENTS {
            let id = format!("{jump}-{number}");
            let doc = format!(r#"{{"specversion":"1.0","id":"{id}","source":"tests","type":"t"}}"#);
            let event = Event::from_stored(doc.into())?;
            let engine = later.as_ref().unwrap_or(&rig.engine);
            let context = AcceptContext::default();
            let accepted = engine
                .accept(&"default".parse()?, vec![event], context)
                .await?;
            uids.push(accepted[0].event_uid);
        }
    }
    ensure!(uids.is_sorted(), "ids went back with the clock: {uids:?}");
    uids.dedup();
    ensure!(uids.len() == EVENTS * OFFSETS_MS.len(), "ids came twice");

    let flush = async || match &later {
        Some(engine) => engine.flush().await,
        None => rig.engine.flush().await,
    };
    belfry_testkit::wait_until("all to be delivered", crate::SOON * 3, async || {
        flush().await;
        let all = rig.deliveries(target).await?;
        let delivered = |one: &&belfry_store::DeliveryRecord| {
            one.outcome.status == belfry_model::delivery::DeliveryStatus::Delivered
        };
        Ok((all.iter().filter(delivered).count() == uids.len()).then_some(()))
    })
    .await?;
    if let Some(engine) = later {
        engine.shutdown(crate::SOON).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_clock_that_jumps_loses_nothing_and_ids_go_on() -> Result<()> {
    nothing_is_lost(false).await
}

#[tokio::test]
async fn a_clock_that_jumped_over_a_crash_loses_nothing_and_ids_go_on() -> Result<()> {
    nothing_is_lost(true).await
}
