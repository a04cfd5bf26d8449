//! The file's life: refusals leave it byte for byte as it was, one server at a time, reading beside it, backup.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use belfry_model::delivery::DeliveryStatus::Delivered;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _};

use super::super::{Conn, SqliteOptions, SqliteStore, Synchronous, check, migrate};
use super::open_file;
use crate::conformance::fixtures::*;
use crate::{Batch, ConfigStore as _, EventLog as _, History as _, Maintenance as _, StoreError};

/// Every file of a directory with its bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect()
}

/// The same without what is no data: the lock, and the index of a log, which is rebuilt.
fn data(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(dir);
    files.retain(|name, _| name == "belfry.db" || name == "belfry.db-wal");
    files
}

async fn refused(path: &Path) -> StoreError {
    SqliteStore::open(SqliteOptions::file(path))
        .await
        .unwrap_err()
}

async fn raw(path: &Path) -> Conn {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

/// A closed database with one event.
async fn closed() -> (std::path::PathBuf, tempfile::TempDir) {
    let (store, dir) = open_file().await;
    store.commit(&events(&[(1, &[10])])).await.unwrap();
    store.close().await;
    (dir.path().join("belfry.db"), dir)
}

#[tokio::test]
async fn what_was_written_is_there_after_closing_and_opening() {
    let (path, dir) = closed().await;
    assert_eq!(
        files(dir.path()).keys().collect::<Vec<_>>(),
        ["belfry.db", "belfry.db.lock"]
    );
    let store = SqliteStore::open(SqliteOptions {
        synchronous: Synchronous::Normal,
        ..SqliteOptions::file(&path)
    })
    .await
    .unwrap();
    assert!(store.find_event(id(1)).await.unwrap().is_some());
    assert_eq!(store.usage().await.unwrap().newest_event, Some(id(1)));
    assert!(store.usage().await.unwrap().disk_free_bytes.is_some());
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let (store, dir) = open_file().await;
    store.commit(&events(&[(1, &[10])])).await.unwrap();
    store.backup(&dir.path().join("copy.db")).await.unwrap();
    let names: Vec<_> = files(dir.path()).into_keys().collect();
    assert_eq!(
        names,
        [
            "belfry.db",
            "belfry.db-shm",
            "belfry.db-wal",
            "belfry.db.lock",
            "copy.db"
        ]
    );
    for name in names {
        let mode = dir
            .path()
            .join(&name)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn the_settings_are_those_that_were_measured() {
    let (store, _dir) = open_file().await;
    let mut writer = store.lock_writer().await.unwrap();
    let expected = [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("auto_vacuum", "2"),
        ("page_size", "4096"),
        ("wal_autocheckpoint", "4000"),
        ("foreign_keys", "1"),
    ];
    for (name, value) in expected {
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA {name}"));
        let row = sqlx::query(sql)
            .fetch_one(writer.conn().unwrap())
            .await
            .unwrap();
        // Unchecked: some are numbers.
        let found: String = sqlx::Row::try_get_unchecked(&row, 0).unwrap();
        assert_eq!(found, value, "{name}");
    }
    drop(writer);
    let mut reader = store.reader().await.unwrap();
    let write = sqlx::query("DELETE FROM event")
        .execute(reader.conn().unwrap())
        .await;
    assert!(write.unwrap_err().to_string().contains("readonly"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    for content in [
        b"hello".to_vec(),
        vec![0; 5000],
        b"SQLite format 3\0".to_vec(),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("belfry.db");
        std::fs::write(&path, content).unwrap();
        let before = files(dir.path());
        let error = refused(&path).await;
        assert!(
            matches!(&error, StoreError::Unusable(why) if why.contains("not an SQLite database")),
            "{error}"
        );
        assert_eq!(files(dir.path()), before);
    }
}

/// The form of a delivery's row was changed in place.
#[tokio::test]
async fn deliveries_of_an_older_schema_are_read_beside_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("belfry.db");
    let mut conn = raw(&path).await;
    migrate::run_some(&mut conn, 6).await.unwrap();
    let (old, new) = (delivery(1, 10), delivery(2, 10));
    let sql = format!(
        "PRAGMA application_id = {};\n\
         INSERT INTO event (seq, bus_id, ce_id, source, type, fan, doc) VALUES ({1}, 1, 'a', 'b', 'c', '[10]', x'7b7d');\n\
         INSERT INTO delivery (seq, target_id, status, attempts, status_code, duration_ms, at_ms) \
         VALUES ({1}, 10, 1, 3, 200, 12, {T0})",
        check::APPLICATION_ID,
        old.event.get()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::Connection::close(conn).await.unwrap();

    let store = SqliteStore::open(SqliteOptions::file(&path)).await.unwrap();
    let batch = Batch {
        events: vec![new_event(2, &[10])],
        outcomes: vec![outcome(new, Delivered)],
        attempts: vec![first_try(new)],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    let found = store.find_delivery(old).await.unwrap().unwrap();
    assert_eq!(
        (
            found.outcome.attempts,
            found.outcome.status_code,
            found.outcome.duration_ms
        ),
        (3, Some(200), 12)
    );
    let found = store.find_delivery(new).await.unwrap().unwrap();
    assert_eq!(found.outcome, outcome(new, Delivered));
    store.close().await;
    let mut conn = raw(&path).await;
    let row = sqlx::query("SELECT (SELECT * FROM pragma_integrity_check), attempts IS NULL FROM delivery ORDER BY seq DESC")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(row.get::<String, _>(0), "ok");
    assert!(row.get::<bool, _>(1), "its first attempt says it");
}

#[tokio::test]
async fn somebody_elses_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("belfry.db");
    let mut conn = raw(&path).await;
    sqlx::raw_sql("CREATE TABLE theirs (id INTEGER)")
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::Connection::close(conn).await.unwrap();
    let before = files(dir.path());
    let error = refused(&path).await;
    assert!(
        matches!(&error, StoreError::Unusable(why) if why.contains("not one of Belfry's")),
        "{error}"
    );
    assert_eq!(files(dir.path()), before);
}

#[tokio::test]
async fn a_newer_database_is_left_alone() {
    let (path, dir) = closed().await;
    let mut conn = raw(&path).await;
    sqlx::raw_sql("PRAGMA user_version = 999")
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::Connection::close(conn).await.unwrap();
    let before = files(dir.path());
    let error = refused(&path).await;
    assert!(matches!(error, StoreError::Newer { found: 999, known } if known == migrate::KNOWN));
    let error = SqliteStore::open_reader(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }));
    assert_eq!(files(dir.path()), before);
}

#[tokio::test]
async fn a_newer_version_that_is_only_in_the_log_is_seen() {
    let (path, dir) = closed().await;
    let mut conn = raw(&path).await;
    sqlx::raw_sql("PRAGMA user_version = 999")
        .execute(&mut conn)
        .await
        .unwrap();
    // A copy of file and log while they are open is what a killed program leaves.
    let killed = tempfile::tempdir().unwrap();
    for name in ["belfry.db", "belfry.db-wal"] {
        std::fs::copy(dir.path().join(name), killed.path().join(name)).unwrap();
    }
    let before = data(killed.path());
    let error = refused(&killed.path().join("belfry.db")).await;
    assert!(
        matches!(error, StoreError::Newer { found: 999, .. }),
        "{error}"
    );
    assert_eq!(data(killed.path()), before);
}

#[tokio::test]
async fn a_damaged_file_is_left_alone() {
    let (path, dir) = closed().await;
    let whole = std::fs::read(&path).unwrap();
    let mut cases = vec![whole[..whole.len() - 4096].to_vec(), whole[..5000].to_vec()];
    // A page in the middle overwritten: found page by page.
    for page in [1, 2, 4] {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xa5);
        cases.push(damaged);
    }
    for damaged in cases {
        std::fs::write(&path, damaged).unwrap();
        let before = files(dir.path());
        let error = refused(&path).await;
        assert!(
            matches!(&error, StoreError::Unusable(why) if why.contains("is damaged")),
            "{error}"
        );
        assert_eq!(files(dir.path()), before);
    }
    std::fs::write(&path, whole).unwrap();
    assert!(SqliteStore::open(SqliteOptions::file(&path)).await.is_ok());
}

#[tokio::test]
async fn a_log_without_its_file_is_not_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("belfry.db");
    std::fs::write(check::beside(&path, "-wal"), b"precious").unwrap();
    let before = files(dir.path());
    assert!(
        matches!(refused(&path).await, StoreError::Unusable(why) if why.contains("write-ahead log"))
    );
    assert_eq!(files(dir.path()), before);
}

#[tokio::test]
async fn what_a_killed_server_had_committed_is_there() {
    let (store, dir) = open_file().await;
    store
        .commit(&events(&[(1, &[10]), (2, &[10])]))
        .await
        .unwrap();
    let killed = tempfile::tempdir().unwrap();
    for name in ["belfry.db", "belfry.db-wal"] {
        std::fs::copy(dir.path().join(name), killed.path().join(name)).unwrap();
    }
    let again = SqliteStore::open(SqliteOptions::file(killed.path().join("belfry.db")))
        .await
        .unwrap();
    assert_eq!(again.usage().await.unwrap().newest_event, Some(id(2)));
}

#[tokio::test]
async fn a_start_that_was_killed_early_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("belfry.db");
    // Empty file; then: marked as ours, without tables.
    std::fs::write(&path, b"").unwrap();
    let store = SqliteStore::open(SqliteOptions::file(&path)).await.unwrap();
    store.close().await;
    std::fs::remove_file(&path).unwrap();
    let mut conn = raw(&path).await;
    let mark = format!("PRAGMA application_id = {}", check::APPLICATION_ID);
    sqlx::raw_sql(sqlx::AssertSqlSafe(mark))
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::Connection::close(conn).await.unwrap();
    let store = SqliteStore::open(SqliteOptions::file(&path)).await.unwrap();
    assert_eq!(store.config_version().await.unwrap(), 0);
}

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_has_gone() {
    let (store, dir) = open_file().await;
    let path = dir.path().join("belfry.db");
    assert!(
        matches!(refused(&path).await, StoreError::Unusable(why) if why.contains("in use by another"))
    );
    store.commit(&events(&[(1, &[10])])).await.unwrap();
    store.close().await;
    let next = SqliteStore::open(SqliteOptions::file(&path)).await.unwrap();
    assert!(next.find_event(id(1)).await.unwrap().is_some());
    drop(next);
    assert!(SqliteStore::open(SqliteOptions::file(&path)).await.is_ok());
}

