//! What must hold between settings, and with the world around: asked once all are read.

use std::collections::BTreeMap;

use super::Settings;
use super::layers::{Effective, Origin, Problem};

/// Without an effect where nobody would notice: somebody means a Postgres and gets a file.
const POSTGRES_ONLY: [&str; 7] = [
    "store.password",
    "store.root_cert",
    "store.schema",
    "store.writers",
    "store.connect_timeout",
    "store.commit_timeout",
    "store.statement_timeout",
];
/// The other way round.
const SQLITE_ONLY: [&str; 2] = ["store.synchronous", "store.cache_bytes"];

/// Notes what is wrong with the setting at `path`.
struct Notes {
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

impl Notes {
    fn must(&mut self, holds: bool, path: &str, detail: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(Problem {
                key: path.to_owned(),
                detail: detail(),
                origin: self.origins.get(path).cloned().unwrap_or(Origin::Default),
            });
        }
    }
}

impl Settings {
    /// Everything wrong with settings that are right one by one.
    pub(super) fn check(&self, effective: &[Effective]) -> Vec<Problem> {
        let origins = effective
            .iter()
            .map(|one| (one.setting.path(), one.origin.clone()));
        let mut notes = Notes {
            origins: origins.collect(),
            problems: Vec::new(),
        };
        notes.must(
            self.server.drain_limit <= self.server.shutdown_limit,
            "server.drain_limit",
            || "must not be longer than server.shutdown_limit".to_owned(),
        );
        notes.must(
            (3..=3600).contains(&self.node.lease.as_secs()),
            "node.lease",
            || "expected 3s to 1h".to_owned(),
        );
        notes.must(
            (8192..=1024 * 1024).contains(&self.server.header_bytes_max.0),
            "server.header_bytes_max",
            || "expected 8KiB to 1MiB".to_owned(),
        );
        let url = self.store.url.as_ref().map(super::Secret::expose);
        notes.must(
            url.is_none_or(|url| {
                url.starts_with("postgres://") || url.starts_with("postgresql://")
            }),
            "store.url",
            || {
                "expected postgres://user@host/database; without it the embedded SQLite is used"
                    .to_owned()
            },
        );
        let schema = self.store.schema.as_ref().map(|schema| schema.0.as_str());
        notes.must(
            schema.is_none_or(|schema| {
                schema.len() <= 63
                    && schema
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '_')
            }),
            "store.schema",
            || "expected at most 63 letters, digits and underscores".to_owned(),
        );
        // Not merely written down: printed settings can be read again.
        let is_set = |path: &str| {
            let found = effective.iter().find(|one| one.setting.path() == path);
            found.is_some_and(|one| one.toml != (one.setting.default_toml)())
        };
        for path in POSTGRES_ONLY {
            notes.must(url.is_some() || !is_set(path), path, || {
                "is for a Postgres, and store.url names none".to_owned()
            });
        }
        for path in SQLITE_ONLY {
            notes.must(url.is_none() || !is_set(path), path, || {
                "is for the embedded SQLite, and store.url names a Postgres".to_owned()
            });
        }
        let event = self.ingest.event_bytes_max.0;
        notes.must(event <= 16 * 1024 * 1024, "ingest.event_bytes_max", || {
            "expected at most 16MiB".to_owned()
        });
        for (path, limit) in [
            ("ingest.request_bytes_max", self.ingest.request_bytes_max),
            ("ingest.waiting_bytes_max", self.ingest.waiting_bytes_max),
            ("engine.batch_bytes_max", self.engine.batch_bytes_max),
            ("engine.lane_bytes_max", self.engine.lane_bytes_max),
        ] {
            notes.must(event <= limit.0, path, || {
                format!("must hold at least one event of ingest.event_bytes_max ({event} bytes)")
            });
        }
        notes.must(
            self.ingest.waiting_bytes_max.0 >= self.ingest.request_bytes_max.0,
            "ingest.waiting_bytes_max",
            || "must not be smaller than ingest.request_bytes_max".to_owned(),
        );
        notes.must(
            self.engine.lane_bytes_max.0 <= self.engine.lanes_bytes_max.0,
            "engine.lanes_bytes_max",
            || "must not be smaller than engine.lane_bytes_max".to_owned(),
        );
        let size_max = self.retention.size_max.map(|size| size.0);
        notes.must(
            size_max.is_none_or(|max| self.retention.bytes.is_none_or(|bytes| bytes.0 < max)),
            "retention.size_max",
            || {
                "must be larger than retention.bytes, from which on the oldest events are deleted"
                    .to_owned()
            },
        );
        notes.must(
            !self.ingest.answer_timeout.is_zero(),
            "ingest.answer_timeout",
            || "expected more than 0".to_owned(),
        );
        notes.must(
            self.engine.circuit_open <= self.engine.circuit_open_max,
            "engine.circuit_open_max",
            || "must not be shorter than engine.circuit_open".to_owned(),
        );
        notes.must(
            self.egress.connect_timeout <= self.egress.timeout_max,
            "egress.connect_timeout",
            || "must not be longer than egress.timeout_max".to_owned(),
        );
        notes.must(
            self.functions.async_event_bytes_max.0 <= self.functions.event_bytes_max.0,
            "functions.async_event_bytes_max",
            || "must not be larger than functions.event_bytes_max".to_owned(),
        );
        notes.must(
            self.functions.event_bytes_max.0 <= 6 * 1024 * 1024,
            "functions.event_bytes_max",
            || "expected at most 6MiB".to_owned(),
        );
        for (path, folders) in [
            ("functions.code_paths", &self.functions.code_paths),
            ("functions.exec_allowed", &self.functions.exec_allowed),
        ] {
            notes.must(folders.iter().all(|path| path.is_absolute()), path, || {
                "expected absolute paths".to_owned()
            });
        }
        if let Err(error) = self.log.level.0.parse::<tracing_subscriber::EnvFilter>() {
            notes.must(false, "log.level", || {
                format!("expected a level (error, warn, info, debug, trace) or directives: {error}")
            });
        }
        if let Some(key) = &self.secrets.key
            && let Err(error) = super::derived::sealer_of(key)
        {
            notes.must(false, "secrets.key", || error.to_string());
        }
        if let Some(path) = &self.egress.extra_ca
            && let Err(error) = std::fs::File::open(path)
        {
            notes.must(false, "egress.extra_ca", || {
                format!("{} cannot be read: {error}", path.display())
            });
        }
        notes.problems
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SECTIONS, Setting};

    /// A wrong path in [`super::Settings::check`] would lose the origin.
    #[test]
    fn every_default_is_of_its_type() {
        let settings = SECTIONS.iter().flat_map(|section| section.settings);
        for setting in settings.filter(|setting| !setting.default.is_empty()) {
            assert!(
                (setting.default_toml)().is_some(),
                "{}",
                Setting::path(setting)
            );
        }
    }
}
