//! People and groups: how and when they are reached.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The language of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Chinese.
    #[default]
    Zh,
    /// English.
    En,
}

/// A person as a client writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Contact {
    /// What the person is called.
    pub display_name: String,
    /// The mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The phone number, E.164, such as `+8613800000000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Who it is at WeCom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wecom_user_id: Option<String>,
    /// The mobile number known to DingTalk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dingtalk_mobile: Option<String>,
    /// The open id at Feishu (`ou_...`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feishu_user_id: Option<String>,
    /// The member id at Slack (`U...`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_user_id: Option<String>,
    /// The chat id at Telegram.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telegram_chat_id: Option<String>,
    /// The IANA name of the person's time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The language of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
}

impl Contact {
    /// The kind of its documents, as it stands in paths.
    pub const KIND: &str = "contacts";
}

/// Several people as a client writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ContactGroup {
    /// For people.
    pub description: String,
    /// The names of its contacts.
    pub contacts: Vec<String>,
}

impl ContactGroup {
    /// The kind of its documents, as it stands in paths.
    pub const KIND: &str = "contact-groups";
}
