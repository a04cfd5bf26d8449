//! The life of a delivery: one event for one target.
//!
//! ```text
//! accepted ─► queued ─► (attempt) ─► delivered
//!               ▲          │
//!               │          ├─► retrying ─► (attempt) ...
//!            redrive       ├─► dead      attempts used up, or an answer that will not change
//!               │          ├─► expired   older than allowed, or past the event's own expirytime
//!               └──────────┴─► skipped   target disabled or deleted, nothing to send
//! ```
//! `delivered`, `dead`, `expired` and `skipped` are final; only a redrive (always somebody's wish) leaves them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text is not one of the known words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}, got {got:?}")]
pub struct UnknownWord {
    expected: &'static str,
    got: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            const EXPECTED: &'static str = concat!($($text, " ",)*);

            /// The word used in JSON, logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The number used in the store; never changes its meaning.
            pub const fn number(self) -> i64 {
                match self { $(Self::$variant => $number,)* }
            }

            /// From the number used in the store.
            pub const fn from_number(number: i64) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    other => Err(UnknownWord { expected: Self::EXPECTED.trim_end(), got: other.chars().take(64).collect() }),
                }
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

words! {
    /// Where a delivery stands.
    DeliveryStatus {
        /// Waits for its first attempt.
        Queued = "queued" = 0,
        /// A 2xx, or the kind's own sign of success.
        Delivered = "delivered" = 1,
        /// Failed at least once and waits for the next attempt.
        Retrying = "retrying" = 2,
        /// Dead-lettered: given up after its attempts, or at once on an answer that will not change.
        Dead = "dead" = 3,
        /// Given up by age.
        Expired = "expired" = 4,
        /// Not tried, for a recorded reason.
        Skipped = "skipped" = 5,
    }
}

impl DeliveryStatus {
    /// Whether nothing more happens by itself.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Retrying)
    }
}

words! {
    /// What set an attempt off.
    Trigger {
        /// The event was accepted.
        Initial = "initial" = 0,
        /// An earlier attempt failed.
        Retry = "retry" = 1,
        /// Somebody asked for it again.
        Redrive = "redrive" = 2,
    }
}

words! {
    /// Why an attempt failed or a delivery ended; stable, for programs. The text beside it is for people.
    Reason {
        /// The host name has no usable address.
        DnsError = "dns_error" = 1,
        /// The connection was refused.
        ConnectRefused = "connect_refused" = 2,
        /// No connection within the limit.
        ConnectTimeout = "connect_timeout" = 3,
        /// The TLS handshake failed.
        TlsError = "tls_error" = 4,
        /// No complete answer within the limit.
        Timeout = "timeout" = 5,
        /// The connection broke.
        ConnectionReset = "connection_reset" = 6,
        /// The receiver finds the request too large.
        RequestTooLarge = "request_too_large" = 7,
        /// The answer is no HTTP, or cannot be read.
        BadResponse = "bad_response" = 8,
        /// The egress policy does not allow this address.
        BlockedAddress = "blocked_address" = 9,
        /// An answer 4xx.
        Http4xx = "http_4xx" = 10,
        /// An answer 5xx.
        Http5xx = "http_5xx" = 11,
        /// The receiver asked to slow down.
        RateLimited = "rate_limited" = 12,
        /// An answer 410: the receiver wants no more.
        Gone = "gone" = 13,
        /// An answer 3xx, which is never followed.
        Redirect = "redirect" = 14,
        /// Credentials could not be had or were refused.
        AuthFailed = "auth_failed" = 15,
        /// The provider's own code says no.
        ProviderRejected = "provider_rejected" = 16,
        /// The transformation failed on this event.
        TransformError = "transform_error" = 17,
        /// The target's settings cannot be used.
        InvalidTarget = "invalid_target" = 18,
        /// Older than the retry policy allows.
        TooOld = "too_old" = 19,
        /// Past the event's own `expirytime`.
        EventExpired = "event_expired" = 20,
        /// The target is disabled.
        TargetDisabled = "target_disabled" = 21,
        /// The target was deleted.
        TargetDeleted = "target_deleted" = 22,
        /// The target waits behind an open circuit.
        CircuitOpen = "circuit_open" = 23,
        /// The target's queue in memory is full.
        QueueFull = "queue_full" = 24,
        /// The delivery was found unfinished after a restart.
        Recovered = "recovered" = 25,
        /// Somebody asked for it again.
        Redriven = "redriven" = 26,
        /// A mistake of ours; never charged to the receiver.
        Internal = "internal" = 27,
        /// The transformation says there is nothing to send.
        NothingToSend = "nothing_to_send" = 28,
        /// Removed by retention before it could end.
        Retention = "retention" = 29,
        /// Waits for the target's rate limit.
        Throttled = "throttled" = 30,
        /// Somebody gave the delivery up.
        Cancelled = "cancelled" = 31,
        /// Waits for its turn in the order of its key.
        WaitsInOrder = "waits_in_order" = 32,
        /// The receiver says that credentials, address or settings are wrong: nothing will arrive until somebody changes them.
        Misconfigured = "misconfigured" = 33,
        /// A silence is in force for the alarm.
        Silenced = "silenced" = 34,
        /// The target was told of this alarm not long ago.
        AlarmRepeat = "alarm_repeat" = 35,
        /// The alarm is over, and the target was never told of it.
        AlarmNotTold = "alarm_not_told" = 36,
        /// The alarm is less severe than the target asks for.
        BelowSeverity = "below_severity" = 37,
        /// Nobody is told at this time of the week.
        OutsideWindow = "outside_window" = 38,
        /// Waits to be told together with others of its group.
        Grouped = "grouped" = 39,
        /// Waits for the node that sends to this target: its limits are divided, and this node's part is none.
        OtherNode = "other_node" = 40,
        /// Waits for the rate limit of the vendor, which all that use the same bot share.
        ChannelLimit = "channel_limit" = 41,
        /// The function's code failed: it threw, did not answer, or answered what is no JSON.
        FunctionError = "function_error" = 42,
        /// The function did not end within its time.
        FunctionTimeout = "function_timeout" = 43,
        /// The function needed more memory than it may have.
        FunctionOom = "function_oom" = 44,
        /// The function's process ended without an answer.
        FunctionExit = "function_exit" = 45,
        /// The function's answer is too large.
        ResponseTooLarge = "response_too_large" = 46,
        /// The function's code cannot be loaded.
        FunctionInitError = "function_init_error" = 47,
        /// The function's code did not load within its time.
        FunctionInitTimeout = "function_init_timeout" = 48,
        /// There is no such function, version or alias.
        FunctionNotFound = "function_not_found" = 49,
        /// The function is disabled, or this server cannot run it: functions are off, its runtime or the sandbox is missing.
        FunctionUnavailable = "function_unavailable" = 50,
        /// The function waits for a free worker, or until it is started again after it ended too often.
        FunctionThrottled = "function_throttled" = 51,
        /// The function could not be run; a mistake of ours, or the machine has no room.
        FunctionInternal = "function_internal" = 52,
        /// The function wrote more to its disk than it may.
        FunctionDisk = "function_disk" = 53,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_unique_and_round_trip() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse::<Reason>().unwrap(), *reason);
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
        }
        for status in DeliveryStatus::ALL {
            assert_eq!(DeliveryStatus::from_number(status.number()), Some(*status));
        }
        assert_eq!(
            "lost".parse::<DeliveryStatus>().unwrap_err().to_string(),
            "expected one of queued delivered retrying dead expired skipped, got \"lost\""
        );
    }
}
