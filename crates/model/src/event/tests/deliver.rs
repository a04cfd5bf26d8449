use super::*;

#[test]
fn the_alarm_format_becomes_a_legal_cloudevent() {
    let out = lenient(ALARM).unwrap().to_cloudevent();
    let want = concat!(
        r#"{"specversion":"1.0","id":"6f2b6f0e-1f0a-4c1a-9a53-6a5b1d2c0009","source":"cdb.cloud.tencent","#,
        r#""type":"cdb:ErrorEvent:Switch","subject":"cdb-demo0001","time":"2023-11-14T22:38:20.000Z","#,
        r#""region":"ap-guangzhou","resource":"[\"qcs::eb:ap-guangzhou:uid/1250000001:eventbusid/eb-demo0001\"]","#,
        r#""datacontenttype":"application/json;charset=utf-8","tags":"{\"a\":1.50}","status":"-","data":{"#,
        "\n    \"appId\": \"1250000001\",\n    \"additionalMsg\": { \"instanceName\": \"订单库\" }\n  }}"
    );
    assert_eq!(out, want);
    let event = Event::structured(out, &limits()).unwrap();
    assert!(event.is_cloudevent());
}

#[test]
fn odd_members_become_legal_ones() {
    let table = [
        (r#""subject":"""#, ""),
        (r#""region":null"#, ""),
        (r#""x":1.50"#, r#","x":"1.50""#),
        (r#""x":2147483648"#, r#","x":"2147483648""#),
        (r#""x":"a\r\nb\u0000c""#, "error"),
        (r#""x":"a\nb\u0001c""#, ",\"x\":\"a b\u{fffd}c\""),
        (
            r#""x":[ "a\u0085", "\u007f" ]"#,
            r#","x":"[\"a\\u0085\",\"\\u007f\"]""#,
        ),
        (
            "\"x\":[\"\u{7f}\u{1fffe}\"]",
            r#","x":"[\"\\u007f\\ud83f\\udffe\"]""#,
        ),
        (r#""myExt":true"#, r#","myext":true"#),
        (
            r#""my_ext":1,"my-ext":2,"myext":3"#,
            r#","myext2":1,"myext3":2,"myext":3"#,
        ),
        (r#""Subject":"x""#, r#","subject2":"x""#),
        (r#""Data":{}"#, r#","data2":"{}""#),
        (r#""磁盘":"x","":"y""#, r#","ext":"x","ext2":"y""#),
        (r#""dataschema":"relative""#, ""),
        (r#""expirytime":"soon""#, ""),
        (
            r#""expirytime":1700000000123"#,
            r#","expirytime":"2023-11-14T22:13:20.123Z""#,
        ),
        (
            r#""x_y":"z","datacontenttype":"text/plain","data":{ "a" : "b c" }"#,
            r#","xy":"z","datacontenttype":"text/plain","data":"{\"a\":\"b c\"}""#,
        ),
        (r#""datacontenttype":null,"data":null"#, r#","data":null"#),
        (
            r#""datacontenttype":"text/plain","data":null"#,
            r#","datacontenttype":"text/plain""#,
        ),
        (
            r#""data":null,"data_base64":"AA==""#,
            r#","data_base64":"AA==""#,
        ),
    ];
    for (member, want) in table {
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2024-01-01T00:00:00Z",{member}}}"#
        );
        let Ok(event) = lenient(&text) else {
            assert_eq!(want, "error", "{member}");
            continue;
        };
        let out = event.to_cloudevent();
        let start = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2024-01-01T00:00:00Z""#;
        assert_eq!(out, format!("{start}{want}}}"), "{member}");
        assert!(Event::structured(out, &limits()).unwrap().is_cloudevent());
    }
}

#[test]
fn sources_become_uri_references() {
    for (source, want) in [
        ("磁盘", "%E7%A3%81%E7%9B%98"),
        ("a b", "a%20b"),
        ("1a:b", "1a%3Ab"),
        ("100%", "100%25"),
        ("a#b#c", "a%23b%23c"),
        ("x[1]", "x%5B1%5D"),
    ] {
        let event = lenient(&format!(r#"{{"source":"{source}","type":"t","id":"1"}}"#)).unwrap();
        assert_eq!(event.source(), source);
        let out = Event::structured(event.to_cloudevent(), &limits()).unwrap();
        assert_eq!(out.source(), want);
    }
}

#[test]
fn nulls_are_left_out_even_where_they_are_legal() {
    let event = structured(
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":null,"data":null}"#,
    )
    .unwrap();
    assert!(event.is_cloudevent());
    assert_eq!(
        event.to_cloudevent(),
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":null}"#
    );
}

#[test]
fn the_payload_follows_the_table_of_the_json_format() {
    let table: [(&str, &[u8], Option<&str>, bool); 9] = [
        (r#""data_base64":"AQI=""#, &[1, 2], None, true),
        (
            r#""data_base64":"AQI=","datacontenttype":"image/png""#,
            &[1, 2],
            Some("image/png"),
            true,
        ),
        (
            r#""data":{ "a":1.0 }"#,
            b"{ \"a\":1.0 }",
            Some("application/json"),
            true,
        ),
        (r#""data":"x""#, b"\"x\"", Some("application/json"), true),
        (
            r#""data":"{}","datacontenttype":"application/x+JSON; a=b""#,
            b"\"{}\"",
            Some("application/x+JSON; a=b"),
            true,
        ),
        (
            r#""data":"a\n\u78c1","datacontenttype":"text/plain""#,
            "a\n磁".as_bytes(),
            Some("text/plain"),
            true,
        ),
        (r#""data":null"#, b"null", Some("application/json"), true),
        (
            r#""data":null,"datacontenttype":"text/plain""#,
            b"",
            Some("text/plain"),
            false,
        ),
        (r#""x":1"#, b"", None, false),
    ];
    for (member, bytes, content_type, present) in table {
        let event = stored(
            &structured(&format!(
                r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{member}}}"#
            ))
            .unwrap(),
        );
        let payload = event.payload();
        assert_eq!(payload.bytes, bytes, "{member}");
        assert_eq!(payload.content_type.as_deref(), content_type, "{member}");
        assert_eq!(payload.present, present, "{member}");
    }
}

#[test]
fn attributes_have_canonical_text() {
    let event = lenient(
        r#"{"source":"a b","type":"t","id":"\u0031","time":1,"flag":true,"n":-7,"f":1.50,"o":{ "x" : [1, 2] },"gone":null,"Odd-Name":"v","datacontenttype":"text/plain","data":"x"}"#,
    )
    .unwrap();
    let attributes = event.attributes();
    let got: Vec<(&str, &str)> = attributes
        .iter()
        .map(|(name, text)| (name.as_ref(), text.as_ref()))
        .collect();
    assert_eq!(
        got,
        [
            ("specversion", "1.0"),
            ("source", "a%20b"),
            ("type", "t"),
            ("id", "1"),
            ("time", "1970-01-01T00:00:00.001Z"),
            ("flag", "true"),
            ("n", "-7"),
            ("f", "1.50"),
            ("o", r#"{"x":[1,2]}"#),
            ("oddname", "v"),
        ]
    );
}
