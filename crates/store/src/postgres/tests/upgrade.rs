//! Several programs on one schema, of one version and of two.

use futures_util::future::join_all;
use sqlx::AssertSqlSafe;

use super::super::{PostgresOptions, PostgresStore, migrate};
use crate::Expect::Absent;
use crate::conformance::fixtures::*;
use crate::{
    ConfigStore as _, DeliveryQueue as _, EventLog as _, History as _, NodeIdentity, Nodes as _,
    StoreError,
};

/// A schema that nobody has made yet.
fn fresh(name: &str) -> PostgresOptions {
    let url = std::env::var(super::SERVER).unwrap();
    PostgresOptions {
        schema: Some(format!("{name}_{}", std::process::id())),
        writers: 2,
        readers: 1,
        ..PostgresOptions::at(url)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_on_an_empty_database_all_come_up() {
    for round in 0..3 {
        let options = fresh(&format!("crowd{round}"));
        let opened = join_all((0..8).map(|_| PostgresStore::open(options.clone()))).await;
        let stores: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
        let joined = join_all(stores.iter().enumerate().map(async |(number, store)| {
            let who = NodeIdentity {
                name: format!("n{number}"),
                version: "1".to_owned(),
                lease_ms: 60_000,
            };
            store.join(&who, T0).await.unwrap().member.node
        }))
        .await;
        let mut numbers: Vec<u8> = joined.into_iter().map(|node| node.0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

async fn run(store: &PostgresStore, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&store.writers)
        .await
        .unwrap();
}

/// What a later version may do while old nodes run: tables, columns with defaults, indexes.
async fn expand(store: &PostgresStore, works_from: i64) {
    let columns: String = [
        "event",
        "delivery",
        "attempt",
        "pending",
        "node",
        "bus",
        "rule",
        "target",
        "api_key",
        "audit",
        "log_entry",
        "idempotency",
        "strict_key",
        "circuit",
        "replay",
        "record_sample",
        "config_version",
    ]
    .map(|table| format!("ALTER TABLE {table} ADD COLUMN later BIGINT NOT NULL DEFAULT 7;"))
    .concat();
    let version = migrate::KNOWN + 1;
    let sql = format!(
        "{columns} CREATE TABLE later (id BIGINT PRIMARY KEY); CREATE INDEX node_by_later ON node (later); \
         INSERT INTO schema_version (version, name, works_from) VALUES ({version}, 'later', {works_from});"
    );
    run(store, format!("BEGIN;{sql}COMMIT;")).await;
}

/// What a node does all the time.
async fn works(store: &PostgresStore, step: i64) {
    let delivery = delivery(step, 10);
    let mut batch = events(&[(step, &[10, 11])]);
    batch.pending = vec![in_order(delivery, T0, 5)];
    store.commit(&batch).await.unwrap();
    let claimed = store.claim_due(&claim(10, T0 + 1)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let mut ended = outcomes(vec![outcome(
        delivery,
        belfry_model::delivery::DeliveryStatus::Delivered,
    )]);
    ended.attempts = vec![attempt(delivery, 1)];
    ended.done = vec![delivery];
    ended.log_entries = vec![log_entry("lines", delivery, "text")];
    store.commit(&ended).await.unwrap();
    assert!(store.find_event(id(step)).await.unwrap().is_some());
    assert_eq!(store.list_attempts(delivery).await.unwrap().len(), 1);
    let bus = format!("b{step}");
    store
        .apply(
            &[
                put_bus(&bus, Absent),
                put_rule(&bus, "r", Absent),
                put_target(&bus, "r", "t", Absent),
            ],
            &[],
            None,
            T0,
        )
        .await
        .unwrap();
    let config = store.load_config().await.unwrap();
    assert!(config.buses.iter().any(|one| one.name.as_str() == bus));
}

/// An old node beside new ones: its statements are prepared before the change and used after it.
#[tokio::test]
async fn an_old_node_works_on_a_schema_that_was_only_added_to() {
    let (old, options) = super::open().await;
    for step in 1..8 {
        works(&old, step).await;
    }
    expand(&old, migrate::KNOWN).await;
    for step in 11..14 {
        works(&old, step).await;
    }
    // Also when it has to start again, and with its tools.
    let again = PostgresStore::open(options.clone()).await.unwrap();
    works(&again, 21).await;
    let tool = PostgresStore::open_reader(options).await.unwrap();
    assert_eq!(tool.load_config().await.unwrap().buses.len(), 11);
}

#[tokio::test]
async fn a_schema_that_has_lost_what_an_old_node_needs_refuses_it() {
    let (old, options) = super::open().await;
    expand(&old, migrate::KNOWN + 1).await;
    for refused in [
        PostgresStore::open(options.clone()).await,
        PostgresStore::open_reader(options).await,
    ] {
        let newer = migrate::KNOWN + 1;
        assert!(
            matches!(refused, Err(StoreError::Newer { found, known: migrate::KNOWN }) if found == newer),
            "{refused:?}"
        );
    }
}
