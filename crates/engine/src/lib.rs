//! The data plane: accept → match → fan out → deliver → retry → give up → recover.
//!
//! The cast: an **event** is accepted on a **bus**; the rules of the bus give its **fan-out**, the targets it goes to.
//! The `committer` makes it durable together with whatever else waits, and only then answers the sender and hands one
//! **delivery** per target to that target's `lane`. A lane's workers make **attempts**; what follows from one is a pure
//! function (`outcome`); its result goes back to the committer. Work that cannot be done at once is **pending** in the
//! store, and the `loader` claims it when it is due.
//!
//! Correctness rests on two rules: nothing that another task acts upon becomes visible before its commit, and the
//! watermark never passes an event that has a fan-out entry with neither outcome nor pending row. Claims' leases are not
//! needed for correctness on one node; they let work return by itself when a worker is lost.
//!
//! A target of messages to people, which a vendor limits and which nobody wants too many of, is **gated**: its lane asks
//! the `gate` whether to tell, and keeps what may be told in an `outbox` until its `channel` lets it pass.
//! One that takes many events at once is gated as well: they gather in a `batch`.
//!
//! This crate knows no SQL and no HTTP server, and does not ask who may do what.

mod api;
mod archives;
mod batch;
mod channel;
mod circuit;
mod committer;
mod dedup;
mod documents;
mod engine;
mod exchange;
mod gate;
mod idempotency;
mod in_force;
mod keeper;
mod lane;
mod loader;
mod membership;
mod metrics;
mod order;
mod outbox;
mod outcome;
mod pages;
mod people;
mod render;
mod replay;
mod report;
mod retention;
mod shared;
mod shares;
mod snapshot;
mod trial;
mod work;

pub use api::{
    AcceptContext, AcceptError, Accepted, Collaborators, DeliveryNotice, EngineSettings,
    EngineStatus, FindKind, IdempotencyKey, LaneStatus, Random, StartError, SystemRandom, Unseal,
};
pub use archives::Archives;
pub use documents::{NoDocuments, Parsed, ReadDocument};
pub use engine::Engine;
pub use in_force::InForce;
pub use people::People;
pub use replay::{ReplayCount, ReplayError};
pub use snapshot::{BusRules, RuleEntry, Snapshot, TargetEntry, compile_transform};
