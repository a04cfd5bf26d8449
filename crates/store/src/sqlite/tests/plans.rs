//! How SQLite carries out the hot statements: by key, never by reading a table, never by sorting what a key has in
//! order already. A change of a plan must be looked at, not found by its users.

use belfry_model::delivery::DeliveryStatus;
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _};

use super::super::alarms::{self, AlarmRows};
use super::super::functions::{self, Invocations};
use super::super::list_deliveries::Deliveries;
use super::super::list_events::Events;
use super::super::list_log::LogEntries;
use super::super::walk::{Rows, Span};
use super::super::{
    Db, SqliteStore, dialect, event_log, find, maintenance, order, queue, replays, retention,
    sources,
};
use super::open_file;
use crate::conformance::fixtures::*;
use crate::sample::{Packer, Samples};
use crate::{
    AlarmQuery, DeliveryQuery, EndedAs, EventLog as _, EventQuery, InvocationQuery, LogQuery,
};

const SPAN: Span = Span {
    low: (0, 0),
    high: (i64::MAX, 0),
};

async fn plan(store: &SqliteStore, sql: &str) -> Vec<String> {
    let mut reader = store.reader().await.unwrap();
    let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::query(sql)
        .fetch_all(reader.conn().unwrap())
        .await
        .unwrap();
    rows.iter().map(|row| row.get::<String, _>(3)).collect()
}

/// Every step is a search by key, except over rows that came with the statement.
fn check(sql: &str, plan: &[String]) {
    for step in plan {
        let harmless = [
            "CONSTANT ROW",
            "VIRTUAL TABLE",
            "(subquery",
            "SCAN waiting",
            "SCAN v",
        ];
        let scan = step.starts_with("SCAN") && !harmless.iter().any(|word| step.contains(word));
        let sort = step.contains("TEMP B-TREE");
        let auto = step.contains("AUTOMATIC");
        assert!(!scan && !sort && !auto, "{sql}\n{plan:#?}");
    }
}

async fn uses(store: &SqliteStore, sql: &str, steps: &[&str]) {
    let plan = plan(store, sql).await;
    check(sql, &plan);
    for step in steps {
        assert!(
            plan.iter().any(|found| found.contains(step)),
            "no {step:?} in\n{sql}\n{plan:#?}"
        );
    }
}

async fn rows_use<R: Rows>(store: &SqliteStore, rows: &R, steps: &[&str]) {
    for sql in [rows.newest(SPAN, 50), rows.nth(SPAN, 9)] {
        uses(store, sql.sql().as_str(), &steps[..1]).await;
    }
    uses(store, rows.newest(SPAN, 50).sql().as_str(), steps).await;
}

/// Plans must not depend on what `ANALYZE` would find; a few rows make sure that nothing is special about no rows.
async fn store() -> (SqliteStore, tempfile::TempDir) {
    let (store, dir) = open_file().await;
    let mut batch = events(&[(1, &[10]), (2, &[10])]);
    batch.outcomes = vec![outcome(delivery(1, 10), DeliveryStatus::Dead)];
    batch.pending = vec![pending(delivery(2, 10), T0)];
    store.commit(&batch).await.unwrap();
    (store, dir)
}

#[tokio::test]
async fn events_are_walked_by_key() {
    let (store, _dir) = store().await;
    let by_key = ["SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"];
    rows_use(&store, &Events(&event_query()), &by_key).await;
    let filtered = EventQuery {
        bus: Some(BUS),
        kind: Some("k".to_owned()),
        source: Some("s".to_owned()),
        subject: Some("s".to_owned()),
        ce_id: Some("i".to_owned()),
        text: Some("t".to_owned()),
        matched: Some(true),
        ..event_query()
    };
    rows_use(&store, &Events(&filtered), &by_key).await;
}

fn deliveries(query: &DeliveryQuery, target: Option<i64>) -> Deliveries<'_> {
    Deliveries {
        query,
        target,
        among: None,
    }
}

