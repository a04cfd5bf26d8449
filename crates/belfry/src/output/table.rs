//! Tables for people.

use belfry_model::{Clock as _, SystemClock};
use comfy_table::{ColumnConstraint, ContentArrangement, presets};

use super::{Colour, paint, printable};

/// Rows under headings.
#[derive(Debug, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(header: &[&str]) -> Self {
        Self {
            header: header.iter().map(|text| (*text).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| printable(cell.as_ref()))
                .collect(),
        );
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As text; `width` is that of the terminal, if it is one.
    pub(super) fn render(&self, width: Option<u16>, colour: bool) -> String {
        // Columns that say nothing only take room from those that do.
        let kept: Vec<usize> = (0..self.header.len())
            .filter(|index| {
                self.rows.is_empty()
                    || self
                        .rows
                        .iter()
                        .any(|row| row.get(*index).is_some_and(|cell| !cell.is_empty()))
            })
            .collect();
        let pick = |cells: &[String]| -> Vec<String> {
            kept.iter()
                .filter_map(|index| cells.get(*index))
                .map(|cell| shown(cell, width))
                .collect()
        };
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(pick(&self.header));
        for row in &self.rows {
            table.add_row(pick(row));
        }
        let widths = table.column_max_content_widths();
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            // Names and ids come first and are there to be copied, short words are not read in pieces; the rest gives way.
            if index == 0 || widths.get(index).is_some_and(|width| *width <= SHORT) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        if let Some(width) = width {
            table
                .set_width(width)
                .set_content_arrangement(ContentArrangement::Dynamic);
        }
        let mut text = String::new();
        for (number, line) in table.lines().enumerate() {
            let line = line.trim_end();
            let line = match (colour, number) {
                (false, _) => line.to_owned(),
                (true, 0) => paint(Colour::Bold, line),
                (true, _) => paint_states(line),
            };
            if number > 0 {
                text.push('\n');
            }
            text.push_str(&line);
        }
        text
    }
}

/// Columns of this width are never wrapped.
const SHORT: u16 = 11;

/// On a terminal, where room is scarce, a time of today goes without its day and milliseconds.
fn shown(cell: &str, width: Option<u16>) -> String {
    let today = || {
        chrono::DateTime::from_timestamp_millis(SystemClock.now_ms()).map(|now| now.date_naive())
    };
    match (width, chrono::DateTime::parse_from_rfc3339(cell)) {
        (Some(_), Ok(time)) if Some(time.date_naive()) == today() => {
            time.format("%H:%M:%SZ").to_string()
        }
        _ => cell.to_owned(),
    }
}

/// Colours words that are states of deliveries; done after the layout, which would count the codes as width.
fn paint_states(line: &str) -> String {
    let paint_word = |word: &str| {
        Colour::of_status(word).map_or_else(|| word.to_owned(), |colour| paint(colour, word))
    };
    line.split(' ')
        .map(paint_word)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_content_are_left_out() {
        let mut table = Table::new(&["A", "B", "C"]);
        table.row(["1", "", "3"]);
        assert_eq!(table.render(None, false), "A  C\n1  3");
    }

    #[test]
    fn ids_and_states_are_not_wrapped() {
        let mut table = Table::new(&["DELIVERY", "STATUS", "DETAIL"]);
        table.row([
            "dlv_6gzrxf21w00000000001",
            "delivered",
            "a long text that does not fit beside them at all",
        ]);
        let text = table.render(Some(60), false);
        assert!(
            text.contains("dlv_6gzrxf21w00000000001  delivered"),
            "{text}"
        );
        assert!(text.lines().count() > 2, "{text}");
    }

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let mut table = Table::new(&["NAME", "STATUS"]);
        table.row(["磁盘", "delivered"]);
        table.row(["a\u{1b}[2Jb", "dead"]);
        assert_eq!(
            table.render(None, false),
            "NAME    STATUS\n磁盘    delivered\na\u{fffd}[2Jb  dead"
        );
        assert!(
            table
                .render(None, true)
                .contains("\u{1b}[32mdelivered\u{1b}[0m")
        );
    }
}
