//! Changes of the configuration are told to the others.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::time::timeout;

use super::super::{PostgresOptions, PostgresStore};
use crate::Expect::{Absent, Revision};
use crate::conformance::fixtures::*;
use crate::{ConfigStore as _, Maintenance as _};

const SOON: Duration = Duration::from_secs(20);

/// Takes what has been told so far: that it has begun to listen, too.
async fn heard(store: &PostgresStore) {
    timeout(SOON, store.config_changed()).await.unwrap();
}

/// How many listen in this database.
async fn listeners(store: &PostgresStore) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()",
    )
    .fetch_one(&store.writers)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_change_is_told_to_every_store_of_the_schema_and_to_no_other() {
    let (changes, options) = super::open().await;
    let (elsewhere, _) = super::open().await;
    let hears = PostgresStore::open(options).await.unwrap();
    heard(&hears).await;
    heard(&elsewhere).await;
    changes
        .apply(&[put_bus("b", Absent)], &[], None, T0)
        .await
        .unwrap();
    heard(&hears).await;
    let more = timeout(Duration::from_millis(50), elsewhere.config_changed()).await;
    assert!(more.is_err(), "of another schema");
    // A refused change is told to nobody: what comes next is of the good one.
    let refused = changes.apply(&[put_bus("b", Absent)], &[], None, T0).await;
    assert!(refused.is_err());
    let more = timeout(Duration::from_millis(50), hears.config_changed()).await;
    assert!(more.is_err(), "nothing was changed");
    changes
        .apply(&[put_bus("b", Revision(1))], &[], None, T0)
        .await
        .unwrap();
    heard(&hears).await;
}

#[tokio::test]
async fn a_listener_that_was_cut_off_comes_back_and_says_so() {
    let (first, options) = super::open().await;
    // A database of its own: others listen on this server too.
    let name = options.schema.clone().unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&first.writers)
        .await
        .unwrap();
    let (server, _) = options.url.rsplit_once('/').unwrap();
    let options = PostgresOptions {
        url: format!("{server}/{name}"),
        ..options
    };
    let changes = PostgresStore::open(options.clone()).await.unwrap();
    let hears = PostgresStore::open(options).await.unwrap();
    heard(&hears).await;
    assert_eq!(listeners(&changes).await, 1);
    let ended: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()",
    )
    .fetch_all(&changes.writers)
    .await
    .unwrap();
    assert_eq!(ended, [true]);
    changes
        .apply(&[put_bus("b", Absent)], &[], None, T0)
        .await
        .unwrap();
    heard(&hears).await;
    assert_eq!(listeners(&changes).await, 1);
    hears.close().await;
    let left = async {
        while listeners(&changes).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, left).await.unwrap();
}
