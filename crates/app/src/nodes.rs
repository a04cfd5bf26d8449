//! The servers that share the database.

use belfry_model::access::Scope;
use belfry_store::{NodeInfo, NodeState};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::actor::Actor;
use crate::cursor::Listing;
use crate::error::Result;
use crate::time::Stamp;

/// A node: a server with a leased number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Node)]
pub struct NodeView {
    /// Its number, 0 to 255; part of the id of every event that it accepts.
    pub number: u8,
    /// Its name, from its settings.
    pub name: String,
    /// Its program's version.
    pub version: String,
    /// `live`; `late`: its lease has run out and nobody has taken it over yet; `leaving`; `left`; `dead`: taken over.
    pub state: &'static str,
    /// Whether it is the one that answers.
    pub this: bool,
    /// Goes up with every new holder of the number.
    pub epoch: i64,
    /// When it joined.
    pub started_at: Stamp,
    /// How long its lease lasts from now, ms; absent when it holds none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub lease_left_ms: Option<i64>,
    /// Every event that it accepted up to here is ended or noted as waiting in the database.
    pub settled_until: Stamp,
}

impl App {
    /// Every number that was ever held, ascending.
    pub async fn list_nodes(&self, actor: &Actor) -> Result<Listing<NodeView>> {
        actor.require(&Scope::ConfigRead)?;
        let nodes = self.store.list_nodes(self.now_ms()).await?;
        let this = self.engine.member();
        Ok(Listing {
            items: nodes
                .into_iter()
                .map(|node| NodeView {
                    this: node.member == this,
                    ..view(node)
                })
                .collect(),
            next: None,
            partial: false,
        })
    }
}

fn view(node: NodeInfo) -> NodeView {
    let held = node.state.is_present();
    NodeView {
        number: node.member.node.0,
        name: node.name,
        version: node.version,
        state: match node.state {
            NodeState::Live | NodeState::Leaving if node.lease_left_ms <= 0 => "late",
            NodeState::Live => "live",
            NodeState::Leaving => "leaving",
            NodeState::Left => "left",
            NodeState::Dead => "dead",
        },
        this: false,
        epoch: node.member.epoch,
        started_at: Stamp(node.started_at_ms),
        lease_left_ms: held.then_some(node.lease_left_ms),
        settled_until: Stamp(node.watermark.time_ms()),
    }
}
