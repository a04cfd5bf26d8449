//! Many patterns at once.

use belfry_pattern::{EventText, Pattern, RuleList, RuleSet, Scratch};

fn rules(patterns: &[(u32, &str)]) -> RuleSet {
    let mut rules = RuleSet::new();
    for (id, pattern) in patterns {
        rules.add(*id, &Pattern::parse(pattern.as_bytes()).unwrap());
    }
    rules
}

#[test]
fn numbers_are_ascending_and_unique() {
    let set = rules(&[
        (9, r#"{"a":1}"#),
        (2, r#"{"a":[{"exists":true}]}"#),
        (9, r#"{"b":1}"#),
        (5, r#"{"a":2}"#),
    ]);
    let mut scratch = Scratch::default();
    assert_eq!(
        set.matches(br#"{"a":1,"b":1}"#, &mut scratch).unwrap(),
        [2, 9]
    );
    assert_eq!(set.matches(br#"{"b":1}"#, &mut scratch).unwrap(), [9]);
    assert!(set.matches(br#"{"c":1}"#, &mut scratch).unwrap().is_empty());
    assert_eq!((set.len(), set.is_empty()), (4, false));
}

#[test]
fn the_empty_set_matches_nothing_but_still_reads() {
    let set = RuleSet::new();
    assert!(set.is_empty());
    let mut scratch = Scratch::default();
    assert!(set.matches(b"{}", &mut scratch).unwrap().is_empty());
    assert!(set.matches(b"{", &mut scratch).is_err());
}

#[test]
fn scratch_serves_any_set_and_survives_errors() {
    let small = rules(&[(1, r#"{"a":1}"#)]);
    let large = rules(&[(1, r#"{"b":1}"#), (2, r#"{"c":1}"#), (3, r#"{"a":1}"#)]);
    let mut scratch = Scratch::default();
    for _ in 0..2 {
        assert_eq!(
            small.matches(br#"{"a":1,"b":1}"#, &mut scratch).unwrap(),
            [1]
        );
        assert_eq!(
            large.matches(br#"{"a":1,"c":1}"#, &mut scratch).unwrap(),
            [2, 3]
        );
        assert!(large.matches(br#"{"a":1,"c":1"#, &mut scratch).is_err());
        assert!(large.matches(b"{}", &mut scratch).unwrap().is_empty());
    }
}

#[test]
fn removing_takes_all_patterns_of_a_number_and_nothing_else() {
    let mut set = rules(&[
        (1, r#"{"a":["x",{"prefix":"y"}]}"#),
        (
            2,
            r#"{"a":["x"],"$or":[{"b":1},{"c":[{"numeric":[">",5]}]}]}"#,
        ),
        (1, r#"{"d":[{"exists":false}]}"#),
        (3, r#"{"a":[{"wildcard":"*yz*"}]}"#),
    ]);
    let event = br#"{"a":["x","yyz"],"c":6}"#;
    let mut scratch = Scratch::default();
    assert_eq!(set.matches(event, &mut scratch).unwrap(), [1, 2, 3]);
    assert!(set.contains(1));
    assert!(set.remove(1));
    assert!(!set.remove(1));
    assert!(!set.contains(1));
    assert_eq!(set.len(), 2);
    assert_eq!(set.matches(event, &mut scratch).unwrap(), [2, 3]);
    assert!(set.remove(2) && set.remove(3));
    assert!(set.is_empty());
    assert!(set.matches(event, &mut scratch).unwrap().is_empty());
    // A number can be used again.
    set.add(1, &Pattern::parse(br#"{"c":6}"#).unwrap());
    assert_eq!(set.matches(event, &mut scratch).unwrap(), [1]);
}

#[test]
fn a_clone_does_not_see_later_changes() {
    let mut set = rules(&[(1, r#"{"a":["x"]}"#), (2, r#"{"a":[{"numeric":["<",3]}]}"#)]);
    let before = set.clone();
    set.remove(1);
    set.add(7, &Pattern::parse(br#"{"a":["x"]}"#).unwrap());
    let mut scratch = Scratch::default();
    assert_eq!(
        set.matches(br#"{"a":["x",1]}"#, &mut scratch).unwrap(),
        [2, 7]
    );
    assert_eq!(
        before.matches(br#"{"a":["x",1]}"#, &mut scratch).unwrap(),
        [1, 2]
    );
}

#[test]
fn reading_stops_early_only_where_paths_are_promised_to_be_unique() {
    let set = rules(&[(1, r#"{"a":{"b":["x"]}}"#)]);
    let mut scratch = Scratch::default();
    let twice = EventText::trusted(r#"{"a":{"b":"y"},"a.b":"x"}"#);
    assert_eq!(set.matches_text(twice, &mut scratch), [1]);
    assert!(
        set.matches_text(twice.with_unique_paths(), &mut scratch)
            .is_empty()
    );
}

#[test]
fn an_unchecked_text_that_is_no_json_does_no_harm() {
    let set = rules(&[
        (1, r#"{"a":{"b":["x"]}}"#),
        (2, r#"{"a":[{"anything-but":"x"}]}"#),
        (3, r#"{"a":[{"array":{"b":1}}]}"#),
        (4, r#"{"a":[{"numeric":["<",3]},{"suffix":"\u0001"}]}"#),
    ]);
    let text = r#"{"a":[{"b":"x\n\u0041"},[1,{"b":1}],"\ud83d\ude00",-1.5e3,true],"c":{"d":[]}}"#;
    let mut scratch = Scratch::default();
    for from in 0..text.len() {
        for to in from..text.len() {
            for byte in ["", "\"", "[", "}", "\\", "\u{7f}", "é", ","] {
                let damaged = format!("{}{byte}{}", &text[..from], &text[to..]);
                let event = EventText::trusted(&damaged);
                let _ignored = set.matches_text(event, &mut scratch).len();
                let _ignored = set
                    .matches_text(event.with_unique_paths(), &mut scratch)
                    .len();
            }
        }
    }
}

/// The set, the list and the patterns by themselves say the same; and what that is.
fn matched(patterns: &[&str], event: &str) -> Vec<u32> {
    let patterns: Vec<Pattern> = patterns
        .iter()
        .map(|pattern| {
            Pattern::parse(pattern.as_bytes()).unwrap_or_else(|e| panic!("{pattern}: {e}"))
        })
        .collect();
    let mut rules = RuleSet::new();
    let mut list = RuleList::default();
    for (id, pattern) in (0..).zip(&patterns) {
        rules.add(id, pattern);
        list.add(id, pattern);
    }
    let event = event.as_bytes();
    let found = rules
        .matches(event, &mut Scratch::default())
        .map(<[u32]>::to_vec);
    assert_eq!(found, list.matches(event));
    let single = |pattern: &Pattern| pattern.explain(event).map(|it| it.matched);
    let singles: Result<Vec<bool>, _> = patterns.iter().map(single).collect();
    let singles = singles.unwrap_or_default().into_iter();
    let explained: Vec<u32> = (0..)
        .zip(singles)
        .filter(|it| it.1)
        .map(|it| it.0)
        .collect();
    assert_eq!(found.as_ref(), Ok(&explained));
    explained
}

#[test]
fn an_array_is_never_taken_for_a_number() {
    let patterns = [
        r#"{"t":[{"array":{"x":1}}]}"#,
        r#"{"n":[5],"t":[{"numeric":[">",0]}]}"#,
    ];
    assert!(matched(&patterns, r#"{"n":5,"t":[{"x":2}]}"#).is_empty());
    assert_eq!(matched(&patterns, r#"{"n":5,"t":[{"x":1},7]}"#), [0, 1]);
}

#[test]
fn a_search_that_is_given_up_is_given_up_everywhere() {
    let fields = |names: std::ops::RangeInclusive<u32>, value: &str| {
        let all: Vec<String> = names.map(|n| format!(r#""f{n}":{value}"#)).collect();
        all.join(",")
    };
    let (asked, given) = (fields(1..=13, "[1]"), fields(1..=13, "1"));
    // The costly field stands first in the text.
    let pattern = format!(r#"{{"a":{{"t":[{{"regexp":"x"}}],{asked}}}}}"#);
    let event = format!(r#"{{"a":[{{{given}}},{{"t":"x"}}],"a":[{{"t":"x"}},{{{given}}}]}}"#);
    matched(&[&pattern], &event);
    // One branch is given up, another one is not.
    let pattern = format!(r#"{{"a":{{{asked},"$or":[{{"x":[1],"y":[1]}},{{"z":[1]}}]}}}}"#);
    let event = format!(r#"{{"a":[{{{given},"x":1,"z":1}},{{"y":1}}],"a":[{{{given}}}]}}"#);
    matched(&[&pattern], &event);
}

#[test]
fn fields_of_one_array_element_are_told_apart() {
    let patterns = [
        r#"{"l":{"a":[1],"b":[2]}}"#,
        r#"{"l":{"a":[1],"b":[{"exists":false}]}}"#,
        r#"{"l":{"a":[{"anything-but":1}],"b":[2,{"exists":false}],"c":[{"numeric":[">",0]}]}}"#,
        r#"{"x":[1],"l":{"b":[{"exists":false}]}}"#,
        r#"{"l":{"a":[1],"d":{"e":[1]},"b":[2]}}"#,
    ];
    for (event, expected) in [
        (r#"{"l":[{"a":1,"b":3},{"a":3,"b":2},{"a":1}]}"#, &[1][..]),
        (r#"{"l":[{"a":[3,1],"b":[2]}]}"#, &[0]),
        (r#"{"l":[{"a":3,"c":1},{"a":1,"b":2}]}"#, &[0, 2]),
        (r#"{"x":[1],"l":[{"b":1}]}"#, &[]),
        (
            r#"{"l":[{"a":1,"b":2,"d":[{"e":2},{"e":1}]},{"d":{"e":1}}]}"#,
            &[0, 4],
        ),
        (r#"{"l.a":1,"l":[{"a":1},{"b":2}],"x":1}"#, &[0, 1]),
    ] {
        assert_eq!(matched(&patterns, event), expected, "{event}");
    }
}

#[test]
fn a_set_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<RuleSet>();
    shared::<Pattern>();
}
