use belfry_transform::{RenderError, limits};
use serde_json::{Value, json};

use crate::support::{compile, ctx, refused, rendered};

fn template(text: String) -> Value {
    json!({"kind": "template", "template": text})
}

#[test]
fn templates_are_bounded_at_save() {
    let long = "x".repeat(limits::TEMPLATE_BYTES_MAX);
    assert!(compile(template(long.clone())).is_ok());
    assert_eq!(
        refused(template(format!("{long}x")))[0].pointer,
        "/template"
    );
    assert_eq!(
        refused(json!({"kind": "json", "template": [long]}))[0].pointer,
        "/template"
    );
    assert!(compile(template("${$.a}".repeat(limits::PLACEHOLDERS_MAX))).is_ok());
    refused(template("${$.a}".repeat(limits::PLACEHOLDERS_MAX + 1)));
    assert!(
        compile(template(format!(
            "${{$.a{}}}",
            "|upper".repeat(limits::FILTERS_MAX)
        )))
        .is_ok()
    );
    refused(template(format!(
        "${{$.a{}}}",
        "|upper".repeat(limits::FILTERS_MAX + 1)
    )));
    refused(template(format!(
        "${{${}}}",
        ".a".repeat(limits::PATH_SEGMENTS_MAX + 1)
    )));
}

#[test]
fn the_depth_of_json_templates_is_bounded() {
    let nested = |depth: usize| {
        let mut value = json!("${$.id}");
        for _ in 0..depth {
            value = json!([value]);
        }
        json!({"kind": "json", "template": value})
    };
    assert!(compile(nested(limits::DEPTH_MAX)).is_ok());
    assert!(
        refused(nested(limits::DEPTH_MAX + 1))[0]
            .message
            .contains("deeper")
    );
}

#[test]
fn a_deeply_nested_event_is_no_problem() {
    let event = format!(
        "{{\"a\":{}{},\"b\":1}}",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let (body, _) = rendered(json!({"kind": "path", "path": "$.b"}), &event).unwrap();
    assert_eq!(body, "1");
    let (body, _) = rendered(
        template("${$.a | len}${$.a | first | len}".to_owned()),
        &event,
    )
    .unwrap();
    assert_eq!(body, "11");
}

#[test]
fn output_that_is_too_large_names_the_placeholder() {
    let event = format!("{{\"big\":\"{}\"}}", "x".repeat(600_000));
    let spec = template("${$.big} ${$.big | upper}".to_owned());
    let error = rendered(spec, &event).unwrap_err();
    assert_eq!(error.code(), "template_error");
    let RenderError::TooLarge { limit, place, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (*limit, place.as_str()),
        (limits::OUTPUT_BYTES_MAX, "${$.big | upper}")
    );
}

#[test]
fn the_output_limit_can_be_set_for_every_kind() {
    let event = r#"{"a":"0123456789"}"#;
    for spec in [
        json!({"kind": "none"}),
        json!({"kind": "path", "path": "$.a"}),
        json!({"kind": "template", "template": "${$.a}"}),
        json!({"kind": "template", "template": "0123456789"}),
        json!({"kind": "json", "template": "${$.a}"}),
        json!({"kind": "constant", "text": "0123456789"}),
        json!({"kind": "aws", "inputTemplate": "<aws.events.event.json>"}),
        json!({"kind": "tencent", "extraction": {"Format": "JSON"}}),
        json!({"kind": "tencent", "transform": {"OutputStructs": [
            {"Key": "a", "Value": "$.a", "ValueType": "JSONPATH"}]}}),
    ] {
        let transform = compile(spec.clone()).unwrap();
        assert!(transform.render(event.as_bytes(), &ctx()).is_ok(), "{spec}");
        let error = transform
            .with_output_limit(9)
            .render(event.as_bytes(), &ctx())
            .unwrap_err();
        assert!(
            matches!(error, RenderError::TooLarge { limit: 9, .. }),
            "{spec}: {error}"
        );
    }
}

#[test]
fn chained_escapes_and_long_separators_cannot_explode() {
    let quotes = format!("{{\"q\":\"{}\"}}", "\\\"".repeat(100_000));
    let spec = template(format!("${{$.q{}}}", "|json".repeat(8)));
    assert!(matches!(
        rendered(spec, &quotes),
        Err(RenderError::TooLarge { .. })
    ));
    let list = format!("{{\"l\":[{}1]}}", "1,".repeat(200_000));
    let spec = template(format!("${{$.l | join:{} | len}}", "x".repeat(60_000)));
    assert!(matches!(
        rendered(spec, &list),
        Err(RenderError::TooLarge { .. })
    ));
}

#[test]
fn a_thousand_readers_of_a_large_value_are_stopped() {
    let event = format!("{{\"l\":[{}1]}}", "1,".repeat(400_000));
    let error = rendered(template("${$.l|len}".repeat(1000)), &event).unwrap_err();
    assert!(matches!(error, RenderError::TooMuchWork { .. }), "{error}");
    let (body, _) = rendered(template("${$.gone|len}".repeat(1000)), &event).unwrap();
    assert_eq!(body, "0".repeat(1000));
}

#[test]
fn a_compiled_transform_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&compile(json!({"kind": "none"})).unwrap());
}
