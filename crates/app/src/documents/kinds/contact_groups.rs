//! Groups of contacts.

use std::sync::Arc;

use belfry_alarm::ContactGroup;
use belfry_engine::Parsed;
use belfry_model::{FieldError, Name};
use serde_json::{Value, json};

use crate::documents::kind::{Column, DocumentKind, schema_of, typed, typed_for_use};

pub(in crate::documents) struct ContactGroupKind;

impl DocumentKind for ContactGroupKind {
    fn name(&self) -> &'static str {
        ContactGroup::KIND
    }
    fn one(&self) -> &'static str {
        "contact-group"
    }
    fn title(&self) -> &'static str {
        "ContactGroup"
    }
    fn about(&self) -> &'static str {
        "Several contacts under one name. One that there is no contact of is left out when the group is told."
    }
    fn is_on_bus(&self) -> bool {
        false
    }
    fn max(&self) -> usize {
        1000
    }
    fn schema(&self) -> Value {
        schema_of::<ContactGroup>()
    }
    fn example(&self) -> Value {
        json!({ "description": "On call this week", "contacts": ["lilei", "ann"] })
    }
    fn columns(&self) -> &'static [Column] {
        &[
            ("CONTACTS", &["/contacts"]),
            ("DESCRIPTION", &["/description"]),
        ]
    }
    fn check(&self, spec: &Value) -> Vec<FieldError> {
        let group = match typed::<ContactGroup>(spec) {
            Ok(group) => group,
            Err(errors) => return errors,
        };
        let mut errors = group.check();
        for (at, name) in group.contacts.iter().enumerate() {
            if let Err(error) = name.parse::<Name>() {
                errors.push(FieldError::new(
                    format!("/contacts/{at}"),
                    error.to_string(),
                ));
            }
        }
        errors
    }
    fn read(&self, spec: Value) -> Result<Parsed, String> {
        Ok(Arc::new(typed_for_use::<ContactGroup>(&spec)?))
    }
}
