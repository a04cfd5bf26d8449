use super::*;

#[test]
fn the_alarm_format_is_kept_as_it_is() {
    let event = lenient(ALARM).unwrap();
    assert_eq!(event.doc(), ALARM);
    assert!(!event.is_cloudevent());
    assert_eq!(event.kind(), "cdb:ErrorEvent:Switch");
    assert_eq!(event.subject(), Some("cdb-demo0001"));
    let payload = event.payload();
    assert!(payload.bytes.starts_with(b"{\n    \"appId\""));
    assert_eq!(
        payload.content_type.as_deref(),
        Some("application/json;charset=utf-8")
    );
    stored(&event);
}

#[test]
fn source_and_type_suffice() {
    let event = lenient(r#"{ "source":"s", "type":"t" }"#).unwrap();
    let want = r#"{"specversion":"1.0","id":"filled-id","time":"2023-11-14T22:13:20.123Z", "source":"s", "type":"t" }"#;
    assert_eq!(event.doc(), want);
    assert_eq!(event.id(), "filled-id");
    assert!(event.is_cloudevent());
    assert!(!event.payload().present);
    stored(&event);
}

#[test]
fn nulls_are_replaced_where_they_stand() {
    let event =
        lenient(r#"{"time" : null,"odd-One":[1,  2],"source":"s","type":"t","id":null}"#).unwrap();
    let want = r#"{"specversion":"1.0","time" : "2023-11-14T22:13:20.123Z","odd-One":[1,  2],"source":"s","type":"t","id":"filled-id"}"#;
    assert_eq!(event.doc(), want);
    assert!(!event.is_cloudevent());
    stored(&event);
}

#[test]
fn times_may_be_milliseconds() {
    let with = |time: &str| {
        lenient(&format!(
            r#"{{"source":"s","type":"t","id":"1","specversion":"1.0","time":{time}}}"#
        ))
    };
    for (time, want) in [
        ("1700000000123", "2023-11-14T22:13:20.123Z"),
        ("\"1700001900000\"", "2023-11-14T22:45:00.000Z"),
        (
            "\"2024-01-01t08:00:00.5+08:00\"",
            "2024-01-01t08:00:00.5+08:00",
        ),
        ("0", "1970-01-01T00:00:00.000Z"),
        ("-1", "1969-12-31T23:59:59.999Z"),
    ] {
        let event = with(time).unwrap();
        assert!(
            String::from_utf8_lossy(event.doc()).contains(time),
            "kept as written"
        );
        let attributes = event.attributes();
        let (_, text) = attributes.iter().find(|(name, _)| name == "time").unwrap();
        assert_eq!(text, want);
        stored(&event);
    }
    for time in [
        "1.5",
        "1e12",
        "99999999999999999",
        "\"yesterday\"",
        "\"20240101\"",
        "true",
        "[]",
        "\"\"",
    ] {
        let errors = with(time).unwrap_err();
        assert_eq!(pointers(&errors), ["/time"], "{time}");
        assert!(errors.to_string().contains("1700000000123"), "{errors}");
    }
}

#[test]
fn what_cannot_be_understood_is_refused() {
    let errors = lenient(
        r#"{"id":1,"specversion":"0.3","subject":7,"datacontenttype":"x","data_base64":"?"}"#,
    )
    .unwrap_err();
    assert_eq!(
        pointers(&errors),
        [
            "/source",
            "/type",
            "/id",
            "/specversion",
            "/subject",
            "/datacontenttype",
            "/data_base64"
        ]
    );
    assert!(
        !errors.to_string().contains("/data:"),
        "data is optional: {errors}"
    );
    assert_eq!(
        pointers(&lenient(r#"{"source":"a\u0007","type":"t"}"#).unwrap_err()),
        ["/source"]
    );
    assert_eq!(
        pointers(
            &lenient(r#"{"source":"s","type":"t","data":1,"data_base64":"AA=="}"#).unwrap_err()
        ),
        ["/data_base64"]
    );
    assert_eq!(
        lenient("[]").unwrap_err().kind,
        EventErrorKind::NotCloudEvent
    );
    assert_eq!(
        lenient(r#"{"a":1,"a":2}"#).unwrap_err().kind,
        EventErrorKind::NotJson
    );
}

#[test]
fn odd_but_clear_events_pass() {
    for text in [
        r#"{"source":"磁盘 x","type":"t","subject":"","tags":{},"region":null}"#,
        r#"{"source":"s","type":"t","datacontenttype":"text/plain","data":{"a":1}}"#,
        r#"{"source":"s","type":"t","dataschema":"not absolute","expirytime":"soon"}"#,
        r#"{"source":"s","type":"t","message":"two\nlines","Type":1,"":2}"#,
    ] {
        let event = lenient(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(!event.is_cloudevent(), "{text}");
        stored(&event);
    }
}

#[test]
fn stored_documents_that_are_no_event_are_an_error() {
    for doc in ["", "[]", "{}", "{\"id\":\"1\"}", "\u{0}"] {
        assert!(Event::from_stored(Bytes::copy_from_slice(doc.as_bytes())).is_err());
    }
}
