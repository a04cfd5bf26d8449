//! The notification callback of Tencent Cloud's monitoring, which existing receivers of alarms understand.
//!
//! Source of the format: the vendor's documentation of event notifications (HTTP callback). Events of its anti-DDoS
//! service are posted as they are, as the vendor does.

use belfry_model::event::parse_timestamp_ms;
use bytes::Bytes;
use chrono::{DateTime, FixedOffset};
use serde_json::{Value, json};

use crate::target::Job;

/// The vendor's times have no zone; they are in this one.
const OFFSET_SECONDS: i32 = 8 * 3600;
/// The source whose events are posted as they are.
const RAW_SOURCE: &str = "antiddos.cloud.tencent";

/// Short names of regions; a region that is not here keeps its full name.
const REGIONS: [(&str, &str); 22] = [
    ("ap-guangzhou", "gz"),
    ("ap-shanghai", "sh"),
    ("ap-beijing", "bj"),
    ("ap-chengdu", "cd"),
    ("ap-chongqing", "cq"),
    ("ap-nanjing", "nj"),
    ("ap-hongkong", "hk"),
    ("ap-taipei", "tpe"),
    ("ap-singapore", "sg"),
    ("ap-bangkok", "th"),
    ("ap-jakarta", "jkt"),
    ("ap-mumbai", "in"),
    ("ap-seoul", "kr"),
    ("ap-tokyo", "jp"),
    ("ap-shenzhen-fsi", "szjr"),
    ("ap-shanghai-fsi", "shjr"),
    ("ap-beijing-fsi", "bjjr"),
    ("na-siliconvalley", "usw"),
    ("na-ashburn", "use"),
    ("na-toronto", "ca"),
    ("eu-frankfurt", "de"),
    ("sa-saopaulo", "sao"),
];

/// The body for an event.
pub(crate) fn body(job: &Job<'_>) -> Bytes {
    let event = job.event;
    if event.source() == RAW_SOURCE {
        return event.doc().clone();
    }
    let doc: Value = serde_json::from_slice(event.doc()).unwrap_or_default();
    let text = |name: &str| doc.get(name).and_then(scalar).unwrap_or_default();
    let data = doc.get("data");
    let kind = event.kind();
    let product = kind.split(':').next().unwrap_or_default();
    let dimensions = data.and_then(|data| data.get("dimensions")).cloned();
    let unnamed = dimensions.is_none() || product == "cvm";
    let mut dimensions = dimensions.unwrap_or_else(|| json!({}));
    // A receiver looks here for the instance; the event has it as its subject.
    if let (Some(dimensions), Some(subject)) = (dimensions.as_object_mut(), event.subject())
        && unnamed
    {
        let named = dimensions.entry("unInstanceId");
        named.or_insert_with(|| json!(subject));
    }
    let name = snake_case(kind.rsplit(':').next().unwrap_or_default());
    let more: Vec<Value> = data
        .and_then(|data| data.get("additionalMsg"))
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| json!({ "key": key, "value": scalar(value).unwrap_or_else(|| value.to_string()) }))
        .collect();
    let status = Some(text("status")).filter(|status| !status.is_empty());
    let happened = parse_timestamp_ms(&text("time"))
        .or_else(|| text("time").parse().ok())
        .unwrap_or(job.accepted_at_ms);
    let first = job
        .alarm
        .map(|life| life.first_at_ms)
        .filter(|first| *first > 0);
    let recovered = status.as_deref() == Some("0");
    let body = json!({
        "sessionId": event.id(),
        "alarmStatus": status.as_deref().unwrap_or("-"),
        "alarmType": "event",
        "alarmObjInfo": { "region": region(&text("region")), "dimensions": dimensions },
        "alarmPolicyInfo": {
            "policyName": job.rule,
            "conditions": {
                "productName": product,
                "eventName": name,
                "alarmNotifyType": "",
                "alarmNotifyPeriod": "",
            },
        },
        "additionalMsg": more,
        "firstOccurTime": local(first.unwrap_or(happened)),
        "durationTime": 0,
        "recoverTime": if recovered { local(happened) } else { "0".to_owned() },
    });
    Bytes::from(body.to_string())
}

fn region(name: &str) -> String {
    let short = REGIONS.iter().find(|(full, _)| *full == name);
    short.map_or(name, |(_, short)| short).to_owned()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `GuestReboot` is `guest_reboot`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut before = '_';
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            if before != '_' && !before.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        } else {
            snake.push(c);
        }
        before = c;
    }
    snake
}

fn local(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    match FixedOffset::east_opt(OFFSET_SECONDS) {
        Some(offset) => time
            .with_timezone(&offset)
            .format("%Y-%m-%d %H:%M:%S")
            .to_string(),
        None => time.format("%Y-%m-%d %H:%M:%S").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_events_and_regions_are_those_of_the_vendor() {
        for (name, snake) in [
            ("GuestReboot", "guest_reboot"),
            ("PingUnreachable", "ping_unreachable"),
            ("ping_unreachable", "ping_unreachable"),
            ("DiskFULL", "disk_full"),
            ("", ""),
        ] {
            assert_eq!(snake_case(name), snake);
        }
        assert_eq!(region("ap-guangzhou"), "gz");
        assert_eq!(region("mars-olympus"), "mars-olympus");
        assert_eq!(local(1_634_613_347_000), "2021-10-19 11:15:47");
    }
}
