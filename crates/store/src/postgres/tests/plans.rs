//! How Postgres carries out the statements of the hot path and of the history, on tables with enough rows that it has a
//! choice: by key and in the key's order, never by reading or sorting a table, and only in the partitions of the days
//! asked for. `sqlite/tests/plans.rs` says the same of SQLite.

use std::collections::BTreeSet;

use belfry_model::delivery::DeliveryStatus;
use belfry_model::{OrderKey, TargetId};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Execute as _, QueryBuilder, Row as _};

use super::super::alarms::{self, AlarmRows};
use super::super::functions::Invocations;
use super::super::list_deliveries::Deliveries;
use super::super::list_events::Events;
use super::super::list_log::LogEntries;
use super::super::walk::{Rows, Span};
use super::super::{
    Db, batch, dialect, event_log, find, order, partitions, queue, replays, retention, sources,
};
use crate::conformance::fixtures::*;
use crate::{
    AlarmQuery, Batch, DeliveryQuery, EndedAs, EventQuery, InvocationQuery, LogQuery, Release,
};

/// Events, evenly over so many days.
const EVENTS: i64 = 20_000;
const DAYS: i64 = 3;
const DAY_MS: i64 = 86_400_000;

/// The key of the event so far into the history, from 0 to 1,000.
fn at(per_mille: i64) -> i64 {
    id(DAYS * DAY_MS / 1000 * per_mille).get()
}

/// A value of a statement.
enum Value {
    Number(i64),
    Text(&'static str),
}
use Value::{Number, Text};

fn args(values: &[Value]) -> PgArguments {
    let mut args = PgArguments::default();
    for value in values {
        match value {
            Number(number) => args.add(*number).unwrap(),
            Text(text) => args.add(*text).unwrap(),
        }
    }
    args
}

/// A connection to a filled database, set as those that read are. Sequential scans count as very expensive: some tables
/// are small here.
struct Planner(PoolConnection<Db>);

impl Planner {
    async fn start() -> Self {
        let (store, _options) = super::open().await;
        let mut conn = store.writers.acquire().await.unwrap();
        let days = (0..=DAYS).map(|day| partitions::day_of(T0) + day);
        partitions::make(&mut conn, days).await.unwrap();
        let (first, step) = (at(0), (at(1000) - at(0)) / EVENTS);
        let fill = format!(
            "INSERT INTO event (seq, bus_id, ce_id, source, type, subject, fan, doc) \
             SELECT {first} + g * {step}, 1 + g % 3, 'ce-' || g, '/s/' || g % 50, 't' || g % 20, 's' || g % 100, '[1]', 'x' \
             FROM generate_series(0, {EVENTS} - 1) g; \
             INSERT INTO delivery (seq, target_id, status, attempts, duration_ms, at_ms) \
             SELECT {first} + g * {step}, 1 + g % 40, CASE WHEN g % 100 = 0 THEN 3 ELSE 1 END, 1, 5, 0 \
             FROM generate_series(0, {EVENTS} - 1) g; \
             INSERT INTO attempt (seq, target_id, number, set_off_by, started_at_ms, duration_ms) \
             SELECT {first} + g * {step}, 1 + g % 40, 1, 0, 0, 5 FROM generate_series(0, {EVENTS} - 1) g; \
             INSERT INTO pending (target_id, due_at_ms, seq, attempts, attempts_before, since_ms, set_off_by, order_key) \
             SELECT 1 + g % 40, CASE WHEN g % 40 = 6 AND g > 400 THEN 253402300799000 ELSE {T0} + g END, \
             {first} + g * {step}, 1, 0, 0, 0, CASE WHEN g % 40 = 6 THEN g % 10 END FROM generate_series(0, {EVENTS} - 1) g; \
             INSERT INTO record_sample (target_id, id, text) SELECT 1 + g % 40, g, 'x' FROM generate_series(0, 639) g; \
             INSERT INTO strict_key (bus_id, key, seq) SELECT 1, decode(md5(g::text), 'hex'), {first} + g * {step} \
             FROM generate_series(0, {EVENTS} - 1) g; \
             INSERT INTO idempotency (scope, fingerprint, at_ms, answer) SELECT decode(md5(g::text), 'hex'), 'x', {T0} + g, 'x' \
             FROM generate_series(0, {EVENTS} - 1) g; \
             INSERT INTO log (name, retention_days) VALUES ('ops', 30), ('more', 30); \
             INSERT INTO alarm (id, bus_id, alarm_key, firing, severity, source, type, first_seq, last_seq, fired) \
             SELECT {first} + g * {step}, 1, 'key-' || g, CASE WHEN g % 9 = 0 THEN 1 ELSE 0 END, g % 4, 'x', 'x', {first} + g, \
             {first} + g * {step}, 1 FROM generate_series(0, {EVENTS} - 1) g; \
             INSERT INTO told (alarm_id, target_id, since_seq, last_seq, firing, severity, count, first_at_ms, last_at_ms) \
             SELECT {first} + g * {step}, 1, 1, 1, 1, 1, 1, 1, 1 FROM generate_series(0, {EVENTS} - 1) g; \
             INSERT INTO invocation (id, function, seq, target_id, started_at_ms, duration_us, outcome, node_id, record, log) \
             SELECT decode(lpad(to_hex(g), 32, '0'), 'hex'), 'ops/f' || g % 50, CASE WHEN g % 3 = 0 THEN {first} + g * {step} END, \
             CASE WHEN g % 3 = 0 THEN 1 END, g, 1, CASE WHEN g % 100 = 0 THEN 'threw' WHEN g % 999 > 0 THEN 'succeeded' END, 1, \
             'x', 'x' FROM generate_series(0, {EVENTS} - 1) g; \
             INSERT INTO log_entry (log_id, seq, target_id, ce_id, source, type, text) \
             SELECT 1 + g % 2, {first} + g * {step}, 1, 'x', 'x', 'x', 'x' FROM generate_series(0, {EVENTS} - 1) g; \
             ANALYZE"
        );
        sqlx::raw_sql(AssertSqlSafe(fill))
            .execute(&mut *conn)
            .await
            .unwrap();
        let mut conn = store.readers.acquire().await.unwrap();
        sqlx::raw_sql("SET enable_seqscan = off")
            .execute(&mut *conn)
            .await
            .unwrap();
        Self(conn)
    }

