//! How an invocation can end, and what follows: the failure table.
//!
//! Status codes are those of Tencent SCF, for people who know them. "Users' retries" are SCF's too: two, after one minute and
//! after two more; a function that restarts machines must not be run ten times by default.

use belfry_model::delivery::Reason;
use serde::{Deserialize, Serialize};

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It answered, and nothing of it is left to be done.
    Succeeded,
    /// The code threw, or rejected, before an answer.
    Threw,
    /// The answer is no JSON.
    NotSerializable,
    /// Nothing is left to be done, and there is no answer.
    NoAnswer,
    /// It answered; then an error that nobody caught.
    LateError,
    /// No answer within its time.
    TimedOut,
    /// It answered, and did not end within its time.
    LateTimedOut,
    /// It needed more memory than it may have.
    OutOfMemory,
    /// It wrote more than its scratch folder may hold.
    ScratchFull,
    /// Its process ended without an answer.
    Exited,
    /// Its answer is too large.
    AnswerTooLarge,
    /// The event is too large.
    EventTooLarge,
    /// The code cannot be loaded.
    InitFailed,
    /// The code did not load within its time.
    InitTimedOut,
    /// There is no such function.
    NoFunction,
    /// The function has no such version or alias.
    NoVersion,
    /// Disabled, or this server cannot run it.
    Unavailable,
    /// No worker was free within the time that it may wait, or the function is started again only later.
    Throttled,
    /// It could not be started: no processes or memory to be had.
    NotStarted,
    /// The worker broke the rules of the conversation.
    ProtocolBroken,
    /// A mistake of ours.
    Internal,
    /// The server stopped meanwhile.
    Stopped,
    /// The function was deleted meanwhile.
    Deleted,
    /// The server ended meanwhile, and could not say what became of it.
    Lost,
}

/// Whether a delivery is tried again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would end the same way, or must not be done twice.
    No,
    /// Twice, after 1 and 2 minutes.
    Users,
    /// As any delivery whose receiver is away.
    Standard,
    /// As soon as there may be room; it was no attempt.
    NotCounted,
}

impl Outcome {
    /// Every one of them.
    pub const ALL: [Self; 24] = [
        Self::Succeeded,
        Self::Threw,
        Self::NotSerializable,
        Self::NoAnswer,
        Self::LateError,
        Self::TimedOut,
        Self::LateTimedOut,
        Self::OutOfMemory,
        Self::ScratchFull,
        Self::Exited,
        Self::AnswerTooLarge,
        Self::EventTooLarge,
        Self::InitFailed,
        Self::InitTimedOut,
        Self::NoFunction,
        Self::NoVersion,
        Self::Unavailable,
        Self::Throttled,
        Self::NotStarted,
        Self::ProtocolBroken,
        Self::Internal,
        Self::Stopped,
        Self::Deleted,
        Self::Lost,
    ];

