//! Store, engine and use-cases, each started on top of the one before.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use belfry_app::functions::FunctionService;
use belfry_app::{App, Sealer};
use belfry_egress::{EgressClient, SystemResolver};
use belfry_engine::{Collaborators, Engine, People, SystemRandom};
use belfry_eval::Templates;
use belfry_model::{Clock, SystemClock};
use belfry_store::sqlite::SqliteStore;
use belfry_store::{PostgresStore, Store, StoreError};
use belfry_targets::{ConnectContext, Directory};

use super::functions;
use crate::failure::{Context as _, Failure, Result, chain};
use crate::settings::Settings;

/// What runs behind the API.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) engine: Engine,
    pub(super) app: Arc<App>,
    pub(super) functions: Arc<FunctionService>,
}

impl Parts {
    pub(super) async fn start(settings: &Settings) -> Result<Self> {
        let people = Arc::new(People::default());
        make_directory(&settings.data.dir)?;
        let store = open(settings).await?;
        let sealer = sealer(settings, &*store).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let functions = functions::start(settings, Arc::clone(&store), Arc::clone(&clock)).await;
        let directory = Arc::clone(&people) as _;
        let connect = Arc::new(connect(settings, directory, Arc::clone(&functions) as _)?);
        let engine = Engine::start(
            Collaborators {
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                random: Arc::new(SystemRandom),
                documents: Arc::clone(&sealer) as Arc<dyn belfry_engine::ReadDocument>,
                kinds: belfry_targets::find_kind,
                unseal: Arc::clone(&sealer) as Arc<dyn belfry_engine::Unseal>,
                connect: Arc::clone(&connect),
                templates: Arc::new(templates(settings)?),
            },
            settings.engine(),
        )
        .await
        .context("the engine")?;
        people.of(&engine);
        functions.of(&engine);
        let app = App::start(belfry_app::Parts {
            store: Arc::clone(&store),
            engine: engine.clone(),
            sealer,
            clock,
            connect,
            functions: Arc::clone(&functions),
            settings: settings.app(),
        })
        .await
        .context("the configuration")?;
        Ok(Self {
            store,
            engine,
            app,
            functions,
        })
    }
}

/// Jinja templates and scripts are evaluated by this very program, in another mode.
fn templates(settings: &Settings) -> Result<Templates> {
    let program = std::env::current_exe().context("the path of this program")?;
    let arguments = vec![crate::cli::EVAL_WORKER.to_owned()];
    Ok(Templates::new(program, arguments, settings.eval()))
}

/// The key must be the one that the database was used with.
async fn sealer(settings: &Settings, store: &dyn Store) -> Result<Arc<Sealer>> {
    let file = settings.key_file();
    let is_new = settings.secrets.key.is_none() && !file.exists();
    let sealer = settings.sealer().context("the key for stored secrets")?;
    let checked = sealer
        .check(store)
        .await
        .context("the key for stored secrets");
    if checked.is_err() && is_new {
        // A new key for an old database helps nobody, and would be in the way of the one that is missing.
        std::fs::remove_file(&file).context(file.display())?;
        return checked
            .map_err(|failure| failure.hint(format!("{} is missing", file.display())))
            .map(|()| Arc::new(sealer));
    }
    checked.map(|()| Arc::new(sealer))
}

fn connect(
    settings: &Settings,
    directory: Arc<dyn Directory>,
    functions: Arc<dyn belfry_functions::Functions>,
) -> Result<ConnectContext> {
    let (policy, limits) = (settings.egress_policy(), settings.egress_limits());
    let resolver = Arc::new(SystemResolver);
    let egress = match &settings.egress.extra_ca {
        Some(path) => {
            let roots =
                std::fs::read(path).context(format!("egress.extra_ca: {}", path.display()))?;
            EgressClient::with_roots(policy, limits, resolver, &roots)
        }
        None => EgressClient::new(policy, limits, resolver),
    };
    Ok(ConnectContext {
        egress: Arc::new(egress.context("outgoing requests")?),
        clock: Arc::new(SystemClock),
        user_agent: concat!("Belfry/", env!("CARGO_PKG_VERSION")).to_owned(),
        directory,
        functions,
    })
}

/// Only the owner may look into it: it holds events and the key of the secrets.
fn make_directory(path: &Path) -> Result {
    use std::os::unix::fs::DirBuilderExt as _;
    if path.is_dir() {
        return Ok(());
    }
    if path.exists() {
        return Err(Failure::failed(format!(
            "the data directory {} is no directory",
            path.display()
        )));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .context(format!(
            "the data directory {} cannot be made",
            path.display()
        ))
        .map_err(|failure| failure.hint("choose another with --data-dir or BELFRY_DATA__DIR"))
}

/// Opens the database that the settings name; says for each way it can fail what to do.
pub(crate) async fn open(settings: &Settings) -> Result<Arc<dyn Store>> {
    if let Some(options) = settings.postgres() {
        let place = options.place();
        return match PostgresStore::open(options).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(refused(place, &error)),
        };
    }
    match SqliteStore::open(settings.sqlite()).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(refused(settings.database().display(), &error)),
    }
}

/// The failure to open a database.
pub(crate) fn refused(place: impl Display, error: &StoreError) -> Failure {
    let failure = Failure::failed(format!(
        "the database {place} cannot be used: {}",
        chain(error)
    ));
    match error {
        StoreError::Newer { .. } => failure.hint("the database was left as it is"),
        StoreError::Full(_) => failure.hint("make room on the disk, then start again"),
        _ => failure,
    }
}
