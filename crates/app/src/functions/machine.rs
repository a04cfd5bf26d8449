//! What runs functions on this machine, as the use-cases need it: workers, and the code that they run.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_functions::{
    Call, ColdStart, Failure, FunctionSpec, Invocation, LiveLine, Program, RuntimeKind,
};
use belfry_model::{FieldError, FunctionName};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::broadcast;
use uuid::Uuid;

/// What is known of a zip file that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZipFacts {
    /// How many files are in it.
    pub files: u64,
    /// Their size, in bytes.
    pub unpacked_bytes: u64,
}

/// A function's code on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What runs it.
    pub runtime: RuntimeKind,
    /// `file.function`; for `exec` the program with its arguments.
    pub handler: String,
    /// The folder of the code.
    pub code: PathBuf,
    /// Folders of layers.
    pub layers: Vec<PathBuf>,
}

/// Runs functions on this machine. Made by whoever knows the settings; tests have one of their own.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Everything wrong with a function here: what is never right, what the settings do not allow, what is not installed.
    fn check(&self, spec: &FunctionSpec) -> Vec<FieldError>;
    /// Looks through a zip file without placing it. The errors say what is wrong with it.
    async fn inspect(&self, zip: Bytes) -> Result<ZipFacts, Vec<FieldError>>;
    /// Whether a zip file's content is already on this machine.
    fn has(&self, sha256: &[u8; 32]) -> bool;
    /// Puts a function's code where it can be run; `zip` is needed unless [`Machine::has`] it.
    ///
    /// # Errors
    /// Why that cannot be done.
    async fn place(&self, spec: &FunctionSpec, zip: Option<Bytes>) -> Result<Placed, String>;
    /// Removes placed code that is not in one of these folders.
    ///
    /// # Errors
    /// The disk's.
    async fn remove_unused(&self, used: HashSet<PathBuf>) -> std::io::Result<()>;
    /// Runs a program and waits until it has ended.
    async fn invoke(&self, program: &Arc<Program>, call: Call<'_>, request_id: Uuid) -> Invocation;
    /// Starts a worker, has it load the code, ends it.
    ///
    /// # Errors
    /// Why the code does not load.
    async fn validate(&self, program: &Arc<Program>) -> Result<ColdStart, Failure>;
    /// Workers of a function's other programs finish and go.
    fn retire(&self, function: &FunctionName, keep: &[[u8; 32]]);
    /// A function was deleted: what runs of it ends.
    fn forget(&self, function: &FunctionName);
    /// Runtimes, isolation, workers: for people.
    fn status(&self) -> Value;
    /// What happens in invocations from now on.
    fn follow(&self) -> broadcast::Receiver<LiveLine>;
    /// Begins nothing more, waits for what runs, ends what is left.
    async fn shutdown(&self, grace: Duration);
}
