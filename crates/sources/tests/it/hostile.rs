//! Whatever comes in, what comes out is events that a bus takes, or a reason.

use std::collections::HashSet;

use belfry_sources::{Incoming, Outcome, RefusedKind, Source};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Sample, accepted, any, certificate, index, json_request, sample, source};

/// Reads; panics when what comes out is neither events that a bus takes nor a reason.
fn check(source: &Source, incoming: &Incoming) -> Option<Vec<Value>> {
    for certificate in [None, Some(certificate())] {
        match source.read(incoming, certificate.as_deref()) {
            Ok(read) => match read.outcome {
                Outcome::Events(documents) => {
                    assert!(!documents.is_empty());
                    return Some(documents.iter().map(accepted).collect());
                }
                Outcome::Handshake { confirm_url, .. } => {
                    assert!(confirm_url.starts_with("https://"), "{confirm_url}");
                    return None;
                }
                Outcome::Answered(_) => return None,
                Outcome::NeedsCertificate { .. } => {}
            },
            Err(refused) => {
                assert!(!refused.error.detail.is_empty());
                return None;
            }
        }
    }
    panic!("a certificate is asked for again and again")
}

/// Every place in a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(inner, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(list) => {
            for (n, inner) in list.iter().enumerate() {
                places(inner, &format!("{at}/{n}"), found);
            }
        }
        _ => {}
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.shift_remove(&name);
        }
        Some(Value::Array(list)) => {
            if let Ok(n) = name.parse::<usize>() {
                list.remove(n);
            }
        }
        _ => {}
    }
}

fn hostile() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e308),
        json!(""),
        json!([]),
        json!({}),
        json!("\u{0}\u{1}\u{7f}\u{9f}\r\nX-Injected: 1"),
        json!("\u{fffe}\u{fdd0}"),
        json!(
            "<script>alert(1)</script> @all [x](javascript:alert(1)) ${{jndi:ldap://x}} {{ .Env }} \u{202e}"
        ),
        json!(format!("{}{}", "x".repeat(4_000), "磁".repeat(400))),
        json!("{\"a\":1,\"a\":2}"),
        json!("0001-01-01T00:00:00Z"),
        json!("::::/:::/"),
    ]
}

fn with_body(sample: &Sample, body: &Value) -> Incoming {
    Incoming {
        body: Bytes::from(body.to_string()),
        content_type: Some("application/json".to_owned()),
        ..sample.incoming()
    }
}

/// What a sample says, as JSON also where it came as a form.
fn value_of(sample: &Sample) -> Value {
    serde_json::from_slice(&sample.body()).unwrap_or_else(|_| {
        let text = String::from_utf8(sample.body().to_vec()).unwrap();
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    })
}

#[test]
fn every_member_of_every_sample_may_be_missing_or_anything_else() {
    // No secrets: what is signed would only be refused.
    let detecting = source(&json!({}));
    let hostile = hostile();
    let mut seen = HashSet::new();
    let mut turn = 0;
    for sample in index() {
        let fixed = source(&json!({ "format": sample.format }));
        // Everything for one sample of each format, one value for each place of the others.
        let first = seen.insert(sample.format.clone());
        let whole = value_of(&sample);
        let mut pointers = Vec::new();
        places(&whole, "", &mut pointers);
        for pointer in &pointers {
            if first {
                let mut without = whole.clone();
                remove(&mut without, pointer);
                check(&detecting, &with_body(&sample, &without));
                check(&fixed, &with_body(&sample, &without));
            }
            let start = if first { 0 } else { turn };
            let count = if first { hostile.len() } else { 1 };
            for value in hostile.iter().cycle().skip(start).take(count) {
                let mut changed = whole.clone();
                changed.pointer_mut(pointer).unwrap().clone_from(value);
                check(&fixed, &with_body(&sample, &changed));
            }
            turn = (turn + 1) % hostile.len();
        }
    }
}

#[test]
fn injected_text_stays_in_the_value_it_was_injected_into() {
    let text = "\",\"severity\":\"info\",\"x\":\"\r\nSet-Cookie: a=b";
    let mut body = value_of(&sample("tencent/tcop-metric-cvm-cpu.json"));
    for pointer in [
        "/sessionId",
        "/alarmPolicyInfo/policyName",
        "/alarmPolicyInfo/conditions/metricName",
        "/alarmObjInfo/dimensions/unInstanceId",
        "/alarmObjInfo/region",
    ] {
        *body.pointer_mut(pointer).unwrap() = json!(text);
    }
    let incoming = json_request(body.to_string());
    let event = check(&any(), &incoming).unwrap().remove(0);
    let clean = "\",\"severity\":\"info\",\"x\":\" Set-Cookie: a=b";
    assert_eq!(event["severity"], "warning");
    assert_eq!(event["subject"], clean);
    assert_eq!(event["region"], clean);
    assert_eq!(event["type"], format!("cvm:MetricAlarm:{clean}"));
    assert_eq!(event.get("x"), None);
    assert_eq!(event["data"]["raw"]["alarmPolicyInfo"]["policyName"], text);
}

