//! A file from outside: is it ours, is it whole, is it not newer than this program? Found out without changing a byte.
//!
//! First the header is read as plain bytes: a foreign or newer file is refused before SQLite sees it. Then SQLite reads
//! it as `immutable`, which takes no locks and makes no files beside it. Only when a write-ahead log lies there (the
//! last run was killed) must SQLite read it normally; that still changes neither file nor log.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::{Conn, migrate};
use crate::error::is_damage;
use crate::{Result, StoreError};

/// `Blfy`: marks a file as Belfry's.
pub(super) const APPLICATION_ID: i32 = 0x426c_6679;

const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What lies at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or an empty file.
    Nothing,
    /// A database of ours.
    Ours {
        /// Bytes of the file.
        bytes: u64,
    },
}

/// Looks at the header alone.
pub(super) fn look(path: &Path) -> Result<Found> {
    let shown = path.display();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return nothing(path),
        Err(error) => {
            return Err(StoreError::Unusable(format!(
                "cannot read {shown}: {error}"
            )));
        }
    };
    let metadata = file
        .metadata()
        .map_err(|error| StoreError::Unusable(format!("cannot read {shown}: {error}")))?;
    if !metadata.is_file() {
        return Err(StoreError::Unusable(format!(
            "{shown} is not a regular file"
        )));
    }
    if metadata.len() == 0 {
        return nothing(path);
    }
    let mut header = [0_u8; HEADER_BYTES];
    if file.read_exact(&mut header).is_err() || !header.starts_with(MAGIC) {
        return Err(StoreError::Unusable(format!(
            "{shown} is not an SQLite database"
        )));
    }
    if number(&header, 68) != APPLICATION_ID.unsigned_abs() {
        return Err(StoreError::Unusable(format!(
            "{shown} is an SQLite database, but not one of Belfry's"
        )));
    }
    let found = i64::from(number(&header, 60));
    if found > migrate::KNOWN {
        return Err(StoreError::Newer {
            found,
            known: migrate::KNOWN,
        });
    }
    let page_bytes = match header.get(16..18) {
        Some(&[0, 1]) => 65_536,
        Some(&[high, low]) => u64::from(u16::from_be_bytes([high, low])),
        _ => 0,
    };
    // The count is meant only if it was written together with the change counter. A log beside the file may hold the
    // missing pages.
    let counted = number(&header, 24) == number(&header, 92);
    let said = u64::from(number(&header, 28)) * page_bytes;
    if counted && metadata.len() < said && log_bytes(path) == 0 {
        return Err(StoreError::Unusable(format!(
            "{shown} is damaged: {} bytes long, but should have {said}; restore a backup",
            metadata.len()
        )));
    }
    Ok(Found::Ours {
        bytes: metadata.len(),
    })
}

/// Reads the whole schema, and every page of a file up to `check_bytes_max`.
pub(super) async fn check(path: &Path, bytes: u64, check_bytes_max: u64) -> Result<()> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(log_bytes(path) == 0)
        .disable_statement_logging();
    let told = async {
        let mut conn = options.connect().await?;
        let told = ask(&mut conn, bytes <= check_bytes_max).await;
        conn.close().await?;
        told
    };
    match told.await {
        Ok((version, _)) if version > migrate::KNOWN => Err(StoreError::Newer {
            found: version,
            known: migrate::KNOWN,
        }),
        Ok((_, verdict)) if verdict == "ok" => Ok(()),
        Ok((_, verdict)) => Err(damaged(path, &verdict)),
        Err(error) if is_damage(&error) => Err(damaged(path, &error.to_string())),
        Err(error) => Err(error.into()),
    }
}

async fn ask(conn: &mut Conn, pages: bool) -> sqlx::Result<(i64, String)> {
    let version = migrate::version(conn).await?;
    let _: i64 = sqlx::query("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *conn)
        .await?
        .try_get(0)?;
    let verdict = if pages {
        sqlx::query("PRAGMA quick_check(1)")
            .fetch_one(&mut *conn)
            .await?
            .try_get(0)?
    } else {
        "ok".to_owned()
    };
    Ok((version, verdict))
}

fn damaged(path: &Path, why: &str) -> StoreError {
    StoreError::Unusable(format!(
        "{} is damaged ({why}); restore a backup",
        path.display()
    ))
}

fn nothing(path: &Path) -> Result<Found> {
    if log_bytes(path) > 0 {
        // SQLite would throw the log away with whatever it holds.
        return Err(StoreError::Unusable(format!(
            "{} is missing or empty, but its write-ahead log {} is there; put the two together again or remove the log",
            path.display(),
            beside(path, "-wal").display()
        )));
    }
    Ok(Found::Nothing)
}

/// Bytes of the write-ahead log beside the file.
pub(super) fn log_bytes(path: &Path) -> u64 {
    beside(path, "-wal")
        .metadata()
        .map_or(0, |metadata| metadata.len())
}

/// The file beside it with `suffix` added to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn number(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    header
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}
