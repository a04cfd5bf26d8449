//! Who people are: contacts and groups by their names, as they are at the moment of a delivery.

use std::sync::Arc;

use belfry_alarm::{Contact, ContactGroup};

/// Contacts and groups by name.
pub trait Directory: Send + Sync {
    /// The contact of that name.
    fn contact(&self, name: &str) -> Option<Arc<Contact>>;
    /// The group of that name.
    fn group(&self, name: &str) -> Option<Arc<ContactGroup>>;
}

/// Nobody.
#[derive(Debug, Clone, Copy)]
pub struct NoDirectory;

impl Directory for NoDirectory {
    fn contact(&self, _: &str) -> Option<Arc<Contact>> {
        None
    }
    fn group(&self, _: &str) -> Option<Arc<ContactGroup>> {
        None
    }
}
