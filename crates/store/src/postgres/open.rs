//! Opening: the settings of connections, the schema, the partitions of the next days.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::{Conn, PostgresOptions, PostgresStore, migrate, partitions};
use crate::{Result, StoreError};

/// The statements of the hot path and of the history, with room for the rest.
const STATEMENTS_CACHED: usize = 256;

impl PostgresStore {
    /// Connects, brings the schema up to date and makes the partitions of the next days. Refuses a server that does not
    /// keep what it confirms, and a schema that is newer than this program can work with.
    pub async fn open(options: PostgresOptions) -> Result<Self> {
        let connect = connect_options(&options)?;
        check_root_cert(&options).await?;
        let mut conn = tokio::time::timeout(options.connect_timeout, connect.connect())
            .await
            .map_err(|_| crate::error::unavailable("the server did not answer in time"))??;
        check_durability(&mut conn).await?;
        if let Some(schema) = &options.schema {
            // A name of our own setting, quoted; two nodes may try at once.
            let sql = format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema));
            if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await
                && !crate::error::is_duplicate(&error)
            {
                return Err(error.into());
            }
        }
        migrate::run(&mut conn).await?;
        partitions::make_ahead(&mut conn).await?;
        conn.close().await?;
        Self::with_pools(options, &connect)
    }

    /// Opens a database that this program works with, without changing anything. For tools.
    pub async fn open_reader(options: PostgresOptions) -> Result<Self> {
        let connect = connect_options(&options)?;
        check_root_cert(&options).await?;
        let mut conn = tokio::time::timeout(options.connect_timeout, connect.connect())
            .await
            .map_err(|_| crate::error::unavailable("the server did not answer in time"))??;
        let found = migrate::version(&mut conn).await?;
        conn.close().await?;
        if found < migrate::KNOWN {
            return Err(StoreError::Unusable(format!(
                "it has schema version {found}, this program works with {}; `belfry db migrate` or the start of a server brings it there",
                migrate::KNOWN
            )));
        }
        Self::with_pools(options, &connect)
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the last step of ways that can fail"
    )]
    fn with_pools(options: PostgresOptions, connect: &PgConnectOptions) -> Result<Self> {
        let pool = |connections: u32| {
            PgPoolOptions::new()
                .max_connections(connections.max(1))
                .acquire_timeout(options.connect_timeout)
        };
        let writing = limited(connect.clone(), &options);
        // A plan made for these very values prunes partitions and knows how much a range holds.
        let reading = writing.clone().options([
            ("default_transaction_read_only", "on"),
            ("plan_cache_mode", "force_custom_plan"),
        ]);
        Ok(Self {
            writers: pool(options.writers).connect_lazy_with(writing),
            readers: pool(options.readers).connect_lazy_with(reading),
            committer: tokio::sync::Mutex::default(),
            unsettled: std::sync::Mutex::default(),
            listener: std::sync::OnceLock::new(),
            logs: std::sync::Mutex::default(),
            samples: std::sync::Mutex::default(),
            options,
        })
    }
}

/// How every connection is made.
pub(super) fn connect_options(options: &PostgresOptions) -> Result<PgConnectOptions> {
    let mut connect = PgConnectOptions::from_str(&options.url)
        .map_err(|error| StoreError::Unusable(format!("the URL cannot be used: {error}")))?
        .application_name("belfry")
        .statement_cache_capacity(STATEMENTS_CACHED)
        // Whatever the server's default: a 202 promises that the commit has reached the disk.
        .options([
            ("synchronous_commit", "on"),
            // Statements walk along a key and stop early. A bitmap reads all that qualifies first and sorts it then, which
            // looks cheap to the planner for as long as it does not know how much waits behind one key.
            ("enable_bitmapscan", "off"),
        ])
        .disable_statement_logging();
    if let Some(password) = &options.password {
        connect = connect.password(password);
    }
    if let Some(file) = &options.root_cert {
        connect = connect.ssl_root_cert(file);
    }
    if let Some(schema) = &options.schema {
        connect = connect.options([("search_path", quoted(schema).as_str())]);
    }
    Ok(connect)
}

/// With the limit that every statement has while a server runs. A migration has none.
pub(super) fn limited(connect: PgConnectOptions, options: &PostgresOptions) -> PgConnectOptions {
    let limit = options.statement_timeout.as_millis().to_string();
    connect.options([("statement_timeout", limit.as_str())])
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The driver would not say which file it is that cannot be read.
async fn check_root_cert(options: &PostgresOptions) -> Result<()> {
    let Some(file) = &options.root_cert else {
        return Ok(());
    };
    tokio::fs::File::open(file)
        .await
        .map(drop)
        .map_err(|error| {
            StoreError::Unusable(format!(
                "the root certificates in {} cannot be read: {error}",
                file.display()
            ))
        })
}

async fn check_durability(conn: &mut Conn) -> Result<()> {
    let row = sqlx::query(
        "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('server_version_num')",
    )
    .fetch_one(conn)
    .await?;
    let (fsync, commit, version): (String, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if version.parse::<u32>().is_ok_and(|number| number < 140_000) {
        return Err(StoreError::Unusable(format!(
            "the server is Postgres {}; 14 or newer is needed",
            version.parse::<u32>().unwrap_or(0) / 10_000
        )));
    }
    if fsync == "off" {
        return Err(StoreError::Unusable(
            "the server runs with fsync = off and would lose what it has confirmed; switch it on"
                .to_owned(),
        ));
    }
    if commit == "off" {
        return Err(StoreError::Unusable(
            "the server does not wait for its disk (synchronous_commit = off)".to_owned(),
        ));
    }
    Ok(())
}
