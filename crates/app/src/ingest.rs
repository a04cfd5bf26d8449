//! Events that are posted.

use belfry_engine::{AcceptContext, Accepted};
use belfry_model::access::Scope;
use belfry_model::{BusName, Event};

use crate::App;
use crate::actor::Actor;
use crate::error::{Code, Error, Result};

impl App {
    /// Refuses whoever may not post to the bus, before their body is read.
    pub fn may_post(&self, actor: &Actor, bus: &BusName) -> Result<()> {
        actor.require(&Scope::EventsWrite(Some(bus.clone())))?;
        if bus.is_system() {
            return Err(Error::new(
                Code::ReservedBus,
                "bus system is for what Belfry itself reports; post to another bus",
            ));
        }
        if self.engine.snapshot().bus(bus).is_none() {
            return Err(Error::not_found("bus", bus));
        }
        Ok(())
    }

    /// Makes events durable, all or none. Their deliveries begin after that.
    pub async fn post_events(
        &self,
        actor: &Actor,
        bus: &BusName,
        events: Vec<Event>,
        context: AcceptContext,
    ) -> Result<Vec<Accepted>> {
        self.may_post(actor, bus)?;
        Ok(self.engine.accept(bus, events, context).await?)
    }

    /// Whether senders of this origin may post to the bus without asking twice (CloudEvents web hooks, section 4).
    pub fn allows_origin(&self, bus: &BusName, origin: &str) -> bool {
        let listed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        !bus.is_system()
            && self.engine.snapshot().bus(bus).is_some()
            && self.settings.webhook_origins.iter().any(listed)
    }
}
