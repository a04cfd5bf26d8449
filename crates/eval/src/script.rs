//! One evaluation of a script (Starlark): `dw_process(msg)` gets a message and gives what comes out of it.
//!
//! | module | owns |
//! |---|---|
//! | `library` | what scripts find beside the language: names of Python's, pure functions only |
//! | `hints` | what Python has and Starlark has not, and how it is written instead |
//!
//! The limits here give errors with a place. What really bounds a script is the process it runs in.

mod hints;
#[expect(
    clippy::unnecessary_wraps,
    reason = "the macro of the language's library wants a result of every function"
)]
mod library;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use starlark::PrintHandler;
use starlark::codemap::{FileSpan, FileSpanRef};
use starlark::environment::{FrozenModule, Globals, Module};
use starlark::eval::{BeforeStmtFuncDyn, Evaluator};
use starlark::syntax::{AstModule, Dialect, DialectTypes};
use starlark::values::dict::AllocDict;
use starlark::values::structs::AllocStruct;
use starlark::values::{Heap, OwnedFrozenValue, Value};

use crate::frame::Wrong;
use crate::{OUTPUT_BYTES_MAX, SCRIPT_BYTES_MAX};

/// Statements of one evaluation, in all its functions and turns of loops.
const STEPS_MAX: u64 = 500_000;
/// How often memory is looked at, in steps.
const STEPS_PER_LOOK: u64 = 64;
/// Memory of an evaluation's values, in bytes.
const HEAP_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Calls within calls.
const DEPTH_MAX: usize = 200;
/// What `print` leaves, in bytes.
const PRINTED_BYTES_MAX: usize = 4 * 1024;
/// Scripts that a helper keeps compiled.
const COMPILED_MAX: usize = 1_000;
/// The function that a script is to have.
const ENTRY: &str = "dw_process";

/// A script with its variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// Source with `def dw_process(msg)`, at most [`SCRIPT_BYTES_MAX`] together with the sources of variables.
    pub source: String,
    /// Members of `msg.vars`, made in this order before the script runs.
    pub vars: Vec<(String, Variable)>,
}

/// A variable of a script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Variable {
    /// It is this.
    Value(Json),
    /// It is what this script's `dw_process(msg)` gives; it sees the variables before it.
    Script(String),
}

/// What came of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// What it returned.
    pub output: Output,
    /// What it printed, cut after 4 KiB.
    pub printed: String,
}

/// What a script returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// `None`: there is nothing to send.
    Nothing,
    /// A text.
    Text(String),
    /// The JSON text of anything else.
    Json(String),
}

/// What the caller says: the members of `msg`, and what the library needs to know.
#[derive(Deserialize)]
struct Message {
    payload: Json,
    attrs: Json,
    id: String,
    seq_id: String,
    error: Json,
    now_ms: i64,
}

/// Compiles and evaluates scripts; keeps what it has compiled.
#[derive(Default)]
pub(crate) struct Scripts {
    globals: Option<Globals>,
    compiled: HashMap<[u8; 32], Compiled>,
    turn: u64,
}

struct Compiled {
    /// Holds what the function refers to.
    _module: FrozenModule,
    entry: OwnedFrozenValue,
    used: u64,
}

impl Scripts {
    /// Evaluates a script; without a context it is only compiled.
    pub(crate) fn evaluate(
        &mut self,
        script: &Script,
        context: Option<&str>,
    ) -> Result<Option<Ran>, Wrong> {
        let sources = script
            .vars
            .iter()
            .filter_map(|(_, variable)| match variable {
                Variable::Script(source) => Some(source.len()),
                Variable::Value(_) => None,
            });
        if script.source.len() + sources.sum::<usize>() > SCRIPT_BYTES_MAX {
            return Err(wrong(format!(
                "the script is larger than {SCRIPT_BYTES_MAX} bytes"
            )));
        }
        let mut steps = Vec::new();
        for (name, variable) in &script.vars {
            let step = match variable {
                Variable::Value(value) => Step::Value(value),
                Variable::Script(source) => Step::Call(self.compile(source).map_err(in_var(name))?),
            };
            steps.push((name.as_str(), step));
        }
        let entry = self.compile(&script.source)?;
        let Some(context) = context else {
            return Ok(None);
        };
        let message: Message = serde_json::from_str(context)
            .map_err(|error| wrong(format!("the context: {error}")))?;
        let printed = Printed::default();
        match run(&steps, &entry, &message, &printed) {
            Ok(output) => Ok(Some(Ran {
                output,
                printed: printed.0.into_inner(),
            })),
            Err(wrong) => Err(Wrong {
                printed: printed.0.into_inner(),
                ..wrong
            }),
        }
    }

