//! What a process prints, collected while it runs.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// The lines of both streams. Threads read them: a process whose pipe is full stands still.
#[derive(Debug, Default)]
pub(super) struct Output {
    lines: Mutex<Vec<Line>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Line {
    is_error: bool,
    text: String,
}

impl Output {
    /// Starts to collect what the process prints.
    pub(super) fn of(child: &mut Child) -> Arc<Self> {
        let output = Arc::new(Self::default());
        if let Some(stdout) = child.stdout.take() {
            output.collect(stdout, false);
        }
        if let Some(stderr) = child.stderr.take() {
            output.collect(stderr, true);
        }
        output
    }

    fn collect(self: &Arc<Self>, from: impl Read + Send + 'static, is_error: bool) {
        let output = Arc::clone(self);
        let reader = thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut bytes = Vec::new();
            while matches!(from.read_until(b'\n', &mut bytes), Ok(1..)) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                lock(&output.lines).push(Line { is_error, text });
                bytes.clear();
            }
        });
        lock(&self.readers).push(reader);
    }

    /// The first line in which something is found.
    pub(super) fn find_map<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        lock(&self.lines)
            .iter()
            .find_map(|line| find(line.text.trim_end()))
    }

    /// Everything so far, as it came.
    pub(super) fn all(&self) -> String {
        lock(&self.lines)
            .iter()
            .map(|line| line.text.as_str())
            .collect()
    }

    /// Everything that the process printed, once it has ended.
    pub(super) fn finish_all(&self) -> String {
        for reader in std::mem::take(&mut *lock(&self.readers)) {
            // A reader does not panic; if it did, what it read is there all the same.
            drop(reader.join());
        }
        self.all()
    }

    /// The same, standard output and standard error apart.
    pub(super) fn finish(&self) -> (String, String) {
        self.finish_all();
        let lines = lock(&self.lines);
        let of = |is_error| {
            lines
                .iter()
                .filter(|line| line.is_error == is_error)
                .map(|line| line.text.as_str())
                .collect()
        };
        (of(false), of(true))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
