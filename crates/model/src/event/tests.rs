//! Tables over the rules of CloudEvents 1.0 and of our own forms. What several of them need stands here.

use bytes::Bytes;

use super::*;

mod binary;
mod content;
mod deliver;
mod lenient;
mod properties;
mod structured;
mod text;

/// Fills in the same id and time always: 2023-11-14T22:13:20.123Z.
struct Fixed;

impl Fill for Fixed {
    fn id(&mut self) -> String {
        "filled-id".to_owned()
    }
    fn now_ms(&mut self) -> i64 {
        1_700_000_000_123
    }
}

fn limits() -> EventLimits {
    EventLimits::default()
}

fn structured(text: &str) -> Result<Event, EventErrors> {
    Event::structured(Bytes::copy_from_slice(text.as_bytes()), &limits())
}

fn lenient(text: &str) -> Result<Event, EventErrors> {
    Event::lenient(
        Bytes::copy_from_slice(text.as_bytes()),
        &mut Fixed,
        &limits(),
    )
}

/// The four required headers and `more`.
fn headers(more: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    let required: [(&str, &[u8]); 4] = [
        ("specversion", b"1.0"),
        ("id", b"a-1"),
        ("source", b"/shop"),
        ("type", b"t.created"),
    ];
    required
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .collect()
}

fn binary(
    content_type: Option<&str>,
    more: &[(&str, &[u8])],
    body: &[u8],
) -> Result<Event, EventErrors> {
    let content_type = content_type.map(str::as_bytes);
    Event::binary(
        content_type,
        &headers(more),
        Bytes::copy_from_slice(body),
        &limits(),
    )
}

fn pointers(errors: &EventErrors) -> Vec<&str> {
    errors
        .errors
        .iter()
        .map(|error| error.pointer.as_str())
        .collect()
}

/// Reads back what was stored and finds the same event.
fn stored(event: &Event) -> Event {
    let back = Event::from_stored(event.doc().clone()).unwrap();
    assert_eq!(&back, event);
    back
}

/// An event in Tencent's alarm format.
const ALARM: &str = r#"{
  "specversion": "1.0",
  "id": "6f2b6f0e-1f0a-4c1a-9a53-6a5b1d2c0009",
  "source": "cdb.cloud.tencent",
  "type": "cdb:ErrorEvent:Switch",
  "subject": "cdb-demo0001",
  "time": 1700001500000,
  "region": "ap-guangzhou",
  "resource": [
    "qcs::eb:ap-guangzhou:uid/1250000001:eventbusid/eb-demo0001"
  ],
  "datacontenttype": "application/json;charset=utf-8",
  "tags": { "a": 1.50 },
  "status": "-",
  "data": {
    "appId": "1250000001",
    "additionalMsg": { "instanceName": "订单库" }
  }
}
"#;
