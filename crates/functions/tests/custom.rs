//! Code that is written for other clouds, run as on a server: custom runtimes, and handlers of Function Compute and Lambda.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, outside of functions marked as tests"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use belfry_functions::{
    Call, CodeStore, Drain, Invocation, InvokedBy, Limits, Network, Outcome, Profile, Program,
    Runner, RunnerSettings, RuntimeKind, RuntimeSettings, Runtimes,
};
use belfry_model::{FunctionName, SystemClock};
use belfry_sandbox::{Launcher, Level, Support};
use belfry_testkit::lacks::tries_namespaces;
use serde_json::{Value, json};
use uuid::Uuid;

struct Bench {
    _folder: tempfile::TempDir,
    codes: CodeStore,
    runner: Arc<Runner>,
}

impl Bench {
    async fn new() -> Self {
        Self::at(Level::Landlock).await
    }

    async fn at(level: Level) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtimes = Runtimes::probe(&RuntimeSettings::default()).await;
        let mut settings = RunnerSettings::new(folder.path().join("functions"));
        settings.node = Some(runtimes.node.unwrap().path);
        settings.python = Some(runtimes.python.unwrap().path);
        settings.answer_bytes_max = 100_000;
        settings.level = level;
        let launcher = belfry_testkit::server::launcher().unwrap();
        let instance = format!("{}:", folder.path().display());
        Self {
            codes: CodeStore::open(folder.path().join("code")).unwrap(),
            runner: Runner::start(
                settings,
                Launcher::new(launcher, instance),
                Arc::new(SystemClock),
            )
            .unwrap(),
            _folder: folder,
        }
    }

    fn program(&self, runtime: RuntimeKind, profile: Profile, file: &str, code: &str) -> Program {
        let (key, code) = self.codes.place_inline(file, code).unwrap();
        Program {
            function: "default/pasted".parse().unwrap(),
            version: "3".to_owned(),
            key,
            runtime,
            profile,
            handler: profile.handler().to_owned(),
            code,
            layers: Vec::new(),
            environment: Vec::new(),
            secrets: Vec::new(),
            limits: Limits {
                timeout: Duration::from_secs(20),
                init_timeout: Duration::from_mins(1),
                memory_mb: 256,
                concurrency: 1,
                min_warm: 0,
                idle: Duration::from_mins(5),
                invocations_per_worker: 10_000,
            },
            network: Network::All,
            drain: Drain::Wait,
            region: "cn-hangzhou".to_owned(),
        }
    }

    async fn invoke(&self, program: &Arc<Program>, event: &str) -> Invocation {
        let function: FunctionName = program.function.clone();
        let call = Call {
            function: &function,
            qualifier: "$DEFAULT",
            event,
            invoked_by: InvokedBy::Api,
            delivery: None,
            events: &[],
            attempt: 2,
            routing: 0,
        };
        Box::pin(self.runner.invoke(program, call, Uuid::now_v7())).await
    }
}

fn answer(invocation: &Invocation) -> Value {
    assert_eq!(invocation.outcome, Outcome::Succeeded, "{invocation:?}");
    serde_json::from_str(invocation.result.as_deref().unwrap()).unwrap()
}

/// A runtime in a shell, by SCF's paths: what SCF's own examples do.
const SCF_IN_BASH: &str = r#"#!/bin/bash
api=http://$SCF_RUNTIME_API:$SCF_RUNTIME_API_PORT/runtime
echo loading
curl -sf -X POST $api/init/ready -d '' >/dev/null
while true; do
    event=$(curl -sf $api/invocation/next) || exit 7
    echo "got $event"
    case $event in
        *exit*) exit 5 ;;
        *fail*) curl -s -X POST $api/invocation/error -d 'it broke' >/dev/null ;;
        *large*) head -c 200000 /dev/zero | tr '\0' x | curl -s -X POST $api/invocation/response -d @- >/dev/null ;;
        *slow*) sleep 1000 ;;
        *) curl -s -X POST $api/invocation/response -d "{\"got\": $event, \"handler\": \"$_HANDLER\"}" >/dev/null ;;
    esac
done
"#;

#[tokio::test]
async fn a_custom_runtime_in_bash_stays_warm_and_fails_as_others_do() {
    bash(&Bench::new().await, "landlock").await;
}

#[tokio::test]
async fn a_custom_runtime_reaches_its_events_from_namespaces_of_its_own() {
    if tries_namespaces(&Support::probe().why_not) {
        bash(&Bench::at(Level::Namespace).await, "namespace").await;
    }
}

