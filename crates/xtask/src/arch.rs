//! Checks which crate uses which against the table in `docs/ARCHITECTURE.md`.
//!
//! The page is the one source: it is read, not repeated here. A crate may use what its row names. For its own tests
//! it may also use `testkit`, `testdb` and whatever it reaches through the crates it names.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::run;

const PAGE: &str = "docs/ARCHITECTURE.md";
/// The package of black-box tests is no crate of the page's table: it may know only what its users know.
const BLACK_BOX: (&str, &[&str]) = ("tests", &["testkit", "model"]);

/// Crates that any crate may use for its own tests.
const FOR_TESTS: &[&str] = &["testkit", "testdb"];

/// Third-party crates that only some crates may name, so that each stays replaceable in one place.
const BOUNDARIES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("hyper-rustls", &["egress", "belfry"]),
    ("reqwest", &["testkit", "tests"]),
    ("lettre", &["targets"]),
    ("axum", &["api", "belfry", "testkit", "tests"]),
];

/// Who may use whom, by the short names of the page.
type Table = BTreeMap<String, BTreeSet<String>>;

/// Checks the workspace.
pub(crate) fn check() -> Result<()> {
    let page = std::fs::read_to_string(run::root().join(PAGE)).context(PAGE)?;
    let table = read_table(&page)?;
    let text = run::output(&mut run::cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata")?;
    let problems = problems(&table, &metadata);
    if !problems.is_empty() {
        bail!(
            "the crates are not as {PAGE} says:\n  {}",
            problems.join("\n  ")
        );
    }
    println!(
        "arch: {} crates, every edge is allowed",
        metadata.packages.len()
    );
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for an ordinary one.
    kind: Option<String>,
}

fn problems(table: &Table, metadata: &Metadata) -> Vec<String> {
    let mut problems = Vec::new();
    let mut unseen: BTreeSet<&str> = table.keys().map(String::as_str).collect();
    for package in &metadata.packages {
        let name = short(&package.name);
        unseen.remove(name);
        let Some(allowed) = table.get(name) else {
            problems.push(format!("crate {name} is not in the table"));
            continue;
        };
        let for_tests = reached(table, allowed);
        for dependency in &package.dependencies {
            let dev = dependency.kind.as_deref() == Some("dev");
            let other = short(&dependency.name);
            if let Some((_, owners)) = BOUNDARIES.iter().find(|(third, _)| *third == other) {
                // Tests may talk HTTP themselves; a database they may not open behind the store's back.
                if !owners.contains(&name) && (!dev || other == "sqlx") {
                    problems.push(format!(
                        "{name} uses {other}, which belongs to {}",
                        owners.join(", ")
                    ));
                }
            } else if is_ours(&dependency.name) {
                let test_edge = dev && (FOR_TESTS.contains(&other) || for_tests.contains(other));
                if !allowed.contains(other) && !test_edge {
                    let kind = if dev { " for its tests" } else { "" };
                    problems.push(format!("{name} uses {other}{kind}"));
                }
            }
        }
    }
    problems.extend(
        unseen
            .into_iter()
            .map(|name| format!("the table names {name}, which does not exist")),
    );
    problems
}

/// Everything that is reached from the crates in `from`, themselves included.
fn reached(table: &Table, from: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&String> = from.iter().collect();
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(table.get(name).into_iter().flatten());
        }
    }
    found
}

/// Reads the table below the heading "The crates": the first column names a crate, the last what it may use.
fn read_table(page: &str) -> Result<Table> {
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with("The crates"))
        .with_context(|| format!("{PAGE} has no section \"The crates\""))?;
    let rows: Vec<(String, &str)> = section
        .lines()
        .filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'))
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = quoted(cells.first()?).into_iter().next()?;
            Some((name, *cells.last()?))
        })
        .collect();
    let crates: BTreeSet<String> = rows.iter().map(|(name, _)| name.clone()).collect();
    if crates.is_empty() {
        bail!("{PAGE} has no table of crates");
    }
    let mut table = Table::new();
    for (name, cell) in rows {
        let named = quoted(cell);
        if let Some(unknown) = named.iter().find(|other| !crates.contains(*other)) {
            bail!("{PAGE}: the row of {name} names {unknown}, which has no row");
        }
        let uses = if cell.starts_with("all but") {
            // Itself is left out, and so are the commands of the project, which nothing is built on.
            let left_out =
                |other: &String| named.contains(other) || *other == name || other == "xtask";
            crates
                .iter()
                .filter(|other| !left_out(other))
                .cloned()
                .collect()
        } else {
            named.into_iter().collect()
        };
        table.insert(name, uses);
    }
    let (tests, uses) = BLACK_BOX;
    table.insert(
        tests.to_owned(),
        uses.iter().map(|name| (*name).to_owned()).collect(),
    );
    Ok(table)
}

