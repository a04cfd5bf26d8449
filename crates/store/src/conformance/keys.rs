//! Keys, audit, logs, small values.

use belfry_model::access::Scope;

use super::fixtures::*;
use crate::{ApiKey, Expect, Store, StoreError};

fn key(id: &str) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        name: "ci".to_owned(),
        hash: [8; 32],
        scopes: vec![
            Scope::EventsWrite(Some("orders".parse().unwrap())),
            Scope::HistoryRead,
        ],
        created_at_ms: T0,
        expires_at_ms: Some(T0 + 9),
        revoked_at_ms: None,
        requests_per_second: Some(50),
    }
}

pub(crate) async fn a_key_is_written_and_changed(store: &dyn Store) {
    let version = store.config_version().await.unwrap();
    store
        .put_key(&key("key_a"), &[audit("keys/key_a", T0)], None)
        .await
        .unwrap();
    assert_eq!(store.list_keys().await.unwrap(), [key("key_a")]);
    let revoked = ApiKey {
        revoked_at_ms: Some(T0 + 1),
        scopes: vec![Scope::Admin],
        ..key("key_a")
    };
    store.put_key(&revoked, &[], None).await.unwrap();
    store.put_key(&key("key_b"), &[], None).await.unwrap();
    assert_eq!(store.list_keys().await.unwrap(), [revoked, key("key_b")]);
    assert_eq!(store.config_version().await.unwrap(), version + 3);
    assert_eq!(store.list_audit(None, "keys/", 10).await.unwrap().len(), 1);
}

pub(crate) async fn audit_is_listed_by_prefix_newest_first(store: &dyn Store) {
    let entries: Vec<_> = (0..10)
        .map(|n| audit(if n % 2 == 0 { "buses/a_b" } else { "buses/axb" }, T0 + n))
        .collect();
    store.add_audit(&entries).await.unwrap();
    let all = store.list_audit(None, "", 100).await.unwrap();
    assert_eq!(
        all.iter()
            .map(|record| record.entry.at_ms - T0)
            .collect::<Vec<_>>(),
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    );
    assert_eq!(all[0].entry, entries[9]);
    // The prefix is text, not a pattern.
    let some = store.list_audit(None, "buses/a_", 3).await.unwrap();
    assert_eq!(
        some.iter()
            .map(|record| record.entry.at_ms - T0)
            .collect::<Vec<_>>(),
        [8, 6, 4]
    );
    let rest = store
        .list_audit(Some(some[2].number), "buses/a_", 3)
        .await
        .unwrap();
    assert_eq!(
        rest.iter()
            .map(|record| record.entry.at_ms - T0)
            .collect::<Vec<_>>(),
        [2, 0]
    );
}

pub(crate) async fn logs_are_made_and_changed(store: &dyn Store) {
    let name = "ops".parse().unwrap();
    assert!(store.list_logs().await.unwrap().is_empty());
    store
        .put_log(&name, 7, &[audit("logs/ops", T0)])
        .await
        .unwrap();
    store.put_log(&name, 9, &[]).await.unwrap();
    let logs = store.list_logs().await.unwrap();
    assert_eq!(
        (logs.len(), logs[0].retention_days, logs[0].newest),
        (1, 9, None)
    );
    assert!(
        store
            .list_log_entries(&name, &log_query())
            .await
            .unwrap()
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(
        store.list_audit(None, "logs/ops", 10).await.unwrap().len(),
        1
    );
}

pub(crate) async fn small_values_are_kept_as_they_were_set_first(store: &dyn Store) {
    assert_eq!(store.get_meta("instance").await.unwrap(), None);
    store.set_meta("instance", "a").await.unwrap();
    store.set_meta("instance", "b").await.unwrap();
    assert_eq!(
        store.get_meta("instance").await.unwrap().as_deref(),
        Some("a")
    );
}

pub(crate) async fn an_idempotent_change_is_refused_the_second_time(store: &dyn Store) {
    let record = idempotency(1, T0);
    let change = [put_bus("b", Expect::Absent)];
    store.apply(&change, &[], Some(&record), T0).await.unwrap();
    // The repeat is told apart from a conflict.
    let again = store.apply(&change, &[], Some(&record), T0).await;
    assert!(matches!(again, Err(StoreError::IdempotencyConflict)));
    let again = store.put_key(&key("key_a"), &[], Some(&record)).await;
    assert!(matches!(again, Err(StoreError::IdempotencyConflict)));
    assert!(store.list_keys().await.unwrap().is_empty());
    assert_eq!(
        store.find_idempotency(&[1; 32]).await.unwrap(),
        Some(record)
    );
}

pub(crate) async fn sizes_and_counts_are_told(store: &dyn Store) {
    store.ping().await.unwrap();
    let empty = store.usage().await.unwrap();
    assert_eq!((empty.oldest_event, empty.newest_event), (None, None));
    store
        .commit(&events(&[(1, &[]), (2, &[]), (3, &[])]))
        .await
        .unwrap();
    let usage = store.usage().await.unwrap();
    assert_eq!(
        (usage.oldest_event, usage.newest_event),
        (Some(id(1)), Some(id(3)))
    );
    assert!(usage.used_bytes > 0 && usage.file_bytes > 0);
    let stats = store.stats().await.unwrap();
    assert!(stats.contains(&("event".to_owned(), 3)), "{stats:?}");
}
