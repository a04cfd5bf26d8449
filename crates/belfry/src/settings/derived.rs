//! From settings to what each part of the server wants.

use std::path::PathBuf;

use belfry_api::ApiSettings;
use belfry_app::functions::FunctionSettings;
use belfry_app::{AppSettings, SealError, Sealer};
use belfry_egress::{EgressLimits, EgressPolicy};
use belfry_engine::EngineSettings;
use belfry_eval::EvalLimits;
use belfry_functions::{
    CodeLimits, Interpreter, RunnerSettings, RuntimeSettings, Runtimes, SpecLimits,
};
use belfry_model::event::EventLimits;
use belfry_sandbox::{Disk, Level};
use belfry_store::PostgresOptions;
use belfry_store::sqlite::{SqliteOptions, Synchronous as StoreSynchronous};
use tokio_util::sync::CancellationToken;

use super::value::{Isolation, Synchronous};
use super::{Secret, Settings};
use crate::serve::listener::ListenLimits;

impl Settings {
    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.data.dir.join("belfry.db")
    }

    /// The file with the key for secrets, unless the key is configured.
    pub fn key_file(&self) -> PathBuf {
        self.data.dir.join("secret.key")
    }

    /// For the store, if it is a Postgres.
    pub fn postgres(&self) -> Option<PostgresOptions> {
        let store = &self.store;
        store.url.as_ref().map(|url| PostgresOptions {
            url: url.expose().to_owned(),
            password: store
                .password
                .as_ref()
                .map(|password| password.expose().to_owned()),
            root_cert: store.root_cert.clone(),
            schema: store.schema.as_ref().map(|schema| schema.0.clone()),
            writers: store.writers.as_u32(),
            readers: store.readers.as_u32(),
            connect_timeout: store.connect_timeout,
            commit_timeout: store.commit_timeout,
            statement_timeout: store.statement_timeout,
            commit_delay: std::time::Duration::from_millis(u64::from(
                store.commit_delay_ms.as_u32(),
            )),
        })
    }

    /// For the store, if it is the embedded one.
    pub fn sqlite(&self) -> SqliteOptions {
        SqliteOptions {
            synchronous: match self.store.synchronous {
                Synchronous::Full => StoreSynchronous::Full,
                Synchronous::Normal => StoreSynchronous::Normal,
            },
            cache_bytes: self.store.cache_bytes.0,
            readers: self.store.readers.as_u32(),
            commit_delay: std::time::Duration::from_millis(u64::from(
                self.store.commit_delay_ms.as_u32(),
            )),
            ..SqliteOptions::file(self.database())
        }
    }

    /// For the engine.
    pub fn engine(&self) -> EngineSettings {
        let (ingest, engine, retention) = (&self.ingest, &self.engine, &self.retention);
        EngineSettings {
            public_url: self.server.public_url.as_ref().map(ToString::to_string),
            waiting_events_max: ingest.waiting_events_max.as_usize(),
            waiting_bytes_max: ingest.waiting_bytes_max.as_usize(),
            answer_timeout: ingest.answer_timeout,
            batch_ops_max: engine.batch_ops_max.as_usize(),
            batch_bytes_max: engine.batch_bytes_max.as_usize(),
            lane_deliveries_max: engine.lane_deliveries_max.as_usize(),
            lane_bytes_max: engine.lane_bytes_max.as_usize(),
            lanes_bytes_max: engine.lanes_bytes_max.as_usize(),
            in_flight_max: engine.in_flight_max.as_usize(),
            park_after: engine.park_after,
            circuit_failures: engine.circuit_failures.as_u32(),
            circuit_open: engine.circuit_open,
            circuit_open_max: engine.circuit_open_max,
            disable_after: engine.disable_after,
            dedup_entries_max: ingest.dedup_entries_max.as_usize(),
            sweep_every: engine.sweep_every,
            config_poll: engine.config_poll,
            retention_age: retention.age,
            invocations_age: retention.invocations,
            retention_bytes: retention.bytes.map(|size| size.0),
            disk_free_min_bytes: retention.disk_free_min.0,
            size_max_bytes: retention.size_max.map(|size| size.0),
            replays_max: self.limits.replays_max.as_usize(),
            idempotency_age: ingest.idempotency_age,
            record_successes: retention.record_successes,
            node_name: self.node_name(),
            node_lease: self.node.lease,
        }
    }

    /// What this node is called: as configured, else like the machine.
    fn node_name(&self) -> String {
        let machine = || {
            std::fs::read_to_string("/proc/sys/kernel/hostname")
                .ok()
                .or_else(|| std::env::var("HOSTNAME").ok())
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
        };
        let name = self.node.name.as_ref().map(|name| name.0.clone());
        name.or_else(machine).unwrap_or_else(|| "belfry".to_owned())
    }

    /// For the use-cases.
    pub fn app(&self) -> AppSettings {
        AppSettings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            buses_max: self.limits.buses_max.as_usize(),
            rules_per_bus_max: self.limits.rules_per_bus_max.as_usize(),
            scan_max: self.limits.history_scan_max.as_u32(),
            replays_max: self.limits.replays_max.as_u32(),
            replay_rate: self.limits.replay_rate.as_u32(),
            requests_per_second: self.auth.requests_per_second.map(super::Count::as_u32),
            webhook_origins: self
                .ingest
                .webhook_origins
                .iter()
                .map(|origin| origin.0.clone())
                .collect(),
            unparsed_max: self.sources.unparsed_max.as_u32(),
            unparsed_bytes_max: self.sources.unparsed_bytes_max.as_usize(),
            handshake_timeout: self.sources.handshake_timeout,
        }
    }

    /// For functions.
    pub fn functions(&self) -> FunctionSettings {
        let functions = &self.functions;
        FunctionSettings {
            enabled: functions.enabled,
            limits: SpecLimits {
                code_paths: functions.code_paths.clone(),
                layers: functions.layers_dir.is_some(),
                exec_allowed: functions.exec_allowed.clone(),
            },
            code: CodeLimits {
                zip_bytes_max: functions.zip_bytes_max.0,
                unpacked_bytes_max: functions.unpacked_bytes_max.0,
            },
            layers_dir: functions.layers_dir.clone(),
            event_bytes_max: functions.event_bytes_max.as_usize(),
            async_event_bytes_max: functions.async_event_bytes_max.as_usize(),
            worker_wait: functions.worker_wait,
            shutdown_grace: functions.shutdown_grace,
        }
    }

    /// For what runs functions, which keeps what it needs in `dir`.
    pub fn runner(&self, dir: PathBuf, runtimes: &Runtimes) -> RunnerSettings {
        let path = |found: &Result<Interpreter, String>| {
            found.as_ref().ok().map(|found| found.path.clone())
        };
        let functions = &self.functions;
        RunnerSettings {
            level: match functions.isolation {
                Isolation::Process => Level::Process,
                Isolation::Landlock => Level::Landlock,
                Isolation::Namespace => Level::Namespace,
            },
            allow_unsandboxed: functions.allow_unsandboxed,
            node: path(&runtimes.node),
            python: path(&runtimes.python),
            exec_allowed: functions.exec_allowed.clone(),
            workers_max: functions.workers_max.as_usize(),
            queue_max: functions.queue_max.as_usize(),
            event_bytes_max: functions.event_bytes_max.as_usize(),
            answer_bytes_max: functions.answer_bytes_max.as_usize(),
            log_bytes_max: functions.log_bytes_max.as_usize(),
            scratch_max: Disk {
                bytes: functions.scratch_bytes_max.0,
                files: u64::from(functions.scratch_files_max.as_u32()),
            },
            wait_for_worker: functions.worker_wait,
            ..RunnerSettings::new(dir)
        }
    }

    /// Where interpreters of functions are looked for.
    pub fn runtimes(&self) -> RuntimeSettings {
        RuntimeSettings {
            node: self.functions.node.clone(),
            python: self.functions.python.clone(),
            exec_allowed: self.functions.exec_allowed.clone(),
        }
    }

    /// Where what functions need on this machine is kept.
    pub fn functions_dir(&self) -> PathBuf {
        self.data.dir.join("functions")
    }

    /// For templates.
    pub fn eval(&self) -> EvalLimits {
        EvalLimits {
            processes: self.templates.processes.as_usize(),
            timeout: self.templates.timeout,
        }
    }

    /// For the API; its live streams end with `shutdown`.
    pub fn api(&self, shutdown: CancellationToken) -> ApiSettings {
        ApiSettings {
            body_bytes_max: self.limits.body_bytes_max.as_usize(),
            ingest_bytes_max: self.ingest.request_bytes_max.as_usize(),
            body_deadline: self.server.body_timeout,
            events: EventLimits {
                event_bytes: self.ingest.event_bytes_max.as_usize(),
                depth: self.ingest.depth_max.as_usize(),
                batch_events: self.ingest.batch_events_max.as_usize(),
                ..EventLimits::default()
            },
            streams_max: self.limits.streams_max.as_usize(),
            heartbeat: self.limits.stream_heartbeat,
            shutdown,
        }
    }

    /// For outgoing requests.
    pub fn egress_policy(&self) -> EgressPolicy {
        let egress = &self.egress;
        EgressPolicy {
            allow: egress.allow.clone(),
            deny: egress.deny.clone(),
            allow_loopback: egress.allow_loopback,
            allow_private: egress.allow_private,
            allow_http: egress.allow_http,
            ports: egress
                .ports
                .iter()
                .filter_map(|port| u16::try_from(port.0).ok())
                .collect(),
        }
    }

    /// For outgoing requests.
    pub fn egress_limits(&self) -> EgressLimits {
        EgressLimits {
            connect_timeout: self.egress.connect_timeout,
            timeout_max: self.egress.timeout_max,
            response_bytes_max: self.egress.response_bytes_max.as_usize(),
            idle_per_host_max: self.egress.idle_per_host_max.as_usize(),
            ..EgressLimits::default()
        }
    }

    /// For the accept loop.
    pub fn listen_limits(&self) -> ListenLimits {
        ListenLimits {
            connections_max: self.server.connections_max.as_usize(),
            header_timeout: self.server.header_timeout,
            header_bytes_max: self.server.header_bytes_max.as_usize(),
            drain_limit: self.server.drain_limit,
        }
    }

    /// What seals stored secrets: the configured key, else the key file, which is made if it is missing.
    pub fn sealer(&self) -> Result<Sealer, SealError> {
        match &self.secrets.key {
            Some(key) => sealer_of(key),
            None => Sealer::load_or_create(&self.key_file()),
        }
    }
}

/// Takes also the text of a key file that the server made, comments included.
pub(super) fn sealer_of(key: &Secret) -> Result<Sealer, SealError> {
    let keys: Vec<&str> = key
        .expose()
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .collect();
    Sealer::from_base64(&keys.join("\n"))
}
