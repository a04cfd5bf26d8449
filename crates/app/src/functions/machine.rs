//! What runs functions on this machine: workers, and the code that they run.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_functions::{
    Call, CodeStore, ColdStart, Failure, Invocation, LiveLine, Program, RuntimeKind,
};
use belfry_model::FunctionName;
use serde_json::Value;
use tokio::sync::broadcast;
use uuid::Uuid;

/// What runs functions on this machine.
pub struct Machine {
    /// Runs programs.
    pub workers: Arc<dyn Workers>,
    /// Where their code is put.
    pub code: Arc<CodeStore>,
}

/// Runs programs in workers. Tests have some that need no interpreter.
#[async_trait]
pub trait Workers: Send + Sync {
    /// Why this machine cannot run a runtime; `None`: it can.
    fn missing(&self, runtime: RuntimeKind) -> Option<String>;
    /// Runs a program and waits until it has ended.
    async fn invoke(&self, program: &Arc<Program>, call: Call<'_>, request_id: Uuid) -> Invocation;
    /// Starts a worker, has it load the code, ends it.
    ///
    /// # Errors
    /// Why the code does not load.
    async fn validate(&self, program: &Arc<Program>) -> Result<ColdStart, Failure>;
    /// Has as many workers of a program as it wants whatever happens.
    fn keep_warm(&self, program: &Arc<Program>);
    /// Workers of a function's other programs finish and go.
    fn retire(&self, function: &FunctionName, keep: &[[u8; 32]]);
    /// A function was deleted: what runs of it ends.
    fn forget(&self, function: &FunctionName);
    /// Invocations that an earlier process of the server had begun, and could not bring to an end. Told once.
    fn cut_off(&self) -> Vec<Invocation>;
    /// Runtimes, isolation, workers: for people.
    fn status(&self) -> Value;
    /// What happens in invocations from now on.
    fn follow(&self) -> broadcast::Receiver<LiveLine>;
    /// Begins nothing more, waits for what runs, ends what is left.
    async fn shutdown(&self, grace: Duration);
}
