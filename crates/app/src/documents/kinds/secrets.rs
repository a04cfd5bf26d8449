//! Secrets under a name: values that functions are given in their environment.

use std::sync::Arc;

use belfry_engine::Parsed;
use belfry_model::FieldError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::documents::kind::{Column, DocumentKind, schema_of, typed, typed_for_use};

/// The kind of secrets, as it stands in paths.
pub(crate) const SECRETS: &str = "secrets";
/// The longest value, in bytes.
const VALUE_BYTES_MAX: usize = 4096;
/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4096;

/// A value that nobody is shown.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Secret {
    /// The value, 1 to 4,096 bytes; never shown.
    pub(crate) value: String,
    /// For people; at most 4,096 bytes.
    #[serde(default)]
    pub(crate) description: String,
}

pub(in crate::documents) struct SecretKind;

impl DocumentKind for SecretKind {
    fn name(&self) -> &'static str {
        SECRETS
    }
    fn one(&self) -> &'static str {
        "secret"
    }
    fn title(&self) -> &'static str {
        "Secret"
    }
    fn about(&self) -> &'static str {
        "A value that functions are given in their environment: stored sealed, never shown."
    }
    fn is_on_bus(&self) -> bool {
        false
    }
    fn max(&self) -> usize {
        1000
    }
    fn schema(&self) -> Value {
        schema_of::<Secret>()
    }
    fn example(&self) -> Value {
        json!({ "value": "an-access-key", "description": "Restarts machines" })
    }
    fn columns(&self) -> &'static [Column] {
        &[("DESCRIPTION", &["/description"])]
    }
    fn check(&self, spec: &Value) -> Vec<FieldError> {
        let secret = match typed::<Secret>(spec) {
            Ok(secret) => secret,
            Err(errors) => return errors,
        };
        let mut errors = Vec::new();
        let bytes = secret.value.len();
        if !(1..=VALUE_BYTES_MAX).contains(&bytes) {
            let detail = format!("expected 1 to {VALUE_BYTES_MAX} bytes, got {bytes}");
            errors.push(FieldError::new("/value", detail));
        }
        if secret.value.contains('\0') {
            errors.push(FieldError::new(
                "/value",
                "an environment variable cannot hold a zero byte",
            ));
        }
        let bytes = secret.description.len();
        if bytes > DESCRIPTION_BYTES_MAX {
            let detail = format!("expected at most {DESCRIPTION_BYTES_MAX} bytes, got {bytes}");
            errors.push(FieldError::new("/description", detail));
        }
        errors
    }
    fn secret_pointers(&self, spec: &Value) -> Vec<String> {
        let is_text = spec.get("value").is_some_and(Value::is_string);
        is_text.then(|| "/value".to_owned()).into_iter().collect()
    }
    fn read(&self, spec: Value) -> Result<Parsed, String> {
        Ok(Arc::new(typed_for_use::<Secret>(&spec)?))
    }
}
