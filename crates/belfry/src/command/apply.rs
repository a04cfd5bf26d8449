//! `belfry apply` and `belfry diff`: making buses, rules, archives and named documents what files say.
//!
//! All documents are read first, then all are tried on the server (`dryRun`), and only when everything is valid is
//! anything changed: buses, named documents, rules, archives, then what `--prune` removes. A run that is cut short is repeated as it is.

mod compare;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use http::{Method, StatusCode};
use serde_json::Value;

use self::compare::{comparable, revisions, under_spec, yaml};
use super::resource;
use crate::cli::Remote;
use crate::client::{Answer, Call, Client, problem};
use crate::declare::{Document, Identity, load};
use crate::difference::{Line, difference};
use crate::failure::{Context as _, Exit, Failure, Result};
use crate::output::{Colour, Format, Output, Table};

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// File or directory with documents, - for standard input; can be given several times.
    #[arg(short, long = "file", required = true, value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Deletes rules that no document describes, on the buses that the documents name. Archives stay: they hold events.
    #[arg(long)]
    prune: bool,
    /// Says what would be done, and does nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// File or directory with documents, - for standard input; can be given several times.
    #[arg(short, long = "file", required = true, value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Shows also what `apply --prune` would delete.
    #[arg(long)]
    prune: bool,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// What is to be done about one thing.
#[derive(Debug)]
struct Step {
    identity: Identity,
    action: Action,
    /// The document; `None` for what is deleted.
    document: Option<Document>,
    /// As it is, and as it would be: in YAML, without what only the server writes.
    before: String,
    after: String,
    /// Revisions of the thing and its targets as it is.
    revisions: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Create,
    Update,
    Delete,
    Nothing,
}

