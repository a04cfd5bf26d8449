//! Settings on the command line, and finding the file.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{FileSource, Flag, Loaded, Sources, load};
use crate::failure::{Failure, Result};

/// Where the server's settings come from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// Configuration file; else `BELFRY_CONFIG`, else `./belfry.toml` if it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on: server.listen.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Directory of the database: data.dir.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// human or json: log.format.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any setting; can be given several times.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

/// The file that is read when none is named.
const FILE_DEFAULT: &str = "belfry.toml";

/// Reads the settings of this process; every error in one failure.
pub fn load_for(args: &SettingsArgs) -> Result<Loaded> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        })
        .collect::<Vec<_>>();
    let named = args.config.clone().or_else(|| {
        variables
            .iter()
            .find(|(name, _)| name == "BELFRY_CONFIG")
            .map(|(_, value)| PathBuf::from(value))
    });
    let sources = Sources {
        file: find_file(named)?,
        flags: flags(args)?,
        variables,
    };
    load(&sources).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("  {problem}"))
            .collect();
        let count = match problems.len() {
            1 => "there is an error in the settings".to_owned(),
            many => format!("there are {many} errors in the settings"),
        };
        Failure::usage(format!("{count}:\n{}", lines.join("\n"))).hint(
            "every setting is described in docs/reference/configuration.md and config/default.toml",
        )
    })
}

fn find_file(named: Option<PathBuf>) -> Result<Option<FileSource>> {
    let (path, must_exist) = match named {
        Some(path) => (path, true),
        None => (Path::new(FILE_DEFAULT).to_owned(), false),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(FileSource { path, text })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(Failure::usage(format!(
            "the configuration file {} cannot be read: {error}",
            path.display()
        ))),
    }
}

fn flags(args: &SettingsArgs) -> Result<Vec<Flag>> {
    let mut flags = Vec::new();
    for text in &args.set {
        let (path, value) = text.split_once('=').ok_or_else(|| {
            Failure::usage(format!(
                "--set {text}: expected SECTION.KEY=VALUE, for example --set log.level=debug"
            ))
        })?;
        flags.push(Flag {
            shown: format!("--set {path}"),
            path: path.trim().to_owned(),
            value: value.to_owned(),
        });
    }
    // After --set: whoever writes both means the one with a name of its own.
    for (shown, path, value) in [
        ("--listen", "server.listen", &args.listen),
        ("--data-dir", "data.dir", &args.data_dir),
        ("--log-format", "log.format", &args.log_format),
    ] {
        if let Some(value) = value {
            flags.push(Flag {
                shown: shown.to_owned(),
                path: path.to_owned(),
                value: value.clone(),
            });
        }
    }
    Ok(flags)
}
