//! The `belfry` program.

use std::process::ExitCode;

use belfry::cli::{Cli, run};
use belfry::failure::Failure;
use belfry::output;
use clap::Parser as _;

fn main() -> ExitCode {
    // Before anything else: whoever makes a TLS connection relies on it. A second one in the process is no harm.
    drop(rustls::crypto::ring::default_provider().install_default());
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure),
    }
}

fn end(failure: &Failure) -> ExitCode {
    output::failure(failure);
    ExitCode::from(failure.exit as u8)
}
