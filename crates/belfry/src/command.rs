//! What the commands do. Each module has its arguments and its work.

pub mod alarm;
pub mod apply;
pub mod catalog;
pub mod config;
pub mod db;
pub mod delivery;
pub mod function;
pub mod key;
pub mod log;
pub mod replay;
pub mod resource;
pub mod send;
pub mod show;
pub mod tail;
pub mod target;
pub mod test;

use std::io::Read as _;
use std::path::Path;

use crate::failure::{Context as _, Failure, Result};

/// The content of a file, or of standard input for `-`.
pub(crate) fn read_input(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("standard input")?;
    } else {
        bytes = std::fs::read(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{}: the text is no UTF-8", path.display())))
}
