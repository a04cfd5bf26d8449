//! The `belfry` program.

use std::process::ExitCode;

use belfry::cli::{Cli, run};
use belfry::failure::Failure;
use belfry::output;
use clap::Parser as _;

/// A quarter of the server's CPU went to the C library's allocator; see `docs/reference/performance.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
