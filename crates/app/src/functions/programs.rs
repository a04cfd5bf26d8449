//! A version of a function made ready to run: its code on this machine's disk, its environment with secrets.
//!
//! One that is ready is kept as long as what it was made of is the same: documents that have not changed are the very same ones
//! from one configuration to the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use belfry_engine::Snapshot;
use belfry_functions::{
    CodeError, CodeSpec, EnvValue, FunctionSpec, Limits, Outcome, Program, allowed_path,
    inline_digest, layer_path,
};
use belfry_model::{DocumentName, FunctionName};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::code::read_digest;
use super::service::{FunctionService, Refused, missing};
use super::versions::{alias_part, choose, part_name};
use super::{DEFAULT, LATEST};
use crate::documents::{
    ALIASES, AliasSpec, FUNCTIONS, FunctionDocument, SECRETS, Secret, VERSIONS, VersionSpec,
};

/// How often is looked for code that nothing needs any more.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// A zip file that no function has named for so long is removed.
const ZIP_KEPT_MS: i64 = 24 * 3_600_000;

/// Programs that are ready, by function and version.
#[derive(Default)]
pub(super) struct Programs {
    ready: Mutex<HashMap<FunctionName, HashMap<String, Ready>>>,
    /// One is made at a time.
    making: tokio::sync::Mutex<()>,
    /// When it was looked last for what is not needed, and the code that was named then.
    sweep: Mutex<(Option<Instant>, HashSet<[u8; 32]>)>,
}

/// A program, and what it was made of.
struct Ready {
    source: Source,
    secrets: BTreeMap<String, Option<Arc<Secret>>>,
    program: Arc<Program>,
}

/// The document that says what a version is.
#[derive(Clone)]
enum Source {
    Draft(Arc<FunctionDocument>),
    Version(Arc<VersionSpec>),
}

