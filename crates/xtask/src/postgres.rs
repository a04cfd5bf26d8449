//! The database server that the tests use, from the start of a run to its end.

use std::process::Command;

use anyhow::{Context, Result};
use belfry_testdb::{Postgres, VARIABLE};

use crate::{needs, packages, run};

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The command and its arguments, such as `cargo nextest run -p belfry-store`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs the command with a server.
pub(crate) fn postgres(options: &Options) -> Result<()> {
    needs::provide()?;
    packages::provide()?;
    let database = Database::provide()?;
    let Some((program, arguments)) = options.command.split_first() else {
        println!("{VARIABLE}={}", database.url);
        eprintln!("xtask: ends with Ctrl-C");
        loop {
            std::thread::park();
        }
    };
    let mut command = Command::new(program);
    command.args(arguments);
    database.name_to(&mut command);
    packages::name_to(&mut command)?;
    run::run(&mut command)
}

/// A server for tests: the one that the environment names, else one of our own that ends with this value.
#[derive(Debug)]
pub(crate) struct Database {
    url: String,
    _server: Option<Postgres>,
}

impl Database {
    pub(crate) fn provide() -> Result<Self> {
        if let Ok(url) = std::env::var(VARIABLE) {
            return Ok(Self { url, _server: None });
        }
        let server = Postgres::start().context("PostgreSQL for the tests")?;
        Ok(Self {
            url: server.url(),
            _server: Some(server),
        })
    }

    /// Tells a command where the server is.
    pub(crate) fn name_to(&self, command: &mut Command) {
        command.env(VARIABLE, &self.url);
    }
}
