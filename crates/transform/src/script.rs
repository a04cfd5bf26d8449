//! A script as a transform holds it: its source and variables. What runs it is not known here.

use serde_json::{Map, Value as Json};

use crate::error::{Errors, TransformError};
use crate::limits::{SCRIPT_BYTES_MAX, SCRIPT_VARS_MAX};

/// A script with what stands in its `msg.vars`.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Source with `def dw_process(msg)`.
    pub source: String,
    /// Variables, made in this order.
    pub vars: Vec<(String, Variable)>,
}

/// A variable of a script.
#[derive(Clone, Debug, PartialEq)]
pub enum Variable {
    /// Written as it is.
    Value(Json),
    /// Written as `{"script": "..."}`: what its `dw_process(msg)` gives.
    Script(String),
}

impl Script {
    pub(crate) fn read(source: &str, vars: &Map<String, Json>) -> Self {
        let vars = vars.iter().map(|(name, value)| {
            let variable = match script_of(value) {
                Some(source) => Variable::Script(source.to_owned()),
                None => Variable::Value(value.clone()),
            };
            (name.clone(), variable)
        });
        Self {
            source: source.to_owned(),
            vars: vars.collect(),
        }
    }

    /// What is wrong with it, as far as that can be said without running it.
    pub(crate) fn check(&self, errors: &mut Errors) {
        if self.vars.len() > SCRIPT_VARS_MAX {
            let message = format!("a script has at most {SCRIPT_VARS_MAX} variables");
            errors.push(TransformError::at("/vars", message));
        }
        let bytes = self.vars.iter().map(|(name, variable)| match variable {
            Variable::Value(value) => name.len() + value.to_string().len(),
            Variable::Script(source) => name.len() + source.len(),
        });
        if self.source.len() + bytes.sum::<usize>() > SCRIPT_BYTES_MAX {
            let message = format!("the script is larger than {SCRIPT_BYTES_MAX} bytes");
            errors.push(TransformError::at("/source", message));
        }
    }
}

fn script_of(value: &Json) -> Option<&str> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.get("script")?.as_str()
}
