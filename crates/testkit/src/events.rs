//! The events that tests post.

use serde_json::{Value, json};

/// The alarm that the product was made for: the disk of a cloud server can only be read.
pub const DISK_READ_ONLY: &[u8] = include_bytes!("../fixtures/disk-read-only.json");

/// The pattern that such alarms match.
pub fn disk_pattern() -> Value {
    json!({"source": ["cvm.cloud.tencent"], "type": [{"prefix": "cvm:ErrorEvent:Disk"}]})
}

/// The alarm as a value, with an id of its own.
pub fn disk_alarm(id: &str) -> Value {
    let mut event: Value = serde_json::from_slice(DISK_READ_ONLY).unwrap_or_default();
    if let Some(members) = event.as_object_mut() {
        members.insert("id".to_owned(), id.into());
    }
    event
}

/// A small `CloudEvent`.
pub fn event(id: &str, kind: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "tests", "type": kind, "data": {"id": id}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_is_an_event_with_extensions_and_a_time_in_milliseconds() {
        let event = disk_alarm("x");
        assert_eq!(event["id"], "x");
        assert!(event["time"].is_i64());
        for name in ["subject", "region", "status", "resource", "tags", "data"] {
            assert!(!event[name].is_null(), "{name}");
        }
    }
}