    async fn plan(&mut self, sql: &str, args: PgArguments) -> Vec<String> {
        let sql = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {sql}"));
        let rows = sqlx::query_with(sql, args).persistent(false);
        let rows = rows.fetch_all(&mut *self.0).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>(0)).collect()
    }

    /// Checks a plan, and that steps of it hold these words; the day in a partition's name is left out of them.
    async fn uses(&mut self, sql: &str, args: PgArguments, steps: &[&str]) -> Vec<String> {
        let plan = self.plan(sql, args).await;
        for step in &plan {
            let by_itself = step.trim_start().trim_start_matches("->").trim_start();
            let reads_all = by_itself.starts_with("Seq Scan");
            let sorts = by_itself.starts_with("Sort") || by_itself.starts_with("Incremental Sort");
            assert!(!reads_all && !sorts, "{sql}\n{plan:#?}");
        }
        let without_days: Vec<String> = plan.iter().map(|step| without_day(step)).collect();
        for step in steps {
            assert!(
                without_days.iter().any(|found| found.contains(step)),
                "no {step:?} in\n{sql}\n{plan:#?}"
            );
        }
        plan
    }

    async fn built(&mut self, mut sql: QueryBuilder<Db>, steps: &[&str]) -> Vec<String> {
        let text = sql.sql().as_str().to_owned();
        let args = sql.build().take_arguments().unwrap().unwrap_or_default();
        self.uses(&text, args, steps).await
    }

    /// Both statements of a walk over everything, of which `steps` says what must be used, the walk itself first; and one
    /// within a day, where no other day of the table may be looked at.
    async fn walks<R: Rows>(&mut self, rows: &R, steps: &[&str]) {
        let span = |low, high| Span {
            low: (at(low), 0),
            high: (at(high), 0),
        };
        self.built(rows.newest(span(0, 1000), 50), steps).await;
        self.built(rows.nth(span(0, 1000), 9), &steps[..1]).await;
        let plan = self.built(rows.newest(span(400, 410), 50), &[]).await;
        let (_, table) = steps[0].split_once(" on ").unwrap();
        let walked = plan
            .iter()
            .filter(|step| step.contains(&format!(" on {table}_d")));
        let days: BTreeSet<_> = walked.filter_map(|step| day_in(step)).collect();
        assert!(days.len() <= 1, "{plan:#?}");
    }
}

