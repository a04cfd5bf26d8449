//! Many patterns at once.

use belfry_pattern::{Pattern, RuleSet, Scratch};

fn rules(patterns: &[(u32, &str)]) -> RuleSet {
    let mut builder = RuleSet::builder();
    for (id, pattern) in patterns {
        builder.add(*id, &Pattern::parse(pattern.as_bytes()).unwrap());
    }
    builder.build()
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
    let set = RuleSet::builder().build();
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
fn a_set_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<RuleSet>();
    shared::<Pattern>();
}
