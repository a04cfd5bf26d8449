//! Copies both ways, and what is refused.

use std::path::Path;

use belfry_model::ArchiveId;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use belfry_model::delivery::DeliveryStatus::{Delivered, Retrying};

use super::*;
use crate::conformance::fixtures::*;
use crate::{Batch, ConfigStore as _, Expect, Maintenance as _, NodeIdentity, Nodes as _, Store};

/// Something in every table that a server writes to.
async fn fill(store: &dyn Store) {
    let changes = [
        put_bus("default", Expect::Absent),
        put_rule("default", "all", Expect::Absent),
        put_target("default", "all", "hook", Expect::Absent),
    ];
    let audit = [audit("buses/default", T0)];
    store.apply(&changes, &audit, None, T0).await.unwrap();
    store.set_meta("key_check", "sealed").await.unwrap();
    let (first, second, third) = (delivery(1, 1), delivery(2, 1), delivery(3, 1));
    let batch = Batch {
        events: (0..1200)
            .map(|step| crate::NewEvent {
                archives: if step < 3 { vec![ArchiveId(1)] } else { vec![] },
                ..new_event(step, &[1])
            })
            .collect(),
        outcomes: vec![
            outcome(first, Delivered),
            outcome(second, Retrying),
            outcome(third, Delivered),
        ],
        attempts: vec![attempt(second, 1), first_try(third)],
        pending: vec![pending(second, T0 + 5000)],
        log_entries: vec![log_entry("ops", first, "disk sda is full")],
        idempotency: vec![idempotency(1, T0)],
        watermark: Some((NODE, id(0))),
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    let note = crate::CircuitNote {
        target: belfry_model::TargetId(1),
        node: NODE,
        open_until_ms: T0,
        paused_until_ms: T0,
        failures: 3,
    };
    store.note_circuits(&[note], &[], T0).await.unwrap();
}

async fn filled(path: &Path) -> Place {
    let store = SqliteStore::open(SqliteOptions::file(path)).await.unwrap();
    fill(&store).await;
    store.close().await;
    fill_the_rest(path).await;
    Place::Sqlite(path.to_owned())
}

/// A row in every table that has none yet, whatever tables there are.
async fn fill_the_rest(path: &Path) {
    let url = format!("sqlite://{}", path.display());
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    for table in sqlite::tables().await.unwrap() {
        let values: Vec<_> = table
            .columns
            .iter()
            .map(|column| match column.kind {
                Kind::Number => "1",
                Kind::Text => "'{}'",
                Kind::Bytes => "x'01'",
            })
            .collect();
        let (name, columns, values) = (&table.name, table.names(), values.join(", "));
        let sql = format!(
            "INSERT INTO {name} ({columns}) SELECT {values} WHERE NOT EXISTS (SELECT 1 FROM {name})"
        );
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut conn)
            .await
            .unwrap();
    }
    conn.close().await.unwrap();
}

/// How many tables had rows in them.
fn not_empty(copied: &[Copied]) -> usize {
    copied.iter().filter(|one| one.rows > 0).count()
}

fn all(copied: &[Copied]) -> u64 {
    copied.iter().map(|one| one.rows).sum()
}

#[tokio::test]
async fn a_copy_holds_the_same_rows_and_a_server_goes_on_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(&dir.path().join("a.db")).await;
    let to = dir.path().join("b.db");
    let mut told = (0, 0);
    let copied = copy(&from, &Place::Sqlite(to.clone()), &mut |step| match step {
        Step::Begins { rows } => told.0 = rows,
        Step::Rows { rows, .. } => told.1 += rows,
    })
    .await
    .unwrap();
    assert!(all(&copied) > 1200, "{copied:?}");
    assert_eq!(not_empty(&copied), sqlite::tables().await.unwrap().len());
    assert_eq!(told, (all(&copied), 2 * all(&copied)), "read on both sides");
    goes_on(&SqliteStore::open(SqliteOptions::file(&to)).await.unwrap()).await;
}

/// What was waiting is claimed, what was under way is found, new things get new numbers.
async fn goes_on(store: &dyn Store) {
    let found = recover(store, NODE, T0 + 10_000).await;
    assert_eq!(
        found.unfinished,
        1200 - 4,
        "all above the watermark but three"
    );
    let claimed = store.claim_due(&claim(1, T0 + 20_000)).await.unwrap();
    assert_eq!(claimed[0].pending.delivery, delivery(2, 1));
    assert_eq!(claimed[0].pending.attempts, 1);
    let attempts = store.list_attempts(delivery(2, 1)).await.unwrap();
    assert_eq!(attempts, [attempt(delivery(2, 1), 1)]);
    let sealed = store.get_meta("key_check").await.unwrap();
    assert_eq!(sealed.as_deref(), Some("sealed"));
    let more = [put_bus("more", Expect::Absent)];
    store.apply(&more, &[], None, T0).await.unwrap();
    let config = store.load_config().await.unwrap();
    let ids: Vec<_> = config.buses.iter().map(|bus| bus.id.0).collect();
    assert_eq!(ids, [1, 2]);
}

