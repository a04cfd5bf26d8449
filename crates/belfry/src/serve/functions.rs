//! What runs functions, made from the settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_app::functions::{FunctionParts, FunctionService, Machine, Workers};
use belfry_functions::{
    Call, CodeStore, ColdStart, Failure as FunctionFailure, Interpreter, Invocation, LiveLine,
    Program, Runner, RuntimeKind, Runtimes,
};
use belfry_model::{Clock, FunctionName};
use belfry_sandbox::Launcher;
use belfry_store::Store;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::settings::Settings;

/// Functions as the settings say. What stands in their way is told when somebody asks for one: the server runs without them.
pub(super) async fn start(
    settings: &Settings,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
) -> Arc<FunctionService> {
    let machine = if settings.functions.enabled {
        machine(settings, Arc::clone(&clock))
            .await
            .inspect_err(|why| tracing::error!(%why, "functions cannot be run"))
    } else {
        Err("functions are turned off".to_owned())
    };
    FunctionService::new(FunctionParts {
        store,
        clock,
        settings: settings.functions(),
        machine,
    })
}

async fn machine(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Machine, String> {
    let dir = settings.functions_dir();
    let told = |error: std::io::Error| format!("{}: {error}", dir.display());
    std::fs::create_dir_all(&dir).map_err(told)?;
    let dir = dir.canonicalize().map_err(told)?;
    let code = CodeStore::open(dir.join("code")).map_err(told)?;
    let program = PathBuf::from("/proc/self/exe");
    let launcher = Launcher::new(program, instance(&dir));
    let runtimes = Runtimes::probe(&settings.runtimes()).await;
    let with = settings.runner(dir.clone(), &runtimes);
    let level = with.level;
    let runner = Runner::start(with, launcher, clock).map_err(told)?;
    let status = runner.status();
    if status.isolation.is_none() {
        return Err(format!(
            "functions are to be shut in ({level:?}), and this machine cannot: {}; see functions.isolation and functions.allow_unsandboxed",
            status.support.why_not.join("; ")
        ));
    }
    Ok(Machine {
        workers: Arc::new(Running { runner, runtimes }),
        code: Arc::new(code),
    })
}

/// The same for every run on the same data, and for no other server.
fn instance(dir: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let hash = Sha256::digest(dir.as_os_str().as_bytes());
    let first = hash
        .iter()
        .take(8)
        .fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
    format!("belfry-{first:016x}-")
}

/// The runner, as the use-cases ask for it.
struct Running {
    runner: Arc<Runner>,
    runtimes: Runtimes,
}

#[async_trait]
impl Workers for Running {
    fn missing(&self, runtime: RuntimeKind) -> Option<String> {
        let why = self.runtimes.missing(runtime)?;
        Some(match runtime {
            RuntimeKind::NodeJs => format!("{why}; install it, or name it with functions.node"),
            RuntimeKind::Python => format!("{why}; install it, or name it with functions.python"),
            RuntimeKind::Exec | RuntimeKind::Custom => why.to_owned(),
        })
    }
    async fn invoke(&self, program: &Arc<Program>, call: Call<'_>, request_id: Uuid) -> Invocation {
        self.runner.invoke(program, call, request_id).await
    }
    async fn validate(&self, program: &Arc<Program>) -> Result<ColdStart, FunctionFailure> {
        self.runner.validate(program).await
    }
    fn keep_warm(&self, program: &Arc<Program>) {
        self.runner.keep_warm(program);
    }
    fn retire(&self, function: &FunctionName, keep: &[[u8; 32]]) {
        self.runner.retire(function, keep);
    }
    fn forget(&self, function: &FunctionName) {
        self.runner.forget(function);
    }
    fn cut_off(&self) -> Vec<Invocation> {
        self.runner.cut_off()
    }
    fn status(&self) -> Value {
        let mut status = serde_json::to_value(self.runner.status()).unwrap_or_default();
        let found = |runtime, interpreter: Option<&Interpreter>| match self.missing(runtime) {
            Some(why) => json!({ "missing": why }),
            None => json!(interpreter.map_or_else(|| json!({}), |found| json!(found))),
        };
        if let Some(members) = status.as_object_mut() {
            let (node, python) = (self.runtimes.node.as_ref(), self.runtimes.python.as_ref());
            let runtimes = json!({
                "nodejs": found(RuntimeKind::NodeJs, node.ok()),
                "python": found(RuntimeKind::Python, python.ok()),
                "exec": found(RuntimeKind::Exec, None),
                "custom": found(RuntimeKind::Custom, None),
            });
            members.insert("runtimes".to_owned(), runtimes);
        }
        status
    }
    fn follow(&self) -> broadcast::Receiver<LiveLine> {
        self.runner.follow()
    }
    async fn shutdown(&self, grace: Duration) {
        self.runner.shutdown(grace).await;
    }
}
