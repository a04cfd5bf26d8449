//! Many rows in few statements.
//!
//! Each statement through sqlx costs a hop to the connection's thread, about 30 us, and a new text must be parsed. So
//! there are a few fixed shapes per statement, with room for 1, 4, 16, 64 and 256 rows; rows that are not used stay
//! unbound (`NULL`) and are filtered out. A loop of single inserts makes 12 thousand events a second, this 147 thousand
//! (`docs/decisions/0003-durable-engine.md`).

use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe};

use super::{Conn, Db};
use crate::{Result, StoreError};

/// Rows by shape. With at most 12 columns far below SQLite's limit of 32,766 parameters.
const SHAPES: [usize; 5] = [1, 4, 16, 64, 256];

/// One kind of statement in all its shapes.
pub(super) struct Bulk {
    texts: [Arc<str>; SHAPES.len()],
}

/// A statement with its values, ready to be run.
pub(super) struct Statement {
    text: Arc<str>,
    args: SqliteArguments,
    /// What a duplicate key means here.
    pub(super) on_duplicate: fn() -> Option<StoreError>,
    /// What it means when no row was touched.
    pub(super) on_nothing: fn() -> Option<StoreError>,
}

/// The values of one row, in the order of its columns.
pub(super) struct Row<'a>(&'a mut SqliteArguments);

impl<'a> Row<'a> {
    /// The row whose values go into `args`.
    pub(super) fn of(args: &'a mut SqliteArguments) -> Self {
        Self(args)
    }

    /// The next column.
    pub(super) fn put<'t, T>(&mut self, value: T) -> Result<&mut Self>
    where
        T: sqlx::Encode<'t, Db> + sqlx::Type<Db>,
    {
        self.0
            .add(value)
            .map_err(|error| StoreError::Internal(format!("a value cannot be stored: {error}")))?;
        Ok(self)
    }
}

impl Bulk {
    /// `head (VALUES (?, ...), ...) WHERE column1 IS NOT NULL tail`, where the first column is never `NULL`. The
    /// parameters have no numbers: sqlx looks each one's name up in a list, which takes quadratic time.
    pub(super) fn new(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let texts = SHAPES.map(|rows| {
            let values = vec![row.as_str(); rows].join(",");
            Arc::from(format!(
                "{head} FROM (VALUES {values}) WHERE column1 IS NOT NULL {tail}"
            ))
        });
        Self { texts }
    }

    /// Adds the statements that write `rows`, in their order.
    pub(super) fn add<T>(
        &self,
        mut rows: &[T],
        out: &mut Vec<Statement>,
        mut bind: impl FnMut(&T, &mut Row<'_>) -> Result<()>,
    ) -> Result<()> {
        while !rows.is_empty() {
            let (room, text) = self.shape(rows.len());
            let (now, rest) = rows.split_at(room.min(rows.len()));
            let mut args = SqliteArguments::default();
            for row in now {
                bind(row, &mut Row::of(&mut args))?;
            }
            out.push(Statement {
                text,
                args,
                on_duplicate: || None,
                on_nothing: || None,
            });
            rows = rest;
        }
        Ok(())
    }

    /// The smallest shape that holds all rows if they fill at least half of it, else the largest that is filled.
    fn shape(&self, rows: usize) -> (usize, Arc<str>) {
        let mut best = 0;
        for (index, room) in SHAPES.iter().enumerate() {
            if *room <= rows || room.div_ceil(2) <= rows {
                best = index;
            }
        }
        let text = self
            .texts
            .get(best)
            .map_or_else(|| Arc::from(""), Arc::clone);
        (SHAPES.get(best).copied().unwrap_or(1), text)
    }
}

impl Statement {
    /// Its text, for the tests that look at plans.
    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A statement of its own.
    pub(super) fn new(text: &str, args: SqliteArguments) -> Self {
        Self {
            text: Arc::from(text),
            args,
            on_duplicate: || None,
            on_nothing: || None,
        }
    }
}

/// Runs the statements one after the other.
pub(super) async fn run(conn: &mut Conn, statements: Vec<Statement>) -> Result<()> {
    for Statement {
        text,
        args,
        on_duplicate,
        on_nothing,
    } in statements
    {
        let done = sqlx::query_with(AssertSqlSafe(text), args)
            .execute(&mut *conn)
            .await;
        match done {
            Ok(done) if done.rows_affected() == 0 => {
                if let Some(why) = on_nothing() {
                    return Err(why);
                }
            }
            Ok(_) => {}
            Err(error) => {
                let special = if crate::error::is_duplicate(&error) {
                    on_duplicate()
                } else {
                    None
                };
                return Err(special.unwrap_or_else(|| error.into()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_rows_is_split_into_shapes_that_hold_it_in_order() {
        let bulk = Bulk::new("INSERT INTO t SELECT *", 1, "");
        for count in 0..1200_usize {
            let rows: Vec<i64> = (0..i64::try_from(count).unwrap()).collect();
            let mut statements = Vec::new();
            let mut seen = Vec::new();
            bulk.add(&rows, &mut statements, |row, values| {
                seen.push(*row);
                values.put(*row).map(drop)
            })
            .unwrap();
            assert_eq!(seen, rows);
            assert!(
                statements.len() <= 13,
                "{count} rows take {} statements",
                statements.len()
            );
            for statement in statements {
                let room = statement.text.matches('?').count();
                assert!(statement.args.len() <= room && statement.args.len() >= room.div_ceil(2));
            }
        }
    }
}
