//! Strict reading of JSON that comes from outside.
//!
//! Every mistake is answered with a JSON pointer (RFC 6901) and what would be right. Repeated names are refused:
//! matching, transforming and delivering could each see another value.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

mod check;
mod read;

#[cfg(test)]
mod tests;

pub(crate) use check::check_members;
pub use check::{Checked, JsonLimits, NUMBER_CHARS_MAX, check};
pub use read::from_slice;

use check::NameSeed;

/// One thing wrong with an input, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// A JSON pointer into the body, or `header:NAME`, `query:NAME`.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }

    /// The same error seen from further out.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.detail)
        } else {
            write!(f, "{}: {}", self.pointer, self.detail)
        }
    }
}

/// A JSON value kept as it was written: numbers, order and spelling are not touched.
#[derive(Clone, PartialEq, Eq)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// Takes text that is one JSON value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Ok(Self(Arc::from(raw.get())))
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Arc::from(raw.get())))
    }
}

/// The members of an object in their order, each value as its text.
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    /// The members of the object that `text` is, from their names: what stands between two of them is the first one's
    /// value. `None` when a name is written with escapes: nobody knows where it stands.
    fn named(text: &'a str, names: Vec<Cow<'a, str>>) -> Option<Self> {
        const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
        let mut end = text.trim_end_matches(SPACE).len().checked_sub("}".len())?;
        let mut members = Vec::with_capacity(names.len());
        for name in names.into_iter().rev() {
            let Cow::Borrowed(written) = name else {
                return None;
            };
            let start = written.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
            // No value begins or ends with what is taken off.
            let value = text
                .get(start + written.len() + "\"".len()..end)?
                .trim_start_matches(SPACE)
                .strip_prefix(':')?
                .trim_start_matches(SPACE)
                .trim_end_matches(SPACE);
            let value = value.strip_suffix(',').unwrap_or(value);
            members.push((name, value.trim_end_matches(SPACE)));
            end = start.checked_sub("\"".len())?;
        }
        members.reverse();
        Some(Self(members))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(name) = map.next_key_seed(NameSeed)? {
                    members.push((name, map.next_value::<&RawValue>()?.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Adds one member name or array index to a JSON pointer (RFC 6901).
pub fn push_pointer(pointer: &mut String, segment: &str) {
    pointer.push('/');
    for c in segment.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// A JSON pointer of one segment: `/` and the escaped name.
pub fn pointer_to(segment: &str) -> String {
    let mut pointer = String::with_capacity(segment.len() + 1);
    push_pointer(&mut pointer, segment);
    pointer
}

/// The longest text, in bytes, for which [`nearest`] looks: the search takes time with its square.
const NEAREST_BYTES_MAX: usize = 64;

/// The known word that `got` probably means, if any is close enough.
pub fn nearest<'a>(got: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if got.is_empty() || got.len() > NEAREST_BYTES_MAX {
        return None;
    }
    let got = got.to_lowercase();
    // One slip in three characters, but never so many that nothing of the word is left.
    let allowed = (got.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|word| word.len() <= NEAREST_BYTES_MAX)
        .map(|word| {
            (
                strsim::damerau_levenshtein(&got, &word.to_lowercase()),
                word,
            )
        })
        .filter(|&(distance, word)| distance <= allowed && distance < word.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, word)| word)
}

/// Applies a JSON merge patch (RFC 7396): null removes a member, objects merge, anything else replaces.
#[must_use]
pub fn merge_patch(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    let Value::Object(mut merged) = target else {
        // Merging into nothing still drops the nulls.
        return merge_patch(Value::Object(serde_json::Map::new()), Value::Object(patch));
    };
    for (name, change) in patch {
        if change.is_null() {
            // Keeps the order of the others: a plain removal would move the last member here.
            merged.shift_remove(&name);
        } else {
            let old = merged.get_mut(&name).map_or(Value::Null, Value::take);
            merged.insert(name, merge_patch(old, change));
        }
    }
    Value::Object(merged)
}
