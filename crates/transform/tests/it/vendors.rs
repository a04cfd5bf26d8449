use std::sync::Arc;

use belfry_transform::{
    ContentKind, Context, EtlMatch, RenderError, Transform, TransformError, TransformSpec,
};
use serde_json::{Value, json};

use crate::support::{ctx, refused, rendered};

// Modelled on the AWS reference, §9.
const AWS_EVENT: &str = r#"{"version":"0","id":"6a7e","detail-type":"Payment \"late\"","source":"shop",
 "resources":["arn:x"],"a/b":7,
 "detail":{"payload":{"acc":"0a78", "sf":"b\"az"},"one":["HIGH"],"many":["A","B"],"ok":true,"n":1.10,
 "nil":null,"text":"a \"b\"\\\n<u> 中","items":[{"id":1},{"id":2}]}}"#;

fn aws(template: &str) -> (String, ContentKind) {
    rendered(aws_spec(template), AWS_EVENT).unwrap_or_else(|error| panic!("{template}: {error}"))
}

fn aws_spec(template: &str) -> Value {
    json!({"kind": "aws", "inputTemplate": template, "inputPathsMap": {
        "p": "$.detail.payload", "u": "$.detail.payload.acc", "one": "$.detail.one",
        "many": "$.detail.many", "ok": "$.detail.ok", "gone": "$.detail.nope", "n": "$.detail.n",
        "nil": "$.detail.nil", "text": "$.detail.text", "first_res-1": "$.resources[0]",
        "ids": "$.detail.items[*].id", "slash": "$.a/b", "dt": "$.detail-type"}})
}

