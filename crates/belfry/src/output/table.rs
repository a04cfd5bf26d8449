//! Tables for people.

use comfy_table::{ContentArrangement, presets};

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
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        if let Some(width) = width {
            table
                .set_width(width)
                .set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.set_header(self.header.clone());
        for row in &self.rows {
            table.add_row(row.clone());
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
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
