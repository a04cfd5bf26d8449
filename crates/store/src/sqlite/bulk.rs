//! Many rows in few statements.
//!
//! Each text through sqlx costs a hop to the connection's thread, about 30 us, and a new one must be parsed. So there are
//! a few fixed shapes per statement, with room for 1, 4, 16, 64 and 256 rows; rows that are not used are `NULL` and
//! filtered out. And short statements go together as one text ([`Script`]). A loop of single inserts makes 12 thousand
//! events a second, shapes 147 thousand (`docs/decisions/0003-durable-engine.md`).

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _};

use super::{Conn, Db};
use crate::{Result, StoreError};

/// Rows by shape. With at most 12 columns far below SQLite's limit of 32,766 parameters.
const SHAPES: [usize; 5] = [1, 4, 16, 64, 256];

/// Statements are joined into one text up to so many characters, so that a small commit is one hop. Longer texts would
/// only fill the cache of parsed statements, each with all its mixtures of shapes.
const JOINED_MAX: usize = 2500;

/// One kind of statement in all its shapes.
pub(super) struct Bulk {
    texts: [Arc<str>; SHAPES.len()],
    /// Parameters of a row.
    width: usize,
}

/// Statements with their values, in the order in which they are run.
#[derive(Default)]
pub(super) struct Script {
    parts: Vec<Part>,
}

/// Statements that go to the connection's thread together.
struct Part {
    text: String,
    args: SqliteArguments,
    steps: Vec<Step>,
}

/// How the result of one statement is read.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// What a duplicate key means here.
    pub(super) on_duplicate: fn() -> Option<StoreError>,
    /// What it means when no row was touched.
    pub(super) on_nothing: fn() -> Option<StoreError>,
}

/// A statement of which nothing special is asked.
pub(super) const PLAIN: Step = Step {
    on_duplicate: || None,
    on_nothing: || None,
};

/// The values of one row, in the order of its columns.
pub(super) struct Row<'a>(&'a mut SqliteArguments);

