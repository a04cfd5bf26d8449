//! How quick workers are, and what they take: cold and warm, Node.js and Python, at each level of isolation, side by side.
//!
//! `cargo bench -p belfry-functions`; needs node and python3. Beside each figure stands what a prototype needed on two cores.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use belfry_functions::{
    Call, Drain, Invocation, InvokedBy, Limits, Network, Outcome, Profile, Program, Runner,
    RunnerSettings, RuntimeKind,
};
use belfry_model::{FunctionName, SystemClock};
use belfry_sandbox::{Launcher, Level};
use belfry_testkit::server::launcher;
use uuid::Uuid;

const COLD: usize = 21;
const WARM: usize = 20_000;
const WARM_BEFORE: usize = 2_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        println!("| | cold, ms (median) | warm p50, us | p99, us | per s, one worker | memory, MB | prototype: cold / warm p50 / p99 / per s / MB |");
        println!("|---|---|---|---|---|---|---|");
        for (runtime, level, before) in [
            (RuntimeKind::NodeJs, Level::Process, "21-23 / 36-38 / 330-400 / 18,400-19,600 / 47"),
            (RuntimeKind::NodeJs, Level::Landlock, "22-23 / 40-41 / 410-600 / 14,100-16,800 / 47"),
            (RuntimeKind::Python, Level::Process, "13-15 / 37-38 / 60 / 26,900-28,100 / 10.6"),
            (RuntimeKind::Python, Level::Landlock, "14-17 / - / - / - / 10.6"),
        ] {
            measure(runtime, level, before).await;
        }
    });
}

async fn measure(runtime: RuntimeKind, level: Level, before: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = RunnerSettings::new(folder.path().join("functions"));
    settings.level = level;
    settings.node = Some(found("node"));
    settings.python = Some(PathBuf::from("/usr/bin/python3"));
    let instance = format!("{}:", folder.path().display());
    let launcher = Launcher::new(launcher().unwrap(), instance);
    let runner = Runner::start(settings, launcher, Arc::new(SystemClock)).unwrap();
    let event = format!(
        r#"{{"id":"1","type":"t","data":{{"text":"{}"}}}}"#,
        "x".repeat(800)
    );

    let mut cold = Vec::new();
    for number in 0..COLD {
        let program = program(folder.path(), runtime, number);
        let cold_start = runner.validate(&program).await.unwrap();
        cold.push(cold_start.total_ms);
    }
    cold.sort_unstable();

    let program = program(folder.path(), runtime, COLD);
    for _ in 0..WARM_BEFORE {
        invoke(&runner, &program, &event).await;
    }
    let mut warm = Vec::with_capacity(WARM);
    let begun = Instant::now();
    for _ in 0..WARM {
        let begun = Instant::now();
        invoke(&runner, &program, &event).await;
        warm.push(begun.elapsed());
    }
    let took = begun.elapsed();
    warm.sort_unstable();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let last = invoke(&runner, &program, &event).await;
    let at = |share: usize| warm[warm.len() * share / 100].as_micros();
    println!(
        "| {runtime:?}, {level:?} | {} | {} | {} | {:.0} | {:.1} | {before} |",
        cold[cold.len() / 2],
        at(50),
        at(99),
        f64::from(u32::try_from(WARM).unwrap()) / took.as_secs_f64(),
        last.memory_peak_bytes as f64 / f64::from(1 << 20),
    );
    runner.shutdown(Duration::ZERO).await;
}

fn program(folder: &Path, runtime: RuntimeKind, number: usize) -> Arc<Program> {
    let name = format!("bench-{number}");
    let code = folder.join(&name);
    std::fs::create_dir_all(&code).unwrap();
    std::fs::write(
        code.join("index.js"),
        "exports.main_handler = async (event) => event.id",
    )
    .unwrap();
    std::fs::write(
        code.join("index.py"),
        "def main_handler(event, context):\n    return event['id']\n",
    )
    .unwrap();
    let mut key = [0; 32];
    key[..16].copy_from_slice(Uuid::now_v7().as_bytes());
    Arc::new(Program {
        function: FunctionName::new("default", &name).unwrap(),
        version: "$LATEST".to_owned(),
        key,
        runtime,
        profile: Profile::Scf,
        handler: "index.main_handler".to_owned(),
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
            idle: Duration::from_secs(300),
            invocations_per_worker: 1_000_000,
        },
        network: Network::All,
        drain: Drain::Wait,
        region: String::new(),
    })
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
    let invocation = runner.invoke(program, call, Uuid::now_v7()).await;
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
