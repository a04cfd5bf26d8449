use belfry_transform::ContentKind;
use serde_json::{Value, json};

use crate::support::{EVENT, json_text, refused, rendered};

#[test]
fn a_string_that_is_one_placeholder_takes_the_value_with_its_type() {
    for (template, expected) in [
        (json!("${$.data.load}"), "1.10"),
        (json!("${$.data.huge}"), "12345678901234567890123"),
        (json!("${$.data.nested}"), "{\"b\": 2, \"a\": {\"z\":1}}"),
        (json!("${$.data.esc}"), "\"\\u4e2d\\/\\ud83d\\ude00\""),
        (json!("${$.data.ok}"), "true"),
        (json!("${$.gone}"), "null"),
        (json!("${$.data.nothing}"), "null"),
        (json!("${$.data.items[*].name}"), "[\"a\",\"b|c\"]"),
        (json!("${$.data.labels | len}"), "2"),
        (json!("${$.data.labels | first}"), "\"red\""),
        (json!("${$.region | upper}"), "\"AP-SHANGHAI\""),
        (json!("${$.gone | default:0}"), "\"0\""),
        (
            json!("${$.data.nested | json}"),
            "\"{\\\"b\\\": 2, \\\"a\\\": {\\\"z\\\":1}}\"",
        ),
        (json!("${@attempt}"), "3"),
        (json!("${@rule}"), "\"disk-full\""),
        (json!("${ $.status | map:'1'=\"firing\" }"), "\"firing\""),
    ] {
        assert_eq!(json_text(template.clone()), expected, "{template}");
    }
}

#[test]
fn other_strings_stay_text_and_quoting_cannot_break() {
    for (template, expected) in [
        (
            json!("x ${$.data.title}"),
            "x 主机 \"web-1\" 不可达\n请处理",
        ),
        (json!("${$.data.load} "), "1.10 "),
        (
            json!("n=${$.data.nested}"),
            "n={\"b\": 2, \"a\": {\"z\":1}}",
        ),
        (json!("[${$.gone}${$.data.nothing}]"), "[]"),
        (
            json!("${$.region | upper}\"\\${@attempt}"),
            "AP-SHANGHAI\"\\3",
        ),
        (json!("$${$.id}"), "${$.id}"),
        (json!("${$.data.evil}!"), "${$.id} <id>!"),
        (json!(""), ""),
    ] {
        let body = json_text(template.clone());
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap(),
            expected,
            "{template}: {body}"
        );
    }
}

#[test]
fn documents_keep_order_types_and_names() {
    let template: Value = serde_json::from_str(
        r#"{"z":[1,2.5,true,null,"",[]],"a":{"${$.id}":"${$.id}","k\"\n":{}},"m":"${$.data.severity}"}"#,
    )
    .unwrap();
    assert_eq!(
        json_text(template),
        r#"{"z":[1,2.5,true,null,"",[]],"a":{"${$.id}":"e-7f3a","k\"\n":{}},"m":2}"#
    );
}

#[test]
fn errors_point_into_the_document() {
    let errors = refused(json!({"kind": "json",
        "template": {"a/b": ["x", "ok\n${$.x | nope}"], "c": "${$.y"}}));
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0].pointer, "/template/a~1b/1");
    assert_eq!((errors[0].line, errors[0].column), (Some(2), Some(9)));
    assert_eq!(errors[1].pointer, "/template/c");
}

#[test]
fn a_path_copies_the_value_byte_for_byte() {
    for (path, expected) in [
        ("$", EVENT),
        ("$.data.nested", "{\"b\": 2, \"a\": {\"z\":1}}"),
        ("$.data.esc", "\"\\u4e2d\\/\\ud83d\\ude00\""),
        ("$.data.huge", "12345678901234567890123"),
        ("$.data.items[*].n", "[1,2.50,3]"),
        ("$.gone", "null"),
    ] {
        let (body, kind) = rendered(json!({"kind": "path", "path": path}), EVENT).unwrap();
        assert_eq!(
            (body.as_str(), kind),
            (expected, ContentKind::Json),
            "{path}"
        );
    }
    let error = &refused(json!({"kind": "path", "path": "$.a..b"}))[0];
    assert_eq!((error.pointer.as_str(), error.column), ("/path", Some(4)));
}

#[test]
fn constants_do_not_depend_on_the_event() {
    for (spec, expected, kind) in [
        (
            json!({"kind": "constant", "value": {"z": 1, "a": "${$.id}"}}),
            r#"{"z":1,"a":"${$.id}"}"#,
            ContentKind::Json,
        ),
        (
            json!({"kind": "constant", "value": null}),
            "null",
            ContentKind::Json,
        ),
        (
            json!({"kind": "constant", "text": "${$.id}"}),
            "${$.id}",
            ContentKind::Text,
        ),
    ] {
        assert_eq!(rendered(spec, EVENT).unwrap(), (expected.to_owned(), kind));
    }
    assert_eq!(refused(json!({"kind": "constant"})).len(), 1);
    assert_eq!(
        refused(json!({"kind": "constant", "value": 1, "text": "x"})).len(),
        1
    );
}

#[test]
fn no_transform_sends_the_event_as_it_is() {
    let (body, kind) = rendered(json!({"kind": "none"}), EVENT).unwrap();
    assert_eq!((body.as_str(), kind), (EVENT, ContentKind::Json));
}

#[test]
fn an_event_that_is_not_json_is_an_error_and_no_panic() {
    for event in ["", "{", "{\"a\":}", "{\"a\":1}x", "\u{feff}{}"] {
        let error = rendered(json!({"kind": "path", "path": "$"}), event).unwrap_err();
        assert_eq!(error.code(), "transform_error", "{event}");
    }
    let transform = crate::support::compile(json!({"kind": "path", "path": "$"})).unwrap();
    assert!(
        transform
            .render(b"{\"a\":\"\xff\"}", &crate::support::ctx())
            .is_err()
    );
}
