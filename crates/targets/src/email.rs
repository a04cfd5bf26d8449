//! The kind `email`: alarms as mail, through a mail server of the operator's.
//!
//! | module | owns |
//! |---|---|
//! | `config`, `check` | the settings and what must hold between them |
//! | `mail` | a message as mail: headers, text, HTML |
//! | `smtp` | the conversation with the server |
//! | `pool` | conversations that wait for the next message |
//! | `answer` | what the server's answers mean |
//! | `send` | one attempt, and what of it is done for whom |

mod answer;
mod check;
mod config;
mod mail;
mod pool;
mod send;
mod smtp;

use std::sync::Arc;

use belfry_egress::EgressClient;
use belfry_model::FieldError;
use belfry_model::config::Schedule;
use serde_json::{Value, json};

use crate::kind::{ConnectContext, LabelPair, TargetKind};
use crate::message::settings::{read, schema_of};
use crate::people::Reach;
use crate::target::Target;

use config::EmailSettings;
use send::Mailer;

/// The kind `email`.
#[derive(Debug)]
pub(crate) struct EmailKind;

impl TargetKind for EmailKind {
    fn name(&self) -> &'static str {
        "email"
    }

    fn title(&self) -> LabelPair {
        ("Mail", "邮件")
    }

    fn about(&self) -> LabelPair {
        (
            "Sends alarms as mail through your mail server; repeats and the recovery stand below the first mail.",
            "通过您的邮件服务器发送告警邮件；重复与恢复邮件归入首封邮件的会话。",
        )
    }

    fn schema(&self) -> Value {
        schema_of::<EmailSettings>()
    }

    fn example(&self) -> Value {
        json!({
            "smtp": {
                "host": "smtp.example.com",
                "security": "starttls",
                "username": "alarms@example.com",
                "password": "the-password-of-the-account"
            },
            "from": "Alarms <alarms@example.com>",
            "to": ["ops@example.com"],
            "people": { "groups": ["on-call"] },
            "language": "zh"
        })
    }

    fn secret_pointers(&self, settings: &Value) -> Vec<String> {
        let password = settings.pointer("/smtp/password");
        password
            .is_some_and(Value::is_string)
            .then(|| "/smtp/password".to_owned())
            .into_iter()
            .collect()
    }

    fn shown_to(&self, settings: &Value, _pointer: &str) -> Option<String> {
        let smtp = settings.get("smtp")?;
        let host = smtp.get("host")?.as_str()?;
        let port = smtp.get("port").map(ToString::to_string);
        let security = smtp.get("security").and_then(Value::as_str);
        // A clear connection shows it to everybody in between.
        let security = security.unwrap_or("starttls");
        Some(format!(
            "smtp+{security}://{host}:{}",
            port.unwrap_or_default()
        ))
    }

    fn default_schedule(&self) -> Schedule {
        Schedule::Standard
    }

    fn default_retry_on_4xx(&self) -> bool {
        true
    }

    fn validate(&self, settings: &Value, egress: &EgressClient) -> Vec<FieldError> {
        match read::<EmailSettings>(settings) {
            Ok((_, settings)) => check::check(&settings, egress),
            Err(errors) => errors,
        }
    }

    fn connect(
        &self,
        settings: Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>> {
        let (common, settings) = read::<EmailSettings>(&settings)?;
        let errors = check::check(&settings, &context.egress);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mailer = Mailer::new(settings, common, context)
            .ok_or_else(|| vec![FieldError::new("/from", "expected a mail address")])?;
        Ok(Arc::new(mailer))
    }

    fn reaches(&self) -> Option<Reach> {
        Some(Reach::Email)
    }
}
