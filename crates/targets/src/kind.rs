//! What a kind of target is, and the list of them.

use std::fmt;
use std::sync::Arc;

use belfry_egress::EgressClient;
use belfry_functions::Functions;
use belfry_model::config::{CONCURRENCY_DEFAULT, Schedule};
use belfry_model::json::nearest;
use belfry_model::{BusName, Clock, FieldError};
use serde_json::Value;

use crate::alibaba::{AlibabaSms, AlibabaVoice};
use crate::bark::Bark;
use crate::dingtalk::DingTalk;
use crate::directory::Directory;
use crate::discord::Discord;
use crate::email::EmailKind;
use crate::feishu::Feishu;
use crate::function::FunctionKind;
use crate::gateway::Gateway;
use crate::gotify::Gotify;
use crate::log::LogKind;
use crate::messenger::Kind;
use crate::notification::NotificationKind;
use crate::ntfy::Ntfy;
use crate::opsgenie::Opsgenie;
use crate::pagerduty::PagerDuty;
use crate::people::Reach;
use crate::phone::PhoneKind;
use crate::slack::Slack;
use crate::target::Target;
use crate::teams::Teams;
use crate::telegram::Telegram;
use crate::tencent::{TencentSms, TencentVoice};
use crate::twilio::Twilio;
use crate::webhook::WebhookKind;
use crate::wecom::WeCom;

/// A text in English and in Chinese.
pub type LabelPair = (&'static str, &'static str);

/// Every kind there is, in the order in which they are shown.
pub static REGISTRY: &[&dyn TargetKind] = &[
    &WebhookKind,
    &LogKind,
    &FunctionKind,
    &Kind::<WeCom>::ENTRY,
    &Kind::<DingTalk>::ENTRY,
    &Kind::<Feishu>::ENTRY,
    &Kind::<Slack>::ENTRY,
    &Kind::<Teams>::ENTRY,
    &Kind::<Telegram>::ENTRY,
    &Kind::<Discord>::ENTRY,
    &Kind::<PagerDuty>::ENTRY,
    &Kind::<Opsgenie>::ENTRY,
    &Kind::<Ntfy>::ENTRY,
    &Kind::<Gotify>::ENTRY,
    &Kind::<Bark>::ENTRY,
    &EmailKind,
    &PhoneKind::<TencentSms>::ENTRY,
    &PhoneKind::<TencentVoice>::ENTRY,
    &PhoneKind::<AlibabaSms>::ENTRY,
    &PhoneKind::<AlibabaVoice>::ENTRY,
    &PhoneKind::<Twilio>::ENTRY,
    &PhoneKind::<Gateway>::ENTRY,
    &NotificationKind,
];

/// A kind of target: one static entry of [`REGISTRY`].
///
/// Settings pass through it in this order: `unmask`, [`prepare`](Self::prepare), [`validate`](Self::validate) when
/// they are saved; [`connect`](Self::connect) when they are put to use. Pointers in errors are relative to the
/// settings.
pub trait TargetKind: Send + Sync {
    /// The word in `"type"`.
    fn name(&self) -> &'static str;
    /// A short title, in English and in Chinese.
    fn title(&self) -> LabelPair;
    /// One or two sentences, in English and in Chinese.
    fn about(&self) -> LabelPair;
    /// The JSON Schema of the settings.
    fn schema(&self) -> Value;
    /// Settings that are valid.
    fn example(&self) -> Value;
    /// JSON pointers of the strings in these settings that are secret. Reads settings of any shape.
    fn secret_pointers(&self, settings: &Value) -> Vec<String>;
    /// Who is shown the secret at `pointer`, as `scheme://host:port`; `None` when nobody is (a signing secret is used,
    /// but not sent). A stored secret that nobody may read must not be sent to somebody else either.
    fn shown_to(&self, settings: &Value, pointer: &str) -> Option<String>;
    /// The retry schedule of a target that names none.
    fn default_schedule(&self) -> Schedule;
    /// Whether answers 400 to 499 are tried again unless the target says otherwise.
    fn default_retry_on_4xx(&self) -> bool;
    /// Requests at once of a target that does not say how many.
    fn default_concurrency(&self) -> u16 {
        CONCURRENCY_DEFAULT
    }
    /// The buses onto which a target of these settings puts events, each with the pointer to its name. Reads settings of any
    /// shape.
    fn buses(&self, settings: &Value) -> Vec<(String, BusName)> {
        let _ = settings;
        Vec::new()
    }
    /// Fills in what the server makes. `existing` are the settings that are replaced, secrets in clear; what the
    /// server made for them is kept. What is new is returned, to be shown once.
    fn prepare(&self, settings: &mut Value, existing: Option<&Value>) -> Vec<GeneratedSecret> {
        let _ = (settings, existing);
        Vec::new()
    }
    /// Everything wrong with the settings; empty when they can be saved.
    fn validate(&self, settings: &Value, egress: &EgressClient) -> Vec<FieldError>;
    /// A target of these settings, secrets in clear. Opens no connection.
    fn connect(
        &self,
        settings: Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn Target>, Vec<FieldError>>;
    /// By what it reaches people one by one, if it does; a notification policy may then say whom
    /// ([`Target::deliver_to`]).
    fn reaches(&self) -> Option<Reach> {
        None
    }
    /// Whether a target of these settings may be used only after [`Target::handshake`] succeeded.
    fn needs_handshake(&self, settings: &Value) -> bool {
        let _ = settings;
        false
    }
}

/// What targets share.
#[derive(Clone)]
pub struct ConnectContext {
    /// The only way out.
    pub egress: Arc<EgressClient>,
    /// The time that goes into signatures.
    pub clock: Arc<dyn Clock>,
    /// The `user-agent` of requests.
    pub user_agent: String,
    /// Who contacts and groups are.
    pub directory: Arc<dyn Directory>,
    /// Runs functions.
    pub functions: Arc<dyn Functions>,
}

impl fmt::Debug for ConnectContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectContext")
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}

/// A secret that the server made, shown once to whoever created the target.
#[derive(Clone, PartialEq, Eq)]
pub struct GeneratedSecret {
    /// Where it stands in the settings.
    pub pointer: String,
    /// The secret in clear.
    pub value: String,
}

impl fmt::Debug for GeneratedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratedSecret")
            .field("pointer", &self.pointer)
            .finish_non_exhaustive()
    }
}

/// The kind of that name; else an error at `/type` that lists the known ones.
pub fn find_kind(name: &str) -> Result<&'static dyn TargetKind, FieldError> {
    if let Some(kind) = REGISTRY.iter().find(|kind| kind.name() == name) {
        return Ok(*kind);
    }
    let names: Vec<_> = REGISTRY.iter().map(|kind| kind.name()).collect();
    let shown: String = name.chars().take(64).collect();
    let mut detail = format!("expected one of {}, got {shown:?}", names.join(", "));
    if let Some(near) = nearest(name, names) {
        detail.push_str("; did you mean ");
        detail.push_str(near);
        detail.push('?');
    }
    Err(FieldError::new("/type", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_is_answered_with_the_nearest_known_one() {
        let Err(error) = find_kind("webhok") else {
            panic!("found")
        };
        assert_eq!(error.pointer, "/type");
        assert!(
            error
                .detail
                .starts_with("expected one of webhook, log, function, ")
        );
        assert!(
            error
                .detail
                .ends_with("got \"webhok\"; did you mean webhook?")
        );
        assert!(find_kind("Webhook").is_err());
        assert_eq!(find_kind("log").map(TargetKind::name).ok(), Some("log"));
    }
}
