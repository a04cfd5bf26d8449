//! Who can hold a node's number: the lock file proves that no other process does, so a start never has to wait for a
//! lease to end. Several engines on one store behave like several servers on one database; tests use that.

use std::collections::HashSet;
use std::sync::PoisonError;

use belfry_model::NodeId;

use super::SqliteStore;

impl SqliteStore {
    /// All that can hold a number: those that have joined through this store.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "where several machines use the database, nobody knows"
    )]
    pub(super) fn holders(&self) -> Option<HashSet<NodeId>> {
        let joined = self.joined.lock();
        Some(joined.unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Whoever changes the configuration is in this process and says so itself.
    pub(super) async fn told(&self) {
        std::future::pending::<()>().await;
    }

    pub(super) fn add_holder(&self, node: NodeId) {
        let joined = self.joined.lock();
        joined.unwrap_or_else(PoisonError::into_inner).insert(node);
    }
}
