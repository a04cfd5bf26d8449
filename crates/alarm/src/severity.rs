//! How bad an alarm is, and the words that senders use for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad an alarm is; `Critical` is the greatest. A recovery keeps the severity of its alarm.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// May become worse.
    Warning,
    /// Something does not work.
    Error,
    /// Somebody has to act now.
    Critical,
}

impl Severity {
    /// Every severity, the worst first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Error, Self::Warning, Self::Info];

    /// The word in events and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }

    /// The word in Chinese messages.
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Critical => "严重",
            Self::Error => "错误",
            Self::Warning => "警告",
            Self::Info => "提示",
        }
    }

    /// The severity that a sender's word means, in any case; `None` for a word that nobody is known to use.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_lowercase();
        Some(match word.as_str() {
            "critical" | "fatal" | "emergency" | "page" | "disaster" | "p0" | "p1" | "sev0"
            | "s1" | "blocker" | "紧急" | "严重" | "致命" | "灾难" => Self::Critical,
            "error" | "err" | "major" | "high" | "p2" | "sev1" | "s2" | "重要" | "错误" => {
                Self::Error
            }
            "warning" | "warn" | "average" | "minor" | "medium" | "moderate" | "p3" | "sev2"
            | "s3" | "次要" | "警告" | "一般" => Self::Warning,
            "info" | "information" | "informational" | "notice" | "low" | "ok" | "p4" | "p5"
            | "sev3" | "sev4" | "debug" | "none" | "unknown" | "提示" | "通知" | "提醒"
            | "信息" => Self::Info,
            _ => return None,
        })
    }
}
