//! What runs functions, made from the settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_app::functions::{FunctionParts, FunctionService, Machine, Workers};
use belfry_functions::{
    Call, CodeStore, ColdStart, Failure as FunctionFailure, Invocation, LiveLine, Program, Runner,
    RuntimeKind,
};
use belfry_model::{Clock, FunctionName};
use belfry_sandbox::Launcher;
use belfry_store::Store;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::settings::Settings;

/// Functions as the settings say. What stands in their way is told when somebody asks for one: the server runs without them.
pub(super) fn start(
    settings: &Settings,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
) -> Arc<FunctionService> {
    let machine = if settings.functions.enabled {
        machine(settings, Arc::clone(&clock))
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

fn machine(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Machine, String> {
    let dir = settings.functions_dir();
    let told = |error: std::io::Error| format!("{}: {error}", dir.display());
    std::fs::create_dir_all(&dir).map_err(told)?;
    let dir = dir.canonicalize().map_err(told)?;
    let code = CodeStore::open(dir.join("code")).map_err(told)?;
    let program = PathBuf::from("/proc/self/exe");
    let launcher = Launcher::new(program, instance(&dir));
    let runner = Runner::start(settings.runner(dir.clone()), launcher, clock).map_err(told)?;
    if let Some(why) = runner.unavailable() {
        return Err(why.to_owned());
    }
    Ok(Machine {
        workers: Arc::new(Running(runner)),
        code: Arc::new(code),
    })
}

/// The same for every run on the same data, and for no other server.
fn instance(dir: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let hash = Sha256::digest(dir.as_os_str().as_bytes());
    let first: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("belfry-{first}-")
}

/// The runner, as the use-cases ask for it.
struct Running(Arc<Runner>);

#[async_trait]
impl Workers for Running {
    fn missing(&self, runtime: RuntimeKind) -> Option<String> {
        self.0.missing(runtime)
    }
    async fn invoke(&self, program: &Arc<Program>, call: Call<'_>, request_id: Uuid) -> Invocation {
        self.0.invoke(program, call, request_id).await
    }
    async fn validate(&self, program: &Arc<Program>) -> Result<ColdStart, FunctionFailure> {
        self.0.validate(program).await
    }
    fn retire(&self, function: &FunctionName, keep: &[[u8; 32]]) {
        self.0.retire(function, keep);
    }
    fn forget(&self, function: &FunctionName) {
        self.0.forget(function);
    }
    fn status(&self) -> Value {
        serde_json::to_value(self.0.status()).unwrap_or_default()
    }
    fn follow(&self) -> broadcast::Receiver<LiveLine> {
        self.0.follow()
    }
    async fn shutdown(&self, grace: Duration) {
        self.0.shutdown(grace).await;
    }
}
