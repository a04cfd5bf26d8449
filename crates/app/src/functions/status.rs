//! How functions are doing on this server.

use belfry_model::access::Scope;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::App;
use crate::actor::Actor;
use crate::documents::FUNCTIONS;
use crate::error::Result;
use crate::time::Stamp;

/// How functions are doing on this server.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FunctionsStatus)]
pub struct FunctionsStatusView {
    /// Whether functions are turned on (`functions.enabled`).
    pub enabled: bool,
    /// Whether any can be run.
    pub available: bool,
    /// Why none can be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub problem: Option<String>,
    /// How many functions there are.
    pub functions: usize,
    /// Asynchronous invocations that wait or are made, on all servers.
    pub calls: u64,
    /// When the first of them is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub next_call_at: Option<Stamp>,
    /// Runtimes and their versions, isolation in effect and why it is not higher, workers by function and state, queues,
    /// functions that are broken, leftovers killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub runner: Option<Value>,
}

impl App {
    /// How functions are doing on this server.
    pub async fn functions_status(&self, actor: &Actor) -> Result<FunctionsStatusView> {
        actor.require(&Scope::ConfigRead)?;
        let index = self.index().await?;
        let backlog = self.store.call_backlog().await?;
        let machine = self.functions.machine();
        Ok(FunctionsStatusView {
            enabled: self.functions.settings.enabled,
            available: machine.is_ok(),
            problem: machine
                .as_ref()
                .err()
                .map(|refused| refused.message.clone()),
            functions: index
                .documents(FUNCTIONS, None)
                .map_or(0, std::collections::BTreeMap::len),
            calls: backlog.count,
            next_call_at: backlog.next_due_ms.map(Stamp),
            runner: machine.ok().map(|machine| machine.workers.status()),
        })
    }
}
