//! The command line: what can be said, and who does it.

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::bench;
use crate::client::{Client, ClientArgs};
use crate::command::{
    alarm, apply, catalog, config, db, delivery, function, key, log, replay, resource, send, tail,
    target, test,
};
use crate::failure::{Context as _, Result};
use crate::output::{Format, Output};
use crate::serve;
use crate::settings::SettingsArgs;

/// Self-hosted event bus: takes events over HTTP, matches them against rules, delivers them, and can prove it.
///
/// Without a command it starts the server. Exit codes: 0 done, 1 failed, 2 called wrongly or invalid input,
/// 3 not found, 4 differences found, 5 the server was taken over by another node and is to be started again.
#[derive(Debug, Parser)]
#[command(
    name = "belfry",
    version,
    max_term_width = 120,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Where a command finds the server, and how it shows the answer.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    #[command(flatten)]
    client: ClientArgs,
    /// How the answer is shown.
    #[arg(
        short,
        long,
        env = "BELFRY_OUTPUT",
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    output: Format,
}

impl Remote {
    /// The client and the output that were asked for.
    pub fn open(&self) -> Result<(Client, Output)> {
        Ok((Client::new(&self.client)?, Output::new(self.output)))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts the server
    Serve(SettingsArgs),
    /// Sends events
    Send(send::SendArgs),
    /// Shows live what becomes of events
    Tail(tail::TailArgs),
    /// Shows one thing
    Get(resource::GetArgs),
    /// Lists things
    List(resource::ListArgs),
    /// Deletes one thing
    Delete(resource::DeleteArgs),
    /// Makes buses and rules what files say
    Apply(apply::ApplyArgs),
    /// Shows what `apply` would change
    Diff(apply::DiffArgs),
    /// Tries the rules of a bus on an event
    #[command(subcommand)]
    Rule(test::RuleCommand),
    /// Tries a pattern on an event
    #[command(subcommand)]
    Pattern(test::PatternCommand),
    /// Shows what a target would send, or sends a test message
    #[command(subcommand)]
    Target(target::TargetCommand),
    /// What is open now, and who was told of it
    #[command(subcommand)]
    Alarm(alarm::AlarmCommand),
    /// One event and what became of it
    #[command(subcommand)]
    Event(delivery::EventCommand),
    /// One delivery with its attempts, or sending it again
    #[command(subcommand)]
    Delivery(delivery::DeliveryCommand),
    /// Stored events put onto their bus again
    #[command(subcommand)]
    Replay(replay::ReplayCommand),
    /// Products and events that are known
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// Code that rules call
    #[command(subcommand)]
    Function(function::FunctionCommand),
    /// API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Logs that log targets write
    #[command(subcommand)]
    Log(log::LogCommand),
    /// The server's settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// The database in the data directory
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Measures what this machine accepts and delivers with full durability
    Bench(bench::BenchArgs),
    /// Prints completions for a shell
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Prints the `OpenAPI` document of the server
    Openapi,
    /// Evaluates templates for a server that has started it; not for people
    #[command(name = EVAL_WORKER, hide = true)]
    EvalWorker,
}

/// How the program is started as a helper process that evaluates templates.
pub(crate) const EVAL_WORKER: &str = "eval-worker";

/// Does what was said.
pub fn run(cli: Cli) -> Result {
    match cli.command.unwrap_or(Command::Serve(cli.settings)) {
        Command::Serve(settings) => serve::run(&settings),
        Command::Bench(args) => bench::main(args),
        Command::Config(command) => config::run(&command),
        Command::Db(command) => block_on(db::run(command)),
        Command::EvalWorker => belfry_eval::work().context("the helper process for templates"),
        Command::Completions { shell } => completions(shell),
        Command::Openapi => Output::new(Format::Json).text(&serve::openapi()?),
        Command::Send(args) => block_on(send::run(args)),
        Command::Tail(args) => block_on(tail::run(args)),
        Command::Get(args) => block_on(resource::get(args)),
        Command::List(args) => block_on(resource::list(args)),
        Command::Delete(args) => block_on(resource::delete(args)),
        Command::Apply(args) => block_on(apply::apply(args)),
        Command::Diff(args) => block_on(apply::diff(args)),
        Command::Rule(command) => block_on(test::rule(command)),
        Command::Pattern(command) => block_on(test::pattern(command)),
        Command::Target(command) => block_on(target::run(command)),
        Command::Event(command) => block_on(delivery::event(command)),
        Command::Delivery(command) => block_on(delivery::delivery(command)),
        Command::Alarm(command) => block_on(alarm::run(command)),
        Command::Replay(command) => block_on(replay::run(command)),
        Command::Catalog(command) => block_on(catalog::run(command)),
        Command::Function(command) => block_on(function::run(command)),
        Command::Key(command) => block_on(key::run(command)),
        Command::Log(command) => block_on(log::run(command)),
    }
}

fn block_on(work: impl Future<Output = Result>) -> Result {
    use crate::failure::Context as _;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let result = runtime.block_on(work);
    // A reader of standard input may still wait for a line that never comes.
    runtime.shutdown_background();
    result
}

fn completions(shell: Shell) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "belfry", &mut script);
    Output::new(Format::Table).text(&String::from_utf8_lossy(&script))
}

/// `docs/reference/cli.md`: what is written by hand, then the help of every command.
pub fn reference() -> String {
    let mut out = String::from(include_str!("cli/reference.md"));
    let mut command = Cli::command().term_width(100);
    command.build();
    section(&mut out, &mut command, "belfry");
    out
}

fn section(out: &mut String, command: &mut clap::Command, path: &str) {
    // Described once, at the top of the page.
    let is_shared = |arg: &clap::Arg| matches!(arg.get_help_heading(), Some("Server" | "Output"));
    let mut shown = command
        .clone()
        .mut_args(|arg| if is_shared(&arg) { arg.hide(true) } else { arg });
    let help = shown.render_long_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    for part in [
        "\n## `",
        path,
        "`\n\n```text\n",
        &help.join("\n"),
        "\n```\n",
    ] {
        out.push_str(part);
    }
    for child in command
        .get_subcommands_mut()
        .filter(|child| child.get_name() != "help")
    {
        let path = format!("{path} {}", child.get_name());
        section(out, child, &path);
    }
}

#[cfg(test)]
mod tests;