impl Row<'_> {
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
        Self {
            texts,
            width: columns,
        }
    }

    /// Adds the statements that write `rows`, in their order.
    pub(super) fn add<T>(
        &self,
        rows: &[T],
        script: &mut Script,
        bind: impl FnMut(&T, &mut Row<'_>) -> Result<()>,
    ) -> Result<()> {
        self.add_with(PLAIN, rows, script, bind)
    }

    /// The same, where the results say something special.
    pub(super) fn add_with<T>(
        &self,
        step: Step,
        mut rows: &[T],
        script: &mut Script,
        mut bind: impl FnMut(&T, &mut Row<'_>) -> Result<()>,
    ) -> Result<()> {
        while !rows.is_empty() {
            let (room, text) = self.shape(rows.len());
            let (now, rest) = rows.split_at(room.min(rows.len()));
            script.add(&text, step, |values| {
                for row in now {
                    bind(row, values)?;
                }
                // What follows in the same text must find its own values.
                for _ in 0..(room - now.len()) * self.width {
                    values.put(None::<i64>)?;
                }
                Ok(())
            })?;
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

impl Script {
    /// Adds a statement; `bind` gives a value to each of its parameters.
    pub(super) fn add(
        &mut self,
        text: &str,
        step: Step,
        bind: impl FnOnce(&mut Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let joins = self
            .parts
            .last()
            .is_some_and(|part| part.text.len() + text.len() <= JOINED_MAX);
        if !joins {
            self.parts.push(Part {
                text: String::new(),
                args: SqliteArguments::default(),
                steps: Vec::new(),
            });
        }
        let Some(part) = self.parts.last_mut() else {
            return Ok(());
        };
        if joins {
            part.text.push(';');
        }
        part.text.push_str(text);
        part.steps.push(step);
        bind(&mut Row(&mut part.args))
    }

    /// The same after another statement, which takes no values and has no result of interest.
    pub(super) fn after(mut self, first: &str) -> Self {
        if let Some(part) = self.parts.first_mut() {
            part.text.insert(0, ';');
            part.text.insert_str(0, first);
            part.steps.insert(0, PLAIN);
        }
        self
    }

    /// Runs the statements one after the other; the first that fails ends it.
    pub(super) async fn run(self, conn: &mut Conn) -> Result<()> {
        for Part { text, args, steps } in self.parts {
            let mut results = conn.fetch_many(sqlx::query_with(AssertSqlSafe(text), args));
            for step in steps {
                match results.try_next().await {
                    Ok(Some(Either::Left(done))) if done.rows_affected() == 0 => {
                        if let Some(why) = (step.on_nothing)() {
                            return Err(why);
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        return Err(StoreError::Internal(
                            "a statement gave no result".to_owned(),
                        ));
                    }
                    Err(error) => {
                        let special = if crate::error::is_duplicate(&error) {
                            (step.on_duplicate)()
                        } else {
                            None
                        };
                        return Err(special.unwrap_or_else(|| error.into()));
                    }
                }
            }
        }
        Ok(())
    }

    /// The texts of its statements, for the tests that look at plans.
    #[cfg(test)]
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| part.text.split(';'))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    fn numbers(count: usize) -> Vec<i64> {
        (0..i64::try_from(count).unwrap()).collect()
    }

    #[test]
    fn every_number_of_rows_is_split_into_shapes_that_hold_it_in_order() {
        let bulk = Bulk::new("INSERT INTO t SELECT *", 1, "");
        for count in 0..1200_usize {
            let rows = numbers(count);
            let mut script = Script::default();
            let mut seen = Vec::new();
            bulk.add(&rows, &mut script, |row, values| {
                seen.push(*row);
                values.put(*row).map(drop)
            })
            .unwrap();
            assert_eq!(seen, rows);
            let steps: usize = script.parts.iter().map(|part| part.steps.len()).sum();
            assert!(steps <= 13, "{count} rows take {steps} statements");
            for part in script.parts {
                let room = part.text.matches('?').count();
                assert_eq!(part.args.len(), room);
                assert!(part.text.len() <= JOINED_MAX || part.steps.len() == 1);
            }
        }
    }

    #[tokio::test]
    async fn joined_statements_each_find_their_own_values_and_results() {
        let mut conn = Conn::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE a (n INTEGER PRIMARY KEY, m INTEGER); CREATE TABLE b (n INTEGER)",
        )
        .execute(&mut conn)
        .await
        .unwrap();
        let (a, b) = (
            Bulk::new("INSERT INTO a SELECT *", 2, ""),
            Bulk::new("INSERT INTO b SELECT *", 1, ""),
        );
        let twice = Step {
            on_duplicate: || Some(StoreError::Conflict),
            ..PLAIN
        };
        let mut next = 0;
        for count in [1, 2, 3, 5, 40, 700] {
            let rows: Vec<i64> = numbers(count).iter().map(|n| n + next).collect();
            next += 10_000;
            let script = |step: Step| {
                let mut script = Script::default();
                a.add_with(step, &rows, &mut script, |row, values| {
                    values.put(*row)?.put(-row).map(drop)
                })
                .unwrap();
                b.add(&rows, &mut script, |row, values| values.put(*row).map(drop))
                    .unwrap();
                script
            };
            script(PLAIN).run(&mut conn).await.unwrap();
            let again = script(twice).run(&mut conn).await;
            assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
        }
        let same: bool = sqlx::query_scalar(
            "SELECT (SELECT sum(n) = -sum(m) AND count(*) = 751 FROM a) AND (SELECT group_concat(n) FROM (SELECT n FROM a ORDER BY n)) \
             = (SELECT group_concat(n) FROM b)",
        )
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert!(same);
        let mut nothing = Script::default();
        let step = Step {
            on_nothing: || Some(StoreError::Fenced),
            ..PLAIN
        };
        b.add(&[1], &mut nothing, |row: &i64, values| {
            values.put(*row).map(drop)
        })
        .unwrap();
        nothing
            .add("UPDATE a SET m = ? WHERE n = ?", step, |values| {
                values.put(1)?.put(-5).map(drop)
            })
            .unwrap();
        let fenced = nothing.run(&mut conn).await;
        assert!(matches!(fenced, Err(StoreError::Fenced)), "{fenced:?}");
    }
}
