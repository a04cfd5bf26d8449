//! What tests of functions need from the registries of npm and Python, and how it gets onto a machine.
//!
//! `tests/packages` says which packages, in exact versions. They are installed below `target/test-deps`, once for each
//! change of what is said there, by the registries' ordinary clients. Tests find them by the environment ([`name_to`]).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;

/// A folder of packages.
struct Folder {
    /// The variable that names it to tests.
    variable: &'static str,
    /// Where it is, below `target/test-deps`.
    path: &'static str,
    /// What it is made from, below `tests/packages`; a change of any makes it anew.
    sources: &'static [&'static str],
    /// Makes it: from the folder of the sources, in an empty folder below `target/test-deps`.
    install: fn(from: &Path, into: &Path) -> Result<()>,
}

/// Everything that is needed. Each is a layer as functions use them, and the folder around them one of layers.
const FOLDERS: &[Folder] = &[
    Folder {
        variable: "BELFRY_TEST_NODE_MODULES",
        path: "node/node_modules",
        sources: &["node/package.json", "node/package-lock.json"],
        install: npm,
    },
    Folder {
        variable: "BELFRY_TEST_AWSLAMBDARIC",
        path: "python/python",
        sources: &["python/requirements.txt"],
        install: pip,
    },
];

/// Makes sure that everything needed is there.
pub(crate) fn provide() -> Result<()> {
    let (said, made) = (run::root().join("tests/packages"), made()?);
    for folder in FOLDERS {
        let Some(name) = folder.path.split('/').next() else {
            continue;
        };
        let mut wanted = String::new();
        for source in folder.sources {
            let path = said.join(source);
            wanted +=
                &std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        }
        let (from, into) = (said.join(name), made.join(name));
        // Written last: a folder without it was not finished.
        let mark = into.join("made-from");
        if std::fs::read_to_string(&mark).is_ok_and(|had| had == wanted) {
            continue;
        }
        if into.exists() {
            std::fs::remove_dir_all(&into).with_context(|| into.display().to_string())?;
        }
        std::fs::create_dir_all(&into).with_context(|| into.display().to_string())?;
        (folder.install)(&from, &into)?;
        std::fs::write(&mark, wanted).with_context(|| mark.display().to_string())?;
    }
    Ok(())
}

/// Tells a command where the packages are.
pub(crate) fn name_to(command: &mut Command) -> Result<()> {
    let made = made()?;
    for folder in FOLDERS {
        command.env(folder.variable, made.join(folder.path));
    }
    Ok(())
}

fn made() -> Result<PathBuf> {
    Ok(run::target()?.join("test-deps"))
}

fn npm(from: &Path, into: &Path) -> Result<()> {
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(from.join(name), into.join(name)).with_context(|| name.to_owned())?;
    }
    // Exactly what the lock file says; no script of a package runs.
    let mut command = Command::new("npm");
    command
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(into);
    by_hand(&mut command, into)
}

fn pip(from: &Path, into: &Path) -> Result<()> {
    // An environment of its own has a pip wherever the interpreter's packages belong to the system. What it installs goes
    // into a plain folder, without the environment's interpreter.
    let mut venv = Command::new("/usr/bin/python3");
    venv.args(["-m", "venv", "venv"]).current_dir(into);
    by_hand(&mut venv, into)?;
    let mut command = Command::new(into.join("venv/bin/pip"));
    command
        .args(["install", "--disable-pip-version-check", "--no-deps"])
        .args(["--target", "python", "--requirement"])
        .arg(from.join("requirements.txt"))
        .current_dir(into);
    by_hand(&mut command, into)
}

fn by_hand(command: &mut Command, folder: &Path) -> Result<()> {
    run::run(command).with_context(|| {
        format!(
            "what tests of functions need is not there; once the command above works by hand in {}, run this again",
            folder.display()
        )
    })
}
