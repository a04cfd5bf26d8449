//! Rough figures, by hand: `cargo test --release -p belfry-store measure -- --ignored --nocapture`.

use std::time::Instant;

use belfry_model::delivery::DeliveryStatus;
use belfry_model::{Event, TargetId};
use bytes::Bytes;

use super::super::{SqliteOptions, SqliteStore};
use crate::conformance::fixtures::*;
use crate::{
    Batch, Claim, DeliveryQuery, DeliveryQueue as _, EventLog as _, EventQuery, History as _,
    Maintenance as _,
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
    store.recover(NODE, T0).await.unwrap();
    println!("recovery with a backlog: {:?}", started.elapsed());
    store.close().await;
}

/// Deliveries of the large history, and targets that they go to.
const TARGETS: i64 = 40;

fn large_group(from: i64, count: i64) -> Batch {
    let mut batch = Batch::default();
    for step in from..from + count {
        let target = i32::try_from(step % TARGETS).unwrap() + 1;
        let mut new = new_event(step, &[target]);
        let doc = serde_json::json!({
            "specversion": "1.0", "id": format!("{step:036}"), "source": format!("/rack/{}", step % 17),
            "type": format!("com.example.kind.{}", step % 101), "subject": format!("host-{}", step % 10_007),
            "data": {"free": step, "text": "x".repeat(360)},
        });
        new.event = Event::from_stored(Bytes::from(doc.to_string())).unwrap();
        batch.events.push(new);
        let id = delivery(step, target);
        // One in a hundred was given up, in runs as outages make them.
        let status = if step % 10_000 < 100 {
            DeliveryStatus::Dead
        } else {
            DeliveryStatus::Delivered
        };
        batch.outcomes.push(outcome(id, status));
    }
    batch.watermark = Some((NODE, id(from + count - 1)));
    batch
}

/// Sets a filter that starts at a place in the history.
type Filter = fn(i64, &mut DeliveryQuery);

const FILTERS: &[(&str, Filter)] = &[
    ("newest", |_, query| query.before = None),
    ("a page in the middle", |_, _| {}),
    ("one target", |_, query| {
        query.targets = Some(vec![TargetId(7)]);
    }),
    ("a rule with five targets", |_, query| {
        query.targets = Some((1..=5).map(TargetId).collect());
    }),
    ("one target, dead only", |_, query| {
        query.targets = Some(vec![TargetId(7)]);
        query.statuses = vec![DeliveryStatus::Dead];
    }),
    ("dead, any target", |_, query| {
        query.statuses = vec![DeliveryStatus::Dead];
    }),
    ("a time range", |at, query| {
        query.before = None;
        query.since_ms = Some(id(at).time_ms());
        query.until_ms = Some(id(at).time_ms() + 3_600_000);
    }),
    ("event type", |_, query| {
        query.kind = Some("com.example.kind.5".to_owned());
    }),
    ("event type never seen (5,000 looked at)", |_, query| {
        query.kind = Some("never".to_owned());
    }),
    ("source", |_, query| {
        query.source = Some("/rack/3".to_owned());
    }),
    ("subject (5,000 looked at)", |_, query| {
        query.subject = Some("host-77".to_owned());
    }),
    ("text (5,000 looked at)", |_, query| {
        query.text = Some("\"free\":77".to_owned());
    }),
];

/// Every documented filter on a history of `MEASURE_EVENTS` deliveries (10 million unless said otherwise).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn large_history() {
    let events: i64 =
        std::env::var("MEASURE_EVENTS").map_or(10_000_000, |text| text.parse().unwrap());
    let dir =
        tempfile::tempdir_in(std::env::var("MEASURE_DIR").unwrap_or_else(|_| "/tmp".to_owned()))
            .unwrap();
    let store = SqliteStore::open(SqliteOptions::file(dir.path().join("belfry.db")))
        .await
        .unwrap();
    let started = Instant::now();
    for from in (0..events).step_by(1000) {
        store.commit(&large_group(from, 1000)).await.unwrap();
    }
    println!(
        "{events} events with a delivery each in {:?}",
        started.elapsed()
    );
    for (name, filter) in FILTERS {
        let mut times: Vec<_> = Vec::new();
        for n in 0..200 {
            let at = events / 200 * n + events / 400;
            let mut query = DeliveryQuery {
                before: Some(delivery(at, 1)),
                ..delivery_query()
            };
            filter(at, &mut query);
            let started = Instant::now();
            store.list_deliveries(&query).await.unwrap();
            times.push(started.elapsed());
        }
        times.sort_unstable();
        println!(
            "{name}: p50 {:?}, p99 {:?}, max {:?}",
            times[100], times[197], times[199]
        );
    }
    store.close().await;
}
