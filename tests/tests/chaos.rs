//! The short form of every scenario of chaos: nothing accepted is lost, and everything is accounted for.

use anyhow::{Context, Result, ensure};
use belfry_tests::chaos::scenario::{self, SCENARIOS};
use belfry_tests::chaos::{Options, run};

/// A number from the environment.
fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// What a test runs of a scenario. The environment gives the seed of an earlier run, or more rounds.
fn options(name: &str) -> Options {
    let seed = asked("BELFRY_CHAOS_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut options = Options::short(seed);
    options.rounds = asked("BELFRY_CHAOS_ROUNDS");
    if name == "sqlite-kill" {
        // As fast as it goes: a kill should find a lot on its way. A hundred of them where changes are checked.
        options.rate = 1_000;
        let in_ci = std::env::var_os("CI").is_some();
        options.rounds = options.rounds.or_else(|| in_ci.then_some(100));
    }
    options
}

async fn hold(name: &str) -> Result<()> {
    let scenario = scenario::find(name).context("no such scenario")?;
    let report = run(scenario, options(name)).await?;
    show(&report.to_string());
    let violations = report.violations();
    if !violations.is_empty() {
        show(report.said());
    }
    let again = format!("again with BELFRY_CHAOS_SEED={}", report.seed());
    ensure!(violations.is_empty(), "{}\n{again}", violations.join("\n"));
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "what a run saw is worth reading, not only whether it passed"
)]
fn show(report: &str) {
    println!("{report}");
}

/// One test for each scenario, and the list of them.
macro_rules! scenarios {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() -> Result<()> {
                hold($name).await
            }
        )*

        const TESTED: &[&str] = &[$($name),*];
    };
}

scenarios! {
    sqlite_receiver: "sqlite-receiver",
    sqlite_network: "sqlite-network",
    sqlite_kill: "sqlite-kill",
    sqlite_node: "sqlite-node",
    sqlite_everything: "sqlite-everything",
    postgres_node: "postgres-node",
    postgres_database: "postgres-database",
    postgres_three_nodes: "postgres-three-nodes",
    postgres_three_database: "postgres-three-database",
    postgres_three_rolling: "postgres-three-rolling",
}

/// The one in which everything meets is run by hand, see `docs/operations/chaos.md`.
#[test]
fn every_scenario_but_the_longest_has_its_test() {
    let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names, [TESTED, &["postgres-three-everything"]].concat());
}
