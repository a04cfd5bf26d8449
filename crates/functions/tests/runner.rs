//! How functions run and how they end: with real Node.js and Python, shut in as on a server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, outside of functions marked as tests"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use belfry_functions::{
    Call, Drain, Invocation, InvokedBy, Limits, LivePart, Network, Outcome, PoolStatus, Profile,
    Program, Runner, RunnerSettings, RuntimeKind, Stream,
};
use belfry_model::{FunctionName, SystemClock};
use belfry_sandbox::{Disk, Launcher};
use belfry_testkit::server::launcher;
use uuid::Uuid;

use RuntimeKind::{Exec, NodeJs, Python};

/// Where tests may leave functions; each has a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
    runner: Arc<Runner>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut RunnerSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = RunnerSettings::new(folder.path().join("functions"));
        settings.node = Some(found("node"));
        settings.python = Some(PathBuf::from("/usr/bin/python3"));
        settings.exec_allowed = vec![PathBuf::from("/bin/sh")];
        change(&mut settings);
        let runner = start(settings, &folder.path().display().to_string());
        Self { folder, runner }
    }

    /// A function with this code.
    fn program(&self, name: &str, runtime: RuntimeKind, code: &str) -> Program {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let file = if runtime == Python {
            "index.py"
        } else {
            "index.js"
        };
        std::fs::write(folder.join(file), code).unwrap();
        let mut key = [0; 32];
        key[..16].copy_from_slice(Uuid::now_v7().as_bytes());
        Program {
            function: FunctionName::new("default", name).unwrap(),
            version: "$LATEST".to_owned(),
            key,
            runtime,
            profile: Profile::Scf,
            handler: "index.main_handler".to_owned(),
            code: folder,
            layers: Vec::new(),
            environment: Vec::new(),
            secrets: Vec::new(),
            limits: Limits {
                timeout: Duration::from_secs(10),
                init_timeout: Duration::from_secs(20),
                memory_mb: 128,
                concurrency: 2,
                min_warm: 0,
                idle: Duration::from_mins(5),
                invocations_per_worker: 10_000,
            },
            network: Network::All,
            drain: Drain::Wait,
            region: "ap-guangzhou".to_owned(),
        }
    }

    async fn until_busy(&self, function: &str) {
        let limit = Duration::from_secs(10);
        belfry_testkit::wait_until("a worker that runs", limit, async || {
            let programs = self.runner.status().programs;
            let is_busy = |pool: &PoolStatus| pool.function == function && pool.busy == 1;
            Ok(programs.iter().any(is_busy).then_some(()))
        })
        .await
        .unwrap();
    }

    async fn invoke(&self, program: &Arc<Program>, event: &str) -> Invocation {
        invoke(&self.runner, program, event).await
    }
}

/// Where the tests find the launcher when they run as another user.
const LAUNCHER: &str = "BELFRY_TEST_LAUNCHER";

fn start(settings: RunnerSettings, instance: &str) -> Arc<Runner> {
    let program = std::env::var_os(LAUNCHER).map_or_else(|| launcher().unwrap(), PathBuf::from);
    let launcher = Launcher::new(program, format!("{instance}:"));
    Runner::start(settings, launcher, Arc::new(SystemClock)).unwrap()
}

async fn invoke(runner: &Runner, program: &Arc<Program>, event: &str) -> Invocation {
    let call = Call {
        function: &program.function,
        qualifier: "$DEFAULT",
        event,
        invoked_by: InvokedBy::Api,
        delivery: None,
        events: &[],
        attempt: 1,
        routing: 0,
    };
    runner.invoke(program, call, Uuid::now_v7()).await
}

fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("these tests need {name}"))
}

fn texts(invocation: &Invocation) -> String {
    let lines = invocation.log.iter().map(|line| line.text.as_str());
    lines.collect::<Vec<_>>().join("\n")
}

/// What a function does, and how that ends.
struct Case {
    name: &'static str,
    runtime: RuntimeKind,
    code: &'static str,
    outcome: Outcome,
    /// The answer, or part of what is told of the failure.
    told: &'static str,
    /// Whether the same worker does the next invocation.
    kept: bool,
}

const fn case(
    name: &'static str,
    runtime: RuntimeKind,
    code: &'static str,
    outcome: Outcome,
    told: &'static str,
    kept: bool,
) -> Case {
    Case {
        name,
        runtime,
        code,
        outcome,
        told,
        kept,
    }
}

