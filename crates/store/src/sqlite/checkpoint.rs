//! Moving the write-ahead log into the file beside the commits, on a reading connection.
//!
//! SQLite does it within a commit when the log has grown to `checkpoint_pages`: that commit, and all who wait for it, take
//! as long as the writing and flushing of thousands of pages. Begun earlier and beside them, most of it is done by then; and
//! where commits leave a gap, the log starts anew and none of them ever has to. What it cannot do beside a busy writer,
//! the commit still does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::SqliteStore;
use crate::Batch;

/// It begins when about so many pages were logged since it last did.
const PAGES: usize = 1000;
/// The pages that every commit touches: the end of each table and index, the node, the counters.
const PAGES_OF_A_COMMIT: usize = 6;
/// Rows that share a page.
const ROWS_OF_A_PAGE: usize = 3;

/// Where it stands.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Logged since it last began, estimated.
    pages: AtomicUsize,
    /// One at a time.
    runs: Arc<AtomicBool>,
}

impl SqliteStore {
    /// After a commit: begins when it is time. A database in memory has no log.
    pub(super) fn checkpoint_beside(&self, batch: &Batch) {
        let Some(readers) = &self.readers else { return };
        let rows = batch.events.len() + batch.outcomes.len() + batch.pending.len();
        let pages = PAGES_OF_A_COMMIT + rows / ROWS_OF_A_PAGE;
        let logged = self.checkpoints.pages.fetch_add(pages, Ordering::Relaxed) + pages;
        if logged < PAGES || self.checkpoints.runs.swap(true, Ordering::Acquire) {
            return;
        }
        self.checkpoints.pages.store(0, Ordering::Relaxed);
        let (readers, runs) = (readers.clone(), Arc::clone(&self.checkpoints.runs));
        tokio::spawn(async move {
            let done = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&readers);
            if let Err(error) = done.await {
                tracing::debug!(%error, "the log was not moved beside the commits");
            }
            runs.store(false, Ordering::Release);
        });
    }
}
