//! Contacts: people who are told, and how they are reached.

use std::sync::Arc;

use belfry_alarm::Contact;
use belfry_engine::Parsed;
use belfry_model::FieldError;
use serde_json::{Value, json};

use crate::documents::kind::{Column, DocumentKind, schema_of, typed, typed_for_use};

pub(in crate::documents) struct ContactKind;

impl DocumentKind for ContactKind {
    fn name(&self) -> &'static str {
        Contact::KIND
    }
    fn one(&self) -> &'static str {
        "contact"
    }
    fn title(&self) -> &'static str {
        "Contact"
    }
    fn about(&self) -> &'static str {
        "A person who is told of alarms: mail address, phone number, ids at messengers, language and time zone."
    }
    fn is_on_bus(&self) -> bool {
        false
    }
    fn max(&self) -> usize {
        10_000
    }
    fn schema(&self) -> Value {
        schema_of::<Contact>()
    }
    fn example(&self) -> Value {
        json!({
            "displayName": "Li Lei", "email": "lilei@example.com", "phone": "+8613800000000",
            "timeZone": "Asia/Shanghai", "language": "zh",
        })
    }
    fn columns(&self) -> &'static [Column] {
        &[
            ("DISPLAY NAME", &["/displayName"]),
            ("EMAIL", &["/email"]),
            ("PHONE", &["/phone"]),
            ("LANGUAGE", &["/language"]),
        ]
    }
    fn check(&self, spec: &Value) -> Vec<FieldError> {
        typed::<Contact>(spec).map_or_else(|errors| errors, |contact| contact.check())
    }
    fn read(&self, spec: Value) -> Result<Parsed, String> {
        Ok(Arc::new(typed_for_use::<Contact>(&spec)?))
    }
}
