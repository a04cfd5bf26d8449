//! The kind `webhook`: an HTTP request for each event, signed by Standard Webhooks.
//!
//! | module | owns |
//! |---|---|
//! | `config`, `check` | the settings and what must hold between them |
//! | `form` | body and headers in each form of the event |
//! | `callback` | the form that receivers of cloud alarms know |
//! | `sign` | signatures |
//! | `oauth` | tokens |
//! | `connect` | what is the same for every request |
//! | `send` | putting a request together and sending it |
//! | `handshake` | asking the receiver for its consent |

mod callback;
mod check;
mod config;
mod connect;
mod form;
mod handshake;
mod oauth;
mod send;
mod sign;

use std::sync::Arc;

use belfry_egress::{EgressClient, Url};
use belfry_model::FieldError;
use belfry_model::config::Schedule;
use belfry_model::json::pointer_to;
use serde_json::{Map, Value, json};

use crate::kind::{ConnectContext, GeneratedSecret, LabelPair, TargetKind};
use crate::record::{sensitive_name, sensitive_parameter};
use crate::settings::{read, schema_of};
use crate::target::Target;

use config::WebhookSettings;

/// The kind `webhook`.
#[derive(Debug)]
pub(crate) struct WebhookKind;

/// Members of `auth` that are secret, in every type of it.
const AUTH_SECRETS: [&str; 4] = ["password", "token", "value", "clientSecret"];

impl TargetKind for WebhookKind {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn title(&self) -> LabelPair {
        ("Webhook", "Webhook 回调")
    }

    fn about(&self) -> LabelPair {
        (
            "Sends each event as an HTTP request to a URL of yours, signed so that the receiver knows where it comes from.",
            "将每个事件以 HTTP 请求发送到您的 URL，并附带签名，便于接收方验证来源。",
        )
    }

    fn schema(&self) -> Value {
        schema_of::<WebhookSettings>()
    }

    fn example(&self) -> Value {
        json!({
            "url": "https://example.com/hooks/events",
            "headers": { "x-tenant": "blue" },
            "auth": { "type": "bearer", "token": "a-token-of-the-receiver" },
            "timeoutSeconds": 15
        })
    }

    fn secret_pointers(&self, settings: &Value) -> Vec<String> {
        let mut pointers = Vec::new();
        if settings
            .get("url")
            .and_then(Value::as_str)
            .is_some_and(holds_secret)
        {
            pointers.push("/url".to_owned());
        }
        if let Some(headers) = settings.get("headers").and_then(Value::as_object) {
            for (name, value) in headers {
                if value.is_string() && sensitive_name(name) {
                    pointers.push(format!("/headers{}", pointer_to(name)));
                }
            }
        }
        if let Some(auth) = settings.get("auth") {
            for name in AUTH_SECRETS {
                if auth.get(name).is_some_and(Value::is_string) {
                    pointers.push(format!("/auth/{name}"));
                }
            }
            if auth
                .get("tokenUrl")
                .and_then(Value::as_str)
                .is_some_and(holds_secret)
            {
                pointers.push("/auth/tokenUrl".to_owned());
            }
        }
        for list in ["secrets", "keys"] {
            let items = settings
                .pointer(&format!("/signing/{list}"))
                .and_then(Value::as_array);
            for (n, item) in items.into_iter().flatten().enumerate() {
                if item.is_string() {
                    pointers.push(format!("/signing/{list}/{n}"));
                }
            }
        }
        pointers
    }

    fn shown_to(&self, settings: &Value, pointer: &str) -> Option<String> {
        if pointer.starts_with("/signing/") {
            return None;
        }
        let is_token = pointer == "/auth/clientSecret" || pointer == "/auth/tokenUrl";
        let url = if is_token { "/auth/tokenUrl" } else { "/url" };
        let url = settings.pointer(url).and_then(Value::as_str)?;
        Some(Url::parse(url).ok()?.origin().ascii_serialization())
    }

    fn default_schedule(&self) -> Schedule {
        Schedule::Standard
    }

    fn default_retry_on_4xx(&self) -> bool {
        // Deployments flap: 401, 403 and 404 are often over in minutes.
        true
    }

    fn prepare(&self, settings: &mut Value, existing: Option<&Value>) -> Vec<GeneratedSecret> {
        let Some(settings) = settings.as_object_mut() else {
            return Vec::new();
        };
        let signing = settings.entry("signing").or_insert(Value::Null);
        if signing.is_null() {
            *signing = Value::Object(Map::new());
        }
        let Some(signing) = signing.as_object_mut() else {
            return Vec::new();
        };
        let off = signing
            .get("enabled")
            .is_some_and(|enabled| *enabled != Value::Bool(true));
        let given = |list: &str| match signing.get(list) {
            None | Some(Value::Null) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            // No list: checking will say so; nothing is put over it.
            Some(_) => true,
        };
        if off || given("secrets") || given("keys") {
            return Vec::new();
        }
        let mut kept = false;
        for list in ["secrets", "keys"] {
            let old = existing.and_then(|existing| existing.get("signing")?.get(list)?.as_array());
            if let Some(old) = old.filter(|old| !old.is_empty()) {
                signing.insert(list.to_owned(), Value::Array(old.clone()));
                kept = true;
            }
        }
        if kept {
            return Vec::new();
        }
        let value = sign::new_secret();
        signing.insert("secrets".to_owned(), json!([value]));
        vec![GeneratedSecret {
            pointer: "/signing/secrets/0".to_owned(),
            value,
        }]
    }

    fn validate(&self, settings: &Value, egress: &EgressClient) -> Vec<FieldError> {
        match read::<WebhookSettings>(settings) {
            Ok(settings) => check::check(&settings, egress).err().unwrap_or_default(),
            Err(errors) => errors,
        }
    }

    fn connect(
        &self,
        settings: Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>> {
        Ok(Arc::new(connect::Webhook::connect(
            read(&settings)?,
            context,
        )?))
    }

    fn needs_handshake(&self, settings: &Value) -> bool {
        settings.get("handshake").is_some_and(Value::is_object)
    }
}

/// Whether a URL is a secret as a whole: its query names one. A mask stands for such a URL.
pub(crate) fn holds_secret(url: &str) -> bool {
    url == crate::secret::MASK
        || Url::parse(url).is_ok_and(|url| {
            url.password().is_some()
                || url
                    .query_pairs()
                    .any(|(name, _)| sensitive_parameter(&name))
        })
}

#[cfg(test)]
mod tests;
