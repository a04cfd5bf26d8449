//! Sources: named adapters on a bus for what a vendor sends.
//!
//! What a client writes is `belfry-sources`' own [`SourceSpec`]. Beside it the server keeps in `tokens` the hashes of the
//! secret URLs of a source that is reached by one; clients neither see nor write them.

use std::sync::Arc;

use belfry_engine::Parsed;
use belfry_model::FieldError;
use belfry_sources::{Auth, Source, SourceSpec};
use belfry_targets::GeneratedSecret;
use serde_json::Value;

use crate::documents::kind::{Column, DocumentKind, in_one_text, schema_of};
use crate::error::{Error, Result};
use crate::sources::{SecretUrl, Token};

/// The kind of sources, as it stands in paths.
pub(crate) const SOURCES: &str = "sources";
/// The member of the server's own.
const TOKENS: &str = "tokens";

/// A source, ready for requests.
#[derive(Debug)]
pub(crate) struct SourceDocument {
    pub(crate) source: Source,
    pub(crate) tokens: Vec<Token>,
}

pub(in crate::documents) struct SourceKind;

impl DocumentKind for SourceKind {
    fn name(&self) -> &'static str {
        SOURCES
    }
    fn one(&self) -> &'static str {
        "source"
    }
    fn title(&self) -> &'static str {
        "Source"
    }
    fn about(&self) -> &'static str {
        "An adapter on a bus for what an alarm sender posts: each alert becomes an event of the bus."
    }
    fn is_on_bus(&self) -> bool {
        true
    }
    fn max(&self) -> usize {
        1000
    }
    fn schema(&self) -> Value {
        schema_of::<SourceSpec>()
    }
    fn example(&self) -> Value {
        SourceSpec::example()
    }
    fn columns(&self) -> &'static [Column] {
        &[
            ("FORMAT", &["/format"]),
            ("AUTH", &["/auth/type"]),
            ("DESCRIPTION", &["/description"]),
        ]
    }
    fn check(&self, spec: &Value) -> Vec<FieldError> {
        match SourceSpec::read(spec) {
            Ok(spec) => spec.check(),
            Err(errors) => errors,
        }
    }
    fn secret_pointers(&self, spec: &Value) -> Vec<String> {
        SourceSpec::secret_pointers(spec)
    }
    fn prepare(&self, spec: &mut Value, existing: Option<&Value>) -> Result<Vec<GeneratedSecret>> {
        let is_secret_url =
            SourceSpec::read(spec).is_ok_and(|spec| matches!(spec.auth, Auth::SecretUrl));
        if !is_secret_url {
            return Ok(Vec::new());
        }
        if let Some(tokens) = existing.and_then(|existing| existing.get(TOKENS)) {
            set_tokens(spec, tokens.clone());
            return Ok(Vec::new());
        }
        let SecretUrl { path, token } = SecretUrl::make()?;
        set_tokens(
            spec,
            serde_json::to_value([token]).map_err(Error::internal)?,
        );
        Ok(vec![GeneratedSecret {
            pointer: "/auth/url".to_owned(),
            value: path,
        }])
    }
    fn hide(&self, spec: &mut Value) {
        take_tokens(spec);
    }
    fn read(&self, mut spec: Value) -> std::result::Result<Parsed, String> {
        let tokens = take_tokens(&mut spec)
            .map(serde_json::from_value)
            .transpose()
            .map_err(|error| format!("{TOKENS}: {error}"))?;
        let source = SourceSpec::read(&spec).and_then(Source::new);
        Ok(Arc::new(SourceDocument {
            source: source.map_err(in_one_text)?,
            tokens: tokens.unwrap_or_default(),
        }))
    }
}

/// The hashes of a source's secret URLs, in its stored spec.
pub(crate) fn tokens_of(spec: &Value) -> Vec<Token> {
    let tokens = spec.get(TOKENS).cloned().unwrap_or_default();
    serde_json::from_value(tokens).unwrap_or_default()
}

pub(crate) fn set_tokens(spec: &mut Value, tokens: Value) {
    if let Some(members) = spec.as_object_mut() {
        members.insert(TOKENS.to_owned(), tokens);
    }
}

fn take_tokens(spec: &mut Value) -> Option<Value> {
    spec.as_object_mut()?.shift_remove(TOKENS)
}
