//! Functions as targets: what becomes of a delivery by how the run ended, batches, results as events.
//!
//! The functions are made up, and the time is paused; the kind is the product's own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use belfry_egress::{EgressClient, EgressLimits, EgressPolicy, SystemResolver};
use belfry_engine::{
    AcceptContext, Collaborators, Engine, EngineSettings, NoDocuments, SystemRandom,
};
use belfry_functions::{Call, Failure, Functions, Invocation, InvokedBy, Outcome, Retry};
use belfry_model::config::{RuleSpec, TargetSpec};
use belfry_model::delivery::{DeliveryStatus, Reason};
use belfry_model::json::JsonText;
use belfry_model::{Clock as _, DeliveryId, EventId, FunctionName, TargetId};
use belfry_store::{Change, ConfigStore as _, Expect, Store};
use belfry_targets::{ConnectContext, Verdict};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::alarms::Paused;
use crate::flaky::Flaky;
use crate::rig::{Clear, event, prepare};
use crate::settings;
use crate::simulation::maps::Maps;

/// A run of a function.
#[derive(Debug, Clone)]
struct Run {
    at_ms: i64,
    function: String,
    delivery: Option<DeliveryId>,
    events: usize,
    attempt: u32,
    routing: u64,
    invoked_by: InvokedBy,
    given: Value,
    request_id: Uuid,
}

/// Functions that end as they are told to.
struct Made {
    clock: Arc<Paused>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runs: Vec<Run>,
    /// How the next runs end, by function; then by `always`.
    plan: HashMap<String, VecDeque<Outcome>>,
    always: HashMap<String, Outcome>,
    takes: Duration,
    /// How many run now, and the most that ever did.
    now: usize,
    most: usize,
}

impl Made {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runs(&self, function: &str) -> Vec<Run> {
        let runs = self.state().runs.clone();
        let of = runs.into_iter().filter(|run| run.function == function);
        of.collect()
    }

    /// When a function ran, in seconds since the first time.
    fn seconds(&self, function: &str) -> Vec<i64> {
        let runs = self.runs(function);
        let first = runs.first().map_or(0, |run| run.at_ms);
        runs.iter().map(|run| (run.at_ms - first) / 1000).collect()
    }
}

