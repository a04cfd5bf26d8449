//! The files of the packaging refer to what exists. No container engine is needed for that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use belfry_testkit::Cli;
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())
}

/// Lines of the Dockerfile, continuation lines joined.
fn instructions() -> Result<Vec<String>> {
    let text = read("config/Dockerfile")?.replace("\\\n", " ");
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// The variables that an `ENV` instruction sets.
fn variables(instructions: &[String]) -> Vec<(String, String)> {
    let of = |line: &String| line.strip_prefix("ENV ").map(str::to_owned);
    let words: Vec<String> = instructions.iter().filter_map(of).collect();
    let pairs = words
        .iter()
        .flat_map(|line| line.split_whitespace())
        .filter_map(|word| word.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn the_settings_of_the_containers_are_settings() -> Result<()> {
    let home = tempfile::tempdir()?;
    let compose: Value = yaml_serde::from_str(&read("docker-compose.yml")?)?;
    let mut set = variables(&instructions()?);
    let environment = compose["services"]["belfry"]["environment"]
        .as_object()
        .context("environment")?;
    for (name, value) in environment {
        // A variable of whoever starts the containers, with its default.
        let default = value.as_str().and_then(|text| {
            let (_, default) = text
                .strip_prefix("${")?
                .strip_suffix('}')?
                .split_once(":-")?;
            Some(Value::from(default))
        });
        let value = default.as_ref().unwrap_or(value);
        set.push((
            name.clone(),
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        ));
    }
    ensure!(set.len() >= 4, "{set:?}");
    let mut cli = Cli::new(home.path());
    for (name, value) in &set {
        cli = cli.env(name, value);
    }
    cli.run(&["config", "check"]).await?.expect(0)?;
    // The check does check: a wrong name is found.
    let wrong = cli
        .env("BELFRY_SERVER__LISTN", "x")
        .run(&["config", "check"])
        .await?;
    ensure!(
        wrong.code == Some(2) && wrong.stderr.contains("BELFRY_SERVER__LISTEN"),
        "{wrong:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_containers_can_be_told_to_use_the_postgres_beside_them() -> Result<()> {
    let text = read("docker-compose.yml")?;
    let compose: Value = yaml_serde::from_str(&text)?;
    let url = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("BELFRY_STORE__URL="))
        .context("the URL in the comment")?;
    let postgres = &compose["services"]["postgres"]["environment"];
    let expected = format!(
        "postgres://{}:{}@postgres/{}",
        postgres["POSTGRES_USER"].as_str().context("user")?,
        postgres["POSTGRES_PASSWORD"].as_str().context("password")?,
        postgres["POSTGRES_DB"].as_str().context("database")?,
    );
    assert_eq!(url, expected);
    let home = tempfile::tempdir()?;
    let cli = Cli::new(home.path()).env("BELFRY_STORE__URL", url);
    cli.run(&["config", "check"]).await?.expect(0)?;
    Ok(())
}

#[test]
fn the_image_is_built_from_what_is_there() -> Result<()> {
    let instructions = instructions()?;
    let toolchain = read("Cargo.toml")?;
    let version = toolchain
        .split("rust-version = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let version = version.context("rust-version")?;
    ensure!(
        instructions
            .iter()
            .any(|line| line.starts_with(&format!("FROM rust:{version}-"))),
        "{version}"
    );
    ensure!(
        read(".github/workflows/ci.yml")?.contains(&format!("toolchain install {version}")),
        "{version}"
    );
    for needed in [
        "cargo build --release --locked --package belfry",
        "ca-certificates",
        "USER belfry",
        "VOLUME /data",
        "HEALTHCHECK",
    ] {
        ensure!(
            instructions.iter().any(|line| line.contains(needed)),
            "{needed}"
        );
    }
    // The build's context has every member of the workspace and everything that they embed.
    let ignored = read(".dockerignore")?;
    let kept: Vec<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    for path in &kept {
        ensure!(
            repository().join(path).exists(),
            ".dockerignore keeps {path}, which does not exist"
        );
    }
    for needed in ["Cargo.toml", "Cargo.lock", "crates", "tests", "migrations"] {
        ensure!(kept.contains(&needed), "the build needs {needed}");
    }
    Ok(())
}

#[test]
fn the_containers_fit_together() -> Result<()> {
    let compose: Value = yaml_serde::from_str(&read("docker-compose.yml")?)?;
    let services = compose["services"].as_object().context("services")?;
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["belfry", "postgres", "mail"]);
    ensure!(
        services["belfry"].get("profiles").is_none(),
        "the server starts without a profile"
    );
    for name in ["postgres", "mail"] {
        assert_eq!(
            services[name]["profiles"],
            serde_json::json!(["full"]),
            "{name}"
        );
    }
    let volumes: BTreeSet<&String> = compose["volumes"]
        .as_object()
        .context("volumes")?
        .keys()
        .collect();
    for service in services.values() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let name = volume
                .as_str()
                .and_then(|text| text.split(':').next())
                .context("volume")?;
            ensure!(
                volumes.contains(&name.to_owned()),
                "the volume {name} is not declared"
            );
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            ensure!(
                port.as_str()
                    .is_some_and(|port| port.starts_with("127.0.0.1:")),
                "{port} is open to everybody"
            );
        }
    }
    Ok(())
}

#[test]
fn the_operators_manual_names_settings_that_exist() -> Result<()> {
    let known = read("docs/reference/configuration.md")?;
    let manual = read("docs/operations/running.md")? + &read("docs/operations/postgres.md")?;
    let sections = [
        "server.",
        "data.",
        "store.",
        "ingest.",
        "engine.",
        "egress.",
        "secrets.",
        "auth.",
        "retention.",
        "log.",
        "metrics.",
    ];
    let mut count = 0;
    for quoted in manual.split('`').skip(1).step_by(2) {
        let name = quoted.split_whitespace().next().unwrap_or_default();
        // A secret can also be given by the name of its file.
        let name = name.strip_suffix("_file").unwrap_or(name);
        if sections.iter().any(|section| name.starts_with(section)) {
            count += 1;
            ensure!(
                known.contains(&format!("| `{name}` |")),
                "{name} is no setting"
            );
        }
    }
    ensure!(count > 10, "only {count} settings were found in the manual");
    Ok(())
}
