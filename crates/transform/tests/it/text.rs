use belfry_transform::{ContentKind, Escape};
use serde_json::{Value, json};

use crate::support::{EVENT, compile, ctx, escaped, refused, rendered, text};

#[test]
fn placeholders_insert_values() {
    for (template, expected) in [
        ("", ""),
        ("no placeholder", "no placeholder"),
        ("${$.id}", "e-7f3a"),
        ("告警：${ $.region }！", "告警：ap-shanghai！"),
        ("${$.data.title}", "主机 \"web-1\" 不可达\n请处理"),
        ("${$.data.esc}", "中/😀"),
        (
            "${$.data.load} ${$.data.huge}",
            "1.10 12345678901234567890123",
        ),
        ("${$.data.ok}", "true"),
        ("${$.data['a b']['c.d']}", "odd"),
        ("${$['tags'][\"zone\"]}", "二区"),
        ("${$.data.items[1].name}${$.data.items[-1].n}", "b|c3"),
        ("${$.data.items[*].n}", "[1,2.50,3]"),
        ("${$.data.nested}", "{\"b\": 2, \"a\": {\"z\":1}}"),
        ("${$.data.gone}|${$.data.nothing}|${$.data.empty}", "||"),
        ("$${$.id}", "${$.id}"),
        ("$ $$ $} }{ $${", "$ $$ $} }{ ${"),
        ("$$${$.id}", "$${$.id}"),
        ("${$.data.evil}", "${$.id} <id>"),
    ] {
        assert_eq!(text(template), expected, "{template}");
    }
}

#[test]
fn missing_values_can_show_as_a_dash() {
    let spec = json!({"kind": "template", "missing": "dash",
        "template": "${$.gone} ${$.data.nothing} ${$.data.empty} ${$.gone | upper} ${$.gone | default:x}"});
    assert_eq!(rendered(spec, EVENT).unwrap().0, "- -  - x");
}

#[test]
fn the_delivery_can_be_named() {
    assert_eq!(
        text("${@rule} ${@bus} ${@target} ${@eventUid} ${@delivery} ${@attempt}"),
        "disk-full prod ops 0199-uid d-1 3"
    );
    assert_eq!(
        text("${@acceptedAt} ${@now} ${@now | date:'%H:%M',Asia/Shanghai}"),
        "2023-11-14T22:13:20.000Z 2026-11-21T03:40:15.123Z 11:40"
    );
}

#[test]
fn every_filter_does_its_work() {
    for (template, expected) in [
        ("${$.gone | default:none}", "none"),
        ("${$.data.nothing|default:'a, b | c } d'}", "a, b | c } d"),
        ("${$.data.empty | default:\"it's\"}", "it's"),
        ("${$.data.ok | default:x}", "true"),
        ("${$.gone | default:}", ""),
        ("${$.gone | default: it's  }", "it's"),
        ("${$.gone | default:'line\\n\\'q\\''}", "line\n'q'"),
        ("${$.region | upper}", "AP-SHANGHAI"),
        ("${$.region | upper | lower}", "ap-shanghai"),
        ("[${$.x | default:'  a ' | trim}]", "[a]"),
        ("${$.data.title | truncate:6}", "主机 \"w…"),
        (
            "${$.region | truncate:11} ${$.region | truncate:10} ${$.region | truncate:1}",
            "ap-shanghai ap-shangh… …",
        ),
        (
            "${$.data.title | json}",
            "\"主机 \\\"web-1\\\" 不可达\\n请处理\"",
        ),
        (
            "${$.gone | json} ${$.data.nested | json} ${$.data.items[*].n | json}",
            "null {\"b\": 2, \"a\": {\"z\":1}} [1,2.50,3]",
        ),
        ("${$.region | upper | json}", "\"AP-SHANGHAI\""),
        (
            "${$.data.at_s | date:%Y-%m-%d %H:%M:%S}",
            "2023-11-14 22:13:20",
        ),
        ("${$.time | date:%H:%M:%S%.3f,+08:00}", "06:13:20.123"),
        (
            "${$.data.at_text | date:'%F %T',Asia/Shanghai}",
            "2023-11-15 06:13:20",
        ),
        ("${$.data.at | date:%T,-0530}", "16:43:20"),
        (
            "${$.data.at | date:%T,+08} ${$.data.at | date:%T,Z}",
            "06:13:20 22:13:20",
        ),
        (
            "${$.data.at | date:'%d.%m., %H Uhr','Europe/Berlin'}",
            "14.11., 23 Uhr",
        ),
        ("${$.data.labels | join}", "red, green"),
        ("${$.data.labels | join:' / '}", "red / green"),
        ("${$.data.items[*].name | join:;}", "a;b|c"),
        ("${$.data.items[*].gone | join:x}", ""),
        ("${$.region | join:x}", "ap-shanghai"),
        (
            "${$.data.html | html}",
            "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;",
        ),
        (
            "${$.data.md | md}",
            "\\[点我\\]\\(http://evil.example\\) \\*b\\*",
        ),
        (
            "https://x/?q=${$.tags.zone | url}",
            "https://x/?q=%E4%BA%8C%E5%8C%BA",
        ),
        (
            "${$.data.labels | first} ${$.data.items[*].n | first} ${$.region | first}",
            "red 1 ap-shanghai",
        ),
        ("${$.data.items | first | json}", "{\"name\":\"a\",\"n\":1}"),
        ("[${$.data.none | first}]", "[]"),
        (
            "${$.data.labels | len} ${$.data.items[*].n | len} ${$.data.nested | len}",
            "2 3 2",
        ),
        (
            "${$.tags.zone | len} ${$.gone | len} ${$.data.none | len} ${$.data.load | len}",
            "2 0 0 4",
        ),
        ("${$.status | map:1=告警,0=恢复,*=未知}", "告警"),
        (
            "${$.data.severity | map: 1 = high , 2 = 'mid, or so' , * = low}",
            "mid, or so",
        ),
        (
            "${$.gone | map:1=a,*=?} ${$.gone | map:1=a | default:none}",
            "? none",
        ),
        ("${$.data.ok | map:true='=yes=',false=no}", "=yes="),
        ("${$.region | map:x=y}", "ap-shanghai"),
        ("${$.region | map:'ap-shanghai'='a|b}c'}", "a|b}c"),
    ] {
        assert_eq!(text(template), expected, "{template}");
    }
}

