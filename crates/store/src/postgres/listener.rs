//! Being told of changes of the configuration, so that they are in force everywhere at once.
//!
//! What is told is a hint: whoever waits for it looks at the version from time to time as well. So nothing depends on this
//! connection; a pooler may swallow what is told, and a database that does not know `LISTEN` is not asked again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{PostgresOptions, PostgresStore, open};
use crate::StoreError;
use crate::error::{is_unsupported, unavailable};

/// What `RAISE_VERSION` tells by; the text is the schema of whoever tells.
const CHANNEL: &str = "belfry.configuration";
/// After so long without a word it is asked whether the line is still there.
const QUIET: Duration = Duration::from_secs(30);
/// Between two tries to connect.
const AGAIN: Duration = Duration::from_secs(2);

/// A connection that listens, made anew when it is lost. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    told: Arc<Notify>,
    task: AbortHandle,
}

impl Listener {
    fn start(options: PostgresOptions) -> Self {
        let told = Arc::<Notify>::default();
        let task = tokio::spawn(listen(options, Arc::clone(&told))).abort_handle();
        Self { told, task }
    }

    pub(super) fn end(&self) {
        self.task.abort();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end();
    }
}

impl PostgresStore {
    /// Returns when somebody has changed the configuration since the last time. For one caller at a time.
    pub(super) async fn told(&self) {
        let start = || Listener::start(self.options.clone());
        self.listener.get_or_init(start).told.notified().await;
    }
}

async fn listen(options: PostgresOptions, told: Arc<Notify>) {
    let mut well = true;
    loop {
        let Err(error) = hear(&options, &told, &mut well).await;
        match error {
            Lost::Unsupported(error) => {
                tracing::warn!(%error, "the database does not tell of changes of the configuration; they are looked for now and then");
                return;
            }
            Lost::Line(error) if std::mem::take(&mut well) => {
                tracing::warn!(%error, "the connection that hears of changes of the configuration is lost; they are looked for until it is back");
            }
            Lost::Line(error) => tracing::debug!(%error, "still no connection to hear of changes"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Why nothing is heard.
enum Lost {
    Line(StoreError),
    Unsupported(sqlx::Error),
}

impl From<sqlx::Error> for Lost {
    fn from(error: sqlx::Error) -> Self {
        if is_unsupported(&error) {
            Self::Unsupported(error)
        } else {
            Self::Line(error.into())
        }
    }
}

/// Listens for as long as the connection lives. `well` becomes true when it does.
async fn hear(
    options: &PostgresOptions,
    told: &Notify,
    well: &mut bool,
) -> Result<Infallible, Lost> {
    let connect = open::connect_options(options).map_err(Lost::Line)?;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(options.connect_timeout)
        .connect_lazy_with(connect);
    let mut listener = PgListener::connect_with(&pool).await?;
    let schema: Option<String> = sqlx::query_scalar("SELECT current_schema()::text")
        .fetch_one(&mut listener)
        .await?;
    let schema = schema.unwrap_or_default();
    listener.listen(CHANNEL).await?;
    *well = true;
    loop {
        // Also what was told while nobody listened.
        told.notify_one();
        while !heard(&mut listener, &schema, options.connect_timeout).await? {}
    }
}

/// Waits for the next word, or for a sign of life. `true`: something may have changed.
async fn heard(listener: &mut PgListener, schema: &str, patience: Duration) -> Result<bool, Lost> {
    match timeout(QUIET, listener.try_recv()).await {
        Ok(Ok(Some(word))) => Ok(word.payload() == schema),
        // Connected again; in between nothing was heard.
        Ok(Ok(None)) => Ok(true),
        Ok(Err(error)) => Err(error.into()),
        Err(_quiet) => {
            let alive = sqlx::query("SELECT 1").execute(listener);
            match timeout(patience, alive).await {
                Ok(answer) => {
                    answer?;
                    Ok(false)
                }
                Err(_) => Err(Lost::Line(unavailable("the server did not answer in time"))),
            }
        }
    }
}
