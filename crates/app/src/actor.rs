//! Who asks.

use belfry_model::access::Scope;

use crate::error::{Code, Error, Result};

/// Who asks for something. Every use-case takes one and checks its scope itself, so that no route can forget to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The key's id, or `cli`.
    pub key_id: String,
    /// The key's name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The request it came with.
    pub request_id: Option<String>,
}

impl Actor {
    /// Somebody who works on the server's own machine and may do everything.
    pub fn local(name: &str) -> Self {
        Self {
            key_id: name.to_owned(),
            name: String::new(),
            scopes: vec![Scope::Admin],
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
            self.key_id.clone()
        } else {
            format!("{} {}", self.key_id, self.name)
        }
    }
}