#[test]
fn aws_json_templates_write_values_by_place() {
    for (template, expected) in [
        ("{\"id\" : <u>}", r#"{"id" : "0a78"}"#),
        ("{\"id\" : \"<u>\"}", r#"{"id" : "0a78"}"#),
        (
            " \n{\"path\": \"users/<u>/x/<u>\"}",
            " \n{\"path\": \"users/0a78/x/0a78\"}",
        ),
        (
            "{\"b\": <p>, \"l\": <many>, \"k\": <ok>}",
            r#"{"b": {"acc":"0a78", "sf":"b\"az"}, "l": ["A","B"], "k": true}"#,
        ),
        (
            "{\"x\": \"<gone>\", \"y\": <gone>}",
            r#"{"x": "", "y": ""}"#,
        ),
        (
            "{\"n\": <n>, \"nil\": <nil>, \"s\": \"<n> <nil> <ok>\"}",
            r#"{"n": 1.10, "nil": null, "s": "1.10 null true"}"#,
        ),
        // AWS would break the document here.
        (
            "{\"t\": \"<text>\", \"o\": \"<p>\"}",
            r#"{"t": "a \"b\"\\\n<u> 中", "o": "{\"acc\":\"0a78\", \"sf\":\"b\\\"az\"}"}"#,
        ),
        (
            "{<u>: 1, \"ids\": <ids>, \"r\": <first_res-1>, \"s\": <slash>}",
            r#"{"0a78": 1, "ids": [1,2], "r": "arn:x", "s": 7}"#,
        ),
        (
            "{\"a\": \"1 < 2 > 0 <b c> <> </u>\"}",
            r#"{"a": "1 < 2 > 0 <b c> <> </u>"}"#,
        ),
    ] {
        let (body, kind) = aws(template);
        assert_eq!(body, expected, "{template}");
        assert_eq!(kind, ContentKind::Json);
        serde_json::from_str::<Value>(&body).unwrap();
    }
}

#[test]
fn aws_text_templates_write_text_without_quotes() {
    for (template, expected) in [
        (
            "\"Payload <p> for <u>\"",
            "\"Payload {acc:0a78,sf:b\\az} for 0a78\"",
        ),
        ("\"<one> <many> <ok>\"", "\"[HIGH] [A,B] true\""),
        (
            "\"<u> first\"\n\"<ok> second\"",
            "\"0a78 first\"\n\"true second\"",
        ),
        ("<gone>|<nil>|<n>|<ids>", "|null|1.10|[1,2]"),
        ("<text>", "a \"b\"\\\n<u> 中"),
        ("<dt> <<u>>", "Payment \"late\" <0a78>"),
    ] {
        assert_eq!(
            aws(template),
            (expected.to_owned(), ContentKind::Text),
            "{template}"
        );
    }
}

#[test]
fn aws_reserved_names() {
    let (body, _) =
        aws("<aws.events.rule-name> <aws.events.event.ingestion-time> <aws.events.rule-arn>");
    assert_eq!(
        body,
        "disk-full 2023-11-14T22:13:20.000Z arn:aws:events:::rule/prod/disk-full"
    );
    let (body, _) = aws("{\"e\": <aws.events.event>, \"all\": <aws.events.event.json>}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let all: Value = serde_json::from_str(AWS_EVENT).unwrap();
    assert_eq!(body["all"], all);
    let names: Vec<_> = body["e"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["version", "id", "detailType", "source", "resources", "a/b"]
    );
    assert_eq!(body["e"]["detailType"], all["detail-type"]);

    let spec: TransformSpec =
        serde_json::from_value(json!({"kind": "aws", "inputTemplate": "<aws.events.rule-arn>"}))
            .unwrap();
    let arn = "arn:aws:events:eu-west-1:111122223333:rule/r";
    let ctx = Context {
        rule_arn: Some(arn),
        ..ctx()
    };
    let body = Transform::compile(&spec)
        .unwrap()
        .render(b"{}", &ctx)
        .unwrap()
        .body;
    assert_eq!(body, arn.as_bytes());
}

#[test]
fn aws_templates_are_checked_at_save() {
    for (template, line, column, message, hint) in [
        ("\"a\n <uu>\"", 2, 2, "invalid placeholder `uu`", ""),
        (
            "<aws.events.event.jsn>",
            1,
            1,
            "invalid placeholder",
            "did you mean `<aws.events.event.json>`?",
        ),
        ("{\"a\": \"\\<u>n\"}", 1, 9, "single backslash", ""),
    ] {
        let error = &refused(aws_spec(template))[0];
        assert_eq!(
            (error.line, error.column),
            (Some(line), Some(column)),
            "{template}: {error}"
        );
        assert!(error.message.contains(message), "{template}: {error}");
        assert!(
            error.hint.as_deref().unwrap_or("").contains(hint),
            "{template}: {error}"
        );
    }
    for template in [
        "{",
        "{\"a\": <u>",
        "{\"a\": <u> <u>}",
        "{<u>} happened",
        "{\"a\": <u>,}",
    ] {
        let error = &refused(aws_spec(template))[0];
        assert!(
            error.message.contains("must be JSON"),
            "{template}: {error}"
        );
    }
    let paths = |paths: Value| json!({"kind": "aws", "inputTemplate": "x", "inputPathsMap": paths});
    let errors = refused(paths(
        json!({"a": "detail", "b c": "$", "d": "$.x[?(@.y)]"}),
    ));
    let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/inputPathsMap/a", "/inputPathsMap/b c", "/inputPathsMap/d"]
    );
    let many: serde_json::Map<_, _> = (0..101).map(|i| (format!("n{i}"), json!("$"))).collect();
    assert!(
        refused(paths(many.into()))[0]
            .message
            .contains("at most 100")
    );
}

#[test]
fn aws_json_that_still_breaks_fails_visibly() {
    // A name must be a string, and this value is a number.
    let error = rendered(aws_spec("{<n>: 1}"), AWS_EVENT).unwrap_err();
    assert!(matches!(error, RenderError::InvalidJson { .. }), "{error}");
    assert_eq!(error.code(), "template_error");
}

fn tencent(spec: Value, event: &str) -> Result<String, RenderError> {
    let mut spec = spec;
    spec["kind"] = json!("tencent");
    rendered(spec, event).map(|(body, kind)| {
        assert_eq!(kind, ContentKind::Json);
        body
    })
}

fn entry(key: &str, value: &str, value_type: &str) -> Value {
    json!({"Key": key, "Value": value, "ValueType": value_type})
}

#[test]
fn tencents_worked_example() {
    let spec: TransformSpec = serde_json::from_value(json!({"kind": "tencent",
        "extraction": {"ExtractionInputPath": "$.data.msgBody", "Format": "JSON"},
        "etlFilter": {"Filter": "{\"city\":[{\"contain\":\"shen\"}]}"},
        "transform": {"OutputStructs": [entry("city", "$.city", "JSONPATH"),
            entry("const", "11", "NUMBER"), entry("sdate", "date", "SYS_VARIABLE")]}}))
    .unwrap();
    // Stands in for the pattern language, which this crate does not know.
    let compiler = |filter: &str| -> Result<EtlMatch, String> {
        assert_eq!(filter, "{\"city\":[{\"contain\":\"shen\"}]}");
        Ok(Arc::new(|json: &[u8]| {
            String::from_utf8_lossy(json).contains("shen")
        }))
    };
    let transform = Transform::compile_with(&spec, &compiler).unwrap();
    let ctx = Context {
        now_ms: 1_700_000_000_000,
        ..ctx()
    };
    let run = |event: &str| transform.render(event.as_bytes(), &ctx);
    let event = r#"{"data":{"msgBody":"{\"city\":\"shenzhen\",\"temp\":32}"}}"#;
    assert_eq!(
        String::from_utf8(run(event).unwrap().body).unwrap(),
        r#"{"city":"shenzhen","const":11,"sdate":"2023-11-15T06:13:20+08:00"}"#
    );
    let error = run(&event.replace("shen", "guang")).unwrap_err();
    assert!(error.is_filtered());
    assert_eq!(error.code(), "transform_filtered");
    assert_eq!(error, RenderError::Filtered { step: "EtlFilter" });

    let errors = Transform::compile(&spec).unwrap_err();
    assert_eq!(errors[0].pointer, "/etlFilter/Filter");
    let broken = |_: &str| -> Result<EtlMatch, String> { Err("no operator `x`".to_owned()) };
    let errors = Transform::compile_with(&spec, &broken).unwrap_err();
    assert_eq!(errors[0].message, "no operator `x`");
}

#[test]
fn tencent_builds_every_type_in_order() {
    let spec = json!({"transform": {"OutputStructs": [
        entry("z", "$.a.b", "JSONPATH"), entry("text", "$.a \"q\"", "STRING"),
        entry("n", "1.10", "NUMBER"), entry("m", "-2e3", "NUMBER"),
        entry("t", "true", "BOOLEAN"), entry("nul", "whatever", "NULL"),
        entry("gone", "$.gone", "JSONPATH"), entry("all", "$.l[*].x", "JSONPATH"),
        entry("whole", "$.", "JSONPATH"), entry("a.b 中", "", "STRING")]}});
    let event = r#"{"a":{"b":1.50},"l":[{"x":1},{"x":[2]}]}"#;
    assert_eq!(
        tencent(spec, event).unwrap(),
        format!(
            r#"{{"z":1.50,"text":"$.a \"q\"","n":1.10,"m":-2e3,"t":true,"nul":null,"gone":null,"all":[1,[2]],"whole":{event},"a.b 中":""}}"#
        )
    );
}

#[test]
fn tencent_extracts_json_and_text() {
    let event = r#"{"data":{"line":"ins-1|cpu%|95","log":"2023 ERROR [ab] disk 满 \"x\"","n":12,"o":{"k": 1},"bad":"{"}}"#;
    let extract = |path: &str, format: &str, params: Value| {
        tencent(
            json!({"extraction": {"ExtractionInputPath": path, "Format": format, "TextParams": params}}),
            event,
        )
    };
    let sep = |separator: &str| json!({"Separator": separator, "Regex": ""});
    let regex = |regex: &str| json!({"Regex": regex});
    for (path, format, params, expected) in [
        ("$", "JSON", Value::Null, event),
        ("$.", "JSON", Value::Null, event),
        ("$.data.o", "JSON", Value::Null, r#"{"k": 1}"#),
        (
            "$.data.line",
            "TEXT",
            sep("|"),
            r#"{"0":"ins-1","1":"cpu%","2":"95"}"#,
        ),
        ("$.data.line", "TEXT", sep(","), r#"{"0":"ins-1|cpu%|95"}"#),
        (
            "$.data.line",
            "TEXT",
            sep("\\t"),
            r#"{"0":"ins-1|cpu%|95"}"#,
        ),
        ("$.data.n", "TEXT", sep("%"), r#"{"0":"12"}"#),
        (
            "$.data.log",
            "TEXT",
            regex(r"(?P<year>\d+) (\w+) \[(?<tag>[^\]]*)\](x)?"),
            r#"{"year":"2023","2":"ERROR","tag":"ab"}"#,
        ),
        ("$.data.log", "TEXT", regex(r"满 .*"), r#"{"0":"满 \"x\""}"#),
    ] {
        assert_eq!(extract(path, format, params).unwrap(), expected, "{path}");
    }
    let error = extract("$.data.log", "TEXT", regex("^nope")).unwrap_err();
    assert_eq!(error, RenderError::Filtered { step: "Extraction" });
    assert!(
        extract("$.gone", "TEXT", sep(","))
            .unwrap_err()
            .is_filtered()
    );
    for path in ["$.data.bad", "$.data.line", "$.gone"] {
        let error = extract(path, "JSON", Value::Null).unwrap_err();
        assert_eq!(error.code(), "transform_error");
        assert!(error.to_string().starts_with(path), "{error}");
    }
}

#[test]
fn tencent_specs_are_checked_at_save() {
    let errors = |mut spec: Value| -> Vec<TransformError> {
        spec["kind"] = json!("tencent");
        refused(spec)
    };
    let list = [
        entry("a", "x1", "NUMBER"),
        entry("b", "01", "NUMBER"),
        entry("c", "yes", "BOOLEAN"),
        entry("d", "time", "SYS_VARIABLE"),
        entry("e", "a.b", "JSONPATH"),
        entry("f", "x", "JSONPAHT"),
        entry("a", "x", "STRING"),
        entry("g", "\"1\"", "NUMBER"),
        entry("h", " 1", "NUMBER"),
    ];
    let got = errors(json!({"transform": {"OutputStructs": list}}));
    let pointers: Vec<_> = got.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/transform/OutputStructs/0/Value",
            "/transform/OutputStructs/1/Value",
            "/transform/OutputStructs/2/Value",
            "/transform/OutputStructs/3/Value",
            "/transform/OutputStructs/4/Value",
            "/transform/OutputStructs/5/ValueType",
            "/transform/OutputStructs/6/Key",
            "/transform/OutputStructs/7/Value",
            "/transform/OutputStructs/8/Value",
        ]
    );
    assert_eq!(got[5].hint.as_deref(), Some("did you mean `JSONPATH`?"));
    for (extraction, pointer) in [
        (json!({"Format": "XML"}), "/extraction/Format"),
        (
            json!({"Format": "JSON", "ExtractionInputPath": "$..a"}),
            "/extraction/ExtractionInputPath",
        ),
        (json!({"Format": "TEXT"}), "/extraction/TextParams"),
        (
            json!({"Format": "TEXT", "TextParams": {"Separator": "", "Regex": ""}}),
            "/extraction/TextParams",
        ),
        (
            json!({"Format": "TEXT", "TextParams": {"Separator": ",", "Regex": "x"}}),
            "/extraction/TextParams",
        ),
        (
            json!({"Format": "TEXT", "TextParams": {"Separator": ";"}}),
            "/extraction/TextParams/Separator",
        ),
        (
            json!({"Format": "TEXT", "TextParams": {"Regex": "(x"}}),
            "/extraction/TextParams/Regex",
        ),
        (
            json!({"Format": "TEXT", "TextParams": {"Regex": "x".repeat(129)}}),
            "/extraction/TextParams/Regex",
        ),
        (
            json!({"Format": "TEXT", "TextParams": {"Regex": r"(\w{100}){100}"}}),
            "/extraction/TextParams/Regex",
        ),
        (
            json!({"Format": "TEXT", "TextParams": {"Regex": r"(a)(?=b)"}}),
            "/extraction/TextParams/Regex",
        ),
    ] {
        assert_eq!(
            errors(json!({"extraction": extraction}))[0].pointer,
            pointer,
            "{extraction}"
        );
    }
}

#[test]
fn ordinary_regexes_fit() {
    let many = r"^(\w+) (\w+)@(\w+)\.(\w+): (\w+)=(\w+), (\w+)=(\w+) (\w+)$";
    let spec =
        json!({"kind": "tencent", "extraction": {"Format": "TEXT", "TextParams": {"Regex": many}}});
    assert!(crate::support::compile(spec).is_ok());
    for regex in [
        r"^(?<ts>\d{4}-\d{2}-\d{2}) (?<level>\w+) (?<msg>.*)$",
        r"(\S+)\s+(\S+)\s+(\S+)\s+(\S+)",
    ] {
        let spec = json!({"extraction": {"ExtractionInputPath": "$.l", "Format": "TEXT",
            "TextParams": {"Regex": regex}}});
        let body = tencent(spec, r#"{"l":"2026-11-21 ERROR 磁盘 已满"}"#).unwrap();
        assert!(body.contains("ERROR"), "{body}");
    }
}
