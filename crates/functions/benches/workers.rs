//! How quick workers are, and what they take, each beside the least that it could be: the same program started and spoken with
//! directly ("bare"), without a pool, a sandbox, limits, a log or a record. Both take turns, so that a change of the machine's
//! speed meets both; compare the two columns first.
//!
//! `cargo bench -p belfry-functions`; needs node and python3. The last column is what a prototype needed on two cores: it spoke
//! with the process directly, and its cold starts ended when the code was loaded.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use belfry_functions::{
    Call, Drain, Invocation, InvokedBy, Limits, Network, Outcome, Profile, Program, Runner,
    RunnerSettings, RuntimeKind, context, environment,
};
use belfry_model::{FunctionName, SystemClock};
use belfry_sandbox::{Launcher, Level};
use belfry_testkit::server::launcher;
use serde_json::json;
use uuid::Uuid;

const COLD: usize = 21;
/// Warm invocations are measured in so many turns.
const TURNS: usize = 20;
const PYTHON: &str = "/usr/bin/python3";
/// What is run for each event by runtime `exec`.
const EXEC: &str = "/bin/cat";
/// A runtime of its own, with a connection that is kept.
const BOOTSTRAP: &str = r#"#!/usr/bin/python3
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
at = "/2018-06-01/runtime/invocation/"
while True:
    api.request("GET", at + "next")
    next = api.getresponse()
    event = json.loads(next.read())
    api.request("POST", at + next.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", json.dumps(event["id"]))
    api.getresponse().read()
"#;

struct Case {
    runtime: RuntimeKind,
    level: Level,
    /// Warm invocations in a turn.
    warm: usize,
    prototype: &'static str,
}

fn main() {
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .map(|argument| argument.to_lowercase())
        .collect();
    let case = |runtime, level, warm, prototype| Case {
        runtime,
        level,
        warm,
        prototype,
    };
    let cases = [
        case(
            RuntimeKind::NodeJs,
            Level::Process,
            1000,
            "21-23 / 36-38 / 330-400 / 18,400-19,600",
        ),
        case(
            RuntimeKind::NodeJs,
            Level::Landlock,
            1000,
            "22-23 / 40-41 / 410-600 / 14,100-16,800",
        ),
        case(
            RuntimeKind::Python,
            Level::Process,
            1000,
            "13-15 / 37-38 / 60 / 26,900-28,100",
        ),
        case(
            RuntimeKind::Python,
            Level::Landlock,
            1000,
            "14-17 / - / - / -",
        ),
        case(
            RuntimeKind::Custom,
            Level::Landlock,
            200,
            "- / 250 (awslambdaric) / - / -",
        ),
        case(
            RuntimeKind::Exec,
            Level::Process,
            20,
            "- / 1,180 (sh) / - / -",
        ),
        case(
            RuntimeKind::Exec,
            Level::Landlock,
            20,
            "- / 1,230 (true, with a launcher) / - / -",
        ),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    println!("Each figure: bare / through the runner.\n");
    println!(
        "| runtime, isolation | cold, to the first answer, ms (median) | warm p50, us | p99, us | per s, one worker | memory, MB | prototype: cold / warm p50 / p99 / per s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for case in cases {
        let name = format!("{:?}, {:?}", case.runtime, case.level).to_lowercase();
        if only.is_empty() || only.iter().any(|only| name.contains(only)) {
            // As in the server: by a task, on a thread that waits for sockets itself.
            runtime.block_on(runtime.spawn(measure(case))).unwrap();
        }
    }
}

async fn measure(case: Case) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut settings = RunnerSettings::new(folder.join("functions"));
    settings.level = case.level;
    settings.node = Some(found("node"));
    settings.python = Some(PathBuf::from(PYTHON));
    settings.exec_allowed = vec![PathBuf::from(EXEC)];
    let launcher = Launcher::new(launcher().unwrap(), format!("{}:", folder.display()));
    let runner = Runner::start(settings, launcher, Arc::new(SystemClock)).unwrap();
    let event = format!(
        r#"{{"id":"1","type":"t","data":{{"text":"{}"}}}}"#,
        "x".repeat(800)
    );

    let (mut bare_cold, mut cold) = (Vec::new(), Vec::new());
    for number in 0..COLD {
        let program = program(folder, case.runtime, number);
        let begun = Instant::now();
        let mut bare = Bare::start(folder, &program);
        bare.invoke(&program, &event);
        bare_cold.push(begun.elapsed());
        drop(bare);
        let begun = Instant::now();
        invoke(&runner, &program, &event).await;
        cold.push(begun.elapsed());
        runner.forget(&program.function);
        while runner.status().workers > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    let program = program(folder, case.runtime, COLD);
    let mut bare = Bare::start(folder, &program);
    let (mut bare_warm, mut warm) = (Vec::new(), Vec::new());
    // The first two turns are for the runtimes to get warm.
    for turn in 0..TURNS + 2 {
        if turn == 2 {
            bare_warm.clear();
            warm.clear();
        }
        for _ in 0..case.warm {
            let begun = Instant::now();
            bare.invoke(&program, &event);
            bare_warm.push(begun.elapsed());
        }
        for _ in 0..case.warm {
            let begun = Instant::now();
            invoke(&runner, &program, &event).await;
            warm.push(begun.elapsed());
        }
    }
    // So that its memory is looked at again.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let last = invoke(&runner, &program, &event).await;
    let mut row = format!("| {:?}, {:?} ", case.runtime, case.level);
    for (bare, own) in [
        (
            share(&mut bare_cold, 50) / 1000.0,
            share(&mut cold, 50) / 1000.0,
        ),
        (share(&mut bare_warm, 50), share(&mut warm, 50)),
        (share(&mut bare_warm, 99), share(&mut warm, 99)),
        (per_second(&bare_warm), per_second(&warm)),
    ] {
        let digits = usize::from(bare < 100.0);
        write!(row, "| {bare:.digits$} / {own:.digits$} ").unwrap();
    }
    let memory = f64::from(u32::try_from(last.memory_peak_bytes >> 10).unwrap()) / 1024.0;
    println!("{row}| {memory:.1} | {} |", case.prototype);
    runner.shutdown(Duration::ZERO).await;
}

/// The program of a worker, spoken with directly.
enum Bare {
    /// By lines over a socket.
    Talk(Child, BufReader<UnixStream>),
    /// By HTTP; it has just asked for an event.
    Http(Child, BufReader<std::net::TcpStream>),
    /// One process an event.
    Exec,
}

impl Bare {
    fn start(folder: &Path, program: &Program) -> Self {
        let mut command = match program.runtime {
            RuntimeKind::NodeJs => {
                let mut node = Command::new(found("node"));
                node.arg("--max-old-space-size=96");
                node.arg(bootstrap(folder, "nodejs.js"));
                node
            }
            RuntimeKind::Python => {
                let mut python = Command::new(PYTHON);
                python.arg("-u").arg(bootstrap(folder, "python.py"));
                python
            }
            RuntimeKind::Custom => Command::new(program.code.join("bootstrap")),
            RuntimeKind::Exec => return Self::Exec,
        };
        command
            .env_clear()
            .envs(environment(program, folder))
            .current_dir(&program.code)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if program.runtime == RuntimeKind::Custom {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let child = command.env("AWS_LAMBDA_RUNTIME_API", address).spawn();
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut stream = BufReader::new(stream);
            request(&mut stream);
            return Self::Http(child.unwrap(), stream);
        }
        let (own, theirs) = UnixStream::pair().unwrap();
        let child = command.stdin(OwnedFd::from(theirs)).spawn().unwrap();
        drop(command);
        let mut socket = BufReader::new(own);
        let init = json!({
            "type": "init",
            "dir": program.code,
            "handler": program.handler,
            "profile": program.profile,
            "drain": program.drain,
            "answerBytesMax": 6 << 20,
        });
        socket
            .get_mut()
            .write_all(format!("{init}\n").as_bytes())
            .unwrap();
        let ready = line(&mut socket);
        assert!(ready.contains("\"ready\""), "{ready}");
        Self::Talk(child, socket)
    }

    fn invoke(&mut self, program: &Program, event: &str) {
        match self {
            Self::Talk(_, socket) => {
                let id = Uuid::now_v7();
                let context = context(program, &call(program, event), id, i64::MAX);
                let bytes = event.len();
                let ask = format!(
                    r#"{{"type":"invoke","id":"{id}","deadlineMs":{},"eventBytes":{bytes},"context":{context}}}"#,
                    i64::MAX
                );
                let ask = ask + "\n" + event;
                socket.get_mut().write_all(ask.as_bytes()).unwrap();
                let answer = line(socket);
                assert!(answer.contains("\"result\""), "{answer}");
                if !answer.contains("\"done\":true") {
                    line(socket);
                }
            }
            Self::Http(_, stream) => {
                let next = format!(
                    "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\nContent-Length: {}\r\n\r\n{event}",
                    event.len()
                );
                stream.get_mut().write_all(next.as_bytes()).unwrap();
                assert_eq!(request(stream), "\"1\"");
                let taken = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
                stream.get_mut().write_all(taken).unwrap();
                request(stream);
            }
            Self::Exec => {
                let mut child = Command::new(EXEC)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
                child
                    .stdin
                    .take()
                    .unwrap()
                    .write_all(event.as_bytes())
                    .unwrap();
                let output = child.wait_with_output().unwrap();
                assert_eq!(output.stdout, event.as_bytes());
            }
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Self::Talk(child, _) | Self::Http(child, _) = self {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn line(socket: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    socket.read_line(&mut line).unwrap();
    line
}

/// Reads an HTTP request; returns its body.
fn request(stream: &mut BufReader<std::net::TcpStream>) -> String {
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

/// Where the runner has put its side of a runtime.
fn bootstrap(folder: &Path, name: &str) -> PathBuf {
    let all = std::fs::read_dir(folder.join("functions/bootstrap")).unwrap();
    let mut files = all.map(|version| version.unwrap().path().join(name));
    files.next().unwrap()
}

fn share(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[times.len() * percent / 100].as_secs_f64() * 1e6
}

fn per_second(times: &[Duration]) -> f64 {
    let all: Duration = times.iter().sum();
    f64::from(u32::try_from(times.len()).unwrap()) / all.as_secs_f64()
}

fn program(folder: &Path, runtime: RuntimeKind, number: usize) -> Arc<Program> {
    let name = format!("bench-{number}");
    let code = folder.join(&name);
    std::fs::create_dir_all(&code).unwrap();
    for (file, text) in [
        (
            "index.js",
            "exports.main_handler = async (event) => event.id",
        ),
        (
            "index.py",
            "def main_handler(event, context):\n    return event['id']\n",
        ),
        ("bootstrap", BOOTSTRAP),
    ] {
        let file = code.join(file);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut key = [0; 32];
    key[..16].copy_from_slice(Uuid::now_v7().as_bytes());
    let handler = match runtime {
        RuntimeKind::Exec => EXEC,
        _ => "index.main_handler",
    };
    Arc::new(Program {
        function: FunctionName::new("default", &name).unwrap(),
        version: "$LATEST".to_owned(),
        key,
        runtime,
        profile: Profile::Scf,
        handler: handler.to_owned(),
        code,
        layers: Vec::new(),
        environment: Vec::new(),
        secrets: Vec::new(),
        limits: Limits {
            timeout: Duration::from_secs(10),
            init_timeout: Duration::from_secs(20),
            memory_mb: 128,
            concurrency: 1,
            min_warm: 0,
            idle: Duration::from_mins(5),
            invocations_per_worker: 1_000_000,
        },
        network: Network::All,
        drain: Drain::Wait,
        region: String::new(),
    })
}

fn call<'a>(program: &'a Program, event: &'a str) -> Call<'a> {
    Call {
        function: &program.function,
        qualifier: "$DEFAULT",
        event,
        invoked_by: InvokedBy::Api,
        delivery: None,
        events: &[],
        attempt: 1,
        routing: 0,
    }
}

async fn invoke(runner: &Runner, program: &Arc<Program>, event: &str) -> Invocation {
    let invocation = runner
        .invoke(program, call(program, event), Uuid::now_v7())
        .await;
    assert_eq!(
        invocation.outcome,
        Outcome::Succeeded,
        "{:?}",
        invocation.failure
    );
    invocation
}

fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("this benchmark needs {name}"))
}
