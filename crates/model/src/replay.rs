//! Replays: stored events are put onto their bus again, as new events that say what they repeat.

use serde::{Deserialize, Serialize};

use crate::id::{ArchiveId, BusId, EventId, ReplayId};
use crate::json::JsonText;
use crate::name::{ArchiveName, BusName, RuleName, TargetName};

/// Most rules that a replay may name.
pub const RULES_MAX: usize = 100;
/// Most events that a replay may name.
pub const EVENTS_MAX: usize = 1000;
/// Most events a second that may be asked for.
pub const RATE_MAX: u32 = 100_000;

/// Stands in an event that a replay has put onto its bus again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayMark {
    /// The replay.
    pub replay: ReplayId,
    /// The event that this one repeats.
    pub of: EventId,
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplayState {
    /// A node works on it, or will within moments.
    Running,
    /// It waits until somebody resumes it.
    Paused,
    /// Somebody has ended it.
    Cancelled,
    /// Everything asked for has been looked at.
    Completed,
    /// It cannot go on; its detail says why.
    Failed,
}

impl ReplayState {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[
        Self::Running,
        Self::Paused,
        Self::Cancelled,
        Self::Completed,
        Self::Failed,
    ];

    /// As it is stored.
    pub const fn number(self) -> i64 {
        match self {
            Self::Running => 0,
            Self::Paused => 1,
            Self::Cancelled => 2,
            Self::Completed => 3,
            Self::Failed => 4,
        }
    }

    /// From the stored number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|state| state.number() == number)
    }

    /// The word that clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more comes of it.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

/// What a replay does, settled when it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayPlan {
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The bus the events were posted to, and are put onto again.
    pub bus: BusId,
    /// Its name then.
    pub bus_name: BusName,
    /// The archive they are read from; absent: the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<(ArchiveId, ArchiveName)>,
    /// The first event that is looked at.
    pub low: EventId,
    /// The first event that is not looked at any more: nothing that came after the start.
    pub high: EventId,
    /// Only these events, ascending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EventId>>,
    /// Only events that match it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<JsonText>,
    /// Only to targets of these rules, as they are when the event is put back; absent: to all rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<RuleName>>,
    /// Only to this target; its rule has to match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ReplayTarget>,
    /// Most events put back in a second.
    pub rate_per_second: u32,
}

impl ReplayPlan {
    /// Whether events that go to no target are put back all the same: only when the bus decides who gets them.
    pub fn takes_unmatched(&self) -> bool {
        self.rules.is_none() && self.to.is_none()
    }
}

/// The one target of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplayTarget {
    /// Its rule.
    pub rule: RuleName,
    /// Its name.
    pub target: TargetName,
}
