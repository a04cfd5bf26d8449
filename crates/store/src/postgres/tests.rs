//! The suite that every store passes, on a real server, and what is special to it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{PostgresOptions, PostgresStore};

/// Where the server for tests is; `cargo xtask test` starts one and says so.
const SERVER: &str = "BELFRY_TEST_POSTGRES";

/// A store in a schema of its own.
pub(crate) async fn open() -> (PostgresStore, PostgresOptions) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Ok(url) = std::env::var(SERVER) else {
        panic!(
            "{SERVER} names no Postgres server: run the tests with `cargo xtask test`, which starts one"
        );
    };
    let options = PostgresOptions {
        schema: Some(format!(
            "t{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        )),
        writers: 3,
        readers: 2,
        ..PostgresOptions::at(url)
    };
    let store = PostgresStore::open(options.clone()).await.unwrap();
    (store, options)
}

mod doubt;
mod listener;
mod partitions;
mod plans;
mod schema;
mod upgrade;

mod suite {
    crate::conformance::conformance_suite!(crate::postgres::tests::open);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn large_history() {
    if std::env::var_os(SERVER).is_none() {
        return;
    }
    let (store, _options) = open().await;
    crate::conformance::large::history(&store).await;
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "DROP SCHEMA {} CASCADE",
        store.options.schema.clone().unwrap()
    )))
    .execute(&store.writers)
    .await
    .unwrap();
}
