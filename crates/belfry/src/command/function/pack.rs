//! What is deployed: a file, or a folder as a zip file.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::failure::{Context as _, Failure, Result};

/// What a folder may say of its function, beside the options of the command.
const SPECS: [&str; 4] = [
    "function.toml",
    "function.yaml",
    "function.yml",
    "function.json",
];
/// Not part of a program, and often larger than it.
const LEFT_OUT: [&str; 3] = [".git", ".hg", ".svn"];

/// The spec that a folder brings, if it does.
pub(super) fn spec(folder: &Path) -> Result<Option<Map<String, Value>>> {
    let found: Vec<PathBuf> = SPECS
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| path.is_file())
        .collect();
    let path = match found.as_slice() {
        [] => return Ok(None),
        [path] => path,
        [one, other, ..] => {
            return Err(Failure::usage(format!(
                "{} and {} both say what the function is",
                one.display(),
                other.display()
            )));
        }
    };
    let text = super::super::read_input(path)?;
    let wrong =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
    let kind = path.extension().and_then(|kind| kind.to_str());
    let spec = match kind {
        Some("toml") => toml::from_str(&text).map_err(|error| wrong(&error))?,
        Some("json") => serde_json::from_str(&text).map_err(|error| wrong(&error))?,
        _ => yaml_serde::from_str(&text).map_err(|error| wrong(&error))?,
    };
    match spec {
        Value::Object(members) => Ok(Some(members)),
        _ => Err(wrong(&"expected an object")),
    }
}

/// Everything in a folder, with the bits that say what can be executed. A link to a file is packed as that file.
pub(super) fn zip(folder: &Path) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    add(&mut zip, folder, "")?;
    let packed = zip.finish().context("the zip file")?;
    Ok(packed.into_inner())
}

fn add(zip: &mut ZipWriter<Cursor<Vec<u8>>>, folder: &Path, prefix: &str) -> Result {
    let place = |path: &Path| path.display().to_string();
    let entries = fs::read_dir(folder).context(place(folder))?;
    let mut entries: Vec<fs::DirEntry> = entries
        .collect::<std::io::Result<_>>()
        .context(place(folder))?;
    // The same folder is the same zip file, and so the same code.
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry
            .file_name()
            .into_string()
            .map_err(|_| Failure::usage(format!("{}: the name is no UTF-8", place(&path))))?;
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let name = format!("{prefix}{name}");
        let facts = fs::metadata(&path).context(place(&path))?;
        if facts.is_dir() {
            if entry.file_type().context(place(&path))?.is_symlink() {
                return Err(Failure::usage(format!(
                    "{}: a link to a folder cannot be packed",
                    place(&path)
                )));
            }
            add(zip, &path, &format!("{name}/"))?;
        } else if facts.is_file() {
            let options = SimpleFileOptions::default()
                .last_modified_time(zip::DateTime::default())
                .unix_permissions(mode(&facts));
            zip.start_file(name, options).context(place(&path))?;
            let content = fs::read(&path).context(place(&path))?;
            zip.write_all(&content).context(place(&path))?;
        } else {
            return Err(Failure::usage(format!(
                "{}: neither a file nor a folder",
                place(&path)
            )));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn mode(facts: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    if facts.permissions().mode() & 0o111 == 0 {
        0o644
    } else {
        0o755
    }
}

#[cfg(not(unix))]
fn mode(_facts: &fs::Metadata) -> u32 {
    0o755
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_same_zip_file_each_time_without_version_control_and_with_executable_bits() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("index.js", "exports.main_handler = async () => 1;");
        put("lib/deep/a.js", "1");
        put(".env", "A=1");
        put(".git/config", "x");
        put("bootstrap", "#!/bin/sh");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let executable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(folder.path().join("bootstrap"), executable).unwrap();
            std::os::unix::fs::symlink("index.js", folder.path().join("link.js")).unwrap();
        }
        let packed = zip(folder.path()).unwrap();
        assert_eq!(packed, zip(folder.path()).unwrap());
        let mut archive = zip::ZipArchive::new(Cursor::new(packed)).unwrap();
        let mut names: Vec<String> = archive
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [".env", "bootstrap", "index.js", "lib/deep/a.js", "link.js"]
        );
        let mode = |file: zip::read::ZipFile<'_, _>| file.unix_mode().unwrap() & 0o777;
        assert_eq!(mode(archive.by_name("bootstrap").unwrap()), 0o755);
        assert_eq!(mode(archive.by_name("index.js").unwrap()), 0o644);
    }

    #[test]
    fn a_folder_says_what_its_function_is_in_one_of_three_languages() {
        for (name, text) in [
            ("function.toml", "runtime = \"nodejs\"\n[env]\nA = \"1\""),
            ("function.yaml", "runtime: nodejs\nenv: {A: '1'}"),
            (
                "function.json",
                r#"{"runtime": "nodejs", "env": {"A": "1"}}"#,
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(spec(folder.path()).unwrap(), None);
            fs::write(folder.path().join(name), text).unwrap();
            let spec = Value::from(spec(folder.path()).unwrap().unwrap());
            assert_eq!(
                spec,
                serde_json::json!({"runtime": "nodejs", "env": {"A": "1"}})
            );
        }
    }
}
