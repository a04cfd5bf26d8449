//! Declarative files: buses, rules, archives and named documents as YAML or JSON documents.
//!
//! ```yaml
//! kind: Rule
//! metadata: { bus: default, name: disk-readonly }
//! spec:
//!   pattern: { type: [cvm:ErrorEvent:DiskReadonly] }
//!   targets:
//!     ops: { type: webhook, settings: { url: https://ops.example.com, auth: { type: bearer, token: { $env: OPS_TOKEN } } } }
//! ```
//!
//! A `spec` is what the API takes; here only the envelope and references are read. What JSON files hold stays as
//! written, numbers and order included. Anywhere inside the `settings` of a target or the `spec` of a named document
//! (a source, a contact ...), `{$env: NAME}` stands for an
//! environment variable and `{$file: PATH}` for the content of a file (relative to the document's file, line end at
//! its end removed), so that secrets need not stand in the files. A `pattern` or `transform` written as a text is JSON.

mod raw;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use belfry_app::documents::{DocumentKind, KINDS};
use belfry_model::{ArchiveName, BusName, DocumentName, RuleName};

use crate::failure::{Context as _, Failure, Result};

/// Looks up an environment variable; passed in, so that tests need none.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a document describes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A bus; sorts before what is on it, which needs it.
    Bus(BusName),
    /// A named document: the place of its kind among [`KINDS`], its bus if it is on one. Before rules, whose targets may
    /// name it.
    Named(usize, Option<BusName>, DocumentName),
    /// A rule with its targets.
    Rule(BusName, RuleName),
    /// An archive.
    Archive(BusName, ArchiveName),
}

impl Identity {
    /// The bus, or the bus it is on, if it is on one.
    pub fn bus(&self) -> Option<&BusName> {
        match self {
            Self::Bus(bus) | Self::Rule(bus, _) | Self::Archive(bus, _) => Some(bus),
            Self::Named(_, bus, _) => bus.as_ref(),
        }
    }

    /// Its path in the API. Names need no escaping.
    pub fn path(&self) -> String {
        match self {
            Self::Bus(bus) => format!("/v1/buses/{bus}"),
            Self::Rule(bus, rule) => format!("/v1/buses/{bus}/rules/{rule}"),
            Self::Archive(bus, archive) => format!("/v1/buses/{bus}/archives/{archive}"),
            Self::Named(kind, Some(bus), name) => {
                format!("/v1/buses/{bus}/{}/{name}", words(*kind).0)
            }
            Self::Named(kind, None, name) => format!("/v1/{}/{name}", words(*kind).0),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(bus) => write!(f, "bus {bus}"),
            Self::Rule(bus, rule) => write!(f, "rule {bus}/{rule}"),
            Self::Archive(bus, archive) => write!(f, "archive {bus}/{archive}"),
            Self::Named(kind, Some(bus), name) => write!(f, "{} {bus}/{name}", words(*kind).1),
            Self::Named(kind, None, name) => write!(f, "{} {name}", words(*kind).1),
        }
    }
}

/// The words for several and for one of a kind of named documents.
fn words(kind: usize) -> (&'static str, &'static str) {
    let words = |kind: &&dyn DocumentKind| (kind.name(), kind.one());
    KINDS.get(kind).map(words).unwrap_or_default()
}

/// One document.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it describes.
    pub identity: Identity,
    /// The body to put, as JSON text, references replaced.
    pub body: String,
    /// The same with references as they stand in the file: to be shown.
    pub shown: String,
    /// Whether references were replaced: the body holds secrets then.
    pub has_references: bool,
    /// Where it stands.
    pub place: Place,
}

/// A document of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file; `-` is standard input.
    pub file: PathBuf,
    /// Which document of it, from 1.
    pub number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} document {}", self.file.display(), self.number)
    }
}

/// Reads files and directories (every `.yaml`, `.yml` and `.json` below them); buses first. All errors are
/// reported together.
pub fn load(paths: &[PathBuf], variables: Variables<'_>) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut errors = Vec::new();
    for path in files(paths)? {
        let text = if path == Path::new("-") {
            std::io::read_to_string(std::io::stdin()).context("standard input")?
        } else {
            std::fs::read_to_string(&path).context(path.display())?
        };
        read::documents(&path, &text, variables, &mut documents, &mut errors);
    }
    let mut places: BTreeMap<Identity, Place> = BTreeMap::new();
    for document in &documents {
        if let Some(first) = places.insert(document.identity.clone(), document.place.clone()) {
            errors.push(format!(
                "{}: {} is described by {first} already",
                document.place, document.identity
            ));
        }
    }
    if errors.is_empty() {
        documents.sort_by(|a, b| a.identity.cmp(&b.identity));
        Ok(documents)
    } else {
        Err(Failure::usage(errors.join("\n")))
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            walk(path, &mut files)?;
            if files.len() == before {
                return Err(Failure::usage(format!(
                    "{}: no .yaml, .yml or .json file in it",
                    path.display()
                )));
            }
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result {
    let place = directory.display();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .context(place)?;
    // The order of a directory is chance; errors and actions should come in the same order every time.
    entries.sort();
    for path in entries {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
        {
            files.push(path);
        }
    }
    Ok(())
}
