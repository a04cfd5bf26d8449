use proptest::prelude::*;

use super::{Document, ProblemKind, Tree, Value, position, read};

fn refused(text: &[u8]) -> (usize, String) {
    let problem = read(text, 8, 1000, &mut Tree::default()).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Syntax, "{problem:?}");
    (problem.offset, problem.message)
}

#[test]
fn keeps_number_text_repeated_names_and_order() {
    let mut tree = Tree::default();
    let source = br#" {"a":1.50e+01,"b\u0041":[null,"x\ny"],"a":{"":true}} "#;
    let doc = Document::new(read(source, 8, 1000, &mut tree).unwrap(), &tree);
    let members: Vec<_> = doc.children(Document::ROOT).collect();
    let seen: Vec<_> = members
        .iter()
        .map(|&m| (doc.name(m), doc.value(m)))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", Value::Number("1.50e+01")),
            ("bA", Value::Array),
            ("a", Value::Object)
        ]
    );
    let elements: Vec<_> = doc.children(members[1]).map(|e| doc.value(e)).collect();
    assert_eq!(elements, [Value::Null, Value::String("x\ny")]);
    assert_eq!(doc.raw(members[1]), r#"[null,"x\ny"]"#);
    let inner = doc.only_child(members[2]).unwrap();
    assert_eq!(
        (doc.name(inner), doc.pointer(inner)),
        ("", "/a/".to_owned())
    );
}

#[test]
fn escapes_are_decoded_once() {
    let mut tree = Tree::default();
    let source = br#""\u005cn \ud83d\ude00 \/ \b\f\n\r\t \u00E9""#;
    let doc = Document::new(read(source, 8, 1000, &mut tree).unwrap(), &tree);
    let expected = "\\n \u{1f600} / \u{8}\u{c}\n\r\t \u{e9}";
    assert_eq!(doc.value(Document::ROOT), Value::String(expected));
}

#[test]
fn refuses_what_is_no_json() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "[1,]",
        "[,1]",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"\t\"",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "-01",
        "tru",
        "nul",
        "True",
        "NaN",
        "Infinity",
        "1 2",
        "{} {}",
        "{}x",
        "// a\n1",
        "/* a */ 1",
        "[1 2]",
        "{\"a\" 1}",
        "[1}",
        "{\"a\":1]",
        "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\ud800\\n\"",
        "\"\\udc00\"",
        "\"\\ud800\\ud800\"",
        "\u{feff}{}",
        "{\"a\":1,/*x*/\"b\":2}",
        "\u{a0}1",
    ] {
        refused(text.as_bytes());
    }
    assert_eq!(refused(b"{\"a\":\"\xff\"}").0, 6);
    assert_eq!(refused(b"{} x").0, 3);
    assert!(
        refused("\u{feff}{}".as_bytes())
            .1
            .contains("byte-order mark")
    );
}

#[test]
fn depth_is_limited_and_costs_no_stack() {
    let mut tree = Tree::default();
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(read(&nested(8), 8, usize::MAX, &mut tree).is_ok());
    let problem = read(&nested(9), 8, usize::MAX, &mut tree).unwrap_err();
    assert_eq!((problem.kind, problem.offset), (ProblemKind::TooDeep, 8));
    let problem = read(&vec![b'['; 1_000_000], 8, usize::MAX, &mut tree).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::TooDeep);
    // More than that is not read whatever the limit.
    assert!(read(&nested(128), usize::MAX, usize::MAX, &mut tree).is_ok());
    assert!(read(&nested(129), usize::MAX, usize::MAX, &mut tree).is_err());
}

#[test]
fn length_is_limited() {
    let problem = read(b"[1,2]", 8, 4, &mut Tree::default()).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::TooLarge);
}

#[test]
fn positions_count_lines_and_characters() {
    let text = "{\n \"é\": x}".as_bytes();
    assert_eq!(position(text, 0), (1, 1));
    assert_eq!(position(text, 2), (2, 1));
    assert_eq!(position(text, 9), (2, 7));
    assert_eq!(position(text, 1000), (2, 9));
}

fn rebuilt(doc: Document<'_>, node: u32) -> serde_json::Value {
    match doc.value(node) {
        Value::Null => serde_json::Value::Null,
        Value::Bool(b) => b.into(),
        Value::Number(text) => serde_json::from_str(text).unwrap(),
        Value::String(s) => s.into(),
        Value::Array => doc
            .children(node)
            .map(|child| rebuilt(doc, child))
            .collect(),
        Value::Object => {
            let member = |child| (doc.name(child).to_owned(), rebuilt(doc, child));
            serde_json::Value::Object(doc.children(node).map(member).collect())
        }
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn reads_what_serde_json_writes(value in json(), pretty: bool) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        let text = text.unwrap();
        let mut tree = Tree::default();
        let doc = Document::new(read(&text, 8, usize::MAX, &mut tree).unwrap(), &tree);
        prop_assert_eq!(rebuilt(doc, Document::ROOT), value);
    }

    #[test]
    fn accepts_what_serde_json_accepts(
        text in r#"[\[\]{}:, ]{0,3}("a"|[-0-9.eE+]{1,6}|true|null){0,2}[\[\]{}:, ]{0,3}"#,
    ) {
        let ours = read(text.as_bytes(), 100, 1000, &mut Tree::default()).is_ok();
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn never_panics(text in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ignored = read(&text, 4, 1000, &mut Tree::default());
    }
}
