//! Functions: what was run is on record with its attempt, code is kept while it is needed, calls outlive their nodes.

use belfry_model::delivery::DeliveryStatus::Delivered;
use belfry_model::{DeliveryId, NodeId};
use uuid::Uuid;

use super::fixtures::*;
use crate::{
    Batch, CallBacklog, CallClaim, CallRetry, EndedAs, InvocationQuery, LISTED_RECORD_BYTES_MAX,
    LeftBehind, NewCall, NewInvocation, Store, StoreError,
};

/// The request id of `step` milliseconds after [`T0`].
fn request(step: i64) -> Uuid {
    let ms = u128::try_from(T0 + step).unwrap();
    Uuid::from_u128(ms << 80 | 7 << 76 | 2 << 62 | u128::try_from(step * 977 % 1000).unwrap())
}

fn run(step: i64, outcome: Option<&str>) -> NewInvocation {
    NewInvocation {
        request_id: request(step),
        function: "default/restart".parse().unwrap(),
        version: Some("3".to_owned()),
        delivery: None,
        started_at_ms: T0 + step,
        duration_us: 1234,
        outcome: outcome.map(str::to_owned),
        node: NODE,
        record: format!(r#"{{"step":{step},"result":"磁盘 \"x\""}}"#),
        log: format!(r#"{{"text":"line of {step}"}}"#),
    }
}

fn listed(run: NewInvocation) -> NewInvocation {
    NewInvocation {
        log: String::new(),
        ..run
    }
}

fn query() -> InvocationQuery {
    InvocationQuery {
        limit: 3,
        scan_max: 1000,
        ..InvocationQuery::default()
    }
}

/// The steps of all that are listed, page by page.
async fn steps(store: &dyn Store, mut query: InvocationQuery) -> Vec<i64> {
    let mut steps = Vec::new();
    for _ in 0..1000 {
        let page = store.list_invocations(&query).await.unwrap();
        assert!(page.items.len() <= query.limit as usize);
        steps.extend(page.items.iter().map(|one| one.started_at_ms - T0));
        let Some(next) = page.next else { return steps };
        query.before = Some(next);
    }
    panic!("the pages have no end");
}

pub(crate) async fn a_run_is_on_record_in_the_commit_of_its_attempt_or_not_at_all(
    store: &dyn Store,
) {
    let of = |step, delivery: DeliveryId| NewInvocation {
        delivery: Some(delivery),
        version: None,
        ..run(step, Some("threw"))
    };
    let (one, other) = (of(5, delivery(1, 7)), of(6, delivery(1, 8)));
    let batch = Batch {
        outcomes: vec![outcome(delivery(1, 7), Delivered)],
        invocations: vec![one.clone(), other.clone()],
        idempotency: vec![idempotency(1, T0)],
        ..events(&[(1, &[7, 8])])
    };
    store.commit(&batch).await.unwrap();
    for kept in [&one, &other] {
        let found = store.find_invocation(kept.request_id).await.unwrap();
        assert_eq!(found.as_ref(), Some(kept));
    }
    let again = Batch {
        invocations: vec![of(7, delivery(2, 7))],
        idempotency: vec![idempotency(1, T0)],
        ..events(&[(2, &[7])])
    };
    let refused = store.commit(&again).await;
    assert!(matches!(refused, Err(StoreError::IdempotencyConflict)));
    assert_eq!(store.find_invocation(request(7)).await.unwrap(), None);
    // Nothing but them is a commit, too.
    let many = (100..400).map(|step| of(step, delivery(3, 7)));
    let batch = Batch {
        invocations: many.collect(),
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    let of_delivery = InvocationQuery {
        delivery: Some(delivery(3, 7)),
        limit: 50,
        ..query()
    };
    let expected: Vec<i64> = (100..400).rev().collect();
    assert_eq!(steps(store, of_delivery).await, expected);
}

pub(crate) async fn an_invocation_that_has_ended_does_not_run_again(store: &dyn Store) {
    for (put, shown) in [
        (None, None),
        (Some("lost"), Some("lost")),
        (None, Some("lost")),
        (Some("succeeded"), Some("succeeded")),
        (None, Some("succeeded")),
    ] {
        store.put_invocations(&[run(1, put)]).await.unwrap();
        let found = store.find_invocation(request(1)).await.unwrap();
        assert_eq!(found, Some(run(1, shown)));
    }
}

pub(crate) async fn invocations_are_listed_newest_first_by_every_filter(store: &dyn Store) {
    let mut runs: Vec<_> = (1..=8).map(|step| run(step, Some("succeeded"))).collect();
    runs[1].function = "ops/other".parse().unwrap();
    runs[2].outcome = Some("threw".to_owned());
    runs[3].outcome = Some("timed_out".to_owned());
    runs[4].outcome = None;
    runs[4].function = "ops/other".parse().unwrap();
    for at in [5, 6] {
        runs[at].delivery = Some(delivery(1, 7));
    }
    runs[6].outcome = Some("threw".to_owned());
    runs[7].record = "x".repeat(LISTED_RECORD_BYTES_MAX + 1);
    store.put_invocations(&runs).await.unwrap();
    let page = store.list_invocations(&query()).await.unwrap();
    let long = NewInvocation {
        record: String::new(),
        ..runs[7].clone()
    };
    let newest = [long, runs[6].clone(), runs[5].clone()].map(listed);
    assert_eq!(page.items, newest);
    assert_eq!(page.next, Some(request(6)));
    let found = store.find_invocation(request(8)).await.unwrap();
    assert_eq!(found.as_ref(), Some(&runs[7]));
    let word = |word: &str| Some(EndedAs::Word(word.to_owned()));
    let cases: Vec<(InvocationQuery, &[i64])> = vec![
        (query(), &[8, 7, 6, 5, 4, 3, 2, 1]),
        (
            InvocationQuery {
                function: Some("ops/other".parse().unwrap()),
                ..query()
            },
            &[5, 2],
        ),
        (
            InvocationQuery {
                function: Some("ops/none".parse().unwrap()),
                ..query()
            },
            &[],
        ),
        (
            InvocationQuery {
                delivery: Some(delivery(1, 7)),
                ..query()
            },
            &[7, 6],
        ),
        (
            InvocationQuery {
                delivery: Some(delivery(1, 7)),
                function: Some("ops/other".parse().unwrap()),
                ..query()
            },
            &[],
        ),
        (
            InvocationQuery {
                delivery: Some(delivery(1, 7)),
                ended: word("threw"),
                ..query()
            },
            &[7],
        ),
        (
            InvocationQuery {
                ended: Some(EndedAs::Failed),
                ..query()
            },
            &[7, 4, 3],
        ),
        (
            InvocationQuery {
                ended: Some(EndedAs::Running),
                ..query()
            },
            &[5],
        ),
        (
            InvocationQuery {
                function: Some("default/restart".parse().unwrap()),
                ended: Some(EndedAs::Running),
                ..query()
            },
            &[],
        ),
        (
            InvocationQuery {
                ended: word("timed_out"),
                ..query()
            },
            &[4],
        ),
        (
            InvocationQuery {
                ended: word("succeeded"),
                ..query()
            },
            &[8, 6, 2, 1],
        ),
        (
            InvocationQuery {
                text: Some("line of 4".to_owned()),
                ..query()
            },
            &[4],
        ),
        (
            InvocationQuery {
                text: Some("磁盘 \\\"x".to_owned()),
                ..query()
            },
            &[7, 6, 5, 4, 3, 2, 1],
        ),
        (
            InvocationQuery {
                since_ms: Some(T0 + 3),
                until_ms: Some(T0 + 6),
                ..query()
            },
            &[5, 4, 3],
        ),
        (
            InvocationQuery {
                until_ms: Some(T0 + 6),
                before: Some(request(3)),
                ..query()
            },
            &[2, 1],
        ),
    ];
    for (query, expected) in cases {
        let shown = format!("{query:?}");
        assert_eq!(steps(store, query).await, expected, "{shown}");
    }
}

pub(crate) async fn a_small_scan_limit_still_gets_to_every_invocation(store: &dyn Store) {
    let runs: Vec<_> = (0..40)
        .map(|step| run(step, Some(if step % 13 == 0 { "threw" } else { "exited" })))
        .collect();
    store.put_invocations(&runs).await.unwrap();
    let query = InvocationQuery {
        ended: Some(EndedAs::Word("threw".to_owned())),
        limit: 2,
        scan_max: 5,
        ..InvocationQuery::default()
    };
    assert_eq!(steps(store, query).await, [39, 26, 13, 0]);
}

pub(crate) async fn old_invocations_go_in_bounded_steps(store: &dyn Store) {
    let runs: Vec<_> = (0..9).map(|step| run(step, Some("threw"))).collect();
    store.put_invocations(&runs).await.unwrap();
    for gone in [4, 2, 0] {
        assert_eq!(store.purge_invocations(T0 + 6, 4).await.unwrap(), gone);
    }
    assert_eq!(steps(store, query()).await, [8, 7, 6]);
}

pub(crate) async fn code_is_kept_once_and_goes_only_when_it_is_old(store: &dyn Store) {
    let zip: Vec<u8> = (0..300_000_u32)
        .map(|n| u8::try_from(n.wrapping_mul(n) % 251).unwrap())
        .collect();
    store.put_code(&[1; 32], &zip, T0).await.unwrap();
    store.put_code(&[2; 32], b"other", T0).await.unwrap();
    // It comes again: whoever sent it is about to use it.
    store.put_code(&[1; 32], &zip, T0 + 50).await.unwrap();
    assert_eq!(store.read_code(&[1; 32]).await.unwrap(), Some(zip));
    assert_eq!(store.read_code(&[3; 32]).await.unwrap(), None);
    let codes = store.list_codes().await.unwrap();
    let shown: Vec<_> = codes
        .iter()
        .map(|code| (code.sha256[0], code.bytes, code.at_ms - T0))
        .collect();
    assert_eq!(shown, [(1, 300_000, 50), (2, 5, 0)]);
    let all = [[1; 32], [2; 32], [3; 32]];
    assert_eq!(store.delete_codes(&all, T0 + 10).await.unwrap(), 1);
    assert!(store.read_code(&[1; 32]).await.unwrap().is_some());
    assert_eq!(store.read_code(&[2; 32]).await.unwrap(), None);
}

fn call(step: i64) -> NewCall {
    NewCall {
        id: request(step),
        function: "ops/nightly".parse().unwrap(),
        qualifier: "$DEFAULT".to_owned(),
        caller: "key_1".to_owned(),
        created_at_ms: T0 + step,
        due_at_ms: T0 + step,
        event: format!(r#"{{"step":{step}}}"#),
    }
}

fn take(owner: NodeId, step: i64, lease: i64, limit: u32) -> CallClaim {
    CallClaim {
        owner,
        now_ms: T0 + step,
        lease_until_ms: T0 + lease,
        limit,
    }
}

async fn taken(store: &dyn Store, claim: CallClaim) -> Vec<(i64, u32, u32)> {
    let calls = store.claim_calls(&claim).await.unwrap();
    calls
        .iter()
        .map(|one| {
            let step = one.call.created_at_ms - T0;
            let expected = NewCall {
                due_at_ms: claim.lease_until_ms,
                ..call(step)
            };
            assert_eq!(one.call, expected);
            (step, one.attempts, one.failures)
        })
        .collect()
}

pub(crate) async fn a_call_is_taken_by_one_and_comes_back_until_it_is_finished(store: &dyn Store) {
    let (a, b) = (NODE, NodeId(4));
    for step in [3, 1, 2, 90] {
        store.put_call(&call(step)).await.unwrap();
    }
    let backlog = |count, step: i64| CallBacklog {
        count,
        next_due_ms: Some(T0 + step),
    };
    assert_eq!(store.call_backlog().await.unwrap(), backlog(4, 1));
    assert_eq!(
        taken(store, take(a, 10, 50, 2)).await,
        [(1, 0, 0), (2, 0, 0)]
    );
    assert_eq!(taken(store, take(b, 10, 60, 9)).await, [(3, 0, 0)]);
    assert_eq!(taken(store, take(b, 10, 60, 9)).await, []);
    assert_eq!(store.call_backlog().await.unwrap(), backlog(4, 50));
    let ended = run(1, Some("succeeded"));
    store.finish_call(request(1), &ended).await.unwrap();
    store.finish_call(request(1), &ended).await.unwrap();
    assert_eq!(
        store.find_invocation(request(1)).await.unwrap(),
        Some(ended)
    );
    let retry = CallRetry {
        id: request(2),
        lease_until_ms: T0 + 50,
        due_at_ms: T0 + 40,
        attempts: 1,
        failures: 1,
    };
    let threw = run(2, Some("threw"));
    store.retry_call(&retry, Some(&threw)).await.unwrap();
    assert_eq!(
        store.find_invocation(request(2)).await.unwrap(),
        Some(threw)
    );
    assert_eq!(taken(store, take(b, 45, 70, 9)).await, [(2, 1, 1)]);
    // Its lease is not this one any more.
    store.retry_call(&retry, None).await.unwrap();
    assert_eq!(taken(store, take(a, 65, 99, 9)).await, [(3, 0, 0)]);
    assert_eq!(taken(store, take(a, 75, 99, 9)).await, [(2, 1, 1)]);
    for step in [2, 3, 90] {
        let ended = run(step, Some("succeeded"));
        store.finish_call(request(step), &ended).await.unwrap();
    }
    assert_eq!(store.call_backlog().await.unwrap(), CallBacklog::default());
}

pub(crate) async fn what_an_earlier_run_left_behind_is_put_right(store: &dyn Store) {
    let other = NodeId(4);
    let mut runs = vec![
        run(1, None),
        run(2, Some("threw")),
        run(3, None),
        run(30, None),
    ];
    runs[2].node = other;
    store.put_invocations(&runs).await.unwrap();
    for step in [1, 2, 3] {
        store.put_call(&call(step)).await.unwrap();
    }
    assert_eq!(taken(store, take(NODE, 10, 900, 2)).await.len(), 2);
    assert_eq!(taken(store, take(other, 10, 900, 2)).await.len(), 1);
    let left = store.free_functions(NODE, "lost", T0 + 20).await.unwrap();
    assert_eq!(left, LeftBehind { lost: 1, freed: 2 });
    for (step, outcome) in [(1, Some("lost")), (2, Some("threw")), (3, None), (30, None)] {
        let found = store.find_invocation(request(step)).await.unwrap();
        assert_eq!(found.unwrap().outcome.as_deref(), outcome, "{step}");
    }
    assert_eq!(
        taken(store, take(other, 20, 900, 9)).await,
        [(1, 0, 0), (2, 0, 0)]
    );
    let left = store.free_functions(NODE, "lost", T0 + 20).await.unwrap();
    assert_eq!(left, LeftBehind::default());
}
