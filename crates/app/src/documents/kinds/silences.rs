//! Silences: when nobody is told of some alarms of a bus.

use std::sync::Arc;

use belfry_alarm::Silence;
use belfry_engine::Parsed;
use belfry_model::FieldError;
use serde_json::{Value, json};

use crate::documents::kind::{Column, DocumentKind, schema_of, typed, typed_for_use};

pub(in crate::documents) struct SilenceKind;

impl DocumentKind for SilenceKind {
    fn name(&self) -> &'static str {
        Silence::KIND
    }
    fn one(&self) -> &'static str {
        "silence"
    }
    fn title(&self) -> &'static str {
        "Silence"
    }
    fn about(&self) -> &'static str {
        "Nobody is told of the alarms of a bus that it matches while it is in force; the history shows what it held back."
    }
    fn is_on_bus(&self) -> bool {
        true
    }
    fn max(&self) -> usize {
        1000
    }
    fn schema(&self) -> Value {
        schema_of::<Silence>()
    }
    fn example(&self) -> Value {
        json!({
            "matchers": [{ "name": "product", "value": "cvm" }, { "name": "subject", "op": "=~", "value": "ins-test-.*" }],
            "startsAt": "2026-11-26T14:00:00Z", "endsAt": "2026-11-26T16:00:00Z",
            "author": "ann", "comment": "The test machines are moved",
        })
    }
    fn columns(&self) -> &'static [Column] {
        &[
            ("STARTS", &["/startsAt"]),
            ("ENDS", &["/endsAt"]),
            ("AUTHOR", &["/author"]),
            ("COMMENT", &["/comment"]),
        ]
    }
    fn check(&self, spec: &Value) -> Vec<FieldError> {
        typed::<Silence>(spec)
            .and_then(|silence| silence.compile())
            .err()
            .unwrap_or_default()
    }
    fn read(&self, spec: Value) -> Result<Parsed, String> {
        let quiet = typed_for_use::<Silence>(&spec)?.compile();
        let quiet = quiet.map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        })?;
        Ok(Arc::new(quiet))
    }
}
