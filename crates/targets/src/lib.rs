//! Target kinds: what an event can be delivered to.
//!
//! One folder a kind, one [`REGISTRY`]. A kind knows its settings (schema, example, secrets, checks) and makes a
//! [`Target`] from them; a target makes one attempt of one delivery and says how it went ([`Attempted`]).
//!
//! | module | owns |
//! |---|---|
//! | `kind` | what a kind is, and the list of them |
//! | `target` | one attempt: what goes in, what comes out |
//! | `directory` | who people are, by name |
//! | `secret` | masking settings for readers, taking masks back from writers |
//! | `record` | what of a request and an answer may be kept |
//! | `settings` | strict reading of settings |
//! | `webhook`, `log` | the kinds |
//!
//! It must never know stores, schedules, queues or rules: whether and when to try again is decided elsewhere. All
//! its HTTP goes through `belfry-egress`.

mod directory;
mod kind;
mod log;
mod record;
mod secret;
mod settings;
mod target;
mod webhook;

pub use directory::{Directory, NoDirectory};
pub use kind::{ConnectContext, GeneratedSecret, LabelPair, REGISTRY, TargetKind, find_kind};
pub use secret::{MASK, mask, unmask, unmask_with};
pub use target::{
    AlarmLife, Attempted, Channel, ChannelLimit, Folded, Handshake, Job, LogAppend, RequestRecord,
    ResponseRecord, Target, Verdict,
};