    fn compile(&mut self, source: &str) -> Result<OwnedFrozenValue, Wrong> {
        self.turn += 1;
        let digest: [u8; 32] = Sha256::digest(source).into();
        if let Some(known) = self.compiled.get_mut(&digest) {
            known.used = self.turn;
            return Ok(known.entry.clone());
        }
        let globals = match &self.globals {
            Some(globals) => globals,
            None => self.globals.insert(library::globals()?),
        };
        let module = module(SCRIPT, source, globals)?;
        let entry = module
            .get(ENTRY)
            .ok()
            .filter(|entry| is_function(entry.value()));
        let entry = entry.ok_or_else(|| Wrong {
            hint: Some("def dw_process(msg):".to_owned()),
            ..wrong("the script has no function dw_process(msg)".to_owned())
        })?;
        if self.compiled.len() >= COMPILED_MAX {
            let oldest = self.compiled.iter().min_by_key(|(_, known)| known.used);
            if let Some(digest) = oldest.map(|(digest, _)| *digest) {
                self.compiled.remove(&digest);
            }
        }
        let known = Compiled {
            _module: module,
            entry: entry.clone(),
            used: self.turn,
        };
        self.compiled.insert(digest, known);
        Ok(entry)
    }
}

/// What a script is called in places.
const SCRIPT: &str = "script";

enum Step<'a> {
    Value(&'a Json),
    Call(OwnedFrozenValue),
}

/// Evaluates a module's own statements and freezes it.
fn module(name: &str, source: &str, globals: &Globals) -> Result<FrozenModule, Wrong> {
    let dialect = Dialect {
        enable_load: false,
        enable_keyword_only_arguments: true,
        enable_types: DialectTypes::Disable,
        enable_top_level_stmt: true,
        enable_f_strings: true,
        ..Dialect::Standard
    };
    let at = |error: starlark::Error| told(&error);
    let ast = AstModule::parse(name, source.to_owned(), &dialect).map_err(at)?;
    let module = Module::new();
    {
        let printed = Printed::default();
        let mut evaluator = Evaluator::new(&module);
        limit(&mut evaluator, &printed)?;
        evaluator.eval_module(ast, globals).map_err(at)?;
    }
    module.freeze().map_err(|error| wrong(format!("{error:?}")))
}

