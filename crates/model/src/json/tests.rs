use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

fn fails(text: &str) -> (String, String) {
    let error = check(text.as_bytes(), &JsonLimits::default()).unwrap_err();
    (error.pointer, error.detail)
}

const PLAIN: Checked = Checked { plain_names: true };

#[test]
fn names_that_could_spell_a_path_twice_are_noticed() {
    for (text, plain_names) in [
        (r#"{"a":{"b":[{"c":1}]},"d":"x.y\n"}"#, true),
        (r#"{"a":{"b":[{"c.d":1}]}}"#, false),
        (r#"{"\u0061":1}"#, false),
    ] {
        let checked = check(text.as_bytes(), &JsonLimits::default()).unwrap();
        assert_eq!(checked.plain_names, plain_names, "{text}");
    }
}

#[test]
fn good_texts_pass() {
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let number = format!("[{}]", "1".repeat(300));
    let digits = format!("{{\"a\":\"{}\"}}", "7".repeat(1000));
    let many: Vec<String> = (0..200).map(|n| format!("\"n{n}\":{n}")).collect();
    let many = format!("{{{}}}", many.join(","));
    let same_name_elsewhere = r#"{"a":{"a":[{"a":1},{"a":2}]},"b":{"a":3}}"#;
    for text in [
        " {} \n",
        "null",
        "0",
        "-1.5e3",
        "\"\\u0001 \\\\u0000 磁盘\"",
        &deep,
        &number,
        &digits,
        &many,
        same_name_elsewhere,
    ] {
        assert_eq!(
            check(text.as_bytes(), &JsonLimits::default()),
            Ok(PLAIN),
            "{text}"
        );
    }
}

#[test]
fn every_mistake_has_a_pointer() {
    let many: Vec<String> = (0..200).map(|n| format!("\"n{n}\":{n}")).collect();
    let many = format!("{{{},\"n7\":1}}", many.join(","));
    let long = format!(
        "{{\"a/b\":[0,{{\"~\":{}}}]}}",
        "1".repeat(300) + ".0" + &"0".repeat(120)
    );
    let table = [
        (r#"{"a":{"b":1,"b":2}}"#, "/a/b", "twice"),
        (r#"{"a":1,"\u0061":2}"#, "/a", "twice"),
        (&many, "/n7", "twice"),
        (r#"{"x":[1,"a\u0000"]}"#, "/x/1", "U+0000"),
        (r#"{"x":{"a\u0000b":1}}"#, "/x", "U+0000"),
        (r#"{"x":[1,}"#, "/x/1", "line 1 column 9"),
        ("{\"x\":\n 1,,}", "", "line 2 column 4"),
        (r#"{"x":1e999}"#, "/x", "out of range"),
        (r#"{"x":"\ud800"}"#, "/x", "not valid JSON"),
        ("", "", "EOF"),
        ("{} {}", "", "trailing"),
        (&long, "/a~1b/1/~0", "at most 400"),
    ];
    for (text, pointer, part) in table {
        let (got, detail) = fails(text);
        assert_eq!(got, pointer, "{text}: {detail}");
        assert!(detail.contains(part), "{text}: {detail}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let (pointer, detail) = fails(&nested(65));
    assert_eq!(pointer, "/0".repeat(64));
    assert!(detail.contains("too deeply"), "{detail}");
    let generous = JsonLimits { depth: usize::MAX };
    assert_eq!(check(nested(127).as_bytes(), &generous), Ok(PLAIN));
    assert!(check(nested(100_000).as_bytes(), &generous).is_err());
    assert!(check(b"[]", &JsonLimits { depth: 0 }).is_err());
    assert_eq!(check(b"1", &JsonLimits { depth: 0 }), Ok(PLAIN));
}

#[test]
fn bytes_that_are_no_utf8_are_found() {
    let error = check(b"{\"a\":[\"\xff\"]}", &JsonLimits::default()).unwrap_err();
    assert_eq!(error.pointer, "/a/0");
    assert!(check(b"\xff", &JsonLimits::default()).is_err());
    assert!(check(b"{}\xff", &JsonLimits::default()).is_err());
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Outer {
    display_name: String,
    #[serde(default)]
    count: u8,
    #[serde(default)]
    inner: Vec<Inner>,
    #[serde(default)]
    pattern: Option<JsonText>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Inner {
    mode: Mode,
    #[serde(default)]
    tagged: Option<Tagged>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Mode {
    Memory,
    Strict,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
enum Tagged {
    Wait { seconds: u32 },
}

#[test]
fn types_are_read_with_raw_members_untouched() {
    let text = br#"{"displayName":"a","pattern":{"n":1.50,"z":1,"a":12345678901234567890123}}"#;
    let outer: Outer = from_slice(text).unwrap();
    assert_eq!(
        outer.pattern.unwrap().as_str(),
        r#"{"n":1.50,"z":1,"a":12345678901234567890123}"#
    );
}

#[test]
fn mistakes_of_type_point_at_the_member() {
    let table = [
        (
            r#"{"displayNam":"a"}"#,
            "/displayNam",
            "did you mean \"displayName\"?",
        ),
        (
            r#"{"displayName":"a","x~/y":1}"#,
            "/x~0~1y",
            "expected one of displayName, count, inner, pattern",
        ),
        (r#"{"inner":[]}"#, "/displayName", "required"),
        (
            r#"{"displayName":"a","count":256}"#,
            "/count",
            "expected a whole number from 0 to 255, got integer 256",
        ),
        (
            r#"{"displayName":"a","count":"1"}"#,
            "/count",
            "got string \"1\"",
        ),
        (
            r#"{"displayName":null}"#,
            "/displayName",
            "expected a string, got null",
        ),
        (
            r#"{"displayName":"a","inner":[{"mode":"memry"}]}"#,
            "/inner/0/mode",
            "did you mean \"memory\"?",
        ),
        (
            r#"{"displayName":"a","inner":[{}]}"#,
            "/inner/0/mode",
            "required",
        ),
        (
            r#"{"displayName":"a","inner":[{"mode":"strict","mod":1}]}"#,
            "/inner/0/mod",
            "did you mean \"mode\"?",
        ),
        (
            r#"{"displayName":"a","inner":[{"mode":"strict","tagged":{"kind":"wait","secnds":1}}]}"#,
            "/inner/0/tagged/secnds",
            "did you mean \"seconds\"?",
        ),
        (
            r#"{"displayName":"a","inner":[{"mode":"strict","tagged":{"kind":"wait"}}]}"#,
            "/inner/0/tagged/seconds",
            "required",
        ),
        (
            r#"{"displayName":"a","inner":[{"mode":"strict","tagged":{"kind":"wat"}}]}"#,
            "/inner/0/tagged/kind",
            "did you mean \"wait\"?",
        ),
        (
            r#"{"displayName":"a","inner":{}}"#,
            "/inner",
            "expected an array, got an object",
        ),
        (
            r#"{"displayName":"a","displayName":"b"}"#,
            "/displayName",
            "twice",
        ),
        ("[]", "", "required"),
        ("3", "", "expected an object, got integer 3"),
        ("{", "", "line 1"),
    ];
    for (text, pointer, part) in table {
        let errors = from_slice::<Outer>(text.as_bytes()).unwrap_err();
        let [error] = errors.as_slice() else {
            panic!("{errors:?}")
        };
        if text == "[]" {
            continue; // serde reads arrays into structs, too; an error is all that is asked
        }
        assert_eq!(error.pointer, pointer, "{text}: {}", error.detail);
        assert!(error.detail.contains(part), "{text}: {}", error.detail);
    }
}

#[test]
fn nearest_finds_slips_and_nothing_else() {
    let known = ["name", "description", "enabled", "id"];
    for (got, want) in [
        ("nmae", Some("name")),
        ("Name", Some("name")),
        ("descripton", Some("description")),
        ("ID", Some("id")),
        ("xy", None),
        ("", None),
        ("completely", None),
    ] {
        assert_eq!(nearest(got, known), want, "{got}");
    }
    assert_eq!(nearest(&"n".repeat(100_000), known), None);
}

#[test]
fn merge_patch_follows_the_examples_of_the_rfc() {
    let table = [
        (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
        (json!({"a":"b"}), json!({"a":null}), json!({})),
        (
            json!({"a":"b","b":"c"}),
            json!({"a":null}),
            json!({"b":"c"}),
        ),
        (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
        (
            json!({"a":{"b":"c"}}),
            json!({"a":{"b":"d","c":null}}),
            json!({"a":{"b":"d"}}),
        ),
        (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a":"b"}), json!(["c"]), json!(["c"])),
        (json!({"a":"foo"}), json!(null), json!(null)),
        (json!({"a":"foo"}), json!("bar"), json!("bar")),
        (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
        (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
        (
            json!({}),
            json!({"a":{"bb":{"ccc":null}}}),
            json!({"a":{"bb":{}}}),
        ),
    ];
    for (target, patch, want) in table {
        assert_eq!(
            merge_patch(target.clone(), patch.clone()),
            want,
            "{target} {patch}"
        );
    }
    let ordered = merge_patch(json!({"a":1,"b":2,"c":3,"d":4}), json!({"a":null,"c":9}));
    assert_eq!(ordered.to_string(), r#"{"b":2,"c":9,"d":4}"#);
}

#[test]
fn pointers_are_escaped() {
    assert_eq!(pointer_to("a/b~c"), "/a~1b~0c");
}

/// JSON values without U+0000; `serde_json` maps cannot repeat names.
fn value() -> impl Strategy<Value = Value> {
    let text = "[^\u{0}]{0,8}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text, inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn check_agrees_with_serde_json(value in value(), cut in 0_usize..64, put in "[\\[\\]{},:\"0-9 \\\\a-z]{0,3}") {
        let text = value.to_string();
        prop_assert!(check(text.as_bytes(), &JsonLimits::default()).is_ok());
        prop_assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), true);
        // The same text damaged: a repeated name or U+0000 is the only thing that check may refuse beyond syntax.
        let at = (0..=cut.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let damaged = format!("{}{put}{}", &text[..at], &text[at..]);
        let ours = check(damaged.as_bytes(), &JsonLimits::default());
        match serde_json::from_str::<Value>(&damaged) {
            Err(_) => prop_assert!(ours.is_err()),
            Ok(_) => if let Err(error) = ours {
                prop_assert!(error.detail.contains("twice") || error.detail.contains("U+0000"), "{}", error);
            },
        }
    }

    #[test]
    fn members_are_those_that_serde_json_reads(value in value(), pretty: bool, around in "[ \\t\\n\\r]{0,2}", cut in 0_usize..64, put in "[\\[\\]{},:\"0-9 \\\\a-z]{0,3}") {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut text = format!("{around}{}{around}", text.replace(':', &format!("{around}:")));
        if !put.is_empty() && text.is_char_boundary(cut) {
            text.insert_str(cut, &put);
        }
        if let Ok((_, members)) = check_members(text.as_bytes(), &JsonLimits::default()) {
            let read: Option<Members<'_>> = serde_json::from_str(&text).ok();
            prop_assert_eq!(members.map(|members| members.0), read.map(|members| members.0));
        }
    }

    #[test]
    fn check_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        std::hint::black_box(check(&bytes, &JsonLimits::default())).ok();
        std::hint::black_box(from_slice::<Outer>(&bytes)).ok();
    }
}
