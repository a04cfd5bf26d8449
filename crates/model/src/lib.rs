//! Words and rules of the product: ids, names, events, configuration, deliveries.
//!
//! Everything here is plain data that checks itself when it is made ("parse, don't validate"). It must
//! never know a database, a network, an async runtime or the time of day: a [`Clock`] is passed in.
//!
//! | module | owns |
//! |---|---|
//! | [`id`] | time-ordered event ids and what is derived from them |
//! | [`name`] | names that operators choose |
//! | [`json`] | strict reading of JSON from outside, with pointers and "did you mean" |
//! | [`event`] | CloudEvents in every accepted form, as one JSON document |
//! | [`config`] | buses, rules, targets, archives, named documents, retry policies |
//! | [`delivery`] | the life of a delivery: states, attempts, reasons |
//! | [`replay`] | putting stored events onto their bus again |
//! | [`access`] | scopes of API keys |
//! | [`clock`] | the source of time |

pub mod access;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod event;
pub mod id;
pub mod json;
pub mod name;
pub mod replay;

pub use clock::{Clock, ManualClock, SystemClock};
pub use event::Event;
pub use id::{
    AlarmId, ArchiveId, AttemptId, BusId, DeliveryId, DocumentId, EventId, EventIdSource, NodeId,
    OrderKey, ReplayId, RuleId, TargetId,
};
pub use json::FieldError;
pub use name::{
    ArchiveName, BusName, DocumentName, FunctionName, LogName, Name, RuleName, TargetName,
};
