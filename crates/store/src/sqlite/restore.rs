//! Putting a backup in the place of a database.
//!
//! The backup is checked page by page and copied beside its place first; only then is the old database moved aside. A
//! crash leaves the old one or the new one in place, and the old one under its other name in any case.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::SqliteStore;
use super::check::{Found, beside, check, log_bytes, look};
use super::open::{absolute, lock, sync_directory};
use crate::{Result, StoreError};

impl SqliteStore {
    /// Makes `backup` the database at `to`. Refuses a file that is no whole database of Belfry's or is newer than this
    /// program, a place that a server uses, and one that holds a database unless `replace`. Returns where that is kept.
    pub async fn restore(backup: &Path, to: &Path, replace: bool) -> Result<Option<PathBuf>> {
        let (backup, to) = (absolute(backup)?, absolute(to)?);
        let cannot = |what: &Path, error: &dyn std::fmt::Display| {
            StoreError::Unusable(format!("cannot write {}: {error}", what.display()))
        };
        let Found::Ours { bytes } = look(&backup)? else {
            let shown = backup.display();
            return Err(StoreError::Unusable(format!("there is no backup {shown}")));
        };
        if log_bytes(&backup) > 0 {
            return Err(StoreError::Unusable(format!(
                "{} has a write-ahead log beside it: it is a database in use or a copy made with cp, not a backup",
                backup.display()
            )));
        }
        check(&backup, bytes, u64::MAX).await?;
        let _lock = lock(&to)?;
        let there = to.exists() || log_bytes(&to) > 0;
        if there && !replace {
            return Err(StoreError::Unusable(format!(
                "{} is there already; with --replace it is kept under another name",
                to.display()
            )));
        }
        let fresh = beside(&to, ".restoring");
        copy(&backup, &fresh).map_err(|error| cannot(&fresh, &error))?;
        let kept = if there { Some(free_name(&to)?) } else { None };
        if let Some(kept) = &kept {
            set_aside(&to, kept).map_err(|error| cannot(kept, &error))?;
        }
        let placed = std::fs::rename(&fresh, &to).and_then(|()| sync_directory(&to));
        placed.map_err(|error| cannot(&to, &error))?;
        Ok(kept)
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    std::io::copy(&mut File::open(from)?, &mut out)?;
    out.sync_all()
}

/// The first of `FILE.replaced-1`, `-2`, ... that is free.
fn free_name(path: &Path) -> Result<PathBuf> {
    (1..10_000)
        .map(|number| beside(path, &format!(".replaced-{number}")))
        .find(|name| !name.exists() && !beside(name, "-wal").exists())
        .ok_or_else(|| StoreError::Unusable("too many replaced databases are kept".to_owned()))
}

/// Gives a database with its log a second name, then takes away what would be mistaken for the new one's.
fn set_aside(path: &Path, kept: &Path) -> std::io::Result<()> {
    if path.exists() {
        std::fs::hard_link(path, kept)?;
    }
    if beside(path, "-wal").exists() {
        std::fs::hard_link(beside(path, "-wal"), beside(kept, "-wal"))?;
    }
    sync_directory(kept)?;
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
