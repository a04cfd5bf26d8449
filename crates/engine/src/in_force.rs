//! The configuration in force, for those who are made before there is an engine.

use std::sync::{Arc, OnceLock, Weak};

use belfry_store::Membership;

use crate::engine::Engine;
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// The configuration of an engine that is named later: until [`InForce::of`] there is none.
#[derive(Debug, Default)]
pub struct InForce(OnceLock<Weak<Shared>>);

impl InForce {
    /// Says whose configuration it is; once.
    pub fn of(&self, engine: &Engine) {
        // Weak: the engine holds its targets, and they hold this.
        self.0.get_or_init(|| engine.downgrade());
    }

    /// The configuration at this moment.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        Some(self.shared()?.snapshot.load_full())
    }

    /// The node that this server is.
    pub fn member(&self) -> Option<Membership> {
        Some(self.shared()?.lease.member)
    }

    fn shared(&self) -> Option<Arc<Shared>> {
        self.0.get()?.upgrade()
    }
}
