//! Scopes: what an API key may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::BusName;

/// One permission of an API key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `events:write` posts events to every bus, `events:write:NAME` to one.
    EventsWrite(Option<BusName>),
    /// `config:read` reads buses, rules and targets (secrets masked).
    ConfigRead,
    /// `config:write` changes them; includes `config:read`.
    ConfigWrite,
    /// `history:read` reads events, deliveries, attempts, logs.
    HistoryRead,
    /// `functions:write` makes and changes functions: code that runs on the server's machine. `config:read` reads them.
    FunctionsWrite,
    /// `functions:invoke` runs functions by hand.
    FunctionsInvoke,
    /// `functions:use` makes a function the target of a rule, beside `config:write`.
    FunctionsUse,
    /// `admin` may do everything, also keys, audit and redrive.
    Admin,
}

/// A text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected one of events:write, events:write:BUS, config:read, config:write, history:read, functions:write, functions:invoke, functions:use, admin; got {0:?}"
)]
pub struct InvalidScope(String);

impl FromStr for Scope {
    type Err = InvalidScope;
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        match text {
            "events:write" => Ok(Self::EventsWrite(None)),
            "config:read" => Ok(Self::ConfigRead),
            "config:write" => Ok(Self::ConfigWrite),
            "history:read" => Ok(Self::HistoryRead),
            "functions:write" => Ok(Self::FunctionsWrite),
            "functions:invoke" => Ok(Self::FunctionsInvoke),
            "functions:use" => Ok(Self::FunctionsUse),
            "admin" => Ok(Self::Admin),
            other => other
                .strip_prefix("events:write:")
                .and_then(|bus| bus.parse().ok())
                .map(|bus| Self::EventsWrite(Some(bus)))
                .ok_or_else(|| InvalidScope(other.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventsWrite(None) => f.write_str("events:write"),
            Self::EventsWrite(Some(bus)) => write!(f, "events:write:{bus}"),
            Self::ConfigRead => f.write_str("config:read"),
            Self::ConfigWrite => f.write_str("config:write"),
            Self::HistoryRead => f.write_str("history:read"),
            Self::FunctionsWrite => f.write_str("functions:write"),
            Self::FunctionsInvoke => f.write_str("functions:invoke"),
            Self::FunctionsUse => f.write_str("functions:use"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl Scope {
    /// Whether holding `self` allows what `needed` asks for.
    pub fn allows(&self, needed: &Self) -> bool {
        match (self, needed) {
            (Self::Admin, _)
            | (Self::EventsWrite(None), Self::EventsWrite(_))
            | (Self::ConfigWrite, Self::ConfigRead) => true,
            (held, needed) => held == needed,
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_for_one_bus_cannot_post_to_another() {
        let held: Scope = "events:write:orders".parse().unwrap();
        assert!(held.allows(&"events:write:orders".parse().unwrap()));
        assert!(!held.allows(&"events:write:default".parse().unwrap()));
        assert!(!held.allows(&Scope::EventsWrite(None)));
        assert!(!held.allows(&Scope::HistoryRead));
    }

    #[test]
    fn scopes_round_trip_and_others_are_refused() {
        for text in [
            "events:write",
            "events:write:a",
            "config:read",
            "config:write",
            "history:read",
            "functions:write",
            "functions:invoke",
            "functions:use",
            "admin",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert!("events:write:".parse::<Scope>().is_err());
        assert!("root".parse::<Scope>().is_err());
    }
}
