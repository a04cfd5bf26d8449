//! The kind `log`: events become lines of a log that Belfry keeps.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use belfry_egress::EgressClient;
use belfry_model::config::Schedule;
use belfry_model::{FieldError, LogName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kind::{ConnectContext, LabelPair, TargetKind};
use crate::settings::{check_range, read, schema_of};
use crate::target::{Attempted, Job, LogAppend, RequestRecord, Target, Verdict};

/// Settings of a log target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LogSettings {
    /// The log's name: 1 to 64 of `a-z A-Z 0-9 - _ .`, starting with a letter or digit. Several targets may share a log.
    #[schemars(with = "String", regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub(crate) log: LogName,
    /// How many days lines are kept (1 to 3,650). Absent: as long as the server keeps logs.
    #[schemars(range(min = 1, max = 3650))]
    pub(crate) retention_days: Option<u32>,
}

/// The kind `log`.
#[derive(Debug)]
pub(crate) struct LogKind;

impl LogKind {
    fn checked(settings: &Value) -> Result<LogSettings, Vec<FieldError>> {
        let read: LogSettings = read(settings)?;
        let mut errors = Vec::new();
        if let Some(days) = read.retention_days {
            check_range("/retentionDays", u64::from(days), 1, 3650, &mut errors);
        }
        if errors.is_empty() {
            Ok(read)
        } else {
            Err(errors)
        }
    }
}

impl TargetKind for LogKind {
    fn name(&self) -> &'static str {
        "log"
    }
    fn title(&self) -> LabelPair {
        ("Log", "日志")
    }
    fn about(&self) -> LabelPair {
        (
            "Keeps each event as a line of a log inside Belfry, to be read and searched later.",
            "把每个事件作为一行保存在 Belfry 内部的日志中，供以后查看和检索。",
        )
    }
    fn schema(&self) -> Value {
        schema_of::<LogSettings>()
    }
    fn example(&self) -> Value {
        json!({ "log": "audit", "retentionDays": 30 })
    }
    fn secret_pointers(&self, _: &Value) -> Vec<String> {
        Vec::new()
    }
    fn shown_to(&self, _settings: &Value, _pointer: &str) -> Option<String> {
        None
    }

    fn default_schedule(&self) -> Schedule {
        Schedule::Standard
    }
    fn default_retry_on_4xx(&self) -> bool {
        false
    }
    fn validate(&self, settings: &Value, _: &EgressClient) -> Vec<FieldError> {
        Self::checked(settings).err().unwrap_or_default()
    }
    fn connect(
        &self,
        settings: Value,
        _: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>> {
        Ok(Arc::new(LogTarget {
            log: Self::checked(&settings)?.log,
        }))
    }
}

struct LogTarget {
    log: LogName,
}

#[async_trait]
impl Target for LogTarget {
    async fn deliver(&self, job: &Job<'_>) -> Attempted {
        let bytes = job
            .body
            .map_or_else(|| &**job.event.doc(), |rendered| &*rendered.body);
        let text = String::from_utf8_lossy(bytes).into_owned();
        let append = LogAppend {
            log: self.log.clone(),
            text,
        };
        Attempted {
            append: Some(append),
            ..Attempted::unsent(Verdict::Delivered)
        }
    }

    fn preview(&self, job: &Job<'_>) -> Result<Vec<RequestRecord>, String> {
        let line = job
            .body
            .map_or_else(|| &**job.event.doc(), |rendered| &*rendered.body);
        Ok(vec![RequestRecord {
            method: "APPEND".to_owned(),
            url: format!("log:{}", self.log),
            headers: Vec::new(),
            body_bytes: line.len(),
            body: Some(String::from_utf8_lossy(line).into_owned()),
            body_is_event: job.body.is_none(),
        }])
    }

    fn timeout(&self) -> Duration {
        // Nothing is waited for; the line is written by whoever records the outcome.
        Duration::from_secs(1)
    }
}
