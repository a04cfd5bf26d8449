//! What the machine itself does: the time of a flush, bytes on disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use super::report::Percentiles;

/// How long it takes to append 700 bytes and flush them, in microseconds: no durable answer can be faster.
pub(super) fn flush_times(dir: &Path) -> anyhow::Result<Percentiles> {
    let path = dir.join("flush-probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(300);
    for _ in 0..300 {
        let begun = Instant::now();
        file.write_all(&[7; 700])?;
        file.sync_data()?;
        times.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    fs::remove_file(path)?;
    Ok(Percentiles::of(&mut times))
}

/// Bytes of all files below a directory; what cannot be read counts nothing.
pub(super) fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
