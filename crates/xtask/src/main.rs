//! Project commands: `cargo xtask <command>`.
//!
//! Everything that a contributor or the continuous integration does with this repository beyond plain `cargo` is a
//! command here, so that both do the same thing. It must never know the product: it reads `cargo metadata`, files
//! and exit codes. Nothing here is needed to build or to run Belfry.
//!
//! | module | owns |
//! |---|---|
//! | [`ci`] | the steps of a complete check, in order, with their times |
//! | [`mod@test`] | set-up and a run of every test |
//! | [`mod@chaos`] | chaos by hand |
//! | [`postgres`] | the database server that the tests use |
//! | [`needs`] | the tools that the tests need and how to install them |
//! | [`packages`] | what tests need from the registries of npm and Python |
//! | [`arch`] | which crate may use which |
//! | [`drift`] | generated pages and whether they are up to date |
//! | [`changes`] | the fragments of the changelog |
//! | [`links`] | links between the pages of the documentation |
//! | [`run`] | starting other programs, the root of the repository |
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to the person at the terminal is what these commands do"
)]

mod arch;
mod changes;
mod chaos;
mod ci;
mod drift;
mod links;
mod needs;
mod packages;
mod postgres;
mod run;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Project commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Installs what is missing and runs every test.
    Test(test::Options),
    /// Breaks servers, databases and lines under load and counts what is lost.
    Chaos(chaos::Options),
    /// Runs a command with a throw-away PostgreSQL server for the tests; without one, waits for Ctrl-C.
    Postgres(postgres::Options),
    /// Checks that the crates use each other only as docs/ARCHITECTURE.md allows.
    Arch,
    /// Writes docs/reference/openapi.json from the routes.
    Openapi(drift::Options),
    /// Writes config/default.toml, docs/reference/configuration.md and docs/reference/cli.md from the code.
    Config(drift::Options),
    /// Joins docs/changes/*.md into the text of a release.
    Changes(changes::Options),
    /// Checks that the links between the pages lead somewhere.
    Links,
    /// Everything that must hold before a change is taken in.
    Ci,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(options) => test::test(&options),
        Command::Chaos(options) => chaos::chaos(&options),
        Command::Postgres(options) => postgres::postgres(&options),
        Command::Arch => arch::check(),
        Command::Openapi(options) => drift::openapi(options),
        Command::Config(options) => drift::config(options),
        Command::Changes(options) => changes::changes(options),
        Command::Links => links::check(),
        Command::Ci => ci::ci(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
