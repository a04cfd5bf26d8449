//! `belfry config`: the server's settings without a server.

use clap::{Subcommand, ValueEnum};

use crate::failure::Result;
use crate::output::{Format, Output};
use crate::settings::{SettingsArgs, effective_toml, load_for};

/// Commands about settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Checks the settings without starting; exit code 2 and every error if something is wrong
    Check {
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Prints every setting in force and where it came from, secrets masked
    Print {
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArgs,
        /// How they are shown.
        #[arg(short, long, value_enum, default_value_t)]
        output: Shown,
    },
}

/// How settings are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    /// As a file that would give them.
    #[default]
    Toml,
    /// As a list of objects with key, value and origin.
    Json,
}

/// Does it.
pub fn run(command: &ConfigCommand) -> Result {
    match command {
        ConfigCommand::Check { settings } => {
            let loaded = load_for(settings)?;
            let changed = loaded.effective.iter().filter(|one| one.is_set()).count();
            Output::new(Format::Table).line(format!(
                "The settings are valid; {changed} differ from the defaults or repeat them."
            ))
        }
        ConfigCommand::Print { settings, output } => {
            let loaded = load_for(settings)?;
            let out = Output::new(Format::Json);
            match output {
                Shown::Toml => out.text(&effective_toml(&loaded.effective)),
                Shown::Json => {
                    let all: Vec<serde_json::Value> = loaded
                        .effective
                        .iter()
                        .map(|one| {
                            serde_json::json!({
                                "key": one.setting.path(),
                                "toml": one.toml,
                                "origin": one.origin.to_string(),
                            })
                        })
                        .collect();
                    out.document(&serde_json::Value::from(all).to_string())
                }
            }
        }
    }
}