/// The day of the partition that the table of a step has in its name.
fn day_in(step: &str) -> Option<&str> {
    let name = step.split_once(" on ")?.1.split(' ').next()?;
    let (_, day) = name.rsplit_once("_d")?;
    day.bytes().all(|byte| byte.is_ascii_digit()).then_some(day)
}

/// `event_d20413_pkey` as `event_pkey`.
fn without_day(step: &str) -> String {
    let mut parts = step.split("_d2");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    plain
}

fn of(query: &DeliveryQuery, target: Option<i64>) -> Deliveries<'_> {
    Deliveries {
        query,
        target,
        among: None,
    }
}

#[tokio::test]
async fn the_history_is_walked_by_key_within_its_days() {
    let mut planner = Planner::start().await;
    let filtered = EventQuery {
        bus: Some(BUS),
        kind: Some("t1".to_owned()),
        source: Some("/s/1".to_owned()),
        subject: Some("s1".to_owned()),
        ce_id: Some("ce-1".to_owned()),
        text: Some("t".to_owned()),
        matched: Some(true),
        ..event_query()
    };
    let event = "using event_pkey on event";
    for query in [event_query(), filtered] {
        planner.walks(&Events(&query), &[event]).await;
    }

    let pending = "using pending_pkey on pending";
    let texts = DeliveryQuery {
        kind: Some("t1".to_owned()),
        source: Some("/s/1".to_owned()),
        subject: Some("s1".to_owned()),
        text: Some("t".to_owned()),
        ..delivery_query()
    };
    for query in [delivery_query(), texts] {
        let any = "using delivery_pkey on delivery";
        planner
            .walks(&of(&query, None), &[any, event, pending])
            .await;
        let one = "using delivery_target_id_seq_idx on delivery";
        planner
            .walks(&of(&query, Some(7)), &[one, event, pending])
            .await;
        let query = DeliveryQuery {
            statuses: vec![DeliveryStatus::Dead, DeliveryStatus::Expired],
            ..query
        };
        let any = "using delivery_seq_target_id_idx on delivery";
        planner
            .walks(&of(&query, None), &[any, event, pending])
            .await;
        let one = "using delivery_target_id_seq_idx1 on delivery";
        planner
            .walks(&of(&query, Some(1)), &[one, event, pending])
            .await;
    }
    let query = delivery_query();
    let among = Deliveries {
        query: &query,
        target: None,
        among: Some("(1,2,3)".to_owned()),
    };
    planner
        .walks(&among, &["using delivery_pkey on delivery", event, pending])
        .await;

    let text = LogQuery {
        text: Some("t".to_owned()),
        ..log_query()
    };
    for query in [log_query(), text] {
        let rows = LogEntries {
            log: 1,
            query: &query,
        };
        planner
            .walks(&rows, &["using log_entry_pkey on log_entry"])
            .await;
    }
}

#[tokio::test]
async fn alarms_are_found_and_walked_by_key() {
    let mut planner = Planner::start().await;
    let query = AlarmQuery::default();
    let span = Span {
        low: (0, 0),
        high: (i64::MAX, 0),
    };
    let all = "using alarm_by_last on alarm";
    planner
        .built(AlarmRows(&query).newest(span, 50), &[all])
        .await;
    planner.built(AlarmRows(&query).nth(span, 9), &[all]).await;
    let firing = AlarmQuery {
        firing: Some(true),
        severity_min: 1,
        ..query
    };
    planner
        .built(
            AlarmRows(&firing).newest(span, 50),
            &["using alarm_firing on alarm"],
        )
        .await;
    let seq = || Number(at(500));
    for (sql, values, step) in [
        (
            alarms::find_of_key(),
            vec![Number(1), Text("key-7")],
            "using alarm_by_key on alarm",
        ),
        (
            alarms::find_of_id(),
            vec![seq()],
            "using alarm_pkey on alarm",
        ),
        (
            alarms::find_told_of(),
            vec![seq(), Number(1)],
            "using told_pkey on told",
        ),
        (
            dialect::ALARMS_OF.replace("{columns}", "a.id"),
            vec![Text("[[1, \"key-7\"]]")],
            "using alarm_by_key on alarm",
        ),
    ] {
        let plan = planner.plan(&sql, args(&values)).await;
        assert!(
            plan.iter().any(|found| found.contains(step)),
            "no {step:?} in\n{sql}\n{plan:#?}"
        );
    }
}