    /// The word in JSON, records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Threw => "threw",
            Self::NotSerializable => "not_serializable",
            Self::NoAnswer => "no_answer",
            Self::LateError => "late_error",
            Self::TimedOut => "timed_out",
            Self::LateTimedOut => "late_timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::ScratchFull => "scratch_full",
            Self::Exited => "exited",
            Self::AnswerTooLarge => "answer_too_large",
            Self::EventTooLarge => "event_too_large",
            Self::InitFailed => "init_failed",
            Self::InitTimedOut => "init_timed_out",
            Self::NoFunction => "no_function",
            Self::NoVersion => "no_version",
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::NotStarted => "not_started",
            Self::ProtocolBroken => "protocol_broken",
            Self::Internal => "internal",
            Self::Stopped => "stopped",
            Self::Deleted => "deleted",
            Self::Lost => "lost",
        }
    }

    /// From the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
    }

    /// Why a delivery failed by it; `None`: it did not.
    pub const fn reason(self) -> Option<Reason> {
        Some(match self {
            Self::Succeeded => return None,
            Self::Threw | Self::NotSerializable | Self::NoAnswer | Self::LateError => {
                Reason::FunctionError
            }
            Self::TimedOut | Self::LateTimedOut => Reason::FunctionTimeout,
            Self::OutOfMemory => Reason::FunctionOom,
            Self::ScratchFull => Reason::FunctionDisk,
            Self::Exited => Reason::FunctionExit,
            Self::AnswerTooLarge => Reason::ResponseTooLarge,
            Self::EventTooLarge => Reason::RequestTooLarge,
            Self::InitFailed => Reason::FunctionInitError,
            Self::InitTimedOut => Reason::FunctionInitTimeout,
            Self::NoFunction | Self::NoVersion => Reason::FunctionNotFound,
            Self::Unavailable => Reason::FunctionUnavailable,
            Self::Throttled => Reason::FunctionThrottled,
            Self::NotStarted | Self::ProtocolBroken | Self::Internal | Self::Lost => {
                Reason::FunctionInternal
            }
            Self::Stopped | Self::Deleted => Reason::Cancelled,
        })
    }

    /// What SCF says in its place.
    pub const fn status_code(self) -> u16 {
        match self {
            Self::Succeeded => 200,
            Self::EventTooLarge => 406,
            Self::AnswerTooLarge => 407,
            // There is no other for it: its own code is told that the disk is full.
            Self::Threw
            | Self::NotSerializable
            | Self::NoAnswer
            | Self::LateError
            | Self::ScratchFull => 430,
            Self::Throttled => 432,
            Self::TimedOut | Self::LateTimedOut => 433,
            Self::OutOfMemory => 434,
            Self::NoFunction => 435,
            Self::InitFailed => 437,
            Self::Unavailable => 438,
            Self::Exited => 439,
            Self::NoVersion => 442,
            Self::NotStarted => 445,
            Self::InitTimedOut => 450,
            Self::Stopped | Self::Deleted => 499,
            Self::ProtocolBroken | Self::Internal | Self::Lost => 500,
        }
    }

    /// Whether a delivery is tried again by itself.
    pub const fn retry(self) -> Retry {
        match self {
            Self::Succeeded
            | Self::NotSerializable
            | Self::NoAnswer
            | Self::LateError
            | Self::LateTimedOut
            | Self::AnswerTooLarge
            | Self::EventTooLarge
            | Self::InitFailed
            | Self::NoFunction
            | Self::NoVersion
            | Self::Deleted => Retry::No,
            Self::Threw
            | Self::TimedOut
            | Self::OutOfMemory
            | Self::ScratchFull
            | Self::Exited
            | Self::InitTimedOut => Retry::Users,
            Self::Unavailable
            | Self::NotStarted
            | Self::ProtocolBroken
            | Self::Internal
            | Self::Lost => Retry::Standard,
            Self::Throttled | Self::Stopped => Retry::NotCounted,
        }
    }

    /// Whether there is an answer all the same.
    pub const fn has_result(self) -> bool {
        matches!(self, Self::Succeeded | Self::LateError | Self::LateTimedOut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_what_serde_writes() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_word(outcome.as_str()), Some(outcome));
            assert_eq!(
                serde_json::to_value(outcome).unwrap(),
                serde_json::Value::from(outcome.as_str())
            );
        }
    }

    #[test]
    fn only_a_success_is_no_failure_of_a_delivery() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.reason().is_none(), outcome == Outcome::Succeeded);
            assert_eq!(outcome.status_code() == 200, outcome == Outcome::Succeeded);
        }
    }

    #[test]
    fn the_reference_has_a_row_for_every_outcome() {
        let page = include_str!("../../../docs/reference/functions.md");
        for outcome in Outcome::ALL {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", outcome.as_str())))
                .unwrap_or_else(|| panic!("no row for {}", outcome.as_str()));
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let reason = outcome
                .reason()
                .map_or_else(|| "–".to_owned(), |reason| format!("`{}`", reason.as_str()));
            let again = match outcome.retry() {
                Retry::No if outcome == Outcome::Succeeded => "–",
                Retry::No => "no",
                Retry::Users => "twice",
                Retry::Standard => "as any delivery",
                Retry::NotCounted => "later; it was no attempt",
            };
            assert_eq!(
                cells.get(3..6),
                Some(&[outcome.status_code().to_string().as_str(), &reason, again][..]),
                "{row}"
            );
        }
    }
}
