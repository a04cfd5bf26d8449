//! Names that operators choose for buses, rules, targets, named documents and logs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// A name: 1 to 64 of `a-z A-Z 0-9 - _ .`, starting with a letter or digit. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected 1 to {NAME_CHARS_MAX} characters of a-z A-Z 0-9 - _ . that start with a letter or digit, got {0:?}"
)]
pub struct InvalidName(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let good = text.len() <= NAME_CHARS_MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if good {
            Ok(Self(Arc::from(text)))
        } else {
            Err(InvalidName(text.chars().take(NAME_CHARS_MAX + 1).collect()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Name);
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                text.parse().map(Self)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
name! {
    /// A bus's name.
    BusName
}
name! {
    /// A rule's name, unique within its bus.
    RuleName
}
name! {
    /// A target's name, unique within its rule.
    TargetName
}
name! {
    /// An archive's name, unique within its bus.
    ArchiveName
}
name! {
    /// A log's name.
    LogName
}

/// A named document's name, unique within its kind and bus: one to three [`Name`]s, separated by `/`. How many, its kind says.
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DocumentName(Arc<str>);

/// The most parts of a document's name.
pub const DOCUMENT_NAME_PARTS_MAX: usize = 3;

impl DocumentName {
    /// A name of these parts.
    ///
    /// # Errors
    /// One of them is no name, or there are too many.
    pub fn of(parts: &[&str]) -> Result<Self, InvalidName> {
        parts.join("/").parse()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts, in their order.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for DocumentName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > DOCUMENT_NAME_PARTS_MAX {
            return Err(InvalidName(text.chars().take(NAME_CHARS_MAX + 1).collect()));
        }
        for part in parts {
            part.parse::<Name>()?;
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for DocumentName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl From<&FunctionName> for DocumentName {
    /// Names of functions are names of documents: their rules are narrower.
    fn from(function: &FunctionName) -> Self {
        Self(Arc::from(function.to_string()))
    }
}

/// Where a function is named: a namespace and a name in it. Cheap to clone.
///
/// Each is 1 to 60 of `a-z A-Z 0-9 - _`, starts with a letter and ends with a letter or digit, both together at most 118
/// characters: the rules of Tencent SCF. As text `namespace/name`; a name alone is one in namespace `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionName {
    namespace: Arc<str>,
    name: Arc<str>,
}

/// A text is no name of a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected namespace/name, each 1 to {FUNCTION_NAME_CHARS_MAX} characters of a-z A-Z 0-9 - _ that start with a letter and end with a letter or digit, together at most {FUNCTION_NAMES_CHARS_MAX}; got {0:?}"
)]
pub struct InvalidFunctionName(String);

/// The longest name of a function, or of a namespace, in characters.
pub const FUNCTION_NAME_CHARS_MAX: usize = 60;
/// The longest namespace and name together, in characters.
pub const FUNCTION_NAMES_CHARS_MAX: usize = 118;

impl FunctionName {
    /// The namespace of functions that name none.
    pub const DEFAULT_NAMESPACE: &'static str = "default";

    /// A function of a namespace.
    ///
    /// # Errors
    /// One of them is no name.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidFunctionName> {
        let good = |text: &str| {
            (1..=FUNCTION_NAME_CHARS_MAX).contains(&text.len())
                && text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.ends_with(|c: char| c.is_ascii_alphanumeric())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if good(namespace) && good(name) && namespace.len() + name.len() <= FUNCTION_NAMES_CHARS_MAX
        {
            return Ok(Self {
                namespace: Arc::from(namespace),
                name: Arc::from(name),
            });
        }
        let shown = format!("{namespace}/{name}");
        Err(InvalidFunctionName(
            shown.chars().take(FUNCTION_NAMES_CHARS_MAX + 2).collect(),
        ))
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name within the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for FunctionName {
    type Err = InvalidFunctionName;
    fn from_str(text: &str) -> Result<Self, InvalidFunctionName> {
        let (namespace, name) = text
            .split_once('/')
            .unwrap_or((Self::DEFAULT_NAMESPACE, text));
        Self::new(namespace, name)
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
impl Serialize for FunctionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for FunctionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl BusName {
    /// The bus that exists from the first start on.
    pub const DEFAULT: &'static str = "default";
    /// The bus on which Belfry itself reports (target disabled, circuit opened, ...). Clients cannot post to it.
    pub const SYSTEM: &'static str = "system";

    /// Whether this is the bus on which only Belfry itself posts.
    pub fn is_system(&self) -> bool {
        self.as_str() == Self::SYSTEM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        for good in ["a", "default", "Rule-1", "a.b_c", &"x".repeat(64)] {
            assert_eq!(good.parse::<BusName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "磁盘", &"x".repeat(65)] {
            assert!(bad.parse::<BusName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_documents_name_has_one_to_three_parts() {
        for good in ["a", "default/restart", "default/restart/3"] {
            let name: DocumentName = good.parse().unwrap();
            assert_eq!(name.as_str(), good);
            assert_eq!(
                name,
                DocumentName::of(&name.parts().collect::<Vec<_>>()).unwrap()
            );
        }
        for bad in ["", "a/", "/a", "a//b", "a/b/c/d", "a/../b", "a b/c"] {
            assert!(bad.parse::<DocumentName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_function_is_named_by_namespace_and_name() {
        let name: FunctionName = "ops/restart-1".parse().unwrap();
        assert_eq!((name.namespace(), name.name()), ("ops", "restart-1"));
        let alone: FunctionName = "restart".parse().unwrap();
        assert_eq!(alone.to_string(), "default/restart");
        let long = "x".repeat(60);
        for bad in [
            "",
            "a/",
            "/a",
            "a/b/c",
            "1a",
            "a-",
            "a.b",
            "磁盘",
            &format!("a{long}"),
            &format!("{long}/{long}"),
        ] {
            assert!(bad.parse::<FunctionName>().is_err(), "{bad}");
        }
    }
}