#[async_trait]
impl Functions for Made {
    async fn invoke(&self, call: Call<'_>) -> Invocation {
        let at_ms = self.clock.now_ms();
        let name = call.function.to_string();
        let mut invocation = Invocation::begun(&call, Uuid::now_v7(), at_ms);
        let takes = {
            let mut state = self.state();
            state.runs.push(Run {
                at_ms,
                function: name.clone(),
                delivery: call.delivery,
                events: call.events.len(),
                attempt: call.attempt,
                routing: call.routing,
                invoked_by: call.invoked_by,
                given: serde_json::from_str(call.event).unwrap(),
                request_id: invocation.request_id,
            });
            let planned = state.plan.get_mut(&name).and_then(VecDeque::pop_front);
            let always = state.always.get(&name).copied();
            invocation.outcome = planned.or(always).unwrap_or(Outcome::Succeeded);
            state.now += 1;
            state.most = state.most.max(state.now);
            state.takes
        };
        tokio::time::sleep(takes).await;
        self.state().now -= 1;
        invocation.version = Some("3".to_owned());
        invocation.ended_at_ms = self.clock.now_ms();
        invocation.result = (invocation.outcome.has_result()).then(|| r#"{"n":1.50}"#.to_owned());
        invocation.failure = (invocation.outcome != Outcome::Succeeded).then(|| Failure {
            kind: "Error".to_owned(),
            message: "no disk".to_owned(),
            stack: None,
        });
        invocation
    }

    fn longest(&self, _: &FunctionName) -> Duration {
        Duration::from_secs(1000)
    }
}

/// An engine with functions.
struct Plant {
    maps: Arc<Maps>,
    flaky: Arc<Flaky>,
    made: Arc<Made>,
    engine: Engine,
}

async fn start(maps: &Arc<Maps>, made: &Arc<Made>) -> Result<(Engine, Arc<Flaky>)> {
    let (policy, limits) = (EgressPolicy::permissive(), EgressLimits::default());
    let egress = EgressClient::new(policy, limits, Arc::new(SystemResolver))?;
    let flaky = Flaky::new(maps.clone());
    let with = Collaborators {
        store: flaky.clone(),
        clock: made.clock.clone(),
        random: Arc::new(SystemRandom),
        kinds: belfry_targets::find_kind,
        unseal: Arc::new(Clear),
        documents: Arc::new(NoDocuments),
        templates: Arc::new(belfry_eval::Templates::none()),
        connect: Arc::new(ConnectContext {
            egress: Arc::new(egress),
            clock: made.clock.clone(),
            user_agent: "tests".to_owned(),
            directory: Arc::new(belfry_targets::NoDirectory),
            functions: made.clone(),
        }),
    };
    let settings = EngineSettings {
        sweep_every: Duration::from_hours(1),
        ..settings()
    };
    Ok((Engine::start(with, settings).await?, flaky))
}

impl Plant {
    async fn begin() -> Result<Self> {
        let made = Arc::new(Made {
            clock: Arc::new(Paused(Instant::now())),
            state: Mutex::default(),
        });
        let maps = Arc::new(Maps::default());
        prepare(&*maps as &dyn Store).await?;
        // What functions tell of themselves, on another bus.
        let rule = Change::PutRule {
            bus: "dead".parse()?,
            name: "results".parse()?,
            spec: RuleSpec {
                description: String::new(),
                enabled: true,
                pattern: JsonText::parse(r#"{"source":[{"prefix":"belfry/functions/"}]}"#)?,
            },
            expect: Expect::Absent,
        };
        maps.apply(&[rule], &[], None, 1).await?;
        let (engine, flaky) = start(&maps, &made).await?;
        Ok(Self {
            maps,
            flaky,
            made,
            engine,
        })
    }

    /// The process is killed and started again.
    async fn crash(&mut self) -> Result<()> {
        self.flaky.kill();
        (self.engine, self.flaky) = start(&self.maps, &self.made).await?;
        Ok(())
    }

    /// A target that runs the function of its name, on `default` (for every event) or `dead` (for results).
    async fn target(
        &self,
        bus: &str,
        name: &str,
        settings: Value,
        more: Value,
    ) -> Result<TargetId> {
        let mut spec = json!({"type": "function", "settings": {"function": name}});
        for (pointer, more) in [("/settings", settings), ("", more)] {
            let place = spec.pointer_mut(pointer).and_then(Value::as_object_mut);
            if let (Some(members), Value::Object(more)) = (place, more) {
                members.extend(more);
            }
        }
        let spec: TargetSpec = serde_json::from_value(spec)?;
        let change = Change::PutTarget {
            bus: bus.parse()?,
            rule: if bus == "dead" { "results" } else { "all" }.parse()?,
            name: name.parse()?,
            spec: Box::new(spec),
            expect: Expect::Absent,
        };
        self.maps.apply(&[change], &[], None, 1).await?;
        self.engine.reload().await?;
        let config = self.maps.load_config().await?;
        let found = config
            .targets
            .iter()
            .find(|target| target.name.as_str() == name);
        found.map(|target| target.id).context("the target")
    }

    async fn post(&self, ids: std::ops::Range<usize>) -> Result<Vec<EventId>> {
        let one = |id| {
            event(
                &json!({"id": format!("e{id}"), "source": "tests", "type": "t", "subject": "disk", "data": {"id": id}}),
            )
        };
        let bus = "default".parse()?;
        let mut accepted = Vec::new();
        let ids: Vec<_> = ids.collect();
        for some in ids.chunks(100) {
            let events = some.iter().map(one).collect();
            let context = AcceptContext::default();
            accepted.extend(self.engine.accept(&bus, events, context).await?);
        }
        Ok(accepted.into_iter().map(|one| one.event_uid).collect())
    }

    fn outcome(&self, event: EventId, target: TargetId) -> belfry_store::Outcome {
        let rows = self.maps.rows();
        rows.outcomes[&DeliveryId { event, target }].clone()
    }

    /// The number of attempts that a delivery has on record, and what the last has of its invocation.
    fn attempts(&self, event: EventId, target: TargetId) -> (usize, Value) {
        let delivery = DeliveryId { event, target };
        let rows = self.maps.rows();
        let all = rows.attempts.iter().filter(|((of, _), _)| *of == delivery);
        let records: Vec<_> = all.map(|(_, attempt)| attempt.record.clone()).collect();
        let last = records.last().cloned().flatten();
        let last = last.map(|text| serde_json::from_str::<Value>(&text).unwrap());
        (records.len(), last.unwrap_or_default()["invocation"].take())
    }

    /// How the deliveries of a target stand.
    fn count(&self, target: TargetId) -> BTreeMap<(&'static str, Option<&'static str>), usize> {
        let mut count = BTreeMap::new();
        for (delivery, outcome) in &self.maps.rows().outcomes {
            if delivery.target == target {
                let reason = outcome.reason.map(Reason::as_str);
                *count.entry((outcome.status.as_str(), reason)).or_default() += 1;
            }
        }
        count
    }

    /// The documents of all events of a type.
    fn events(&self, kind: &str) -> Vec<Value> {
        let rows = self.maps.rows();
        let of = rows.events.values().filter(|new| new.event.kind() == kind);
        of.map(|new| serde_json::from_slice(new.event.doc()).unwrap())
            .collect()
    }

    /// Lets time pass until all deliveries of a target have ended, `limit` at most.
    async fn settle(&self, target: TargetId, count: usize, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.engine.flush().await;
            let ended = self
                .maps
                .rows()
                .outcomes
                .iter()
                .filter(|(id, outcome)| id.target == target && outcome.status.is_final())
                .count();
            if ended >= count {
                return Ok(());
            }
            let state = self.count(target);
            ensure!(begun.elapsed() < limit, "still waiting: {state:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn how_a_run_ended_decides_about_its_delivery() -> Result<()> {
    for outcome in Outcome::ALL {
        let plant = Plant::begin().await?;
        let target = plant.target("default", "f", json!({}), json!({})).await?;
        let always = (("default/f").to_owned(), outcome);
        plant.made.state().always.extend([always]);
        let ids = plant.post(0..1).await?;
        tokio::time::sleep(Duration::from_mins(5)).await;
        plant.engine.flush().await;
        let found = plant.outcome(ids[0], target);
        let (attempts, linked) = plant.attempts(ids[0], target);
        let seconds = plant.made.seconds("default/f");
        let expected = match outcome.retry() {
            _ if outcome == Outcome::Succeeded => ("delivered", vec![0]),
            Retry::No => ("dead", vec![0]),
            // Twice, after exactly 1 and 2 minutes.
            Retry::Users => ("dead", vec![0, 60, 180]),
            Retry::Standard => ("retrying", seconds.clone()),
            Retry::NotCounted => ("queued", seconds.clone()),
        };
        assert_eq!((found.status.as_str(), seconds), expected, "{outcome:?}");
        assert_eq!(found.reason, outcome.reason(), "{outcome:?}");
        let runs = plant.made.runs("default/f");
        let counted = outcome.retry() != Retry::NotCounted;
        assert_eq!(attempts, if counted { runs.len() } else { 0 });
        assert_eq!(found.attempts as usize, attempts);
        if outcome.retry() == Retry::Standard {
            assert_eq!(runs.len(), 4, "after 5, 30 and 120 s: {outcome:?}");
        }
        if !counted {
            assert!(
                (50..=301).contains(&runs.len()),
                "{outcome:?}: {}",
                runs.len()
            );
            let kept = plant.maps.rows().invocations.len();
            let ran = outcome != Outcome::Throttled;
            assert_eq!(kept, if ran { runs.len() } else { 0 }, "{outcome:?}");
            assert!(
                found
                    .detail
                    .is_some_and(|detail| detail.contains("no disk"))
            );
            continue;
        }
        let last = runs.last().unwrap();
        let kept = plant
            .maps
            .rows()
            .invocations
            .values()
            .cloned()
            .collect::<Vec<_>>();
        assert_eq!(
            kept.len(),
            runs.len(),
            "every run is on record: {outcome:?}"
        );
        assert!(
            kept.iter()
                .all(|one| one.outcome.as_deref() == Some(outcome.as_str()))
        );
        let link = json!({"requestId": last.request_id.to_string(), "outcome": outcome.as_str(), "version": "3", "durationMs": 0});
        assert_eq!(linked, link);
        for (run, attempt) in runs.iter().zip(1..) {
            assert_eq!(run.attempt, attempt);
            assert_eq!(run.routing, last.routing);
            assert_eq!(run.delivery.map(|one| one.event), Some(ids[0]));
            assert_eq!(run.invoked_by, InvokedBy::Delivery);
            assert_eq!(run.given["data"]["id"], 0, "the event as it is");
        }
        // No circuit has opened: nothing is told of a receiver that is away.
        assert_eq!(plant.events("belfry.target.circuit.opened").len(), 0);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_functions_own_fault_is_not_repeated_where_the_target_says_so() -> Result<()> {
    let plant = Plant::begin().await?;
    let once = json!({"retryOnFunctionError": false});
    let target = plant.target("default", "f", once, json!({})).await?;
    let always = ("default/f".to_owned(), Outcome::TimedOut);
    plant.made.state().always.extend([always]);
    let ids = plant.post(0..1).await?;
    plant.settle(target, 1, Duration::from_secs(10)).await?;
    let status = plant.outcome(ids[0], target).status;
    assert_eq!(status, DeliveryStatus::Dead);
    assert_eq!(plant.made.runs("default/f").len(), 1);
    // A redrive begins anew.
    let delivery = DeliveryId {
        event: ids[0],
        target,
    };
    plant.made.state().always.clear();
    plant.engine.redrive(&[delivery], &[], &[], None).await?;
    plant.settle(target, 1, Duration::from_secs(10)).await?;
    assert_eq!(
        plant.count(target),
        BTreeMap::from([(("delivered", None), 1)])
    );
    assert_eq!(plant.made.runs("default/f")[1].attempt, 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dead_one_that_is_redriven_has_its_retries_again() -> Result<()> {
    let plant = Plant::begin().await?;
    let target = plant.target("default", "f", json!({}), json!({})).await?;
    let always = ("default/f".to_owned(), Outcome::Threw);
    plant.made.state().always.extend([always]);
    let ids = plant.post(0..1).await?;
    plant.settle(target, 1, Duration::from_mins(5)).await?;
    let delivery = DeliveryId {
        event: ids[0],
        target,
    };
    plant.engine.redrive(&[delivery], &[], &[], None).await?;
    plant.settle(target, 1, Duration::from_mins(5)).await?;
    assert_eq!(plant.made.runs("default/f").len(), 6);
    assert_eq!(plant.outcome(ids[0], target).attempts, 6);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_run_with_one_outcome() -> Result<()> {
    let plant = Plant::begin().await?;
    let batch = json!({"batch": {"maxCount": 1000, "maxWaitSeconds": 5}});
    let target = plant.target("default", "f", batch, json!({})).await?;
    let planned = ("default/f".to_owned(), VecDeque::from([Outcome::Threw]));
    plant.made.state().plan.extend([planned]);
    let ids = plant.post(0..1000).await?;
    plant.settle(target, 1000, Duration::from_mins(2)).await?;
    let runs = plant.made.runs("default/f");
    assert_eq!(runs.len(), 2, "it failed, and went again as a whole");
    assert!(runs[1].at_ms - runs[0].at_ms >= 60_000);
    for run in &runs {
        assert_eq!(run.events, 1000);
        let list = run.given["EventList"].as_array().unwrap();
        assert_eq!(list.len(), 1000);
        assert!(
            (0..1000).all(|n| list[n]["id"] == format!("e{n}")),
            "in order"
        );
    }
    assert_eq!(
        plant.count(target),
        BTreeMap::from([(("delivered", None), 1000)])
    );
    // The first carries the others.
    assert_eq!(plant.attempts(ids[0], target).0, 2);
    assert_eq!(plant.attempts(ids[999], target).0, 0);
    let detail = format!("in the batch of {}", runs[0].delivery.unwrap());
    assert_eq!(plant.outcome(ids[999], target).detail, Some(detail));

    // What does not fill one goes when the first has waited, and says until then what it waits for.
    plant.post(1000..1004).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(plant.made.runs("default/f").len(), 2);
    plant.post(1004..1007).await?;
    plant.settle(target, 1007, Duration::from_secs(10)).await?;
    let runs = plant.made.runs("default/f");
    assert_eq!(runs.len(), 3);
    assert_eq!(runs[2].events, 7);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_given_up_as_a_whole_after_three_runs() -> Result<()> {
    let plant = Plant::begin().await?;
    let batch = json!({"batch": {"maxCount": 50}, "onFailure": {"bus": "dead"}});
    let letters = json!({"deadLetter": {"bus": "dead"}});
    let target = plant.target("default", "f", batch, letters).await?;
    let always = ("default/f".to_owned(), Outcome::OutOfMemory);
    plant.made.state().always.extend([always]);
    plant.post(0..50).await?;
    plant.settle(target, 50, Duration::from_mins(5)).await?;
    let runs = plant.made.runs("default/f");
    let sizes: Vec<_> = runs.iter().map(|run| run.events).collect();
    assert_eq!(sizes, [50, 50, 50]);
    assert_eq!(
        plant.count(target),
        BTreeMap::from([(("dead", Some("function_oom")), 50)])
    );
    assert_eq!(plant.events("belfry.delivery.dead").len(), 50);
    let told = plant.events("belfry.function.failed");
    assert_eq!(told.len(), 1, "once, when it was given up");
    assert_eq!(told[0]["data"]["events"], 50);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_waits_survives_a_crash_and_says_what_it_waits_for() -> Result<()> {
    let mut plant = Plant::begin().await?;
    let batch = json!({"batch": {"maxCount": 100, "maxWaitSeconds": 30}});
    let target = plant.target("default", "f", batch, json!({})).await?;
    let ids = plant.post(0..60).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    plant.engine.flush().await;
    let reason = plant.outcome(ids[0], target).reason;
    assert_eq!(reason.map(Reason::as_str), Some("grouped"));
    plant.crash().await?;
    plant.post(60..100).await?;
    plant.settle(target, 100, Duration::from_mins(1)).await?;
    let all: usize = plant
        .made
        .runs("default/f")
        .iter()
        .map(|run| run.events)
        .sum();
    assert_eq!(all, 100, "each once");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_batch_of_which_nothing_is_sent_ends_alone() -> Result<()> {
    let plant = Plant::begin().await?;
    let batch = json!({"batch": {"maxCount": 4}});
    let transform = json!({"transform": {
        "kind": "tencent",
        "extraction": {"ExtractionInputPath": "$.data", "Format": "JSON"},
        "etlFilter": {"Filter": "{\"id\":[0,1,3]}"},
    }});
    let target = plant.target("default", "f", batch, transform).await?;
    plant.post(0..4).await?;
    plant.settle(target, 4, Duration::from_secs(10)).await?;
    let runs = plant.made.runs("default/f");
    assert_eq!(
        runs[0].given,
        json!({"EventList": [{"id": 0}, {"id": 1}, {"id": 3}]})
    );
    assert_eq!(
        plant.count(target),
        BTreeMap::from([
            (("delivered", None), 3),
            (("skipped", Some("nothing_to_send")), 1)
        ])
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_result_is_an_event_that_is_stored_with_the_outcome() -> Result<()> {
    let mut plant = Plant::begin().await?;
    let result = json!({"onSuccess": {"bus": "dead"}, "onFailure": {"bus": "dead"}});
    let first = plant.target("default", "f", result, json!({})).await?;
    let second = plant.target("dead", "g", json!({}), json!({})).await?;
    plant.made.state().takes = Duration::from_secs(30);
    let ids = plant.post(0..1).await?;
    // Killed while the function runs: nothing of it is there, and it runs again, as the same delivery.
    tokio::time::sleep(Duration::from_secs(10)).await;
    plant.crash().await?;
    assert_eq!(plant.events("belfry.function.succeeded").len(), 0);
    plant.settle(second, 1, Duration::from_mins(5)).await?;
    let runs = plant.made.runs("default/f");
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].delivery, runs[1].delivery);
    assert_eq!(
        plant.outcome(ids[0], first).status,
        DeliveryStatus::Delivered
    );
    let told = plant.events("belfry.function.succeeded");
    assert_eq!(told.len(), 1);
    let document = json!({
        "specversion": "1.0",
        "id": runs[1].request_id.to_string(),
        "source": "belfry/functions/default/f",
        "type": "belfry.function.succeeded",
        "subject": "disk",
        "time": told[0]["time"],
        "belfryhops": 1,
        "datacontenttype": "application/json",
        "data": {
            "requestId": runs[1].request_id.to_string(),
            "function": "default/f",
            "version": "3",
            "delivery": runs[1].delivery.unwrap().to_string(),
            "event": {"id": "e0", "source": "tests", "type": "t", "subject": "disk", "eventUid": ids[0].to_string()},
            "events": 1,
            "result": {"n": 1.5},
        },
    });
    assert_eq!(told[0], document);
    assert_eq!(plant.made.runs("default/g")[0].given, document);

    // A failure is told of once, when it is given up.
    plant.made.state().takes = Duration::ZERO;
    let always = ("default/f".to_owned(), Outcome::Exited);
    plant.made.state().always.extend([always]);
    let ids = plant.post(1..2).await?;
    plant.settle(second, 2, Duration::from_mins(5)).await?;
    let told = plant.events("belfry.function.failed");
    assert_eq!(told.len(), 1);
    let error = &told[0]["data"]["error"];
    assert_eq!(error["outcome"], "exited");
    assert_eq!(error["errorCode"], "function_exit");
    assert!(error["message"].as_str().unwrap().contains("no disk"));
    assert_eq!(plant.outcome(ids[0], first).attempts, 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn functions_that_call_each_other_end_after_sixteen() -> Result<()> {
    let plant = Plant::begin().await?;
    let again = || json!({"onSuccess": {"bus": "dead"}});
    plant.target("default", "f", again(), json!({})).await?;
    let target = plant.target("dead", "g", again(), json!({})).await?;
    plant.post(0..1).await?;
    plant.settle(target, 16, Duration::from_mins(1)).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let runs = plant.made.runs("default/g");
    assert_eq!(runs.len(), 16);
    assert_eq!(runs[15].given["belfryhops"], 16);
    let last = runs[15].delivery.unwrap();
    let detail = plant.outcome(last.event, target).detail;
    assert!(detail.is_some_and(|detail| detail.contains("16 functions")));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_backlog_without_workers_waits_and_is_not_turned_over() -> Result<()> {
    let plant = Plant::begin().await?;
    let target = plant.target("default", "f", json!({}), json!({})).await?;
    let always = ("default/f".to_owned(), Outcome::Throttled);
    plant.made.state().always.extend([always]);
    plant.post(0..500).await?;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let asked = plant.made.runs("default/f").len();
    assert!(asked <= 8 * 14, "8 at once, every 5 s: {asked}");
    plant.made.state().always.clear();
    plant.made.state().takes = Duration::from_millis(10);
    plant.settle(target, 500, Duration::from_mins(2)).await?;
    assert_eq!(
        plant.count(target),
        BTreeMap::from([(("delivered", None), 500)])
    );
    assert!(plant.maps.rows().attempts.len() == 500, "one each");
    assert_eq!(plant.made.state().most, 8);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_may_take_long_and_what_waits_behind_it_is_run_once() -> Result<()> {
    let plant = Plant::begin().await?;
    let one = json!({"concurrency": 1});
    let target = plant.target("default", "f", json!({}), one).await?;
    plant.made.state().takes = Duration::from_mins(15);
    plant.post(0..6).await?;
    plant.settle(target, 6, Duration::from_mins(95)).await?;
    let runs = plant.made.runs("default/f");
    let mut deliveries: Vec<_> = runs.iter().map(|run| run.delivery).collect();
    deliveries.sort();
    deliveries.dedup();
    assert_eq!((runs.len(), deliveries.len()), (6, 6));
    assert_eq!(plant.made.state().most, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_trial_runs_the_function_and_leaves_no_delivery() -> Result<()> {
    let plant = Plant::begin().await?;
    let settings = json!({"onSuccess": {"bus": "dead"}});
    let target = plant.target("default", "f", settings, json!({})).await?;
    let snapshot = plant.engine.snapshot();
    let entry = snapshot.target(target).context("the target")?;
    let sample = event(&json!({"id": "1", "source": "other", "type": "t", "data": {}}));
    let shown = plant.engine.preview(entry, &sample).await;
    let shown = shown.map_err(anyhow::Error::msg)?;
    assert_eq!(shown[0].url, "function:default/f:$DEFAULT");
    assert_eq!(plant.made.runs("default/f").len(), 0);
    let made = plant.engine.send_trial(entry, &sample).await;
    assert_eq!(made[0].verdict, Verdict::Delivered);
    let response = made[0].response.as_ref().context("an answer")?;
    assert_eq!((response.status, &*response.body), (200, r#"{"n":1.50}"#));
    let runs = plant.made.runs("default/f");
    assert_eq!(
        (runs[0].invoked_by, runs[0].delivery),
        (InvokedBy::Test, None)
    );
    plant.engine.flush().await;
    assert_eq!(plant.maps.rows().events.len(), 0);
    Ok(())
}
