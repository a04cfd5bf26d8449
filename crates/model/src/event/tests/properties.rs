use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn json() -> impl Strategy<Value = Value> {
    let text = "[^\u{0}]{0,6}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        ".{0,32}".prop_map(String::into_bytes),
        (json(), "[ \t\r\n]{0,3}", "[ \t\r\n]{0,3}")
            .prop_map(|(value, before, after)| format!("{before}{value}{after}").into_bytes()),
        json().prop_map(|value| format!("{value:#}").into_bytes()),
    ]
}

fn content_type() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![
        None,
        Some("application/json"),
        Some("application/x+json; charset=UTF-8"),
        Some("text/plain; a=\"b c\""),
        Some("application/octet-stream"),
    ])
}

/// An event of odd members around the few that are needed.
fn odd_event() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        "[a-zA-Z0-9_-]{0,6}",
        prop::sample::select(vec![
            "subject",
            "time",
            "data",
            "datacontenttype",
            "dataschema",
            "expirytime",
            "Id",
            "ID",
            "data_base64",
        ])
        .prop_map(str::to_owned),
        "[^\u{0}]{0,4}",
    ];
    prop::collection::vec((name, json()), 0..10).prop_map(|extra| {
        let mut members: Map<String, Value> = extra.into_iter().collect();
        members.insert("source".into(), "s x".into());
        members.insert("type".into(), "t".into());
        Value::Object(members)
    })
}

fn check_outputs(event: &Event) -> Result<(), TestCaseError> {
    prop_assert_eq!(&Event::from_stored(event.doc().clone()).unwrap(), event);
    let unbounded = EventLimits {
        attribute_bytes: usize::MAX,
        identity_bytes: usize::MAX,
        ..limits()
    };
    let out = event.to_cloudevent();
    let legal = Event::structured(out.clone(), &unbounded);
    prop_assert!(legal.is_ok(), "{:?} from {:?}", legal, event.doc());
    let legal = legal.unwrap();
    prop_assert!(legal.is_cloudevent());
    prop_assert_eq!(legal.to_cloudevent(), out);
    prop_assert_eq!(legal.attributes(), event.attributes());
    prop_assert_eq!((legal.id(), legal.kind()), (event.id(), event.kind()));
    prop_assert_eq!(legal.payload().present, event.payload().present);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn binary_events_come_back(
        content_type in content_type(),
        body in body(),
        subject in "[^\\p{Cc}\u{fdd0}-\u{fdef}\u{fffe}\u{ffff}\u{1fffe}\u{1ffff}\"]{1,12}",
    ) {
        // The header's own white space is not part of the value.
        prop_assume!(super::super::text::legal_string(&subject));
        let encoded = percent_encode(&subject);
        let event = binary(content_type, &[("subject", encoded.as_bytes()), ("n", b"7")], &body).unwrap();
        let back = Event::from_stored(event.doc().clone()).unwrap();
        prop_assert_eq!(&back, &event);
        let payload = back.payload();
        prop_assert_eq!(payload.bytes.as_ref(), body.as_slice());
        prop_assert_eq!(payload.present, !body.is_empty());
        if content_type.is_some() {
            prop_assert_eq!(payload.content_type.as_deref(), content_type);
        }
        let attributes = back.attributes();
        let got: Vec<(&str, &str)> = attributes.iter().map(|(name, text)| (name.as_ref(), text.as_ref())).collect();
        let want = [
            ("specversion", "1.0"), ("id", "a-1"), ("source", "/shop"), ("type", "t.created"),
            ("subject", subject.as_str()), ("n", "7"),
        ];
        prop_assert_eq!(got, want);
        prop_assert!(back.is_cloudevent());
        prop_assert_eq!(&back.to_cloudevent(), event.doc());
        check_outputs(&back)?;
    }

    #[test]
    fn structured_events_are_kept(data in json(), pretty in any::<bool>()) {
        let value = serde_json::json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": data});
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        let event = structured(&text).unwrap();
        prop_assert_eq!(event.doc(), &text);
        let payload = event.payload();
        // Texts are compared, not values: reading a float back may change its last digit.
        let payload = std::str::from_utf8(&payload.bytes).unwrap();
        let data = value["data"].to_string();
        let same = if pretty { text.contains(payload) } else { payload == data };
        prop_assert!(same);
        check_outputs(&event)?;
    }

    #[test]
    fn odd_events_become_legal(value in odd_event(), pretty in any::<bool>()) {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        if let Ok(event) = lenient(&text) {
            check_outputs(&event)?;
        }
        if let Ok(event) = structured(&text) {
            prop_assert!(event.is_cloudevent());
            check_outputs(&event)?;
        }
    }

    #[test]
    fn encoded_values_decode_to_themselves(value in any::<String>()) {
        let encoded = percent_encode(&value);
        prop_assert!(encoded.bytes().all(|b| matches!(b, 0x21..=0x7e)));
        prop_assert_eq!(percent_decode_header(encoded.as_bytes()).unwrap(), value);
    }

    #[test]
    fn no_bytes_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..128),
        name in ".{0,8}",
        content_type in prop::option::of(prop::collection::vec(any::<u8>(), 0..32)),
    ) {
        let body = Bytes::from(bytes.clone());
        std::hint::black_box(Event::structured(body.clone(), &limits())).ok();
        std::hint::black_box(Event::lenient(body.clone(), &mut Fixed, &limits())).ok();
        std::hint::black_box(split_batch(&body, &limits())).ok();
        std::hint::black_box(content_mode(content_type.as_deref(), false)).ok();
        std::hint::black_box(percent_decode_header(&bytes)).ok();
        std::hint::black_box(parse_traceparent(&String::from_utf8_lossy(&bytes)));
        std::hint::black_box(Event::binary(content_type.as_deref(), &headers(&[(&name, &bytes)]), body.clone(), &limits())).ok();
        if let Ok(event) = Event::from_stored(body) {
            std::hint::black_box((event.payload(), event.attributes(), event.to_cloudevent()));
        }
    }

    #[test]
    fn no_document_panics(value in odd_event(), cut in 0_usize..200, put in ".{0,3}") {
        let text = value.to_string();
        let at = (0..=cut.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let body = Bytes::from(format!("{}{put}{}", &text[..at], &text[at..]));
        std::hint::black_box(Event::structured(body.clone(), &limits())).ok();
        std::hint::black_box(Event::lenient(body.clone(), &mut Fixed, &limits())).ok();
        if let Ok(event) = Event::from_stored(body) {
            std::hint::black_box((event.payload(), event.attributes(), event.to_cloudevent()));
        }
    }
}
