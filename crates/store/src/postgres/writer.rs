//! Writing transactions.

use std::collections::HashSet;

use belfry_model::NodeId;
use futures_util::future::BoxFuture;
use sqlx::Connection as _;

use super::{Conn, PostgresStore};
use crate::error::unavailable;
use crate::{Result, StoreError};

impl PostgresStore {
    /// Runs `work` in a writing transaction of its own. A caller that goes away while it waits for a connection leaves
    /// nothing behind; from then on the transaction runs to its end in a task of its own.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T>> + Send + 'static,
    {
        let mut conn = self.writers.acquire().await?;
        let transaction = async move {
            let mut tx = conn.begin().await?;
            let value = work(&mut tx).await?;
            tx.commit().await?;
            Ok(value)
        };
        match tokio::spawn(transaction).await {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Err(unavailable("the server is shutting down")),
            Err(error) => Err(StoreError::Internal(format!(
                "a transaction ended early: {error}"
            ))),
        }
    }

    #[expect(clippy::unused_self, reason = "the shared files ask every database")]
    /// All that can hold a node's number, where it is known: other machines may.
    pub(super) fn holders(&self) -> Option<HashSet<NodeId>> {
        None
    }

    #[expect(clippy::unused_self, reason = "the shared files tell every database")]
    pub(super) fn add_holder(&self, _node: NodeId) {}
}
