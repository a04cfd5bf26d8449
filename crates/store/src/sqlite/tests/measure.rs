//! Rough figures, by hand: `cargo test --release -p belfry-store measure -- --ignored --nocapture`.

use std::time::Instant;

use belfry_model::delivery::DeliveryStatus;
use belfry_model::{Event, TargetId};
use bytes::Bytes;

use super::super::{SqliteOptions, SqliteStore};
use crate::conformance::fixtures::*;
use crate::{
    Batch, Claim, DeliveryQuery, DeliveryQueue as _, EventLog as _, EventQuery, History as _,
    Maintenance as _, Retention as _,
};

const GROUP: i64 = 200;

/// A document of about 600 bytes.
fn document(step: i64) -> Event {
    let doc = serde_json::json!({
        "specversion": "1.0", "id": format!("{step:036}"), "source": "/datacenter/1/rack/7/host/42",
        "type": "com.example.disk.full", "subject": "sda", "time": "2025-11-21T04:40:00Z",
        "datacontenttype": "application/json", "data": {"free": step, "text": "x".repeat(360)},
    });
    Event::from_stored(Bytes::from(doc.to_string())).unwrap()
}

fn group(from: i64, fan: i32, attempts: bool, pending_too: bool) -> Batch {
    let mut batch = Batch::default();
    for step in from..from + GROUP {
        let targets: Vec<i32> = (1..=fan).collect();
        let mut new = new_event(step, &targets);
        new.event = document(step);
        batch.events.push(new);
        for target in targets {
            let id = delivery(step, target);
            let mut outcome = outcome(id, DeliveryStatus::Delivered);
            if pending_too {
                outcome.status = DeliveryStatus::Retrying;
                batch.pending.push(pending(id, T0));
            }
            batch.outcomes.push(outcome);
            if attempts {
                batch.attempts.push(attempt(id, 1));
            }
        }
    }
    batch.watermark = Some((NODE, id(from)));
    batch
}

async fn round(
    name: &str,
    groups: i64,
    fan: i32,
    attempts: bool,
    pending_too: bool,
) -> (SqliteStore, tempfile::TempDir) {
    let dir =
        tempfile::tempdir_in(std::env::var("MEASURE_DIR").unwrap_or_else(|_| "/tmp".to_owned()))
            .unwrap();
    let store = SqliteStore::open(SqliteOptions::file(dir.path().join("belfry.db")))
        .await
        .unwrap();
    let empty = store.usage().await.unwrap().used_bytes;
    let batches: Vec<_> = (0..groups)
        .map(|n| group(n * GROUP, fan, attempts, pending_too))
        .collect();
    let doc_bytes = batches[0].events[0].event.doc().len();
    let started = Instant::now();
    for batch in &batches {
        store.commit(batch).await.unwrap();
    }
    let took = started.elapsed().as_secs_f64();
    let count = f64::from(u32::try_from(groups * GROUP).unwrap());
    let used = store.usage().await.unwrap().used_bytes - empty;
    println!(
        "{name}: {:.0} events/s, {:.2} ms a commit, {:.1} us an event; {:.0} bytes stored per event of {doc_bytes}",
        count / took,
        took * 1000.0 / f64::from(u32::try_from(groups).unwrap()),
        took * 1e6 / count,
        f64::from(u32::try_from(used).unwrap()) / count,
    );
    (store, dir)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure() {
    drop(round("event + outcome", 1000, 1, false, false).await);
    drop(round("event + outcome + attempt", 500, 1, true, false).await);
    drop(round("event + 5 outcomes", 300, 5, false, false).await);
    drop(round("event alone", 500, 0, false, false).await);
    let (store, _dir) = round("event + outcome + attempt + pending", 500, 1, true, true).await;

    let started = Instant::now();
    let mut claimed = 0;
    for _ in 0..100 {
        let wanted = Claim {
            limit: 200,
            bytes_max: 4 << 20,
            ..claim(1, T0 + 1)
        };
        claimed += store.claim_due(&wanted).await.unwrap().len();
    }
    println!("claimed {claimed} in {:?}", started.elapsed());
    for (name, query) in [
        ("newest deliveries", delivery_query()),
        (
            "one target",
            DeliveryQuery {
                targets: Some(vec![TargetId(1)]),
                ..delivery_query()
            },
        ),
        (
            "type never seen, 5000 looked at",
            DeliveryQuery {
                kind: Some("never".to_owned()),
                ..delivery_query()
            },
        ),
    ] {
        store.list_deliveries(&query).await.unwrap();
        let started = Instant::now();
        for _ in 0..20 {
            store.list_deliveries(&query).await.unwrap();
        }
        println!("{name}: {:?}", started.elapsed() / 20);
    }
    for (name, query) in [
        ("newest events", event_query()),
        (
            "text never seen, 5000 looked at",
            EventQuery {
                text: Some("never".to_owned()),
                ..event_query()
            },
        ),
    ] {
        store.list_events(&query).await.unwrap();
        let started = Instant::now();
        for _ in 0..20 {
            store.list_events(&query).await.unwrap();
        }
        println!("{name}: {:?}", started.elapsed() / 20);
    }
    let started = Instant::now();
    for _ in 0..10 {
        store.purge_events(id(10_000_000), 2000).await.unwrap();
    }
    println!(
        "purge of 2000 unfinished events: {:?}",
        started.elapsed() / 10
    );
    let started = Instant::now();
    recover(&store, NODE, T0).await;
    println!("recovery with a backlog: {:?}", started.elapsed());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn large_history() {
    let dir =
        tempfile::tempdir_in(std::env::var("MEASURE_DIR").unwrap_or_else(|_| "/tmp".to_owned()))
            .unwrap();
    let store = SqliteStore::open(SqliteOptions::file(dir.path().join("belfry.db")))
        .await
        .unwrap();
    crate::conformance::large::history(&store).await;
    store.close().await;
}
