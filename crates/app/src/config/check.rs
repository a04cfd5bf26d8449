//! What makes a rule or a target one that can be stored: everything is checked, everything wrong is told at once.

use belfry_engine::compile_transform;
use belfry_eval::FaultKind;
use belfry_model::config::{RuleSpec, TargetSpec};
use belfry_model::json::{self, JsonText};
use belfry_model::{DocumentName, FieldError};
use belfry_pattern::{Pattern, PatternErrors};
use belfry_targets::{TargetKind, find_kind};
use belfry_transform::{Path, TransformSpec};
use serde_json::Value;

use super::{Index, Refusal};
use crate::App;
use crate::documents::FUNCTIONS;
use crate::error::{Error, Fault, faults_under};
use crate::functions;

/// Everything wrong with a rule.
pub(super) fn rule_faults(spec: &RuleSpec) -> Vec<Fault> {
    let mut faults = faults_under("", spec.check());
    if let Err(errors) = Pattern::parse(spec.pattern.as_str().as_bytes()) {
        faults.extend(pattern_faults("/pattern", errors));
    }
    faults
}

/// A pattern's errors, seen from where it stands.
pub(crate) fn pattern_faults(prefix: &str, errors: PatternErrors) -> Vec<Fault> {
    let fault = |error: belfry_pattern::PatternError| Fault {
        code: Some(error.code.as_str()),
        line: Some(error.line),
        column: Some(error.column),
        hint: error.hint,
        ..Fault::new(format!("{prefix}{}", error.pointer), error.message)
    };
    errors.into_vec().into_iter().map(fault).collect()
}

/// Everything wrong with a transform.
fn transform_faults(text: &JsonText) -> Vec<Fault> {
    let spec: TransformSpec = match json::from_slice(text.as_str().as_bytes()) {
        Ok(spec) => spec,
        Err(errors) => return faults_under("/transform", errors),
    };
    let errors = compile_transform(&spec).err().unwrap_or_default();
    errors
        .into_iter()
        .map(|error| Fault {
            line: error.line,
            column: error.column,
            hint: error.hint,
            ..Fault::new(format!("/transform{}", error.pointer), error.message)
        })
        .collect()
}

/// An error about settings without the value of the wrong type that was sent: it may be a secret, put a level too high
/// or too low.
pub(crate) fn without_value(mut error: FieldError) -> FieldError {
    for (got, kind) in [
        (", got string ", ", got a string"),
        (", got integer ", ", got a number"),
        (", got floating point ", ", got a number"),
    ] {
        if let Some(at) = error.detail.find(got) {
            error.detail.replace_range(at.., kind);
        }
    }
    error
}

impl App {
    /// What only a helper process can say of a transform: whether its template or script can be read.
    pub(crate) async fn check_template(&self, transform: Option<&JsonText>) -> Result<(), Refusal> {
        let spec = transform.and_then(|text| json::from_slice(text.as_str().as_bytes()).ok());
        let Some::<TransformSpec>(spec) = spec else {
            // Whoever reads it says what is wrong with it.
            return Ok(());
        };
        match self.engine.check_template(&spec).await {
            Ok(()) => Ok(()),
            Err(fault) if fault.kind == FaultKind::Template => {
                let member = match (&spec, &fault.variable) {
                    (TransformSpec::Script { .. }, None) => "/source".to_owned(),
                    (TransformSpec::Script { .. }, Some(name)) => {
                        format!("/vars{}/script", json::pointer_to(name))
                    }
                    _ => "/template".to_owned(),
                };
                let number = |at: Option<usize>| at.and_then(|at| u32::try_from(at).ok());
                Err(Refusal::Faults(vec![Fault {
                    line: number(fault.line),
                    column: number(fault.column),
                    hint: fault.hint,
                    ..Fault::new(format!("/transform{member}"), fault.message)
                }]))
            }
            Err(fault) => Err(Refusal::Failed(Error::internal(fault))),
        }
    }

    /// Everything wrong with a target whose settings are in clear, and its kind if there is one.
    pub(super) fn target_faults(
        &self,
        index: &Index,
        spec: &TargetSpec,
    ) -> (Vec<Fault>, Option<&'static dyn TargetKind>) {
        let mut faults = faults_under("", spec.check());
        let kind = match find_kind(&spec.kind) {
            Ok(kind) => Some(kind),
            Err(error) => {
                faults.push(error.into());
                None
            }
        };
        if let (Some(kind), Value::Object(_)) = (kind, &spec.settings) {
            let errors = kind.validate(&spec.settings, &self.connect.egress);
            let errors = errors.into_iter().map(without_value).collect();
            faults.extend(faults_under("/settings", errors));
        }
        if let Some(text) = &spec.transform {
            faults.extend(transform_faults(text));
        }
        let path = spec.order.as_ref().and_then(|order| order.path.as_deref());
        if let Some(Err(error)) = path.map(Path::parse) {
            faults.push(Fault {
                column: Some(error.column),
                hint: error.hint,
                ..Fault::new("/order/path", error.message)
            });
        }
        for (pointer, bus) in kind
            .map(|kind| kind.buses(&spec.settings))
            .unwrap_or_default()
        {
            if !bus.is_system() && !index.buses.contains_key(&bus) {
                faults.push(Fault::new(
                    format!("/settings{pointer}"),
                    format!("there is no bus {bus}; make it first"),
                ));
            }
        }
        if let Some(dead) = &spec.dead_letter
            && !dead.bus.is_system()
            && !index.buses.contains_key(&dead.bus)
        {
            faults.push(Fault::new(
                "/deadLetter/bus",
                format!("there is no bus {}; make it first", dead.bus),
            ));
        }
        if spec.kind == functions::TARGET {
            faults.extend(function_fault(index, &spec.settings));
        }
        (faults, kind)
    }
}

/// A target that runs a function which is not there would only fail.
fn function_fault(index: &Index, settings: &Value) -> Option<Fault> {
    let function = functions::function_of(functions::TARGET, settings)?;
    let named = index.documents(FUNCTIONS, None);
    let is_there = named.is_some_and(|named| named.contains_key(&DocumentName::from(&function)));
    let detail = format!("there is no function {function}; make it first");
    (!is_there).then(|| Fault::new("/settings/function", detail))
}
