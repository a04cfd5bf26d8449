//! The samples with what becomes of each, and sources to read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use belfry_model::Event;
use belfry_model::event::{EventLimits, Fill};
use belfry_sources::{Incoming, Outcome, Read, Refused, Source, SourceSpec};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// When every request of these tests comes in: 2023-11-14T22:13:20Z.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// The samples and the expectation of each.
#[derive(Deserialize)]
pub(crate) struct Index {
    pub(crate) samples: Vec<Sample>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    pub(crate) file: String,
    pub(crate) content_type: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) format: String,
    pub(crate) events: Vec<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) control: Option<Value>,
}

impl Sample {
    pub(crate) fn body(&self) -> Bytes {
        Bytes::from(std::fs::read(samples().join(&self.file)).unwrap())
    }

    pub(crate) fn incoming(&self) -> Incoming {
        Incoming {
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.to_lowercase(), value.clone()))
                .collect(),
            content_type: Some(self.content_type.clone()),
            query: None,
            body: self.body(),
            received_at_ms: NOW_MS,
        }
    }
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

pub(crate) fn index() -> Vec<Sample> {
    let text = std::fs::read(samples().join("index.json")).unwrap();
    let index: Index = serde_json::from_slice(&text).unwrap();
    index.samples
}

pub(crate) fn sample(file: &str) -> Sample {
    index()
        .into_iter()
        .find(|sample| sample.file == file)
        .unwrap()
}

/// The certificate that the samples of SNS and SMN are signed with.
pub(crate) fn certificate() -> String {
    std::fs::read_to_string(samples().join("cloudwatch-sns/sns-test-cert.pem")).unwrap()
}

pub(crate) fn source(spec: &Value) -> Source {
    let spec = SourceSpec::read(spec).unwrap_or_else(|errors| panic!("{spec}: {errors:?}"));
    Source::new(spec).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// A source that finds the format and knows the secrets of the samples.
pub(crate) fn any() -> Source {
    source(&json!({
        "format": "auto",
        "signing": { "secrets": ["demo-client-secret", "demo-webhook-secret"] }
    }))
}

/// Reads as a server does: with the certificate, if one is asked for.
pub(crate) fn read(source: &Source, incoming: &Incoming) -> Result<Read, Refused> {
    match source.read(incoming, None)? {
        Read {
            outcome: Outcome::NeedsCertificate { .. },
            ..
        } => source.read(incoming, Some(&certificate())),
        read => Ok(read),
    }
}

/// A request of JSON.
pub(crate) fn json_request(body: impl Into<Bytes>) -> Incoming {
    Incoming {
        content_type: Some("application/json".to_owned()),
        body: body.into(),
        received_at_ms: NOW_MS,
        ..Incoming::default()
    }
}

/// The events that a bus makes of the documents.
pub(crate) fn events(read: &Read) -> Vec<Value> {
    let Outcome::Events(documents) = &read.outcome else {
        panic!("no events: {read:?}");
    };
    documents.iter().map(accepted).collect()
}

/// What a bus takes of a document; panics where it does not.
pub(crate) fn accepted(document: &Bytes) -> Value {
    struct Server;
    impl Fill for Server {
        fn id(&mut self) -> String {
            panic!("every document has an id")
        }
        fn now_ms(&mut self) -> i64 {
            NOW_MS
        }
    }
    let text = String::from_utf8_lossy(document);
    let event = Event::lenient(document.clone(), &mut Server, &EventLimits::default())
        .unwrap_or_else(|errors| panic!("{errors}: {text}"));
    serde_json::from_slice(event.doc()).unwrap()
}
