//! The interpreters of this machine: which there are, what they need to be able to read, and why one cannot be used.
//!
//! An interpreter is asked for its real path: what is found on the `PATH` may be a script that looks for it anew at each start.
//! It must never know functions or workers.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::process::Command;

use crate::spec::RuntimeKind;

/// How long an interpreter may take to say its version.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
const NODE_MIN: (u32, u32) = (18, 0);
const PYTHON_MIN: (u32, u32) = (3, 9);
/// Prints version, own path and folders of libraries as one line of JSON.
const NODE_PROBE: &str =
    "console.log(JSON.stringify([process.versions.node, process.execPath, []]))";
const PYTHON_PROBE: &str = "import json, sys; print(json.dumps([sys.version.split()[0], getattr(sys, '_base_executable', '') or sys.executable, [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]]))";

/// Where interpreters are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuntimeSettings {
    /// Node.js; `None`: `node`, then `nodejs`, on the `PATH`.
    pub node: Option<PathBuf>,
    /// Python; `None`: `python3`, then `python`, on the `PATH`.
    pub python: Option<PathBuf>,
    /// Programs that `exec` may start.
    pub exec_allowed: Vec<PathBuf>,
}

/// The runtimes of this machine, each with what it is or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtimes {
    /// Node.js.
    pub node: Result<Interpreter, String>,
    /// Python.
    pub python: Result<Interpreter, String>,
    exec: Result<(), String>,
    custom: Result<(), String>,
}

/// An interpreter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interpreter {
    /// The program itself.
    pub path: PathBuf,
    /// Its version, such as `20.19.1`.
    pub version: String,
    /// Files and folders that it must be able to read beside those of the system.
    #[serde(skip)]
    pub read: Vec<PathBuf>,
}

impl Runtimes {
    /// Looks for all of them.
    pub async fn probe(settings: &RuntimeSettings) -> Self {
        let (node, python) = tokio::join!(
            probe(
                "Node.js",
                settings.node.as_deref(),
                &["node", "nodejs"],
                &["-e", NODE_PROBE],
                NODE_MIN
            ),
            probe(
                "Python",
                settings.python.as_deref(),
                &["python3", "python"],
                &["-I", "-c", PYTHON_PROBE],
                PYTHON_MIN
            ),
        );
        Self {
            node,
            python,
            exec: if settings.exec_allowed.is_empty() {
                Err("the settings allow no programs (functions.exec_allowed)".to_owned())
            } else {
                Ok(())
            },
            custom: if Path::new("/proc/self/net/tcp").exists() {
                Ok(())
            } else {
                Err("this system does not say which process a connection belongs to (/proc/self/net/tcp)".to_owned())
            },
        }
    }

    /// Why functions of this runtime cannot run here; `None`: they can.
    pub fn missing(&self, runtime: RuntimeKind) -> Option<&str> {
        match runtime {
            RuntimeKind::NodeJs => self.node.as_ref().err(),
            RuntimeKind::Python => self.python.as_ref().err(),
            RuntimeKind::Exec => self.exec.as_ref().err(),
            RuntimeKind::Custom => self.custom.as_ref().err(),
        }
        .map(String::as_str)
    }
}

async fn probe(
    language: &str,
    configured: Option<&Path>,
    names: &[&str],
    arguments: &[&str],
    least: (u32, u32),
) -> Result<Interpreter, String> {
    let program = match configured {
        Some(path) => path.to_owned(),
        None => on_path(names).ok_or_else(|| {
            format!(
                "{language} is not installed: no {} on the PATH",
                names.join(", no ")
            )
        })?,
    };
    let shown = program.display();
    let output = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PROBE_TIMEOUT, output)
        .await
        .map_err(|_| {
            format!(
                "{shown} did not say its version within {} s",
                PROBE_TIMEOUT.as_secs()
            )
        })?
        .map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Option<(String, PathBuf, Vec<PathBuf>)> = text
        .lines()
        .last()
        .and_then(|line| serde_json::from_str::<Value>(line).ok())
        .and_then(|value| serde_json::from_value(value).ok());
    let Some((version, path, folders)) = told.filter(|_| output.status.success()) else {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().last().unwrap_or_default();
        return Err(format!(
            "{shown} is no {language} of version {}.{} or newer ({}): {}",
            least.0,
            least.1,
            output.status,
            said.chars().take(200).collect::<String>()
        ));
    };
    let mut numbers = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let has = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if has < least {
        return Err(format!(
            "{shown} is {language} {version}; at least {}.{} is needed",
            least.0, least.1
        ));
    }
    let path = path
        .canonicalize()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Interpreter {
        read: to_read(&path, folders),
        path,
        version,
    })
}

fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|name| {
        std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|program| program.is_file())
    })
}

/// The program, and its folders where they are its own: of `/usr` only those of the system's libraries are read, and those are
/// allowed in any case.
fn to_read(program: &Path, folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut read = vec![program.to_owned()];
    for folder in folders {
        let shared = ["/", "/usr", "/usr/local"]
            .iter()
            .any(|at| folder == Path::new(at));
        let folders = if shared && folder != Path::new("/") {
            vec![folder.join("lib")]
        } else if shared {
            vec![]
        } else {
            vec![folder]
        };
        for folder in folders {
            if !read.contains(&folder) {
                read.push(folder);
            }
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn interpreters_are_found_by_their_real_path() {
        let runtimes = Runtimes::probe(&RuntimeSettings::default()).await;
        for found in [
            runtimes.node.clone().unwrap(),
            runtimes.python.clone().unwrap(),
        ] {
            assert!(found.path.is_absolute() && found.read.contains(&found.path));
            let version = std::process::Command::new(&found.path)
                .arg("--version")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&version.stdout).into_owned();
            assert!(said.contains(&found.version), "{said} {found:?}");
        }
        assert_eq!(runtimes.missing(RuntimeKind::NodeJs), None);
        assert_eq!(runtimes.missing(RuntimeKind::Custom), None);
        assert!(
            runtimes
                .missing(RuntimeKind::Exec)
                .unwrap()
                .contains("exec_allowed")
        );
    }

    #[tokio::test]
    async fn what_cannot_be_used_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let old = script(folder.path(), "old", r#"echo '["16.3.0", "/bin/sh", []]'"#);
        let broken = script(folder.path(), "broken", "echo no library >&2; exit 3");
        let table = [
            (folder.path().join("missing"), "cannot be started"),
            (old, "at least 18.0"),
            (broken, "no library"),
        ];
        for (node, expected) in table {
            let why = Runtimes::probe(&RuntimeSettings {
                node: Some(node),
                ..RuntimeSettings::default()
            })
            .await
            .node
            .unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
