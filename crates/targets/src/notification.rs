//! The kind `notification`: a policy that says who is told, by which channels, at which times of the week.
//!
//! A channel is a target of another kind. A delivery goes through its channels one request at a time; what is done is
//! kept in its progress, so that a crash repeats one request at most.
//!
//! | module | owns |
//! |---|---|
//! | `config` | the settings, and the channels in them |
//! | `progress` | which channel is done, waits, has failed; what follows; pure |
//! | `send` | one attempt: choosing a channel and the people who may be told now |

mod config;
mod progress;
mod send;

use std::sync::Arc;

use belfry_egress::EgressClient;
use belfry_model::FieldError;
use belfry_model::config::Schedule;
use serde_json::{Value, json};

use crate::kind::{ConnectContext, GeneratedSecret, LabelPair, TargetKind};
use crate::message::settings::{read, schema_of};
use crate::target::Target;

use config::{Checked, NotificationSettings, channels_of};
use send::Notification;

/// The kind `notification`.
#[derive(Debug)]
pub(crate) struct NotificationKind;

impl TargetKind for NotificationKind {
    fn name(&self) -> &'static str {
        "notification"
    }

    fn title(&self) -> LabelPair {
        ("Notification", "消息推送")
    }

    fn about(&self) -> LabelPair {
        (
            "Tells contacts and groups by several channels, within times of the week; another channel takes over when one refuses.",
            "按每周时间窗口通过多个渠道通知联系人与联系人组；渠道拒收时由备用渠道接替。",
        )
    }

    fn schema(&self) -> Value {
        schema_of::<NotificationSettings>()
    }

    fn example(&self) -> Value {
        json!({
            "people": { "contacts": ["zhangsan"], "groups": ["on-call"] },
            "channels": [
                {
                    "type": "email",
                    "smtp": { "host": "smtp.example.com", "username": "alarms@example.com", "password": "the-password-of-the-account" },
                    "from": "Alarms <alarms@example.com>"
                },
                { "type": "webhook", "url": "https://example.com/callback", "body": "callback", "signing": { "enabled": false } }
            ],
            "window": { "windows": [{ "from": "09:30", "to": "23:30" }], "outside": "wait" }
        })
    }

    fn secret_pointers(&self, settings: &Value) -> Vec<String> {
        let mut pointers = Vec::new();
        for (at, kind, own) in channels_of(settings) {
            let inner = kind.secret_pointers(&own);
            pointers.extend(inner.into_iter().map(|pointer| format!("{at}{pointer}")));
        }
        pointers
    }

    fn shown_to(&self, settings: &Value, pointer: &str) -> Option<String> {
        channels_of(settings).find_map(|(at, kind, own)| {
            let inner = pointer.strip_prefix(&at)?;
            inner.starts_with('/').then(|| kind.shown_to(&own, inner))?
        })
    }

    fn default_schedule(&self) -> Schedule {
        Schedule::Alarm
    }

    fn default_retry_on_4xx(&self) -> bool {
        true
    }

    fn prepare(&self, settings: &mut Value, existing: Option<&Value>) -> Vec<GeneratedSecret> {
        let mut made = Vec::new();
        let channels: Vec<_> = channels_of(settings).collect();
        for (at, kind, mut own) in channels {
            let before = existing.and_then(|existing| existing.pointer(&at));
            let new = kind.prepare(&mut own, before);
            let Some(members) = settings.pointer_mut(&at).and_then(Value::as_object_mut) else {
                continue;
            };
            if let Value::Object(own) = own {
                members.extend(own);
            }
            made.extend(new.into_iter().map(|secret| GeneratedSecret {
                pointer: format!("{at}{}", secret.pointer),
                value: secret.value,
            }));
        }
        made
    }

    fn validate(&self, settings: &Value, egress: &EgressClient) -> Vec<FieldError> {
        match read::<NotificationSettings>(settings) {
            Ok((common, read)) => Checked::new(&common, &read, egress)
                .err()
                .unwrap_or_default(),
            Err(errors) => errors,
        }
    }

    fn connect(
        &self,
        settings: Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>> {
        let (common, read) = read::<NotificationSettings>(&settings)?;
        let checked = Checked::new(&common, &read, &context.egress)?;
        Ok(Arc::new(Notification::new(checked, read, common, context)?))
    }
}