#[tokio::test]
async fn invocations_are_walked_by_key() {
    let mut planner = Planner::start().await;
    for (query, step) in [
        (
            InvocationQuery::default(),
            "using invocation_pkey on invocation",
        ),
        (
            InvocationQuery {
                function: Some("ops/f7".parse().unwrap()),
                ..InvocationQuery::default()
            },
            "using invocation_of_function on invocation",
        ),
        (
            InvocationQuery {
                delivery: Some(delivery(1, 1)),
                ..InvocationQuery::default()
            },
            "using invocation_of_delivery on invocation",
        ),
        (
            InvocationQuery {
                ended: Some(EndedAs::Failed),
                ..InvocationQuery::default()
            },
            "using invocation_failed on invocation",
        ),
        (
            InvocationQuery {
                ended: Some(EndedAs::Running),
                ..InvocationQuery::default()
            },
            "using invocation_running on invocation",
        ),
    ] {
        planner.walks(&Invocations(&query), &[step]).await;
    }
}

#[tokio::test]
async fn single_things_are_found_by_key_in_one_partition() {
    let mut planner = Planner::start().await;
    let seq = || Number(at(500));
    let (event, delivery) = (
        "using event_pkey on event",
        "using delivery_pkey on delivery",
    );
    planner
        .built(find::of_event(id(1), None), &[delivery])
        .await;
    planner
        .built(
            find::of_event(id(1), Some(1)),
            &["Index Scan using delivery_"],
        )
        .await;
    for (sql, values, step) in [
        (find::FIND_EVENT, vec![seq()], event),
        (find::FIND_QUEUED, vec![seq(), Number(1)], event),
        (
            find::LIST_ATTEMPTS,
            vec![seq(), Number(1)],
            "attempt_pkey on attempt",
        ),
        (
            find::FIND_FIRST_TRY,
            vec![seq(), Number(1)],
            "Index Scan using delivery_",
        ),
        (
            find::LIST_SAMPLES,
            vec![Number(1)],
            "record_sample_pkey on record_sample",
        ),
    ] {
        let plan = planner.uses(sql, args(&values), &[step]).await;
        let days: BTreeSet<_> = plan.iter().filter_map(|step| day_in(step)).collect();
        assert!(days.len() <= 1, "{sql}\n{plan:#?}");
    }
    let mut key = args(&[Number(1)]);
    key.add(vec![7_u8; 16]).unwrap();
    planner
        .uses(event_log::FIND_STRICT, key, &["strict_key_pkey"])
        .await;
    let mut scope = PgArguments::default();
    scope.add(vec![7_u8; 16]).unwrap();
    planner
        .uses(event_log::FIND_IDEMPOTENCY, scope, &["idempotency_pkey"])
        .await;
    planner
        .uses(
            event_log::IDS_AFTER,
            args(&[seq(), Number(10)]),
            &["event_pkey on event"],
        )
        .await;
    planner
        .uses(
            event_log::NEWEST,
            args(&[]),
            &["Backward using event_pkey on event"],
        )
        .await;
}

