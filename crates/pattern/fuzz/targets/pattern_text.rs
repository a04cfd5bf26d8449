//! Any bytes as the text of a pattern. What is accepted must be answered alike by every way of
//! matching, and a set that gives it up again must be as empty as before.

#![no_main]

use belfry_pattern::{Pattern, RuleList, RuleSet, Scratch};
use libfuzzer_sys::fuzz_target;

const EVENTS: &[&str] = &[
    "{}",
    r#"{"a":"x","b":1,"":null,"c":{"d":true,"a":[1,"ab",{"b":"é"}]}}"#,
    r#"{"a":["aab","AB",12,1e400,-0.0,[null]],"a.b":"10.0.0.1","b":{"c":["::1","fe80::1"]}}"#,
    r#"{"a":[{"b":1,"c":2},{"b":[{"c":"x"}]},{"c":[]}],"k":"abcabcabc","l":12345678901234567890.5}"#,
    r#"{"a":{"b":"Kelvin"},"a":{"b":"\u212Aelvin"},"$or":["x"],"k":"","l":[],"s":"1"}"#,
];

fuzz_target!(|text: &[u8]| {
    let Ok(pattern) = Pattern::parse(text) else {
        return;
    };
    assert_eq!(pattern.text().as_bytes(), text);
    let mut rules = RuleSet::new();
    rules.add(1, &pattern);
    let mut list = RuleList::default();
    list.add(1, &pattern);
    let mut scratch = Scratch::default();
    for event in EVENTS {
        let event = event.as_bytes();
        let verdict = pattern.matches(event).expect("the event is valid");
        assert_eq!(
            pattern.explain(event).expect("the event is valid").matched,
            verdict
        );
        let expected: &[u32] = if verdict { &[1] } else { &[] };
        assert_eq!(list.matches(event).expect("the event is valid"), expected);
        assert_eq!(
            rules
                .matches(event, &mut scratch)
                .expect("the event is valid"),
            expected
        );
    }
    assert!(rules.remove(1) && rules.is_empty());
    for event in EVENTS {
        let left = rules.matches(event.as_bytes(), &mut scratch);
        assert!(left.expect("the event is valid").is_empty());
    }
});
