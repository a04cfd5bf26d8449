//! Buses, rules, targets and archives: read, made, replaced, patched, deleted.
//!
//! Every change is: read the configuration, work out what it would be, check all of it, and only then apply it in one
//! transaction together with its audit entries. A change that changes nothing writes nothing. When somebody else was
//! faster, the whole is done again on what they left, so that preconditions are always judged on the truth.

mod archive;
mod bus;
mod check;
mod index;
mod plan;
mod rule;
mod rule_text;
mod target;
mod view;

use std::future::Future;

use belfry_store::{AuditEntry, Change};
use serde::Serialize;

use crate::App;
use crate::actor::Actor;
use crate::error::{Code, Error, Fault, Result};

pub(crate) use bus::{by_name, ensure_buses};
pub(crate) use check::{pattern_faults, without_value};
pub(crate) use index::{Index, RuleConfig};
pub(crate) use plan::Place;
pub(crate) use target::read_target;
pub use target::{TargetStatus, target_kinds};
pub use view::{
    ArchiveView, BusView, DisabledView, GeneratedSecretView, RuleView, TargetKindView, TargetView,
    UsageView,
};

/// How often a change is worked out again when somebody else was faster.
const TRIES: usize = 4;

/// What a change expects to find, from `If-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// Anything, as long as it is there (`*`).
    Any,
    /// One of these revisions.
    Revisions(Vec<i64>),
}

/// Under which conditions, and whether for real.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeOptions {
    /// What must be there.
    pub if_match: Option<IfMatch>,
    /// Whether nothing may be there (`If-None-Match: *`).
    pub if_absent: bool,
    /// Everything but the write.
    pub dry_run: bool,
    /// Whether it may be deleted although something needs it: a bus with its rules, archives and documents, a function that
    /// targets run.
    pub cascade: bool,
}

impl ChangeOptions {
    /// Refuses unless what is there is what the caller expects.
    pub(crate) fn check(&self, revision: Option<i64>) -> Result<()> {
        let refused = |detail: String| Err(Error::new(Code::PreconditionFailed, detail));
        match (&self.if_match, revision) {
            (Some(_), None) => return refused("If-Match: there is nothing here".to_owned()),
            (Some(IfMatch::Revisions(expected)), Some(found)) if !expected.contains(&found) => {
                return refused(format!(
                    "If-Match: this was changed in the meantime and is now \"r{found}\"; read it again"
                ));
            }
            _ => {}
        }
        if let (true, Some(found)) = (self.if_absent, revision) {
            return refused(format!("If-None-Match: there is already one, \"r{found}\""));
        }
        Ok(())
    }

    /// How a change under these is carried out.
    pub(crate) fn way<'a>(&self, actor: &'a Actor, now_ms: i64) -> Way<'a> {
        Way {
            actor,
            now_ms,
            dry_run: self.dry_run,
        }
    }
}

/// How a change is carried out: by whom, when, and whether for real.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) now_ms: i64,
    pub(crate) dry_run: bool,
}

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was not there before.
    Created,
    /// It was there and is different now.
    Updated,
    /// It was there and is the same.
    Unchanged,
}

impl Done {
    /// What it was to put something where `old` was.
    pub(crate) fn put<T>(old: Option<&T>) -> Self {
        if old.is_some() {
            Self::Updated
        } else {
            Self::Created
        }
    }
}

/// The thing after a change (or, on a dry run, as it would be).
#[derive(Debug, Clone, PartialEq)]
pub struct Changed<T> {
    /// The thing.
    pub value: T,
    /// What was done.
    pub done: Done,
}

impl App {
    /// Carries changes out, unless it is a dry run; the audit trail says what was done (`bus.put`) to what.
    pub(crate) async fn carry_out<T: Serialize>(
        &self,
        way: Way<'_>,
        (action, resource): (&str, &str),
        before: Option<&T>,
        after: Option<&T>,
        changes: &[Change],
    ) -> Result<()> {
        let audit = self.audit(way.actor, action, resource, before, after)?;
        if way.dry_run {
            return Ok(());
        }
        self.apply(changes, &[audit], way.now_ms).await
    }

    /// Applies changes with their audit entries and waits until the engine works by them.
    pub(crate) async fn apply(
        &self,
        changes: &[Change],
        audit: &[AuditEntry],
        now_ms: i64,
    ) -> Result<()> {
        self.store.apply(changes, audit, None, now_ms).await?;
        if let Err(error) = self.engine.reload().await {
            // It is durable; the engine looks for changes by itself every second.
            tracing::warn!(%error, "a change is stored but not yet in force");
        }
        Ok(())
    }
}

/// Does it again when somebody else changed something at the same time.
pub(crate) async fn settle<T, F: Future<Output = Result<T>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let mut tries = 1;
    loop {
        match attempt().await {
            Err(error) if error.code() == Code::Conflict && tries < TRIES => tries += 1,
            other => return other,
        }
    }
}

/// Why a change was not worked out: the request is wrong, or something failed.
pub(crate) enum Refusal {
    Faults(Vec<Fault>),
    Failed(Error),
}

impl From<Vec<Fault>> for Refusal {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Faults(faults)
    }
}
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed(error) => error,
            Refusal::Faults(faults) => {
                let patterns_only = faults.iter().all(|fault| fault.code.is_some());
                let code = if patterns_only {
                    Code::InvalidPattern
                } else {
                    Code::InvalidRequest
                };
                Self::invalid(code, faults)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_are_judged_on_what_is_there() {
        let with = |if_match, if_absent| ChangeOptions {
            if_match,
            if_absent,
            ..ChangeOptions::default()
        };
        let revisions = |list: &[i64]| Some(IfMatch::Revisions(list.to_vec()));
        assert!(with(None, false).check(None).is_ok());
        assert!(with(Some(IfMatch::Any), false).check(Some(3)).is_ok());
        assert!(with(Some(IfMatch::Any), false).check(None).is_err());
        assert!(with(revisions(&[2, 3]), false).check(Some(3)).is_ok());
        assert!(with(revisions(&[2]), false).check(Some(3)).is_err());
        assert!(with(revisions(&[2]), false).check(None).is_err());
        assert!(with(None, true).check(None).is_ok());
        assert!(with(None, true).check(Some(1)).is_err());
    }
}
