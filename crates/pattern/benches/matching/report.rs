//! Tables of figures: as Markdown for people, as JSON for programs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

/// A cell of a table.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Text(String),
    /// A figure, and with how many decimals people shall see it.
    Figure(f64, usize),
    /// Not measured, or nothing that could be.
    Nothing,
}

impl Cell {
    /// A figure with the decimals that its size deserves.
    pub(crate) fn figure(figure: f64) -> Self {
        let decimals = match figure.abs() {
            small if small < 10.0 => 2,
            middle if middle < 100.0 => 1,
            _ => 0,
        };
        Self::Figure(figure, decimals)
    }

    /// How many times `whole` goes into `part`, when both are known.
    pub(crate) fn ratio(part: Option<f64>, whole: Option<f64>) -> Self {
        part.zip(whole)
            .map_or(Self::Nothing, |(part, whole)| Self::figure(part / whole))
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Figure(figure, decimals) => grouped(&format!("{figure:.decimals$}")),
            Self::Nothing => "-".to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Figure(figure, _) => json!(figure),
            Self::Nothing => Value::Null,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Cell {
    #[allow(clippy::cast_precision_loss, reason = "counts here are small")]
    fn from(count: u64) -> Self {
        Self::Figure(count as f64, 0)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::from(count as u64)
    }
}

impl From<Option<f64>> for Cell {
    fn from(figure: Option<f64>) -> Self {
        figure.map_or(Self::Nothing, Self::figure)
    }
}

/// One table.
pub(crate) struct Table {
    name: &'static str,
    title: String,
    columns: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
}

impl Table {
    /// A table without rows. `name` is what filters and JSON call it.
    pub(crate) fn new(
        name: &'static str,
        title: impl Into<String>,
        columns: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            title: title.into(),
            columns,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Shows the table, unless it has no rows, and adds it to the file if there is one.
    pub(crate) fn finish(self, file: Option<&Path>) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        println!("\n### {}\n", self.title);
        println!("| {} |", self.columns.join(" | "));
        println!("|{}", "---|".repeat(self.columns.len()));
        for row in &self.rows {
            let shown: Vec<_> = row.iter().map(Cell::shown).collect();
            println!("| {} |", shown.join(" | "));
        }
        for note in &self.notes {
            println!("\n{note}");
        }
        file.map_or(Ok(()), |file| self.write(file))
    }

    /// Puts the table into the file, in place of the one that had its name.
    fn write(&self, path: &Path) -> Result<()> {
        let mut tables: Map<String, Value> = if path.exists() {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            serde_json::from_str(&text)
                .with_context(|| format!("{} holds no tables", path.display()))?
        } else {
            Map::new()
        };
        let rows = self.rows.iter().map(|row| {
            let cells = self.columns.iter().zip(row);
            let cells = cells.map(|(column, cell)| ((*column).to_owned(), cell.json()));
            Value::Object(cells.collect())
        });
        let table = json!({
            "title": self.title,
            "rows": rows.collect::<Vec<_>>(),
            "notes": self.notes,
        });
        tables.insert(self.name.to_owned(), table);
        let text = serde_json::to_string_pretty(&tables)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}

/// `1234567.8` as `1,234,567.8`.
fn grouped(number: &str) -> String {
    let digits = number.find('.').unwrap_or(number.len());
    let mut shown = String::new();
    for (at, character) in number.char_indices() {
        if at > 0 && at < digits && (digits - at).is_multiple_of(3) && !shown.ends_with('-') {
            shown.push(',');
        }
        shown.push(character);
    }
    shown
}
