//! `belfry log`: logs that log targets write.

use clap::Subcommand;

use super::resource::{self, EventFilters};
use super::show;
use crate::cli::Remote;
use crate::client::{Call, segment};
use crate::failure::Result;

/// Commands about logs.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Lists logs
    List {
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Searches a log, newest first
    Search {
        /// The log.
        log: String,
        /// Which ones.
        #[command(flatten)]
        filters: EventFilters,
        /// At most so many entries.
        #[arg(short = 'n', long, default_value_t = 50)]
        limit: usize,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Does it.
pub async fn run(command: LogCommand) -> Result {
    match command {
        LogCommand::List { remote } => {
            let (client, out) = remote.open()?;
            let (logs, _) = resource::pages(&client, &Call::get("/v1/logs"), 10_000).await?;
            show::list(out, show::LOGS, &logs)
        }
        LogCommand::Search {
            log,
            filters,
            limit,
            remote,
        } => {
            let (client, out) = remote.open()?;
            let call = filters.apply(Call::get(format!("/v1/logs/{}/entries", segment(&log))));
            let (entries, _) = resource::pages(&client, &call, limit).await?;
            show::list(out, show::ENTRIES, &entries)
        }
    }
}