impl Source {
    fn spec(&self) -> &FunctionSpec {
        match self {
            Self::Draft(draft) => &draft.spec,
            Self::Version(version) => &version.spec,
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Draft(one), Self::Draft(other)) => Arc::ptr_eq(one, other),
            (Self::Version(one), Self::Version(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// A program, and how long it took to make it ready.
pub(super) struct Made {
    pub(super) program: Arc<Program>,
    pub(super) took_ms: u32,
}

/// The version that is meant, and what it is.
struct Meant {
    version: String,
    source: Source,
}

impl FunctionService {
    /// The program that is meant by a name and a qualifier, ready to run.
    pub(super) async fn program(
        &self,
        function: &FunctionName,
        qualifier: &str,
        routing: u64,
    ) -> Result<Made, Refused> {
        let snapshot = self.snapshot()?;
        let meant = meant(&snapshot, function, qualifier, routing)?;
        if let Some(program) = self.found(&snapshot, function, &meant) {
            return Ok(Made {
                program,
                took_ms: 0,
            });
        }
        let started = Instant::now();
        let _alone = self.programs.making.lock().await;
        if let Some(program) = self.found(&snapshot, function, &meant) {
            return Ok(Made {
                program,
                took_ms: 0,
            });
        }
        let (program, secrets) = self.make(&snapshot, function, &meant).await?;
        let program = Arc::new(program);
        let ready = Ready {
            source: meant.source,
            secrets,
            program: Arc::clone(&program),
        };
        self.keep_program(function, meant.version, ready);
        let took = started.elapsed().as_millis();
        Ok(Made {
            program,
            took_ms: u32::try_from(took).unwrap_or(u32::MAX),
        })
    }

    /// Which version is meant; for who does not want to run it.
    pub(super) fn version(
        &self,
        function: &FunctionName,
        qualifier: &str,
    ) -> Result<String, Refused> {
        Ok(meant(&*self.snapshot()?, function, qualifier, 0)?.version)
    }

    fn snapshot(&self) -> Result<Arc<Snapshot>, Refused> {
        let snapshot = self.in_force.snapshot();
        snapshot.ok_or_else(|| Refused::new(Outcome::Unavailable, "the server is starting"))
    }

    fn found(
        &self,
        snapshot: &Snapshot,
        function: &FunctionName,
        meant: &Meant,
    ) -> Option<Arc<Program>> {
        let ready = self.programs.ready.lock();
        let ready = ready.unwrap_or_else(PoisonError::into_inner);
        let found = ready.get(function)?.get(&meant.version)?;
        (found.source.is(&meant.source) && found.secrets_are_those_of(snapshot))
            .then(|| Arc::clone(&found.program))
    }

    /// Workers of what it replaces finish and go.
    fn keep_program(&self, function: &FunctionName, version: String, ready: Ready) {
        let mut all = self.programs.ready.lock();
        let all = &mut **all.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
        let of_function = all.entry(function.clone()).or_default();
        of_function.insert(version, ready);
        self.retire(function, of_function);
    }

    fn retire(&self, function: &FunctionName, kept: &HashMap<String, Ready>) {
        if let Ok(machine) = &self.machine {
            let keep: Vec<_> = kept.values().map(|ready| ready.program.key).collect();
            machine.workers.retire(function, &keep);
        }
    }

    async fn make(
        &self,
        snapshot: &Snapshot,
        function: &FunctionName,
        meant: &Meant,
    ) -> Result<(Program, BTreeMap<String, Option<Arc<Secret>>>), Refused> {
        let spec = meant.source.spec();
        let unusable = |message: String| Refused::new(Outcome::InitFailed, message);
        if let Some(fault) = self.faults(spec).first() {
            // Settings may have changed since it was written.
            let why = format!(
                "this server does not allow it: {}: {}",
                fault.pointer, fault.detail
            );
            return Err(Refused::new(Outcome::Unavailable, why));
        }
        let mut secrets = BTreeMap::new();
        let mut environment = Vec::new();
        let mut hidden = Vec::new();
        for (name, value) in &spec.env {
            let text = match value {
                EnvValue::Text(text) => text.clone(),
                EnvValue::Secret { secret } => {
                    let found = secret_named(snapshot, secret);
                    secrets.insert(secret.clone(), found.clone());
                    let found = found.ok_or_else(|| {
                        unusable(format!("/env/{name}: there is no secret {secret}"))
                    })?;
                    hidden.push(found.value.clone());
                    found.value.clone()
                }
            };
            environment.push((name.clone(), text));
        }
        let runtime = spec
            .runtime_kind()
            .ok_or_else(|| unusable(format!("there is no runtime {}", spec.runtime)))?;
        let code = self.place_code(spec).await?;
        let mut layers = Vec::new();
        for (at, layer) in spec.layers.iter().enumerate() {
            let folder = layer_path(layer, self.settings.layers_dir.as_deref());
            layers.push(folder.map_err(|error| {
                unusable(format!("/layers/{at}: there is no layer {layer}: {error}"))
            })?);
        }
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let mut program = Program {
            function: function.clone(),
            version: meant.version.clone(),
            key: [0; 32],
            runtime,
            profile: spec.profile,
            handler: spec.handler().to_owned(),
            code,
            layers,
            environment,
            secrets: hidden,
            limits: Limits {
                timeout: seconds(spec.timeout_seconds),
                init_timeout: seconds(spec.init_timeout_seconds),
                memory_mb: spec.memory_mb,
                concurrency: spec.concurrency,
                min_warm: spec.min_warm,
                idle: seconds(spec.idle_seconds),
                invocations_per_worker: spec.max_invocations_per_worker,
            },
            network: spec.network,
            drain: spec.drain,
            region: spec.region.clone(),
        };
        program.key = key(&program, spec);
        Ok((program, secrets))
    }

    /// Has the code on this machine's disk, and says where.
    async fn place_code(&self, spec: &FunctionSpec) -> Result<PathBuf, Refused> {
        let store = Arc::clone(&self.machine()?.code);
        let failed = |why: String| Refused::new(Outcome::Internal, why);
        let unusable = |error: CodeError| match error {
            CodeError::Disk(error) => failed(format!("its code cannot be put on disk: {error}")),
            error => Refused::new(Outcome::InitFailed, error.to_string()),
        };
        match &spec.code {
            // A program of the server's. What is named here may be read by it: no more than what every program may.
            None => Ok(PathBuf::from("/usr")),
            Some(CodeSpec::Path(path)) => {
                allowed_path(path.as_ref(), &self.settings.limits.code_paths).map_err(unusable)
            }
            Some(CodeSpec::Inline(text)) => {
                let file = spec.inline_file().ok_or_else(|| {
                    Refused::new(Outcome::InitFailed, "its handler names no file")
                })?;
                let text = text.clone();
                let placed = spawn_blocking(move || store.place_inline(&file, &text)).await;
                let placed = placed.map_err(|error| failed(error.to_string()))?;
                placed.map(|(_, folder)| folder).map_err(unusable)
            }
            Some(CodeSpec::Zip(zip)) => {
                let digest = read_digest(&zip.sha256)
                    .ok_or_else(|| failed(format!("{} is no digest", zip.sha256)))?;
                if let Some(folder) = store.find(&digest) {
                    return Ok(folder);
                }
                let bytes = self.store.read_code(&digest).await;
                let bytes = bytes
                    .map_err(|error| failed(format!("its code cannot be read: {error}")))?
                    .ok_or_else(|| {
                        Refused::new(Outcome::InitFailed, "its zip file is not there any more")
                    })?;
                let limits = self.settings.code;
                let placed =
                    spawn_blocking(move || store.place_zip(&digest, &bytes, &limits)).await;
                placed
                    .map_err(|error| failed(error.to_string()))?
                    .map_err(unusable)
            }
        }
    }

    /// Follows changes of the configuration: what was deleted ends, what has changed is made anew when it is needed.
    pub(super) async fn keep_programs(&self, seen: &mut Option<Arc<Snapshot>>) {
        let Some(snapshot) = self.in_force.snapshot() else {
            return;
        };
        let is_new = seen
            .as_ref()
            .is_none_or(|seen| !Arc::ptr_eq(seen, &snapshot));
        if is_new {
            self.drop_changed(&snapshot);
            self.warm(&snapshot).await;
            *seen = Some(Arc::clone(&snapshot));
        }
        let due = {
            let mut sweep = self.programs.sweep.lock();
            let sweep = &mut **sweep.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
            let due = sweep.0.is_none_or(|last| last.elapsed() >= SWEEP_EVERY);
            if due {
                sweep.0 = Some(Instant::now());
            }
            due
        };
        if due && self.machine.is_ok() {
            self.sweep(&snapshot).await;
        }
    }

    /// Functions that want workers whatever happens get them before the first event: of the version that is run when none is named.
    async fn warm(&self, snapshot: &Snapshot) {
        let Ok(machine) = self.machine() else {
            return;
        };
        let drafts = snapshot.documents::<FunctionDocument>(FUNCTIONS, None);
        let wanted = drafts.filter(|(_, draft)| draft.spec.enabled && draft.spec.min_warm > 0);
        let names: Vec<FunctionName> = wanted
            .filter_map(|(name, _)| name.as_str().parse().ok())
            .collect();
        for function in names {
            match self.program(&function, DEFAULT, 0).await {
                Ok(made) => machine.workers.keep_warm(&made.program),
                Err(refused) => {
                    tracing::warn!(%function, why = refused.message, "a function cannot be kept warm");
                }
            }
        }
    }

    /// The longest that an invocation of a function can take after it has a worker: whichever version runs.
    pub(super) fn longest_run(&self, function: &FunctionName) -> Option<Duration> {
        let snapshot = self.snapshot().ok()?;
        let name = DocumentName::from(function);
        let draft = snapshot.document::<FunctionDocument>(FUNCTIONS, None, &name)?;
        let under = format!("{function}/");
        let versions = snapshot.documents::<VersionSpec>(VERSIONS, None);
        let versions = versions.filter(|(name, _)| name.as_str().starts_with(&under));
        let seconds = |spec: &FunctionSpec| spec.timeout_seconds + spec.init_timeout_seconds;
        let longest = versions
            .map(|(_, version)| seconds(&version.spec))
            .fold(seconds(&draft.spec), u32::max);
        Some(Duration::from_secs(u64::from(longest)))
    }

    fn drop_changed(&self, snapshot: &Snapshot) {
        let mut all = self.programs.ready.lock();
        let all = &mut **all.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
        all.retain(|function, ready| {
            let name = DocumentName::from(function);
            if snapshot
                .document::<FunctionDocument>(FUNCTIONS, None, &name)
                .is_none()
            {
                if let Ok(machine) = &self.machine {
                    machine.workers.forget(function);
                }
                return false;
            }
            let before = ready.len();
            ready.retain(|version, ready| {
                let now = source(snapshot, function, version);
                now.is_some_and(|now| now.is(&ready.source)) && ready.secrets_are_those_of(snapshot)
            });
            if ready.len() != before {
                self.retire(function, ready);
            }
            true
        });
    }

    /// Removes code that nothing names now nor named an hour ago: no invocation takes so long.
    async fn sweep(&self, snapshot: &Snapshot) {
        let drafts = snapshot.documents::<FunctionDocument>(FUNCTIONS, None);
        let versions = snapshot.documents::<VersionSpec>(VERSIONS, None);
        let drafts: Vec<_> = drafts.map(|(_, draft)| draft).collect();
        let versions: Vec<_> = versions.map(|(_, version)| version).collect();
        let mut specs: Vec<&FunctionSpec> = drafts.iter().map(|draft| &draft.spec).collect();
        specs.extend(versions.iter().map(|version| &version.spec));
        let zips: HashSet<[u8; 32]> = specs.iter().filter_map(|spec| zip_of(spec)).collect();
        self.remove_zips(&zips).await;
        let Ok(machine) = &self.machine else {
            return;
        };
        let named: HashSet<[u8; 32]> = specs.into_iter().filter_map(code_of).collect();
        let keep = {
            let mut sweep = self.programs.sweep.lock();
            let sweep = &mut **sweep.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
            let keep = named.union(&sweep.1).copied().collect();
            sweep.1 = named;
            keep
        };
        let code = Arc::clone(&machine.code);
        let removed = spawn_blocking(move || code.remove_unused(&keep)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "code of functions that nothing needs could not be removed");
        }
    }

    async fn remove_zips(&self, named: &HashSet<[u8; 32]>) {
        let old = self.clock.now_ms() - ZIP_KEPT_MS;
        let removed = async {
            let kept = self.store.list_codes().await?;
            let gone: Vec<[u8; 32]> = kept
                .into_iter()
                .filter(|code| code.at_ms < old && !named.contains(&code.sha256))
                .map(|code| code.sha256)
                .collect();
            self.store.delete_codes(&gone, old).await
        };
        if let Err(error) = removed.await {
            tracing::warn!(%error, "zip files that no function names could not be removed");
        }
    }
}

impl Ready {
    fn secrets_are_those_of(&self, snapshot: &Snapshot) -> bool {
        self.secrets.iter().all(
            |(name, secret)| match (secret, secret_named(snapshot, name)) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, &other),
                (None, None) => true,
                _ => false,
            },
        )
    }
}

/// The zip file of a function.
fn zip_of(spec: &FunctionSpec) -> Option<[u8; 32]> {
    match spec.code.as_ref()? {
        CodeSpec::Zip(zip) => read_digest(&zip.sha256),
        CodeSpec::Inline(_) | CodeSpec::Path(_) => None,
    }
}

/// By what a function's code is known on this machine.
fn code_of(spec: &FunctionSpec) -> Option<[u8; 32]> {
    match spec.code.as_ref()? {
        CodeSpec::Inline(text) => Some(inline_digest(&spec.inline_file()?, text)),
        CodeSpec::Zip(_) | CodeSpec::Path(_) => zip_of(spec),
    }
}

fn secret_named(snapshot: &Snapshot, name: &str) -> Option<Arc<Secret>> {
    snapshot.document(SECRETS, None, &name.parse().ok()?)
}

/// Which version is meant by a qualifier.
fn meant(
    snapshot: &Snapshot,
    function: &FunctionName,
    qualifier: &str,
    routing: u64,
) -> Result<Meant, Refused> {
    let draft = snapshot
        .document::<FunctionDocument>(FUNCTIONS, None, &DocumentName::from(function))
        .ok_or_else(|| missing(function))?;
    if !draft.spec.enabled {
        let why = format!("{function} is disabled");
        return Err(Refused::new(Outcome::Unavailable, why));
    }
    let no_version = |what: &str| {
        let shown: String = what.chars().take(64).collect();
        let why = format!("{function} has no version or alias {shown:?}");
        Refused::new(Outcome::NoVersion, why)
    };
    let part = alias_part(qualifier);
    let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let version = if is_number || part == alias_part(LATEST) {
        qualifier.to_owned()
    } else {
        let name = part_name(function, part).ok_or_else(|| no_version(qualifier))?;
        match snapshot.document::<AliasSpec>(ALIASES, None, &name) {
            Some(alias) => choose(&alias, routing).to_owned(),
            None if part == alias_part(DEFAULT) => LATEST.to_owned(),
            None => return Err(no_version(qualifier)),
        }
    };
    if alias_part(&version) == alias_part(LATEST) {
        return Ok(Meant {
            version: LATEST.to_owned(),
            source: Source::Draft(draft),
        });
    }
    let found = source(snapshot, function, &version).ok_or_else(|| no_version(&version))?;
    Ok(Meant {
        version,
        source: found,
    })
}

fn source(snapshot: &Snapshot, function: &FunctionName, version: &str) -> Option<Source> {
    if version == LATEST {
        let draft = snapshot.document(FUNCTIONS, None, &DocumentName::from(function))?;
        return Some(Source::Draft(draft));
    }
    let name = part_name(function, version)?;
    snapshot
        .document(VERSIONS, None, &name)
        .map(Source::Version)
}

/// A hash of everything that makes a program what it is.
fn key(program: &Program, spec: &FunctionSpec) -> [u8; 32] {
    let text = serde_json::json!([
        program.function,
        program.version,
        program.code,
        program.layers,
        program.environment,
        spec,
    ]);
    Sha256::digest(text.to_string().as_bytes()).into()
}

/// For logs and tests.
impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.program.key.get(..4).unwrap_or_default();
        f.debug_tuple("Made").field(&hex::encode(key)).finish()
    }
}
