//! A full disk, callers that go away, numbers that mean nothing.

use std::future::Future as _;
use std::task::{Context, Poll};

use belfry_model::delivery::DeliveryStatus;

use super::super::SqliteStore;
use super::open_file;
use crate::conformance::fixtures::*;
use crate::{Batch, DeliveryQueue as _, EventLog as _, History as _, Retention as _, StoreError};

async fn run(store: &SqliteStore, sql: &str) {
    let mut writer = store.lock_writer().await.unwrap();
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql)
        .execute(writer.conn().unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_the_store_works_on_when_there_is_room() {
    let (store, _dir) = open_file().await;
    store.commit(&events(&[(0, &[10])])).await.unwrap();
    // SQLite cuts the limit off at the present size.
    run(&store, "PRAGMA max_page_count = 1").await;
    let batch = |from: i64| Batch {
        events: (from..from + 400)
            .map(|step| new_event(step, &[10]))
            .collect(),
        outcomes: (from..from + 400)
            .map(|step| outcome(delivery(step, 10), DeliveryStatus::Delivered))
            .collect(),
        watermark: Some((NODE, id(from))),
        ..Batch::default()
    };
    for _ in 0..3 {
        assert!(matches!(
            store.commit(&batch(1)).await,
            Err(StoreError::Full(_))
        ));
        assert_eq!(store.event_ids_after(id(0), 10).await.unwrap(), []);
    }
    // What needs no room still works.
    assert!(store.purge_events(id(0), 10).await.is_ok());
    run(&store, "PRAGMA max_page_count = 1000000").await;
    store.commit(&batch(1)).await.unwrap();
    assert_eq!(store.event_ids_after(id(0), 1000).await.unwrap().len(), 400);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_half_done() {
    let (store, _dir) = open_file().await;
    let mut whole = 0;
    for round in 0_i64..60 {
        let from = round * 1000;
        let batch = Batch {
            events: (from..from + 300)
                .map(|step| new_event(step, &[10]))
                .collect(),
            outcomes: (from..from + 300)
                .map(|step| outcome(delivery(step, 10), DeliveryStatus::Delivered))
                .collect(),
            ..Batch::default()
        };
        {
            let mut commit = std::pin::pin!(store.commit(&batch));
            // Polled a few times, then dropped wherever it is; in the last of twelve rounds not dropped.
            for _ in 0..round % 12 {
                let once = |cx: &mut Context<'_>| Poll::Ready(commit.as_mut().poll(cx).is_ready());
                if std::future::poll_fn(once).await {
                    break;
                }
                tokio::task::yield_now().await;
            }
            if round % 12 == 11 {
                while std::future::poll_fn(|cx| Poll::Ready(commit.as_mut().poll(cx).is_pending()))
                    .await
                {
                    tokio::task::yield_now().await;
                }
            }
        }
        // The next transaction waits for the one under way.
        store.commit(&events(&[(from + 999, &[])])).await.unwrap();
        let rows = store.event_ids_after(id(from - 1), 1000).await.unwrap();
        assert!(
            rows.len() == 1 || rows.len() == 301,
            "round {round}: {} rows",
            rows.len()
        );
        whole += usize::from(rows.len() == 301);
        let deliveries = store.list_event_deliveries(id(from)).await.unwrap().len();
        assert_eq!(deliveries, usize::from(rows.len() == 301));
    }
    // Never polled: not written; polled to its end: written.
    assert!((5..=55).contains(&whole), "{whole} of 60 were written");
}

#[tokio::test]
async fn commits_of_many_callers_take_turns() {
    let (store, _dir) = open_file().await;
    let commits = (0..50).map(|step| {
        let store = &store;
        async move { store.commit(&events(&[(step, &[10])])).await }
    });
    for result in futures_util::future::join_all(commits).await {
        result.unwrap();
    }
    assert_eq!(store.event_ids_after(id(-1), 100).await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_transaction_left_open_is_rolled_back_by_the_next() {
    let (store, _dir) = open_file().await;
    let panicked = store
        .write::<(), _>(|conn| {
            Box::pin(async move {
                sqlx::query("INSERT INTO meta (key, value) VALUES ('a', 'b')")
                    .execute(conn)
                    .await?;
                panic!("in the middle");
            })
        })
        .await;
    assert!(matches!(panicked, Err(StoreError::Internal(_))));
    store.commit(&events(&[(1, &[10])])).await.unwrap();
    assert_eq!(
        crate::ConfigStore::get_meta(&store, "a").await.unwrap(),
        None
    );
}

#[tokio::test]
async fn stored_numbers_without_a_meaning_are_errors_that_name_them() {
    let (store, _dir) = open_file().await;
    let mut batch = events(&[(1, &[10])]);
    batch.outcomes = vec![outcome(delivery(1, 10), DeliveryStatus::Dead)];
    batch.attempts = vec![attempt(delivery(1, 10), 1)];
    batch.pending = vec![pending(delivery(1, 10), T0)];
    store.commit(&batch).await.unwrap();
    let id = delivery(1, 10);
    let internal = |result: crate::Result<()>, what: &str| match result {
        Err(StoreError::Internal(why)) => assert!(why.contains(what), "{why}"),
        other => panic!("{what}: {other:?}"),
    };
    run(&store, "UPDATE delivery SET status = 99").await;
    internal(store.find_delivery(id).await.map(drop), "delivery status");
    internal(
        store.list_deliveries(&delivery_query()).await.map(drop),
        "delivery status",
    );
    run(&store, "UPDATE delivery SET status = 3, reason = 9999").await;
    internal(store.find_delivery(id).await.map(drop), "reason");
    run(&store, "UPDATE delivery SET reason = 1, status_code = -5").await;
    internal(store.find_delivery(id).await.map(drop), "status code");
    run(&store, "UPDATE attempt SET set_off_by = 77").await;
    internal(store.list_attempts(id).await.map(drop), "trigger");
    run(&store, "UPDATE event SET fan = '{}'").await;
    internal(store.find_event(id.event).await.map(drop), "fan-out");
    run(&store, "UPDATE delivery SET attempts = -1").await;
    internal(
        store.redrive(&[id], &[], T0, &[], None).await.map(drop),
        "attempts",
    );
    // And none of that kept the connection from working on.
    store.commit(&events(&[(2, &[10])])).await.unwrap();
}

#[tokio::test]
async fn waiting_work_that_cannot_be_read_does_not_keep_back_the_rest() {
    let (store, _dir) = open_file().await;
    let mut batch = events(&[(1, &[10]), (2, &[10]), (3, &[10])]);
    batch.pending = (1..4).map(|step| pending(delivery(step, 10), T0)).collect();
    store.commit(&batch).await.unwrap();
    let (first, second) = (id(1).get(), id(2).get());
    run(
        &store,
        &format!("UPDATE pending SET set_off_by = 77 WHERE seq = {first}"),
    )
    .await;
    run(
        &store,
        &format!("UPDATE event SET doc = x'00' WHERE seq = {second}"),
    )
    .await;
    let tight = crate::Claim {
        limit: 2,
        ..claim(10, T0)
    };
    assert!(store.claim_due(&tight).await.unwrap().is_empty());
    let claimed = store.claim_due(&tight).await.unwrap();
    assert_eq!(claimed[0].pending.delivery, delivery(3, 10));
    assert!(store.claim_due(&tight).await.unwrap().is_empty());
}
