//! The server's settings: one definition each (name, type, default, text), several sources.
//!
//! Order: defaults < TOML file < `BELFRY_SECTION__KEY` < flags. From the table below come the parser, `belfry config
//! print|check`, `config/default.toml` and `docs/reference/configuration.md`. Unknown names are errors wherever they
//! stand, and all errors are reported, not the first. What is *not* here: buses, rules, targets and keys, which are
//! objects of the API.

mod args;
mod check;
mod derived;
mod describe;
mod layers;
mod table;
mod unknown;
mod value;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

pub use args::{SettingsArgs, load_for};
pub use describe::{default_file, effective_toml, reference};
use layers::Reader;
pub use layers::{Effective, FileSource, Flag, Loaded, Origin, Problem, Sources, load};
pub use table::{Section, Setting};
use table::{default_toml, settings};
pub use value::{
    ByteSize, Count, Isolation, LogFormat, Raw, Secret, SettingValue, Synchronous, Text,
};

/// The port of the server unless said otherwise; the command line looks for it there.
pub const DEFAULT_PORT: u16 = 7311;

settings! {
    /// The HTTP server.
    [server] ServerSettings {
        /// Address and port to listen on. Anything but a loopback address makes the server reachable from outside:
        /// put TLS in front of it.
        listen: SocketAddr = "127.0.0.1:7311",
        /// The URL under which clients reach the server, if it differs from the address. Messages to people link their
        /// delivery below it; without it they have no link.
        public_url: Option<Url> = "",
        /// Connections open at once; further ones wait in the system's queue.
        connections_max: Count<1, 1_000_000> = "10000",
        /// How long a client may take to send the headers of a request. Also how long an idle connection is kept.
        header_timeout: Duration = "30s",
        /// Largest headers of a request.
        header_bytes_max: ByteSize = "64KiB",
        /// How long a client may take to send the body of a request.
        body_timeout: Duration = "30s",
        /// How long requests under way may take to finish when the server stops.
        drain_limit: Duration = "10s",
        /// How long stopping may take altogether; then the process ends. Nothing accepted is lost either way.
        shutdown_limit: Duration = "30s",
    }

    /// Where data is kept.
    [data] DataSettings {
        /// Directory of SQLite's database, key file and lock; made (mode 0700) if it is missing. One server at a time.
        dir: PathBuf = "./data",
    }

    /// The database: an embedded SQLite in the data directory, or a Postgres, which several servers may share.
    [store] StoreSettings {
        /// A Postgres (14 or newer) instead of the embedded SQLite: `postgres://user@host/database?sslmode=verify-full`.
        /// Never shown, because it may hold a password.
        url: Option<Secret> = "",
        /// The password for Postgres, if the URL has none.
        password: Option<Secret> = "",
        /// File of root certificates (PEM) for a Postgres whose certificate is of a private authority.
        root_cert: Option<PathBuf> = "",
        /// The schema of the Postgres database that holds the tables; made if it is missing. Not set: the server's default.
        schema: Option<Text> = "",
        /// Connections to Postgres for commits, claims and changes.
        writers: Count<2, 256> = "6",
        /// How long connecting to Postgres, or waiting for a free connection, may take.
        connect_timeout: Duration = "5s",
        /// How long a commit on Postgres may take; then its senders are told 503 and the connection is given up.
        commit_timeout: Duration = "10s",
        /// How long any other statement may run on Postgres.
        statement_timeout: Duration = "30s",
        /// When a commit on SQLite counts as done: "full" waits for the disk; "normal" may lose the last commits when the power
        /// fails (not when the process dies), although their senders were told 202.
        synchronous: Synchronous = "full",
        /// Connections for reading history.
        readers: Count<1, 64> = "4",
        /// Page cache of each connection to SQLite.
        cache_bytes: ByteSize = "32MiB",
        /// Milliseconds by which each commit takes longer, as on a slow disk; to see what a server does there
        /// (`belfry bench`).
        commit_delay_ms: Count<0, 1000> = "0",
    }

    /// This server among others on the same database.
    [node] NodeSettings {
        /// What it is called in the list of nodes. Not set: the name of the machine. Several may have the same.
        name: Option<Text> = "",
        /// The time within which the others go on with the work of a server that has died. It gives a sign of life after each
        /// fifth of it, and sends nothing when it could give none for three fifths, until it can again.
        lease: Duration = "15s",
    }

    /// What may be sent to the server.
    [ingest] IngestSettings {
        /// Largest event.
        event_bytes_max: ByteSize = "256KiB",
        /// Largest request, a batch of events included.
        request_bytes_max: ByteSize = "4MiB",
        /// Most events in one request.
        batch_events_max: Count<1, 10_000> = "1000",
        /// Deepest nesting of JSON.
        depth_max: Count<4, 128> = "64",
        /// Events that may wait for their commit; beyond it senders are told 429.
        waiting_events_max: Count<1, 10_000_000> = "20000",
        /// Bytes of events that may wait for their commit; beyond it senders are told 429.
        waiting_bytes_max: ByteSize = "64MiB",
        /// How long a sender waits for the commit; then it is told 503, whatever the database does. Its events may be
        /// stored all the same: sent again with the same ids, they are recognised.
        answer_timeout: Duration = "15s",
        /// Events remembered to recognise repeats; the oldest are forgotten first.
        dedup_entries_max: Count<1, 100_000_000> = "1000000",
        /// How long the answer for an `Idempotency-Key` is kept.
        idempotency_age: Duration = "24h",
        /// Origins whose CloudEvents web hook handshake is agreed to; "*": any.
        webhook_origins: Vec<Text> = "",
    }

    /// What alarm senders post to sources.
    [sources] SourceSettings {
        /// Requests that could not be read, kept for each source; the oldest go first.
        unparsed_max: Count<0, 10_000> = "100",
        /// How much of the body of such a request is kept.
        unparsed_bytes_max: ByteSize = "64KiB",
        /// How long a vendor may take to answer when a subscription is confirmed.
        handshake_timeout: Duration = "10s",
    }

    /// Commits and deliveries.
    [engine] EngineLimits {
        /// Operations in one commit.
        batch_ops_max: Count<1, 100_000> = "1000",
        /// Bytes of events in one commit.
        batch_bytes_max: ByteSize = "4MiB",
        /// Deliveries that wait in memory for one target; more wait in the database.
        lane_deliveries_max: Count<1, 1_000_000> = "2048",
        /// Bytes of events that wait in memory for one target.
        lane_bytes_max: ByteSize = "4MiB",
        /// Bytes of events that wait in memory for all targets together.
        lanes_bytes_max: ByteSize = "256MiB",
        /// Requests on the wire at once, for all targets together; each target may have one more.
        in_flight_max: Count<1, 100_000> = "4096",
        /// A first delivery that takes longer is noted in the database, so that it does not hold up recovery.
        park_after: Duration = "5s",
        /// Failures in a row after which a target's circuit opens: it is then only probed.
        circuit_failures: Count<1, 100_000> = "20",
        /// How long a circuit stays open the first time; doubles each time.
        circuit_open: Duration = "1s",
        /// The longest a circuit stays open.
        circuit_open_max: Duration = "60s",
        /// A target that has only failed for so long is disabled.
        disable_after: Duration = "5d",
        /// How often the database is asked for due work, whatever the hints in memory say.
        sweep_every: Duration = "5s",
        /// How often changes of the configuration by another process are looked for. Postgres tells of them at once; this is for
        /// what it could not tell.
        config_poll: Duration = "1s",
    }

    /// Where targets may send to. Cloud metadata services are never reachable unless listed in `allow`.
    [egress] EgressSettings {
        /// Networks that may be reached whatever else is said here.
        allow: Vec<IpNet> = "",
        /// Networks that may not be reached whatever else is said here.
        deny: Vec<IpNet> = "",
        /// Whether this machine itself may be reached. Allowed so that the first steps work; refuse it on a server
        /// whose rules are written by others.
        allow_loopback: bool = "true",
        /// Whether private networks (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7) may be reached.
        allow_private: bool = "false",
        /// Whether plain http may be used. Allowed so that the first steps work; refuse it where every receiver has TLS.
        allow_http: bool = "true",
        /// Ports that may be used; empty: any.
        ports: Vec<Count<1, 65_535>> = "",
        /// File of further root certificates (PEM), for receivers with certificates of a private authority.
        extra_ca: Option<PathBuf> = "",
        /// How long name, TCP and TLS may take together.
        connect_timeout: Duration = "5s",
        /// The longest timeout a target may ask for.
        timeout_max: Duration = "300s",
        /// Most bytes of a receiver's answer that are read.
        response_bytes_max: ByteSize = "64KiB",
        /// Unused connections kept for one host. With fewer than are sent through at once, new ones are made all the time.
        idle_per_host_max: Count<0, 10_000> = "1000",
    }

    /// Templates (Jinja) and scripts of operators, evaluated in helper processes.
    [templates] TemplateSettings {
        /// Helper processes at once; started when they are needed.
        processes: Count<1, 64> = "2",
        /// How long one evaluation may take; a helper that takes longer is ended.
        timeout: Duration = "500ms",
    }

    /// Functions: code of operators that targets run on this machine. Whoever has `functions:write` runs code here.
    [functions] FunctionsSettings {
        /// Whether there are any.
        enabled: bool = "false",
        /// How far they are shut in: "process" (a session, an environment and limits of their own), "landlock" (they also see only
        /// what they need), "namespace" (they are also alone). Where the kernel cannot, none is run.
        isolation: Isolation = "landlock",
        /// Runs functions also where the kernel cannot do what `isolation` says: as far shut in as it can.
        allow_unsandboxed: bool = "false",
        /// The Node.js to use. Not set: the one on the PATH.
        node: Option<PathBuf> = "",
        /// The Python 3 to use. Not set: the one on the PATH.
        python: Option<PathBuf> = "",
        /// Programs that functions of runtime `exec` may be, by their absolute paths.
        exec_allowed: Vec<PathBuf> = "",
        /// Folders below which the code of a function may lie (`code.path`).
        code_paths: Vec<PathBuf> = "",
        /// The folder whose folders are layers: packages that functions share. Not set: there are none.
        layers_dir: Option<PathBuf> = "",
        /// Workers of all functions at once.
        workers_max: Count<1, 1000> = "32",
        /// Invocations of one function that wait in memory for a worker; more are put off at once.
        queue_max: Count<0, 100_000> = "1000",
        /// How long an invocation waits for a worker before it is put off.
        worker_wait: Duration = "10s",
        /// How long invocations under way may take to finish when the server stops; within `server.shutdown_limit`.
        shutdown_grace: Duration = "30s",
        /// Largest zip file with code.
        zip_bytes_max: ByteSize = "50MiB",
        /// Most that is in one, unpacked.
        unpacked_bytes_max: ByteSize = "500MiB",
        /// Largest event that a function is given.
        event_bytes_max: ByteSize = "6MiB",
        /// Largest event of an asynchronous invocation.
        async_event_bytes_max: ByteSize = "128KiB",
        /// Largest answer of a function.
        answer_bytes_max: ByteSize = "6MiB",
        /// How much is kept of what an invocation prints: of more the beginning and the end.
        log_bytes_max: ByteSize = "64KiB",
        /// Most that the scratch folder of a worker may hold; a function that writes more is ended. One file may be as large as all
        /// together.
        scratch_bytes_max: ByteSize = "512MiB",
        /// Most files and folders in it.
        scratch_files_max: Count<1, 1_000_000> = "10000",
    }

    /// Encryption of stored secrets (webhook signing keys, passwords).
    [secrets] SecretSettings {
        /// The key, 32 bytes in base64. Not set: `secret.key` in the data directory, made at the first start. Whoever
        /// loses it loses the stored secrets: keep a copy, apart from backups of the database.
        key: Option<Secret> = "",
    }

    /// API keys.
    [auth] AuthSettings {
        /// Requests per second of one key, unless the key has its own limit. Not set: unlimited.
        requests_per_second: Option<Count<1, 1_000_000>> = "",
    }

    /// Bounds of the API.
    [limits] LimitSettings {
        /// Most buses.
        buses_max: Count<2, 100_000> = "1000",
        /// Most rules of one bus.
        rules_per_bus_max: Count<1, 1_000_000> = "10000",
        /// Rows that one search of the history looks at before it answers with what it has found; one that has taken 20 ms
        /// answers before that.
        history_scan_max: Count<100, 10_000_000> = "100000",
        /// Replays that run at once, and that one node works on at once.
        replays_max: Count<1, 100> = "4",
        /// Events a second of a replay that does not say otherwise.
        replay_rate: Count<1, 100_000> = "1000",
        /// Largest request that is no event.
        body_bytes_max: ByteSize = "1MiB",
        /// Live streams at once.
        streams_max: Count<0, 100_000> = "256",
        /// How often a live stream shows that it is alive.
        stream_heartbeat: Duration = "15s",
    }

    /// How long things are kept.
    [retention] RetentionSettings {
        /// Events with their deliveries and attempts.
        age: Duration = "30d",
        /// What is on record of invocations of functions.
        invocations: Duration = "30d",
        /// Size of the database beyond which the oldest events are deleted. Not set: no limit.
        bytes: Option<ByteSize> = "",
        /// Events are refused (503) while less than this is free on the disk. Not known of a Postgres' disk: there
        /// `size_max` does the same.
        disk_free_min: ByteSize = "256MiB",
        /// Events are refused (503) while the database is larger than this, looked at every 5 s: leave room for what
        /// comes in meanwhile, and for the outcomes of what is held. Not set: no limit.
        size_max: Option<ByteSize> = "",
        /// Whether successful attempts keep request and response too, not only failed ones.
        record_successes: bool = "true",
    }

    /// The server's own log, on standard error.
    [log] LogSettings {
        /// "human" for people, "json" for log collectors.
        format: LogFormat = "human",
        /// Least important level: error, warn, info, debug or trace; or directives such as "info,belfry_engine=debug".
        level: Text = "info",
    }

    /// Prometheus metrics at `/metrics`.
    [metrics] MetricsSettings {
        /// Whether there are any.
        enabled: bool = "true",
        /// Whether reading them needs an API key with scope `history:read`.
        require_key: bool = "false",
    }
}
