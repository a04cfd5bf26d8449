//! What a database's failure means to the caller.
//!
//! Mapped once, here, by the database's own code, so that no caller has to know one. `Full` and `Unavailable` promise
//! that nothing was written: both are raised inside a transaction that is rolled back.

use std::fmt::Display;

use crate::StoreError;

/// SQLite's primary result codes that a caller can do something about.
mod code {
    pub(super) const PERM: u32 = 3;
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const NOMEM: u32 = 7;
    pub(super) const READONLY: u32 = 8;
    pub(super) const INTERRUPT: u32 = 9;
    pub(super) const IOERR: u32 = 10;
    pub(super) const CORRUPT: u32 = 11;
    pub(super) const FULL: u32 = 13;
    pub(super) const CANTOPEN: u32 = 14;
    pub(super) const PROTOCOL: u32 = 15;
    pub(super) const NOTADB: u32 = 26;
}

/// The primary result code of an SQLite error (the lowest byte of the extended one).
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let text = error.as_database_error()?.code()?;
    text.parse::<u32>().ok().map(|extended| extended & 0xff)
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(code::FULL) => Self::Full(Box::new(error)),
            Some(
                code::PERM
                | code::BUSY
                | code::LOCKED
                | code::NOMEM
                | code::READONLY
                | code::INTERRUPT
                | code::IOERR
                | code::CANTOPEN
                | code::PROTOCOL,
            ) => Self::Unavailable(Box::new(error)),
            Some(code::CORRUPT | code::NOTADB) => Self::Internal(format!(
                "the database is damaged ({error}); stop the server and restore a backup"
            )),
            Some(_) => Self::Internal(error.to_string()),
            None => match error {
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => Self::Unavailable(Box::new(error)),
                other => Self::Internal(other.to_string()),
            },
        }
    }
}

/// Whether the file was found to be no database, or a damaged one.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(code::CORRUPT | code::NOTADB))
}

/// Whether a row with the same key is there already.
pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Something stored cannot be read back.
pub(crate) fn unreadable(what: &str, why: impl Display) -> StoreError {
    StoreError::Internal(format!("stored {what} cannot be read: {why}"))
}

/// A plain reason why nothing can be done now.
pub(crate) fn unavailable(why: &'static str) -> StoreError {
    StoreError::Unavailable(why.into())
}
