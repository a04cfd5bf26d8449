//! Invocations that have begun, so that one that is cut off by the end of the server's process is not forgotten.
//!
//! Each has a file of its own while it runs; files are used again. They are not flushed: what a process has written outlives it, and
//! the end of a whole machine is no matter for a record that only says that nothing is known.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::invocation::Invocation;
use crate::outcome::Outcome;

/// Where invocations are noted while they run.
pub(crate) struct Begun {
    dir: PathBuf,
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    files: VecDeque<File>,
    made: u64,
}

/// One that runs; its end is noted when this is dropped.
pub(crate) struct Note<'a> {
    begun: &'a Begun,
    file: Option<File>,
}

impl Begun {
    /// With what an earlier process has left there: invocations that had begun and not ended.
    ///
    /// # Errors
    /// The folder cannot be read or made.
    pub(crate) fn open(dir: PathBuf) -> io::Result<(Self, Vec<Invocation>)> {
        fs::create_dir_all(&dir)?;
        let mut left = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            left.extend(read(&path));
            fs::remove_file(&path)?;
        }
        left.sort_by_key(|invocation| invocation.request_id);
        let begun = Self {
            dir,
            free: Mutex::default(),
        };
        Ok((begun, left))
    }

    /// Notes one. That it cannot be noted does not keep it from running.
    pub(crate) fn note(&self, invocation: &Invocation) -> Note<'_> {
        let noted = self.write(invocation);
        if let Err(error) = &noted {
            tracing::warn!(function = %invocation.function, %error, "that an invocation has begun could not be noted");
        }
        Note {
            begun: self,
            file: noted.ok(),
        }
    }

    fn write(&self, invocation: &Invocation) -> io::Result<File> {
        let mut line = serde_json::to_vec(invocation)?;
        line.push(b'\n');
        let file = self.file()?;
        file.write_all_at(&line, 0)?;
        Ok(file)
    }

    fn file(&self) -> io::Result<File> {
        let number = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = free.files.pop_front() {
                return Ok(file);
            }
            free.made += 1;
            free.made
        };
        File::create(self.dir.join(number.to_string()))
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        // What follows the end of the first line is of earlier ones.
        if file.write_all_at(b"\n", 0).is_ok() {
            let mut free = self
                .begun
                .free
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            free.files.push_back(file);
        }
    }
}

/// What is noted in a file, if something is: its first line.
fn read(path: &Path) -> Option<Invocation> {
    let text = fs::read(path).ok()?;
    let line = text.split(|byte| *byte == b'\n').next()?;
    let mut invocation: Invocation = serde_json::from_slice(line).ok()?;
    invocation.outcome = Outcome::Lost;
    Some(invocation)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::call::tests_support::call;

    #[test]
    fn what_had_begun_and_not_ended_is_found_again_once() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("begun");
        let function = "default/f".parse().unwrap();
        let run = |qualifier: &str| {
            let mut run = Invocation::begun(&call(&function), Uuid::now_v7(), 7);
            run.qualifier = qualifier.to_owned();
            run
        };
        let (begun, left) = Begun::open(dir.clone()).unwrap();
        assert!(left.is_empty());
        let (long, short) = (run(&"long".repeat(100)), run("short"));
        drop(begun.note(&long));
        let first = begun.note(&short);
        let second = begun.note(&long);
        drop(begun.note(&run("ended")));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
        // As a crash leaves them.
        std::mem::forget((first, second));
        let (_, left) = Begun::open(dir.clone()).unwrap();
        let mut expected = [short, long];
        expected.sort_by_key(|run| run.request_id);
        for run in &mut expected {
            run.outcome = Outcome::Lost;
        }
        assert_eq!(left, expected);
        fs::write(dir.join("1"), "{\"no record").unwrap();
        assert!(Begun::open(dir).unwrap().1.is_empty());
    }
}