#[tokio::test]
async fn deliveries_are_walked_by_the_smallest_index_that_has_them_in_order() {
    let (store, _dir) = store().await;
    let event = "SEARCH e USING INTEGER PRIMARY KEY";
    let pending = "SEARCH p USING COVERING INDEX pending_by_delivery (seq=? AND target_id=?)";
    let failed = vec![DeliveryStatus::Dead, DeliveryStatus::Expired];
    let texts = DeliveryQuery {
        kind: Some("k".to_owned()),
        text: Some("t".to_owned()),
        ..delivery_query()
    };
    for query in [delivery_query(), texts] {
        let any = "SEARCH d USING PRIMARY KEY";
        rows_use(&store, &deliveries(&query, None), &[any, event, pending]).await;
        let one = "INDEX delivery_by_target (target_id=? AND seq>? AND seq<?)";
        rows_use(&store, &deliveries(&query, Some(7)), &[one, event, pending]).await;
        let query = DeliveryQuery {
            statuses: failed.clone(),
            ..query
        };
        let any = "INDEX delivery_not_delivered ((seq,target_id)>(?,?) AND (seq,target_id)<(?,?))";
        rows_use(&store, &deliveries(&query, None), &[any, event, pending]).await;
        let one = "INDEX delivery_by_target_not_delivered (target_id=? AND seq>? AND seq<?)";
        rows_use(&store, &deliveries(&query, Some(7)), &[one, event, pending]).await;
    }
    let among = Deliveries {
        query: &delivery_query(),
        target: None,
        among: Some("(1,2,3)".to_owned()),
    };
    rows_use(
        &store,
        &among,
        &["SEARCH d USING PRIMARY KEY", event, pending],
    )
    .await;
}

#[tokio::test]
async fn log_entries_are_walked_by_key() {
    let (store, _dir) = store().await;
    let text = LogQuery {
        text: Some("t".to_owned()),
        ..log_query()
    };
    for query in [log_query(), text] {
        let rows = LogEntries {
            log: 1,
            query: &query,
        };
        rows_use(
            &store,
            &rows,
            &["SEARCH l USING PRIMARY KEY (log_id=? AND (seq,target_id)>(?,?)"],
        )
        .await;
    }
}

#[tokio::test]
async fn alarms_are_found_and_walked_by_key() {
    let (store, _dir) = store().await;
    let query = AlarmQuery {
        limit: 9,
        scan_max: 9,
        ..AlarmQuery::default()
    };
    let all = "SEARCH a USING INDEX alarm_by_last (last_seq>? AND last_seq<?)";
    let newest = AlarmRows(&query).newest(SPAN, 50);
    uses(&store, newest.sql().as_str(), &[all]).await;
    let nth = AlarmRows(&query).nth(SPAN, 9);
    let covering = "SEARCH a USING COVERING INDEX alarm_by_last (last_seq>? AND last_seq<?)";
    uses(&store, nth.sql().as_str(), &[covering]).await;
    let filtered = AlarmQuery {
        bus: Some(BUS),
        firing: Some(true),
        severity_min: 1,
        kind: Some("k".to_owned()),
        ..query
    };
    let firing = "INDEX alarm_firing (last_seq>? AND last_seq<?)";
    rows_use(&store, &AlarmRows(&filtered), &[firing]).await;
    let by_key = "USING INDEX alarm_by_key (bus_id=? AND alarm_key=?)";
    let told = "SEARCH t USING PRIMARY KEY (alarm_id=?";
    let one_alarm = [belfry_model::AlarmId(belfry_model::EventId::from_stored(1))];
    for (sql, step) in [
        (alarms::find_of_key(), by_key),
        (alarms::find_of_id(), "USING INTEGER PRIMARY KEY"),
        (alarms::find_told_of(), told),
        (alarms::list_told_of(&one_alarm), told),
        (dialect::ALARMS_OF.replace("{columns}", "a.id"), by_key),
        (alarms::FORGET.to_owned(), "alarm_by_last (last_seq<?)"),
        (alarms::FORGET_TOLD.to_owned(), "PRIMARY KEY (alarm_id=?)"),
    ] {
        // The index by key alone answers for `a.id`.
        let step = step.trim_start_matches("USING INDEX ");
        uses(&store, &sql, &[step]).await;
    }
}

#[tokio::test]
async fn invocations_are_walked_and_calls_found_by_key() {
    let (store, _dir) = store().await;
    let function = Some("ops/restart".parse().unwrap());
    let ended = Some(EndedAs::Failed);
    for (query, step) in [
        (InvocationQuery::default(), "invocation_1 (id>? AND id<?)"),
        (
            InvocationQuery {
                text: Some("x".to_owned()),
                ..InvocationQuery::default()
            },
            "invocation_1 (id>? AND id<?)",
        ),
        (
            InvocationQuery {
                function: function.clone(),
                ended: ended.clone(),
                ..InvocationQuery::default()
            },
            "invocation_of_function (function=? AND id>? AND id<?)",
        ),
        (
            InvocationQuery {
                delivery: Some(delivery(1, 7)),
                function,
                ..InvocationQuery::default()
            },
            "invocation_of_delivery (seq=? AND target_id=? AND id>? AND id<?)",
        ),
        (
            InvocationQuery {
                ended,
                ..InvocationQuery::default()
            },
            "invocation_failed (id>? AND id<?)",
        ),
        (
            InvocationQuery {
                ended: Some(EndedAs::Running),
                ..InvocationQuery::default()
            },
            "invocation_running (id>? AND id<?)",
        ),
    ] {
        rows_use(&store, &Invocations(&query), &[step]).await;
    }
    for (sql, step) in [
        (functions::find_of_id().as_str(), "invocation_1 (id=?)"),
        (functions::READ_CODE, "function_code_1 (sha256=?)"),
        (functions::PURGE, "invocation_1 (id<?)"),
        (functions::LOSE, "invocation_running (id<?)"),
        (functions::FREE_CALLS, "function_call_owned (owner=?)"),
        (dialect::DUE_CALLS, "function_call_by_due (due_at_ms<?)"),
    ] {
        uses(&store, sql, &[step]).await;
    }
}

