//! Starting other programs, and where the repository is.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    // crates/xtask is two levels below; both levels always exist, so the fallback is never used.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap_or_else(|| Path::new("."))
        .into()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = output(&mut cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let target = metadata["target_directory"].as_str();
    Ok(target
        .context("cargo metadata names no target directory")?
        .into())
}

/// A `cargo` command in the root of the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

/// Runs a command to its end, showing what it prints; fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    eprintln!("+ {line}");
    let status = command
        .status()
        .with_context(|| format!("{line} could not be started"))?;
    succeeded(&line, status)
}

/// Runs a command quietly and tells whether it succeeded; one that cannot be started did not.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What a command prints on its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{line} could not be started"))?;
    succeeded(&line, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("{line} printed no UTF-8"))
}

/// How many tests a run had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Those that passed.
    pub(crate) passed: u64,
    /// Those that failed.
    pub(crate) failed: u64,
}

impl Count {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs a test runner, showing what it prints and counting the tests by its closing lines. The status is handed
/// back beside the count: a caller that runs several wants the sum of all, also when one failed.
pub(crate) fn run_tests(command: &mut Command) -> Result<(Count, Result<()>)> {
    let line = shown(command);
    eprintln!("+ {line}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{line} could not be started"))?;
    let count = Mutex::new(Count::default());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        if let Some(stdout) = stdout {
            scope.spawn(|| pass_on(stdout, std::io::stdout(), &count));
        }
        if let Some(stderr) = stderr {
            scope.spawn(|| pass_on(stderr, std::io::stderr(), &count));
        }
    });
    let status = child
        .wait()
        .with_context(|| format!("{line} could not be waited for"))?;
    let count = count
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok((count, succeeded(&line, status)))
}

fn pass_on(from: impl Read, mut to: impl Write, count: &Mutex<Count>) {
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    // Bytes, not text: a test may print anything. An end of the output is also what an error means here.
    while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
        if let Some(found) = counted(&String::from_utf8_lossy(&line)) {
            count
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .add(found);
        }
        // Nobody listens any more when this fails; the run itself must go on.
        drop(to.write_all(&line).and_then(|()| to.flush()));
        line.clear();
    }
}

/// Reads the closing line of `cargo test` (`test result: ok. 3 passed; 0 failed; ...`) or of nextest
/// (`Summary [1.2s] 5 tests run: 4 passed (1 slow), 1 failed, 2 skipped`). A result that is indented is what nextest
/// shows of one test, which its summary counts as well.
fn counted(line: &str) -> Option<Count> {
    let tail = if let Some(tail) = line.strip_prefix("test result: ") {
        tail.split_once(". ")?.1
    } else {
        let summary = line.trim_start().strip_prefix("Summary [")?;
        summary.split_once(" run: ")?.1
    };
    let number = |word: &str| {
        tail.split([',', ';']).find_map(|part| {
            let (number, rest) = part.trim().split_once(' ')?;
            rest.starts_with(word).then(|| number.parse().ok())?
        })
    };
    let failed = number("failed").unwrap_or(0) + number("timed out").unwrap_or(0);
    Some(Count {
        passed: number("passed").unwrap_or(0),
        failed,
    })
}

fn succeeded(line: &str, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_of_both_runners_are_counted() {
        let cases = [
            (
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; \
                 finished in 0.01s",
                Some((12, 0)),
            ),
            (
                "test result: FAILED. 3 passed; 2 failed; 0 ignored;",
                Some((3, 2)),
            ),
            (
                "     Summary [   1.2s] 5 tests run: 5 passed, 2 skipped",
                Some((5, 0)),
            ),
            (
                "     Summary [   1.2s] 7 tests run: 4 passed (1 slow), 1 failed, 2 timed out, 0 skipped",
                Some((4, 3)),
            ),
            (
                "     Summary [   1.2s] 3/5 tests run: 2 passed, 1 failed, 2 skipped",
                Some((2, 1)),
            ),
            (
                "    test result: FAILED. 0 passed; 1 failed; 0 ignored;",
                None,
            ),
            ("Running tests", None),
            ("Summary [x]", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(passed, failed)| Count { passed, failed });
            assert_eq!(counted(line), expected, "{line}");
        }
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
