//! Functions: the draft as its operator writes it, and the versions and aliases that belong to it.
//!
//! The draft is a document like any other. Versions and aliases are documents too, but of kinds that only the use-cases in
//! [`functions`](crate::functions) write: they have no routes of their own here. Beside what a client writes, the server keeps
//! in `lastVersion` of the draft the number that was given last; clients neither see nor write it.

use std::collections::BTreeMap;
use std::sync::Arc;

use belfry_engine::Parsed;
use belfry_functions::FunctionSpec;
use belfry_model::access::Scope;
use belfry_model::{DocumentName, FieldError, FunctionName};
use belfry_targets::GeneratedSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::documents::kind::{Column, DocumentKind, schema_of, typed, typed_for_use};
use crate::error::Result;
use crate::time::Stamp;

/// The kind of functions, as it stands in paths.
pub(crate) const FUNCTIONS: &str = "functions";
/// The kind of published versions: `namespace/name/number`.
pub(crate) const VERSIONS: &str = "function-versions";
/// The kind of aliases: `namespace/name/alias`.
pub(crate) const ALIASES: &str = "function-aliases";
/// The member of the server's own.
const LAST_VERSION: &str = "lastVersion";

/// A function's draft, for use.
#[derive(Debug)]
pub(crate) struct FunctionDocument {
    pub(crate) spec: FunctionSpec,
}

/// A published version: code and configuration as they were.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionSpec {
    /// What the draft was.
    pub(crate) spec: FunctionSpec,
    /// What is said of it.
    pub(crate) description: String,
    /// When it was published.
    pub(crate) published_at: Stamp,
}

/// An alias: which version is meant by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AliasSpec {
    /// A number, or `$LATEST`.
    pub(crate) version: String,
    /// Other versions, each with the part of the invocations that it gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) weights: BTreeMap<String, f64>,
    /// For people.
    #[serde(default)]
    pub(crate) description: String,
}

pub(in crate::documents) struct FunctionKind;

impl DocumentKind for FunctionKind {
    fn name(&self) -> &'static str {
        FUNCTIONS
    }
    fn one(&self) -> &'static str {
        "function"
    }
    fn title(&self) -> &'static str {
        "Function"
    }
    fn about(&self) -> &'static str {
        "Code that targets run: pasted from Tencent SCF, Alibaba Function Compute or AWS Lambda."
    }
    fn is_on_bus(&self) -> bool {
        false
    }
    fn parts(&self) -> &'static [&'static str] {
        &["namespace", "name"]
    }
    fn name_fault(&self, name: &DocumentName) -> Option<String> {
        let error = name.as_str().parse::<FunctionName>().err()?;
        Some(error.to_string())
    }
    fn is_needed(&self) -> bool {
        true
    }
    fn max(&self) -> usize {
        1000
    }
    fn write_scope(&self) -> Scope {
        Scope::FunctionsWrite
    }
    fn schema(&self) -> Value {
        schema_of::<FunctionSpec>()
    }
    fn example(&self) -> Value {
        json!({
            "description": "Answers with what it was given",
            "runtime": "nodejs",
            "handler": "index.main_handler",
            "code": { "inline": "exports.main_handler = async (event, context) => event;\n" },
            "timeoutSeconds": 10,
        })
    }
    fn columns(&self) -> &'static [Column] {
        &[
            ("RUNTIME", &["/runtime"]),
            ("HANDLER", &["/handler"]),
            ("ENABLED", &["/enabled"]),
            ("DESCRIPTION", &["/description"]),
        ]
    }
    fn check(&self, spec: &Value) -> Vec<FieldError> {
        // What depends on the server's settings is checked where they are known.
        typed::<FunctionSpec>(spec).err().unwrap_or_default()
    }
    fn prepare(&self, spec: &mut Value, existing: Option<&Value>) -> Result<Vec<GeneratedSecret>> {
        if let Some(last) = existing.map(last_version).filter(|last| *last > 0) {
            set_last_version(spec, last);
        }
        Ok(Vec::new())
    }
    fn hide(&self, spec: &mut Value) {
        take_last_version(spec);
    }
    fn read(&self, mut spec: Value) -> std::result::Result<Parsed, String> {
        take_last_version(&mut spec);
        let spec = typed_for_use::<FunctionSpec>(&spec)?;
        Ok(Arc::new(FunctionDocument { spec }))
    }
}

/// Reads a document of a kind that has no routes; `None`: there is no such kind.
pub(in crate::documents) fn read_internal(
    kind: &str,
    spec: &Value,
) -> Option<std::result::Result<Parsed, String>> {
    Some(match kind {
        VERSIONS => typed_for_use::<VersionSpec>(spec).map(|read| Arc::new(read) as Parsed),
        ALIASES => typed_for_use::<AliasSpec>(spec).map(|read| Arc::new(read) as Parsed),
        _ => return None,
    })
}

/// The spec of a function, as a client writes it, of a draft as it is stored.
pub(crate) fn spec_of(stored: &Value) -> std::result::Result<FunctionSpec, String> {
    let mut spec = stored.clone();
    take_last_version(&mut spec);
    typed_for_use(&spec)
}

/// The number that was given last to a version, in a draft as it is stored; 0: none yet.
pub(crate) fn last_version(stored: &Value) -> u64 {
    let last = stored.get(LAST_VERSION).and_then(Value::as_u64);
    last.unwrap_or_default()
}

pub(crate) fn set_last_version(spec: &mut Value, last: u64) {
    if let Some(members) = spec.as_object_mut() {
        members.insert(LAST_VERSION.to_owned(), last.into());
    }
}

fn take_last_version(spec: &mut Value) {
    if let Some(members) = spec.as_object_mut() {
        members.shift_remove(LAST_VERSION);
    }
}