#[tokio::test]
async fn single_things_are_found_by_key() {
    let (store, _dir) = store().await;
    let of_event = |target| -> QueryBuilder<Db> { find::of_event(id(1), target) };
    uses(
        &store,
        of_event(None).sql().as_str(),
        &["SEARCH d USING PRIMARY KEY (seq=?)"],
    )
    .await;
    let one = "SEARCH d USING PRIMARY KEY (seq=? AND target_id=?)";
    uses(&store, of_event(Some(1)).sql().as_str(), &[one]).await;
    for sql in [
        find::FIND_EVENT,
        find::FIND_QUEUED,
        find::LIST_ATTEMPTS,
        event_log::IDS_AFTER,
        event_log::FIND_STRICT,
        event_log::FIND_IDEMPOTENCY,
        maintenance::ENDS,
    ] {
        uses(&store, sql, &["SEARCH"]).await;
    }
    uses(&store, event_log::NEWEST, &["SEARCH event"]).await;
}

#[tokio::test]
async fn work_is_claimed_and_finished_by_key() {
    let (store, _dir) = store().await;
    let due = "SEARCH p USING PRIMARY KEY (target_id=? AND due_at_ms<?)";
    uses(
        &store,
        dialect::DUE,
        &[due, "SEARCH e USING INTEGER PRIMARY KEY"],
    )
    .await;
    let delivery = "SEARCH pending USING INDEX pending_by_delivery (seq=? AND target_id=?)";
    for sql in [dialect::LEASE, dialect::FORGET] {
        uses(
            &store,
            sql,
            &["INDEX pending_by_delivery (seq=? AND target_id=?)"],
        )
        .await;
    }
    uses(
        &store,
        dialect::NEXT_DUE,
        &["SEARCH p USING PRIMARY KEY (target_id=? AND due_at_ms<?)"],
    )
    .await;
    uses(
        &store,
        queue::TARGETS,
        &["SEARCH pending USING PRIMARY KEY (target_id>?)"],
    )
    .await;
    uses(
        &store,
        queue::BACKLOG,
        &["SEARCH pending USING PRIMARY KEY (target_id=?)"],
    )
    .await;
    uses(
        &store,
        dialect::QUEUE_AGAIN,
        &["SEARCH delivery USING PRIMARY KEY (seq=? AND target_id=?)"],
    )
    .await;
    let batch = crate::Batch {
        done: vec![crate::conformance::fixtures::delivery(1, 10)],
        ..crate::Batch::default()
    };
    let samples = Samples::default();
    let statements = super::super::batch::statements(&batch, &mut Packer::new(&samples));
    for statement in statements.unwrap().texts() {
        uses(&store, statement, &[delivery]).await;
    }
}

#[tokio::test]
async fn attempts_and_their_samples_are_found_by_key() {
    let (store, _dir) = store().await;
    let by_delivery = "USING PRIMARY KEY (seq=? AND target_id=?)";
    for (sql, step) in [
        (find::LIST_ATTEMPTS, by_delivery),
        (find::FIND_FIRST_TRY, by_delivery),
        (find::LIST_SAMPLES, "USING PRIMARY KEY (target_id=?)"),
    ] {
        uses(&store, sql, &[step]).await;
    }
}

