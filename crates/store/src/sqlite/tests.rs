//! The suite that every store passes, on a file and in memory, and what is special to the file.

mod faults;
mod files;
mod measure;
mod plans;

use tempfile::TempDir;

use super::{SqliteOptions, SqliteStore};

/// A store in a file of its own.
pub(super) async fn open_file() -> (SqliteStore, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(SqliteOptions::file(dir.path().join("belfry.db")))
        .await
        .unwrap();
    (store, dir)
}

async fn open_memory() -> (SqliteStore, ()) {
    (
        SqliteStore::open(SqliteOptions::memory()).await.unwrap(),
        (),
    )
}

mod on_a_file {
    crate::conformance::conformance_suite!(crate::sqlite::tests::open_file);
}

mod in_memory {
    crate::conformance::conformance_suite!(crate::sqlite::tests::open_memory);
}
