//! Days: made ahead and on demand, dropped whole, by several nodes at once.

use belfry_model::delivery::DeliveryStatus::Delivered;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::super::{PostgresStore, open, partitions};
use crate::conformance::fixtures::*;
use crate::{Batch, EventLog as _, History as _, Retention as _};

const DAY_MS: i64 = 86_400_000;
/// Noon of the day of [`T0`].
const NOON: i64 = T0.div_euclid(DAY_MS) * DAY_MS + DAY_MS / 2 - T0;

fn day(number: i64) -> i64 {
    NOON + number * DAY_MS
}

/// The days below that of [`T0`] plus ten that have a partition of this table, counted from that day.
async fn days(store: &PostgresStore, table: &str) -> Vec<i64> {
    let rows = sqlx::query(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = to_regclass($1) ORDER BY 1",
    )
    .bind(table)
    .fetch_all(&store.writers)
    .await
    .unwrap();
    let first = partitions::day_of(T0);
    rows.iter()
        .map(|row| row.get::<String, _>(0))
        .map(|name| name.rsplit_once("_d").unwrap().1.parse::<i64>().unwrap() - first)
        .filter(|day| *day < 10)
        .collect()
}

async fn tables_gone(store: &PostgresStore) -> i64 {
    sqlx::query(
        "SELECT count(*) FROM pg_class WHERE relname LIKE 'gone%' AND pg_table_is_visible(oid)",
    )
    .fetch_one(&store.writers)
    .await
    .unwrap()
    .get(0)
}

/// Two events a day with a delivery each, all ended.
fn of_days(days: impl Iterator<Item = i64>) -> Batch {
    let mut batch = Batch::default();
    for number in days {
        for step in [day(number), day(number) + 1] {
            let mut new = new_event(step, &[10]);
            new.strict = true;
            new.key = Some(new.id.get().to_be_bytes().repeat(2).try_into().unwrap());
            batch.events.push(new);
            batch.outcomes.push(outcome(delivery(step, 10), Delivered));
        }
    }
    batch
}

#[tokio::test]
async fn whole_days_are_dropped_and_the_rest_is_deleted() {
    let (store, _options) = super::open().await;
    store.commit(&of_days(0..5)).await.unwrap();
    for table in partitions::TABLES {
        assert_eq!(days(&store, table).await, [0, 1, 2, 3, 4], "{table}");
    }
    // To the middle of day 3: three days go whole, one event of the fourth alone.
    let before = id(day(3) + 1);
    for _ in 0..3 {
        let purged = store.purge_events(before, 1).await.unwrap();
        assert_eq!((purged.events, purged.unfinished_count), (2, 0));
    }
    for table in partitions::TABLES {
        assert_eq!(days(&store, table).await, [3, 4], "{table}");
    }
    assert_eq!(store.purge_events(before, 10).await.unwrap().events, 1);
    assert_eq!(days(&store, "event").await, [3, 4]);
    assert_eq!(tables_gone(&store).await, 0);
    assert_eq!(store.bus_sizes().await.unwrap()[0].events, 3);
    assert_eq!(
        store.usage().await.unwrap().oldest_event,
        Some(id(day(3) + 1))
    );
    let key = |step: i64| id(step).get().to_be_bytes().repeat(2).try_into().unwrap();
    let keys = [(BUS, key(day(2))), (BUS, key(day(4)))];
    let found = store.find_strict(&keys).await.unwrap();
    assert_eq!(found, [None, Some(id(day(4)))]);

    // A late result makes its day again, and it goes again.
    store
        .commit(&outcomes(vec![outcome(delivery(day(1), 10), Delivered)]))
        .await
        .unwrap();
    assert_eq!(days(&store, "delivery").await, [1, 3, 4]);
    store.purge_events(before, 10).await.unwrap();
    assert_eq!(days(&store, "delivery").await, [3, 4]);

    // To get room: no part of a day.
    assert_eq!(
        store
            .purge_for_room(id(day(4) + 1), 10)
            .await
            .unwrap()
            .events,
        1
    );
    assert_eq!(
        store
            .purge_for_room(id(day(4) + 1), 10)
            .await
            .unwrap()
            .events,
        0
    );
    assert_eq!(days(&store, "event").await, [4]);
}

#[tokio::test]
async fn a_day_with_something_unfinished_is_deleted_row_by_row_and_told() {
    let (store, _options) = super::open().await;
    let mut batch = of_days(0..2);
    batch.pending = vec![pending(delivery(day(0), 10), T0)];
    batch.outcomes.remove(0);
    store.commit(&batch).await.unwrap();
    let purged = store.purge_events(id(day(1)), 100).await.unwrap();
    assert_eq!(purged.unfinished, [delivery(day(0), 10)]);
    assert_eq!(purged.events, 2);
    assert_eq!(days(&store, "event").await, [0, 1]);
    store.purge_events(id(day(1)), 100).await.unwrap();
    assert_eq!(days(&store, "event").await, [1]);
}

#[tokio::test]
async fn a_reader_puts_the_drop_off_and_commits_go_on() {
    let (store, options) = super::open().await;
    store.commit(&of_days(0..2)).await.unwrap();
    let mut other = open::connect_options(&options)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut reads = other.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM event")
        .execute(&mut *reads)
        .await
        .unwrap();
    let purged = store.purge_events(id(day(1)), 100).await.unwrap();
    assert_eq!(purged.events, 0);
    assert_eq!(days(&store, "event").await, [0, 1]);
    store.commit(&of_days(2..3)).await.unwrap();
    reads.rollback().await.unwrap();
    let purged = store.purge_events(id(day(1)), 100).await.unwrap();
    assert_eq!(purged.events, 2);
    assert_eq!(days(&store, "event").await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_make_and_drop_days_at_once() {
    let (store, options) = super::open().await;
    let second = PostgresStore::open(options.clone()).await.unwrap();
    store.commit(&of_days(0..4)).await.unwrap();
    let work = async |store: &PostgresStore, first: i64, part: i64| {
        for number in 0..6 {
            // A day far from the others, that the other node may need as well.
            let step = day(first + number) + part;
            store.commit(&events(&[(step, &[])])).await.unwrap();
            store.prepare_days().await.unwrap();
            store.purge_events(id(day(3)), 100).await.unwrap();
        }
    };
    tokio::join!(work(&store, 20, 0), work(&second, 23, 1));
    assert_eq!(days(&store, "event").await, [3]);
    assert_eq!(tables_gone(&store).await, 0);
    for step in (20..26)
        .map(day)
        .chain((23..29).map(|number| day(number) + 1))
    {
        assert!(store.find_event(id(step)).await.unwrap().is_some());
    }
}