#[tokio::test]
async fn a_source_in_use_and_a_destination_that_is_there_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("a.db"), dir.path().join("b.db"));
    let from = filled(&one).await;
    let to = Place::Sqlite(other.clone());
    let server = SqliteStore::open(SqliteOptions::file(&one)).await.unwrap();
    let refused = copy(&from, &to, &mut |_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, CopyError::Source(why) if why.to_string().contains("in use by another")),
        "{refused:?}"
    );
    assert!(!other.exists());
    server.close().await;
    std::fs::write(&other, "mine").unwrap();
    let refused = copy(&from, &to, &mut |_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, CopyError::Destination(why) if why.to_string().contains("there is such a file")),
        "{refused:?}"
    );
    assert_eq!(std::fs::read(&other).unwrap(), b"mine");
}

#[tokio::test]
async fn a_restore_keeps_what_it_replaces_and_refuses_what_is_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (place, backup) = (dir.path().join("a.db"), dir.path().join("backup.db"));
    filled(&place).await;
    let reader = SqliteStore::open_reader(&place).await.unwrap();
    reader.backup(&backup).await.unwrap();
    reader.close().await;
    let server = SqliteStore::open(SqliteOptions::file(&place))
        .await
        .unwrap();
    let refused = SqliteStore::restore(&backup, &place, true).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("in use by another")
    );
    server.set_meta("later", "than the backup").await.unwrap();
    server.close().await;
    let refused = SqliteStore::restore(&backup, &place, false).await;
    assert!(refused.unwrap_err().to_string().contains("--replace"));
    let bad = dir.path().join("bad.db");
    let mut bytes = std::fs::read(&backup).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&bad, bytes).unwrap();
    let refused = SqliteStore::restore(&bad, &place, true).await;
    assert!(refused.unwrap_err().to_string().contains("damaged"));
    let kept = SqliteStore::restore(&backup, &place, true).await.unwrap();
    let kept = SqliteStore::open(SqliteOptions::file(kept.unwrap()))
        .await
        .unwrap();
    assert!(kept.get_meta("later").await.unwrap().is_some());
    let store = SqliteStore::open(SqliteOptions::file(&place))
        .await
        .unwrap();
    assert!(store.get_meta("later").await.unwrap().is_none());
    goes_on(&store).await;
}

#[tokio::test]
async fn a_copy_to_a_server_and_back_is_the_same_and_a_full_server_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(&dir.path().join("a.db")).await;
    let (store, options) = crate::postgres::open_for_tests().await;
    store.close().await;
    let server = Place::Postgres(options.clone());
    let there = copy(&from, &server, &mut |_| {}).await.unwrap();
    let refused = copy(&from, &server, &mut |_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, CopyError::Destination(why) if why.to_string().contains("not empty")),
        "{refused:?}"
    );
    let path = dir.path().join("b.db");
    let back = copy(&server, &Place::Sqlite(path.clone()), &mut |_| {})
        .await
        .unwrap();
    assert_eq!(there, back);
    goes_on(&SqliteStore::open(SqliteOptions::file(&path)).await.unwrap()).await;
    let store = PostgresStore::open(options).await.unwrap();
    goes_on(&store).await;
    store.close().await;
}

#[tokio::test]
async fn a_server_keeps_a_copy_away_and_a_copy_keeps_servers_away() {
    let (store, options) = crate::postgres::open_for_tests().await;
    let who = NodeIdentity {
        name: "a".to_owned(),
        version: "1".to_owned(),
        lease_ms: 60_000,
    };
    let member = store.join(&who, T0).await.unwrap().member;
    let server = Place::Postgres(options.clone());
    let refused = server.source().await.unwrap().is_at_rest().await;
    assert!(
        refused.unwrap_err().to_string().contains("stop them first"),
        "it holds its lease"
    );
    store.leave(member, T0).await.unwrap();
    let mut source = server.source().await.unwrap();
    source.is_at_rest().await.unwrap();
    let impatient = PostgresStore::open(PostgresOptions {
        statement_timeout: std::time::Duration::from_millis(200),
        ..options
    })
    .await
    .unwrap();
    let refused = impatient.join(&who, T0).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    source.close().await;
    impatient.join(&who, T0).await.unwrap();
}
