//! Whether an alarm fires or has recovered.

use serde::{Deserialize, Serialize};

/// What an event says of its alarm: the attribute `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// `1`: something is wrong.
    Firing,
    /// `0`: it is over.
    Recovered,
    /// `-` or absent: something happened, and nothing will end it.
    Stateless,
}

impl AlarmState {
    /// The state behind a `status`; anything but `1` and `0` is stateless.
    pub fn parse(status: &str) -> Self {
        match status.trim() {
            "1" => Self::Firing,
            "0" => Self::Recovered,
            _ => Self::Stateless,
        }
    }

    /// The value of `status`.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Firing => "1",
            Self::Recovered => "0",
            Self::Stateless => "-",
        }
    }
}
