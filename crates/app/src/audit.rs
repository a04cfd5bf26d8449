//! Who changed what. Entries are written in the transaction of the change; secrets are masked before they get here.

use belfry_model::access::Scope;
use belfry_model::json::JsonText;
use belfry_store::{AuditEntry, AuditRecord};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::actor::Actor;
use crate::cursor::{self, Listing, PageRequest};
use crate::error::{Error, Result};
use crate::time::Stamp;

/// Longest resource prefix of a filter.
const PREFIX_CHARS_MAX: usize = 512;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// Its number, ascending.
    pub number: i64,
    /// When.
    pub at: Stamp,
    /// The key's id and name, `system` or `cli`.
    pub actor: String,
    /// What was done, such as `rule.put`.
    #[schema(examples("rule.put"))]
    pub action: String,
    /// To what, such as `buses/default/rules/disk`.
    #[schema(examples("buses/default/rules/disk"))]
    pub resource: String,
    /// The thing before, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub before: Option<JsonText>,
    /// The thing after, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub after: Option<JsonText>,
    /// The request that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub request_id: Option<String>,
}

impl App {
    /// Changes, newest first, of resources whose name starts with `resource`.
    pub async fn list_audit(
        &self,
        actor: &Actor,
        resource: Option<&str>,
        page: &PageRequest,
    ) -> Result<Listing<AuditView>> {
        actor.require(&Scope::Admin)?;
        let (limit, before) = (page.limit()?, page.after::<i64>('a')?);
        let prefix = resource.unwrap_or_default();
        if prefix.len() > PREFIX_CHARS_MAX {
            return Err(Error::field(
                "query:resource",
                format!("at most {PREFIX_CHARS_MAX} bytes"),
            ));
        }
        let mut found = self.store.list_audit(before, prefix, limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| cursor::write('a', &last.number));
        Ok(Listing {
            items: found.into_iter().map(view).collect(),
            next,
            partial: false,
        })
    }

    /// An entry for the audit log.
    pub(crate) fn audit<T: Serialize>(
        &self,
        actor: &Actor,
        action: &str,
        resource: &str,
        before: Option<&T>,
        after: Option<&T>,
    ) -> Result<AuditEntry> {
        let text = |thing: Option<&T>| {
            thing
                .map(serde_json::to_string)
                .transpose()
                .map_err(Error::internal)
        };
        Ok(AuditEntry {
            at_ms: self.now_ms(),
            actor: actor.label(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            before: text(before)?,
            after: text(after)?,
            request_id: actor.request_id.as_deref().map(str::to_owned),
        })
    }
}

fn view(record: AuditRecord) -> AuditView {
    let entry = record.entry;
    let json = |text: Option<String>| text.and_then(|text| JsonText::parse(&text).ok());
    AuditView {
        number: record.number,
        at: Stamp(entry.at_ms),
        actor: entry.actor,
        action: entry.action,
        resource: entry.resource,
        before: json(entry.before),
        after: json(entry.after),
        request_id: entry.request_id,
    }
}
