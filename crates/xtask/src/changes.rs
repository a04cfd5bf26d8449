//! The changelog, from one small file per change.
//!
//! A change that a user can notice brings `docs/changes/<slug>.<kind>.md`: files of their own do not conflict when
//! several people work at once. A release joins them and deletes them.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run;

const FOLDER: &str = "docs/changes";

/// The kinds of changes with their headings, in the order of a release's text.
const KINDS: &[(&str, &str)] = &[
    ("breaking", "Breaking changes"),
    ("security", "Security"),
    ("added", "Added"),
    ("changed", "Changed"),
    ("fixed", "Fixed"),
];

/// What to do with the fragments.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// Only checks the fragments' names and that none is empty.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Checks the fragments and prints the text of a release.
pub(crate) fn changes(options: Options) -> Result<()> {
    let fragments = read(&run::root().join(FOLDER))?;
    if options.check {
        println!("changes: {} fragments, all well named", fragments.len());
    } else {
        print!("{}", join(&fragments));
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Fragment {
    slug: String,
    kind: &'static str,
    text: String,
}

fn read(folder: &Path) -> Result<Vec<Fragment>> {
    if !folder.is_dir() {
        // git keeps no empty folder: right after a release there is none.
        return Ok(Vec::new());
    }
    let mut fragments = Vec::new();
    let mut problems = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if file == "README.md" || file.starts_with('.') {
            continue;
        }
        match parse_name(&file) {
            Ok((slug, kind)) => {
                let text = std::fs::read_to_string(entry.path()).with_context(|| file.clone())?;
                if text.trim().is_empty() {
                    problems.push(format!("{file} is empty"));
                }
                fragments.push(Fragment {
                    slug: slug.to_owned(),
                    kind,
                    text,
                });
            }
            Err(problem) => problems.push(format!("{file}: {problem}")),
        }
    }
    if !problems.is_empty() {
        problems.sort();
        bail!("{FOLDER}:\n  {}", problems.join("\n  "));
    }
    fragments.sort_by(|a, b| a.slug.cmp(&b.slug));
    Ok(fragments)
}

/// Reads `<slug>.<kind>.md`.
fn parse_name(file: &str) -> Result<(&str, &'static str), String> {
    let kinds = || {
        KINDS
            .iter()
            .map(|(kind, _)| *kind)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let parts: Vec<&str> = file.split('.').collect();
    let [slug, kind, "md"] = parts.as_slice() else {
        return Err(format!(
            "expected <slug>.<kind>.md with kind one of {}",
            kinds()
        ));
    };
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if slug.is_empty() || slug.starts_with('-') || slug.ends_with('-') || !slug.chars().all(kebab) {
        return Err("expected a slug of a-z, 0-9 and inner hyphens".to_owned());
    }
    match KINDS.iter().find(|(known, _)| known == kind) {
        Some((known, _)) => Ok((slug, known)),
        None => Err(format!(
            "{kind} is no kind of change; expected one of {}",
            kinds()
        )),
    }
}

fn join(fragments: &[Fragment]) -> String {
    let mut text = String::new();
    for (kind, heading) in KINDS {
        let mut of_kind = fragments
            .iter()
            .filter(|fragment| fragment.kind == *kind)
            .peekable();
        if of_kind.peek().is_none() {
            continue;
        }
        let gap = if text.is_empty() { "" } else { "\n" };
        text.extend([gap, "### ", heading, "\n\n"]);
        for fragment in of_kind {
            let item = fragment.text.trim().replace('\n', "\n  ");
            text.extend(["- ", &item, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_slug_and_kind() {
        assert_eq!(parse_name("first-run.added.md"), Ok(("first-run", "added")));
        for (file, expected) in [
            ("first-run.md", "expected <slug>.<kind>.md"),
            ("first-run.added.txt", "expected <slug>.<kind>.md"),
            ("first-run.new.md", "new is no kind of change"),
            ("First.added.md", "expected a slug"),
            ("-a.added.md", "expected a slug"),
            (".added.md", "expected a slug"),
        ] {
            let problem = parse_name(file).unwrap_err();
            assert!(problem.contains(expected), "{file}: {problem}");
        }
    }

    #[test]
    fn fragments_are_joined_by_kind_and_continuation_lines_are_indented() {
        let fragment = |slug: &str, kind, text: &str| Fragment {
            slug: slug.to_owned(),
            kind,
            text: text.to_owned(),
        };
        let fragments = [
            fragment("a", "added", "One.\nMore of it.\n"),
            fragment("b", "breaking", "Two."),
            fragment("c", "added", "Three.\n"),
        ];
        assert_eq!(
            join(&fragments),
            "### Breaking changes\n\n- Two.\n\n### Added\n\n- One.\n  More of it.\n- Three.\n"
        );
    }

    #[test]
    fn every_fragment_of_this_repository_is_well_named() {
        read(&run::root().join(FOLDER)).unwrap();
    }
}