/// The texts between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn is_ours(package: &str) -> bool {
    package == "belfry" || package.starts_with("belfry-")
}

/// The name that the page uses: `belfry-store` is `store`.
fn short(package: &str) -> &str {
    package.strip_prefix("belfry-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# A\n\n## The crates\n\n\
        | crate | owns | may use |\n|---|---|---|\n\
        | `model` | words | – |\n\
        | `store` | tables | `model` |\n\
        | `app` | use-cases | `model` `store` |\n\
        | `api` | routes | `app` |\n\
        | `belfry` | wiring | all but `testkit` |\n\
        | `testkit` | fakes | `model` (dev-dependency only) |\n\
        | `xtask` | commands | – |\n\n## Next\n\n| `other` | x | y |\n";

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency {
                name: (*name).to_owned(),
                kind: kind.map(str::to_owned),
            })
            .collect();
        Package {
            name: name.to_owned(),
            dependencies,
        }
    }

    /// The problems of one package among all those that the sample names.
    fn found(package: Package) -> Vec<String> {
        let table = read_table(SAMPLE).unwrap();
        let mut packages: Vec<_> = table
            .keys()
            .map(|name| {
                if name == "belfry" {
                    name.clone()
                } else {
                    format!("belfry-{name}")
                }
            })
            .filter(|name| *name != package.name)
            .map(|name| self::package(&name, &[]))
            .collect();
        packages.push(package);
        problems(&table, &Metadata { packages })
    }

    #[test]
    fn the_table_is_read_from_the_page() {
        let table = read_table(SAMPLE).unwrap();
        let uses = |name: &str| {
            table[name]
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(uses("app"), "model store");
        assert_eq!(uses("belfry"), "api app model store");
        assert_eq!(uses("testkit"), "model");
        assert!(!table.contains_key("other"));
    }

    #[test]
    fn edges_of_the_table_are_allowed_and_others_are_named() {
        assert!(
            found(package(
                "belfry-app",
                &[("belfry-store", None), ("serde", None)]
            ))
            .is_empty()
        );
        assert_eq!(
            found(package("belfry-store", &[("belfry-app", None)])),
            ["store uses app"]
        );
        assert_eq!(
            found(package("belfry-api", &[("belfry-store", None)])),
            ["api uses store"]
        );
        assert_eq!(
            found(package("belfry-app", &[("belfry-testkit", None)])),
            ["app uses testkit"]
        );
    }

    #[test]
    fn tests_may_use_the_testkit_and_what_is_reached_anyway() {
        let dev = Some("dev");
        assert!(
            found(package(
                "belfry-api",
                &[("belfry-store", dev), ("belfry-testkit", dev)]
            ))
            .is_empty()
        );
        assert_eq!(
            found(package("belfry-store", &[("belfry-api", dev)])),
            ["store uses api for its tests"]
        );
    }

    #[test]
    fn third_party_crates_stay_where_they_belong() {
        let dev = Some("dev");
        assert!(found(package("belfry-store", &[("sqlx", None)])).is_empty());
        assert_eq!(
            found(package("belfry-app", &[("sqlx", None)])),
            ["app uses sqlx, which belongs to store"]
        );
        assert_eq!(
            found(package("belfry-app", &[("sqlx", dev)])),
            ["app uses sqlx, which belongs to store"]
        );
        assert!(found(package("belfry-app", &[("reqwest", dev)])).is_empty());
        assert_eq!(
            found(package("belfry-app", &[("reqwest", None)])),
            ["app uses reqwest, which belongs to testkit, tests"]
        );
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_named() {
        assert_eq!(
            found(package("belfry-common", &[])),
            ["crate common is not in the table"]
        );
        let table = read_table(SAMPLE).unwrap();
        let none = Metadata {
            packages: Vec::new(),
        };
        assert_eq!(problems(&table, &none).len(), table.len());
    }

    #[test]
    fn this_workspace_keeps_to_its_page() {
        check().unwrap();
    }
}
