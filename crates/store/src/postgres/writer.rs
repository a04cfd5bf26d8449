//! Writing transactions.

use std::collections::HashSet;

use belfry_model::NodeId;
use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use tokio::task::JoinError;

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
        let transaction = tokio::spawn(transaction);
        let end = transaction.abort_handle();
        // The server ends each statement by itself: later than this nothing is heard of it any more.
        let limit = self.options.statement_timeout * 2 + self.options.connect_timeout;
        match tokio::time::timeout(limit, transaction).await {
            Err(_elapsed) => {
                end.abort();
                Err(unavailable("the database did not answer in time"))
            }
            Ok(result) => ended(result),
        }
    }

    /// Gives up what the committer waits for when the server is silent: it has more to do than to wait.
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        tokio::time::timeout(self.options.commit_timeout, work)
            .await
            .unwrap_or_else(|_| Err(unavailable("the database did not answer in time")))
    }

    #[expect(clippy::unused_self, reason = "the shared files ask every database")]
    /// All that can hold a node's number, where it is known: other machines may.
    pub(super) fn holders(&self) -> Option<HashSet<NodeId>> {
        None
    }

    #[expect(clippy::unused_self, reason = "the shared files tell every database")]
    pub(super) fn add_holder(&self, _node: NodeId) {}
}

fn ended<T>(result: std::result::Result<Result<T>, JoinError>) -> Result<T> {
    match result {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(unavailable("the server is shutting down")),
        Err(error) => Err(StoreError::Internal(format!(
            "a transaction ended early: {error}"
        ))),
    }
}
