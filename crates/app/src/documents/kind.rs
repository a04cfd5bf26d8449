//! What a kind of named document is, and the list of them.

use belfry_engine::Parsed;
use belfry_model::access::Scope;
use belfry_model::json::{from_slice, nearest};
use belfry_model::{DocumentName, FieldError};
use belfry_targets::GeneratedSecret;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::kinds::{
    ContactGroupKind, ContactKind, FunctionKind, SecretKind, SilenceKind, SourceKind,
};
use crate::error::Result;

/// Every kind there is, in the order in which they are shown. What others refer to comes before them.
pub static KINDS: &[&dyn DocumentKind] = &[
    &ContactKind,
    &ContactGroupKind,
    &SourceKind,
    &SilenceKind,
    &SecretKind,
    &FunctionKind,
];

/// A column of a table: its heading, and where its value stands (the first pointer that finds something).
pub type Column = (&'static str, &'static [&'static str]);

/// A kind of named document: one static entry of [`KINDS`].
///
/// A spec passes through it in this order: [`check`](Self::check), [`prepare`](Self::prepare) when it is saved;
/// [`read`](Self::read) when it is put to use. Its members stand beside `name`, `revision` and such in answers, and must
/// not be called like them ([`RESERVED`](super::RESERVED)).
pub trait DocumentKind: Send + Sync {
    /// Several of them: as they stand in paths, in the store, in the audit log. Such as `contacts`.
    fn name(&self) -> &'static str;
    /// One of them: in sentences and on the command line. Such as `contact`.
    fn one(&self) -> &'static str;
    /// One of them: in files and in the API document. Such as `Contact`.
    fn title(&self) -> &'static str;
    /// What it is for, in a sentence.
    fn about(&self) -> &'static str;
    /// Whether each belongs to a bus; else to the whole server.
    fn is_on_bus(&self) -> bool;
    /// What the parts of its names are called, in their order.
    fn parts(&self) -> &'static [&'static str] {
        &["name"]
    }
    /// What is wrong with a name that has as many parts as it must.
    fn name_fault(&self, name: &DocumentName) -> Option<String> {
        let _ = name;
        None
    }
    /// Whether rules may need one of them; it is deleted then only if that is said.
    fn is_needed(&self) -> bool {
        false
    }
    /// Most of them on one bus, or on the server.
    fn max(&self) -> usize;
    /// What reading them takes.
    fn read_scope(&self) -> Scope {
        Scope::ConfigRead
    }
    /// What changing them takes.
    fn write_scope(&self) -> Scope {
        Scope::ConfigWrite
    }
    /// The JSON Schema of the spec, without references.
    fn schema(&self) -> Value;
    /// A spec that is valid.
    fn example(&self) -> Value;
    /// What a list of them shows on the command line, beside name and time.
    fn columns(&self) -> &'static [Column];
    /// Everything wrong with a spec as a client wrote it; empty when it can be saved.
    fn check(&self, spec: &Value) -> Vec<FieldError>;
    /// JSON pointers of the strings in a spec that are secret. Reads specs of any shape.
    fn secret_pointers(&self, spec: &Value) -> Vec<String> {
        let _ = spec;
        Vec::new()
    }
    /// Fills in what the server makes. `existing` is the spec that is replaced, secrets in clear; what the server made for
    /// it is kept. What is new is returned, to be shown once.
    fn prepare(&self, spec: &mut Value, existing: Option<&Value>) -> Result<Vec<GeneratedSecret>> {
        let _ = (spec, existing);
        Ok(Vec::new())
    }
    /// Removes what [`prepare`](Self::prepare) filled in: clients neither see nor write it.
    fn hide(&self, spec: &mut Value) {
        let _ = spec;
    }
    /// The spec for use, secrets in clear.
    fn read(&self, spec: Value) -> std::result::Result<Parsed, String>;
}

/// The kind of that name.
pub fn find_kind(name: &str) -> Option<&'static dyn DocumentKind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}

/// A spec as its type; every mistake comes with its pointer and, for an unknown member, the nearest known name.
pub(super) fn typed<T: DeserializeOwned>(spec: &Value) -> std::result::Result<T, Vec<FieldError>> {
    from_slice(spec.to_string().as_bytes())
}

/// The same for use: what is wrong, in one text.
pub(super) fn typed_for_use<T: DeserializeOwned>(spec: &Value) -> std::result::Result<T, String> {
    typed(spec).map_err(in_one_text)
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
pub(super) fn in_one_text(errors: Vec<FieldError>) -> String {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}

/// The JSON Schema of a type, without references: it is shown inside of another document.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Says of a word that is none of `known` what would be one.
pub fn unknown_word(word: &str, known: &[&str]) -> String {
    let shown: String = word.chars().take(64).collect();
    let mut detail = format!("expected one of {}, got {shown:?}", known.join(", "));
    if let Some(near) = nearest(word, known.iter().copied()) {
        detail.push_str("; did you mean ");
        detail.push_str(near);
        detail.push('?');
    }
    detail
}
