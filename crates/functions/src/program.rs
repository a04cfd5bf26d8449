//! A version of a function, ready to run.

use std::path::PathBuf;
use std::time::Duration;

use belfry_model::FunctionName;

use crate::spec::{Drain, Network, Profile, RuntimeKind};

/// A version of a function, ready to run. Workers belong to one: whatever changes makes another.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// The function.
    pub function: FunctionName,
    /// `$LATEST` or a number.
    pub version: String,
    /// A hash of everything else here: programs with the same key are the same.
    pub key: [u8; 32],
    /// What runs it.
    pub runtime: RuntimeKind,
    /// Whose functions it is written like.
    pub profile: Profile,
    /// `file.function`; for `exec` the program with its arguments.
    pub handler: String,
    /// The folder of the code; read-only.
    pub code: PathBuf,
    /// Folders of layers, in their order; read-only.
    pub layers: Vec<PathBuf>,
    /// The operator's environment, secrets in clear.
    pub environment: Vec<(String, String)>,
    /// Values that must not show in logs: those of `environment` that are secrets.
    pub secrets: Vec<String>,
    /// Bounds.
    pub limits: Limits,
    /// Whether it may use the network.
    pub network: Network,
    /// When an invocation ends.
    pub drain: Drain,
    /// The region of its context.
    pub region: String,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("function", &self.function)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Bounds of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long an invocation may take.
    pub timeout: Duration,
    /// How long loading the code may take.
    pub init_timeout: Duration,
    /// Memory, in MB.
    pub memory_mb: u32,
    /// Workers at once.
    pub concurrency: u32,
    /// Workers that are kept whatever happens.
    pub min_warm: u32,
    /// How long a worker is kept that has nothing to do.
    pub idle: Duration,
    /// Invocations of one worker; then it is replaced.
    pub invocations_per_worker: u32,
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// A program with the defaults of a spec, for tests.
    pub(crate) fn program(function: &FunctionName) -> Program {
        Program {
            function: function.clone(),
            version: "$LATEST".to_owned(),
            key: [0; 32],
            runtime: RuntimeKind::NodeJs,
            profile: Profile::Scf,
            handler: "index.main_handler".to_owned(),
            code: PathBuf::from("/code"),
            layers: Vec::new(),
            environment: Vec::new(),
            secrets: Vec::new(),
            limits: Limits {
                timeout: Duration::from_secs(3),
                init_timeout: Duration::from_secs(65),
                memory_mb: 128,
                concurrency: 2,
                min_warm: 0,
                idle: Duration::from_mins(5),
                invocations_per_worker: 10_000,
            },
            network: Network::All,
            drain: Drain::Wait,
            region: String::new(),
        }
    }
}
