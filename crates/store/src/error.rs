//! What a database's failure means to the caller.
//!
//! Mapped once, here, by the database's own code, so that no caller has to know one. `Full` and `Unavailable` promise
//! that nothing was written: both are raised inside a transaction that is rolled back.

use std::fmt::Display;

use sqlx::postgres::PgDatabaseError;

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

/// `SQLSTATE` codes of Postgres that a caller can do something about, by code or by class (the first two characters).
mod state {
    pub(super) const DISK_FULL: &str = "53100";
    pub(super) const READ_ONLY: &str = "25006";
    pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub(super) const CHECK_VIOLATION: &str = "23514";
    pub(super) const SERIALIZATION: &str = "40001";
    pub(super) const DEADLOCK: &str = "40P01";
    pub(super) const INVALID_PASSWORD: &str = "28P01";
    pub(super) const DAMAGED: [&str; 2] = ["XX001", "XX002"];
    /// Feature not supported, or not even known; by class.
    pub(super) const UNSUPPORTED: [&str; 2] = ["0A", "42"];
    /// Connection lost, out of resources, ended by an operator or a timeout, system errors, rolled back.
    pub(super) const UNAVAILABLE: [&str; 5] = ["08", "53", "57", "58", "40"];
}

/// The `SQLSTATE` of a Postgres error.
fn sql_state(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// The primary result code of an SQLite error (the lowest byte of the extended one).
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    if sql_state(error).is_some() {
        return None;
    }
    let text = error.as_database_error()?.code()?;
    text.parse::<u32>().ok().map(|extended| extended & 0xff)
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(state) = sql_state(&error).map(str::to_owned) {
            return from_postgres(&state, error);
        }
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
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => Self::Unavailable(Box::new(error)),
                other => Self::Internal(other.to_string()),
            },
        }
    }
}

fn from_postgres(state: &str, error: sqlx::Error) -> StoreError {
    if state == state::DISK_FULL {
        return StoreError::Full(Box::new(error));
    }
    let class = state.get(..2).unwrap_or_default();
    if state::UNAVAILABLE.contains(&class)
        || [state::READ_ONLY, state::LOCK_NOT_AVAILABLE].contains(&state)
    {
        return StoreError::Unavailable(Box::new(error));
    }
    if state::DAMAGED.contains(&state) {
        return StoreError::Internal(format!(
            "the database is damaged ({error}); stop the servers and restore a backup"
        ));
    }
    if class == "28" || class == "3D" {
        let hint = if state == state::INVALID_PASSWORD {
            "check the user and the password"
        } else {
            "check the user, the database and the server's pg_hba.conf"
        };
        return StoreError::Unusable(format!(
            "the server refuses the connection ({error}); {hint}"
        ));
    }
    StoreError::Internal(error.to_string())
}

/// Whether a row lies in a day that has no partition yet.
pub(crate) fn is_missing_partition(error: &sqlx::Error) -> bool {
    sql_state(error) == Some(state::CHECK_VIOLATION)
}

/// Whether the database does not know what it was asked for.
pub(crate) fn is_unsupported(error: &sqlx::Error) -> bool {
    let class = sql_state(error).and_then(|state| state.get(..2));
    class.is_some_and(|class| state::UNSUPPORTED.contains(&class))
}

/// Whether somebody else had locked what was wanted for longer than one would wait.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    sql_state(error) == Some(state::LOCK_NOT_AVAILABLE)
}

/// Whether the same statement may succeed when it is simply made again: another transaction got into its way.
pub(crate) fn is_worth_repeating(error: &sqlx::Error) -> bool {
    sql_state(error).is_some_and(|state| [state::SERIALIZATION, state::DEADLOCK].contains(&state))
}

/// Whether a row with the same key is there already, by this constraint.
pub(crate) fn is_duplicate_in(error: &sqlx::Error, constraint: &str) -> bool {
    is_duplicate(error)
        && error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::constraint)
            .is_some_and(|name| name == constraint)
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
