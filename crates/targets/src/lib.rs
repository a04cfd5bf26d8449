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
//! | `message` | what a message says, in every channel's markup and size |
//! | `messenger` | the frame of kinds that send messages |
//! | `people` | people whom a target reaches one by one |
//! | `signing` | what vendors' signatures have in common |
//! | `answer` | what an HTTP answer means by its status alone |
//! | `webhook`, `log` | the kinds for programs |
//! | `function` | the kind that runs code of the operator |
//! | `wecom`, `dingtalk`, `feishu`, `slack`, `teams`, `telegram`, `discord` | the kinds for chats |
//! | `pagerduty`, `opsgenie`, `ntfy`, `gotify`, `bark` | the kinds for paging and push |
//! | `phone` | the frame of kinds that reach phones |
//! | `email` | the kind for mail |
//! | `tencent`, `alibaba`, `twilio`, `gateway` | the kinds for SMS and calls |
//! | `notification` | the kind that tells people by several of the others |
//!
//! It must never know stores, schedules, queues or rules: whether and when to try again is decided elsewhere. All
//! its HTTP goes through `belfry-egress`.

mod alibaba;
mod answer;
mod bark;
mod dingtalk;
mod directory;
mod discord;
mod email;
mod feishu;
mod function;
mod gateway;
mod gotify;
mod kind;
mod log;
mod message;
mod messenger;
mod notification;
mod ntfy;
mod opsgenie;
mod pagerduty;
mod people;
mod phone;
mod record;
mod secret;
mod settings;
mod signing;
mod slack;
mod target;
mod teams;
mod telegram;
mod tencent;
mod twilio;
#[cfg(test)]
mod vectors;
mod webhook;
mod wecom;

pub use directory::{Directory, NoDirectory};
pub use function::called_function;
pub use kind::{ConnectContext, GeneratedSecret, LabelPair, REGISTRY, TargetKind, find_kind};
pub use message::escape::DIALECTS;
pub use people::{Person, Reach};
pub use secret::{MASK, mask, unmask, unmask_with};
pub use target::{
    AlarmLife, Attempted, Batch, Channel, ChannelLimit, Folded, Handshake, Job, LogAppend, Part,
    RequestRecord, ResponseRecord, Target, Throttled, Verdict,
};