fn run(
    steps: &[(&str, Step<'_>)],
    entry: &OwnedFrozenValue,
    message: &Message,
    printed: &Printed,
) -> Result<Output, Wrong> {
    let module = Module::new();
    let heap = module.heap();
    library::set_occasion(&module, message.now_ms, &message.id);
    let mut evaluator = Evaluator::new(&module);
    // Values that are only held here are nothing a collector would know of.
    evaluator.disable_gc();
    limit(&mut evaluator, printed)?;
    let payload = heap.alloc(&message.payload);
    let mut vars = vec![("body", payload)];
    for (name, step) in steps {
        let value = match step {
            Step::Value(value) => heap.alloc(*value),
            Step::Call(function) => {
                let message = alloc_message(heap, message, payload, &vars);
                evaluator
                    .eval_function(function.owned_value(module.frozen_heap()), &[message], &[])
                    .map_err(|error| in_var(name)(told(&error)))?
            }
        };
        vars.retain(|(known, _)| known != name);
        vars.push((name, value));
    }
    let message = alloc_message(heap, message, payload, &vars);
    let value = evaluator
        .eval_function(entry.owned_value(module.frozen_heap()), &[message], &[])
        .map_err(|error| told(&error))?;
    output(value)
}

fn alloc_message<'v>(
    heap: &'v Heap,
    message: &Message,
    payload: Value<'v>,
    vars: &[(&str, Value<'v>)],
) -> Value<'v> {
    heap.alloc(AllocStruct([
        ("payload", payload),
        ("vars", heap.alloc(AllocDict(vars.iter().copied()))),
        ("attrs", heap.alloc(&message.attrs)),
        ("id", heap.alloc(message.id.as_str())),
        ("seq_id", heap.alloc(message.seq_id.as_str())),
        ("error", heap.alloc(&message.error)),
    ]))
}

fn output(value: Value<'_>) -> Result<Output, Wrong> {
    let too_large = || {
        wrong(format!(
            "the result is larger than {OUTPUT_BYTES_MAX} bytes"
        ))
    };
    match value.get_type() {
        "NoneType" => Ok(Output::Nothing),
        "string" => {
            let text = value.unpack_str().unwrap_or_default();
            if text.len() > OUTPUT_BYTES_MAX {
                return Err(too_large());
            }
            Ok(Output::Text(text.to_owned()))
        }
        "bool" | "int" | "float" | "list" | "dict" | "tuple" => {
            // A few lists that hold each other several times are short in memory and endless as text.
            let mut bytes = Bounded::new(OUTPUT_BYTES_MAX);
            match serde_json::to_writer(&mut bytes, &value) {
                Ok(()) => Ok(Output::Json(bytes.into_text())),
                // What went wrong with the writing is told as an error of the value.
                Err(_) if bytes.is_over => Err(too_large()),
                Err(error) => Err(wrong(format!(
                    "the result cannot be written as JSON: {error}"
                ))),
            }
        }
        other => Err(wrong(format!(
            "{ENTRY} returned a {other}; it may return None, a text, a number, True or False, a list or a dict"
        ))),
    }
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    /// More was to be written.
    is_over: bool,
}

impl Bounded {
    fn new(most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            most,
            is_over: false,
        }
    }

    fn into_text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            self.is_over = true;
            return Err(io::Error::other("too much"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_function(value: Value<'_>) -> bool {
    value.get_type() == "function"
}

fn limit<'a>(evaluator: &mut Evaluator<'_, 'a, '_>, printed: &'a Printed) -> Result<(), Wrong> {
    evaluator
        .set_max_callstack_size(DEPTH_MAX)
        .map_err(|error| wrong(error.to_string()))?;
    evaluator.set_print_handler(printed);
    let steps: Box<dyn BeforeStmtFuncDyn<'_, '_>> = Box::new(Steps(Cell::new(0)));
    evaluator.before_stmt_for_dap(steps.into());
    Ok(())
}

/// Counts statements: this version of the library has no limit of its own.
struct Steps(Cell<u64>);

impl<'a, 'e: 'a> BeforeStmtFuncDyn<'a, 'e> for Steps {
    fn call<'v>(
        &mut self,
        _: FileSpanRef<'_>,
        evaluator: &mut Evaluator<'v, 'a, 'e>,
    ) -> starlark::Result<()> {
        let steps = self.0.get() + 1;
        self.0.set(steps);
        let refuse = |text: String| Err(starlark::Error::new_other(anyhow::anyhow!(text)));
        if steps > STEPS_MAX {
            return refuse(format!("the script takes more than {STEPS_MAX} steps"));
        }
        if steps.is_multiple_of(STEPS_PER_LOOK)
            && evaluator.heap().allocated_bytes() > HEAP_BYTES_MAX
        {
            return refuse(format!(
                "the script takes more than {} MiB of memory",
                HEAP_BYTES_MAX / 1024 / 1024
            ));
        }
        Ok(())
    }
}

/// What `print` was told.
#[derive(Default)]
struct Printed(RefCell<String>);

impl PrintHandler for Printed {
    fn println(&self, text: &str) -> starlark::Result<()> {
        let mut printed = self.0.borrow_mut();
        let left = PRINTED_BYTES_MAX.saturating_sub(printed.len());
        let mut end = text.len().min(left.saturating_sub(1));
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        if left > 0 {
            printed.push_str(text.get(..end).unwrap_or_default());
            printed.push('\n');
        }
        Ok(())
    }
}

fn wrong(message: String) -> Wrong {
    Wrong {
        message,
        ..Wrong::default()
    }
}

fn in_var(name: &str) -> impl Fn(Wrong) -> Wrong {
    move |wrong| Wrong {
        variable: Some(name.to_owned()),
        ..wrong
    }
}

/// An error with its place in the script, also when it arose in a function of the library that the script called.
fn told(error: &starlark::Error) -> Wrong {
    let own = |span: &&FileSpan| span.filename() == SCRIPT;
    let callers = error.call_stack().frames.iter().rev();
    let span = error.span().filter(own).or_else(|| {
        callers
            .filter_map(|frame| frame.location.as_ref())
            .find(own)
    });
    let message = error.without_diagnostic().to_string();
    let message = message.lines().next().unwrap_or_default().to_owned();
    let begin = span.map(|span| span.resolve_span().begin);
    Wrong {
        line: begin.map_or(0, |begin| begin.line + 1),
        column: begin.map_or(0, |begin| begin.column + 1),
        hint: hints::find(
            &message,
            span.map(FileSpan::source_span).unwrap_or_default(),
        ),
        message,
        ..Wrong::default()
    }
}
