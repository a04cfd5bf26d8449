//! Rules that come and go, and events in between. The bytes are read as choices, so that nearly
//! every input makes patterns and events of the right grammar over a small vocabulary.

#![no_main]

#[path = "../../tests/language/make.rs"]
mod make;

use belfry_pattern::{EventText, Pattern, RuleList, RuleSet, Scratch};
use libfuzzer_sys::fuzz_target;

use crate::make::Choices;

/// Most steps of one input.
const STEPS: usize = 80;
/// Numbers of rules: few, so that some have several patterns.
const IDS: u8 = 40;

/// A set with the plain list that must agree with it.
#[derive(Default)]
struct Both {
    set: RuleSet,
    rules: Vec<(u32, Pattern)>,
}

impl Both {
    fn list(&self) -> RuleList {
        let mut list = RuleList::default();
        self.rules
            .iter()
            .for_each(|(id, pattern)| list.add(*id, pattern));
        list
    }

    fn check(&self, list: &RuleList, event: &str, is_unique: bool, scratch: &mut Scratch) {
        let expected = list.matches(event.as_bytes()).expect("events are valid");
        let text = EventText::check(event.as_bytes()).expect("events are valid");
        let texts: Vec<&str> = self
            .rules
            .iter()
            .map(|(_, pattern)| pattern.text())
            .collect();
        assert_eq!(
            self.set.matches_text(text, scratch),
            expected,
            "{event} with {texts:?}"
        );
        if is_unique {
            assert_eq!(
                self.set.matches_text(text.with_unique_paths(), scratch),
                expected,
                "{event}, read until all is found, with {texts:?}"
            );
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let mut now = Both::default();
    let mut list = RuleList::default();
    let mut kept: Option<(Both, RuleList)> = None;
    let mut scratch = Scratch::default();
    for _ in 0..STEPS {
        if choices.are_over() {
            break;
        }
        match choices.below(12) {
            0..6 => {
                let first: u32 = choices.below(IDS).into();
                let texts = if choices.below(16) == 1 {
                    choices.crowd()
                } else {
                    vec![choices.pattern()]
                };
                for (id, text) in (first..).zip(texts) {
                    if let Ok(pattern) = Pattern::parse(text.as_bytes()) {
                        now.set.add(id, &pattern);
                        list.add(id, &pattern);
                        now.rules.push((id, pattern));
                    }
                }
            }
            6 => {
                let id = choices.below(IDS).into();
                assert_eq!(now.set.remove(id), list.remove(id));
                now.rules.retain(|(other, _)| *other != id);
                assert_eq!(now.set.len(), now.rules.len());
                assert!(!now.set.contains(id));
            }
            7 => {
                let copy = Both {
                    set: now.set.clone(),
                    rules: now.rules.clone(),
                };
                let list = copy.list();
                kept = Some((copy, list));
            }
            _ => {
                let (event, is_unique) = choices.event();
                now.check(&list, &event, is_unique, &mut scratch);
                if let Some((kept, list)) = &kept {
                    kept.check(list, &event, is_unique, &mut scratch);
                }
                if let Some((id, pattern)) = now.rules.last() {
                    let verdict = pattern.matches(event.as_bytes()).expect("events are valid");
                    let explained = pattern.explain(event.as_bytes()).expect("events are valid");
                    assert_eq!(explained.matched, verdict);
                    let all = list.matches(event.as_bytes()).expect("events are valid");
                    assert!(!verdict || all.contains(id));
                }
            }
        }
    }
    // Nothing of a rule stays behind.
    for id in 0..u32::from(IDS) + 100 {
        now.set.remove(id);
    }
    assert!(now.set.is_empty());
    let (event, _) = choices.event();
    assert!(
        now.set
            .matches(event.as_bytes(), &mut scratch)
            .expect("events are valid")
            .is_empty()
    );
    assert_eq!(scratch.work().values, 0, "a path is still of interest");
});
