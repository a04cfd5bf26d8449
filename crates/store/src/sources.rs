//! What was posted to sources and could not be read.

use async_trait::async_trait;
use belfry_model::DocumentId;

use crate::Result;

/// A request that a source could not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unparsed {
    /// Its number, ascending; 0 while it has none.
    pub number: i64,
    /// The source.
    pub source: DocumentId,
    /// When it came, ms since 1970.
    pub at_ms: i64,
    /// The format it was taken for.
    pub format: Option<String>,
    /// Why it could not be read, for people.
    pub reason: String,
    /// What the sender called it.
    pub content_type: Option<String>,
    /// How long the body was.
    pub bytes: u64,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// Keeps what sources could not read.
#[async_trait]
pub trait Sources: Send + Sync {
    /// Keeps a request, and of its source no more than the newest `keep`.
    async fn keep_unparsed(&self, unparsed: &Unparsed, keep: u32) -> Result<()>;
    /// Those of a source with a number below `before`, newest first, at most `limit`.
    async fn list_unparsed(
        &self,
        source: DocumentId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Unparsed>>;
}
