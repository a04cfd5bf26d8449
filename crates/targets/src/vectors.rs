//! The table of signatures, cuts and escapes that every channel is held to (`tests/vectors/channels.json`).

use serde_json::Value;

use crate::alibaba::acs3;
use crate::message::cut::{Unit, cut_text};
use crate::message::escape::DIALECTS;
use crate::tencent::tc3;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../tests/vectors/channels.json")).unwrap()
}

fn text<'v>(vector: &'v Value, member: &str) -> &'v str {
    vector[member].as_str().unwrap()
}

#[test]
fn every_vector_of_the_channels_holds() {
    let vectors = vectors();
    for (vendor, signs) in vectors["sign"].as_object().unwrap() {
        for vector in signs.as_array().unwrap() {
            match vendor.as_str() {
                "dingtalk" => dingtalk(vector),
                "feishu" => feishu(vector),
                "tencentTC3" => tencent(vector),
                "aliyunACS3" => alibaba(vector),
                // How a sender's signature is made; belfry-sources checks it.
                "github" => {
                    let mac = crate::signing::hmac(
                        text(vector, "secret").as_bytes(),
                        text(vector, "body").as_bytes(),
                    );
                    assert_eq!(format!("sha256={}", hex::encode(mac)), vector["header"]);
                }
                other => panic!("nothing checks the signatures of {other}"),
            }
        }
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

fn dingtalk(vector: &Value) {
    let sign = crate::dingtalk::signature(
        text(vector, "secret"),
        vector["timestampMs"].as_i64().unwrap(),
    );
    assert_eq!(sign, vector["sign"]);
    let mut url = url::Url::parse("https://a.example").unwrap();
    url.query_pairs_mut()
        .append_pair("timestamp", &vector["timestampMs"].to_string())
        .append_pair("sign", &sign);
    assert_eq!(url.query().unwrap(), vector["query"], "encoded once");
}

fn feishu(vector: &Value) {
    let timestamp = vector["timestamp"].to_string();
    let sign = crate::feishu::signature(text(vector, "secret"), &timestamp);
    assert_eq!(sign, vector["sign"]);
}

fn tencent(vector: &Value) {
    assert_eq!(tc3::CONTENT_TYPE, vector["contentType"]);
    let made = tc3::authorization(&tc3::Call {
        secret_id: text(vector, "secretId"),
        secret_key: text(vector, "secretKey"),
        host: text(vector, "host"),
        service: text(vector, "service"),
        action: text(vector, "action"),
        timestamp: vector["timestamp"].as_i64().unwrap(),
        payload: text(vector, "payload").as_bytes(),
    });
    assert_eq!(made, vector["authorization"]);
}

fn alibaba(vector: &Value) {
    let sent = text(vector, "canonicalQuery");
    let parameters: Vec<(String, String)> = url::form_urlencoded::parse(sent.as_bytes())
        .into_owned()
        .collect();
    let query = acs3::query(
        &parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect(),
    );
    assert_eq!(query, sent);
    let date = chrono::DateTime::parse_from_rfc3339(text(vector, "xAcsDate")).unwrap();
    let headers = acs3::headers(&acs3::Call {
        key_id: text(vector, "accessKeyId"),
        key_secret: text(vector, "accessKeySecret"),
        host: text(vector, "host"),
        action: text(vector, "xAcsAction"),
        version: text(vector, "xAcsVersion"),
        query: &query,
        now_ms: date.timestamp_millis(),
        nonce: text(vector, "xAcsSignatureNonce"),
    });
    let header = |name| &headers.iter().find(|(n, _)| *n == name).unwrap().1;
    assert_eq!(*header("x-acs-date"), vector["xAcsDate"]);
    assert_eq!(*header("authorization"), vector["authorization"]);
}
