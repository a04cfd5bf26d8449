//! Secrets in settings: a type that never shows itself, masks for readers, masks taken back from writers.

use std::fmt;

use belfry_model::FieldError;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::kind::TargetKind;

/// Stands for a secret that a reader may not see. Sent back, it means "as it is".
pub const MASK: &str = "********";

/// A text that shows itself only when asked to.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, extend("format" = "password", "writeOnly" = true))]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret in clear.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Puts [`MASK`] in the place of every secret.
pub fn mask(kind: &dyn TargetKind, settings: &mut Value) {
    for pointer in kind.secret_pointers(settings) {
        if let Some(secret) = settings.pointer_mut(&pointer) {
            *secret = Value::from(MASK);
        }
    }
}

/// Puts stored secrets back where a writer sent [`MASK`].
///
/// A mask stands for the secret at the same place of `existing` (secrets in clear). In a list, the first mask stands
/// for the first stored secret, the second for the second: `["new", MASK]` puts a new one before the one there is.
/// A kept secret may not be shown to another receiver than before: whoever may change a target, but not read its
/// secrets, could have them sent to himself.
pub fn unmask(
    kind: &dyn TargetKind,
    settings: &mut Value,
    existing: Option<&Value>,
) -> Result<(), Vec<FieldError>> {
    unmask_with(
        &|settings| kind.secret_pointers(settings),
        &|settings, pointer| kind.shown_to(settings, pointer),
        settings,
        existing,
    )
}

/// The same for settings of any other sort: where their secrets stand, and who is shown one.
pub fn unmask_with(
    secret_pointers: &dyn Fn(&Value) -> Vec<String>,
    shown_to: &dyn Fn(&Value, &str) -> Option<String>,
    settings: &mut Value,
    existing: Option<&Value>,
) -> Result<(), Vec<FieldError>> {
    let stored = existing.map(secret_pointers).unwrap_or_default();
    let mut errors = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    let mut kept: Vec<(String, &str)> = Vec::new();
    for pointer in secret_pointers(settings) {
        if settings.pointer(&pointer).and_then(Value::as_str) != Some(MASK) {
            continue;
        }
        let source = match list_of(settings, &pointer) {
            Some(list) => stored.iter().find(|from| {
                from.rsplit_once('/').is_some_and(|(up, _)| up == list)
                    && !taken.contains(&from.as_str())
            }),
            None => stored.iter().find(|from| **from == pointer),
        };
        let secret = source.and_then(|from| {
            taken.push(from);
            kept.push((pointer.clone(), from));
            existing?.pointer(from).cloned()
        });
        match (settings.pointer_mut(&pointer), secret) {
            (Some(place), Some(secret)) => *place = secret,
            _ => errors.push(FieldError::new(
                pointer,
                format!(
                    "{MASK} keeps a stored secret, but none is stored here; send the secret itself"
                ),
            )),
        }
    }
    for (pointer, from) in kept {
        let before = existing.and_then(|existing| shown_to(existing, from));
        if shown_to(settings, &pointer) != before {
            errors.push(FieldError::new(
                pointer,
                format!("the receiver has changed, so {MASK} does not keep this secret; send the secret itself"),
            ));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// The pointer of the list that `pointer` is an item of.
fn list_of<'a>(settings: &Value, pointer: &'a str) -> Option<&'a str> {
    let (up, _) = pointer.rsplit_once('/')?;
    settings.pointer(up)?.is_array().then_some(up)
}
