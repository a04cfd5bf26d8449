//! What a function target gives to its function, and what it keeps of the answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::messages::folded;
use crate::support::{context, job, public_egress, structured};
use async_trait::async_trait;
use belfry_functions::{Call, Functions, Invocation, Outcome};
use belfry_model::Event;
use belfry_targets::{Attempted, Target, Verdict, called_function, find_kind};
use belfry_transform::{ContentKind, Rendered};
use serde_json::{Value, json};
use uuid::Uuid;

/// A function that answers with a text, and remembers what it was given.
#[derive(Default)]
struct Made {
    answer: String,
    given: Mutex<Vec<String>>,
}

#[async_trait]
impl Functions for Made {
    async fn invoke(&self, call: Call<'_>) -> Invocation {
        self.given.lock().unwrap().push(call.event.to_owned());
        let mut invocation = Invocation::begun(&call, Uuid::now_v7(), 0);
        invocation.outcome = Outcome::Succeeded;
        invocation.result = Some(self.answer.clone());
        invocation
    }
}

fn target(made: &Arc<Made>, more: Value) -> Arc<dyn Target> {
    let mut settings = json!({"function": "restart"});
    if let (Some(members), Value::Object(more)) = (settings.as_object_mut(), more) {
        members.extend(more);
    }
    let mut context = context(public_egress());
    context.functions = Arc::<Made>::clone(made);
    let kind = find_kind("function").unwrap();
    kind.connect(settings, &context).ok().unwrap()
}

async fn run(answer: &str, more: Value, event: &Event, body: Option<&str>) -> (Attempted, String) {
    let made = Arc::new(Made {
        answer: answer.to_owned(),
        ..Made::default()
    });
    let rendered = body.map(|body| Rendered {
        body: body.into(),
        content_type: ContentKind::Text,
    });
    let mut job = job(event);
    job.body = rendered.as_ref();
    let attempted = target(&made, more).deliver(&job).await;
    let given = made.given.lock().unwrap().remove(0);
    (attempted, given)
}

#[tokio::test]
async fn it_is_given_the_event_byte_for_byte_or_the_body_as_json() {
    let event = structured();
    let doc = String::from_utf8(event.doc().to_vec()).unwrap();
    for (body, given) in [
        (None, doc.as_str()),
        (Some(r#"{"n": 1.50}"#), r#"{"n": 1.50}"#),
        (Some("disk \"full\""), r#""disk \"full\"""#),
        (Some(""), "\"\""),
    ] {
        let (attempted, found) = run("null", json!({}), &event, body).await;
        assert_eq!(found, given);
        assert_eq!(attempted.verdict, Verdict::Delivered);
        let request = attempted.request.unwrap();
        assert_eq!(request.body_is_event, body.is_none());
        assert_eq!(request.url, "function:default/restart:$DEFAULT");
        assert_eq!(attempted.status, Some(200));
    }
}

#[tokio::test]
async fn a_batch_is_a_list_also_of_one() {
    let event = structured();
    let doc: Value = serde_json::from_slice(event.doc()).unwrap();
    let made = Arc::new(Made::default());
    let target = target(&made, json!({"batch": {"maxCount": 10}}));
    assert_eq!(target.batch().unwrap().wait, Duration::from_secs(1));
    let others = folded(&[event.clone(), event.clone()]);
    let mut job = job(&event);
    for (folded, count) in [(&[][..], 1), (&others, 3)] {
        job.folded = folded;
        target.deliver(&job).await;
        let given = made.given.lock().unwrap().pop().unwrap();
        let given: Value = serde_json::from_str(&given).unwrap();
        assert_eq!(given, json!({"EventList": vec![&doc; count]}));
    }
}

#[tokio::test]
async fn an_answer_too_large_for_an_event_is_told_by_its_size() {
    let event = structured();
    let settings = json!({"onSuccess": {"bus": "results"}});
    let large = format!("\"{}\"", "x".repeat(300_000));
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for (answer, whole) in [("{\"a\":1.50}", true), (&large, false), (&deep, false)] {
        let (attempted, _) = run(answer, settings.clone(), &event, None).await;
        let (bus, told) = &attempted.emit[0];
        assert_eq!(bus.as_str(), "results");
        let told = String::from_utf8(told.doc().to_vec()).unwrap();
        assert_eq!(told.contains("\"result\":{\"a\":1.50}"), whole);
        let size = format!("\"resultBytes\":{}", answer.len());
        assert_eq!(told.contains(&size), !whole);
        // What is shown of it has its own bound.
        assert!(attempted.response.unwrap().body.len() <= 4096);
    }
}

#[test]
fn settings_that_contradict_themselves_are_refused_where_they_stand() {
    let kind = find_kind("function").unwrap();
    for (settings, pointer) in [
        (json!({"function": "a/b/c"}), "/function"),
        (json!({"function": "a", "qualifier": ""}), "/qualifier"),
        (json!({"function": "a", "qualifier": "$X"}), "/qualifier"),
        (
            json!({"function": "qcs::scf:r:uin/1:namespace/a/function/b/3", "qualifier": "4"}),
            "/qualifier",
        ),
        (
            json!({"function": "a", "batch": {"maxCount": 0}}),
            "/batch/maxCount",
        ),
        (
            json!({"function": "a", "batch": {"maxCount": 1, "maxWaitSeconds": 61}}),
            "/batch/maxWaitSeconds",
        ),
        (
            json!({"function": "a", "onFailure": {"bus": "system"}}),
            "/onFailure/bus",
        ),
    ] {
        let errors = kind.validate(&settings, &public_egress());
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{settings}");
    }
}

#[test]
fn which_function_and_buses_settings_name_can_be_told_of_any_shape() {
    let kind = find_kind("function").unwrap();
    let settings = json!({"function": "qcs::scf:r:uin/1:namespace/a/function/b/3", "onSuccess": {"bus": "x"}, "onFailure": 3});
    assert_eq!(called_function(&settings).unwrap().to_string(), "a/b");
    let buses = kind.buses(&settings);
    assert_eq!(buses, [("/onSuccess/bus".to_owned(), "x".parse().unwrap())]);
    for settings in [json!(null), json!({"function": 1}), json!([])] {
        assert_eq!(called_function(&settings), None);
        assert_eq!(kind.buses(&settings), []);
    }
}
