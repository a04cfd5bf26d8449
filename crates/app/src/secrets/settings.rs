//! The secret members of a target's settings: sealed in the store, in clear only on their way to the target.

use belfry_engine::Unseal;
use belfry_model::config::{Target, TargetSpec};
use belfry_targets::{TargetKind, find_kind};
use serde_json::Value;

use super::{SealError, Sealer};

impl Sealer {
    /// Seals every secret of `settings`, which are those of the target at `place` (`bus/rule/target`).
    pub(crate) fn seal_settings(
        &self,
        kind: &dyn TargetKind,
        place: &str,
        settings: &mut Value,
    ) -> Result<(), SealError> {
        for pointer in kind.secret_pointers(settings) {
            if let Some(secret) = settings.pointer_mut(&pointer) {
                // Anything but a string was refused by the kind; it is sealed as its text all the same.
                let clear = secret
                    .as_str()
                    .map_or_else(|| secret.to_string(), ToOwned::to_owned);
                *secret = Value::from(self.seal(&format!("{place}{pointer}"), clear.as_bytes())?);
            }
        }
        Ok(())
    }

    /// The stored settings of `spec` with secrets in clear.
    pub(crate) fn open_settings(&self, place: &str, spec: &TargetSpec) -> Result<Value, SealError> {
        let mut settings = spec.settings.clone();
        let pointers = find_kind(&spec.kind)
            .map(|kind| kind.secret_pointers(&settings))
            .unwrap_or_default();
        for pointer in pointers {
            if let Some(secret) = settings.pointer_mut(&pointer) {
                let place = format!("{place}{pointer}");
                let clear = self.open(&place, secret.as_str().unwrap_or_default())?;
                *secret =
                    Value::from(String::from_utf8(clear).map_err(|_| SealError::Damaged(place))?);
            }
        }
        Ok(settings)
    }
}

impl Unseal for Sealer {
    fn unseal(&self, place: &str, target: &Target) -> Result<Value, String> {
        self.open_settings(place, &target.spec)
            .map_err(|error| error.to_string())
    }
}

/// The sealed texts in stored settings.
pub(super) fn sealed_texts(spec: &TargetSpec) -> Vec<String> {
    let Ok(kind) = find_kind(&spec.kind) else {
        return Vec::new();
    };
    kind.secret_pointers(&spec.settings)
        .iter()
        .filter_map(|pointer| {
            spec.settings
                .pointer(pointer)?
                .as_str()
                .map(ToOwned::to_owned)
        })
        .collect()
}