impl Action {
    const fn done(self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Update => "updated",
            Self::Delete => "deleted",
            Self::Nothing => "unchanged",
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update | Self::Nothing => "update",
            Self::Delete => "delete",
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Makes it so.
pub async fn apply(args: ApplyArgs) -> Result {
    let documents = load(&args.files, &variable)?;
    let (client, out) = args.remote.open()?;
    let steps = plan(&client, documents, args.prune).await?;
    let mut table = Table::new(&["WHAT", "DONE"]);
    let mut report = Vec::new();
    for step in &steps {
        let done = if !args.dry_run {
            run(&client, step, out)
                .await
                .map_err(|failure| failure.at(&step.identity))?
                .done()
                .to_owned()
        } else if step.action == Action::Update && step.before == step.after {
            "would be updated if a secret is another one".to_owned()
        } else if step.action == Action::Nothing {
            step.action.done().to_owned()
        } else {
            format!("would be {}", step.action.done())
        };
        report.push(serde_json::json!({ "resource": step.identity.to_string(), "done": done }));
        table.row([step.identity.to_string(), done]);
    }
    if out.format == Format::Table {
        out.table(&table)
    } else {
        out.document(&Value::from(report).to_string())
    }
}

/// Shows what would change.
pub async fn diff(args: DiffArgs) -> Result {
    let documents = load(&args.files, &variable)?;
    let (client, out) = args.remote.open()?;
    let steps = plan(&client, documents, args.prune).await?;
    let mut differs = false;
    for step in &steps {
        let lines = difference(&step.before, &step.after);
        differs |= !lines.is_empty();
        if !lines.is_empty() {
            out.line(out.paint(
                Colour::Bold,
                &format!("{} ({})", step.identity, step.action.verb()),
            ))?;
        }
        for line in lines {
            out.line(match line {
                Line::Gap => out.paint(Colour::Cyan, "@@"),
                Line::Same(text) => format!("  {text}"),
                Line::Old(text) => out.paint(Colour::Red, &format!("- {text}")),
                Line::New(text) => out.paint(Colour::Green, &format!("+ {text}")),
            })?;
        }
    }
    if differs {
        Err(Failure::silent(Exit::Different))
    } else {
        Ok(())
    }
}

/// Tries everything; every document that the server refuses is reported.
async fn plan(client: &Client, documents: Vec<Document>, prune: bool) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut errors = Vec::new();
    let mut exit = Exit::Usage;
    let described: BTreeSet<Identity> = documents
        .iter()
        .map(|document| document.identity.clone())
        .collect();
    let mut new_buses = BTreeSet::new();
    for document in documents {
        let identity = document.identity.clone();
        let bus = identity
            .bus()
            .filter(|_| !matches!(identity, Identity::Bus(_)));
        if bus.is_some_and(|bus| new_buses.contains(bus)) {
            // The server cannot try what is on a bus that is not there yet; it will judge it when it is made.
            let after = yaml(&serde_json::from_str(&document.shown).context(&document.place)?)?;
            let (before, revisions) = (String::new(), Vec::new());
            steps.push(Step {
                identity,
                action: Action::Create,
                document: Some(document),
                before,
                after,
                revisions,
            });
            continue;
        }
        let found = client.find(&Call::get(identity.path())).await?;
        let tried = client.send(&put(&document).query("dryRun", "true")).await?;
        if !tried.status.is_success() {
            if tried.status == StatusCode::UNAUTHORIZED || tried.status == StatusCode::FORBIDDEN {
                return Err(problem::failure(&tried, true));
            }
            if tried.status.is_server_error() || tried.status == StatusCode::TOO_MANY_REQUESTS {
                exit = Exit::Failed;
            }
            errors.push(format!(
                "{} ({identity}): {}",
                document.place,
                under_spec(&tried)
            ));
            continue;
        }
        let found = found.as_ref().map(Answer::json).transpose()?;
        let revisions = found.as_ref().map(revisions).unwrap_or_default();
        let before = found.as_ref().map(comparable).transpose()?;
        let after = comparable(&tried.json()?)?;
        let action = match &before {
            None => Action::Create,
            // Masked secrets look alike whatever they are, so documents that bring some are always sent.
            Some(before) if *before == after && !document.has_references => Action::Nothing,
            Some(_) => Action::Update,
        };
        if let (Action::Create, Identity::Bus(bus)) = (action, &identity) {
            new_buses.insert(bus.clone());
        }
        let before = before.unwrap_or_default();
        steps.push(Step {
            identity,
            action,
            document: Some(document),
            before,
            after,
            revisions,
        });
    }
    if !errors.is_empty() {
        let failure = Failure::usage(errors.join("\n")).hint("nothing was changed");
        return Err(Failure { exit, ..failure });
    }
    if prune {
        let buses: BTreeSet<_> = described
            .iter()
            .filter_map(|identity| identity.bus().cloned())
            .collect();
        for bus in buses.difference(&new_buses) {
            let (rules, _) = resource::pages(
                client,
                &Call::get(format!("/v1/buses/{bus}/rules")),
                usize::MAX,
            )
            .await?;
            for rule in rules {
                let Some(name) = rule
                    .get("name")
                    .and_then(Value::as_str)
                    .and_then(|name| name.parse().ok())
                else {
                    continue;
                };
                let identity = Identity::Rule(bus.clone(), name);
                if !described.contains(&identity) {
                    let (before, after) = (comparable(&rule)?, String::new());
                    let revisions = revisions(&rule);
                    steps.push(Step {
                        identity,
                        action: Action::Delete,
                        document: None,
                        before,
                        after,
                        revisions,
                    });
                }
            }
        }
    }
    Ok(steps)
}

/// Does it; answers what was really done.
async fn run(client: &Client, step: &Step, out: Output) -> Result<Action> {
    let answer = match (&step.document, step.action) {
        (_, Action::Nothing) => return Ok(Action::Nothing),
        (Some(document), _) => client
            .call(&put(document))
            .await
            .map_err(|failure| failure.at(&document.place))?,
        (None, _) => {
            client
                .call(&Call::new(Method::DELETE, step.identity.path()))
                .await?;
            return Ok(Action::Delete);
        }
    };
    // Secrets that the server made are shown now or never.
    let answer = answer.json()?;
    tell_secrets(out, &step.identity.to_string(), &answer);
    for (name, target) in answer
        .get("targets")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        tell_secrets(out, &format!("{} target {name}", step.identity), target);
    }
    let same = step.action == Action::Update && revisions(&answer) == step.revisions;
    Ok(if same { Action::Nothing } else { step.action })
}

fn tell_secrets(out: Output, whose: &str, of: &Value) {
    let secrets = of.get("generatedSecrets").and_then(Value::as_array);
    for secret in secrets.into_iter().flatten() {
        let of = |name: &str| secret.get(name).and_then(Value::as_str).unwrap_or_default();
        out.note(format!(
            "{whose}: {} was made by the server, shown only now: {}",
            of("pointer"),
            of("value")
        ));
    }
}

fn put(document: &Document) -> Call {
    Call::new(Method::PUT, document.identity.path()).body("application/json", document.body.clone())
}
