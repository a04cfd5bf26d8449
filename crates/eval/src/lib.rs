//! Templates (Jinja) and scripts (Starlark) of operators, evaluated in a process of their own.
//!
//! What bounds them in their libraries (steps, depth) is best effort: with its version 3.0 one line of `replace`, `join` or
//! repeated concatenation took all memory and ended the process it ran in, and Starlark computes `'x' * 2000000000` while it
//! compiles. So it is not the server's process: the same
//! program in another mode ([`work`]) reads templates and contexts from its standard input, under limits of the kernel, and
//! when it dies or takes too long, one event's body fails and the next evaluation starts a new one.
//!
//! | module | owns |
//! |---|---|
//! | `frame` | what the two processes say to each other |
//! | `template` | one evaluation of a template |
//! | `script` | one evaluation of a script: the language, its library, its errors |
//! | `worker` | the helper process: its limits and its loop |
//! | `templates` | the server's side: starting, asking, giving up |
//!
//! It must never know what templates are for: rules, targets and events as such.

#![forbid(unsafe_code)]

mod frame;
mod script;
mod template;
mod templates;
mod worker;

pub use script::{Output, Ran, Script, Variable};
pub use template::Piece;
pub use templates::{EvalLimits, Fault, FaultKind, Templates, join};
pub use worker::work;

/// Longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 16 * 1024;
/// Longest script with the scripts of its variables, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 64 * 1024;
/// Longest output, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;
