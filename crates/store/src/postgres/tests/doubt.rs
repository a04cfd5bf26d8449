//! A commit that was given up: what is said of it stays true.

use std::time::Duration;

use belfry_model::EventId;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Postgres, Transaction};

use super::super::{PostgresOptions, PostgresStore, open};
use crate::conformance::fixtures::*;
use crate::{EventLog as _, History as _, Membership, NodeIdentity, Nodes as _, StoreError};

/// A database with a node, and a connection beside its own.
async fn joined() -> (PostgresStore, PostgresOptions, Membership, PgConnection) {
    let (store, options) = super::open().await;
    let who = NodeIdentity {
        name: "a".to_owned(),
        version: "1".to_owned(),
        lease_ms: 60_000,
    };
    let member = store.join(&who, T0).await.unwrap().member;
    let connect = open::connect_options(&options).unwrap();
    let other = connect.connect().await.unwrap();
    (store, options, member, other)
}

/// Keeps every commit of a node waiting until this is rolled back.
async fn hold_node(conn: &mut PgConnection) -> Transaction<'_, Postgres> {
    let mut holds = conn.begin().await.unwrap();
    sqlx::query("SELECT epoch FROM node FOR UPDATE")
        .execute(&mut *holds)
        .await
        .unwrap();
    holds
}

/// The server ends a statement that takes too long; then it has not happened, and there is no doubt about it.
#[tokio::test]
async fn a_commit_that_the_server_ends_has_not_happened() {
    let (store, options, member, mut other) = joined().await;
    let limited = PostgresStore::open(PostgresOptions {
        statement_timeout: Duration::from_millis(300),
        ..options.clone()
    })
    .await
    .unwrap();
    let holds = hold_node(&mut other).await;
    let mut batch = events(&[(1, &[])]);
    batch.by = Some(member);
    let refused = limited.commit(&batch).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    holds.rollback().await.unwrap();
    assert!(store.find_event(id(1)).await.unwrap().is_none());
    limited.commit(&batch).await.unwrap();
    assert!(store.find_event(id(1)).await.unwrap().is_some());
}

/// The commit waits for the node's row, which somebody else holds, and is given up. Once it was said not to have
/// happened, letting the row go must not make it happen.
#[tokio::test]
async fn a_commit_that_was_said_not_to_have_happened_does_not_happen_later() {
    let (store, options, member, mut other) = joined().await;
    let impatient = PostgresStore::open(PostgresOptions {
        commit_timeout: Duration::from_millis(300),
        ..options.clone()
    })
    .await
    .unwrap();
    let holds = hold_node(&mut other).await;
    let mut batch = events(&[(1, &[])]);
    batch.by = Some(member);
    let refused = impatient.commit(&batch).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    let below = EventId::from_stored(id(1).get() - 1);
    let found = impatient.event_ids_after(below, 1).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
    holds.rollback().await.unwrap();
    // The row is free: a commit that were still waiting would have it before this one.
    let mut next = events(&[(2, &[])]);
    next.by = Some(member);
    impatient.commit(&next).await.unwrap();
    assert!(store.find_event(id(1)).await.unwrap().is_none());
    assert!(store.find_event(id(2)).await.unwrap().is_some());
}
