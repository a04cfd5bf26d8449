//! Runs functions: code that operators paste from Tencent SCF, Alibaba Function Compute or AWS Lambda.
//!
//! A **function** has a draft, **versions** that never change and **aliases** that point to them; ready to run, one of them is a
//! [`Program`]. It runs in **workers**: one process for each invocation at a time, kept warm. What became of one is an
//! [`Invocation`], and its [`Outcome`] says what follows.
//!
//! | module | owns |
//! |---|---|
//! | `spec` | a function as an operator writes it |
//! | `code` | code on this machine's disk |
//! | `runtimes` | the interpreters of this machine |
//! | `custom` | the HTTP side of workers that bring their own runtime |
//! | `profile` | contexts and environments like those of the vendors |
//! | `program` | a version of it, ready to run |
//! | `outcome` | how an invocation can end, and what follows: the failure table |
//! | `invocation` | what is on record of one |
//! | `begun` | invocations that have begun, for the case that the server is killed |
//! | `record` | it as it is kept |
//! | `text` | it as Tencent SCF shows it |
//! | `runner` | running programs |
//! | `pool` | who gets a worker |
//! | `worker` | one process: its start, an invocation, its end |
//! | `talk` | what is said to a worker and by it |
//! | `log` | what a function prints |
//! | `exec` | the runtime that starts a program for each event |
//! | `call` | asking for one: the trait that the rest of the product uses |
//!
//! It must never know rules, targets, stores or HTTP servers of the product's own.

#![forbid(unsafe_code)]

mod begun;
mod call;
mod code;
mod custom;
mod exec;
mod invocation;
mod log;
mod outcome;
mod pool;
mod profile;
mod program;
mod record;
mod runner;
mod runtimes;
mod spec;
mod talk;
mod text;
mod worker;

pub use call::{Call, Functions, NoFunctions};
pub use code::{
    CodeError, CodeLimits, CodeStore, ZipFacts, allowed_path, inline_digest, inspect_zip,
    layer_path,
};
pub use invocation::{ColdStart, Failure, Invocation, InvokedBy, Line, Stream};
pub use log::{LiveLine, LivePart};
pub use outcome::{Outcome, Retry};
pub use pool::PoolStatus;
pub use profile::{context, environment};
pub use program::{Limits, Program};
pub use record::{RESULT_BYTES_KEPT, Record, log_text};
pub use runner::{Runner, RunnerSettings, RunnerStatus};
pub use runtimes::{Interpreter, RuntimeSettings, Runtimes};
pub use spec::{
    CodeSpec, Drain, EnvValue, FunctionSpec, Network, Profile, RuntimeKind, SpecLimits, ZipRef,
};
pub use text::scf_text;
