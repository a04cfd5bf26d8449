//! Contacts and groups for the targets: those of the configuration in force at the moment they are asked for.

use std::sync::{Arc, OnceLock, Weak};

use belfry_alarm::{Contact, ContactGroup};
use belfry_targets::Directory;

use crate::engine::Engine;
use crate::shared::Shared;

/// The contacts and groups of an engine's configuration. Targets are given it before there is an engine; until
/// [`People::of`] names one there is nobody.
#[derive(Debug, Default)]
pub struct People(OnceLock<Weak<Shared>>);

impl People {
    /// Says whose people they are; once.
    pub fn of(&self, engine: &Engine) {
        // Weak: the engine holds its targets, and they hold this.
        self.0.get_or_init(|| engine.downgrade());
    }

    fn find<T: std::any::Any + Send + Sync>(&self, kind: &str, name: &str) -> Option<Arc<T>> {
        let shared = self.0.get()?.upgrade()?;
        let snapshot = shared.snapshot.load();
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
