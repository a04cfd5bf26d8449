//! Requests with an `Idempotency-Key` that are under way in this process.

use std::sync::{Arc, PoisonError};

use crate::shared::Shared;

/// Holds a key for as long as its request is under way.
pub(crate) struct InProgress {
    shared: Arc<Shared>,
    scope: [u8; 32],
}

impl std::fmt::Debug for InProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InProgress")
    }
}

impl InProgress {
    /// Takes the key, unless another request holds it.
    pub(crate) fn take(shared: &Arc<Shared>, scope: [u8; 32]) -> Option<Self> {
        let fresh = shared
            .idempotent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(scope);
        fresh.then(|| Self {
            shared: Arc::clone(shared),
            scope,
        })
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.shared
            .idempotent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.scope);
    }
}
