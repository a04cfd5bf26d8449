//! The secret members of settings (of a target, of a named document): sealed in the store, in clear only where they are used.
//!
//! What is secret is for the kind to say, and it looks at the clear text for that: a URL is a secret if its query names
//! one. A stored secret is therefore known by its seal alone; a text that only looks sealed is sealed like a secret.

use belfry_engine::Unseal;
use belfry_model::config::Target;
use belfry_model::json::push_pointer;
use belfry_targets::MASK;
use serde_json::Value;

use super::{PREFIX, SealError, Sealer};

impl Sealer {
    /// Seals what stands at the pointers `secret` of `settings`, which are those of the target (`bus/rule/target`) or
    /// document (`kind:bus/name`) at `place`.
    pub(crate) fn seal_settings(
        &self,
        secret: Vec<String>,
        place: &str,
        settings: &mut Value,
    ) -> Result<(), SealError> {
        let mut pointers = sealed_pointers(settings);
        pointers.extend(secret);
        pointers.sort_unstable();
        pointers.dedup();
        for pointer in pointers {
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

    /// Stored settings with secrets in clear.
    pub(crate) fn open_settings(&self, place: &str, stored: &Value) -> Result<Value, SealError> {
        let mut settings = stored.clone();
        for pointer in sealed_pointers(&settings) {
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
        self.open_settings(place, &target.spec.settings)
            .map_err(|error| error.to_string())
    }
}

/// Stored settings as a reader may see them.
pub(crate) fn masked(stored: &Value) -> Value {
    let mut settings = stored.clone();
    for pointer in sealed_pointers(&settings) {
        if let Some(secret) = settings.pointer_mut(&pointer) {
            *secret = Value::from(MASK);
        }
    }
    settings
}

/// The sealed texts in stored settings.
pub(super) fn sealed_texts(stored: &Value) -> Vec<String> {
    sealed_pointers(stored)
        .iter()
        .filter_map(|pointer| Some(stored.pointer(pointer)?.as_str()?.to_owned()))
        .collect()
}

fn sealed_pointers(settings: &Value) -> Vec<String> {
    let mut found = Vec::new();
    find_sealed(settings, "", &mut found);
    found
}

fn find_sealed(value: &Value, pointer: &str, found: &mut Vec<String>) {
    let under = |segment: &str| {
        let mut under = pointer.to_owned();
        push_pointer(&mut under, segment);
        under
    };
    match value {
        Value::String(text) if text.starts_with(PREFIX) => found.push(pointer.to_owned()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_sealed(item, &under(&index.to_string()), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                find_sealed(member, &under(name), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use belfry_targets::find_kind;
    use serde_json::json;

    use super::*;

    fn stored(settings: &Value) -> (Sealer, Value) {
        let sealer = Sealer::from_keys(&[[7; 32]]).unwrap();
        let mut stored = settings.clone();
        let secret = find_kind("webhook").unwrap().secret_pointers(&stored);
        sealer.seal_settings(secret, "a/b/c", &mut stored).unwrap();
        (sealer, stored)
    }

    /// A sealed URL names no secret any more, so the kind did not ask for it to be opened, or masked.
    #[test]
    fn a_url_that_is_a_secret_opens_again_and_is_masked() {
        let clear = json!({
            "url": "https://example.com/hook?access_token=hunter2",
            "auth": { "type": "oauth2", "tokenUrl": "https://example.com/t?key=hunter2", "clientId": "c", "clientSecret": "hunter2" },
            "headers": { "x-token": "hunter2", "x-plain": "seen" },
        });
        let (sealer, spec) = stored(&clear);
        assert!(!spec.to_string().contains("hunter2"));
        assert_eq!(sealer.open_settings("a/b/c", &spec).unwrap(), clear);
        let shown = masked(&spec).to_string();
        assert!(!shown.contains("hunter2") && !shown.contains(PREFIX));
        assert!(shown.contains("seen"));
        assert_eq!(sealed_texts(&spec).len(), 4);
    }

    #[test]
    fn a_text_that_looks_sealed_comes_back_as_it_was() {
        let clear = json!({ "url": "https://example.com/", "headers": { "x-plain": "sealed:1:00000000:AAAA" } });
        let (sealer, spec) = stored(&clear);
        assert_eq!(sealer.open_settings("a/b/c", &spec).unwrap(), clear);
    }
}
