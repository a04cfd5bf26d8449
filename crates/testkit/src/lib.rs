//! What tests need to look at Belfry from outside.
//!
//! | module | owns |
//! |---|---|
//! | [`sink`] | a receiver of webhooks that records, verifies and misbehaves on demand |
//! | [`im`] | strict doubles of chat and paging services: they check what the vendor checks and answer with its codes |
//! | [`server`] | the built `belfry` binary as a process: start, kill, restart, stop |
//! | [`client`] | a small HTTP client for one credential |
//! | [`proxy`] | a line between two programs that can be cut, slow, narrow or silent |
//! | [`smtp`] | a real mail server whose recipients are refused in every way |
//! | [`vendor`] | the API of Tencent Cloud behind a proxy, with its signatures checked |
//! | `script` | doubles that are Python scripts: what they are told, what they tell |
//! | [`Postgres`] | a PostgreSQL server of one's own (crate `testdb`) |
//! | [`raw`] | bytes on a socket, for what no proper client sends |
//! | [`events`] | the events that tests post |
//! | [`lacks`] | what a machine may lack, and who says so |
//! | [`wait`] | waiting for a fact, never for a time |
//!
//! Everything here works over sockets, files and processes. It must never reach into the product: a test that needs
//! to is a test of that crate.
//!
//! Nothing waits for a fixed time, no port is fixed, and everything that is started ends with its value: tests run
//! beside each other, in one process or in many.

pub mod client;
pub mod events;
pub mod im;
pub mod lacks;
pub mod proxy;
pub mod raw;
mod script;
pub mod server;
pub mod sink;
pub mod smtp;
pub mod vendor;
pub mod wait;

pub use belfry_testdb::{Postgres, Stop};
pub use client::{Answer, Client};
pub use im::Im;
pub use proxy::{Line, Proxy};
pub use server::{Cli, Finished, Server};
pub use sink::{Received, Reply, Sink};
pub use smtp::SmtpServer;
pub use vendor::Vendor;
pub use wait::wait_until;