async fn bash(bench: &Bench, isolation: &str) {
    let mut program = bench.program(RuntimeKind::Custom, Profile::Scf, "bootstrap", SCF_IN_BASH);
    program.limits.timeout = Duration::from_secs(5);
    let program = Arc::new(program);
    let first = bench.invoke(&program, r#"{"n":1}"#).await;
    assert_eq!(
        answer(&first),
        json!({"got": {"n": 1}, "handler": "index.main_handler"})
    );
    assert!(first.cold.is_some());
    assert_eq!(first.isolation.as_deref(), Some(isolation));
    let texts: Vec<&str> = first.log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["loading", r#"got {"n":1}"#]);
    let second = bench.invoke(&program, "2").await;
    assert_eq!(answer(&second)["got"], 2);
    assert_eq!((second.cold, second.worker_pid), (None, first.worker_pid));
    for (event, outcome, kept) in [
        (r#""fail""#, Outcome::Threw, true),
        (r#""large""#, Outcome::AnswerTooLarge, true),
        (r#""exit""#, Outcome::Exited, false),
        (r#""slow""#, Outcome::TimedOut, false),
    ] {
        let ended = bench.invoke(&program, event).await;
        assert_eq!(ended.outcome, outcome, "{ended:?}");
        let next = bench.invoke(&program, "3").await;
        assert_eq!(answer(&next)["got"], 3);
        assert_eq!(next.cold.is_none(), kept, "{event}");
    }
}

#[tokio::test]
async fn an_unmodified_awslambdaric_function_runs_by_its_bootstrap() {
    let packages = std::env::var_os("BELFRY_TEST_AWSLAMBDARIC").expect(
        "BELFRY_TEST_AWSLAMBDARIC names a folder with awslambdaric; `cargo xtask test` makes it",
    );
    let packages = PathBuf::from(packages);
    assert!(packages.is_dir(), "{}", packages.display());
    let bench = Bench::new().await;
    // The function's code beside the packages, as `pip install --target` has it.
    let folder = tempfile::tempdir().unwrap();
    copy(&packages, folder.path());
    std::fs::write(
        folder.path().join("app.py"),
        r#"
def handler(event, context):
    if event == "fail":
        raise ValueError("no such volume")
    print("snapshot of", event["volume"])
    return {"volume": event["volume"], "arn": context.invoked_function_arn, "attempt": context.client_context.custom["attempt"]}
"#,
    )
    .unwrap();
    let bootstrap = folder.path().join("bootstrap");
    std::fs::write(
        &bootstrap,
        "#!/bin/sh\nexec python3 -m awslambdaric \"$_HANDLER\"\n",
    )
    .unwrap();
    let mut program = bench.program(RuntimeKind::Custom, Profile::Lambda, "bootstrap", "");
    program.code = folder.path().to_owned();
    program.handler = "app.handler".to_owned();
    let program = Arc::new(program);
    let refused = bench.invoke(&program, "{}").await;
    assert_eq!(refused.outcome, Outcome::InitFailed);
    assert!(refused.failure.unwrap().message.contains("chmod"));
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&bootstrap, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let first = bench.invoke(&program, r#"{"volume":"vol-1"}"#).await;
    assert_eq!(
        answer(&first),
        json!({"volume": "vol-1", "arn": "arn:aws:lambda:cn-hangzhou:000000000000:function:pasted:3", "attempt": 2})
    );
    assert!(
        first
            .log
            .iter()
            .any(|line| line.text == "snapshot of vol-1")
    );
    let second = bench.invoke(&program, r#""fail""#).await;
    let failure = second.failure.clone().unwrap();
    assert_eq!(
        (
            second.outcome,
            failure.kind.as_str(),
            failure.message.as_str()
        ),
        (Outcome::Threw, "ValueError", "no such volume")
    );
    assert!(failure.stack.unwrap().contains("app.py"));
    let mut missing = Program::clone(&program);
    missing.handler = "none.handler".to_owned();
    missing.key = [9; 32];
    let ended = bench.invoke(&Arc::new(missing), "{}").await;
    assert_eq!(ended.outcome, Outcome::InitFailed, "{ended:?}");
    assert_eq!(ended.failure.unwrap().kind, "Runtime.ImportModuleError");
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp")
        .arg("-r")
        .arg(format!("{}/.", from.display()))
        .arg(to)
        .status()
        .unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn handlers_of_function_compute_and_lambda_run_unchanged() {
    let bench = Bench::new().await;
    let cases = [
        (
            RuntimeKind::Python,
            Profile::Fc,
            "index.py",
            r#"
import json
def handler(event, context):
    assert isinstance(event, bytes)
    context.logger.info("for %s", context.function.name)
    return {"n": json.loads(event)["n"], "who": context.function.name, "id": len(context.request_id), "key": context.credentials.access_key_id, "attempt": context.attempt}
"#,
        ),
        (
            RuntimeKind::Python,
            Profile::Lambda,
            "index.py",
            r#"
def handler(event, context):
    assert context.get_remaining_time_in_millis() > 0
    return {"n": event["n"], "who": context.function_name, "id": len(context.aws_request_id), "key": "", "attempt": context.attempt}
"#,
        ),
        (
            RuntimeKind::NodeJs,
            Profile::Fc,
            "index.js",
            r"
exports.handler = (event, context, callback) => {
    if (!Buffer.isBuffer(event)) throw new Error('no buffer');
    callback(null, {n: JSON.parse(event).n, who: context.function.name, id: context.requestId.length, key: context.credentials.accessKeyId, attempt: context.attempt});
};
",
        ),
        (
            RuntimeKind::NodeJs,
            Profile::Lambda,
            "index.js",
            r"
exports.handler = async (event, context) => ({n: event.n, who: context.functionName, id: context.awsRequestId.length, key: '', attempt: context.attempt});
",
        ),
    ];
    for (runtime, profile, file, code) in cases {
        let program = Arc::new(bench.program(runtime, profile, file, code));
        let ended = bench.invoke(&program, r#"{"n":7}"#).await;
        assert_eq!(
            answer(&ended),
            json!({"n": 7, "who": "pasted", "id": 36, "key": "", "attempt": 2}),
            "{runtime:?} {profile:?}"
        );
    }
}
