//! Generated pages: writes them, or checks that they are up to date.
//!
//! Each page belongs to a test of the crate that it describes: the test compares the page with the code, and writes
//! it instead when a variable of the environment says so. These commands only know which tests those are.

use anyhow::{Result, bail};

use crate::{needs, run};

/// Whether to write or to check.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// Changes nothing and fails when something is out of date.
    #[arg(long)]
    pub(crate) check: bool,
}

/// The description of the REST API.
pub(crate) fn openapi(options: Options) -> Result<()> {
    pages(options, "UPDATE_OPENAPI", OPENAPI_TESTS)
}

/// The pages of the settings and of the command line, and the file with the defaults.
pub(crate) fn config(options: Options) -> Result<()> {
    pages(options, "UPDATE_DOCS", CONFIG_TESTS)
}

/// Part of the names of the tests that own the pages.
const OPENAPI_TESTS: &str = "the_checked_in_document_is_the_one_that_is_served";
const CONFIG_TESTS: &str = "docs_of_the_";

fn pages(options: Options, variable: &str, tests: &str) -> Result<()> {
    // The whole workspace, for the reason given in `test::run_all`.
    let mut command = if needs::has_nextest() {
        run::cargo(&["nextest", "run", "--workspace", "--no-tests", "fail", tests])
    } else {
        run::cargo(&["test", "--workspace", "--tests", tests])
    };
    if options.check {
        command.env_remove(variable);
    } else {
        command.env(variable, "1");
    }
    let (count, result) = run::run_tests(&mut command)?;
    result?;
    if count.passed == 0 {
        bail!("no test with {tests:?} in its name was found: the page has no owner");
    }
    Ok(())
}
