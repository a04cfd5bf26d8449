//! One file a format. Each says in its first line where the format comes from.

pub(crate) mod alertmanager;
pub(crate) mod alibaba_event;
pub(crate) mod alibaba_eventbridge;
pub(crate) mod alibaba_subscription;
pub(crate) mod alibaba_threshold;
pub(crate) mod aws_eventbridge;
pub(crate) mod aws_sns;
pub(crate) mod azure_common;
pub(crate) mod cloudevents;
pub(crate) mod datadog;
pub(crate) mod gcp_monitoring;
pub(crate) mod generic;
pub(crate) mod github;
pub(crate) mod huawei_smn;
pub(crate) mod jdcloud;
pub(crate) mod sentry;
pub(crate) mod tencent_eb;
pub(crate) mod tencent_tcop;
pub(crate) mod zabbix;

#[cfg(test)]
mod tests {
    use belfry_model::Event;
    use belfry_model::event::{EventLimits, Fill};
    use bytes::Bytes;
    use serde_json::{Value, json};

    use crate::body::Body;
    use crate::source::{Incoming, Outcome, Request, Source};
    use crate::spec::SourceSpec;

    struct Filled;

    impl Fill for Filled {
        fn id(&mut self) -> String {
            panic!("every document has an id")
        }
        fn now_ms(&mut self) -> i64 {
            0
        }
    }

    /// What is signed cannot be changed from outside and still be read, so this looks behind the signature.
    #[test]
    fn a_signed_message_may_say_anything_too() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/");
        let source = Source::new(SourceSpec::default()).unwrap();
        for (file, format, member) in [
            (
                "cloudwatch-sns/alarm-sigv1.json",
                &super::aws_sns::FORMAT,
                "Message",
            ),
            (
                "cloudwatch-sns/composite.json",
                &super::aws_sns::FORMAT,
                "Message",
            ),
            ("huawei/alarm.json", &super::huawei_smn::FORMAT, "message"),
        ] {
            let text = std::fs::read_to_string(format!("{dir}{file}")).unwrap();
            let whole: Value = serde_json::from_str(&text).unwrap();
            let message: Value = serde_json::from_str(whole[member].as_str().unwrap()).unwrap();
            let read = |envelope: &Value| {
                let incoming = Incoming {
                    body: Bytes::from(envelope.to_string()),
                    ..Incoming::default()
                };
                let Ok(body) = Body::read(&incoming) else {
                    return;
                };
                let request = Request {
                    incoming: &incoming,
                    body,
                    source: &source,
                    certificate: None,
                };
                match (format.read)(&request) {
                    Ok(Outcome::Events(documents)) => {
                        for document in documents {
                            let limits = EventLimits::default();
                            let event = Event::lenient(document, &mut Filled, &limits);
                            assert!(event.is_ok(), "{event:?}");
                        }
                    }
                    Ok(Outcome::Handshake { confirm_url, .. }) => {
                        assert!(confirm_url.starts_with("https://"));
                    }
                    Ok(_) => {}
                    Err(error) => assert!(!error.detail.is_empty()),
                }
            };
            let hostile = [
                json!(null),
                json!(1e300),
                json!(""),
                json!("\u{1}"),
                json!("\u{fffe}\u{0}"),
                json!([]),
                json!([[]]),
                json!({}),
                json!("a:b:c:d:e/f"),
                json!("{\"a\":1,\"a\":2}"),
                json!("磁".repeat(30_000)),
                json!("SubscriptionConfirmation"),
                json!("UnsubscribeConfirmation"),
                json!("https://evil.example/"),
            ];
            for value in &hostile {
                for name in whole.as_object().unwrap().keys() {
                    let mut changed = whole.clone();
                    changed[name] = value.clone();
                    read(&changed);
                    changed.as_object_mut().unwrap().shift_remove(name);
                    read(&changed);
                }
                let inner = message
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|name| format!("/{name}"));
                let below = [
                    "/Trigger/Dimensions",
                    "/Trigger/Threshold",
                    "/template_variable/AlarmLevel",
                ];
                for pointer in inner.chain(below.map(str::to_owned)) {
                    let mut changed = message.clone();
                    let Some(place) = changed.pointer_mut(&pointer) else {
                        continue;
                    };
                    *place = value.clone();
                    let mut envelope = whole.clone();
                    envelope[member] = json!(changed.to_string());
                    read(&envelope);
                    if let Some(map) = changed.as_object_mut() {
                        map.shift_remove(pointer.trim_start_matches('/'));
                    }
                    envelope[member] = json!(changed.to_string());
                    read(&envelope);
                }
            }
        }
    }
}
