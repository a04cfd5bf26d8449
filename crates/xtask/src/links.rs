//! Checks that relative links between the Markdown pages lead to a file, and to a heading where they name one.
//!
//! Links to other sites are left alone: a check that needs the network fails for reasons that are not ours.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run;

/// Folders with nothing that a person wrote.
const SKIPPED: &[&str] = &["target", "node_modules", "data"];

/// Checks every page of the repository.
pub(crate) fn check() -> Result<()> {
    let root = run::root();
    let mut pages = Vec::new();
    collect(&root, &mut pages)?;
    pages.sort();
    let mut links = 0;
    let mut problems = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
        for (line, target) in targets(&text) {
            links += 1;
            if let Some(problem) = problem(page, &target) {
                let shown = page.strip_prefix(&root).unwrap_or(page).display();
                problems.push(format!("{shown}:{line}: {target}: {problem}"));
            }
        }
    }
    if !problems.is_empty() {
        bail!("links that lead nowhere:\n  {}", problems.join("\n  "));
    }
    println!(
        "links: {links} relative links in {} pages lead somewhere",
        pages.len()
    );
    Ok(())
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                collect(&path, pages)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// The relative targets of a page's links with their line numbers. Code is no link.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Text between backticks is code: keep only what stands outside.
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let mut rest = outside.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, tail)) = after.split_once(')') else {
                break;
            };
            // A title may follow the address: [text](address "title").
            let target = target.split_whitespace().next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number, target.trim_matches(['<', '>']).to_owned()));
            }
            rest = tail;
        }
    }
    found
}

/// Lines outside code fences, with their numbers from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fence: Option<&str> = None;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let marker = ["```", "~~~"]
            .into_iter()
            .find(|marker| trimmed.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            (None, None) => lines.push((index + 1, line)),
            _ => {}
        }
    }
    lines
}

fn problem(page: &Path, target: &str) -> Option<String> {
    if target.is_empty() {
        return Some("empty".to_owned());
    }
    if target.starts_with('/') {
        return Some("not relative: it leads elsewhere on every machine".to_owned());
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() {
        page.to_owned()
    } else {
        page.parent()?.join(path)
    };
    if !file.exists() {
        return Some("no such file".to_owned());
    }
    if anchor.is_empty() || file.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let text = std::fs::read_to_string(&file).ok()?;
    (!anchors(&text).contains(anchor)).then(|| "no such heading".to_owned())
}

/// The anchors of a page's headings, made as the usual code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        // A repeated heading gets a number.
        let mut unique = anchor.clone();
        let mut repeat = 1;
        while !found.insert(unique.clone()) {
            unique = format!("{anchor}-{repeat}");
            repeat += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_links_are_found_and_code_is_not_read() {
        let text = "[a](x.md) and [b](https://example.com) `[c](no.md)`\n```\n[d](no.md)\n```\n\
                    ![picture](p.png \"title\") [e](#here)\n";
        let found = targets(text);
        let expected = [(1, "x.md"), (5, "p.png"), (5, "#here")];
        assert_eq!(
            found,
            expected.map(|(line, target)| (line, target.to_owned()))
        );
    }

    #[test]
    fn headings_become_anchors() {
        let anchors = anchors(
            "# The `first` run\n\n## A, b & c\n## A, b & c\n```\n# no heading\n```\n#tag\n",
        );
        let expected = ["a-b--c", "a-b--c-1", "the-first-run"];
        assert_eq!(anchors.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_wrong_with_a_link_is_said() {
        let page = run::root().join("docs/ARCHITECTURE.md");
        let of = |target: &str| problem(&page, target);
        assert_eq!(of("ARCHITECTURE.md#the-crates"), None);
        assert_eq!(of("#the-crates"), None);
        assert_eq!(of("#nowhere").as_deref(), Some("no such heading"));
        assert_eq!(of("nowhere.md").as_deref(), Some("no such file"));
        assert!(of("/docs").is_some_and(|problem| problem.starts_with("not relative")));
        assert_eq!(of("").as_deref(), Some("empty"));
    }
}
