//! Runs every test, after setting up what they need.

use anyhow::{Result, bail};

use crate::postgres::Database;
use crate::run::Count;
use crate::{needs, packages, run};

/// What to test.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Leaves out the black-box tests and the examples in the documentation.
    #[arg(long)]
    quick: bool,
    /// Runs only tests whose names hold one of these texts.
    filters: Vec<String>,
}

/// Runs the tests and prints how many there were.
pub(crate) fn test(options: &Options) -> Result<()> {
    needs::provide()?;
    let (count, result) = run_all(options)?;
    println!("{}", closing_line(count));
    result
}

/// The last line of a run, for people and for programs that read it.
pub(crate) fn closing_line(count: Count) -> String {
    format!("{} passed, {} failed", count.passed, count.failed)
}

/// Builds everything once, then runs it. Gives the sum of all runners even when one of them failed.
///
/// Every command names the whole workspace: another choice of packages unites the features of dependencies
/// differently, and half of them would be built a second time.
pub(crate) fn run_all(options: &Options) -> Result<(Count, Result<()>)> {
    // The black-box tests start the binary that this leaves in the target directory.
    run::run(&mut run::cargo(&[
        "build",
        "--workspace",
        "--bins",
        "--tests",
    ]))?;

    packages::provide()?;
    let database = Database::provide()?;
    let mut runs = vec![tests(options)];
    // Doc tests take no filter by default: a filter names a test, and they have no names.
    if !options.quick && options.filters.is_empty() {
        runs.push(run::cargo(&[
            "test",
            "--workspace",
            "--doc",
            "--no-fail-fast",
        ]));
    }
    let mut count = Count::default();
    let mut outcome = Ok(());
    for mut command in runs {
        database.name_to(&mut command);
        packages::name_to(&mut command)?;
        let (found, result) = run::run_tests(&mut command)?;
        count.add(found);
        outcome = outcome.and(result);
    }
    if count == Count::default() && outcome.is_ok() {
        bail!("no test was run");
    }
    Ok((count, outcome))
}

fn tests(options: &Options) -> std::process::Command {
    let mut command = if needs::has_nextest() {
        let mut command = run::cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]);
        if std::env::var_os("CI").is_some() {
            command.args(["--profile", "ci"]);
        }
        command
    } else {
        run::cargo(&["test", "--workspace", "--tests", "--no-fail-fast"])
    };
    if options.quick {
        command.args(["--exclude", "belfry-tests"]);
    }
    if !options.filters.is_empty() {
        command.arg("--").args(&options.filters);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_is_the_plain_one() {
        assert_eq!(
            closing_line(Count {
                passed: 7,
                failed: 1
            }),
            "7 passed, 1 failed"
        );
    }

    #[test]
    fn a_quick_run_leaves_out_the_black_box_tests() {
        let words = |options: &Options| {
            let command = tests(options);
            let words: Vec<_> = command
                .get_args()
                .map(|word| word.to_string_lossy())
                .collect();
            words.join(" ")
        };
        assert!(
            words(&Options {
                quick: true,
                filters: Vec::new()
            })
            .contains("--exclude belfry-tests")
        );
        let filtered = words(&Options {
            quick: false,
            filters: vec!["chaos".into()],
        });
        assert!(filtered.ends_with("-- chaos"), "{filtered}");
    }
}
