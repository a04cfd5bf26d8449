//! Settings for people: the default file, the reference, the values in force.

use std::fmt::Write as _;

use super::{Effective, Origin, SECTIONS, Section, Setting};

/// `config/default.toml`: every setting with its text and its default.
pub fn default_file() -> String {
    let mut out = String::from(
        "# Every setting of Belfry with its default. Copy what you change into belfry.toml; a file with one line is fine.\n\
         # Generated from crates/belfry/src/settings.rs: UPDATE_DOCS=1 cargo nextest run -p belfry docs\n",
    );
    for section in SECTIONS {
        out.push('\n');
        comment(&mut out, section.doc);
        push(&mut out, format_args!("[{}]\n", section.name));
        for setting in section.settings {
            comment(&mut out, setting.doc);
            match (setting.default_toml)() {
                Some(toml) => push(&mut out, format_args!("{} = {toml}\n", setting.key)),
                None => push(&mut out, format_args!("# {} =\n", setting.key)),
            }
        }
    }
    out
}

/// `docs/reference/configuration.md`.
pub fn reference() -> String {
    let mut out = String::from(REFERENCE_HEAD);
    for section in SECTIONS {
        push(
            &mut out,
            format_args!("\n## `[{}]`\n\n{}\n\n", section.name, joined(section.doc)),
        );
        out.push_str("| setting | default | what it does |\n|---|---|---|\n");
        for setting in section.settings {
            out.push_str(&reference_row(section, setting));
        }
    }
    out
}

const REFERENCE_HEAD: &str = "\
# Configuration

<!-- Generated from crates/belfry/src/settings.rs: UPDATE_DOCS=1 cargo nextest run -p belfry docs -->

Belfry starts without any configuration. What you change, you change in one of these places; a later one replaces an
earlier one:

1. the defaults below,
2. a TOML file: `--config FILE`, else `BELFRY_CONFIG`, else `./belfry.toml` if it exists,
3. environment variables `BELFRY_SECTION__KEY` (two underscores), for example `BELFRY_SERVER__LISTEN=0.0.0.0:7311`,
4. flags: `--set section.key=value`, and `--listen`, `--data-dir`, `--log-format`.

Unknown names are errors in the file, in the environment and in flags. `belfry config check` reports everything that is
wrong without starting (exit code 2), `belfry config print` shows each value in force and where it came from, with
secrets masked.

Durations are written `\"500ms\"`, `\"30s\"`, `\"5m\"`, `\"24h\"`, `\"30d\"`; sizes `\"256KiB\"`, `\"64MiB\"`, `\"10GiB\"` or a number of
bytes. In the environment and in flags, lists are separated by commas. The empty text stands for *not set*. Every secret
`x` can also be given as `x_file`, the path of a file that holds it.

`BELFRY_URL`, `BELFRY_API_KEY`, `BELFRY_API_KEY_FILE` and `BELFRY_OUTPUT` are read by the command line, see
[cli](cli.md). Variables that Kubernetes makes for a service named `belfry` (`BELFRY_PORT...`, `BELFRY_SERVICE_...`) are
ignored.
";

fn reference_row(section: &Section, setting: &Setting) -> String {
    let default = match (setting.default_toml)() {
        Some(toml) => format!("`{toml}`"),
        None => "not set".to_owned(),
    };
    let file = if setting.secret {
        format!(" Also as `{}_file`.", setting.key)
    } else {
        String::new()
    };
    let expected = cell(&(setting.expected)());
    format!(
        "| `{}.{}` | {default} | {}{file} Expects {expected}. |\n",
        section.name,
        setting.key,
        cell(&joined(setting.doc)),
    )
}

/// The values in force, as a file that would give them, each with where it came from.
pub fn effective_toml(effective: &[Effective]) -> String {
    let mut out = String::new();
    let mut section = "";
    for one in effective {
        if one.setting.section != section {
            if !section.is_empty() {
                out.push('\n');
            }
            section = one.setting.section;
            push(&mut out, format_args!("[{section}]\n"));
        }
        let line = match &one.toml {
            Some(toml) => format!("{} = {toml}", one.setting.key),
            None => format!("# {} =", one.setting.key),
        };
        match &one.origin {
            Origin::Default => push(&mut out, format_args!("{line}\n")),
            origin => push(&mut out, format_args!("{line}  # {origin}\n")),
        }
    }
    out
}

fn joined(doc: &[&str]) -> String {
    doc.iter()
        .map(|line| line.trim())
        .collect::<Vec<_>>()
        .join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn comment(out: &mut String, doc: &[&str]) {
    for line in doc {
        push(out, format_args!("# {}\n", line.trim()));
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    out.write_fmt(text).unwrap_or_default();
}
