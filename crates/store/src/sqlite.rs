//! The embedded store. (Being written.)
/// The embedded store.
#[derive(Debug)] pub struct SqliteStore;
