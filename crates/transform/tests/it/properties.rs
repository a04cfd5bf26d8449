//! What holds for every input; kept small enough for every run.

use belfry_transform::{Path, Transform, TransformSpec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{compile, ctx, rendered};

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(192)
    }
}

/// Names as the placeholders below use them, so that something is found.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("名".to_owned()),
        ".{0,3}"
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        Just("${$.a} $${ <a>".to_owned()),
        Just("\"},{\"x\":\\".to_owned()),
        Just("1700000000123".to_owned()),
        "[\\\\\"\n\t\u{0}-\u{1f}{}$<>|]{0,8}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            object(inner).boxed(),
        ]
    })
}

fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec((name(), inner), 0..5)
        .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>()))
}

fn event() -> impl Strategy<Value = Value> {
    object(value())
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        Just(".a"),
        Just(".b"),
        Just("['名']"),
        Just("[0]"),
        Just("[-1]"),
        Just("[*]"),
        Just("['']")
    ];
    prop::collection::vec(segment, 0..4).prop_map(|all| format!("${}", all.concat()))
}

fn placeholder() -> impl Strategy<Value = String> {
    let filter = prop_oneof![
        Just("default:x"),
        Just("default:'a|b}'"),
        Just("upper"),
        Just("lower"),
        Just("trim"),
        Just("truncate:3"),
        Just("json"),
        Just("date:'%F %T',Asia/Shanghai"),
        Just("join:', '"),
        Just("md"),
        Just("html"),
        Just("url"),
        Just("first"),
        Just("len"),
        Just("map:x=y,*=z"),
    ];
    (path(), prop::collection::vec(filter, 0..4)).prop_map(|(path, filters)| {
        let filters: Vec<_> = filters
            .iter()
            .map(|filter| format!(" | {filter}"))
            .collect();
        format!("${{{path}{}}}", filters.concat())
    })
}

/// Text that is valid as a template whatever is in it.
fn template_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        placeholder(),
        ".{0,6}".prop_map(|text| text.replace('$', "")),
        Just("\"\\\n".to_owned()),
        Just("$${".to_owned()),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        template_text().prop_map(Value::from),
        placeholder().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).boxed(),
        ]
    })
}

