use super::*;

#[test]
fn the_six_minimal_samples_come_back_byte_for_byte() {
    let samples: [(&str, &str); 6] = [
        ("text/plain; charset=us-ascii", "Hello CloudEvents!"),
        ("text/plain; charset=utf-8", "Hello CloudEvents! 😀"),
        ("application/json", "\"Hello CloudEvents!\""),
        (
            "application/json",
            r#"{"msg": "Hello CloudEvents!", "n": 1.0}"#,
        ),
        (
            "application/json; charset=utf-8",
            "[\"Hello\", \"CloudEvents!\"]",
        ),
        (
            "application/xml",
            "<?xml version=\"1.0\"?>\r\n<msg>Hello</msg>\n",
        ),
    ];
    for (content_type, body) in samples {
        let event = stored(&binary(Some(content_type), &[], body.as_bytes()).unwrap());
        let payload = event.payload();
        assert_eq!(payload.bytes, body.as_bytes());
        assert_eq!(payload.content_type.as_deref(), Some(content_type));
        assert!(event.is_cloudevent());
        assert!(
            structured(std::str::from_utf8(event.doc()).unwrap()).is_ok(),
            "legal as it is stored"
        );
    }
}

#[test]
fn the_document_is_put_together_from_headers_and_body() {
    let event = binary(
        Some("application/json"),
        &[("subject", b"%E7%A3%81")],
        b"{\"a\" : 1}",
    )
    .unwrap();
    let want = r#"{"specversion":"1.0","id":"a-1","source":"/shop","type":"t.created","subject":"磁","datacontenttype":"application/json","data":{"a" : 1}}"#;
    assert_eq!(event.doc(), want);
}

#[test]
fn bodies_find_their_form_and_come_back() {
    let json = Some("application/json");
    let table: [(Option<&str>, &[u8], &str); 14] = [
        (json, b" {\"a\":1}\n", "{\t\"specversion\""),
        (None, b"\t[1]\r\n", "\"data\":\t[1]"),
        (None, b"{\"a\":1}", "\"data\":{\"a\":1}}"),
        (None, b"plain", "\"data_base64\":"),
        (json, b"{'a': 1}", "\"data_base64\":"),
        (json, b"{\"a\":1,\"a\":2}", "\"data_base64\":"),
        (json, b"  \n", "\"data_base64\":"),
        (Some("application/vnd.x+json"), b"null", "\"data\":null"),
        (Some("text/plain"), b" \" \\ \n\x01 ", "\"data\":\" "),
        (Some("text/plain"), b"a\0b", "\"data_base64\":"),
        (Some("text/plain"), b"null", "\"data\":\"null\""),
        (
            Some("application/octet-stream"),
            b"\xff\x00",
            "\"data_base64\":",
        ),
        (Some("text/plain"), &[1; 500], "\"data_base64\":"),
        (Some("text/plain"), b"\xed\xa0\x80", "\"data_base64\":"),
    ];
    for (content_type, body, part) in table {
        let event = stored(&binary(content_type, &[], body).unwrap());
        let doc = String::from_utf8_lossy(event.doc()).into_owned();
        assert!(doc.contains(part), "{doc}");
        assert_eq!(event.payload().bytes, body, "{doc}");
        assert!(event.payload().present);
        assert!(event.is_cloudevent(), "{doc}");
    }
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let event = binary(json, &[], deep.as_bytes()).unwrap();
    assert!(String::from_utf8_lossy(event.doc()).contains("data_base64"));
    assert_eq!(event.payload().bytes, deep.as_bytes());
}

#[test]
fn an_empty_body_is_no_data() {
    for content_type in [None, Some(""), Some("application/json"), Some("text/plain")] {
        let event = stored(&binary(content_type, &[], b"").unwrap());
        assert!(!event.payload().present);
        assert!(event.is_cloudevent());
    }
}

#[test]
fn json_is_demanded_only_when_asked_for() {
    let strict = EventLimits {
        require_valid_json: true,
        ..limits()
    };
    let read = |content_type: &[u8], body: &'static [u8]| {
        Event::binary(
            Some(content_type),
            &headers(&[]),
            Bytes::from_static(body),
            &strict,
        )
    };
    assert!(
        read(b"application/json", b"{\"a\":[1,}")
            .unwrap_err()
            .to_string()
            .contains("/a/1")
    );
    assert!(read(b"application/json", b"").is_ok());
    assert!(read(b"application/json", b"{}").is_ok());
    assert!(read(b"text/plain", b"{").is_ok());
}

#[test]
fn every_bad_header_is_named() {
    let table: [(&str, &[u8], &str); 12] = [
        ("time", b"yesterday", "RFC 3339"),
        ("subject", b"", "non-empty"),
        ("subject", b"%C0%A0", "UTF-8"),
        ("subject", b"%FF", "UTF-8"),
        ("subject", b"\xff", "UTF-8"),
        ("x", b"%ED%A0%80", "UTF-8"),
        ("x", b"a%0Ab", "control characters"),
        ("my-ext", b"x", "a-z and 0-9"),
        ("data", b"x", "payload"),
        ("data_base64", b"x", "a-z and 0-9"),
        ("datacontenttype", b"text/plain", "Content-Type"),
        ("dataschema", b"relative", "absolute"),
    ];
    for (name, value, part) in table {
        let errors = binary(None, &[(name, value)], b"").unwrap_err();
        assert_eq!(pointers(&errors), [format!("header:ce-{name}")]);
        assert!(errors.to_string().contains(part), "{errors}");
    }
    let twice = binary(None, &[("x", b"1"), ("x", b"2")], b"").unwrap_err();
    assert_eq!(pointers(&twice), ["header:ce-x"]);
    let content_type = binary(Some("json"), &[], b"").unwrap_err();
    assert_eq!(pointers(&content_type), ["header:content-type"]);
    let all = Event::binary(
        None,
        &[("time".into(), b"x".to_vec())],
        Bytes::new(),
        &limits(),
    )
    .unwrap_err();
    assert_eq!(
        pointers(&all),
        [
            "header:ce-time",
            "header:ce-specversion",
            "header:ce-id",
            "header:ce-source",
            "header:ce-type"
        ]
    );
    assert!(
        all.to_string().contains("e.g. ce-specversion: 1.0"),
        "{all}"
    );
}

#[test]
fn senders_that_do_not_encode_are_understood() {
    let event = binary(
        None,
        &[
            ("subject", "磁盘 100%".as_bytes()),
            ("quoted", br#""a \"b\" c""#),
            ("raw", br#"say "hi""#),
            ("flag", b"true"),
            ("once", b"%2541"),
        ],
        b"",
    )
    .unwrap();
    assert_eq!(event.subject(), Some("磁盘 100%"));
    let attributes = event.attributes();
    let get = |wanted: &str| {
        attributes
            .iter()
            .find(|(name, _)| name == wanted)
            .unwrap()
            .1
            .as_ref()
    };
    assert_eq!(get("quoted"), r#"a "b" c"#);
    assert_eq!(get("raw"), r#"say "hi""#);
    assert_eq!(get("flag"), "true");
    assert_eq!(get("once"), "%41");
}

#[test]
fn sizes_are_bounded() {
    let big = binary(Some("text/plain"), &[], &vec![b'x'; 256 * 1024]).unwrap_err();
    assert_eq!(big.kind, EventErrorKind::TooLarge);
    let names: Vec<String> = (0..130).map(|n| format!("x{n}")).collect();
    let many: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), b"1".as_slice()))
        .collect();
    assert!(
        binary(None, &many, b"")
            .unwrap_err()
            .to_string()
            .contains("at most 128")
    );
}
