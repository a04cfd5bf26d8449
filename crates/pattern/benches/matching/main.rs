//! Measures the matcher beside its peers; every figure comes with a comparison of what was matched.
//!
//! `cargo bench -p belfry-pattern -- --help` says how to ask for part of it. The tables:
//!
//! - `citylots`: few rules of every operator over the parcels that event-ruler and quamina use;
//! - `alarms`: from one to 100,000 rules, exact, mixed, with wildcards, and without exact fields;
//! - `building`, `changes`: making a set, and changing one rule of it;
//! - `publishing`: matching while another thread changes rules.
//!
//! The benchmark `memory` (in `memory.rs`) has the allocations. An engine that matches something
//! else than the naive matcher ends the program with an error: its speed would mean nothing.

#![allow(
    clippy::print_stdout,
    reason = "tables on standard output are what it is for"
)]

mod alarms;
mod building;
mod citylots;
mod data;
mod engines;
mod figures;
mod matching;
mod measure;
mod options;
mod publishing;
mod random;
mod report;

use anyhow::Result;

use crate::{data::Data, options::Options};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let Some(options) = Options::read()? else {
        return Ok(());
    };
    let data = Data::new(options.effort().events);
    matching::parcels(&options, &data)?;
    matching::alarms(&options, &data)?;
    building::build(&options, &data)?;
    building::change(&options, &data)?;
    publishing::publish(&options, &data)
}
