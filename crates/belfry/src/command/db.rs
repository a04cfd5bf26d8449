//! `belfry db`: the database in the data directory, without a server or beside one.

use std::path::{Path, PathBuf};

use belfry_model::EventId;
use belfry_model::event::timestamp;
use belfry_store::copy::{CopyError, Place, Step};
use belfry_store::sqlite::SqliteStore;
use belfry_store::{Maintenance as _, PostgresOptions, PostgresStore, Store, Usage};
use clap::Subcommand;
use serde_json::{Value, json};

use super::show;
use crate::failure::{Context as _, Failure, Result, chain};
use crate::output::{Format, Output, Table};
use crate::serve::refused;
use crate::settings::{Settings, SettingsArgs, load_for};

/// Commands about the database.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Brings the database to this program's version; the server must not run. The start of a server does the same
    Migrate {
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Copies the database into a new file, also while a server runs
    Backup {
        /// The new file; one that exists is refused.
        to: PathBuf,
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Puts a backup in the place of the database; the server must not run
    Restore {
        /// The backup.
        from: PathBuf,
        /// Replaces a database that is there; it is kept beside it under another name.
        #[arg(long)]
        replace: bool,
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Copies everything into another database, from SQLite to Postgres or back; no server may run on either
    ///
    /// One of the two may be left out: it is then the database that a server with these settings would use, with its
    /// password file and certificates. The destination must be empty. What is copied becomes visible at the end or not at
    /// all, and is then compared with the source by number and digest of every table.
    Copy {
        /// A file, `sqlite:FILE` or `postgres://USER@HOST/DATABASE`; a password also from PGPASSWORD.
        #[arg(long, value_name = "DATABASE", required_unless_present = "to")]
        from: Option<String>,
        /// The same, empty or not there.
        #[arg(long, value_name = "DATABASE")]
        to: Option<String>,
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Shows sizes and numbers of rows, also while a server runs
    Stats {
        /// Where settings come from.
        #[command(flatten)]
        settings: SettingsArgs,
        /// How they are shown.
        #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Format,
    },
}

/// Does it.
pub async fn run(command: DbCommand) -> Result {
    let out = Output::new(Format::Table);
    match command {
        DbCommand::Migrate { settings } => {
            let settings = load_for(&settings)?.settings;
            if let Some(options) = settings.postgres() {
                let place = options.place();
                let store = PostgresStore::open(options)
                    .await
                    .map_err(|error| refused(&place, &error))?;
                store.close().await;
                return out.line(format!("{place} is at the version of this program"));
            }
            let path = settings.database();
            if !path.exists() {
                return Err(missing(&path));
            }
            let store = SqliteStore::open(settings.sqlite())
                .await
                .map_err(|error| refused(path.display(), &error))?;
            store.close().await;
            out.line(format!(
                "{} is at the version of this program",
                path.display()
            ))
        }
        DbCommand::Backup { to, settings } => {
            let store = reader(&settings).await?;
            let copied = store.backup(&to).await.context("the backup");
            store.close().await;
            copied?;
            let bytes = to.metadata().map_or(0, |metadata| metadata.len());
            out.line(format!("{} ({})", to.display(), bytes_shown(bytes)))?;
            out.note("keep secret.key as well, in another place: without it the secrets in the copy cannot be read");
            Ok(())
        }
        DbCommand::Restore {
            from,
            replace,
            settings,
        } => {
            let settings = load_for(&settings)?.settings;
            if let Some(options) = settings.postgres() {
                return Err(Failure::failed(format!(
                    "a backup is put in the place of a file, and store.url names {}",
                    options.place()
                ))
                .hint("a dump of Postgres goes back with pg_restore; what the backup holds gets there with belfry db copy --from FILE"));
            }
            let to = settings.database();
            let kept = SqliteStore::restore(&from, &to, replace)
                .await
                .map_err(|error| Failure::failed(error.to_string()))?;
            out.line(format!(
                "{} is now what {} holds",
                to.display(),
                from.display()
            ))?;
            if let Some(kept) = kept {
                out.note(format!("what was there is kept as {}", kept.display()));
            }
            out.note("deliveries that were open at the time of the backup are made (again) by the next start; receivers recognise them by webhook-id");
            Ok(())
        }
        DbCommand::Copy { from, to, settings } => {
            let settings = load_for(&settings)?.settings;
            let place = |named: Option<String>| {
                named.map_or_else(|| configured(&settings), |named| place(&named))
            };
            copy(&out, &place(from), &place(to)).await
        }
        DbCommand::Stats { settings, output } => {
            let store = reader(&settings).await?;
            let found = stats(&*store).await;
            store.close().await;
            show(Output::new(output), &found?)
        }
    }
}

/// The database of a server with these settings.
fn configured(settings: &Settings) -> Place {
    settings
        .postgres()
        .map_or_else(|| Place::Sqlite(settings.database()), Place::Postgres)
}

/// A file, or the URL of a database on a server.
fn place(text: &str) -> Place {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Place::Postgres(PostgresOptions::at(text));
    }
    let file = text.strip_prefix("sqlite:").unwrap_or(text);
    Place::Sqlite(file.strip_prefix("//").unwrap_or(file).into())
}

async fn copy(out: &Output, from: &Place, to: &Place) -> Result {
    // Hidden where nobody looks at a terminal.
    let bar = indicatif::ProgressBar::new(0);
    let mut tell = |step| match step {
        Step::Begins { rows } => bar.set_length(rows * 2),
        Step::Rows { table, rows } => {
            bar.set_message(table);
            bar.inc(rows);
        }
    };
    if let Ok(style) = indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let copied = belfry_store::copy::copy(from, to, &mut tell).await;
    bar.finish_and_clear();
    let copied = copied.map_err(|error| {
        Failure::failed(match &error {
            CopyError::Source(why) => format!("{from} cannot be copied: {}", chain(why)),
            CopyError::Destination(why) => format!("{to} cannot be copied to: {}", chain(why)),
        })
    })?;
    let mut table = Table::new(&["TABLE", "ROWS", "SHA-256"]);
    for one in &copied {
        table.row([
            one.table.to_owned(),
            one.rows.to_string(),
            one.digest.clone(),
        ]);
    }
    out.table(&table)?;
    out.note("both sides are the same; start the server on the new one with the same secret.key, and never again on the old one");
    Ok(())
}

async fn reader(args: &SettingsArgs) -> Result<Box<dyn Store>> {
    let settings = load_for(args)?.settings;
    if let Some(options) = settings.postgres() {
        let place = options.place();
        return match PostgresStore::open_reader(options).await {
            Ok(store) => Ok(Box::new(store)),
            Err(error) => Err(refused(place, &error)),
        };
    }
    let path = settings.database();
    if !path.exists() {
        return Err(missing(&path));
    }
    match SqliteStore::open_reader(&path).await {
        Ok(store) => Ok(Box::new(store)),
        Err(error) => Err(refused(path.display(), &error)),
    }
}

fn missing(path: &Path) -> Failure {
    Failure::not_found(format!("there is no database {}", path.display()))
        .hint("name the data directory with --data-dir or BELFRY_DATA__DIR; the first start of a server makes it")
}

async fn stats(store: &dyn Store) -> Result<(Usage, Vec<(String, u64)>)> {
    Ok((
        store.usage().await.context("sizes")?,
        store.stats().await.context("numbers of rows")?,
    ))
}

fn show(out: Output, (usage, stats): &(Usage, Vec<(String, u64)>)) -> Result {
    if out.format != Format::Table {
        let stats: serde_json::Map<String, Value> = stats
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(*value)))
            .collect();
        return out.document(&json!({ "usage": usage, "stats": stats }).to_string());
    }
    let at = |id: Option<EventId>| {
        id.and_then(|id| timestamp(id.time_ms()))
            .unwrap_or_default()
    };
    show::facts(
        out,
        &[
            ("in use", bytes_shown(usage.used_bytes)),
            ("files", bytes_shown(usage.file_bytes)),
            (
                "free on the disk",
                usage.disk_free_bytes.map(bytes_shown).unwrap_or_default(),
            ),
            ("oldest event", at(usage.oldest_event)),
            ("newest event", at(usage.newest_event)),
        ],
    )?;
    out.line("")?;
    let mut table = Table::new(&["WHAT", "NUMBER"]);
    for (name, value) in stats {
        table.row([name.clone(), value.to_string()]);
    }
    out.table(&table)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn bytes_shown(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = format!("{bytes} B");
    let mut value = bytes as f64;
    for unit in UNITS {
        value /= 1024.0;
        if value < 1.0 {
            break;
        }
        shown = format!("{value:.1} {unit}");
    }
    shown
}
