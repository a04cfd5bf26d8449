//! What the tests of targets share.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use belfry_egress::{EgressClient, EgressLimits, EgressPolicy, SystemResolver};
use belfry_model::event::EventLimits;
use belfry_model::{DeliveryId, Event, EventId, FieldError, SystemClock, TargetId};
use belfry_targets::{ConnectContext, Job, Target, find_kind};
use bytes::Bytes;
use serde_json::{Value, json};

/// A client that may reach the tests' receivers.
pub(crate) fn egress() -> EgressClient {
    let limits = EgressLimits {
        connect_timeout: Duration::from_millis(500),
        ..EgressLimits::default()
    };
    EgressClient::new(EgressPolicy::permissive(), limits, Arc::new(SystemResolver)).unwrap()
}

/// A client under the policy that an installation has from the start.
pub(crate) fn public_egress() -> EgressClient {
    // Nothing is sent with it, so that one is enough; making one reads the system's certificates.
    static ONE: LazyLock<EgressClient> = LazyLock::new(|| {
        EgressClient::new(
            EgressPolicy::default(),
            EgressLimits::default(),
            Arc::new(SystemResolver),
        )
        .unwrap()
    });
    ONE.clone()
}

pub(crate) fn context(egress: EgressClient) -> ConnectContext {
    ConnectContext {
        egress: Arc::new(egress),
        clock: Arc::new(SystemClock),
        user_agent: "Belfry/test".to_owned(),
        directory: Arc::new(belfry_targets::NoDirectory),
        functions: Arc::new(belfry_functions::NoFunctions),
    }
}

/// An event that was accepted in the structured form of CloudEvents.
pub(crate) fn structured() -> Event {
    let doc = r#"{"specversion":"1.0","id":"e.1","source":"/disk","type":"disk.full","subject":"磁盘 1","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"n":1.50}}"#;
    Event::structured(Bytes::from_static(doc.as_bytes()), &EventLimits::default()).unwrap()
}

pub(crate) fn job(event: &Event) -> Job<'_> {
    Job {
        delivery: DeliveryId {
            event: EventId::first_at(1_700_000_000_000),
            target: TargetId(7),
        },
        attempt: 1,
        event,
        body: None,
        bus: "default",
        rule: "disks",
        target: "hook",
        accepted_at_ms: 1_700_000_000_000,
        replay: None,
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01".to_owned()),
        alarm: None,
        folded: &[],
        digest: false,
        progress: None,
        link: None,
        trial: false,
        note: None,
        channel: None,
    }
}

/// Checks a value against as much of JSON Schema as our schemas use.
pub(crate) trait Fits {
    fn fits(&self, value: &Value) -> Result<(), String>;
}

impl Fits for Value {
    fn fits(&self, value: &Value) -> Result<(), String> {
        check(self, self, value, "")
    }
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root
            .pointer(reference.trim_start_matches('#'))
            .ok_or_else(|| format!("{reference} leads nowhere"))?;
        check(root, target, value, at)?;
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(options) = schema[word].as_array() {
            let fitting = options
                .iter()
                .filter(|option| check(root, option, value, at).is_ok())
                .count();
            if fitting == 0 || (word == "oneOf" && fitting > 1) {
                return Err(format!("{at}: {fitting} of {word} fit {value}"));
            }
        }
    }
    if let Some(constant) = schema.get("const")
        && constant != value
    {
        return Err(format!("{at}: expected {constant}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{at}: {value} is none of {words:?}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.is_empty() && !types.contains(&actual) {
        return Err(format!("{at}: {value} is no {types:?}"));
    }
    if let Some(members) = value.as_object() {
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !members.contains_key(name) {
                return Err(format!("{at}: {name} is missing"));
            }
        }
        for (name, member) in members {
            let at = format!("{at}/{name}");
            match (
                schema["properties"].get(name),
                &schema["additionalProperties"],
            ) {
                (Some(known), _) => check(root, known, member, &at)?,
                (None, Value::Bool(false)) => return Err(format!("{at} is unknown")),
                (None, other) if other.is_object() => check(root, other, member, &at)?,
                _ => {}
            }
        }
    }
    if let Some(items) = value.as_array() {
        for (n, item) in items.iter().enumerate() {
            check(root, &schema["items"], item, &format!("{at}/{n}"))?;
        }
    }
    Ok(())
}

/// A signing secret.
pub(crate) const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

/// A webhook of these settings, or what is wrong with them.
pub(crate) fn try_webhook(settings: Value) -> Result<Arc<dyn Target>, Vec<FieldError>> {
    find_kind("webhook")
        .unwrap()
        .connect(settings, &context(egress()))
}

/// A webhook with one secret, and with the members of `more`.
pub(crate) fn webhook(url: &str, more: &Value) -> Arc<dyn Target> {
    let mut settings =
        json!({ "url": url, "timeoutSeconds": 1, "signing": { "secrets": [SECRET] } });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    try_webhook(settings)
        .map_err(|errors| format!("{errors:?}"))
        .unwrap()
}
