//! Functions: their versions and aliases, their code, invoking them, what is on record of it.
//!
//! The draft of a function is a [document](crate::documents); what is special to it begins here. [`FunctionService`] is the
//! other half: it runs functions by their names, for targets (as [`Functions`](belfry_functions::Functions)) and for the
//! use-cases here, by what the engine's configuration says at that moment.
//!
//! | module | owns |
//! |---|---|
//! | `versions` | published versions, aliases, which version is meant |
//! | `code` | zip files in and out; what this server allows of a function |
//! | `programs` | a version made ready to run: its code on disk, its secrets |
//! | `machine` | what runs functions on this machine |
//! | `service` | running one by its name; what is on record from the beginning |
//! | `invoke` | asking for an invocation, at once, later or not at all; validating |
//! | `calls` | invocations that nobody waits for: done some time, tried again |
//! | `invocations` | searching and reading what is on record; following it live |
//! | `status` | how the runner is doing |

mod calls;
mod code;
mod invocations;
mod invoke;
mod machine;
mod programs;
mod service;
mod status;
mod versions;

use belfry_model::{DocumentName, FunctionName};
use belfry_store::Change;

use crate::config::Index;
use crate::documents::{FUNCTIONS, Place, find_kind};
use crate::error::{Code, Error, Result};

pub use belfry_functions::LiveLine;
pub use code::{CodeText, CodeView};
pub use invocations::{InvocationFilter, InvocationView, LineView, LiveView};
pub use invoke::{InvokeView, Invoked, ValidateView};
pub use machine::{Machine, Workers};
pub use service::{FunctionParts, FunctionService, FunctionSettings};
pub use status::FunctionsStatusView;
pub use versions::{AliasView, PublishFunction, VersionView, WriteAlias};

/// The draft, as a version.
pub(crate) const LATEST: &str = "$LATEST";
/// The alias that is meant when none is named.
pub(crate) const DEFAULT: &str = "$DEFAULT";

/// What a function is called in the audit log.
fn resource(function: &FunctionName) -> String {
    format!("{FUNCTIONS}/{function}")
}

/// The draft as a document.
fn place_of(name: &DocumentName) -> Result<Place<'_>> {
    let kind = find_kind(FUNCTIONS).ok_or_else(|| Error::internal("functions are a kind"))?;
    Ok(Place {
        kind,
        bus: None,
        name,
    })
}

/// The function that settings of a target name, if they are those of kind `function`.
pub(crate) fn function_of(kind: &str, settings: &serde_json::Value) -> Option<FunctionName> {
    if kind != TARGET {
        return None;
    }
    named(settings.get("function")?.as_str()?)
}

/// The kind of target that runs functions.
pub(crate) const TARGET: &str = "function";

/// A function by its name, or as Tencent names it: `qcs::scf:<region>:uin/<uin>:namespace/<ns>/function/<name>/<version>`.
fn named(text: &str) -> Option<FunctionName> {
    let Some(rest) = text.strip_prefix("qcs::scf:") else {
        return text.parse().ok();
    };
    let path = rest.rsplit(':').next()?;
    let mut parts = path.split('/');
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()?) {
        ("namespace", namespace, "function", name) => FunctionName::new(namespace, name).ok(),
        _ => None,
    }
}

/// What goes with a function that is deleted. Refused while a target runs it, unless that is said to be meant.
pub(crate) fn changes_with(
    index: &Index,
    name: &DocumentName,
    although_used: bool,
) -> Result<Vec<Change>> {
    let function: FunctionName = name.as_str().parse().map_err(Error::internal)?;
    if !although_used {
        let users = users(index, &function);
        if !users.is_empty() {
            let shown = users.iter().take(10).cloned().collect::<Vec<_>>();
            let more = users.len() - shown.len();
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let detail = format!(
                "{function} is run by targets of {}{more}; delete it all the same with `force`",
                shown.join(", ")
            );
            return Err(Error::new(Code::FunctionInUse, detail));
        }
    }
    versions::changes_with(index, &function)
}

/// The rules whose targets run a function, as `bus/rule`.
fn users(index: &Index, function: &FunctionName) -> Vec<String> {
    let mut found = Vec::new();
    for (bus, on_bus) in &index.buses {
        for (rule, stored) in &on_bus.rules {
            let uses = stored.targets.values().any(|target| {
                function_of(&target.spec.kind, &target.spec.settings).as_ref() == Some(function)
            });
            if uses {
                found.push(format!("{bus}/{rule}"));
            }
        }
    }
    found
}