#[test]
fn a_filter_lets_through_what_it_cannot_work_on() {
    for (template, expected) in [
        ("${$.region | date:%F}", "ap-shanghai"),
        ("${$.data.ok | date:%F}", "true"),
        ("${$.data.nested | date:%F | len}", "2"),
        ("${$.data.huge | date:%F}", "12345678901234567890123"),
        ("${$.gone | date:%F}", ""),
        ("${$.data.nested | upper}", "{\"B\": 2, \"A\": {\"Z\":1}}"),
        ("${$.data.load | truncate:3}", "1.…"),
    ] {
        assert_eq!(text(template), expected, "{template}");
    }
}

#[test]
fn dates_are_read_in_all_forms() {
    let date = |raw: &str| {
        let event = format!("{{\"t\":{raw}}}");
        let spec = json!({"kind": "template", "template": "${$.t | date:%FT%T%.3f}"});
        rendered(spec, &event).unwrap().0
    };
    for (raw, expected) in [
        ("0", "1970-01-01T00:00:00.000"),
        ("-1", "1969-12-31T23:59:59.000"),
        ("1700000000.5", "2023-11-14T22:13:20.500"),
        ("\"1700000000\"", "2023-11-14T22:13:20.000"),
        ("\" 1700000000123 \"", "2023-11-14T22:13:20.123"),
        (
            "\"2023-11-14T22:13:20.25+08:00\"",
            "2023-11-14T14:13:20.250",
        ),
        ("99999999999", "5138-11-16T09:46:39.000"),
        // Not times: shown as they are.
        ("1e9", "1e9"),
        ("9223372036854775807", "9223372036854775807"),
        ("\"2023-11-14 22:13:20\"", "2023-11-14 22:13:20"),
        ("\"-\"", "-"),
        ("\".5\"", ".5"),
    ] {
        assert_eq!(date(raw), expected, "{raw}");
    }
}

#[test]
fn the_target_escapes_what_was_inserted_and_nothing_else() {
    for (template, escape, expected) in [
        (
            "<i>${$.data.html}</i>",
            Escape::Html,
            "<i>&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;</i>",
        ),
        (
            "**${$.data.md}**",
            Escape::Markdown,
            "**\\[点我\\]\\(http://evil.example\\) \\*b\\***",
        ),
        (
            "{\"t\":\"${$.data.title}\"}",
            Escape::Json,
            "{\"t\":\"主机 \\\"web-1\\\" 不可达\\n请处理\"}",
        ),
        // The author's own escape is not doubled, a different one is added to.
        (
            "${$.data.html | html}",
            Escape::Html,
            "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;",
        ),
        (
            "[x](http://h/?q=${$.data.md | url})",
            Escape::Markdown,
            "[x](http://h/?q=%5B%E7%82%B9%E6%88%91%5D%28http%3A%2F%2Fevil.example%29%20%2Ab%2A)",
        ),
        ("${$.tags.env | html}", Escape::Url, "prod"),
        (
            "${$.data.html | html | truncate:5}",
            Escape::Html,
            "&amp;lt;…",
        ),
        // What stands for a missing value is not a value.
        ("${$.gone | default:<none>}", Escape::Html, "&lt;none&gt;"),
    ] {
        assert_eq!(escaped(template, escape), expected, "{template}");
    }
}

#[test]
fn texts_in_a_json_template_are_escaped_for_the_target_and_then_quoted() {
    let template = json!({
        "whole": "${$.data.html}", "within": "<b>${$.data.html}, ${$.data.load}</b>", "number": "${$.data.load}",
        "nothing": "${$.data.nothing}", "gone": "${$.gone}", "author": "<${$.data.title}>",
    });
    let transform = compile(json!({"kind": "json", "template": template})).unwrap();
    let rendered = transform
        .render_with(EVENT.as_bytes(), &ctx(), Escape::Html)
        .unwrap();
    let body: Value = serde_json::from_slice(&rendered.body).unwrap();
    let html = "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;";
    assert_eq!(
        body,
        json!({
            "whole": html, "within": format!("<b>{html}, 1.10</b>"), "number": 1.10, "nothing": null, "gone": null,
            "author": "<主机 &quot;web-1&quot; 不可达\n请处理>",
        })
    );
}

