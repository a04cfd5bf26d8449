//! What an alarm is: the facts of an event that a person is told, the key by which firing, repeat and recovery belong
//! together, the catalog of products and event types, silences, and people. Pure.
//!
//! | module | owns |
//! |---|---|
//! | `severity`, `state` | how bad, and whether it fires or has recovered; the words that senders use for it |
//! | `sign` | the little that decides what becomes of an event: key, state, severity |
//! | `alarm` | everything that a message says of an event |
//! | `catalog` | products and event types: names, severity, advice, sample events |
//! | `matcher`, `silence` | telling alarms apart by their labels; when nobody is to be told |
//! | `contact` | people and groups: how and when they are reached |
//! | `window` | times of the week |
//!
//! It must never know targets, rules, stores or HTTP.

#![forbid(unsafe_code)]

mod alarm;
pub mod catalog;
mod contact;
mod matcher;
mod severity;
mod sign;
mod silence;
mod state;
mod window;

pub use alarm::{Alarm, Link, Names};
pub use contact::{
    Contact, ContactGroup, GROUP_MAX, Language, MAIL_ADDRESS_EXPECTED, PHONE_NUMBER_EXPECTED,
    is_mail_address, is_phone_number,
};
pub use matcher::{MATCHER_BYTES_MAX, Match, Matcher, MatcherOp};
pub use severity::Severity;
pub use sign::{AlarmKey, Sign};
pub use silence::{MATCHERS_MAX, Quiet, Silence};
pub use state::AlarmState;
pub use window::{Day, TimeWindow, WINDOWS_MAX, Week, Weekly, ZONE_DEFAULT};
