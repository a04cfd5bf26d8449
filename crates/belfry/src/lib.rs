//! The server and the command line: settings, telemetry, wiring.

pub mod bench;
pub mod cli;
pub mod client;
pub mod command;
pub mod declare;
pub mod difference;
pub mod failure;
pub mod output;
pub mod serve;
pub mod settings;
pub mod telemetry;
