use super::*;

fn with(member: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{member}}}"#)
}

#[test]
fn the_body_is_kept_byte_for_byte() {
    let text = " { \"specversion\" : \"1.0\",\"id\":\"\\u0031\", \"source\":\"/s\",\n\"type\":\"t\",\"n\":-0,\"data\": { \"x\" : 1.10 } }\n";
    let event = structured(text).unwrap();
    assert_eq!(event.doc(), text);
    assert_eq!(
        (event.id(), event.source(), event.kind(), event.subject()),
        ("1", "/s", "t", None)
    );
    assert!(event.is_cloudevent());
    assert_eq!(event.payload().bytes, br#"{ "x" : 1.10 }"#.as_slice());
    assert_eq!(event.to_cloudevent(), event.doc());
    stored(&event);
}

#[test]
fn legal_members_pass() {
    for member in [
        r#""subject":"order/1""#,
        r#""subject":null"#,
        r#""time":"2024-01-01T08:00:00+08:00""#,
        r#""time":null"#,
        r#""dataschema":"https://x.example/y#z""#,
        r#""dataschema":"urn:x:y""#,
        r#""datacontenttype":"Text/Plain; charset=\"utf-8\"","data":"a""#,
        r#""datacontenttype":"application/vnd.x+json","data":{}"#,
        r#""datacontenttype":"application/json","data":"a string stays one""#,
        r#""datacontenttype":"text/plain","data":null"#,
        r#""data_base64":"AQID/w==""#,
        r#""data_base64":null,"data":1"#,
        r#""data":null,"data_base64":"AA==""#,
        r#""flag":true,"off":false,"min":-2147483648,"max":2147483647"#,
        r#""verylongattributenamethatshouldbeshorter1":"磁盘 😀""#,
        r#""1starts":"with a digit""#,
        r#""empty":"""#,
        r#""gone":null"#,
        r#""expirytime":"2024-01-01T00:00:00Z""#,
        r#""traceparent":"not one""#,
    ] {
        let event = structured(&with(member)).unwrap_or_else(|error| panic!("{member}: {error}"));
        assert!(event.is_cloudevent(), "{member}");
        stored(&event);
    }
}

#[test]
fn every_broken_rule_names_the_member_and_an_example() {
    let table = [
        (r#""subject":"""#, "/subject", "order/1001"),
        (r#""subject":1"#, "/subject", "got 1"),
        (
            r#""time":"yesterday""#,
            "/time",
            "2024-01-01T08:00:00+08:00\", got \"yesterday\"",
        ),
        (r#""time":1700000000000"#, "/time", "RFC 3339"),
        (r#""expirytime":"soon""#, "/expirytime", "RFC 3339"),
        (r#""dataschema":"/relative""#, "/dataschema", "absolute URI"),
        (r#""dataschema":"""#, "/dataschema", "absolute URI"),
        (
            r#""datacontenttype":"json""#,
            "/datacontenttype",
            "application/json",
        ),
        (
            r#""datacontenttype":1"#,
            "/datacontenttype",
            "application/json",
        ),
        (
            r#""datacontenttype":"text/plain","data":{}"#,
            "/data",
            "a string",
        ),
        (
            r#""data":1,"data_base64":"AA==""#,
            "/data_base64",
            "exclude",
        ),
        (r#""data_base64":"AA""#, "/data_base64", "base64"),
        (r#""data_base64":"A-_=""#, "/data_base64", "base64"),
        (r#""data_base64":{}"#, "/data_base64", "base64"),
        (r#""myExt":"x""#, "/myExt", "e.g. \"myext\""),
        (r#""my-ext":"x""#, "/my-ext", "a-z and 0-9"),
        (r#""my_ext":null"#, "/my_ext", "a-z and 0-9"),
        (r#""Subject":"x""#, "/Subject", "did you mean \"subject\"?"),
        (r#""":"x""#, "/", "a-z and 0-9"),
        (r#""x":1.5"#, "/x", "whole number"),
        (r#""x":1e3"#, "/x", "whole number"),
        (r#""x":2147483648"#, "/x", "2147483647"),
        (r#""x":[]"#, "/x", "arrays and objects"),
        (r#""x":{}"#, "/x", "arrays and objects"),
        (r#""x":"a\nb""#, "/x", "control characters"),
        (r#""x":"a\u0085b""#, "/x", "control characters"),
        (r#""x":"\ufdd0""#, "/x", "control characters"),
        (r#""x":"\ud83f\udfff""#, "/x", "control characters"),
    ];
    for (member, pointer, part) in table {
        let errors = structured(&with(member)).unwrap_err();
        assert_eq!(errors.kind, EventErrorKind::NotCloudEvent);
        assert_eq!(pointers(&errors), [pointer], "{member}");
        assert!(errors.to_string().contains(part), "{member}: {errors}");
    }
}

#[test]
fn required_attributes_are_required_and_typed() {
    let errors = structured("{}").unwrap_err();
    assert_eq!(
        pointers(&errors),
        ["/specversion", "/id", "/source", "/type"]
    );
    assert!(!errors.to_string().contains("lenient"), "{errors}");
    let errors =
        structured(r#"{"specversion":null,"id":null,"source":null,"type":null}"#).unwrap_err();
    assert_eq!(
        pointers(&errors),
        ["/specversion", "/id", "/source", "/type"]
    );
    let errors = structured(r#"{"specversion":1.0,"id":7,"source":"a b","type":""}"#).unwrap_err();
    assert_eq!(
        pointers(&errors),
        ["/specversion", "/id", "/source", "/type"]
    );
    for version in ["\"1.0.2\"", "\"0.3\"", "1"] {
        let text = format!(r#"{{"specversion":{version},"id":"1","source":"/s","type":"t"}}"#);
        assert!(
            structured(&text)
                .unwrap_err()
                .to_string()
                .contains("the string \"1.0\"")
        );
    }
}

#[test]
fn what_the_lenient_form_would_take_is_told() {
    let errors = structured(ALARM).unwrap_err();
    assert_eq!(pointers(&errors), ["/time", "/resource", "/tags"]);
    assert!(
        errors.errors[0]
            .detail
            .contains("application/json to use the lenient form")
    );
    let errors = structured(r#"{"source":"/s","type":"t"}"#).unwrap_err();
    assert!(errors.to_string().contains("lenient form"));
    let errors = structured(r#"{"source":"/s","type":"t","data_base64":"?"}"#).unwrap_err();
    assert!(!errors.to_string().contains("lenient form"));
}

#[test]
fn bodies_that_are_no_event_are_refused() {
    let kinds = |text: &str| structured(text).unwrap_err().kind;
    assert_eq!(kinds("nope"), EventErrorKind::NotJson);
    assert_eq!(kinds(""), EventErrorKind::NotJson);
    assert_eq!(kinds("3"), EventErrorKind::NotCloudEvent);
    assert_eq!(kinds(&with(r#""id":"2""#)), EventErrorKind::NotJson);
    let array = structured("[]").unwrap_err();
    assert!(
        array.to_string().contains("cloudevents-batch+json"),
        "{array}"
    );
}

#[test]
fn sizes_are_bounded() {
    let big = with(&format!("\"data\":\"{}\"", "x".repeat(256 * 1024)));
    assert_eq!(structured(&big).unwrap_err().kind, EventErrorKind::TooLarge);
    let long = with(&format!("\"subject\":\"{}\"", "x".repeat(1025)));
    assert!(
        structured(&long)
            .unwrap_err()
            .to_string()
            .contains("at most 1024 bytes")
    );
    let long = with(&format!("\"x\":\"{}\"", "x".repeat(8193)));
    assert!(
        structured(&long)
            .unwrap_err()
            .to_string()
            .contains("at most 8192 bytes")
    );
    let many: Vec<String> = (0..130).map(|n| format!("\"x{n}\":1")).collect();
    assert!(
        structured(&with(&many.join(",")))
            .unwrap_err()
            .to_string()
            .contains("at most 128 attributes")
    );
    let deep = with(&format!("\"data\":{}{}", "[".repeat(64), "]".repeat(64)));
    assert_eq!(structured(&deep).unwrap_err().kind, EventErrorKind::NotJson);
    // What an intermediary must forward: 64 KiB.
    assert!(structured(&with(&format!("\"data\":\"{}\"", "x".repeat(64 * 1024)))).is_ok());
}

#[test]
fn debug_shows_no_payload() {
    let event = structured(&with(r#""data":"secret""#)).unwrap();
    assert!(!format!("{event:?}").contains("secret"));
}

#[test]
fn extensions_with_a_meaning_are_read() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let event = structured(&with(&format!(
        r#""traceparent":"{trace}","expirytime":"1970-01-01T00:00:01.5Z""#
    )))
    .unwrap();
    assert_eq!(event.traceparent(), Some(trace));
    assert_eq!(event.expires_at_ms(), Some(1500));
}
