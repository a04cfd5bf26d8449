//! A function as an operator writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A function as an operator writes it: its draft, and what is frozen in a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FunctionSpec {
    /// For people; at most 4,096 bytes.
    #[serde(default)]
    pub description: String,
    /// A disabled function is not run: deliveries to it wait.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// `nodejs`, `python`, `exec` or `custom`; names of the vendors (`Nodejs16.13`, `python3.10`) mean the same, and are kept as
    /// given.
    pub runtime: String,
    /// Whose functions it is written like.
    #[serde(default)]
    pub profile: Profile,
    /// `file.function`, the file below the code's folder; by default `index.main_handler` (scf) or `index.handler` (fc, lambda).
    /// For `exec` the program to run, by its absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The code; absent only for `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<CodeSpec>,
    /// Names of layers: folders with packages that the server's operator keeps (`functions.layers_dir`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// Environment variables, at most 4 KB in all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// How long an invocation may take, in seconds (1 to 900; 3).
    #[serde(default = "timeout_seconds")]
    pub timeout_seconds: u32,
    /// How long loading the code may take, in seconds (1 to 300; 65).
    #[serde(default = "init_timeout_seconds")]
    pub init_timeout_seconds: u32,
    /// Memory in MB (64 to 3,072; 128).
    #[serde(default = "memory_mb")]
    pub memory_mb: u32,
    /// Workers at once on one server (1 to 100; 2).
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// Workers that are kept whatever happens (0 to `concurrency`; 0).
    #[serde(default)]
    pub min_warm: u32,
    /// How long a worker is kept that has nothing to do, in seconds (1 to 86,400; 300).
    #[serde(default = "idle_seconds")]
    pub idle_seconds: u32,
    /// Invocations of one worker before it is replaced (1 to 1,000,000; 10,000).
    #[serde(default = "invocations_per_worker")]
    pub max_invocations_per_worker: u32,
    /// Whether it may use the network.
    #[serde(default)]
    pub network: Network,
    /// When an invocation ends.
    #[serde(default)]
    pub drain: Drain,
    /// The region of its context; empty by default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
}

/// Whose functions it is written like: which handler, context and form of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Tencent SCF.
    #[default]
    Scf,
    /// Alibaba Function Compute: the event is bytes.
    Fc,
    /// AWS Lambda.
    Lambda,
}

/// What runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// Node.js.
    NodeJs,
    /// Python 3.
    Python,
    /// A program that is started for each event.
    Exec,
    /// The code's own `bootstrap`, which asks for events by Lambda's runtime API or SCF's.
    Custom,
}

/// Where the code is: exactly one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CodeSpec {
    /// One file's text, at most 256 KiB; it gets the name that the handler says.
    Inline(String),
    /// A zip file that was sent to `.../code`.
    Zip(ZipRef),
    /// A folder of the server's machine, below one that the settings allow.
    Path(String),
}

/// A zip file that the server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZipRef {
    /// The SHA-256 of the file, 64 hex digits.
    pub sha256: String,
    /// Its size in bytes.
    #[serde(default)]
    pub bytes: u64,
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EnvValue {
    /// The value itself.
    Text(String),
    /// That of a document of kind `secrets`.
    Secret {
        /// Its name.
        secret: String,
    },
}

/// Whether a function may use the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// As the server may.
    #[default]
    All,
    /// Not at all.
    None,
}

/// When an invocation of a Node.js function ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drain {
    /// When nothing is left to be done, as in SCF.
    #[default]
    Wait,
    /// When it has answered.
    Answer,
}

const fn yes() -> bool {
    true
}
const fn timeout_seconds() -> u32 {
    3
}
const fn init_timeout_seconds() -> u32 {
    65
}
const fn memory_mb() -> u32 {
    128
}
const fn concurrency() -> u32 {
    2
}
const fn idle_seconds() -> u32 {
    300
}
const fn invocations_per_worker() -> u32 {
    10_000
}