#[tokio::test]
async fn work_is_claimed_finished_and_kept_in_order_by_key() {
    let mut planner = Planner::start().await;
    let (due, row) = (
        "using pending_by_due on pending",
        "using pending_pkey on pending",
    );
    let (first, event) = (
        "using pending_by_order on pending",
        "using event_pkey on event",
    );
    let later = T0 + EVENTS;
    let list = || Text("[1, 2, 3]");
    for (sql, values, steps) in [
        (
            dialect::DUE,
            vec![Number(1), Number(later), Number(100)],
            vec![due, event],
        ),
        (
            dialect::FIRST_OF_KEYS,
            vec![list(), Number(7), Number(64)],
            vec![first, event],
        ),
        (dialect::THESE, vec![Number(1), list()], vec![row, event]),
        (dialect::BLOCK, vec![Number(1), list()], vec![row]),
        (dialect::OUT_OF_ORDER, vec![Number(1), list()], vec![row]),
        (
            dialect::LEASE,
            vec![Number(later), Number(1), Number(1), list()],
            vec![row],
        ),
        (dialect::FORGET, vec![Number(1), list()], vec![row]),
        (dialect::NEXT_DUE, vec![list()], vec![due]),
        (queue::TARGETS, vec![], vec![due]),
        (queue::BACKLOG, vec![Number(1), Number(100)], vec![due]),
        (
            queue::BLOCKED_COUNT,
            vec![Number(7), Number(1000)],
            vec![due],
        ),
        (
            order::PREDECESSOR,
            vec![Number(at(500)), Number(7)],
            vec![row, first],
        ),
        (
            order::BLOCKED,
            vec![Number(7), Number(0), Number(100)],
            vec![due, first],
        ),
        (
            dialect::QUEUE_AGAIN,
            vec![
                Number(0),
                Number(0),
                Number(T0),
                Text("[[1, 1], [2, 1]]"),
                Text("[3]"),
            ],
            vec!["using delivery_pkey on delivery"],
        ),
    ] {
        planner.uses(sql, args(&values), &steps).await;
    }
    let column = || vec![1_i64, 2, 3];
    let mut release = PgArguments::default();
    for _ in 0..3 {
        release.add(column()).unwrap();
    }
    planner.uses(batch::RELEASE, release, &[first]).await;
    let step = |step| delivery(step, 7);
    let written = Batch {
        events: vec![new_event(1, &[7])],
        outcomes: vec![outcome(step(1), DeliveryStatus::Delivered)],
        pending: vec![in_order(step(2), T0, 7)],
        done: vec![step(3)],
        unclaimed: vec![(step(4), T0)],
        release: vec![Release {
            target: TargetId(7),
            key: OrderKey(7),
            due_at_ms: T0,
        }],
        ..Batch::default()
    };
    let (sql, args) = batch::as_statement(&written);
    planner.uses(&sql, args, &[row, first]).await;
}

#[tokio::test]
async fn recovery_retention_and_replays_go_by_key_ranges() {
    let mut planner = Planner::start().await;
    let (event, delivery) = (
        "using event_pkey on event",
        "using delivery_pkey on delivery",
    );
    // A little of the history: what a start, a purge or a part of a replay looks at.
    let (low, high) = (|| Number(at(998)), || Number(at(2)));
    for (sql, values, steps) in [
        (
            dialect::UNFINISHED,
            vec![Number(T0), low(), Number(3)],
            vec![event, delivery, "pending_pkey"],
        ),
        (
            retention::CHUNK_END,
            vec![Number(at(500)), Number(500)],
            vec![event],
        ),
        (
            retention::REMOVE_LOG_ENTRIES,
            vec![Number(1), high(), Number(500)],
            vec!["log_entry_pkey on log_entry"],
        ),
        (
            retention::REMOVE_IDEMPOTENCY,
            vec![Number(T0 + 100), Number(500)],
            vec!["idempotency_by_time"],
        ),
        (
            replays::HISTORY_END,
            vec![Number(at(500)), Number(at(1000)), Number(500)],
            vec![event],
        ),
        (
            replays::HISTORY,
            vec![Number(at(500)), Number(at(502)), Number(1)],
            vec![event],
        ),
        (replays::FIRST, vec![Number(at(500))], vec![event]),
        (
            replays::ARCHIVE,
            vec![Number(1), Number(at(500)), Number(at(1000)), Number(100)],
            vec!["archived_event_pkey"],
        ),
        (
            replays::FIRST_ARCHIVED,
            vec![Number(1), Number(at(500))],
            vec!["archived_event_pkey"],
        ),
        (
            sources::LIST,
            vec![Number(1), Number(9), Number(5)],
            vec!["unparsed_by_source"],
        ),
        (
            replays::CLAIM,
            vec![Number(3), Number(T0), Number(1), Number(T0)],
            vec!["Index Scan using replay_"],
        ),
    ] {
        planner.uses(sql, args(&values), &steps).await;
    }
    for which in [retention::up_to(at(2)), retention::these([at(2), at(3)])] {
        let none = || PgArguments::default();
        let [deliveries, attempts, keys] = retention::removals(&which);
        for (sql, steps) in [
            (dialect::unfinished_of(&which), vec![event, delivery]),
            (
                retention::remove_pending(&which),
                vec!["pending_pkey on pending"],
            ),
            (deliveries, vec![delivery]),
            (attempts, vec!["attempt_pkey on attempt"]),
            (keys, vec!["strict_key_by_event"]),
            (retention::remove_events(&which), vec![event]),
        ] {
            planner.uses(&sql, none(), &steps).await;
        }
    }
}
