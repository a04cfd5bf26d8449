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
    // The way into a cage is short: nothing is read, made or started that the program in it has no use for.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|mode| mode == belfry_sandbox::LAUNCH)
    {
        return belfry_sandbox::launch();
    }
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
