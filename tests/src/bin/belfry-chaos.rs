//! `belfry-chaos`: runs the scenarios of [`belfry_tests::chaos`] by hand; `cargo xtask chaos` builds and starts it.
#![expect(
    clippy::print_stdout,
    reason = "talking to the person at the terminal is what this does"
)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use belfry_tests::chaos::scenario::{SCENARIOS, Scenario, find};
use belfry_tests::chaos::{Options, run};
use clap::Parser;

/// The long form lets each scenario go on for so long.
const LONG_SECONDS: u64 = 120;

/// Kills nodes, breaks lines and annoys receivers under load, and counts what is lost.
#[derive(Debug, Parser)]
#[command(name = "belfry-chaos")]
struct Arguments {
    /// Runs only these scenarios; can be given several times. Absent: all.
    #[arg(long, value_name = "NAME", value_parser = scenario)]
    scenario: Vec<&'static Scenario>,
    /// What everything random comes from. Absent: another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Goes on with each scenario for so long; absent: every fault of it strikes a few times.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    seconds: u64,
    /// Goes on with each scenario for two minutes.
    #[arg(long, conflicts_with = "seconds")]
    long: bool,
    /// Events a second.
    #[arg(long, default_value_t = 120)]
    rate: u32,
    /// Only says which scenarios there are.
    #[arg(long)]
    list: bool,
}

fn scenario(name: &str) -> Result<&'static Scenario, String> {
    find(name).ok_or_else(|| {
        let names: Vec<_> = SCENARIOS.iter().map(|one| one.name).collect();
        format!("there are {}", names.join(", "))
    })
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list {
        for one in SCENARIOS {
            println!("{:<22} {}", one.name, one.proves);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let seed = arguments
        .seed
        .unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let seconds = if arguments.long {
        LONG_SECONDS
    } else {
        arguments.seconds
    };
    let options = Options {
        at_least: Duration::from_secs(seconds),
        rate: arguments.rate,
        ..Options::short(seed)
    };
    let chosen = if arguments.scenario.is_empty() {
        SCENARIOS.iter().collect()
    } else {
        arguments.scenario
    };
    let (mut passed, mut failed) = (0, 0);
    for one in chosen {
        let report = run(one, options).await.with_context(|| one.name)?;
        println!("{report}");
        if report.violations().is_empty() {
            passed += 1;
        } else {
            failed += 1;
            println!("{}", report.said());
            println!(
                "  again: cargo xtask chaos --scenario {} --seed {seed} --seconds {seconds}",
                one.name
            );
        }
        println!();
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
