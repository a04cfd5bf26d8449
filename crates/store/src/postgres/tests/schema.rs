//! The same tables, columns and indexes as SQLite's.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Row as _};

use super::super::PostgresStore;
use crate::copy::{Column, Kind};

/// The columns of an index, and whether it holds some rows only.
type Index = (Vec<String>, bool);

/// All tables of the schema but for their partitions and Belfry's own list of migrations.
const OURS: &str = "c.relnamespace = current_schema()::regnamespace AND NOT c.relispartition \
     AND c.relkind IN ('r', 'p') AND c.relname <> 'schema_version'";

async fn columns(store: &PostgresStore) -> BTreeMap<String, Vec<Column>> {
    let sql = format!(
        "SELECT c.relname::text, a.attname::text, a.atttypid::regtype::text, a.attnotnull FROM pg_class c \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE {OURS} \
         ORDER BY c.relname, a.attnum"
    );
    let mut tables: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    for row in sqlx::query(AssertSqlSafe(sql))
        .fetch_all(&store.readers)
        .await
        .unwrap()
    {
        let kind = match row.get::<String, _>(2).as_str() {
            "bigint" => Kind::Number,
            "text" => Kind::Text,
            "bytea" => Kind::Bytes,
            other => panic!("a column of type {other}"),
        };
        tables.entry(row.get(0)).or_default().push(Column {
            name: row.get(1),
            kind,
            optional: !row.get::<bool, _>(3),
        });
    }
    tables
}

async fn indexes(store: &PostgresStore) -> BTreeMap<String, BTreeSet<Index>> {
    let sql = format!(
        "SELECT c.relname::text, i.indpred IS NOT NULL, (SELECT array_agg(a.attname::text ORDER BY k.place) \
         FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place) \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number) \
         FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid WHERE {OURS}"
    );
    let mut tables: BTreeMap<String, BTreeSet<Index>> = BTreeMap::new();
    for row in sqlx::query(AssertSqlSafe(sql))
        .fetch_all(&store.readers)
        .await
        .unwrap()
    {
        let index = (row.get(2), row.get(1));
        tables.entry(row.get(0)).or_default().insert(index);
    }
    tables
}

/// SQLite's indexes, the key of each table among them.
async fn sqlite_indexes() -> BTreeMap<String, BTreeSet<Index>> {
    let mut conn = crate::sqlite::blank().await.unwrap();
    let mut tables = BTreeMap::new();
    for table in crate::sqlite::tables().await.unwrap() {
        let key = table.key().map(|column| column.name.clone()).collect();
        let mut found = BTreeSet::from([(key, false)]);
        let indexes = sqlx::query("SELECT name, partial FROM pragma_index_list($1)")
            .bind(&table.name)
            .fetch_all(&mut conn)
            .await
            .unwrap();
        for index in indexes {
            let columns = sqlx::query("SELECT name FROM pragma_index_info($1) ORDER BY seqno")
                .bind(index.get::<String, _>(0))
                .fetch_all(&mut conn)
                .await
                .unwrap();
            let columns = columns.iter().map(|column| column.get(0)).collect();
            found.insert((columns, index.get(1)));
        }
        tables.insert(table.name.clone(), found);
    }
    tables
}

#[tokio::test]
async fn it_is_the_same_as_that_of_sqlite() {
    let (store, _options) = super::open().await;
    let here = columns(&store).await;
    let tables = crate::sqlite::tables().await.unwrap();
    let names = |tables: Vec<&String>| tables.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(here.keys().collect()),
        names(tables.iter().map(|table| &table.name).collect())
    );
    for table in tables {
        // A column that is added to a partitioned table stands last there, wherever it does in the other.
        let sorted = |columns: &[Column]| {
            let mut columns = columns.to_vec();
            columns.sort_by(|a, b| a.name.cmp(&b.name));
            columns
        };
        assert_eq!(
            sorted(&here[&table.name]),
            sorted(&table.columns),
            "{}",
            table.name
        );
    }
    let (here, there) = (indexes(&store).await, sqlite_indexes().await);
    for (table, indexes) in &there {
        assert_eq!(here.get(table), Some(indexes), "indexes of {table}");
    }
}
