//! The only module that writes to standard output and standard error.
//!
//! What was asked for goes to standard output; remarks, progress and errors go to standard error. Colours only on a
//! terminal and without `NO_COLOR`.

mod json;
mod table;

use std::io::{IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde_json::Value;

use crate::failure::{Context as _, Exit, Failure, Result};

pub use json::pretty;
pub use table::Table;

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs; numbers and order as the server sent them.
    Json,
    /// For files.
    Yaml,
}

/// A colour of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Good.
    Green,
    /// Bad.
    Red,
    /// Undecided.
    Yellow,
    /// A heading.
    Cyan,
    /// Less important.
    Dim,
    /// More important.
    Bold,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Red => "31",
            Self::Yellow => "33",
            Self::Cyan => "36",
            Self::Dim => "2",
            Self::Bold => "1",
        }
    }

    /// The colour of a delivery's state.
    pub fn of_status(status: &str) -> Option<Self> {
        match status {
            "delivered" => Some(Self::Green),
            "dead" | "expired" => Some(Self::Red),
            "retrying" | "queued" => Some(Self::Yellow),
            "skipped" => Some(Self::Dim),
            _ => None,
        }
    }
}

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// How answers are shown.
    pub format: Format,
    colour: bool,
    width: Option<u16>,
}

impl Output {
    /// For this process.
    pub fn new(format: Format) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = terminal
            .then(terminal_size::terminal_size)
            .flatten()
            .map(|(width, _)| width.0);
        Self {
            format,
            colour: terminal && std::env::var_os("NO_COLOR").is_none(),
            width,
        }
    }

    /// One line of the answer.
    pub fn line(&self, text: impl AsRef<str>) -> Result {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", text.as_ref()).map_err(|error| output_failed(&error))
    }

    /// Text of the answer that brings its own line ends.
    pub fn text(&self, text: &str) -> Result {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| output_failed(&error))
    }

    /// A remark, not part of the answer.
    pub fn note(&self, text: impl AsRef<str>) {
        note(text.as_ref());
    }

    /// An answer of the server as `json` or `yaml`.
    pub fn document(&self, json: &str) -> Result {
        match self.format {
            Format::Yaml => {
                let value: Value = serde_json::from_str(json).context("the answer is no JSON")?;
                self.text(
                    &yaml_serde::to_string(&value)
                        .context("the answer cannot be written as YAML")?,
                )
            }
            Format::Json | Format::Table => self.line(pretty(json)),
        }
    }

    /// A table.
    pub fn table(&self, table: &Table) -> Result {
        self.line(table.render(self.width, self.colour))
    }

    /// Text in a colour, where there are colours.
    pub fn paint(&self, colour: Colour, text: &str) -> String {
        if self.colour {
            paint(colour, text)
        } else {
            text.to_owned()
        }
    }
}

fn paint(colour: Colour, text: &str) -> String {
    format!("\u{1b}[{}m{text}\u{1b}[0m", colour.code())
}

/// Whoever reads has gone (`belfry list ... | head`): nothing is left to say, and nothing is wrong.
fn output_failed(error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        Failure::silent(Exit::Failed)
    } else {
        Failure::failed(format!("the output cannot be written: {error}"))
    }
}

/// A line on standard error. That it may be closed is no reason to fail.
pub fn note(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").unwrap_or_default();
}

/// The end of a failed command.
pub fn failure(failure: &Failure) {
    if !failure.message.is_empty() {
        let mark = if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            paint(Colour::Red, "error:")
        } else {
            "error:".to_owned()
        };
        note(&format!("{mark} {failure}"));
    }
}

/// Makes text from elsewhere safe to print: control characters could rewrite what stands on the terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}
