//! `belfry function`: code that rules call.

mod pack;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};

use super::resource::{moment, pages};
use super::{read_input, show};
use crate::cli::Remote;
use crate::client::sse::{SseEvent, Stream};
use crate::client::{Call, Client, segment};
use crate::failure::{Failure, Result};
use crate::output::{Format, Output, printable};

/// Commands about functions.
#[derive(Debug, Subcommand)]
pub enum FunctionCommand {
    /// Sends a function's code and settings, and says whether it loads
    Deploy(Box<DeployArgs>),
    /// Runs a function and shows what it answers
    Invoke(Box<InvokeArgs>),
    /// Shows what invocations have printed and how they ended
    Logs(LogsArgs),
    /// Lists invocations, newest first: what was run, when, and how it ended
    Invocations(InvocationsArgs),
    /// Lists functions
    List {
        /// At most so many.
        #[arg(short = 'n', long, default_value_t = 50)]
        limit: usize,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Shows a function
    Show(OneArgs),
    /// Lists the published versions of a function
    Versions(OneArgs),
    /// Makes a version of a function that never changes
    Publish {
        /// The function: NAMESPACE/NAME, or NAME in `default`.
        name: String,
        /// What is new in it.
        #[arg(long, default_value = "")]
        description: String,
        /// Lets this alias point to it.
        #[arg(long, value_name = "ALIAS")]
        alias: Option<String>,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Names that point to versions
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Deletes a function with its versions and aliases
    Delete {
        /// The function: NAMESPACE/NAME, or NAME in `default`.
        name: String,
        /// Even if rules use it.
        #[arg(long)]
        force: bool,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Shows what the server can run, how it is shut in, and what runs now
    Status {
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Commands about aliases.
#[derive(Debug, Subcommand)]
pub enum AliasCommand {
    /// Lets an alias point to a version, or to several by weight
    Set {
        /// The function: NAMESPACE/NAME, or NAME in `default`.
        name: String,
        /// The alias, such as `live`; `$DEFAULT` is what rules use that name none.
        alias: String,
        /// The version that it points to: a number or `$LATEST`.
        version: String,
        /// Gives another version this share of the events: `4=0.1`. Several: repeat it.
        #[arg(long = "weight", value_name = "VERSION=SHARE")]
        weights: Vec<String>,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
    /// Lists the aliases of a function
    List(OneArgs),
    /// Deletes an alias
    Delete {
        /// The function: NAMESPACE/NAME, or NAME in `default`.
        name: String,
        /// The alias.
        alias: String,
        /// Where the server is.
        #[command(flatten)]
        remote: Remote,
    },
}

/// One function.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The function: NAMESPACE/NAME, or NAME in `default`.
    name: String,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// What to deploy.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// A file with the code, a folder, or a zip file. A folder is packed whole but for .git; its function.toml, .yaml or .json, if
    /// there is one, holds settings by the names of the API.
    code: PathBuf,
    /// The function: NAMESPACE/NAME, or NAME in `default`. It is made, or changed where something is said.
    #[arg(long)]
    name: String,
    /// `nodejs`, `python`, `exec` or `custom`, or a vendor's name for one; for a file known by its name.
    #[arg(long)]
    runtime: Option<String>,
    /// Whose functions it is written like: `scf`, `fc` or `lambda`.
    #[arg(long)]
    profile: Option<String>,
    /// `file.function`, such as `index.main_handler`.
    #[arg(long)]
    handler: Option<String>,
    /// An environment variable. Several: repeat it.
    #[arg(long = "env", value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// An environment variable with the value of a named secret. Several: repeat it.
    #[arg(long = "secret-env", value_name = "KEY=SECRET")]
    secret_env: Vec<String>,
    /// A layer: a folder of packages that the server's operator keeps. Several: repeat it.
    #[arg(long = "layer", value_name = "NAME")]
    layers: Vec<String>,
    /// Seconds that an invocation may take.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// MB of memory that it may take.
    #[arg(long, value_name = "MB")]
    memory: Option<u32>,
    /// Invocations at once.
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Whether it may use the network: `all` or `none`.
    #[arg(long)]
    network: Option<String>,
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// Publishes it as a version when it loads.
    #[arg(long)]
    publish: bool,
    /// Does not try whether it loads.
    #[arg(long, conflicts_with = "publish")]
    no_check: bool,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// What to run, and on what.
#[derive(Debug, Args)]
pub struct InvokeArgs {
    /// The function: NAMESPACE/NAME, or NAME in `default`.
    name: String,
    /// The event, as JSON; `{}` if nothing is said.
    #[arg(long, value_name = "JSON", group = "input")]
    data: Option<String>,
    /// A file with the event, - for standard input.
    #[arg(long, value_name = "FILE", group = "input")]
    file: Option<PathBuf>,
    /// A sample of the catalog, such as `cvm/disk-readonly`.
    #[arg(long, group = "input")]
    template: Option<String>,
    /// An event that was accepted: evt_...
    #[arg(long = "event", value_name = "ID", group = "input")]
    event: Option<String>,
    /// A version, an alias or `$LATEST`.
    #[arg(long, default_value = "$DEFAULT")]
    qualifier: String,
    /// Does not wait: it is durable, and tried again like a delivery.
    #[arg(long = "async", conflicts_with = "dry_run")]
    later: bool,
    /// Only says whether it could be run, and which version would.
    #[arg(long)]
    dry_run: bool,
    /// Also shows what it has printed.
    #[arg(long)]
    log: bool,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Whose invocations, and how they are shown.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The function: NAMESPACE/NAME, or NAME in `default`; or the id of one invocation.
    name: String,
    /// Goes on with what is printed from now on, until interrupted.
    #[arg(short, long, conflicts_with_all = ["limit", "outcome", "since", "until", "delivery", "text"])]
    follow: bool,
    /// The last so many invocations.
    #[arg(short = 'n', long, default_value_t = 10)]
    limit: usize,
    /// Which of them.
    #[command(flatten)]
    which: Which,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Whose invocations.
#[derive(Debug, Args)]
pub struct InvocationsArgs {
    /// The function: NAMESPACE/NAME, or NAME in `default`; of all functions if left out.
    name: Option<String>,
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: usize,
    /// Which of them.
    #[command(flatten)]
    which: Which,
    /// Where the server is.
    #[command(flatten)]
    remote: Remote,
}

/// Which invocations.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
struct Which {
    /// Only those that ended like this: a word such as `timed_out`, or `failed` for all but succeeded, or `running`.
    #[arg(long)]
    outcome: Option<String>,
    /// Begun at or after: 2026-11-21T08:00:00Z, or a span back from now such as 15m, 2h, 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Begun before: like --since.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Of this delivery: dlv_...
    #[arg(long, value_name = "ID")]
    delivery: Option<String>,
    /// With this text in what is on record or in the log.
    #[arg(short = 'q', long)]
    text: Option<String>,
}

impl Which {
    fn apply(&self, call: Call) -> Call {
        call.maybe("outcome", self.outcome.as_deref())
            .maybe("since", self.since.as_deref().map(moment))
            .maybe("until", self.until.as_deref().map(moment))
            .maybe("delivery", self.delivery.as_deref())
            .maybe("text", self.text.as_deref())
    }
}

/// Does it.
pub async fn run(command: FunctionCommand) -> Result {
    match command {
        FunctionCommand::Deploy(args) => deploy(&args).await,
        FunctionCommand::Invoke(args) => invoke(&args).await,
        FunctionCommand::Logs(args) => logs(&args).await,
        FunctionCommand::Invocations(args) => invocations(&args).await,
        FunctionCommand::List { limit, remote } => {
            list(&remote, "/v1/functions", show::FUNCTIONS, limit).await
        }
        FunctionCommand::Show(args) => {
            let (client, out) = args.remote.open()?;
            let answer = client.call(&Call::get(path(&args.name, "")?)).await?;
            out.document(&answer.text())
        }
        FunctionCommand::Versions(args) => {
            let path = path(&args.name, "/versions")?;
            list(&args.remote, &path, show::FUNCTION_VERSIONS, usize::MAX).await
        }
        FunctionCommand::Publish {
            name,
            description,
            alias,
            remote,
        } => {
            let (client, out) = remote.open()?;
            let version = publish(&client, out, &name, &description).await?;
            match alias {
                Some(alias) => {
                    let spec = json!({"version": version});
                    set_alias(&client, out, &name, &alias, &spec).await
                }
                None => Ok(()),
            }
        }
        FunctionCommand::Alias(command) => alias(command).await,
        FunctionCommand::Delete {
            name,
            force,
            remote,
        } => {
            let mut call = Call::new(Method::DELETE, path(&name, "")?);
            if force {
                call = call.query("force", "true");
            }
            let (client, out) = remote.open()?;
            client.call(&call).await?;
            out.note(format!("function {name} deleted"));
            Ok(())
        }
        FunctionCommand::Status { remote } => {
            let (client, out) = remote.open()?;
            let answer = client.call(&Call::get("/v1/functions:status")).await?;
            out.document(&answer.text())
        }
    }
}

/// A function's path; `rest` is what follows.
fn path(name: &str, rest: &str) -> Result<String> {
    let (namespace, name) = match *name.split('/').collect::<Vec<_>>() {
        [name] => ("default", name),
        [namespace, name] => (namespace, name),
        _ => {
            return Err(Failure::usage(format!(
                "{name}: expected NAMESPACE/NAME, or NAME in `default`"
            )));
        }
    };
    Ok(format!(
        "/v1/functions/{}/{}{rest}",
        segment(namespace),
        segment(name)
    ))
}

async fn list(remote: &Remote, path: &str, columns: &[show::Column], limit: usize) -> Result {
    let (client, out) = remote.open()?;
    let (items, more) = pages(&client, &Call::get(path), limit).await?;
    show::list(out, columns, &items)?;
    if more && out.format == Format::Table {
        out.note("there are more; show more with --limit");
    }
    Ok(())
}

async fn deploy(args: &DeployArgs) -> Result {
    let function = path(&args.name, "")?;
    let is_folder = args.code.is_dir();
    let whole = if is_folder {
        pack::spec(&args.code)?
    } else {
        None
    };
    let options = args.options(is_folder)?;
    let (client, out) = args.remote.open()?;
    let zip = if is_folder {
        Some(pack::zip(&args.code)?)
    } else if is_zip(&args.code) {
        let place = args.code.display();
        let read = std::fs::read(&args.code);
        Some(read.map_err(|error| Failure::usage(format!("{place}: {error}")))?)
    } else {
        None
    };
    let code = if let Some(zip) = zip {
        // Taken before anything points to it: a function that is not there yet can be made with it at once.
        let call = Call::new(Method::PUT, format!("{function}/code")).body("application/zip", zip);
        let taken = client.value(&call).await?;
        out.note(format!(
            "sent {} files, {} bytes",
            show::cell(&taken, &["/files"]),
            show::cell(&taken, &["/bytes"])
        ));
        let member = |name: &str| taken.get(name).cloned().unwrap_or_default();
        json!({"zip": {"sha256": member("sha256"), "bytes": member("bytes")}})
    } else {
        json!({"inline": read_input(&args.code)?})
    };
    let is_there = client.find(&Call::get(&function)).await?.is_some();
    let call = if let Some(mut spec) = whole {
        // What the folder says is all there is; options say it better.
        for (name, value) in options {
            merge(spec.entry(name).or_insert(Value::Null), value);
        }
        spec.insert("code".to_owned(), code);
        Call::new(Method::PUT, &function).json(&spec.into())
    } else {
        let mut spec = options;
        spec.insert("code".to_owned(), code);
        if is_there {
            // A merge patch: code that was inline does not stay beside a zip file.
            forget_other_code(&mut spec);
            Call::new(Method::PATCH, &function).body(
                "application/merge-patch+json",
                Value::from(spec).to_string(),
            )
        } else {
            Call::new(Method::PUT, &function).json(&spec.into())
        }
    };
    let answer = client.call(&call).await?;
    if out.format != Format::Table {
        out.document(&answer.text())?;
    }
    let done = if is_there { "changed" } else { "made" };
    out.note(format!("function {} {done}", args.name));
    if !args.no_check {
        check(&client, out, &function).await?;
    }
    if args.publish {
        publish(&client, out, &args.name, "").await?;
    }
    Ok(())
}

fn forget_other_code(spec: &mut Map<String, Value>) {
    if let Some(Value::Object(code)) = spec.get_mut("code") {
        for other in ["inline", "zip", "path"] {
            code.entry(other).or_insert(Value::Null);
        }
    }
}

/// Members of objects one by one, everything else as a whole.
fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old.extend(new),
        (old, new) => *old = new,
    }
}

/// Says whether its code loads: better now than with the first alarm.
async fn check(client: &Client, out: Output, function: &str) -> Result {
    let call = Call::new(Method::POST, format!("{function}/validate"))
        .json(&json!({"qualifier": "$LATEST"}));
    let answer = client.value(&call).await?;
    if answer.get("ready") == Some(&Value::Bool(true)) {
        out.note("its code loads");
        return Ok(());
    }
    let error = answer.get("error").cloned().unwrap_or_default();
    Err(Failure::failed(format!(
        "its code does not load: {}",
        told(&error)
    )))
}

impl DeployArgs {
    /// The members of the spec that were said.
    fn options(&self, is_folder: bool) -> Result<Map<String, Value>> {
        let mut spec = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                spec.insert(name.to_owned(), value);
            }
        };
        let runtime = self.runtime.clone().or_else(|| {
            let known = if is_folder {
                None
            } else {
                runtime_of(&self.code)
            };
            known.map(str::to_owned)
        });
        put("runtime", runtime.map(Value::from));
        put("profile", self.profile.clone().map(Value::from));
        put("handler", self.handler.clone().map(Value::from));
        put("timeoutSeconds", self.timeout.map(Value::from));
        put("memoryMb", self.memory.map(Value::from));
        put("concurrency", self.concurrency.map(Value::from));
        put("network", self.network.clone().map(Value::from));
        put("description", self.description.clone().map(Value::from));
        let layers = (!self.layers.is_empty()).then(|| json!(self.layers));
        put("layers", layers);
        let mut env = Map::new();
        for pair in &self.env {
            let (key, value) = cut(pair, "--env", "KEY=VALUE")?;
            env.insert(key, value.into());
        }
        for pair in &self.secret_env {
            let (key, secret) = cut(pair, "--secret-env", "KEY=SECRET")?;
            env.insert(key, json!({"secret": secret}));
        }
        put("env", (!env.is_empty()).then(|| env.into()));
        Ok(spec)
    }
}

fn is_zip(file: &Path) -> bool {
    file.extension()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("zip"))
}

/// What runs a file, by its name.
fn runtime_of(file: &Path) -> Option<&'static str> {
    match file.extension()?.to_str()? {
        "js" | "mjs" | "cjs" => Some("nodejs"),
        "py" => Some("python"),
        _ => None,
    }
}

fn cut(pair: &str, option: &str, form: &str) -> Result<(String, String)> {
    match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        // What was meant as a value may be a secret: it is not repeated.
        _ => Err(Failure::usage(format!("{option}: expected {form}"))),
    }
}