/// The same selection over a tree: slow, obvious, and what `Path` must agree with.
fn select(value: &Value, segments: &str) -> Vec<Value> {
    let mut found = vec![value.clone()];
    let mut rest = segments.strip_prefix('$').unwrap();
    while !rest.is_empty() {
        let known = [".a", ".b", "['名']", "['']", "[0]", "[-1]", "[*]"];
        let segment = known
            .iter()
            .find(|known| rest.starts_with(**known))
            .unwrap();
        rest = &rest[segment.len()..];
        found = found
            .into_iter()
            .flat_map(|value| match (*segment, value) {
                ("[0]", Value::Array(list)) => list.first().cloned().into_iter().collect(),
                ("[-1]", Value::Array(list)) => list.last().cloned().into_iter().collect(),
                ("[*]", Value::Array(list)) => list,
                ("[*]", Value::Object(map)) => map.into_iter().map(|(_, value)| value).collect(),
                ("[0]" | "[-1]", _) => vec![],
                (name, Value::Object(map)) => {
                    let name = name.trim_matches(['.', '[', ']', '\'']);
                    map.get(name).cloned().into_iter().collect()
                }
                _ => vec![],
            })
            .collect();
    }
    found
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn compiling_and_rendering_arbitrary_text_never_panics(template in "(\\$\\{|\\$\\.|[a-z|:,'\"}@=%\\[\\]*]|.|\n){0,40}", event in event()) {
        let event = event.to_string();
        for spec in [
            json!({"kind": "template", "template": template}),
            json!({"kind": "json", "template": {"x": [template]}}),
            json!({"kind": "path", "path": template}),
            json!({"kind": "aws", "inputPathsMap": {"a": template}, "inputTemplate": "<a>"}),
            json!({"kind": "aws", "inputPathsMap": {"a": "$.a"}, "inputTemplate": template}),
            json!({"kind": "aws", "inputPathsMap": {"a": "$.a"}, "inputTemplate": format!("{{{template}<a>}}")}),
            json!({"kind": "tencent", "extraction": {"ExtractionInputPath": template, "Format": "JSON"}}),
            json!({"kind": "tencent", "extraction": {"Format": "TEXT", "TextParams": {"Regex": template}}}),
        ] {
            let spec: TransformSpec = serde_json::from_value(spec).unwrap();
            match Transform::compile(&spec) {
                Ok(transform) => { drop(transform.render(event.as_bytes(), &ctx())); }
                Err(errors) => prop_assert!(!errors.is_empty()),
            }
        }
        if let Ok(path) = Path::parse(&template) {
            prop_assert_eq!(Path::parse(&path.to_string()).unwrap(), path);
        }
    }

    #[test]
    fn rendering_arbitrary_bytes_never_panics(event in prop::collection::vec(any::<u8>(), 0..64)) {
        for spec in [
            json!({"kind": "template", "template": "${$.a} ${$[*]}"}),
            json!({"kind": "path", "path": "$[0].a"}),
            json!({"kind": "tencent", "extraction": {"Format": "JSON"}}),
        ] {
            drop(compile(spec).unwrap().render(&event, &ctx()));
        }
    }

    #[test]
    fn paths_agree_with_a_tree(event in event(), path in path()) {
        let bytes = event.to_string();
        let found = Path::parse(&path).unwrap().find(bytes.as_bytes())
            .map(|raw| serde_json::from_str::<Value>(&raw).unwrap());
        // Through text once: the parser may round the last digit of a double.
        let event: Value = serde_json::from_str(&bytes).unwrap();
        let expected = select(&event, &path);
        if path.contains('*') {
            prop_assert_eq!(found.unwrap_or_else(|| json!([])), Value::from(expected));
        } else {
            prop_assert_eq!(found.as_ref(), expected.first());
        }
    }

    #[test]
    fn text_without_filters_is_bounded_by_template_and_values(
        paths in prop::collection::vec(path(), 0..20), literal in "[^$]{0,20}", event in event(),
    ) {
        let template: Vec<_> = paths.iter().map(|path| format!("{literal}${{{path}}}")).collect();
        let template = template.concat();
        let event = event.to_string();
        let spec = json!({"kind": "template", "template": template, "missing": "dash"});
        let (body, _) = rendered(spec, &event).unwrap();
        prop_assert!(body.len() <= template.len() + paths.len() * event.len());
    }

    #[test]
    fn output_never_exceeds_the_limit(template in template_text(), event in event(), limit in 0..200_usize) {
        let transform = compile(json!({"kind": "template", "template": template})).unwrap();
        if let Ok(rendered) = transform.with_output_limit(limit).render(event.to_string().as_bytes(), &ctx()) {
            prop_assert!(rendered.body.len() <= limit);
        }
    }

    #[test]
    fn json_templates_always_give_json(template in document(), event in event()) {
        let (body, _) = rendered(json!({"kind": "json", "template": template}), &event.to_string()).unwrap();
        let parsed = serde_json::from_str::<Value>(&body);
        prop_assert!(parsed.is_ok(), "{body}");
    }

    #[test]
    fn aws_json_templates_give_json_whatever_the_values(event in event()) {
        let spec = json!({"kind": "aws", "inputPathsMap": {"a": "$.a", "b": "$.b[*]"},
            "inputTemplate": "{\"x\": <a>, \"y\": \"<a> <b>\", \"z\": [<b>]}"});
        let (body, _) = rendered(spec, &event.to_string()).unwrap();
        let parsed = serde_json::from_str::<Map<String, Value>>(&body).unwrap();
        prop_assert_eq!(parsed.len(), 3, "{}", body);
    }

    #[test]
    fn a_value_is_never_read_as_template(inner in "[^\"\\\\\u{0}-\u{1f}\u{7f}]{0,10}") {
        let value = format!("${{$.secret}}{inner}${{@rule}} <secret> $${{");
        let event = json!({"a": value, "secret": "s3cr3t"}).to_string();
        for spec in [
            json!({"kind": "template", "template": "${$.a}"}),
            json!({"kind": "template", "template": "${$.gone | map:*=x}${$.a | trim}"}),
            json!({"kind": "aws", "inputPathsMap": {"a": "$.a", "secret": "$.secret"}, "inputTemplate": "<a>"}),
        ] {
            let (body, _) = rendered(spec, &event).unwrap();
            let body = body.strip_prefix('x').unwrap_or(&body);
            prop_assert_eq!(body, &value);
        }
        let (body, _) = rendered(json!({"kind": "json", "template": ["${$.a}", "${$.a}!"]}), &event).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(body, json!([value, format!("{value}!")]));
    }
}
