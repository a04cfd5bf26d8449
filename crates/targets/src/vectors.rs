//! The table of signatures, cuts and escapes that every channel is held to (`tests/vectors/channels.json`).

use serde_json::Value;

use crate::message::cut::{Unit, cut_text};
use crate::message::escape::DIALECTS;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../tests/vectors/channels.json")).unwrap()
}

#[test]
fn every_vector_of_the_channels_holds() {
    let vectors = vectors();
    for vector in vectors["sign"]["dingtalk"].as_array().unwrap() {
        let sign = crate::dingtalk::signature(
            vector["secret"].as_str().unwrap(),
            vector["timestampMs"].as_i64().unwrap(),
        );
        assert_eq!(sign, vector["sign"]);
        let mut url = url::Url::parse("https://a.example").unwrap();
        url.query_pairs_mut()
            .append_pair("timestamp", &vector["timestampMs"].to_string())
            .append_pair("sign", &sign);
        assert_eq!(url.query().unwrap(), vector["query"], "encoded once");
    }
    for vector in vectors["sign"]["feishu"].as_array().unwrap() {
        let sign = crate::feishu::signature(
            vector["secret"].as_str().unwrap(),
            &vector["timestamp"].to_string(),
        );
        assert_eq!(sign, vector["sign"]);
    }
    let cuts = &vectors["truncateBytes"];
    let marker = cuts["marker"].as_str().unwrap();
    assert_eq!(marker.len() as u64, cuts["markerBytes"].as_u64().unwrap());
    for case in cuts["cases"].as_array().unwrap() {
        let number = |name: &str| usize::try_from(case[name].as_u64().unwrap()).unwrap();
        let text = case["in"].as_str().unwrap().repeat(number("repeat"));
        let cut = cut_text(&text, number("limit"), Unit::Bytes, marker);
        assert_eq!(cut.len(), number("outBytes"), "{case}");
        assert!(
            cut.ends_with(case["outEndsWith"].as_str().unwrap()),
            "{case}"
        );
    }
    for case in vectors["escape"].as_array().unwrap() {
        let text = case["in"].as_str().unwrap();
        for (dialect, expected) in case["out"].as_object().unwrap() {
            let (_, escape) = DIALECTS.iter().find(|(name, _)| name == dialect).unwrap();
            assert_eq!(
                escape.apply(text),
                expected.as_str().unwrap(),
                "{dialect}: {text}"
            );
        }
    }
}
