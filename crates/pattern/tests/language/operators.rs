//! Sections 4 to 6: what each operator matches.

use crate::fits;

#[test]
fn exact_strings_that_are_addresses_match_every_spelling() {
    assert!(fits(r#"["::1"]"#, r#""0:0:0:0:0:0:0:1""#));
    assert!(fits(r#"["FD00:0::a"]"#, r#""fd00::A""#));
    assert!(!fits(r#"["::1"]"#, r#""::2""#) && !fits(r#"["::1"]"#, r#""::1 ""#));
    assert!(fits(r#"["10.0.0.1"]"#, r#""10.0.0.1""#));
    assert!(!fits(r#"["10.0.0.1"]"#, r#""010.0.0.1""#));
    assert!(!fits(r#"["10.0.0.1"]"#, r#""::ffff:10.0.0.1""#));
    assert!(fits(r#"[{"exactly":"::1"}]"#, r#""::1""#));
    assert!(!fits(r#"[{"exactly":"::1"}]"#, r#""0:0:0:0:0:0:0:1""#));
    // An exclusion is by spelling.
    assert!(fits(r#"[{"anything-but":"::1"}]"#, r#""0:0:0:0:0:0:0:1""#));
}

#[test]
fn prefix_and_suffix() {
    assert!(fits(r#"[{"prefix":"ab"}]"#, r#""abc""#) && !fits(r#"[{"prefix":"b"}]"#, r#""abc""#));
    assert!(fits(r#"[{"suffix":"bc"}]"#, r#""abc""#) && !fits(r#"[{"suffix":"b"}]"#, r#""abc""#));
    assert!(!fits(r#"[{"prefix":"a\""}]"#, r#""a""#));
    assert!(fits(
        r#"[{"prefix":{"equals-ignore-case":"éA"}}]"#,
        r#""Éab""#
    ));
    assert!(fits(
        r#"[{"suffix":{"equals-ignore-case":"bÉ"}}]"#,
        r#""aBé""#
    ));
    assert!(!fits(
        r#"[{"prefix":{"equals-ignore-case":"abc"}}]"#,
        r#""ab""#
    ));
    assert!(!fits(r#"[{"prefix":"1"}]"#, "12"));
}

#[test]
fn folding_is_one_to_one_and_symmetric() {
    for class in [
        &["é", "É"][..],
        &["я", "Я"],
        &["ａ", "Ａ"],
        &["σ", "Σ", "ς"],
        &["k", "K", "\u{212a}"],
        &["ⱥ", "Ⱥ"],
        &["𐐀", "𐐨"],
    ] {
        for a in class {
            for b in class {
                let pattern = format!(r#"[{{"equals-ignore-case":"x{a}y"}}]"#);
                assert!(fits(&pattern, &format!("\"X{b}Y\"")), "{a} {b}");
            }
        }
    }
    for (a, b) in [
        ("ß", "ss"),
        ("ß", "SS"),
        ("İ", "i"),
        ("İ", "i\u{307}"),
        ("é", "e\u{301}"),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            assert!(!fits(
                &format!(r#"[{{"equals-ignore-case":"{a}"}}]"#),
                &format!("\"{b}\"")
            ));
        }
    }
    assert!(fits(r#"[{"equals-ignore-case":""}]"#, r#""""#));
}

#[test]
fn wildcards() {
    assert!(fits(r#"[{"wildcard":"a*b*c"}]"#, r#""a1b2c""#));
    assert!(!fits(r#"[{"wildcard":"a*b*c"}]"#, r#""abcb""#));
    assert!(fits(r#"[{"wildcard":"a\\*b"}]"#, r#""a*b""#));
    assert!(!fits(r#"[{"wildcard":"a\\*b"}]"#, r#""axb""#));
    assert!(fits(r#"[{"wildcard":"a\\\\b"}]"#, r#""a\\b""#));
    assert!(fits(r#"[{"wildcard":"*\\*"}]"#, r#""x*""#));
    assert!(fits(r#"[{"shellstyle":"a\\*b"}]"#, r#""a\\xb""#));
    assert!(!fits(r#"[{"wildcard":"*"}]"#, "1"));
}

#[test]
fn contain_is_for_strings_and_a_list_means_all() {
    for op in ["contain", "contains"] {
        assert!(fits(&format!(r#"[{{"{op}":"b"}}]"#), r#""abc""#));
        assert!(!fits(&format!(r#"[{{"{op}":"B"}}]"#), r#""abc""#));
        assert!(fits(&format!(r#"[{{"{op}":["a","c"]}}]"#), r#""abc""#));
        assert!(!fits(&format!(r#"[{{"{op}":["a","d"]}}]"#), r#""abc""#));
        assert!(!fits(&format!(r#"[{{"{op}":"1"}}]"#), "12"));
    }
}

#[test]
fn numbers_compare_by_exact_value() {
    for a in ["300", "300.0", "3.0e2", "3E2"] {
        for b in ["300", "300.0", "3.0e2", "3E2"] {
            assert!(fits(&format!("[{a}]"), b));
            assert!(fits(&format!(r#"[{{"numeric":["=",{a}]}}]"#), b));
            assert!(!fits(&format!(r#"[{{"anything-but":{a}}}]"#), b));
        }
    }
    assert!(fits("[0]", "-0") && fits("[-0.0]", "0e5"));
    assert!(!fits(r#"["300"]"#, "300") && !fits("[300]", r#""300""#));
    assert!(!fits("[9007199254740993]", "9007199254740992"));
    assert!(!fits(r#"[{"numeric":["=",300]}]"#, "300.00000000000001"));
    assert!(fits("[123456789.123456789]", "123456789.1234567890"));
}

#[test]
fn numbers_beyond_a_double_equal_only_their_spelling() {
    for number in ["1e400", "1e-400"] {
        assert!(fits(&format!("[{number}]"), number));
        assert!(!fits(&format!("[{number}]"), &number.replace('1', "1.0")));
        for range in [
            r#"[">",0]"#,
            r#"["<",1]"#,
            r#"["<=",0]"#,
            r#"[">=",-1,"<",1]"#,
        ] {
            assert!(
                !fits(&format!(r#"[{{"numeric":{range}}}]"#), number),
                "{range} {number}"
            );
        }
        assert!(fits(r#"[{"anything-but":5}]"#, number) && !fits("[0]", number));
    }
}

#[test]
fn ranges() {
    let holds = |range: &str, value: &str| fits(&format!(r#"[{{"numeric":{range}}}]"#), value);
    assert!(holds(r#"["=",5]"#, "5.0") && !holds(r#"["=",5]"#, "5.1"));
    assert!(holds(r#"["<",5]"#, "-1e300") && !holds(r#"["<",5]"#, "5"));
    assert!(holds(r#"["<=",5]"#, "5") && !holds(r#"["<=",5]"#, "5.000000000000000000001"));
    assert!(holds(r#"[">",5]"#, "5.1") && !holds(r#"[">",5]"#, "5"));
    assert!(holds(r#"[">=",-5]"#, "-5") && !holds(r#"[">=",-5]"#, "-5.1"));
    assert!(holds(r#"[">",0,"<=",5]"#, "5") && !holds(r#"[">",0,"<=",5]"#, "0"));
    assert!(holds(r#"[">=",0,"<",5]"#, "0") && !holds(r#"[">=",0,"<",5]"#, "5"));
    assert!(!holds(r#"[">",0]"#, r#""5""#) && !holds(r#"[">",0]"#, "true"));
}

#[test]
fn address_blocks() {
    let holds = |block: &str, value: &str| {
        fits(
            &format!(r#"[{{"cidr":"{block}"}}]"#),
            &format!("\"{value}\""),
        )
    };
    assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
    assert!(holds("10.0.0.77/24", "10.0.0.1") && !holds("10.0.0.77/24", "10.0.1.77"));
    assert!(holds("10.0.0.1/32", "10.0.0.1") && !holds("10.0.0.1/32", "10.0.0.2"));
    assert!(holds("0.0.0.0/0", "255.255.255.255") && !holds("0.0.0.0/0", "::1"));
    assert!(holds("::/0", "ff::1") && !holds("::/0", "10.0.0.1"));
    assert!(holds("fd00::/8", "FDFF:0::1") && !holds("fd00::/8", "fe00::1"));
    assert!(holds("::1/128", "0:0:0:0:0:0:0:1") && !holds("::1/128", "::2"));
    for value in [
        "010.0.0.1",
        " 10.0.0.1",
        "10.0.0.1 ",
        "10.0.0.1:80",
        "10.0.0",
        "10.0.0.1/32",
        "",
        "fe80::1%eth0",
        "[fd00::1]",
    ] {
        assert!(
            !holds("0.0.0.0/0", value) && !holds("::/0", value),
            "{value}"
        );
    }
    assert!(!fits(r#"[{"cidr":"0.0.0.0/0"}]"#, "10"));
}

#[test]
fn anything_but_is_satisfied_by_every_other_value() {
    for value in ["5", "true", "null", r#""y""#] {
        assert!(fits(r#"[{"anything-but":"x"}]"#, value));
        assert!(fits(r#"[{"anything-but":["x","z"]}]"#, value));
        assert!(fits(r#"[{"anything-but":{"prefix":"x"}}]"#, value));
        assert!(fits(r#"[{"anything-but":{"suffix":["x","z"]}}]"#, value));
        assert!(fits(
            r#"[{"anything-but":{"equals-ignore-case":"X"}}]"#,
            value
        ));
        assert!(fits(
            r#"[{"anything-but":{"wildcard":["x*","*z"]}}]"#,
            value
        ));
        assert!(fits(r#"[{"anything-but":{"contain":"x"}}]"#, value));
    }
    assert!(fits(r#"[{"anything-but":5}]"#, r#""5""#) && !fits(r#"[{"anything-but":5}]"#, "5.0"));
    assert!(!fits(r#"[{"anything-but":[4,5]}]"#, "5"));
    assert!(!fits(
        r#"[{"anything-but":{"suffix":["x","z"]}}]"#,
        r#""az""#
    ));
    assert!(!fits(
        r#"[{"anything-but":{"prefix":["x","z"]}}]"#,
        r#""za""#
    ));
    assert!(!fits(
        r#"[{"anything-but":{"equals-ignore-case":["a","X"]}}]"#,
        r#""x""#
    ));
    assert!(!fits(
        r#"[{"anything-but":{"equals-ignore-case":""}}]"#,
        r#""""#
    ));
    assert!(!fits(
        r#"[{"anything-but":{"wildcard":["x*","*z"]}}]"#,
        r#""yz""#
    ));
    // A list under contain always means all of its strings.
    assert!(!fits(
        r#"[{"anything-but":{"contains":["a","b"]}}]"#,
        r#""ab""#
    ));
    assert!(fits(
        r#"[{"anything-but":{"contains":["a","b"]}}]"#,
        r#""a""#
    ));
}