const CASES: &[Case] = &[
    case(
        "n-async",
        NodeJs,
        "exports.main_handler = async (e) => ({ got: e.a })",
        Outcome::Succeeded,
        r#"{"got":1}"#,
        true,
    ),
    case(
        "n-callback",
        NodeJs,
        "exports.main_handler = (e, c, cb) => setTimeout(() => cb(null, 'late'), 20)",
        Outcome::Succeeded,
        r#""late""#,
        true,
    ),
    case(
        "n-sync",
        NodeJs,
        "exports.main_handler = (e) => e.a + 1",
        Outcome::Succeeded,
        "2",
        true,
    ),
    case(
        "n-silent",
        NodeJs,
        "exports.main_handler = (e) => { console.log('hi') }",
        Outcome::Succeeded,
        "null",
        true,
    ),
    case(
        "n-done",
        NodeJs,
        "exports.main_handler = (e, c) => { setTimeout(() => c.succeed(7), 5) }",
        Outcome::Succeeded,
        "7",
        true,
    ),
    case(
        "n-undefined",
        NodeJs,
        "exports.main_handler = async () => undefined",
        Outcome::Succeeded,
        "null",
        true,
    ),
    case(
        "n-half",
        NodeJs,
        r"exports.main_handler = async () => '\ud800x'",
        Outcome::Succeeded,
        "\u{fffd}x",
        true,
    ),
    case(
        "n-throw",
        NodeJs,
        "exports.main_handler = () => { null.x }",
        Outcome::Threw,
        "Cannot read properties",
        true,
    ),
    case(
        "n-reject",
        NodeJs,
        "exports.main_handler = async () => { throw new RangeError('no such thing') }",
        Outcome::Threw,
        "no such thing",
        true,
    ),
    case(
        "n-callback-error",
        NodeJs,
        "exports.main_handler = (e, c, cb) => cb(new Error('called back'))",
        Outcome::Threw,
        "called back",
        true,
    ),
    case(
        "n-unhandled",
        NodeJs,
        "exports.main_handler = (e, c, cb) => { Promise.reject(new Error('nobody caught it')) }",
        Outcome::Threw,
        "nobody caught it",
        false,
    ),
    case(
        "n-uncaught",
        NodeJs,
        "exports.main_handler = (e, c, cb) => { setTimeout(() => { throw new Error('in a timer') }, 5) }",
        Outcome::Threw,
        "in a timer",
        false,
    ),
    case(
        "n-late-error",
        NodeJs,
        "exports.main_handler = async () => { setTimeout(() => { throw new Error('too late') }, 20); return 'fine' }",
        Outcome::LateError,
        "too late",
        false,
    ),
    case(
        "n-cycle",
        NodeJs,
        "exports.main_handler = async () => { const a = {}; a.a = a; return a }",
        Outcome::NotSerializable,
        "circular",
        true,
    ),
    case(
        "n-bigint",
        NodeJs,
        "exports.main_handler = async () => 1n",
        Outcome::NotSerializable,
        "BigInt",
        true,
    ),
    case(
        "n-no-answer",
        NodeJs,
        "exports.main_handler = () => new Promise(() => {})",
        Outcome::NoAnswer,
        "nothing is left",
        true,
    ),
    case(
        "n-large",
        NodeJs,
        "exports.main_handler = async () => 'x'.repeat(7 << 20)",
        Outcome::AnswerTooLarge,
        "7340034 bytes",
        true,
    ),
    case(
        "n-exit",
        NodeJs,
        "exports.main_handler = () => process.exit(0)",
        Outcome::Exited,
        "exit code 0",
        false,
    ),
    case(
        "n-abort",
        NodeJs,
        "exports.main_handler = () => process.abort()",
        Outcome::Exited,
        "signal 6",
        false,
    ),
    case(
        "n-loop",
        NodeJs,
        "exports.main_handler = () => { for (;;); }",
        Outcome::TimedOut,
        "no answer within 3 s",
        false,
    ),
    case(
        "n-never-empty",
        NodeJs,
        "exports.main_handler = async () => { setInterval(() => {}, 50); return 'here' }",
        Outcome::LateTimedOut,
        "was not finished",
        false,
    ),
    case(
        "n-heap",
        NodeJs,
        "exports.main_handler = () => { const a = []; for (;;) a.push(new Array(1000).fill(a.length)) }",
        Outcome::OutOfMemory,
        "",
        false,
    ),
    case(
        "n-buffers",
        NodeJs,
        "const a = []; exports.main_handler = async () => { for (;;) { a.push(Buffer.alloc(4 << 20, 1)); await new Promise((r) => setTimeout(r, 5)) } }",
        Outcome::OutOfMemory,
        "",
        false,
    ),
    case(
        "n-disk",
        NodeJs,
        "const fs = require('fs'); exports.main_handler = async () => { for (let n = 0; ; n++) { fs.writeFileSync(process.env.TMPDIR + '/' + n, Buffer.alloc(1 << 20, 1)); await new Promise((r) => setTimeout(r, 1)) } }",
        Outcome::ScratchFull,
        "MB on disk",
        false,
    ),
    case(
        "n-one-file",
        NodeJs,
        "const fs = require('fs'); exports.main_handler = async () => { for (;;) fs.appendFileSync(process.env.TMPDIR + '/all', Buffer.alloc(1 << 20, 1)) }",
        Outcome::Threw,
        "EFBIG",
        true,
    ),
    case(
        "n-syntax",
        NodeJs,
        "exports.main_handler = async () => {\n  let = ;\n}",
        Outcome::InitFailed,
        "index.js:2",
        false,
    ),
    case(
        "n-no-handler",
        NodeJs,
        "exports.other = 1",
        Outcome::InitFailed,
        "exports no function main_handler",
        false,
    ),
    case(
        "n-no-module",
        NodeJs,
        "require('not-there'); exports.main_handler = 1",
        Outcome::InitFailed,
        "Cannot find module 'not-there'",
        false,
    ),
    case(
        "n-exit-init",
        NodeJs,
        "console.log('bye'); process.exit(3)",
        Outcome::InitFailed,
        "exit code 3",
        false,
    ),
    case(
        "n-orphan",
        NodeJs,
        "const { spawn } = require('child_process'); exports.main_handler = async () => { const c = spawn('sleep', ['1000'], { detached: true, stdio: 'inherit' }); c.unref(); return c.pid }",
        Outcome::Succeeded,
        "",
        false,
    ),
    case(
        "p-fine",
        Python,
        "def main_handler(event, context):\n    return {'got': event['a'], 'id': len(context['request_id'])}",
        Outcome::Succeeded,
        r#"{"got":1,"id":36}"#,
        true,
    ),
    case(
        "p-throw",
        Python,
        "def main_handler(event, context):\n    return event['b']",
        Outcome::Threw,
        "KeyError",
        true,
    ),
    case(
        "p-exit",
        Python,
        "import sys\ndef main_handler(event, context):\n    sys.exit(4)",
        Outcome::Exited,
        "exit code 4",
        false,
    ),
    case(
        "p-set",
        Python,
        "def main_handler(event, context):\n    return {1, 2}",
        Outcome::NotSerializable,
        "set",
        true,
    ),
    case(
        "p-nan",
        Python,
        "def main_handler(event, context):\n    return float('nan')",
        Outcome::NotSerializable,
        "JSON",
        true,
    ),
    case(
        "p-loop",
        Python,
        "def main_handler(event, context):\n    while True: pass",
        Outcome::TimedOut,
        "no answer within 3 s",
        false,
    ),
    case(
        "p-large",
        Python,
        "def main_handler(event, context):\n    return 'x' * (7 << 20)",
        Outcome::AnswerTooLarge,
        "7340034 bytes",
        true,
    ),
    case(
        "p-memory",
        Python,
        "def main_handler(event, context):\n    return len(bytearray(1 << 30))",
        Outcome::OutOfMemory,
        "",
        false,
    ),
    case(
        "p-shared",
        Python,
        "import mmap, time\ndef main_handler(event, context):\n    a = mmap.mmap(-1, 400 << 20)\n    for i in range(0, 400 << 20, 4096): a[i] = 1\n    time.sleep(2)",
        Outcome::OutOfMemory,
        "may have 128 MB",
        false,
    ),
    case(
        "p-syntax",
        Python,
        "def main_handler(event, context)\n    pass",
        Outcome::InitFailed,
        "index.py\", line 1",
        false,
    ),
    case(
        "p-no-handler",
        Python,
        "x = 1",
        Outcome::InitFailed,
        "no function main_handler",
        false,
    ),
    case(
        "p-segfault",
        Python,
        "import ctypes\ndef main_handler(event, context):\n    ctypes.string_at(0)",
        Outcome::Exited,
        "signal 11",
        false,
    ),
    case(
        "p-files",
        Python,
        "import os\ndef main_handler(event, context):\n    for n in range(1 << 30): open(os.environ['TMPDIR'] + '/%d' % n, 'w').close()",
        Outcome::ScratchFull,
        "may have 500 of 64 MB",
        false,
    ),
    case(
        "p-nested",
        Python,
        "import os, time\ndef main_handler(event, context):\n    os.chdir(os.environ['TMPDIR'])\n    for n in range(1900):\n        os.mkdir('deeper'); os.chdir('deeper')\n    time.sleep(2.5)",
        Outcome::ScratchFull,
        "may have 500 of 64 MB",
        false,
    ),
    case(
        "p-removed",
        Python,
        "import os, time\ndef main_handler(event, context):\n    held = []\n    for n in range(100):\n        name = os.environ['TMPDIR'] + '/one'\n        held.append(open(name, 'wb')); os.unlink(name)\n        held[-1].write(bytes(1 << 20)); held[-1].flush(); time.sleep(0.005)\n    time.sleep(2)",
        Outcome::ScratchFull,
        "MB on disk",
        false,
    ),
    case(
        "p-bomb",
        Python,
        "import os, time\ndef main_handler(event, context):\n    for _ in range(5):\n        try: os.fork()\n        except OSError: pass\n    os.setsid() if os.getpid() != os.getpgid(0) else None\n    time.sleep(1000)",
        Outcome::TimedOut,
        "no answer within",
        false,
    ),
    case(
        "p-fork",
        Python,
        "import os, time\ndef main_handler(event, context):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(1000)\n    return 1",
        Outcome::Succeeded,
        "1",
        false,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_end_is_told_and_the_next_invocation_is_as_good_as_new() {
    try_out(&CASES.iter().collect::<Vec<_>>()).await;
}

/// What is tried again as an ordinary user: loops, memory hogs, full disks, and what is left behind.
const WORST: &[&str] = &[
    "n-loop",
    "n-heap",
    "n-buffers",
    "n-orphan",
    "n-disk",
    "p-memory",
    "p-shared",
    "p-files",
    "p-fork",
    "p-bomb",
];

/// Only root can become somebody else; without it, all tests are run by an ordinary user already.
#[test]
fn as_an_ordinary_user_the_worst_functions_end_for_certain_too() {
    if rustix::process::geteuid().is_root() {
        return as_somebody("as_an_ordinary_user_the_worst_functions_end_for_certain_too");
    }
    let worst: Vec<_> = CASES
        .iter()
        .filter(|case| WORST.contains(&case.name))
        .collect();
    assert_eq!(worst.len(), WORST.len());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(try_out(&worst));
}

/// Runs one of these tests as an ordinary user.
fn as_somebody(test: &str) {
    const SOMEBODY: &str = "65534";
    // The folder of the build is not for everybody.
    let public = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(public.path(), open).unwrap();
    let copy = |file: &Path| {
        let there = public.path().join(file.file_name().unwrap());
        std::fs::copy(file, &there).unwrap();
        there
    };
    let own = copy(&std::env::current_exe().unwrap());
    let launcher = copy(&launcher().unwrap());
    let ended = std::process::Command::new("setpriv")
        .args(["--reuid", SOMEBODY, "--regid", SOMEBODY, "--clear-groups"])
        .arg(own)
        .args(["--exact", test])
        .env(LAUNCHER, launcher)
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// Runs each twice, and a neighbour meanwhile.
async fn try_out(cases: &[&Case]) {
    let bench = Bench::with(|settings| {
        settings.scratch_max = Disk {
            bytes: 64 << 20,
            files: 500,
        };
    });
    let neighbour = Arc::new(bench.program(
        "neighbour",
        NodeJs,
        "exports.main_handler = async () => process.pid",
    ));
    let first = bench.invoke(&neighbour, "{}").await;
    assert_eq!(first.outcome, Outcome::Succeeded, "{first:?}");
    let mut wrong = Vec::new();
    let mut slowest = Duration::ZERO;
    for chunk in cases.chunks(4) {
        let cases = chunk.iter().map(|case| async {
            let mut program = bench.program(case.name, case.runtime, case.code);
            program.limits.timeout = Duration::from_secs(3);
            let program = Arc::new(program);
            let first = bench.invoke(&program, r#"{"a": 1}"#).await;
            let all = format!("{:?} {:?}", first.result, first.failure);
            let told = case.told.replace('"', "\\\"");
            let mut wrong = String::new();
            if first.outcome != case.outcome || !(all.contains(&told) || all.contains(case.told)) {
                wrong = format!("{:?} {all}\n{}", first.outcome, texts(&first));
            } else if first.memory_peak_bytes == 0 && first.outcome == Outcome::Succeeded {
                "no memory was measured".clone_into(&mut wrong);
            } else if case.outcome != Outcome::InitFailed {
                let next = bench.invoke(&program, r#"{"a": 1}"#).await;
                if next.outcome != case.outcome {
                    wrong = format!("the second time {:?} {:?}", next.outcome, next.failure);
                } else if next.cold.is_none() != case.kept {
                    wrong = format!("kept {}, not {}", next.cold.is_none(), case.kept);
                }
            }
            if wrong.is_empty() {
                None
            } else {
                Some(format!("{}: {wrong}", case.name))
            }
        });
        let running = futures(cases);
        let neighbours = async {
            // Meanwhile another function is as quick as ever.
            let begun = Instant::now();
            let answer = bench.invoke(&neighbour, "{}").await;
            assert_eq!(answer.result, first.result, "{answer:?}");
            begun.elapsed()
        };
        let (found, took) = tokio::join!(running, neighbours);
        wrong.extend(found.into_iter().flatten());
        slowest = slowest.max(took);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(
        slowest < Duration::from_secs(2),
        "a neighbour waited {slowest:?}"
    );
    bench.runner.shutdown(Duration::ZERO).await;
    assert_eq!(bench.runner.status().workers, 0);
    assert_eq!(left_of(bench.folder.path()), 0);
}

/// All of them at once.
async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (one, done) in &mut pinned {
            if done.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => is_done = false,
                }
            }
        }
        if is_done {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pinned.into_iter().filter_map(|(_, done)| done).collect()
}

/// Living processes with the marker of this test.
fn left_of(folder: &Path) -> usize {
    let mark = format!("BELFRY_WORKER={}:", folder.display());
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("environ")).ok())
        .filter(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable.starts_with(mark.as_bytes()))
        })
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_bounded_masked_dated_and_told_live() {
    let bench = Bench::new();
    let mut program = bench.program(
        "printer",
        NodeJs,
        r"
console.log('while loading');
exports.main_handler = async (event) => {
  console.log('object', { a: [1] });
  console.error('to stderr');
  process.stdout.write('plain hunter2hunter2\n');
  if (event.much) for (let i = 0; i < 400000; i++) process.stdout.write('x'.repeat(500) + '\n');
  throw new Error('with hunter2hunter2');
};",
    );
    program.secrets = vec!["hunter2hunter2".to_owned()];
    program.limits.timeout = Duration::from_secs(30);
    let program = Arc::new(program);
    let mut followed = bench.runner.follow();
    let little = bench.invoke(&program, "{}").await;
    let log = texts(&little);
    assert!(log.contains("plain ********"), "{log}");
    assert!(
        log.contains(&format!("Z\t{}\tobject {{ a: [ 1 ] }}", little.request_id)),
        "{log}"
    );
    let failure = little.failure.as_ref().unwrap();
    assert_eq!(failure.message, "with ********");
    assert!(!failure.stack.as_ref().unwrap().contains("hunter2"));
    let loading = little.log.first().unwrap();
    assert!(
        loading.init && loading.text.ends_with("while loading"),
        "{log}"
    );
    let error = little
        .log
        .iter()
        .find(|line| line.text.ends_with("to stderr"));
    assert_eq!(error.unwrap().stream, Stream::Stderr);
    let mut seen = Vec::new();
    while let Ok(line) = followed.try_recv() {
        seen.push(match line.part {
            LivePart::Start => "start".to_owned(),
            LivePart::Line(line) => line.text,
            LivePart::End(outcome) => outcome.as_str().to_owned(),
        });
    }
    assert_eq!(seen.first().unwrap(), "start");
    assert_eq!(seen.last().unwrap(), "threw");
    assert!(seen.iter().any(|line| line == "plain ********"), "{seen:?}");
    // Answers and errors leave no secret behind either.
    let told = bench.program(
        "told",
        NodeJs,
        r"
exports.main_handler = async (event) => {
  if (event.fail) throw Object.assign(new Error('x'.repeat(9000) + ' hunter2hunter2'), { name: 'hunter2hunter2' });
  return { 'key hunter2hunter2': ['\u0068unter2hunter2', 1.5], other: null };
};",
    );
    let told = Arc::new(Program {
        secrets: vec!["hunter2hunter2".to_owned()],
        ..told
    });
    let answer = bench.invoke(&told, "{}").await;
    assert_eq!(
        answer.result.as_deref(),
        Some(r#"{"key ********":["********",1.5],"other":null}"#)
    );
    let failed = bench.invoke(&told, r#"{"fail":true}"#).await;
    let failure = failed.failure.as_ref().unwrap();
    assert_eq!(
        (failure.kind.as_str(), failure.message.len()),
        ("********", 8192)
    );
    assert!(!format!("{failed:?}").contains("hunter2"));
    let much = bench.invoke(&program, r#"{"much":true}"#).await;
    assert_eq!(much.outcome, Outcome::Threw, "{:?}", much.failure);
    assert!(much.log_truncated);
    assert!(much.log_bytes > 200_000_000, "{}", much.log_bytes);
    assert!(texts(&much).len() < 70_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_breaks_the_rules_is_ended_and_a_crash_loop_is_slowed_down() {
    let bench = Bench::new();
    let script = bench.folder.path().join("fake");
    std::fs::write(
        &script,
        r#"#!/usr/bin/python3
import json, os, socket, sys, time
line = os.fdopen(os.dup(0), "rb").readline
setup = json.loads(line())
say = lambda text: os.write(0, text.encode())
what = open(setup["dir"] + "/index.py").read().strip()
if what == "early":
    say('{"type":"done","id":"00000000-0000-0000-0000-000000000000"}\n')
if what == "slow":
    time.sleep(60)
say('{"type":"ready","initUs":1,"unknown":true}\n')
head = json.loads(line())
mine = head["id"]
if what == "other":
    say('{"type":"result","id":"00000000-0000-0000-0000-000000000000","value":1}\n')
if what == "twice":
    say('{"type":"result","id":"%s","value":1}\n{"type":"result","id":"%s","value":1}\n' % (mine, mine))
if what == "garbage":
    say("hello\n")
if what == "endless":
    while True: say("x" * 65536)
if what == "closed":
    os.close(0); os._exit(0)
time.sleep(60)
"#,
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = bench.folder.path().join("fakes");
    let mut settings = RunnerSettings::new(folder);
    settings.python = Some(script);
    let runner = start(
        settings,
        &format!("{}/fakes", bench.folder.path().display()),
    );
    for (what, outcome, told) in [
        ("early", Outcome::ProtocolBroken, "before it was ready"),
        ("slow", Outcome::InitTimedOut, "not loaded within 1 s"),
        ("other", Outcome::ProtocolBroken, "another invocation"),
        ("twice", Outcome::ProtocolBroken, "second answer"),
        ("garbage", Outcome::ProtocolBroken, "no message"),
        ("endless", Outcome::ProtocolBroken, "more than"),
        ("closed", Outcome::Exited, "without an answer"),
    ] {
        let mut program = bench.program(what, Python, what);
        program.limits.init_timeout = Duration::from_secs(1);
        let ended = invoke(&runner, &Arc::new(program), "{}").await;
        assert_eq!(
            ended.outcome,
            outcome,
            "{what}: {:?}\n{}",
            ended.failure,
            texts(&ended)
        );
        let message = ended.failure.unwrap().message;
        assert!(message.contains(told), "{what}: {message}");
    }
    let looping = Arc::new(bench.program("looping", Python, "garbage"));
    for _ in 0..5 {
        let ended = invoke(&runner, &looping, "{}").await;
        assert_eq!(ended.outcome, Outcome::ProtocolBroken);
    }
    let slowed = invoke(&runner, &looping, "{}").await;
    assert_eq!(slowed.outcome, Outcome::Throttled, "{:?}", slowed.failure);
    let status = runner.status();
    let pool = status
        .programs
        .iter()
        .find(|pool| pool.function == "default/looping");
    assert!(
        pool.unwrap()
            .broken
            .as_ref()
            .unwrap()
            .contains("protocol_broken")
    );
    let mut changed = Program::clone(&looping);
    changed.key = [9; 32];
    let changed = invoke(&runner, &Arc::new(changed), "{}").await;
    assert_eq!(changed.outcome, Outcome::ProtocolBroken);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_kept_shared_out_replaced_and_ended() {
    let bench = Bench::with(|settings| {
        settings.workers_max = 2;
        settings.wait_for_worker = Duration::from_secs(5);
        settings.queue_max = 2;
    });
    let wait = "exports.main_handler = async (e) => { await new Promise((r) => setTimeout(r, e.ms)); return process.pid }";
    let mut one = bench.program("one", NodeJs, wait);
    one.limits.concurrency = 1;
    one.limits.invocations_per_worker = 3;
    let one = Arc::new(one);
    let short = r#"{"ms":0}"#;
    let pid = |invocation: &Invocation| {
        assert_eq!(
            invocation.outcome,
            Outcome::Succeeded,
            "{:?}",
            invocation.failure
        );
        invocation.result.clone().unwrap()
    };
    // One worker, three times; then another.
    let pids: Vec<_> = futures((0..3).map(|_| bench.invoke(&one, short))).await;
    let pids: Vec<_> = pids.iter().map(pid).collect();
    assert!(pids.iter().all(|each| *each == pids[0]), "{pids:?}");
    assert_ne!(pid(&bench.invoke(&one, short).await), pids[0]);
    // More than may wait are refused at once.
    let crowd = futures((0..4).map(|_| bench.invoke(&one, r#"{"ms":300}"#))).await;
    let refused = crowd
        .iter()
        .filter(|each| each.outcome == Outcome::Throttled)
        .count();
    assert_eq!(refused, 1, "{crowd:?}");
    // At the limit an idle worker of another function makes room.
    for name in ["two", "three"] {
        let other = Arc::new(bench.program(name, NodeJs, wait));
        pid(&bench.invoke(&other, short).await);
    }
    assert!(bench.runner.status().workers <= 2);
    // What was changed finishes; the new program has workers of its own.
    let (running, ()) = tokio::join!(bench.invoke(&one, r#"{"ms":300}"#), async {
        bench.until_busy("default/one").await;
        bench.runner.retire(&one.function, &[]);
    });
    pid(&running);
    // What was deleted does not.
    let (deleted, ()) = tokio::join!(bench.invoke(&one, r#"{"ms":9000}"#), async {
        bench.until_busy("default/one").await;
        bench.runner.forget(&one.function);
    });
    assert_eq!(deleted.outcome, Outcome::Deleted);
    // A server that stops waits for what runs, within bounds.
    let again = Arc::new(bench.program("again", NodeJs, wait));
    let (stopped, ()) = tokio::join!(bench.invoke(&again, r#"{"ms":9000}"#), async {
        bench.until_busy("default/again").await;
        bench.runner.shutdown(Duration::from_millis(100)).await;
    });
    assert_eq!(stopped.outcome, Outcome::Stopped);
    assert_eq!(bench.invoke(&again, short).await.outcome, Outcome::Stopped);
    assert_eq!(bench.runner.status().workers, 0);
    assert_eq!(left_of(bench.folder.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_started_for_each_event() {
    let bench = Bench::new();
    let script = |name: &str, text: &str| {
        let mut program = bench.program(name, Exec, text);
        let file = program.code.join("index.js");
        program.handler = format!("/bin/sh '{}' 'two words' \"\\$3\"", file.display());
        program.limits.timeout = Duration::from_secs(2);
        Arc::new(program)
    };
    let event =
        r#"{"id":"1","type":"t","subject":"ins-1","data":{"disk-id":"d 1","n":7,"deep":{}}}"#;
    for (name, text, outcome, told) in [
        ("json", "cat", Outcome::Succeeded, event),
        (
            "text",
            "echo \"$EVENT_SUBJECT $EVENT_DATA_DISK_ID $EVENT_DATA_N$EVENT_DATA_DEEP\"",
            Outcome::Succeeded,
            "\"ins-1 d 1 7\"",
        ),
        ("nothing", "true", Outcome::Succeeded, "null"),
        (
            "arguments",
            "echo \"$#:$1:$2\"",
            Outcome::Succeeded,
            "\"2:two words:$3\"",
        ),
        (
            "exits",
            "echo why >&2; exit 3",
            Outcome::Exited,
            "exit code 3",
        ),
        ("hangs", "sleep 100", Outcome::TimedOut, "no answer within"),
        (
            "floods",
            "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
            Outcome::AnswerTooLarge,
            "more than",
        ),
        ("leaves", "sleep 1000 & echo 1", Outcome::Succeeded, "1"),
    ] {
        let ended = bench.invoke(&script(name, text), event).await;
        let all = ended.result.clone().unwrap_or_else(|| {
            ended
                .failure
                .clone()
                .unwrap_or_else(|| panic!("{name}: {ended:?}"))
                .message
        });
        assert_eq!(ended.outcome, outcome, "{name}: {all} {}", texts(&ended));
        assert!(all.contains(told), "{name}: {all}");
    }
    let mut other = Program::clone(&script("other", ""));
    other.handler = "/bin/ls".to_owned();
    let refused = bench.invoke(&Arc::new(other), "{}").await;
    assert_eq!(refused.outcome, Outcome::Unavailable);
    let mut open = Program::clone(&script("open", ""));
    open.handler = "/bin/sh 'open".to_owned();
    let refused = bench.invoke(&Arc::new(open), "{}").await;
    assert_eq!(refused.outcome, Outcome::InitFailed);
    assert!(refused.failure.unwrap().message.contains("within quotes"));
    assert_eq!(left_of(bench.folder.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_written_for_other_vendors_gets_what_it_expects() {
    let bench = Bench::new();
    let of = |name: &str, runtime, profile, code: &str| {
        let mut program = bench.program(name, runtime, code);
        program.profile = profile;
        Arc::new(program)
    };
    let event = r#"{ "é": "\u00e9" }"#;
    for (name, runtime, profile, code, answer) in [
        (
            "fc-py",
            Python,
            Profile::Fc,
            "import json, logging\ndef main_handler(event, context):\n    logging.getLogger().info('seen %s', context.request_id)\n    return [event.decode(), json.loads(event), context.function.name]",
            r#"["{ \"é\": \"\\u00e9\" }",{"é":"é"},"fc-py"]"#,
        ),
        (
            "fc-js",
            NodeJs,
            Profile::Fc,
            "exports.main_handler = (event, context, callback) => callback(null, [Buffer.isBuffer(event), context.requestId.length])",
            "[true,36]",
        ),
        (
            "aws-py",
            Python,
            Profile::Lambda,
            "def main_handler(event, context):\n    return [event, len(context.aws_request_id), context.get_remaining_time_in_millis() > 9000]",
            r#"[{"é":"é"},36,true]"#,
        ),
        (
            "aws-js",
            NodeJs,
            Profile::Lambda,
            "exports.main_handler = async (event, context) => [event, context.functionName, context.getRemainingTimeInMillis() > 9000]",
            r#"[{"é":"é"},"aws-js",true]"#,
        ),
        (
            "scf-js",
            NodeJs,
            Profile::Scf,
            "exports.main_handler = (event, context, callback) => { context.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1000); callback(null, context.function_name) }",
            r#""scf-js""#,
        ),
        (
            "mjs",
            NodeJs,
            Profile::Scf,
            "exports.main_handler = async () => [__filename.endsWith('index.js'), process.env.HOME === process.cwd() || true]",
            "[true,true]",
        ),
    ] {
        let ended = bench.invoke(&of(name, runtime, profile, code), event).await;
        assert_eq!(
            ended.result.as_deref(),
            Some(answer),
            "{name}: {:?} {}",
            ended.failure,
            texts(&ended)
        );
        if name == "fc-py" {
            assert!(texts(&ended).contains(&format!("[INFO]\tseen {}", ended.request_id)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_tried_out_before_it_is_used() {
    let bench = Bench::new();
    let good = Arc::new(bench.program("good", NodeJs, "exports.main_handler = async () => 1"));
    let cold = bench.runner.validate(&good).await.unwrap();
    assert!(cold.total_ms > 0);
    let bad = Arc::new(bench.program("bad", Python, "import nothing_of_this_name"));
    let failure = bench.runner.validate(&bad).await.unwrap_err();
    assert_eq!(failure.kind, "ModuleNotFoundError");
    assert!(failure.stack.unwrap().contains("index.py\", line 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wanted_workers_are_there_before_the_first_event_and_idle_ones_go() {
    let bench = Bench::new();
    let code = "exports.main_handler = async () => process.pid";
    let idle = async |function: &str, count: usize| {
        let limit = Duration::from_secs(20);
        belfry_testkit::wait_until(&format!("{count} idle workers"), limit, async || {
            let programs = bench.runner.status().programs;
            let found = programs.iter().find(|pool| pool.function == function);
            Ok((found.map_or(0, |pool| pool.idle) == count).then_some(()))
        })
        .await
        .unwrap();
    };
    let mut warm = bench.program("warm", NodeJs, code);
    warm.limits.min_warm = 1;
    warm.limits.idle = Duration::from_millis(100);
    let warm = Arc::new(warm);
    bench.runner.keep_warm(&warm);
    idle("default/warm", 1).await;
    let first = bench.invoke(&warm, "{}").await;
    assert!(first.cold.is_none(), "{first:?}");
    // More than are wanted go after a while, and one that dies is replaced.
    let both = futures((0..2).map(|_| bench.invoke(&warm, "{}"))).await;
    assert!(both.iter().all(|one| one.outcome == Outcome::Succeeded));
    idle("default/warm", 1).await;
    let last = bench.invoke(&warm, "{}").await;
    let pid = rustix::process::Pid::from_raw(last.result.unwrap().parse().unwrap());
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL).unwrap();
    let limit = Duration::from_secs(20);
    belfry_testkit::wait_until("another worker", limit, async || {
        let next = bench.invoke(&warm, "{}").await;
        let is_other = next.worker_pid != last.worker_pid && next.cold.is_none();
        Ok(is_other.then_some(()))
    })
    .await
    .unwrap();
    // Nobody wants this one.
    let mut cool = bench.program("cool", NodeJs, code);
    cool.limits.idle = Duration::from_millis(100);
    let first = bench.invoke(&Arc::new(cool), "{}").await;
    assert!(first.cold.is_some());
    idle("default/cool", 0).await;
    bench.runner.shutdown(Duration::ZERO).await;
    assert_eq!(left_of(bench.folder.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_found_in_the_code_before_layers_and_in_layers_in_their_order() {
    let bench = Bench::new();
    let folder = bench.folder.path();
    let put = |file: &str, text: &str| {
        let file = folder.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file
    };
    for (layer, packages) in [("one", &["a", "b"][..]), ("two", &["a", "b", "c"])] {
        for package in packages {
            let says = format!("module.exports = '{package} of {layer}'");
            let place = if *package == "c" {
                "nodejs/node_modules"
            } else {
                "node_modules"
            };
            put(&format!("{layer}/{place}/{package}/index.js"), &says);
            put(
                &format!("{layer}/python/{package}.py"),
                &format!("says = '{package} of {layer}'"),
            );
        }
        let tool = put(
            &format!("{layer}/bin/tool"),
            &format!("#!/bin/sh\necho tool of {layer}"),
        );
        std::fs::set_permissions(tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let layers = vec![folder.join("one"), folder.join("two")];
    put("js/node_modules/a/index.js", "module.exports = 'a of code'");
    put("py/a.py", "says = 'a of code'");
    let expected = r#"["a of code","b of one","c of two","tool of one"]"#;
    for (name, runtime, code) in [
        (
            "js",
            NodeJs,
            "exports.main_handler = async () => [require('a'), require('b'), require('c'), require('child_process').execSync('tool').toString().trim()]",
        ),
        (
            "py",
            Python,
            "import a, b, c, subprocess\ndef main_handler(event, context):\n    return [a.says, b.says, c.says, subprocess.check_output('tool').decode().strip()]",
        ),
    ] {
        let program = Program {
            layers: layers.clone(),
            ..bench.program(name, runtime, code)
        };
        let ended = bench.invoke(&Arc::new(program), "{}").await;
        let answer: Option<serde_json::Value> = ended
            .result
            .as_deref()
            .map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(
            answer,
            Some(serde_json::from_str(expected).unwrap()),
            "{name}: {:?} {}",
            ended.failure,
            texts(&ended)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cut_off_with_its_server_is_told_of_by_the_next() {
    let bench = Bench::new();
    let wait =
        "exports.main_handler = async (e) => { await new Promise((r) => setTimeout(r, e.ms)) }";
    let program = Arc::new(bench.program("short", NodeJs, wait));
    let done = bench.invoke(&program, r#"{"ms":0}"#).await;
    assert_eq!(done.outcome, Outcome::Succeeded, "{:?}", done.failure);
    let (_, cut_off) = tokio::join!(bench.invoke(&program, r#"{"ms":3000}"#), async {
        bench.until_busy("default/short").await;
        // The next server finds what is on disk now.
        let copy = bench.folder.path().join("copy");
        let begun = bench.folder.path().join("functions/begun");
        std::fs::create_dir_all(copy.join("begun")).unwrap();
        for file in std::fs::read_dir(begun).unwrap().flatten() {
            std::fs::copy(file.path(), copy.join("begun").join(file.file_name())).unwrap();
        }
        let next = start(
            RunnerSettings::new(copy),
            &format!("{}/next", bench.folder.path().display()),
        );
        let cut_off = next.cut_off();
        assert!(next.cut_off().is_empty());
        cut_off
    });
    let [lost] = &cut_off[..] else {
        panic!("{cut_off:?}")
    };
    assert_eq!(
        (lost.outcome, lost.version.as_deref()),
        (Outcome::Lost, Some("$LATEST"))
    );
    assert_ne!(lost.request_id, done.request_id);
}
