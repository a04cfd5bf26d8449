//! Everything that must hold before a change is taken in, in one command.
//!
//! The cheap steps come first, so that a slip is told within seconds. A failed step ends the run, with two exceptions:
//! a failed test does not hide the other tests, and the times of the steps are printed in any case.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::run::Count;
use crate::{arch, changes, drift, links, needs, run, test};

/// Runs all steps.
pub(crate) fn ci() -> Result<()> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut count = Count::default();
    let result = steps(&mut times, &mut count);
    println!("\nstep            seconds");
    for (name, took) in &times {
        println!("{name:<15} {:>7.1}", took.as_secs_f64());
    }
    println!("{:<15} {:>7.1}", "in all", start.elapsed().as_secs_f64());
    if let Err(error) = &result {
        println!("failed: {error:#}");
    }
    // The last line says what was tested; whether all is well the exit code says.
    println!("{}", test::closing_line(count));
    result
}

fn steps(times: &mut Vec<(&'static str, Duration)>, count: &mut Count) -> Result<()> {
    let mut step = |name: &'static str, action: &mut dyn FnMut() -> Result<()>| {
        println!("\n== {name}");
        let start = Instant::now();
        let result = action();
        times.push((name, start.elapsed()));
        result.with_context(|| format!("step {name}"))
    };
    step("tools", &mut needs::provide)?;
    step("format", &mut || {
        run::run(&mut run::cargo(&["fmt", "--all", "--check"]))
    })?;
    step("arch", &mut arch::check)?;
    step("links", &mut links::check)?;
    step("changes", &mut || {
        changes::changes(changes::Options { check: true })
    })?;
    step("lints", &mut || {
        run::run(&mut run::cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ]))
    })?;
    step("tests", &mut || {
        let (found, result) = test::run_all(&test::Options::default())?;
        count.add(found);
        result
    })?;
    // The tests have just compared the generated pages; this makes sure that the tests that do so exist.
    step("openapi", &mut || {
        drift::openapi(drift::Options { check: true })
    })?;
    step("config", &mut || {
        drift::config(drift::Options { check: true })
    })?;
    step("docs", &mut || {
        let mut command = run::cargo(&["doc", "--workspace", "--no-deps"]);
        run::run(command.env("RUSTDOCFLAGS", "--deny warnings"))
    })
}
