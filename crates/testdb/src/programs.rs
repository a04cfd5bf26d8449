//! Where PostgreSQL's programs are, and as whom they run.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The oldest version that Belfry works with.
pub const VERSION_MIN: u32 = 14;

/// A folder with the programs of another installation than the one that is found.
const FOLDER_VARIABLE: &str = "BELFRY_TEST_POSTGRES_BIN";
/// Folders beyond `PATH`, by package: Debian, the makers' own for Fedora, Alpine. `*` stands for a version.
const FOLDERS: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql/bin",
];
/// The server refuses to run as root; then it runs as the first of these that exists.
const USERS: &[&str] = &["postgres", "nobody"];

/// The installed programs.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
    /// Their major version, such as 15.
    pub version: u32,
    /// As whom they run when we are root: user and group.
    owner: Option<(u32, u32)>,
}

impl Programs {
    /// Finds the newest installation; an error says that there is none, or none that is new enough.
    pub fn find() -> Result<Self> {
        let folders = match std::env::var_os(FOLDER_VARIABLE) {
            Some(folder) => vec![folder.into()],
            None => candidates(),
        };
        let (version, folder) = folders
            .into_iter()
            .filter_map(|folder| Some((version(&folder)?, folder)))
            .max()
            .context("PostgreSQL is not installed: `postgres` and `initdb` were not found")?;
        if version < VERSION_MIN {
            bail!(
                "PostgreSQL {version} in {} is too old; {VERSION_MIN} or newer is needed",
                folder.display()
            );
        }
        Ok(Self {
            folder,
            version,
            owner: owner()?,
        })
    }

    /// One of the programs, to be run as somebody who is not root.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        // Not where we are: the other user may not be allowed to look into it.
        command.current_dir("/").env("LC_ALL", "C");
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    /// Makes a file or directory the property of whom the programs run as.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        match self.owner {
            Some((user, group)) => std::os::unix::fs::chown(path, Some(user), Some(group))
                .with_context(|| path.display().to_string()),
            None => Ok(()),
        }
    }
}

/// Folders that may hold the programs.
fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for pattern in FOLDERS {
        match pattern.split_once('*') {
            None => found.push(pattern.into()),
            Some((before, after)) => found.extend(expand(before, after)),
        }
    }
    found
}

/// The folders `before*after`, where the star stands within one name.
fn expand(before: &str, after: &str) -> Vec<PathBuf> {
    let (parent, start) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = std::fs::read_dir(format!("{parent}/")) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(start))
        .map(|name| format!("{parent}/{name}{after}").into())
        .collect()
}

/// The major version of the server in this folder; none when there is no complete one.
fn version(folder: &Path) -> Option<u32> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    major(&String::from_utf8(output.stdout).ok()?)
}

/// Reads `postgres (PostgreSQL) 15.12 (Debian 15.12-0+deb12u2)`.
fn major(text: &str) -> Option<u32> {
    let number = text.split_once("(PostgreSQL) ")?.1;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn owner() -> Result<Option<(u32, u32)>> {
    if id(&["-u"]) != Some(0) {
        return Ok(None);
    }
    let found = USERS
        .iter()
        .find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?)))
        .with_context(|| {
            format!(
                "PostgreSQL does not run as root, and there is none of the users {}",
                USERS.join(", ")
            )
        })?;
    Ok(Some(found))
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_server_says() {
        let cases = [
            (
                "postgres (PostgreSQL) 15.12 (Debian 15.12-0+deb12u2)",
                Some(15),
            ),
            ("postgres (PostgreSQL) 18beta1", Some(18)),
            ("postgres (PostgreSQL) 9.6.24", Some(9)),
            ("something else", None),
        ];
        for (text, expected) in cases {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}
