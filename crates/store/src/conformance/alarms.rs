//! Alarms: their lives go with the commits of their events; what was told of them is replaced; lists are complete.

use belfry_model::{AlarmId, EventId, TargetId};

use super::fixtures::*;
use crate::{AlarmQuery, AlarmSign, Batch, Store, StoreError, Told};

fn sign(step: i64, key: &str, firing: bool) -> AlarmSign {
    AlarmSign {
        event: id(step),
        bus: BUS,
        key: key.to_owned(),
        firing,
        severity: 2,
        source: "cvm.cloud.tencent".to_owned(),
        kind: "cvm:ErrorEvent:PingUnreachable".to_owned(),
        subject: Some("ins-1".to_owned()),
        title: Some("ping \u{4e0d}\u{53ef}\u{8fbe} \"x\"".to_owned()),
    }
}

fn signs(list: Vec<AlarmSign>) -> Batch {
    let steps: Vec<(i64, &[i32])> = Vec::new();
    let mut batch = events(&steps);
    batch.events = list
        .iter()
        .map(|sign| crate::NewEvent {
            id: sign.event,
            ..new_event(1, &[7])
        })
        .collect();
    batch.signs = list;
    batch
}

fn told(alarm: EventId, target: i32, last: i64) -> Told {
    Told {
        alarm: AlarmId(alarm),
        target: TargetId(target),
        since: alarm,
        last: id(last),
        firing: true,
        severity: 3,
        count: 2,
        first_at_ms: T0,
        last_at_ms: T0 + last,
        thread: Some("<a@b>".to_owned()),
    }
}

pub(crate) async fn the_life_of_an_alarm_goes_with_the_commits_of_its_events(store: &dyn Store) {
    let first = vec![sign(1, "a", true), sign(2, "b", true), sign(3, "a", true)];
    store.commit(&signs(first)).await.unwrap();
    let (a, none) = store
        .find_told(BUS, "a", TargetId(7))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(none, None);
    assert_eq!((a.id, a.first, a.last), (AlarmId(id(1)), id(1), id(3)));
    assert_eq!((a.firing, a.fired, a.recovered), (true, 2, None));
    assert_eq!(a.title, sign(1, "a", true).title);
    // It ends and fires anew within one commit.
    let next = vec![sign(4, "a", false), sign(5, "a", true), sign(6, "c", false)];
    store.commit(&signs(next)).await.unwrap();
    let a = store.find_alarm(a.id).await.unwrap().unwrap();
    assert_eq!((a.first, a.fired, a.recovered), (id(5), 1, Some(id(4))));
    let (c, _) = store
        .find_told(BUS, "c", TargetId(7))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((c.firing, c.fired, c.recovered), (false, 0, Some(id(6))));
    assert!(
        store
            .find_told(BUS, "d", TargetId(7))
            .await
            .unwrap()
            .is_none()
    );
}

pub(crate) async fn a_commit_that_fails_leaves_no_sign_of_an_alarm(store: &dyn Store) {
    let mut batch = signs(vec![sign(1, "a", true)]);
    batch.idempotency = vec![idempotency(1, T0)];
    store.commit(&batch).await.unwrap();
    let mut again = signs(vec![sign(2, "a", true), sign(3, "b", true)]);
    again.idempotency = vec![idempotency(1, T0)];
    let refused = store.commit(&again).await;
    assert!(matches!(refused, Err(StoreError::IdempotencyConflict)));
    let a = store.find_alarm(AlarmId(id(1))).await.unwrap().unwrap();
    assert_eq!(a.fired, 1);
    assert!(store.find_alarm(AlarmId(id(3))).await.unwrap().is_none());
}

pub(crate) async fn what_was_told_of_an_alarm_is_replaced(store: &dyn Store) {
    store
        .commit(&signs(vec![sign(1, "a", true)]))
        .await
        .unwrap();
    let first = Batch {
        told: vec![told(id(1), 7, 1), told(id(1), 8, 1), told(id(1), 7, 2)],
        ..Batch::default()
    };
    store.commit(&first).await.unwrap();
    let (_, known) = store
        .find_told(BUS, "a", TargetId(7))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(known, Some(told(id(1), 7, 2)));
    let of = [AlarmId(id(1)), AlarmId(id(2))];
    let all = store.list_told(&of).await.unwrap();
    assert_eq!(all, [told(id(1), 7, 2), told(id(1), 8, 1)]);
    assert!(store.list_told(&[]).await.unwrap().is_empty());
}

pub(crate) async fn alarms_are_listed_by_their_newest_event_and_old_ones_go(store: &dyn Store) {
    let list = (1..=9).map(|step| sign(step, &format!("k{step}"), true));
    store.commit(&signs(list.collect())).await.unwrap();
    let list = vec![sign(20, "k2", true), sign(21, "k3", false)];
    store.commit(&signs(list)).await.unwrap();
    let query = AlarmQuery {
        limit: 4,
        scan_max: 1000,
        ..AlarmQuery::default()
    };
    let pages = |mut query: AlarmQuery| async move {
        let mut keys = Vec::new();
        loop {
            let page = store.list_alarms(&query).await.unwrap();
            keys.extend(page.items.into_iter().map(|alarm| alarm.key));
            let Some(next) = page.next else { return keys };
            query.before = Some(next);
        }
    };
    let all = ["k3", "k2", "k9", "k8", "k7", "k6", "k5", "k4", "k1"];
    assert_eq!(pages(query.clone()).await, all);
    let open = AlarmQuery {
        firing: Some(true),
        ..query.clone()
    };
    assert_eq!(pages(open).await, all[1..]);
    let filtered = AlarmQuery {
        firing: Some(false),
        bus: Some(BUS),
        severity_min: 2,
        kind: Some(sign(1, "", true).kind),
        source: Some(sign(1, "", true).source),
        subject: sign(1, "", true).subject,
        scan_max: 2,
        ..query.clone()
    };
    assert_eq!(pages(filtered).await, ["k3"]);
    let worse = AlarmQuery {
        severity_min: 3,
        ..query.clone()
    };
    assert!(pages(worse).await.is_empty());
    let batch = Batch {
        told: vec![told(id(1), 7, 1), told(id(9), 7, 1)],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    assert_eq!(store.purge_alarms(id(9), 2).await.unwrap(), 2);
    assert_eq!(store.purge_alarms(id(9), 100).await.unwrap(), 4);
    assert_eq!(pages(query).await, ["k3", "k2", "k9"]);
    assert!(store.list_told(&[AlarmId(id(1))]).await.unwrap().is_empty());
    assert_eq!(store.list_told(&[AlarmId(id(9))]).await.unwrap().len(), 1);
}
