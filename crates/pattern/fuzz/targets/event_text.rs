//! Any bytes as an event, against one set of rules with every operator in it.

#![no_main]

use std::sync::LazyLock;

use belfry_pattern::{EventErrorCode, EventText, Pattern, RuleList, RuleSet, Scratch};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const RULES: &[&str] = &[
    r#"{"a":["x"]}"#,
    r#"{"a":[""]}"#,
    r#"{"a":["é","x"],"b":[1]}"#,
    r#"{"a":[null]}"#,
    r#"{"b":[true,false]}"#,
    r#"{"b":[12,1.5,-0.0]}"#,
    r#"{"b":[1e400,12345678901234567890123]}"#,
    r#"{"a":["::1"]}"#,
    r#"{"a":[{"cidr":"10.0.0.0/8"},{"cidr":"fe80::/10"}]}"#,
    r#"{"a":[{"cidr":"0.0.0.0/0"}]}"#,
    r#"{"a":[{"exactly":"::1"}]}"#,
    r#"{"a":[{"prefix":"ab"}]}"#,
    r#"{"a":[{"suffix":"yz"}],"b":[{"prefix":""}]}"#,
    r#"{"a":[{"prefix":{"equals-ignore-case":"kÉ"}}]}"#,
    r#"{"a":[{"suffix":{"equals-ignore-case":"σ"}}]}"#,
    r#"{"a":[{"equals-ignore-case":"straße"}]}"#,
    r#"{"a":[{"wildcard":"a*b*c"}]}"#,
    r#"{"a":[{"wildcard":"*abc*"}]}"#,
    r#"{"c":{"d":[{"shellstyle":"*\\*x"}]}}"#,
    r#"{"a":[{"regexp":"(a|aa)+b?"}]}"#,
    r#"{"a":[{"regexp":"x~p{L}[0-9]{2,}"}]}"#,
    r#"{"a":[{"contain":"aaa"}]}"#,
    r#"{"a":[{"contains":["ab","abc"]}],"b":[1]}"#,
    r#"{"b":[{"numeric":[">",0,"<=",5]}]}"#,
    r#"{"b":[{"numeric":["<",-1e3]}]}"#,
    r#"{"b":[{"numeric":[">=",12345678901234567890.5]}]}"#,
    r#"{"b":[{"numeric":["=",300]}]}"#,
    r#"{"c":{"d":[{"exists":true}]}}"#,
    r#"{"c":{"d":[{"exists":false}]},"a":[{"exists":true}]}"#,
    r#"{"c":{"d":["x",{"exists":false}]}}"#,
    r#"{"a":[{"anything-but":"x"}]}"#,
    r#"{"a":[{"anything-but":[1,2]}]}"#,
    r#"{"a":[{"anything-but":{"prefix":"a"}}]}"#,
    r#"{"a":[{"anything-but":{"wildcard":["*b","c*"]}}]}"#,
    r#"{"a":[{"anything-but":{"contain":"b"}}]}"#,
    r#"{"a":[{"anything-but":{"equals-ignore-case":"K"}}]}"#,
    r#"{"a":[{"array":{"b":1}}]}"#,
    r#"{"a":[{"array":{"b":[1,{"c":null}]}},5]}"#,
    r#"{"a":{"b":[1],"c":[2]}}"#,
    r#"{"a":{"b":[1],"c":[{"exists":false}]}}"#,
    r#"{"a":{"b":{"c":["x"],"d":["y",{"exists":false}]},"c":["z"]}}"#,
    r#"{"":{"":["x"]},"a.b":["x"]}"#,
    r#"{"$or":[{"a":["x"]},{"b":[1],"c":{"d":[2]}},{"c":["x"]}],"a":[{"exists":true}]}"#,
    r#"{"a":["0123456789012345678901234567890123456789012345678901234567890123456789"]}"#,
    r#"{"a":[{"prefix":"01234567890123456789012345678901234567890123456789012345678901234567"}]}"#,
];

struct Rules {
    set: RuleSet,
    list: RuleList,
    patterns: Vec<Pattern>,
}

static ALL: LazyLock<Rules> = LazyLock::new(|| {
    let mut rules = Rules {
        set: RuleSet::new(),
        list: RuleList::default(),
        patterns: Vec::new(),
    };
    for (id, text) in (0..).zip(RULES) {
        let pattern = Pattern::parse(text.as_bytes()).expect(text);
        rules.set.add(id, &pattern);
        rules.list.add(id, &pattern);
        rules.patterns.push(pattern);
    }
    rules
});

/// Half a surrogate pair: serde_json takes it as bytes and as part of a text that it only skips.
fn may_have_half_a_pair(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|four| {
        matches!(
            four,
            [
                b'\\',
                b'u',
                b'd' | b'D',
                b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F',
            ]
        )
    })
}

fuzz_target!(|bytes: &[u8]| {
    let rules = &*ALL;
    let mut scratch = Scratch::default();
    if let Ok(text) = std::str::from_utf8(bytes) {
        // Whatever it is, it does no harm.
        let event = EventText::trusted(text);
        let first = rules.set.matches_text(event, &mut scratch).to_vec();
        assert_eq!(rules.set.matches_text(event, &mut scratch), first);
        let _ignored = rules
            .set
            .matches_text(event.with_unique_paths(), &mut scratch);
    }
    let theirs = serde_json::from_slice::<&RawValue>(bytes);
    match EventText::check(bytes) {
        Ok(event) => {
            assert!(
                theirs.is_ok() || theirs.is_err_and(|e| e.to_string().contains("recursion")),
                "only we accept it"
            );
            let expected = rules.list.matches(bytes).expect("accepted above");
            assert_eq!(rules.set.matches_text(event, &mut scratch), expected);
            assert_eq!(
                rules.set.matches(bytes, &mut scratch).expect("accepted"),
                expected
            );
            for (id, pattern) in (0..).zip(&rules.patterns) {
                let verdict = pattern.matches(bytes).expect("accepted above");
                assert_eq!(verdict, expected.contains(&id));
                let explained = pattern.explain(bytes).expect("accepted above");
                assert_eq!(explained.matched, verdict);
            }
        }
        Err(error) => {
            assert!(rules.list.matches(bytes).is_err());
            assert!(rules.set.matches(bytes, &mut scratch).is_err());
            match error.code {
                EventErrorCode::NotJson => assert!(
                    theirs.is_err() || may_have_half_a_pair(bytes),
                    "only we refuse it: {error}"
                ),
                EventErrorCode::NotObject => {
                    assert!(theirs.is_ok_and(|raw| !raw.get().trim().starts_with('{')));
                }
                _ => {}
            }
        }
    }
});