#[test]
fn a_body_that_nobody_can_read_is_refused_with_a_reason() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    for (body, part) in [
        (&b""[..], "empty"),
        (b"not json", "not valid JSON"),
        (b"{\"a\":1,\"a\":2}", "a"),
        (b"{\"a\":\"\xc3\x28\"}", "UTF-8"),
        (b"\xff\xfe{\0}\0", "UTF-8"),
        (b"{\"a\":\"\x01\"}", "not valid JSON"),
        (b"{\"a\":\"\\ud800\"}", "not valid JSON"),
        (b"{\"a\":1}{\"b\":2}", "not valid JSON"),
        (b"42", "object"),
        (deep.as_bytes(), ""),
    ] {
        let incoming = json_request(Bytes::copy_from_slice(body));
        let refused = any().read(&incoming, None).unwrap_err();
        assert_eq!(refused.kind, RefusedKind::Body);
        assert!(refused.error.to_string().contains(part), "{refused}");
    }
    // Named, but not what the name says.
    for format in belfry_sources::formats() {
        let fixed = source(&json!({ "format": format.name }));
        let read = fixed.read(&json_request("{}"), None);
        match format.name {
            "generic" => assert!(read.is_ok()),
            name => {
                let refused = read.unwrap_err();
                assert_eq!(refused.format, Some(name));
                assert_ne!(refused.error.pointer, "", "{name}: {refused}");
            }
        }
    }
}

#[test]
fn too_many_alerts_are_refused_not_cut() {
    let alert = json!({"status": "firing", "labels": {}});
    let body = json!({"groupLabels": {}, "alerts": vec![alert; 1001]});
    let refused = any()
        .read(&json_request(body.to_string()), None)
        .unwrap_err();
    assert_eq!(refused.error.pointer, "/alerts");
}

#[test]
fn an_alert_of_nothing_but_quotes_is_still_taken() {
    let quotes = "\"".repeat(20_000);
    let labels: serde_json::Map<_, _> = (0..100)
        .map(|n| (format!("{n}{quotes}"), json!(quotes)))
        .chain([
            ("alertname".to_owned(), json!(quotes)),
            ("instance".to_owned(), json!(quotes)),
        ])
        .collect();
    let url = format!("https://x.example/{}", "\"".repeat(2020));
    let alert = json!({
        "status": "firing", "labels": labels, "fingerprint": quotes, "generatorURL": url, "silenceURL": url,
        "dashboardURL": url, "panelURL": url,
        "annotations": {"summary": quotes, "value": quotes, "runbook_url": url},
    });
    let body = json!({"groupLabels": {}, "alerts": [alert]});
    // `check` holds it against the default bounds of an event.
    assert!(check(&any(), &json_request(body.to_string())).is_some());
}

#[test]
fn an_alert_without_fingerprint_has_one_by_its_labels() {
    let body = |labels: Value| {
        json!({"groupLabels": {}, "alerts": [{"status": "firing", "labels": labels}]}).to_string()
    };
    let key = |labels: Value| {
        check(&any(), &json_request(body(labels)))
            .unwrap()
            .remove(0)["alarmkey"]
            .take()
    };
    assert_eq!(
        key(json!({"a": "1", "b": "2"})),
        key(json!({"b": "2", "a": "1"}))
    );
    assert_ne!(key(json!({"a": "1"})), key(json!({"a": "2"})));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_events_or_a_reason(body: Vec<u8>, content_type in "[a-z/;=-]{0,40}", query in "\\PC{0,40}") {
        let incoming = Incoming {
            content_type: Some(content_type),
            query: Some(query),
            body: Bytes::from(body),
            ..Incoming::default()
        };
        check(&any(), &incoming);
    }

    #[test]
    fn a_sample_with_bytes_changed_is_events_or_a_reason(
        pick in 0_usize..1000,
        changes in proptest::collection::vec((0_usize..4096, 0_u8..=255), 1..6),
        cut in proptest::option::of(0_usize..4096),
    ) {
        let samples = index();
        let sample = &samples[pick % samples.len()];
        let mut incoming = sample.incoming();
        let mut body = incoming.body.to_vec();
        for (at, byte) in changes {
            let at = at % body.len();
            body[at] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut % (body.len() + 1));
        }
        incoming.body = Bytes::from(body);
        check(&source(&json!({})), &incoming);
    }
}