#[tokio::test]
async fn a_tool_can_read_beside_a_running_server_but_not_write() {
    let (store, dir) = open_file().await;
    store.commit(&events(&[(1, &[10])])).await.unwrap();
    let path = dir.path().join("belfry.db");
    let tool = SqliteStore::open_reader(&path).await.unwrap();
    assert!(tool.find_event(id(1)).await.unwrap().is_some());
    store.commit(&events(&[(2, &[10])])).await.unwrap();
    assert!(
        tool.stats()
            .await
            .unwrap()
            .contains(&("event".to_owned(), 2))
    );
    tool.backup(&dir.path().join("copy.db")).await.unwrap();
    assert!(matches!(
        tool.set_meta("a", "b").await,
        Err(StoreError::Unavailable(_))
    ));
    tool.close().await;
    store.commit(&events(&[(3, &[10])])).await.unwrap();
    assert!(matches!(
        SqliteStore::open_reader(dir.path().join("none.db")).await,
        Err(StoreError::Unusable(_))
    ));
}

#[tokio::test]
async fn a_backup_is_a_whole_database_and_overwrites_nothing() {
    let (store, dir) = open_file().await;
    store
        .commit(&events(&[(1, &[10]), (2, &[10])]))
        .await
        .unwrap();
    let copy = dir.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    let bytes = std::fs::read(&copy).unwrap();
    assert!(matches!(
        store.backup(&copy).await,
        Err(StoreError::Unusable(_))
    ));
    assert_eq!(std::fs::read(&copy).unwrap(), bytes);
    let nowhere = dir.path().join("none").join("copy.db");
    assert!(matches!(
        store.backup(&nowhere).await,
        Err(StoreError::Unusable(_))
    ));
    store.commit(&events(&[(3, &[10])])).await.unwrap();

    let restored = SqliteStore::open(SqliteOptions::file(&copy)).await.unwrap();
    assert_eq!(restored.usage().await.unwrap().newest_event, Some(id(2)));
    restored.commit(&events(&[(4, &[10])])).await.unwrap();
}

#[tokio::test]
async fn a_closed_store_refuses_politely() {
    let (store, _dir) = open_file().await;
    store.close().await;
    assert!(matches!(
        store.commit(&events(&[(1, &[])])).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        store.ping().await,
        Err(StoreError::Unavailable(_))
    ));
    store.close().await;
}

#[tokio::test]
async fn the_log_is_moved_into_the_file_beside_small_commits() {
    let (store, dir) = open_file().await;
    let file = dir.path().join("belfry.db");
    let before = file.metadata().unwrap().len();
    // Far fewer pages than those at which a commit would have to do it.
    for n in 1..=200 {
        store.commit(&events(&[(n, &[])])).await.unwrap();
    }
    while file.metadata().unwrap().len() == before {
        tokio::task::yield_now().await;
    }
}
