//! Who asks.

use std::sync::Arc;

use belfry_model::access::Scope;

use crate::error::{Code, Error, Result};

/// Who asks for something. Every use-case takes one and checks its scope itself, so that no route can forget to.
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The key's id, or `cli`.
    pub key_id: Arc<str>,
    /// The key's name.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: Arc<[Scope]>,
    /// The request it came with.
    pub request_id: Option<Arc<str>>,
}

impl Actor {
    /// Somebody who works on the server's own machine and may do everything.
    pub fn local(name: &str) -> Self {
        Self {
            key_id: Arc::from(name),
            name: Arc::from(""),
            scopes: Arc::from([Scope::Admin]),
            request_id: None,
        }
    }

    /// Refuses unless the actor holds a scope that allows `needed`.
    pub fn require(&self, needed: &Scope) -> Result<()> {
        if self.scopes.iter().any(|held| held.allows(needed)) {
            Ok(())
        } else {
            Err(Error::new(
                Code::Forbidden,
                format!("this key lacks the scope {needed}"),
            ))
        }
    }

    /// How it stands in the audit log.
    pub(crate) fn label(&self) -> String {
        if self.name.is_empty() {
            self.key_id.to_string()
        } else {
            format!("{} {}", self.key_id, self.name)
        }
    }
}
