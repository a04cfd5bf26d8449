//! People and groups: how and when they are reached.

use belfry_model::FieldError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most contacts of a group.
pub const GROUP_MAX: usize = 200;
/// Longest text of a contact, in bytes.
const TEXT_BYTES_MAX: usize = 256;

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

impl Contact {
    /// Everything wrong with it.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let Some(email) = &self.email
            && !is_mail_address(email)
        {
            errors.push(FieldError::new("/email", MAIL_ADDRESS_EXPECTED));
        }
        if let Some(phone) = &self.phone
            && !is_phone_number(phone)
        {
            errors.push(FieldError::new("/phone", PHONE_NUMBER_EXPECTED));
        }
        if let Some(name) = &self.time_zone
            && name.parse::<chrono_tz::Tz>().is_err()
        {
            errors.push(FieldError::new(
                "/timeZone",
                "expected the IANA name of a time zone, such as Asia/Shanghai",
            ));
        }
        let texts = [
            ("/displayName", Some(&self.display_name)),
            ("/wecomUserId", self.wecom_user_id.as_ref()),
            ("/dingtalkMobile", self.dingtalk_mobile.as_ref()),
            ("/feishuUserId", self.feishu_user_id.as_ref()),
            ("/slackUserId", self.slack_user_id.as_ref()),
            ("/telegramChatId", self.telegram_chat_id.as_ref()),
        ];
        for (pointer, text) in texts {
            let fits =
                |text: &String| text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control);
            if text.is_some_and(|text| !fits(text)) {
                let detail =
                    format!("expected at most {TEXT_BYTES_MAX} bytes without control characters");
                errors.push(FieldError::new(pointer, detail));
            }
        }
        errors
    }
}

impl ContactGroup {
    /// Everything wrong with it. Whether its contacts exist is told when somebody is to be reached: they come and go.
    pub fn check(&self) -> Vec<FieldError> {
        if self.contacts.len() > GROUP_MAX {
            let detail = format!("at most {GROUP_MAX} contacts, got {}", self.contacts.len());
            return vec![FieldError::new("/contacts", detail)];
        }
        Vec::new()
    }
}

/// What [`is_mail_address`] takes, for an error.
pub const MAIL_ADDRESS_EXPECTED: &str = "expected a mail address such as ops@example.com; a domain with other than ASCII letters in its xn-- form";
/// What [`is_phone_number`] takes, for an error.
pub const PHONE_NUMBER_EXPECTED: &str =
    "expected a phone number with its country, such as +8613800000000 (E.164)";

/// Whether it is a plain mail address that can stand in an SMTP command: ASCII, no quoting, no blanks.
pub fn is_mail_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 254
        && (1..=64).contains(&local.len())
        && local.bytes().all(plain)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.split('.').all(label)
}

/// Whether it is a phone number in E.164: a plus sign and 7 to 15 digits.
pub fn is_phone_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_can_stand_in_a_command_are_taken() {
        for good in [
            "ops@example.com",
            "a.b+alarm@mx.example.co.uk",
            "root@localhost",
            "o'neil@xn--fsq.example",
        ] {
            assert!(is_mail_address(good), "{good}");
        }
        for bad in [
            "",
            "ops",
            "@example.com",
            "ops@",
            "ops@example..com",
            "ops@-a.example",
            "o ps@example.com",
            "ops@example.com\r\nRCPT TO:<x@y>",
            "ops@example.com>",
            "<ops@example.com>",
            "\"a b\"@example.com",
            "值班@example.com",
            "ops@例子.example",
            ".a@example.com",
            "a@b@",
        ] {
            assert!(!is_mail_address(bad), "{bad}");
        }
        for (number, good) in [
            ("+8613800000000", true),
            ("+12025550123", true),
            ("13800000000", false),
            ("+86 138", false),
            ("+0123456789", false),
            ("+1234567890123456", false),
            ("+86１38", false),
        ] {
            assert_eq!(is_phone_number(number), good, "{number}");
        }
    }
}
