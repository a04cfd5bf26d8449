//! The truth table of section 4, cell by cell.

use crate::matches;

const VALUES: [&str; 14] = [
    r#""abc""#,
    r#""""#,
    "null",
    "true",
    "0",
    "12",
    "[]",
    "{}",
    r#"{"x":1}"#,
    r#"["abc","x"]"#,
    r#"[["abc"]]"#,
    "[null]",
    r#"[{"y":1}]"#,
    "absent",
];

#[rustfmt::skip]
const TABLE: &[(&str, &str)] = &[
    (r#"["abc"]"#,                                           "M........MM..."),
    (r#"[""]"#,                                              ".M............"),
    ("[null]",                                               "..M........M.."),
    ("[true]",                                               "...M.........."),
    ("[12]",                                                 ".....M........"),
    (r#"[{"exists":true}]"#,                                 "MMMMMM...MMM.."),
    (r#"[{"exists":false}]"#,                                "......MMM...MM"),
    (r#"[{"prefix":""}]"#,                                   "MM.......MM..."),
    (r#"[{"suffix":""}]"#,                                   "MM.......MM..."),
    (r#"[{"wildcard":"*"}]"#,                                "MM.......MM..."),
    (r#"[{"equals-ignore-case":"aBc"}]"#,                    "M........MM..."),
    (r#"[{"wildcard":""}]"#,                                 ".M............"),
    (r#"[{"anything-but":"abc"}]"#,                          ".MMMMM...M.M.."),
    (r#"[{"anything-but":["abc","x"]}]"#,                    ".MMMMM.....M.."),
    (r#"[{"anything-but":12}]"#,                             "MMMMM....MMM.."),
    (r#"[{"anything-but":{"prefix":"ab"}}]"#,                ".MMMMM...M.M.."),
    (r#"[{"anything-but":{"wildcard":"*"}}]"#,               "..MMMM.....M.."),
    (r#"[{"numeric":[">=",0]}]"#,                            "....MM........"),
    (r#"[{"anything-but":"abc"},{"exists":false}]"#,         ".MMMMMMMMM.MMM"),
];

#[test]
fn every_cell() {
    for (alternatives, row) in TABLE {
        for (value, cell) in VALUES.iter().zip(row.chars()) {
            let event = match *value {
                "absent" => r#"{"other":1}"#.to_owned(),
                value => format!("{{\"k\":{value}}}"),
            };
            let verdict = matches(&format!("{{\"k\":{alternatives}}}"), &event);
            assert_eq!(verdict, cell == 'M', "{alternatives} on {value}");
        }
    }
}

#[test]
fn a_literal_is_not_its_name() {
    for literal in ["true", "false", "null", "12"] {
        assert!(!matches(
            &format!("{{\"k\":[{literal}]}}"),
            &format!("{{\"k\":\"{literal}\"}}")
        ));
        assert!(!matches(
            &format!("{{\"k\":[\"{literal}\"]}}"),
            &format!("{{\"k\":{literal}}}")
        ));
    }
}
