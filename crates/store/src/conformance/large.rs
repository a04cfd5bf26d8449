//! Every documented filter on a large history, measured; the same on every store, by hand:
//! `cargo test --release -p belfry-store large_history -- --ignored --nocapture`.

use std::time::Instant;

use belfry_model::delivery::DeliveryStatus;
use belfry_model::{Event, TargetId};
use bytes::Bytes;

use super::fixtures::*;
use crate::{Batch, DeliveryQuery, Store};

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
        if status == DeliveryStatus::Delivered {
            batch.attempts.push(first_try(id));
        }
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
    ("event type never seen", |_, query| {
        query.kind = Some("never".to_owned());
    }),
    ("source", |_, query| {
        query.source = Some("/rack/3".to_owned());
    }),
    ("subject", |_, query| {
        query.subject = Some("host-77".to_owned());
    }),
    ("text", |_, query| {
        query.text = Some("\"free\":77".to_owned());
    }),
];

/// Fills a store with `MEASURE_EVENTS` deliveries (10 million unless said otherwise) and asks for pages all over it.
pub(crate) async fn history(store: &dyn Store) {
    let events: i64 =
        std::env::var("MEASURE_EVENTS").map_or(10_000_000, |text| text.parse().unwrap());
    let started = Instant::now();
    for from in (0..events).step_by(1000) {
        store.commit(&large_group(from, 1000)).await.unwrap();
    }
    let took = started.elapsed();
    let used = store.usage().await.unwrap().used_bytes;
    println!(
        "{events} events with a delivery each in {took:?}, {} MB",
        used / 1_000_000
    );
    let filters = (0_i64..).zip(FILTERS);
    for (place, (name, filter)) in filters {
        let (mut times, mut found) = (Vec::new(), 0);
        for n in 0..200 {
            // Each filter at places of its own: what another one has read is in memory.
            let at = events / 200 * n + events / 200 * place / 12 + events / 4800;
            let mut query = DeliveryQuery {
                before: Some(delivery(at, 1)),
                scan_max: 100_000,
                ..delivery_query()
            };
            filter(at, &mut query);
            let started = Instant::now();
            found += store.list_deliveries(&query).await.unwrap().items.len();
            times.push(started.elapsed());
        }
        times.sort_unstable();
        println!(
            "{name}: p50 {:?}, p99 {:?}, max {:?}; {} found a page",
            times[100],
            times[197],
            times[199],
            found / 200
        );
    }
}