#[test]
fn the_media_type_can_be_named() {
    let spec = |kind: &str, template: &str| json!({"kind": "template", "template": template, "contentType": kind});
    let (_, kind) = rendered(spec("text/markdown; charset=utf-8", "x"), EVENT).unwrap();
    assert_eq!(kind.as_str(), "text/markdown; charset=utf-8");
    let (_, kind) = rendered(json!({"kind": "template", "template": "x"}), EVENT).unwrap();
    assert_eq!(kind, ContentKind::Text);
    let (_, kind) = rendered(spec("application/json", "{\"a\":${$.data.load}}"), EVENT).unwrap();
    assert_eq!(kind, ContentKind::Json);
    let error = rendered(
        spec("application/json", "{\"a\":\"${$.data.title}\"}"),
        EVENT,
    );
    assert_eq!(error.unwrap_err().code(), "template_error");
    for bad in ["", "text", "text/", "a/b\r\nx: y", "a/b; ü", "te xt/plain"] {
        assert_eq!(refused(spec(bad, "x"))[0].pointer, "/contentType", "{bad}");
    }
}

#[test]
fn errors_carry_line_column_and_hint() {
    for (template, line, column, message, hint) in [
        (
            "a\n告${$.a | uper}",
            2,
            10,
            "unknown filter `uper`",
            "did you mean `upper`?",
        ),
        (
            "${data.x}",
            1,
            3,
            "a path starts with `$`",
            "did you mean `$.data.x`?",
        ),
        ("${$.a", 1, 1, "not closed", "`$${`"),
        ("x ${", 1, 3, "not closed", ""),
        ("${}", 1, 1, "empty", ""),
        ("${$.a b}", 1, 7, "unexpected `b`", "['name']"),
        ("${$..a}", 1, 4, "`..`", ""),
        ("${$.a | }", 1, 9, "filter's name", ""),
        ("${$.a | upper:x}", 1, 15, "takes no argument", ""),
        ("${$.a | default}", 1, 9, "`default` needs", ""),
        ("${$.a | default:a,b}", 1, 19, "takes one argument", "quote"),
        ("${$.a | default:'x}", 1, 17, "not closed", ""),
        ("${$.a | default:x", 1, 1, "not closed", ""),
        ("${$.a | truncate:x}", 1, 18, "whole number", ""),
        ("${$.a | truncate:0}", 1, 18, "whole number", ""),
        ("${$.a | date}", 1, 9, "needs a format", ""),
        ("${$.a | date:%Q}", 1, 14, "invalid date format", "%%"),
        ("${$.a | date:%H %}", 1, 14, "invalid date format", ""),
        (
            "${$.a | date:%H,Asia/Shangai}",
            1,
            17,
            "unknown time zone",
            "Asia/Shanghai",
        ),
        ("${$.a | date:%H,+24:00}", 1, 17, "unknown time zone", ""),
        ("${$.a | date:%H,+8}", 1, 17, "unknown time zone", ""),
        (
            "${$.a | date:%d, %H,Z}",
            1,
            21,
            "a format and a zone",
            "quote",
        ),
        ("${$.a | map}", 1, 9, "needs cases", ""),
        ("${$.a | map:a=b,c}", 1, 17, "no case of the form", ""),
        ("${$.a | map:a=b,a=c}", 1, 17, "twice", ""),
        (
            "${@rul}",
            1,
            3,
            "unknown variable `@rul`",
            "did you mean `@rule`?",
        ),
    ] {
        let errors = refused(json!({"kind": "template", "template": template}));
        let error = &errors[0];
        assert_eq!(errors.len(), 1, "{template}: {errors:?}");
        assert_eq!(error.pointer, "/template");
        assert_eq!(
            (error.line, error.column),
            (Some(line), Some(column)),
            "{template}: {error}"
        );
        assert!(error.message.contains(message), "{template}: {error}");
        let got = error.hint.as_deref().unwrap_or("");
        assert!(got.contains(hint), "{template}: {error}");
    }
}

#[test]
fn all_errors_of_a_text_are_reported_up_to_a_bound() {
    let errors =
        refused(json!({"kind": "template", "template": "${x}\n${$.a | b}\n ${$.ok} ${@c}"}));
    let places: Vec<_> = errors
        .iter()
        .map(|error| (error.line, error.column))
        .collect();
    assert_eq!(
        places,
        [(Some(1), Some(3)), (Some(2), Some(9)), (Some(3), Some(12))]
    );
    let errors = refused(json!({"kind": "template", "template": "${x}".repeat(500)}));
    assert_eq!(errors.len(), belfry_transform::limits::ERRORS_MAX);
}