#[tokio::test]
async fn order_is_kept_by_key() {
    let (store, _dir) = store().await;
    let first = "SEARCH q USING COVERING INDEX pending_by_order (target_id=? AND order_key=?";
    let row = "SEARCH p USING INDEX pending_by_delivery (seq=? AND target_id=?)";
    let blocked = "USING PRIMARY KEY (target_id=? AND due_at_ms=?";
    uses(&store, dialect::FIRST_OF_KEYS, &[first, row]).await;
    uses(&store, dialect::THESE, &[row]).await;
    let block = "SEARCH pending USING INDEX pending_by_delivery (seq=? AND target_id=?)";
    uses(&store, dialect::BLOCK, &[block]).await;
    uses(&store, queue::BLOCKED_COUNT, &[blocked]).await;
    uses(&store, order::PREDECESSOR, &[row, first]).await;
    uses(&store, order::BLOCKED, &[blocked, first]).await;
    let work = in_order(delivery(1, 10), T0, 7);
    let batch = |change: fn(&mut crate::Batch, crate::Pending)| {
        let mut batch = crate::Batch::default();
        change(&mut batch, work.clone());
        super::super::batch::statements(&batch, &mut Packer::new(&Samples::default())).unwrap()
    };
    let added = batch(|batch, work| batch.pending = vec![work]);
    let unclaimed = batch(|batch, work| batch.unclaimed = vec![(work.delivery, T0)]);
    let released = batch(|batch, work| {
        batch.release = vec![crate::Release {
            target: work.delivery.target,
            key: belfry_model::OrderKey(7),
            due_at_ms: T0,
        }];
    });
    let by_key = "SEARCH pending USING PRIMARY KEY (target_id=? AND due_at_ms=? AND seq=?)";
    for (statements, steps) in [
        (added, &[first][..]),
        (unclaimed, &[by_key]),
        (
            released,
            &[
                "INDEX pending_by_delivery (seq=? AND target_id=? AND due_at_ms=?)",
                first,
            ],
        ),
    ] {
        for statement in statements.texts() {
            uses(&store, statement, steps).await;
        }
    }
}

#[tokio::test]
async fn replays_read_and_move_by_key() {
    let (store, _dir) = store().await;
    let by_key = "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    for (sql, step) in [
        (replays::HISTORY_END, by_key),
        (replays::HISTORY, by_key),
        (
            replays::ARCHIVE,
            "SEARCH archived_event USING PRIMARY KEY (archive_id=? AND seq>? AND seq<?)",
        ),
        (replays::FIRST, "SEARCH event"),
        (replays::FIRST_ARCHIVED, "SEARCH archived_event"),
        (
            sources::LIST,
            "SEARCH unparsed USING INDEX unparsed_by_source (document_id=? AND id<?)",
        ),
        (replays::CLAIM, "SEARCH replay USING INTEGER PRIMARY KEY"),
        (replays::ADVANCE, "SEARCH replay USING INTEGER PRIMARY KEY"),
    ] {
        uses(&store, sql, &[step]).await;
    }
}

#[tokio::test]
async fn recovery_and_retention_go_by_key_ranges() {
    let (store, _dir) = store().await;
    let unfinished = [
        "SEARCH e USING INTEGER PRIMARY KEY (rowid>?)",
        "SEARCH d USING PRIMARY KEY (seq=? AND target_id=?)",
        "SEARCH p USING COVERING INDEX pending_by_delivery (seq=? AND target_id=?)",
    ];
    uses(&store, dialect::UNFINISHED, &unfinished).await;
    uses(
        &store,
        retention::CHUNK_END,
        &["SEARCH event USING INTEGER PRIMARY KEY"],
    )
    .await;
    for which in [retention::up_to(7), retention::these([7, 9])] {
        let by_key = "SEARCH e USING INTEGER PRIMARY KEY (rowid";
        uses(&store, &dialect::unfinished_of(&which), &[by_key]).await;
        for sql in retention::removals(&which) {
            uses(&store, &sql, &["SEARCH"]).await;
        }
        uses(&store, &retention::remove_pending(&which), &["SEARCH"]).await;
        let by_key = "SEARCH event USING INTEGER PRIMARY KEY";
        uses(&store, &retention::remove_events(&which), &[by_key]).await;
    }
    uses(
        &store,
        &retention::of_buses(&[BUS], true),
        &["SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"],
    )
    .await;
    for sql in [retention::OLDEST_COPIES, retention::REMOVE_COPIES] {
        let by_key = "SEARCH archived_event USING PRIMARY KEY (archive_id=? AND seq<?)";
        uses(&store, sql, &[by_key]).await;
    }
    let sizes = plan(&store, retention::ARCHIVE_SIZES).await;
    let ends = sizes
        .iter()
        .filter(|step| step.contains("SEARCH c USING PRIMARY KEY (archive_id=?)"));
    assert_eq!(ends.count(), 2, "{sizes:#?}");
    // Targets are as few as the configuration; their samples are found by key.
    let samples = plan(&store, retention::REMOVE_SAMPLES).await;
    assert!(
        samples
            .iter()
            .any(|step| step.contains("SEARCH record_sample USING PRIMARY KEY (target_id=?)")),
        "{samples:#?}"
    );
    uses(
        &store,
        retention::REMOVE_LOG_ENTRIES,
        &["SEARCH log_entry USING PRIMARY KEY"],
    )
    .await;
    uses(
        &store,
        retention::REMOVE_IDEMPOTENCY,
        &["idempotency_by_time (at_ms<?)"],
    )
    .await;
}
