//! Shortcuts and the fixture that most tests use.

use belfry_transform::{
    ContentKind, Context, Escape, RenderError, Transform, TransformError, TransformSpec,
};
use serde_json::{Value, json};

/// An alarm of our own making, with the things that usually go wrong in alarms.
pub(crate) const EVENT: &str = r#"{
  "specversion":"1.0","id":"e-7f3a","source":"cvm.cloud.tencent","type":"cvm:ErrorEvent:PingUnreachable",
  "subject":"ins-0abc","time":1700000000123,"status":"1","region":"ap-shanghai",
  "tags":{"env":"prod","zone":"二区"},
  "data":{
    "title":"主机 \"web-1\" 不可达\n请处理","severity":2,"load":1.10,"huge":12345678901234567890123,
    "ok":true,"nothing":null,"empty":"","esc":"\u4e2d\/\ud83d\ude00",
    "at":"2023-11-14T22:13:20+00:00","at_s":1700000000,"at_text":"1700000000123",
    "items":[{"name":"a","n":1},{"name":"b|c","n":2.50},{"n":3}],
    "labels":["red","green"],"none":[],
    "html":"<b>\"x\" & 'y'</b>","md":"[点我](http://evil.example) *b*","evil":"${$.id} <id>",
    "nested":{"b": 2, "a": {"z":1}}, "a b":{"c.d":"odd"}
  }
}"#;

/// 2026-11-21T03:40:15.123Z and what else a delivery knows.
pub(crate) fn ctx() -> Context<'static> {
    Context {
        rule: "disk-full",
        rule_arn: None,
        bus: "prod",
        target: "ops",
        event_uid: "0199-uid",
        delivery: "d-1",
        attempt: 3,
        accepted_at_ms: 1_700_000_000_000,
        now_ms: 1_795_232_415_123,
    }
}

pub(crate) fn compile(spec: Value) -> Result<Transform, Vec<TransformError>> {
    let spec: TransformSpec =
        serde_json::from_value(spec.clone()).unwrap_or_else(|error| panic!("{spec}: {error}"));
    Transform::compile(&spec)
}

pub(crate) fn rendered(spec: Value, event: &str) -> Result<(String, ContentKind), RenderError> {
    let transform = compile(spec.clone()).unwrap_or_else(|errors| panic!("{spec}: {errors:?}"));
    let rendered = transform.render(event.as_bytes(), &ctx())?;
    Ok((
        String::from_utf8(rendered.body).unwrap(),
        rendered.content_type,
    ))
}

/// Renders a text template over [`EVENT`].
pub(crate) fn text(template: &str) -> String {
    rendered(json!({"kind": "template", "template": template}), EVENT)
        .unwrap_or_else(|error| panic!("{template}: {error}"))
        .0
}

pub(crate) fn escaped(template: &str, escape: Escape) -> String {
    let transform = compile(json!({"kind": "template", "template": template})).unwrap();
    let rendered = transform
        .render_with(EVENT.as_bytes(), &ctx(), escape)
        .unwrap();
    String::from_utf8(rendered.body).unwrap()
}

/// Renders a JSON template over [`EVENT`].
pub(crate) fn json_text(template: Value) -> String {
    let (body, kind) = rendered(json!({"kind": "json", "template": template}), EVENT).unwrap();
    assert_eq!(kind, ContentKind::Json);
    body
}

pub(crate) fn refused(spec: Value) -> Vec<TransformError> {
    match compile(spec.clone()) {
        Err(errors) => errors,
        Ok(_) => panic!("accepted: {spec}"),
    }
}