async fn invoke(args: &InvokeArgs) -> Result {
    let path = path(&args.name, "/invoke")?;
    let mode = match (args.later, args.dry_run) {
        (true, _) => "async",
        (false, true) => "dryRun",
        (false, false) => "sync",
    };
    let mut body = Map::new();
    body.insert("mode".to_owned(), mode.into());
    body.insert("qualifier".to_owned(), args.qualifier.clone().into());
    if let Some(template) = &args.template {
        body.insert("template".to_owned(), template.clone().into());
    } else if let Some(event) = &args.event {
        body.insert("eventUid".to_owned(), event.clone().into());
    } else {
        let text = match (&args.data, &args.file) {
            (Some(data), _) => data.clone(),
            (None, Some(file)) => read_input(file)?,
            (None, None) => "{}".to_owned(),
        };
        let event: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::usage(format!("the event is no JSON: {error}")))?;
        body.insert("event".to_owned(), event);
    }
    let (client, out) = args.remote.open()?;
    let answer = client
        .call(&Call::new(Method::POST, path).json(&body.into()))
        .await?;
    let text = answer.text();
    let answer = answer.json()?;
    let of = |pointer: &str| show::cell(&answer, &[pointer]);
    if out.format != Format::Table {
        out.document(&text)?;
    } else if args.later {
        out.line(format!("invocation {} will run", of("/requestId")))?;
        out.note(format!(
            "see it with: belfry function logs {}",
            of("/requestId")
        ));
    } else if args.dry_run {
        out.line(format!("version {} would run", of("/version")))?;
    } else {
        if args.log {
            out.text(&log_text(&client, &of("/requestId")).await?)?;
        }
        // As it is, for programs that read it; a text is no more than itself.
        let result = answer.get("result").filter(|result| !result.is_null());
        if let Some(result) = result {
            out.line(printable(&result.to_string()))?;
        }
        out.note(format!("{} in {} ms", of("/outcome"), of("/durationMs")));
    }
    match answer.get("outcome").and_then(Value::as_str) {
        None | Some("succeeded") => Ok(()),
        Some(outcome) => {
            let error = answer.get("error").cloned().unwrap_or_default();
            Err(Failure::failed(failed(outcome, &error)))
        }
    }
}

