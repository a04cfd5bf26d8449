use std::collections::BTreeSet;

use super::*;

#[test]
fn every_kind_is_told_from_the_others_and_its_example_is_valid() {
    let mut words = BTreeSet::new();
    for kind in KINDS {
        for word in [kind.name(), kind.one(), kind.title()] {
            assert!(words.insert(word), "{word} stands for two things");
        }
        let example = kind.example();
        assert_eq!(kind.check(&example), [], "{}", kind.name());
        kind.read(example.clone()).unwrap();
        let schema = kind.schema();
        let known = schema["properties"].as_object().unwrap();
        for name in example.as_object().unwrap().keys() {
            assert!(known.contains_key(name), "{name} of {}", kind.name());
        }
        for name in known.keys() {
            assert!(!RESERVED.contains(&name.as_str()), "{name}");
        }
        assert!(
            !schema.to_string().contains("$ref"),
            "the schema of {} is shown inside of another document",
            kind.name()
        );
        let unknown = kind.check(&serde_json::json!({ "surely-unknown": 1 }));
        assert!(
            unknown
                .iter()
                .any(|error| error.pointer == "/surely-unknown"),
            "{unknown:?}"
        );
    }
}
