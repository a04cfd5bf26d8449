//! Contacts and groups for the targets: those of the configuration in force at the moment they are asked for.

use std::sync::Arc;

use belfry_alarm::{Contact, ContactGroup};
use belfry_targets::Directory;

use crate::engine::Engine;
use crate::in_force::InForce;

/// The contacts and groups of an engine's configuration. Targets are given it before there is an engine; until
/// [`People::of`] names one there is nobody.
#[derive(Debug, Default)]
pub struct People(InForce);

impl People {
    /// Says whose people they are; once.
    pub fn of(&self, engine: &Engine) {
        self.0.of(engine);
    }

    fn find<T: std::any::Any + Send + Sync>(&self, kind: &str, name: &str) -> Option<Arc<T>> {
        let snapshot = self.0.snapshot()?;
        snapshot.document(kind, None, &name.parse().ok()?)
    }
}

impl Directory for People {
    fn contact(&self, name: &str) -> Option<Arc<Contact>> {
        self.find(Contact::KIND, name)
    }

    fn group(&self, name: &str) -> Option<Arc<ContactGroup>> {
        self.find(ContactGroup::KIND, name)
    }
}