/// An error of a function, with its stack if it has one. Stacks of Node.js begin with the error itself.
fn told(error: &Value) -> String {
    let of = |pointers: &[&str]| show::cell(error, pointers);
    let kind = of(&["/type", "/kind"]);
    let message = of(&["/message"]);
    let stack = of(&["/stack"]);
    let head = if kind.is_empty() {
        message
    } else {
        format!("{kind}: {message}")
    };
    if stack.starts_with(&head) {
        stack
    } else if stack.is_empty() {
        head
    } else {
        format!("{head}\n{stack}")
    }
}

/// How an invocation failed. Where nothing ran, the outcome is all that its error says of its kind.
fn failed(outcome: &str, error: &Value) -> String {
    let told = told(error);
    if told.starts_with(&format!("{outcome}: ")) {
        told
    } else {
        format!("{outcome}: {told}")
    }
}

/// What people of SCF know: `START`, what was printed, `Report`, `END`.
async fn log_text(client: &Client, request_id: &str) -> Result<String> {
    let call = Call::get(format!("/v1/invocations/{}", segment(request_id)))
        .query("format", "text")
        .header("accept", HeaderValue::from_static("text/plain"));
    let mut text = client.call(&call).await?.text();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

async fn logs(args: &LogsArgs) -> Result {
    let (client, out) = args.remote.open()?;
    if uuid::Uuid::parse_str(&args.name).is_ok() {
        return out.text(&log_text(&client, &args.name).await?);
    }
    let function = path(&args.name, "")?;
    if args.follow {
        return follow(&client, out, &function).await;
    }
    let call = args
        .which
        .apply(Call::get(format!("{function}/invocations")));
    let (invocations, more) = pages(&client, &call, args.limit).await?;
    if invocations.is_empty() {
        must_be_there(&client, &function).await?;
    }
    if out.format != Format::Table {
        return out.document(&Value::from(invocations).to_string());
    }
    if invocations.is_empty() {
        out.note("nothing found");
    }
    // Newest last, as in any log.
    for invocation in invocations.iter().rev() {
        let request_id = show::cell(invocation, &["/requestId"]);
        out.text(&log_text(&client, &request_id).await?)?;
    }
    if more {
        out.note("there are earlier ones; show more with --limit");
    }
    Ok(())
}

/// What a deleted function has done is still on record; a name that never was is a mistake, and told as such.
async fn must_be_there(client: &Client, function: &str) -> Result {
    client.call(&Call::get(function)).await?;
    Ok(())
}

async fn invocations(args: &InvocationsArgs) -> Result {
    let function = match &args.name {
        Some(name) => Some(path(name, "")?),
        None => None,
    };
    let (client, out) = args.remote.open()?;
    let call = match &function {
        Some(function) => Call::get(format!("{function}/invocations")),
        None => Call::get("/v1/invocations"),
    };
    let (items, more) = pages(&client, &args.which.apply(call), args.limit).await?;
    if let (Some(function), true) = (&function, items.is_empty()) {
        must_be_there(&client, function).await?;
    }
    show::list(out, show::INVOCATIONS, &items)?;
    if more && out.format == Format::Table {
        out.note("there are more; show more with --limit, or narrow the filters");
    }
    Ok(())
}

async fn follow(client: &Client, out: Output, function: &str) -> Result {
    let call = Call::get(format!("{function}/logs")).query("follow", "1");
    let mut stream = Stream::new(client.open(&call).await?);
    if out.format == Format::Table {
        out.note(format!("connected to {}; ends with Ctrl-C", client.base()));
    }
    while let Some(events) = stream.next().await? {
        for event in events {
            follow_one(out, &event)?;
        }
    }
    Err(Failure::failed(format!(
        "the connection to {} was lost",
        client.base()
    )))
}

fn follow_one(out: Output, event: &SseEvent) -> Result {
    let Ok(value) = serde_json::from_str::<Value>(&event.data) else {
        return Ok(());
    };
    if out.format != Format::Table {
        // One object a line, for programs that read as it comes.
        return out.line(&event.data);
    }
    let of = |pointer: &str| printable(&show::cell(&value, &[pointer]));
    match event.name.as_str() {
        "start" => out.line(format!("START RequestId: {}", of("/requestId"))),
        "line" => out.line(of("/line/text")),
        "skipped" => {
            out.note(format!(
                "{} lines were missed: more happened than could be shown",
                of("/count")
            ));
            Ok(())
        }
        "end" => out.line(format!(
            "END RequestId: {} {}",
            of("/requestId"),
            of("/outcome")
        )),
        _ => Ok(()),
    }
}

async fn publish(client: &Client, out: Output, name: &str, description: &str) -> Result<String> {
    let call = Call::new(Method::POST, path(name, "/versions")?)
        .json(&json!({"description": description}));
    let answer = client.call(&call).await?;
    let version = show::cell(&answer.json()?, &["/version"]);
    if out.format == Format::Table {
        out.line(format!("version {version} of {name} published"))?;
    } else {
        out.document(&answer.text())?;
    }
    Ok(version)
}

async fn alias(command: AliasCommand) -> Result {
    match command {
        AliasCommand::Set {
            name,
            alias,
            version,
            weights,
            description,
            remote,
        } => {
            let mut shares = Map::new();
            for weight in &weights {
                let (version, share) = cut(weight, "--weight", "VERSION=SHARE")?;
                let share: f64 = share.parse().map_err(|_| {
                    Failure::usage(format!("--weight {weight}: the share is no number"))
                })?;
                shares.insert(version, json!(share));
            }
            let spec = json!({"version": version, "weights": shares, "description": description});
            let (client, out) = remote.open()?;
            set_alias(&client, out, &name, &alias, &spec).await
        }
        AliasCommand::List(args) => {
            let (client, out) = args.remote.open()?;
            let path = path(&args.name, "/aliases")?;
            let mut all = client.value(&Call::get(path)).await?;
            let Some(Value::Array(mut aliases)) = all.get_mut("items").map(Value::take) else {
                return Ok(());
            };
            if out.format == Format::Table {
                aliases.iter_mut().for_each(show_weights);
            }
            show::list(out, show::FUNCTION_ALIASES, &aliases)
        }
        AliasCommand::Delete {
            name,
            alias,
            remote,
        } => {
            let (client, out) = remote.open()?;
            let path = path(&name, &format!("/aliases/{}", segment(&alias)))?;
            client.call(&Call::new(Method::DELETE, path)).await?;
            out.note(format!("alias {alias} of {name} deleted"));
            Ok(())
        }
    }
}

/// As `--weight` takes them.
fn show_weights(alias: &mut Value) {
    if let Some(Value::Object(weights)) = alias.get_mut("weights").map(Value::take) {
        let shares = weights
            .iter()
            .map(|(version, share)| format!("{version}={share}"));
        alias["weights"] = shares.collect::<Value>();
    }
}

async fn set_alias(client: &Client, out: Output, name: &str, alias: &str, spec: &Value) -> Result {
    let path = path(name, &format!("/aliases/{}", segment(alias)))?;
    let answer = client
        .call(&Call::new(Method::PUT, path).json(spec))
        .await?;
    if out.format != Format::Table {
        return out.document(&answer.text());
    }
    let version = show::cell(spec, &["/version"]);
    let mut shares = json!({"weights": spec.get("weights")});
    show_weights(&mut shares);
    let also = match show::cell(&shares, &["/weights"]) {
        shares if shares.is_empty() => shares,
        shares => format!(", and for a share of the events to {shares}"),
    };
    out.line(format!(
        "alias {alias} of {name} points to version {version}{also}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_without_a_namespace_is_in_default() {
        assert_eq!(
            path("restart", "").unwrap(),
            "/v1/functions/default/restart"
        );
        assert_eq!(
            path("ops/restart", "/code").unwrap(),
            "/v1/functions/ops/restart/code"
        );
        assert!(path("a/b/c", "").is_err());
    }

    #[test]
    fn what_is_no_pair_is_refused_without_repeating_it() {
        let failure = cut("hunter2", "--env", "KEY=VALUE").unwrap_err();
        assert!(!failure.to_string().contains("hunter2"));
        let pair = cut("A=b=c", "--env", "KEY=VALUE").unwrap();
        assert_eq!(pair, ("A".to_owned(), "b=c".to_owned()));
    }

    #[test]
    fn an_error_is_told_with_its_kind_and_stack() {
        let error = json!({"type": "TypeError", "message": "x is not a function", "stack": "at index.js:3"});
        assert_eq!(
            told(&error),
            "TypeError: x is not a function\nat index.js:3"
        );
        assert_eq!(told(&json!({"message": "gone"})), "gone");
        let stack = "TypeError: no\n    at index.js:3";
        let error = json!({"type": "TypeError", "message": "no", "stack": stack});
        assert_eq!(told(&error), stack);
        let error = json!({"type": "init_failed", "message": "no layer"});
        assert_eq!(failed("init_failed", &error), "init_failed: no layer");
        assert_eq!(
            failed("threw", &json!({"type": "Error", "message": "no"})),
            "threw: Error: no"
        );
    }
}
