//! Errors: code, place and hint.

use belfry_pattern::{ErrorCode::*, EventErrorCode, Pattern};

use crate::{error, refuses, refuses_alternative};

#[test]
fn texts_that_are_no_json() {
    for text in [
        "",
        "{",
        r#"{"a":[1]"#,
        r#"{"a":[1]}x"#,
        r#"{"a":[1]} {}"#,
        r#"{"a":[1],}"#,
        r#"{"a":[01]}"#,
        "{\"a\":[\"\u{1}\"]}",
        r#"{'a':[1]}"#,
        r#"{"a":["x]}"#,
        "// x\n{\"a\":[1]}",
        "\u{feff}{\"a\":[1]}",
        r#"{"a":["\ud800"]}"#,
        r#"{"a":[nul]}"#,
    ] {
        refuses(text, NotJson);
    }
    assert_eq!(
        Pattern::parse(b"{\"a\":[\"\xff\"]}")
            .unwrap_err()
            .as_slice()[0]
            .code,
        NotJson
    );
    let error = error("{\"a\":\n [1,\n  x]}");
    assert_eq!((error.line, error.column), (3, 3));
}

#[test]
fn shape() {
    for text in ["[]", r#""a""#, "1", "null", "true", "[{}]"] {
        refuses(text, NotObject);
    }
    refuses("{}", EmptyObject);
    refuses(r#"{"a":{}}"#, EmptyObject);
    refuses(r#"{"a":[]}"#, EmptyList);
    refuses(r#"{"a":{"b":[]}}"#, EmptyList);
    refuses(r#"{"a":[["x"]]}"#, NestedList);
    refuses(r#"{"a":[{}]}"#, OneOperator);
    refuses(r#"{"a":[{"prefix":"a","suffix":"b"}]}"#, OneOperator);
    refuses(r#"{"a":[{"prefix":"a","prefix":"b"}]}"#, OneOperator);
    refuses(r#"{"a":[{"Prefix":"a"}]}"#, UnknownOperator);
    refuses(r#"{"a":[{"regex":"a"}]}"#, UnknownOperator);
    refuses(r#"{"a":[{"$or":"a"}]}"#, UnknownOperator);
}

#[test]
fn arguments() {
    for op in [
        "exactly",
        "prefix",
        "suffix",
        "equals-ignore-case",
        "wildcard",
        "shellstyle",
        "regexp",
        "cidr",
    ] {
        for argument in ["1", "null", "true", r#"["a"]"#, "[]", r#"{"x":"y"}"#, "{}"] {
            refuses_alternative(&format!(r#"{{"{op}":{argument}}}"#), BadArgument);
        }
    }
    for op in ["prefix", "suffix"] {
        refuses_alternative(
            &format!(r#"{{"{op}":{{"equals-ignore-case":1}}}}"#),
            BadArgument,
        );
        refuses_alternative(&format!(r#"{{"{op}":{{"wildcard":"a"}}}}"#), BadArgument);
    }
    for op in ["contain", "contains"] {
        for argument in [
            "1",
            "null",
            r#""""#,
            r#"["a",""]"#,
            r#"["a",1]"#,
            r#"[["a"]]"#,
            "{}",
        ] {
            refuses_alternative(&format!(r#"{{"{op}":{argument}}}"#), BadArgument);
        }
        refuses_alternative(&format!(r#"{{"{op}":[]}}"#), EmptyList);
    }
    for argument in [r#""true""#, "1", "null", "[true]", "{}"] {
        refuses_alternative(&format!(r#"{{"exists":{argument}}}"#), BadArgument);
    }
    for argument in [
        "1",
        "null",
        "[{\"a\":1}]",
        r#""""#,
        r#""x""#,
        r#""[1]""#,
        r#""{'a':1}""#,
        r#""{\"a\":1} x""#,
    ] {
        refuses_alternative(&format!(r#"{{"array":{argument}}}"#), BadArgument);
    }
    refuses_alternative(r#"{"array":{}}"#, EmptyObject);
    refuses_alternative(r#"{"array":"{}"}"#, EmptyObject);
}

#[test]
fn numeric() {
    for argument in ["5", r#"">5""#, "{}", "null"] {
        refuses_alternative(&format!(r#"{{"numeric":{argument}}}"#), BadArgument);
    }
    refuses_alternative(r#"{"numeric":[]}"#, EmptyList);
    for argument in [
        r#"["==",5]"#,
        r#"["!=",5]"#,
        r#"[">"]"#,
        r#"[5,">"]"#,
        r#"[">","5"]"#,
        r#"[">",null]"#,
        r#"[">",1,"<"]"#,
        r#"[">",1,"<",5,"<"]"#,
        r#"["<",5,">",1]"#,
        r#"[">",5,"<",1]"#,
        r#"[">=",5,"<=",5]"#,
        r#"[">=",5.0,"<=",5]"#,
        r#"["=",1,"<",5]"#,
        r#"[">",1,">",5]"#,
        r#"[1,5]"#,
        r#"[["=",5]]"#,
    ] {
        refuses_alternative(&format!(r#"{{"numeric":{argument}}}"#), BadRange);
    }
    for argument in [r#"["=",1e400]"#, r#"[">",1e-400]"#, r#"[">",0,"<",1e999]"#] {
        refuses_alternative(&format!(r#"{{"numeric":{argument}}}"#), BadNumber);
    }
}

#[test]
fn anything_but() {
    for argument in [
        "true",
        "null",
        "[true]",
        "[null]",
        r#"["a",null]"#,
        r#"["a",["b"]]"#,
        r#"[{"prefix":"a"}]"#,
        r#"{"cidr":"10.0.0.0/8"}"#,
        r#"{"numeric":["=",1]}"#,
        r#"{"exists":true}"#,
        r#"{"prefix":{"equals-ignore-case":"a"}}"#,
        r#"{"prefix":""}"#,
        r#"{"suffix":""}"#,
        r#"{"suffix":["a",""]}"#,
        r#"{"prefix":1}"#,
        r#"{"wildcard":1}"#,
        r#"{"wildcard":["a",1]}"#,
        r#"{"contain":""}"#,
        r#"{"anything-but":"a"}"#,
        r#"{"equals-ignore-case":{"prefix":"a"}}"#,
    ] {
        refuses_alternative(&format!(r#"{{"anything-but":{argument}}}"#), BadArgument);
    }
    refuses_alternative(r#"{"anything-but":["a",1]}"#, MixedList);
    refuses_alternative(r#"{"anything-but":[]}"#, EmptyList);
    refuses_alternative(r#"{"anything-but":{"prefix":[]}}"#, EmptyList);
    refuses_alternative(r#"{"anything-but":{"wildcard":[]}}"#, EmptyList);
    refuses_alternative(r#"{"anything-but":{}}"#, OneOperator);
    refuses_alternative(
        r#"{"anything-but":{"prefix":"a","suffix":"b"}}"#,
        OneOperator,
    );
    refuses_alternative(r#"{"anything-but":{"prefixx":"a"}}"#, UnknownOperator);
    refuses_alternative(r#"{"anything-but":{"wildcard":"a**"}}"#, BadWildcard);
    refuses_alternative(r#"{"anything-but":1e400}"#, BadNumber);
    refuses_alternative(r#"{"anything-but":[1,1e-400]}"#, BadNumber);
}

#[test]
fn wildcards_and_blocks() {
    for argument in [r"a**b", r"\\a", r"a\\", r"\\\\\\"] {
        refuses_alternative(&format!(r#"{{"wildcard":"{argument}"}}"#), BadWildcard);
    }
    refuses_alternative(r#"{"shellstyle":"a**"}"#, BadWildcard);
    for block in [
        "",
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8/8",
        "10.0.0.0//8",
        "10.0.0/8",
        "010.0.0.0/8",
        "::/129",
        "::g/8",
        " 10.0.0.0/8",
        "10.0.0.0/8 ",
        "10.0.0.0/99999999999",
        "fe80::1%eth0/8",
        "/8",
    ] {
        refuses_alternative(&format!(r#"{{"cidr":"{block}"}}"#), BadCidr);
    }
}

#[test]
fn places_and_hints() {
    let text = "{\n  \"a/b\": {\"~\": [\n    \"x\", {\"sufix\": \"y\"}\n  ]}\n}";
    let found = error(text);
    assert_eq!((found.line, found.column), (3, 11));
    assert_eq!(found.pointer, "/a~1b/~0/1/sufix");
    assert_eq!(found.hint.as_deref(), Some("did you mean `suffix`?"));
    let hint = |pattern| error(pattern).hint.unwrap_or_default();
    assert!(hint(r#"{"a":[{"PREFIX":"x"}]}"#).contains("`prefix`"));
    assert!(hint(r#"{"a":[{"anything_but":"x"}]}"#).contains("`anything-but`"));
    assert!(hint(r#"{"a":[{"regex":"x"}]}"#).contains("`regexp`"));
    assert!(hint(r#"{"a":[{"numeric":["==",5]}]}"#).contains("`=`"));
    assert!(hint(r#"{"a":[{"numeric":[">","5"]}]}"#).contains("without quotes"));
    assert_eq!(error(r#"{"a":[{"zzzzzz":"x"}]}"#).hint, None);
}

#[test]
fn all_errors_are_reported_in_order() {
    let errors = Pattern::parse(br#"{"a":[{"x":1}],"b":[],"c":{"d":{}}}"#).unwrap_err();
    let seen: Vec<_> = errors
        .as_slice()
        .iter()
        .map(|e| (e.code, e.pointer.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (UnknownOperator, "/a/0/x"),
            (EmptyList, "/b"),
            (EmptyObject, "/c/d")
        ]
    );
    let many = format!("{{\"a\":[{}1]}}", "[],".repeat(1000));
    assert_eq!(
        Pattern::parse(many.as_bytes())
            .unwrap_err()
            .as_slice()
            .len(),
        20
    );
}

#[test]
fn errors_are_json_for_clients() {
    let errors = Pattern::parse(br#"{"a":[{"x":1}]}"#).unwrap_err();
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(json[0]["code"], "unknown-operator");
    assert_eq!(json[0]["column"], 8);
}

#[test]
fn events() {
    let pattern = Pattern::parse(br#"{"a":[1]}"#).unwrap();
    let code = |event: &[u8]| pattern.matches(event).unwrap_err().code;
    assert_eq!(code(b"{\"a\":1"), EventErrorCode::NotJson);
    assert_eq!(code(b"{\"a\":\"\\udfff\"}"), EventErrorCode::NotJson);
    assert_eq!(code(b"{\"b\":\"\xc3\"}"), EventErrorCode::NotJson);
    assert_eq!(code(b"[{\"a\":1}]"), EventErrorCode::NotObject);
    let nested = |depth: usize| format!("{{\"b\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(pattern.matches(nested(127).as_bytes()).is_ok());
    assert_eq!(code(nested(128).as_bytes()), EventErrorCode::TooDeep);
    let error = pattern.matches(b"{\"a\":1,\n \"b\" 2}").unwrap_err();
    assert_eq!((error.line, error.column), (2, 6));
}
