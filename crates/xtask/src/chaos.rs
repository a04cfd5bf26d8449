//! Chaos by hand. What it does, its own program says; here it is only built and started.

use std::process::Command;

use anyhow::Result;

use crate::{needs, run};

/// The program among the black-box tests.
const PROGRAM: &str = "belfry-chaos";

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Passed on; `--help` after `--` shows what there is, such as `--list`, `--scenario`, `--seed`, `--long`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds everything and runs the program.
pub(crate) fn chaos(options: &Options) -> Result<()> {
    needs::provide()?;
    // The whole workspace, as for the tests: what they have built is used.
    run::run(&mut run::cargo(&["build", "--workspace", "--bins"]))?;
    let program = run::target()?.join("debug").join(PROGRAM);
    run::run(Command::new(program).args(&options.arguments))
}
